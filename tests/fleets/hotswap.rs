//! Fleet D: migrations through an orchestrator; stuck, slow and rolled back, each with its runbook.

use super::*;

fn run(fleet: &Fleet, plan: &str, migration: &str) -> Followed {
    let words = ["run", plan, "orchestrator", "--version", migration, "--confirm", "orc"];
    fleet.follow(&[&words[..], &["--timeout", "1m"]].concat())
}

fn locks(fleet: &Fleet, word: &str) -> Command {
    let config = fleet.told["config"].as_str().expect("a path");
    let mut command = Command::new(config.replace("quarterdeck.toml", "locks"));
    command.arg(word).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Locks that somebody waits for.
fn waiting(fleet: &Fleet) -> String {
    let output = locks(fleet, "show").output().expect("the script starts");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A command of a page, about the orchestrator.
fn runbook(fleet: &Fleet, page: &str, number: &str, migration: &str, alias: &str) -> Said {
    let value = format!("migration={migration}");
    let words = ["runbook", page, "--run", number, "--service", "orchestrator", "--set", &value];
    fleet.run(&[&words[..], &["--confirm", alias]].concat())
}

fn incident(fleet: &Fleet, name: &str) -> Option<Value> {
    let all = fleet.at("/incidents");
    all.as_array()?.iter().find(|one| one["name"] == name).cloned()
}

pub fn story() {
    let fleet = Fleet::start("hotswap");
    let first = std::fs::read_to_string(token_file(&fleet)).expect("a token");
    // It takes an hour, divided by the speed, until it is stuck.
    let begun = Instant::now();
    let stuck = run(&fleet, "begin", "m3-stuck").ended();
    assert_eq!(stuck.code, 0, "{stuck:#?}");
    healthy(&fleet);
    denied(&fleet);
    good(&fleet);
    rolled_back(&fleet);
    slow(&fleet);
    // Nothing is to be seen before its hour is over.
    loop {
        let seen = incident(&fleet, "MigrationStuck");
        if begun.elapsed() > Duration::from_secs(28) {
            break;
        }
        assert_eq!(seen, None, "{:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(200));
    }
    until("a stuck migration", || incident(&fleet, "MigrationStuck"));
    unstuck(&fleet);
    renewed(&fleet, &first);
    fleet.ends();
}

/// The databases' figures have thresholds; nothing is told without the token.
fn healthy(fleet: &Fleet) {
    for service in 0..2 {
        fleet.comes(&format!("/services/{service}/status"), &json!("UP"));
    }
    let figures = "connections 15, lag 0 of 10 s, CPU 45 of 80 %";
    fleet.comes("/services/1/probes/0/message", &json!(figures));
    for (place, knob, bad, good, words) in [
        (1, "replica_lag", 30.0, 2.5, "lag 30 s (not below 10 s)"),
        (0, "master_cpu", 95.0, 45.0, "CPU 95 % (not below 80 %)"),
    ] {
        fleet.turn(&json!({ knob: bad }));
        fleet.comes("/services/1/status", &json!("DEGRADED"));
        let message = fleet.at(&format!("/services/1/probes/{place}/message")).to_string();
        assert!(message.contains(words), "{message}");
        fleet.turn(&json!({ knob: good }));
        fleet.comes("/services/1/status", &json!("UP"));
    }
    // Prometheus takes some seconds to its first figures.
    until("figures", || (fleet.run(&["validate", "orchestrator"]).code == 0).then_some(()));
    let answer = ask(fleet.port("orchestrator"), "GET", "/api/v1/databases/master/health", "");
    assert!(answer.contains("token is missing"), "{answer}");
}

fn token_file(fleet: &Fleet) -> String {
    let config = fleet.told["config"].as_str().expect("a path");
    config.replace("quarterdeck.toml", "token.secret")
}

/// A wrong token is said to be denied, and the right one works again without a word to the engine.
fn denied(fleet: &Fleet) {
    let right = std::fs::read_to_string(token_file(fleet)).expect("a token");
    until("a denied look", || {
        // The orchestrator may write its next one in between.
        std::fs::write(token_file(fleet), "wrong").expect("it can be written");
        let probe = fleet.at("/services/1/probes/0");
        let denied = probe["message"] == "denied: HTTP 401: look at the token";
        (denied && probe["status"] == "UNKNOWN").then_some(())
    });
    std::fs::write(token_file(fleet), right).expect("it can be written");
    fleet.comes("/services/1/status", &json!("UP"));
}

/// A token lives as long as a migration takes to be stuck: by now the first one is over.
fn renewed(fleet: &Fleet, first: &str) {
    let newest = std::fs::read_to_string(token_file(fleet)).expect("a token");
    assert_ne!(newest, first);
    fleet.comes("/services/1/status", &json!("UP"));
}

fn good(fleet: &Fleet) {
    run(fleet, "execute", "m1").ended().ends(0, "");
}

/// The orchestrator took it back: the release holds, the incident opens.
fn rolled_back(fleet: &Fleet) {
    let child = run(fleet, "execute", "m2-slow");
    fleet.comes("/services/0/release/state", &json!("HELD"));
    let sentence = fleet.at("/services/0/release/sentence").to_string();
    assert!(sentence.contains("canary, shadow, or low traffic"), "{sentence}");
    until("an incident", || incident(fleet, "MigrationRolledBack"));
    let why = runbook(fleet, "rolled-back", "1", "m2-slow", "").ends(0, "performance degradation");
    assert!(why.out.contains("RolledBack"), "{why:#?}");
    runbook(fleet, "rolled-back", "2", "m2-slow", "").ends(0, "latencyMs");
    fleet.run(&["abort", "orchestrator", "--confirm", "orc"]).ends(0, "");
    assert_eq!(child.ended().code, 1);
}

/// Queries are more than 50 % slower: the incident, and the way back with a reason.
fn slow(fleet: &Fleet) {
    fleet.turn(&json!({ "latency_ms": 80 }));
    until("an incident", || incident(fleet, "MigrationSlowedQueries"));
    // Its page changes something: not without the alias.
    runbook(fleet, "slow", "2", "m1", "").ends(64, "changes something: --confirm orc");
    runbook(fleet, "slow", "2", "m1", "orc").ends(0, "RolledBack");
    run(fleet, "roll-back", "m1").ended().ends(0, "");
    fleet.turn(&json!({ "latency_ms": 40 }));
    until("its end", || incident(fleet, "MigrationSlowedQueries").is_none().then_some(()));
}

/// The runbook's way: who waits, cancel it, roll back.
fn unstuck(fleet: &Fleet) {
    let mut block = locks(fleet, "block").spawn().expect("the script starts");
    until("a lock that is waited for", || (waiting(fleet) == "1").then_some(()));
    run(fleet, "resolve-stuck", "m3-stuck").ended().ends(0, "");
    assert_eq!(waiting(fleet), "0");
    block.wait().expect("it can be waited for");
    until("its end", || incident(fleet, "MigrationStuck").is_none().then_some(()));
}
