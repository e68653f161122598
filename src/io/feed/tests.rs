//! What each feed's parser makes of recorded and hostile answers.

use chrono::TimeDelta;
use engine::reading::AlertState;

use super::*;

macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../../../fixtures/feeds/", $name, ".json"))
    };
}

/// A moment at which the recorded alerts were open.
fn now() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-21T08:18:00Z").expect("a valid time").to_utc()
}

fn check(found: Result<Vec<Found>, String>, expected: &[(&str, Severity, AlertState)]) {
    let found = found.expect("a readable feed");
    let shown: Vec<_> = found
        .iter()
        .map(|one| (one.alert.name.display(), one.alert.severity, one.alert.state))
        .collect();
    assert_eq!(shown, expected);
}

fn check_error<T: std::fmt::Debug>(found: Result<T, String>, part: &str) {
    let why = found.expect_err(part);
    assert!(why.contains(part), "{why}");
}

const CRITICAL: Severity = Severity::Critical;
const TRIGGERED: AlertState = AlertState::Triggered;
const ACKNOWLEDGED: AlertState = AlertState::Acknowledged;

#[test]
fn recorded_alerts_of_alertmanager() {
    let name = "CanaryErrorRateHigh";
    let active = alertmanager::parse(recorded!("alertmanager-active"), now());
    check(active.clone(), &[(name, CRITICAL, TRIGGERED)]);
    let silenced = alertmanager::parse(recorded!("alertmanager-silenced"), now());
    check(silenced, &[(name, CRITICAL, ACKNOWLEDGED)]);
    let found = &active.expect("just read")[0];
    assert_eq!(found.alert.fingerprint, "7c6ec4ba9407fa54");
    assert_eq!(fingerprint_of(&found.raw), found.alert.fingerprint, "the same computation");
    assert_eq!(found.alert.summary.display(), "canary error ratio 20.59%");
    assert_eq!(found.alert.links.len(), 1);
    assert!(found.alert.started_at.is_some());
}

#[test]
fn an_alert_that_has_ended_is_not_listed() {
    let later = now() + TimeDelta::hours(1);
    check(alertmanager::parse(recorded!("alertmanager-active"), later), &[]);
}

#[test]
fn a_start_in_the_future_is_no_start() {
    let earlier = now() - TimeDelta::hours(1);
    let found = alertmanager::parse(recorded!("alertmanager-active"), earlier);
    assert_eq!(found.expect("readable")[0].alert.started_at, None);
    assert_eq!(past("0001-01-01T00:00:00Z", now()), None);
    assert_eq!(past("yesterday", now()), None);
}

#[test]
fn hostile_alerts_are_cleaned_or_named() {
    let hostile = recorded!("alertmanager-hostile");
    let found = alertmanager::parse(hostile, now()).expect("readable");
    for one in &found {
        let shown = format!("{:?}", one.alert);
        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{shown}");
    }
    assert!(found[0].raw.values().any(|value| value.contains('\u{1b}')), "matchers stay raw");
    let (reading, _) = Worst::of(found).reading();
    let states: Vec<AlertState> = reading.alerts.iter().map(|alert| alert.state).collect();
    assert_eq!(states, [TRIGGERED, TRIGGERED], "duplicates are one, and the open one wins");
    check_error(alertmanager::parse(b"[{}]", now()), "alert 0: no labels");
    check_error(alertmanager::parse(b"{}", now()), "not a list");
    check_error(alertmanager::parse(b"[1", now()), "not JSON");
    check_error(alertmanager::parse("[".repeat(100_000).as_bytes(), now()), "not JSON");
    check_error(alertmanager::parse(b"\xff\xfe", now()), "not JSON");
}

