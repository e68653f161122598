//! Fleet E: flags first, limits for each tenant, a ladder back.

use super::*;

const DEPLOY: [&str; 7] = ["deploy", "server", "--confirm", "ser", "--timeout", "2m", "--version"];

fn deploy(fleet: &Fleet, version: &str) -> Said {
    fleet.run(&[&DEPLOY[..], &[version]].concat())
}

/// What the fleet's own script says of its tables.
fn tables(fleet: &Fleet) -> String {
    let output = Command::new(own(fleet, "tables")).arg("show").output();
    String::from_utf8_lossy(&output.expect("the script starts").stdout).trim().to_owned()
}

const ADDED: &str = "tables: prescription prescription_query_cache prescription_query_metrics";

fn own(fleet: &Fleet, name: &str) -> String {
    fleet.told["config"].as_str().expect("a path").replace("quarterdeck.toml", name)
}

/// How often tenants over their limits opened an incident.
fn opened(fleet: &Fleet) -> usize {
    let all = fleet.records("incident_opened");
    all.iter().filter(|own| own["key"].to_string().contains("tenant-limit")).count()
}

fn optimized(fleet: &Fleet) -> Value {
    let text = std::fs::read(own(fleet, "settings/appsettings.json")).expect("it is there");
    let settings: Value = serde_json::from_slice(&text).expect("JSON");
    settings["Performance"]["EnableOptimizations"].clone()
}

/// The tenants of one look, where each has all its figures: name, class, is it over?
fn tenants(fleet: &Fleet) -> Option<Vec<(String, String, bool)>> {
    let all = fleet.at("/services/0/tenants");
    let all = all.as_array().expect("a list");
    let figures = |one: &Value| one["figures"].as_array().expect("a list").clone();
    let known = all.iter().flat_map(figures).all(|figure| figure["value"].is_f64());
    let text = |one: &Value, key: &str| one[key].as_str().expect("a text").to_owned();
    let one = |own: &Value| (text(own, "name"), text(own, "class"), own["over"] == true);
    (known && !all.is_empty()).then(|| all.iter().map(one).collect())
}

/// All figures are known, and nobody is over a limit.
fn all_within(fleet: &Fleet) -> Vec<(String, String, bool)> {
    until("all tenants are within their limits", || {
        tenants(fleet).filter(|all| all.iter().all(|(.., over)| !over))
    })
}

pub fn story() {
    let fleet = Fleet::start("arzti3");
    healthy(&fleet);
    bad(&fleet);
    good(&fleet);
    emergency(&fleet);
    ladder(&fleet);
    limits(&fleet);
    fleet.ends();
}

