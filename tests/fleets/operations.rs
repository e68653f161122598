//! Fleet A: validation, a canary by time, an emergency within 30 s, incidents that answer.

use super::*;

const DEPLOY: [&str; 7] = ["deploy", "site", "--confirm", "sit", "--timeout", "60s", "--version"];

/// Within it an incident is to be answered; not divided by the speed.
const MINUTE: Duration = Duration::from_mins(1);

fn deploy(fleet: &Fleet, version: &str) -> Said {
    fleet.run(&[&DEPLOY[..], &[version]].concat())
}

fn validate(fleet: &Fleet, version: &str) -> (i32, Value) {
    let said = fleet.run(&["validate", "site", "--version", version, "--json"]);
    (said.code, serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:#?}")))
}

pub fn story() {
    let fleet = Fleet::start("operations");
    healthy(&fleet);
    validation(&fleet);
    good(&fleet);
    bad(&fleet, "2.1.0-errors", "canary.error_rate");
    bad(&fleet, "2.2.0-slow", "canary.latency_avg");
    emergency(&fleet);
    logins(&fleet);
    errors(&fleet);
    overload(&fleet);
    breach(&fleet);
    fleet.ends();
}

/// Both versions are counted, and stable has all: without figures at its start a release has no
/// baseline, and what is told beside it has no data.
fn counted(fleet: &Fleet) {
    until("counts of both versions", || {
        fleet.run(&["ready", "site"]);
        fleet.at("/services/0/split/traffic").as_f64().filter(|share| *share == 0.0)
    });
}

/// Three endpoints, telemetry of two machines, no incident.
fn healthy(fleet: &Fleet) {
    fleet.comes("/services/0/status", &json!("UP"));
    counted(fleet);
    let status = fleet.status();
    assert_eq!((&status["score"], &status["incidents"]), (&json!(100), &json!([])), "{status:#}");
    let names: Vec<&Value> = status["services"][0]["probes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| &p["name"])
        .collect();
    assert_eq!(names, ["readiness", "liveness", "metrics"]);
    until("both machines", || {
        let hosts = fleet.at("/hosts");
        let figures =
            |host: &Value| host["cpu_percent"].is_f64() && host["memory_percent"].is_f64();
        hosts.as_array().is_some_and(|hosts| hosts.iter().all(figures)).then_some(())
    });
}

/// What fails a critical gate is never released; a missed baseline is a warning.
fn validation(fleet: &Fleet) {
    let (code, found) = validate(fleet, "2.0.0");
    assert_eq!((code, &found["can_deploy"]), (0, &json!(true)), "{found:#}");
    assert_eq!(found["failed"], 0, "{found:#}");
    let baseline = fleet.knob("baseline_seconds");
    fleet.turn(&json!({ "baseline_seconds": 0.000_001 }));
    until("a warning", || {
        let (code, found) = validate(fleet, "2.0.0");
        assert_eq!((code, &found["can_deploy"]), (0, &json!(true)), "{found:#}");
        (found["warnings"] == 1).then_some(())
    });
    fleet.turn(&json!({ "baseline_seconds": baseline }));
    let begun = Instant::now();
    let said = deploy(fleet, "2.0.0-untested").ends(1, "rolled back");
    assert!(begun.elapsed() < Duration::from_mins(5), "validation is over within 5 minutes");
    assert!(said.out.contains("failed   step 1/"), "{said:#?}");
    assert!(said.out.contains("quality_gates, security_validation"), "{said:#?}");
    assert_eq!(fleet.runs("b"), Value::Null, "nothing was started");
}

/// 10 % for ten minutes, then promoted.
fn good(fleet: &Fleet) {
    let begun = Instant::now();
    deploy(fleet, "2.0.0").ends(0, "good: finalised");
    // Ten minutes at each of both steps, divided by the speed.
    assert!(begun.elapsed() > Duration::from_secs(10), "no step was cut short");
    let percents: Vec<Value> =
        fleet.records("canary_step").iter().map(|step| step["percent"].clone()).collect();
    assert_eq!(percents, [10, 100]);
    assert_eq!((fleet.runs("b"), fleet.failed()), (json!("2.0.0"), 0), "nobody saw an error");
    assert_eq!(fleet.at("/services/0/release/result"), "good");
}

/// Taken back by itself at the first step, with its reason, time and release in the journal.
fn bad(fleet: &Fleet, version: &str, reason: &str) {
    // What the slot's last version did is still in the window, and no figure of this one.
    counted(fleet);
    let said = deploy(fleet, version).ends(1, "rolled back");
    assert!(said.out.contains("FAIL") && said.out.contains(reason), "{said:#?}");
    fleet.comes("/services/0/split/routers/0/canary", &json!(0.0));
    let past = fleet.run(&["releases", "site", "--json"]).out;
    let past: Value = serde_json::from_str(&past).expect("JSON");
    let newest = &past["services"][0]["releases"][0];
    assert_eq!((&newest["version"], &newest["bad"]), (&json!(version), &json!(true)), "{newest:#}");
    assert_eq!(fleet.runs("a"), Value::Null, "what was started is stopped");
}

/// In the middle of a release: all traffic back, read back, within 30 s.
fn emergency(fleet: &Fleet) {
    fleet.run(&[&DEPLOY[..], &["2.3.0", "--no-wait"]].concat()).ends(0, "ACCEPTED");
    fleet.comes("/services/0/split/routers/0/canary", &json!(10.0));
    let begun = Instant::now();
    let words = ["rollback", "site", "--confirm", "sit", "--reason", "5xx on payments"];
    fleet.run(&words).ends(0, "VERIFIED");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    fleet.comes("/services/0/split/routers/0/canary", &json!(0.0));
    fleet.comes("/services/0/release/state", &json!("ENDED"));
}

/// More than 100 logins fail: Prometheus fires, Alertmanager says so, the feed shows it.
fn logins(fleet: &Fleet) {
    fleet.turn(&json!({ "failed_logins": 150 }));
    fleet.comes("/incidents/0/name", &json!("BruteForce"));
    assert_eq!(fleet.at("/incidents/0/severity"), "critical");
    fleet.turn(&json!({ "failed_logins": 0 }));
    fleet.comes("/incidents", &json!([]));
}

/// More than 5 % of the site's requests fail: told, and answered by the machinery.
fn errors(fleet: &Fleet) {
    let begun = Instant::now();
    fleet.control("PUT", "/slots/b", &json!({ "version": "2.0.0-errors" }));
    until("the breaker", || (fleet.knob("breaker_open") == Some(1.0)).then_some(()));
    until("the team", || (!fleet.told("slack").is_empty()).then_some(()));
    assert!(begun.elapsed() < MINUTE, "{:?}", begun.elapsed());
    assert_eq!(fleet.knob("replicas"), Some(4.0));
    fleet.control("PUT", "/slots/b", &json!({ "version": "2.0.0" }));
    fleet.comes("/incidents", &json!([]));
    assert!(fleet.told("slack")[0]["text"].to_string().contains("high: high_error_rate on site"));
    assert!(fleet.told("phone").is_empty(), "nobody is woken for it");
}

/// The machine is overloaded: opened, answered and told within a minute; over when it is over.
fn overload(fleet: &Fleet) {
    let begun = Instant::now();
    fleet.turn(&json!({ "cpu": 97, "memory": 97 }));
    until("the phone", || (!fleet.told("phone").is_empty()).then_some(()));
    until("the actions", || (fleet.knob("shed_percent") == Some(30.0)).then_some(()));
    assert!(begun.elapsed() < MINUTE, "{:?}", begun.elapsed());
    assert_eq!(fleet.knob("replicas"), Some(8.0));
    let advised = until("the advice", || {
        Some(fleet.at("/hosts/1/advice")).filter(|own| own["size"] == "up" && own["urgent"] == true)
    });
    assert_eq!((&advised["group"], &advised["armed"]), (&json!("web"), &json!(false)));
    let phone = fleet.told("phone")[0].to_string();
    assert!(phone.contains("system_overload on web-1"), "{phone}");
    // Nobody acknowledges it for 15 minutes, divided by the speed.
    // What came before it may have been escalated, too, on a machine that was slow to end it.
    until("an escalation", || {
        let told = fleet.told("management");
        told.iter().any(|one| one.to_string().contains("system_overload")).then_some(())
    });
    assert!(begun.elapsed() > Duration::from_millis(7400), "not before its time");
    fleet.turn(&json!({ "cpu": 20, "memory": 40 }));
    fleet.comes("/incidents", &json!([]));
    let events = until("both are resolved", || {
        let told = fleet.told("pagerduty");
        (told.len() >= 4 && told.last()?["event_action"] == "resolve").then_some(told)
    });
    let actions: Vec<&Value> = events.iter().map(|event| &event["event_action"]).collect();
    assert_eq!(actions, ["trigger", "resolve", "trigger", "resolve"]);
    let opened = fleet.records("incident_opened").into_iter();
    let keys: Vec<Value> = opened.map(|event| event["key"].clone()).collect();
    let ours =
        ["quarterdeck/incident/high_error_rate/site", "quarterdeck/incident/system_overload/web-1"];
    assert!(ours.iter().all(|key| keys.iter().filter(|own| *own == key).count() == 1), "{keys:?}");
    assert_eq!(fleet.records("action_taken").len(), 2, "each once");
}

/// Violations and failed logins: locked down, the security team told; the alert belongs to it. And
/// the site becomes slow meanwhile, without any release.
fn breach(fleet: &Fleet) {
    let begun = Instant::now();
    fleet.control("PUT", "/slots/b", &json!({ "version": "2.0.0-slow" }));
    fleet.turn(&json!({ "violations": 3, "failed_logins": 150 }));
    until("the answer", || (fleet.knob("isolated") == Some(1.0)).then_some(()));
    until("the security team", || (!fleet.told("security").is_empty()).then_some(()));
    assert!(begun.elapsed() < MINUTE, "{:?}", begun.elapsed());
    assert_eq!(fleet.knob("locked_down"), Some(1.0));
    until("its alert", || {
        let all = fleet.at("/incidents").as_array().cloned().unwrap_or_default();
        let own =
            all.into_iter().find(|own| own["name"] == "security_breach_detected on operations");
        (own?["alerts"]["total"] == 1).then_some(())
    });
    until("the latency", || {
        let opened = fleet.records("incident_opened");
        let key = "quarterdeck/incident/latency/operations";
        opened.iter().any(|event| event["key"] == key).then_some(())
    });
    fleet.control("PUT", "/slots/b", &json!({ "version": "2.0.0" }));
    fleet.turn(&json!({ "violations": 0, "failed_logins": 0 }));
    fleet.comes("/incidents", &json!([]));
    assert!(fleet.run(&["status"]).out.contains("scaling   web"));
}