#[test]
fn a_silence_matches_every_label_as_it_was() {
    let labels = BTreeMap::from([("a\u{1b}".to_owned(), "x\ny".to_owned())]);
    let actor = Actor { user: Untrusted::new("ann"), uid: Some(7), ssh: None };
    let body = alertmanager::silence(&labels, &actor, &Untrusted::new("mine"), now());
    let body: Value = serde_json::from_str(&body).expect("valid JSON");
    assert_eq!(body["matchers"][0]["name"], "a\u{1b}");
    assert_eq!(body["matchers"][0]["value"], "x\ny");
    assert_eq!((&body["createdBy"], &body["comment"]), (&"ann".into(), &"mine".into()));
    assert_eq!(body["endsAt"], "2026-11-21T10:18:00.000Z");
    assert!(alertmanager::silenced(br#"{"silenceID":"1"}"#).is_ok());
    assert!(alertmanager::silenced(b"<html>").is_err());
}

#[test]
fn both_shapes_of_an_error() {
    assert_eq!(
        message(recorded!("alertmanager-error-text")),
        "Failed to create silence: start time must be before end time"
    );
    assert_eq!(
        message(recorded!("alertmanager-error-object")),
        "matchers in body should have at least 1 items"
    );
    assert_eq!(
        message(br#"{"error":{"message":"Invalid Input Provided"}}"#),
        "Invalid Input Provided"
    );
    assert_eq!(message(b" gone \n"), "gone");
    assert_eq!(message(b""), "no reason given");
}

#[test]
fn prometheus_lists_what_fires() {
    let found = prometheus::parse(recorded!("prometheus-alerts"), now());
    check(found, &[("CanaryErrorRateHigh", CRITICAL, TRIGGERED)]);
    let pending = br#"{"data":{"alerts":[{"labels":{"alertname":"X"},"state":"pending"}]}}"#;
    check(prometheus::parse(pending, now()), &[]);
    let error = br#"{"status":"error","errorType":"bad_data","error":"why"}"#;
    check_error(prometheus::parse(error, now()), "bad_data: why");
    check_error(prometheus::parse(br#"{"data":{}}"#, now()), "no list `alerts`");
    for (url, count) in [("runbooks/slow.md", 1), ("runbooks/slow", 0), ("script:x.md", 0)] {
        let text = format!(
            r#"{{"data":{{"alerts":[{{"labels":{{"alertname":"X"}},"state":"firing",
            "annotations":{{"runbook_url":"{url}"}}}}]}}}}"#
        );
        let found = prometheus::parse(text.as_bytes(), now()).expect("readable");
        assert_eq!(found[0].alert.links.len(), count, "{url}");
    }
}

#[test]
fn pagerduty_ranks_by_priority_then_urgency() {
    let (found, more) =
        pagerduty::parse(recorded!("pagerduty-incidents"), now()).expect("readable");
    assert!(more);
    assert_eq!(found[0].raw.get("id").map(String::as_str), Some("PT4KHLK"));
    check(
        Ok(found),
        &[
            ("Mail is down", Severity::High, TRIGGERED),
            ("Disk fills", Severity::Low, ACKNOWLEDGED),
            ("No priority", Severity::High, TRIGGERED),
        ],
    );
    check_error(pagerduty::parse(br#"{"incidents":[{}]}"#, now()), "incident 0: no id");
    check_error(pagerduty::parse(b"{}", now()), "no list `incidents`");
    let raw = BTreeMap::from([("id".to_owned(), "P1".to_owned())]);
    assert!(pagerduty::escalation(&raw, 2).contains("\"escalation_level\":2"));
    assert!(pagerduty::acknowledgement(&raw).contains("\"status\":\"acknowledged\""));
}

#[test]
fn pagerduty_levels_are_those_of_who_is_on_call() {
    let incident = |policy: &str, users: &str| {
        let body = format!(
            r#"{{"incidents":[{{"id":"P1","status":"triggered",
            "escalation_policy":{{"id":"{policy}"}},"assignments":[{users}]}}]}}"#
        );
        let (mut found, _) = pagerduty::parse(body.as_bytes(), now()).expect("an incident");
        found.remove(0).raw
    };
    let ann = r#"{"assignee":{"id":"ANN","summary":"Ann"}}"#;
    let raw = incident("POL", ann);
    let path = pagerduty::on_call_path(&raw).expect("enough to ask");
    assert!(path.contains("escalation_policy_ids%5B%5D=POL&"), "{path}");
    for (policy, users) in [("POL", ""), ("", ann), ("a&b=c", ann)] {
        assert_eq!(pagerduty::on_call_path(&incident(policy, users)), None, "{policy} {users}");
    }
    let on_call = r#"{"oncalls":[
        {"escalation_level":1,"user":{"id":"BOB"}},{"escalation_level":2,"user":{"id":"ANN"}},
        {"escalation_level":3,"user":{"id":"EVE"}},{"escalation_level":"4","user":{"id":"ANN"}},
        {"user":{"id":"ANN"}},{"escalation_level":5},{}]}"#;
    assert_eq!(pagerduty::level(on_call.as_bytes(), &raw), Ok(Some(2)));
    let other = incident("POL", r#"{"assignee":{"id":"ZOE"}}"#);
    assert_eq!(pagerduty::level(on_call.as_bytes(), &other), Ok(None));
    assert_eq!(pagerduty::level(b"{}", &raw), Err("no list `oncalls`".to_owned()));
}

#[test]
fn statuspage_shows_incidents_components_and_running_maintenance() {
    let found = statuspage::parse(recorded!("statuspage-summary"), now());
    check(
        found,
        &[
            ("API", Severity::High, TRIGGERED),
            ("Errors on upload", Severity::Medium, ACKNOWLEDGED),
            ("Database upgrade", Severity::Low, ACKNOWLEDGED),
        ],
    );
    check_error(statuspage::parse(b"{}", now()), "no list `components`");
}