/// Four tenants in two classes, and the other environments with settings of their own.
fn healthy(fleet: &Fleet) {
    let check = |name| {
        let path = own(fleet, &format!("{name}.toml"));
        let mut check = Command::new(PROGRAM);
        check.args(["--config", &path, "check"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        (name, Followed(Some(check.spawn().expect("it starts"))))
    };
    let checks = ["development", "test", "staging", "live"].map(check);
    fleet.comes("/services/0/status", &json!("UP"));
    let classes = all_within(fleet).into_iter().map(|(name, class, _)| (name, class));
    let expected = [("north", "default"), ("south", "default"), ("east", "default")];
    let expected = expected.into_iter().chain([("clinic", "premium")]);
    assert!(classes.eq(expected.map(|(name, class)| (name.to_owned(), class.to_owned()))));
    for (name, check) in checks {
        check.ended().ends(0, &format!("environment {name}, 1 services"));
    }
    assert_eq!((tables(fleet).as_str(), optimized(fleet)), ("tables: prescription", json!(false)));
}

/// A tenant is over its limit before the new code is on for all: the traffic, the flag, the
/// settings go back; the tables, which nothing else needs, stay.
fn bad(fleet: &Fleet) {
    let said = deploy(fleet, "3.2.0-slow").ends(1, "rolled back");
    // On a machine that counts late, the validation of the performance says it.
    assert!(said.out.contains("tenants.over") || said.out.contains("performance"), "{said:#?}");
    assert!(!said.out.contains("done     step 12"), "never on for all: {said:#?}");
    assert_eq!(fleet.knob("optimizations"), Some(0.0));
    assert_eq!(fleet.at("/services/0/split/routers/0/canary"), 0.0);
    assert_eq!((fleet.runs("b"), optimized(fleet)), (Value::Null, json!(false)));
    assert_eq!(tables(fleet), ADDED);
    // What was slow is seen, and is out of the window before anything else begins.
    until("an incident", || (opened(fleet) > 0).then_some(()));
    fleet.comes("/incidents", &json!([]));
}

/// Beside the old version, the flag on by degrees, its performance validated before it is on for
/// all.
fn good(fleet: &Fleet) {
    all_within(fleet);
    let (begun, failed) = (Instant::now(), fleet.failed());
    let said = deploy(fleet, "3.1.0").ends(0, "good: finalised");
    // 2, 15 and 2 minutes, divided by the speed.
    assert!(begun.elapsed() > Duration::from_millis(9500), "no step was cut short");
    let place = |step: &str| {
        let done = |line: &str| line.contains("done ") && line.contains(step);
        said.out.lines().position(done).unwrap_or_else(|| panic!("{step}: {said:#?}"))
    };
    let steps = ["start beside", "on for 25", "on for 50", "performance", "on for all"];
    assert!(steps.map(place).is_sorted(), "{said:#?}");
    assert_eq!((fleet.knob("optimizations"), fleet.failed()), (Some(100.0), failed));
    assert_eq!((fleet.runs("a"), fleet.runs("b")), (json!("3.0.0"), json!("3.1.0")));
    assert_eq!((tables(fleet).as_str(), optimized(fleet)), (ADDED, json!(true)));
}

/// The new code becomes slow: too slow for the default class and not for the premium one. The flag
/// goes off by itself, and people are told who it was.
fn emergency(fleet: &Fleet) {
    let before = opened(fleet);
    fleet.control("PUT", "/slots/b", &json!({ "version": "3.1.0-slow" }));
    until("default tenants are over, the premium one is not", || {
        let (over, within): (Vec<_>, Vec<_>) = tenants(fleet)?.into_iter().partition(|own| own.2);
        let premium = within.iter().any(|(_, class, _)| class == "premium");
        (premium && !over.is_empty()).then_some(())
    });
    until("the flag is off", || (fleet.knob("optimizations") == Some(0.0)).then_some(()));
    let told = until("the team is told", || {
        fleet.told("team").into_iter().filter(|told| told["stage"] == "opened").nth(before)
    });
    let summary = told["summary"].to_string();
    assert!(summary.contains("tenants.over") && summary.contains("latency"), "{told}");
    fleet.comes("/services/0/release/state", &json!("ENDED"));
    assert_eq!(fleet.at("/services/1/split/routers/0/canary"), 0.0);
    let actions = fleet.records("action_taken");
    let last = actions.last().map(|own| (own["plan"].clone(), own["result"].clone()));
    assert_eq!(last, Some((json!("fall-back"), json!("started"))), "{actions:#?}");
    assert_eq!(opened(fleet), actions.len(), "once for each incident");
}

/// Flag, settings, version, tables: each is verified before the next is offered.
fn ladder(fleet: &Fleet) {
    let child = fleet.follow(&["run", "ladder", "server", "--confirm", "ser", "--timeout", "1m"]);
    let offered = |question: &str| {
        until(question, || {
            let release = fleet.at("/services/0/release");
            let asked = release["sentence"].to_string().contains(question);
            (release["state"] == "ASKING" && asked).then_some(())
        });
    };
    let yes = || fleet.run(&["reply", "server", "yes", "--confirm", "ser"]).ends(0, "ACCEPTED");
    let serves = || {
        let head = head(fleet.port("edge"), "/");
        if head.contains("x-slot: a") { "a" } else { "b" }
    };
    offered("previous settings?");
    assert_eq!((optimized(fleet), serves(), tables(fleet)), (json!(true), "b", ADDED.to_owned()));
    yes();
    offered("previous version?");
    assert_eq!((optimized(fleet), serves(), tables(fleet)), (json!(false), "b", ADDED.to_owned()));
    yes();
    offered("added tables?");
    assert_eq!((optimized(fleet), serves(), tables(fleet)), (json!(false), "a", ADDED.to_owned()));
    yes();
    child.ended().ends(0, "the arms change roles");
    assert_eq!(tables(fleet), "tables: prescription");
    // What serves now is stable: a rollback would not lead back to what was left.
    until("nothing is left at the canary", || {
        (fleet.at("/services/0/split/routers/0/canary") == 0.0).then_some(())
    });
}

/// What is too much for the default class is little for the premium one.
fn limits(fleet: &Fleet) {
    all_within(fleet);
    fleet.turn(&json!({ "rows_north": 12_000, "rows_clinic": 49_000 }));
    until("one tenant is over", || {
        let over = tenants(fleet)?.into_iter().filter(|own| own.2).map(|own| own.0);
        over.eq(["north"]).then_some(())
    });
    let status = fleet.run(&["status"]).out;
    assert!(status.contains("north (default) OVER: rows 12000, at most 10000"), "{status}");
}
