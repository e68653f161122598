//! Fleet C: health by its database, a migration as a graph, a rollback that restores.

use super::*;

fn run(fleet: &Fleet, plan: &str, version: &str) -> Followed {
    let words = ["run", plan, "overlay", "--version", version, "--confirm", "ove"];
    fleet.follow(&[&words[..], &["--timeout", "1m"]].concat())
}

/// What the fleet's own script says of the database.
fn database(fleet: &Fleet, words: &[&str]) -> String {
    let config = fleet.told["config"].as_str().expect("a path");
    let output = Command::new(config.replace("quarterdeck.toml", "database")).args(words).output();
    String::from_utf8_lossy(&output.expect("the script starts").stdout).trim().to_owned()
}

pub fn story() {
    let fleet = Fleet::start("mtm");
    healthy(&fleet);
    validation(&fleet);
    migration(&fleet);
    missing(&fleet);
    restore(&fleet);
    hanging(&fleet);
    fleet.ends();
}

/// Each of the four figures makes it degraded, in its own words.
fn healthy(fleet: &Fleet) {
    fleet.comes("/services/0/status", &json!("UP"));
    for (knob, bad, good) in
        [("pool_percent", 95, 20), ("memory_mb", 600, 180), ("response_ms", 1500, 40)]
    {
        fleet.turn(&json!({ knob: bad }));
        fleet.comes("/services/0/status", &json!("DEGRADED"));
        fleet.turn(&json!({ knob: good }));
        fleet.comes("/services/0/status", &json!("UP"));
    }
    assert_eq!(database(fleet, &["average", "1000"]), "average 40 ms over the last hour");
}

/// A name that is not registered is a warning; what staging does not run is not, nor a broken file.
fn validation(fleet: &Fleet) {
    let validate = |version: &str| {
        let said = fleet.run(&["validate", "overlay", "--version", version, "--json"]);
        let found: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:#?}"));
        (said.code, found)
    };
    let (code, found) = validate("5.1");
    assert_eq!(
        (code, &found["passed"], &found["warnings"]),
        (0, &json!(6), &json!(1)),
        "{found:#}"
    );
    let (code, found) = validate("5.2");
    assert_eq!((code, &found["failed"]), (1, &json!(1)), "{found:#}");
    let config = fleet.told["config"].as_str().expect("a path");
    let path = config.replace("quarterdeck.toml", "app/appsettings.json");
    let good = std::fs::read_to_string(&path).expect("it is there");
    std::fs::write(&path, good.replacen('}', ",}", 1)).expect("it is written");
    let (code, found) = validate("5.1");
    let text = found.to_string();
    assert!(code == 1 && text.contains("appsettings.json") && text.contains("line 2"), "{found:#}");
    std::fs::write(&path, good).expect("it is written");
}

/// A backup first; two steps that do not wait for each other; estimates beside what it took.
fn migration(fleet: &Fleet) {
    // Its health does not come: the old version and the backup do.
    fleet.turn(&json!({ "pool_percent": 95 }));
    let said = run(fleet, "migrate", "5.1").ended().ends(1, "rolled back");
    assert!(said.out.contains("undone") && said.out.contains("backup"), "{said:#?}");
    assert_eq!(database(fleet, &["holds", "5.0"]), "the database holds 5.0");
    assert_eq!(fleet.runs("overlay"), "5.0");
    fleet.turn(&json!({ "pool_percent": 20 }));
    let said = run(fleet, "migrate", "5.1").ended().ends(0, "");
    for step in ["backup", "width", "height", "version", "health"] {
        let done = said.out.lines().any(|line| line.contains("done") && line.contains(step));
        assert!(done, "{step}: {said:#?}");
    }
    assert_eq!(database(fleet, &["holds", "5.1"]), "the database holds 5.1");
    let journal = fleet.run(&["journal", "export", "--json"]).out;
    assert!(!journal.contains("a-password-of-the-sandbox"), "no secret in the journal");
}

/// Without its dump, or its application, nothing is touched.
fn missing(fleet: &Fleet) {
    let child = run(fleet, "restore", "4.8");
    fleet.comes("/services/0/release/state", &json!("HELD"));
    assert_eq!(fleet.runs("overlay"), "5.1", "it was not stopped");
    fleet.run(&["abort", "overlay", "--confirm", "ove"]).ends(0, "");
    let said = child.ended();
    assert!(said.code == 1 && said.out.contains("overlay-4.8.sql"), "{said:#?}");
    assert_eq!(database(fleet, &["holds", "5.1"]), "the database holds 5.1");
}

/// The whole of it: database, application, configuration, start, wait, health.
fn restore(fleet: &Fleet) {
    let config = fleet.told["config"].as_str().expect("a path");
    let own = |name: &str| config.replace("quarterdeck.toml", name);
    std::fs::remove_dir_all(own("backups/config-4.9")).expect("it is there");
    let said = run(fleet, "restore", "4.9").ended().ends(0, "");
    assert!(said.out.contains("warning: no configuration of 4.9"), "{said:#?}");
    assert_eq!(database(fleet, &["holds", "4.9"]), "the database holds 4.9");
    let version = std::fs::read_to_string(own("app/VERSION")).expect("it is there");
    assert_eq!((version.trim(), fleet.runs("overlay")), ("4.9", json!("4.9")));
    fleet.comes("/services/0/status", &json!("UP"));
    // It does not come back: said so, and left to people.
    fleet.turn(&json!({ "pool_percent": 95 }));
    let child = run(fleet, "restore", "4.9");
    fleet.comes("/services/0/release/state", &json!("HELD"));
    let sentence = fleet.at("/services/0/release/sentence").to_string();
    assert!(sentence.contains("may have failed"), "{sentence}");
    fleet.turn(&json!({ "pool_percent": 20 }));
    fleet.run(&["resume", "overlay", "--confirm", "ove"]).ends(0, "");
    child.ended().ends(0, "");
}

/// Five seconds without an answer are not healthy.
fn hanging(fleet: &Fleet) {
    fleet.control("PUT", "/slots/overlay", &json!({ "version": "4.9-hangs" }));
    fleet.comes("/services/0/probes/0/status", &json!("DOWN"));
    fleet.control("PUT", "/slots/overlay", &json!({ "version": "4.9" }));
    fleet.comes("/services/0/status", &json!("UP"));
}