#[test]
fn our_own_shape() {
    let found = json::parse(recorded!("json-incidents"), now());
    check(
        found.clone(),
        &[("Queue is long", Severity::High, TRIGGERED), ("17", Severity::Low, ACKNOWLEDGED)],
    );
    assert_eq!(found.expect("just read")[0].alert.links.len(), 1, "only web links are links");
    check_error(json::parse(b"{}", now()), "no list `incidents`");
    check_error(json::parse(b"[]", now()), "no list `incidents`");
    check_error(json::parse(br#"{"incidents":[{}]}"#, now()), "incident 0");
}

#[test]
fn too_many_alerts_are_counted() {
    let mut alerts: Vec<Value> = (0..ALERTS_MAX + 5)
        .map(|n| serde_json::json!({ "labels": { "alertname": format!("n{n}") } }))
        .collect();
    alerts.push(serde_json::json!({ "labels": { "alertname": "last", "severity": "page" } }));
    let body = Value::Array(alerts).to_string();
    let found = alertmanager::parse(body.as_bytes(), now()).expect("readable");
    let (reading, raw) = Worst::of(found).reading();
    assert_eq!((reading.alerts.len(), reading.dropped), (ALERTS_MAX, 6));
    assert_eq!(raw.len(), ALERTS_MAX);
    assert_eq!(reading.alerts[0].name.display(), "last", "the worst are kept");
}

#[test]
fn a_strange_fingerprint_is_hashed() {
    assert_eq!(fingerprint("abc-1"), "abc-1");
    assert_eq!(fingerprint("\u{1b}[2J").len(), 16);
    assert_eq!(fingerprint(&"x".repeat(1000)).len(), 16);
}

/// What the adapter makes of an answer that comes in pieces.
fn intake(shape: &'static Shape, body: &str) -> Result<FeedReading, String> {
    let mut intake = Intake::new(shape, now());
    for piece in body.as_bytes().chunks(1000) {
        intake.take(piece)?;
    }
    Ok(intake.finish()?.reading().0)
}

#[test]
fn a_list_in_pieces_is_the_same_list() {
    let body = |bytes: &'static [u8]| std::str::from_utf8(bytes).expect("recorded text");
    let names = |shape: &'static Shape, text: &str| {
        let reading = intake(shape, text).expect("readable");
        reading.alerts.iter().map(|alert| alert.fingerprint.clone()).collect::<Vec<_>>()
    };
    let check = |shape: &'static Shape, bytes: &'static [u8]| {
        let whole = Worst::of((shape.parse)(bytes, now()).expect("readable")).reading().0;
        let whole: Vec<String> = whole.alerts.into_iter().map(|alert| alert.fingerprint).collect();
        assert!(!whole.is_empty());
        assert_eq!(names(shape, body(bytes)), whole);
    };
    check(&ALERTMANAGER, recorded!("alertmanager-two"));
    check(&ALERTMANAGER, recorded!("alertmanager-hostile"));
    check(&PROMETHEUS, recorded!("prometheus-alerts"));
    check(&JSON, recorded!("json-incidents"));
    check_error(intake(&ALERTMANAGER, "[{\"labels\":{\"a\":\"b\"}},{}]"), "alert 1: no labels");
    check_error(intake(&ALERTMANAGER, "{}"), "not a list");
    check_error(intake(&ALERTMANAGER, "[1"), "not JSON");
    check_error(intake(&ALERTMANAGER, &"[".repeat(100_000)), "not JSON");
    check_error(intake(&JSON, "{}"), "no list `incidents`");
    let refused = "{\"status\":\"error\",\"errorType\":\"x\",\"error\":\"too much\"}";
    check_error(intake(&PROMETHEUS, refused), "x: too much");
}

#[test]
fn labels_without_end_are_left_out_and_counted() {
    let long = "x".repeat(500_000);
    let body: Vec<String> = (0..80)
        .map(|n| format!("{{\"labels\":{{\"alertname\":\"n{n}\",\"a\":\"{long}\"}}}}"))
        .collect();
    let reading = intake(&ALERTMANAGER, &format!("[{}]", body.join(","))).expect("readable");
    assert!(reading.alerts.len() >= 30 && reading.alerts.len() < 40, "{}", reading.alerts.len());
    assert_eq!(reading.alerts.len() + reading.dropped as usize, 80);
}

#[test]
fn of_a_hundred_thousand_alerts_the_worst_are_kept_and_the_rest_counted() {
    let mut intake = Intake::new(&ALERTMANAGER, now());
    let mut take = |text: String| intake.take(text.as_bytes()).expect("readable");
    take("[".to_owned());
    for n in 0..100_000 {
        let severity = if n % 20 == 19 { "page" } else { "warning" };
        let comma = if n == 0 { "" } else { "," };
        take(format!(
            "{comma}{{\"labels\":{{\"alertname\":\"n{n}\",\"severity\":\"{severity}\"}}}}"
        ));
    }
    take("]".to_owned());
    let (reading, raw) = intake.finish().expect("readable").reading();
    assert_eq!((reading.alerts.len(), reading.dropped), (ALERTS_MAX, 90_000));
    assert_eq!(raw.len(), ALERTS_MAX);
    let critical = reading.alerts.iter().filter(|alert| alert.severity == CRITICAL).count();
    assert_eq!(critical, 5_000, "all of them, wherever they stood");
}
