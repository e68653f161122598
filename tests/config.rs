//! The configuration as a user meets it: what loads, and what each mistake is answered.

#[path = "config/releases.rs"]
mod releases;
#[path = "config/response.rs"]
mod response;
#[path = "config/routers.rs"]
mod routers;
#[path = "config/tenants.rs"]
mod tenants;
#[path = "config/watched.rs"]
mod watched;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use engine::analysis::Policy;
use engine::settings::{Action, AfterCrash, Limits, OnFail, Pass, Step};
use quarterdeck::config::{EXAMPLE, Loaded, Problem, load, read};
use quarterdeck::io::settings::{
    FeedTarget, Given, HostTarget, ProbeTarget, RouterTarget, Secret, SignalsTarget, TaskTarget,
};

const HEAD: &str = "[environment]\nname = \"test\"\n";

fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/config"))
}

fn environment(name: &str) -> Option<String> {
    (name == "PAGERDUTY_TOKEN").then(|| "s3cret".to_owned())
}

fn lines(text: &str) -> Vec<String> {
    match load(text, fixtures(), &environment) {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .iter()
            .map(|problem| format!("{}:{}: {}", problem.line, problem.column, problem.text))
            .collect(),
    }
}

/// The problems of a whole file; each is compared by its beginning.
fn check_whole(text: &str, expected: &[&str]) {
    let found = lines(text);
    let same = found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, begin)| found.starts_with(begin));
    assert!(same, "for\n{text}\nfound {found:#?}\nexpected {expected:#?}");
}

/// The same below a valid `[environment]`: line 3 is the first of `text`.
fn check(text: &str, expected: &[&str]) {
    check_whole(&format!("{HEAD}{text}"), expected);
}

/// The same inside a service: line 5 is the first of `text`.
fn check_service(text: &str, expected: &[&str]) {
    check(&format!("[[service]]\nname = \"web\"\n{text}"), expected);
}

fn loaded(text: &str) -> Loaded {
    load(text, fixtures(), &environment).expect("the text is valid")
}

fn full() -> Loaded {
    loaded(include_str!("../fixtures/config/full.toml"))
}

#[test]
fn the_full_file_loads_in_the_engines_words() {
    let Loaded { engine, .. } = full();
    assert_eq!(engine.environment.name, "production");
    assert_eq!(engine.environment.timezone, "Europe/Lisbon");
    assert_eq!(engine.environment.band, "danger");
    assert_eq!(engine.hash.len(), 64);
    let service = &engine.services[0];
    assert_eq!((service.name.as_str(), service.alias.as_str()), ("checkout", "chk"));
    assert!(service.runbook.as_ref().is_some_and(|path| path.ends_with("runbooks/checkout.md")));
    let api = engine.probe(service.probes[0]);
    assert_eq!((api.name.as_str(), api.rise, api.fall), ("api", 2, 3));
    assert_eq!(api.degraded_above, Some(Duration::from_millis(500)));
    let database = engine.probe(service.probes[1]);
    assert_eq!(database.interval, Duration::from_secs(5));
    assert_eq!(database.timeout, Duration::from_secs(2));
    let router = engine.router(service.routers[0]);
    assert_eq!((router.name.as_str(), router.kind.as_str()), ("edge-1", "haproxy"));
    assert_eq!(router.reread, Duration::from_secs(5));
    assert_eq!(
        router.manual,
        "printf \"set server checkout/v1 weight {a}; set server checkout/v2 weight {b}\\n\" \
         | socat - UNIX-CONNECT:/run/haproxy/admin.sock"
    );
    let signals = service.signals.as_ref().expect("the service counts");
    assert_eq!(signals.versions, ["v1", "v2"]);
    assert_eq!(signals.slow_above, Some(Duration::from_millis(300)));
    assert_eq!(signals.window, Duration::from_mins(1));
    let feeds: Vec<_> = engine
        .feeds
        .iter()
        .map(|feed| (feed.kind.as_str(), feed.can_acknowledge, feed.can_escalate))
        .collect();
    assert_eq!(feeds, [("alertmanager", true, false), ("pagerduty", true, true)]);
    assert_eq!(engine.hosts[0].name, "here");
}

#[test]
fn the_full_file_loads_in_the_adapters_words() {
    let Loaded { engine, io, warnings } = full();
    assert_eq!(io.probes.len(), engine.probes.len());
    let ProbeTarget::Http { http, expect, .. } = &io.probes[0] else { panic!("{:?}", io.probes) };
    assert_eq!(http.url, "http://127.0.0.1:3000/health");
    assert_eq!(http.body_bytes_max, 64 * 1024);
    assert!(!http.follow_redirects && !http.compressed && expect.is_some());
    assert!(
        matches!(&io.probes[1], ProbeTarget::Tcp { address, .. } if address == "127.0.0.1:5432")
    );
    assert!(matches!(io.hosts[0], HostTarget::Local));
    assert!(matches!(io.hosts[1], HostTarget::NodeExporter(_)));
    let FeedTarget::PagerDuty { http, from } = &io.feeds[1] else { panic!("{:?}", io.feeds) };
    assert_eq!(
        (http.url.as_str(), from.as_str()),
        ("https://api.pagerduty.com", "oncall@example.com")
    );
    assert!(matches!(&http.token, Some(Secret::Known(token)) if token == "s3cret"));
    let RouterTarget::Haproxy { groups, .. } = &io.routers[0] else { panic!("{:?}", io.routers) };
    assert_eq!(groups, &[vec!["v1".to_owned()], vec!["v2".to_owned()]]);
    let Some(SignalsTarget::Prometheus { http, requests, errors, buckets, .. }) = &io.signals[0]
    else {
        panic!("{:?}", io.signals)
    };
    assert_eq!(http.url, "http://127.0.0.1:9090");
    assert_eq!(requests[1], "http_requests_total{version=\"v2\"}");
    assert!(errors.is_some() && buckets.is_some());
    // The two secrets of [notify] are not set, and there are no routers: that stops nothing.
    let missing = |warning: &&Problem| warning.text.contains("there is no ");
    assert_eq!(warnings.iter().filter(|it| !missing(it)).count(), 2, "{warnings:#?}");
    assert!(!format!("{io:?}").contains("s3cret"));
}

#[test]
fn a_service_of_ten_lines_is_enough() {
    let text = include_str!("../fixtures/config/minimal.toml");
    assert!(text.lines().count() <= 10);
    let Loaded { engine, io, warnings } = loaded(text);
    assert_eq!(engine.environment.timezone, "UTC");
    assert_eq!(engine.services[0].alias, "che");
    assert_eq!(engine.probes[0].name, "http");
    assert_eq!(io.signals.len(), 1);
    assert!(warnings.is_empty(), "{warnings:?}");
}

/// The example with every setting switched on.
fn example_switched_on() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting.to_owned(),
        Some(_) | None => line.to_owned(),
    };
    EXAMPLE.lines().map(on).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_loads_as_it_stands_and_switched_on() {
    let Loaded { warnings, .. } = loaded(EXAMPLE);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(lines(&example_switched_on()), Vec::<String>::new());
    let Loaded { engine, io, .. } = loaded(&example_switched_on());
    let flags = engine.services.iter().filter(|service| service.flag);
    assert_eq!((engine.services.len(), flags.count()), (5, 2));
    assert_eq!(engine.routers.len(), 6);
    assert!(matches!(io.signals[0], Some(SignalsTarget::Haproxy { .. })));
    let Some(SignalsTarget::Exposition { pages, .. }) = &io.signals[2] else {
        panic!("{:?}", io.signals)
    };
    assert_eq!(pages.len(), 2);
}

#[test]
fn unknown_keys_get_a_hint_and_the_known_list() {
    check_whole(
        "[environment]\nname = \"x\"\ntimezon = \"UTC\"\n",
        &["3:1: unknown key `timezon` in `environment`; did you mean `timezone`? known here: \
           band, name, notify, timezone"],
    );
    check("sevice = 1\n", &["3:1: unknown key `sevice` in `environment`"]);
    check_service("colour = 1\n", &["5:1: unknown key `colour` in `service`; known here: alias"]);
    check("[x\u{1b}y]\n", &["3:3: not TOML"]);
    check("[\"x\\u001by\"]\n", &["3:2: unknown key `x␛y` in the file"]);
}

#[test]
fn wrong_types_are_named() {
    check_whole(
        "version = 2\n[environment]\nname = 3\n",
        &["1:11: `version` is from 1 to 1", "3:8: `name` is a string, not an integer"],
    );
    check(
        "[[host]]\nname = \"h\"\nlocal = \"yes\"\n",
        &["5:9: `local` is true or false, not a string"],
    );
    check("host = 4\n", &["3:1: unknown key `host`"]);
    check(
        "[service]\nname = \"a\"\nprobe = \"x\"\n",
        &["5:9: `probe` is a table or a list of tables"],
    );
    check_service(
        "[service.probe]\nhttp = \"http://x/\"\nfall = 1.5\n",
        &["7:8: `fall` is a whole number, not a float"],
    );
}

#[test]
fn durations_and_numbers_have_limits() {
    let probe = "[service.probe]\nhttp = \"http://x/\"\n";
    check_service(&format!("{probe}interval = \"5 sec\"\n"), &["7:12: `interval` is no duration"]);
    check_service(&format!("{probe}interval = 5\n"), &["7:12: `interval` is a duration such as"]);
    check_service(
        &format!("{probe}interval = \"0s\"\n"),
        &["7:12: `interval` is from 100ms to 1d"],
    );
    check_service(
        &format!("{probe}fall = 0\nrise = -1\n"),
        &["7:8: `fall` is from 1", "8:8: `rise` is"],
    );
    check_service(
        &format!("{probe}body_max = 262145\n"),
        &["7:12: `body_max` is from 1 to 262144"],
    );
    check_service(
        &format!("{probe}degraded_above = \"1s\"\nunhealthy_above = \"1s\"\n"),
        &["8:19: `unhealthy_above` is not above"],
    );
}

#[test]
fn urls_and_addresses_are_checked_without_being_repeated() {
    check_service(
        "[service.probe]\nhttp = \"localhost:80\"\n",
        &["6:8: `http` is a URL that begins"],
    );
    check_service("[service.probe]\nhttp = \"nothing\"\n", &["6:8: `http` is no URL"]);
    check_service("[service.probe]\ntcp = \"db\"\n", &["6:7: `tcp` is an address"]);
    let found =
        lines(&format!("{HEAD}[[feed]]\nname=\"a\"\nalertmanager=\"http://u:s3cret@x/\"\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("credentials") && !found[0].contains("s3cret"), "{found:?}");
}

#[test]
fn names_are_unique_and_plain() {
    check(
        "[[host]]\nname = \"a\"\nlocal = true\n[[host]]\nname = \"a\"\nlocal = true\n",
        &["7:8: there is already a host named `a`"],
    );
    check(
        "[[service]]\nname = \"a\"\n[[service]]\nname = \"a\"\n",
        &["6:8: there is already a service named `a`"],
    );
    check_service(
        "[[service.probe]]\ntcp = \"a:1\"\n[[service.probe]]\ntcp = \"a:2\"\n\
         [[service.probe]]\nname = \"B!\"\ntcp = \"a:2\"\n",
        &[
            "7:1: there is already a probe of this service named `tcp`",
            "10:8: `name` is a name of 1 to 63",
        ],
    );
    check("[[service]]\nname = \"..\"\n", &["4:8: `name` is a name"]);
    check_whole("", &["1:1: the file needs `environment`"]);
    let band = "[environment]\nname = \"a\"\nband = \"pink\"\n";
    check_whole(band, &["3:8: `band` is one of `danger`, `caution` or `calm`"]);
    check(
        "[[metrics]]\nname = \"haproxy\"\nprometheus = \"http://x/\"\n",
        &["4:8: `haproxy` stands for"],
    );
}

#[test]
fn aliases_do_not_clash() {
    let service =
        |name: &str, alias: &str| format!("[[service]]\nname = \"{name}\"\nalias = \"{alias}\"\n");
    check(
        &format!("{}{}", service("a", "ab"), service("b", "AB")),
        &["8:9: there is already a service with the alias `AB`"],
    );
    check(&service("a", "abcde"), &["5:9: `alias` is 1 to 4 letters"]);
    check(&service("a", "a1"), &["5:9: `alias` is 1 to 4 letters"]);
    let names = ["checkout", "checkin", "cheese", "che", "123", "456", "web"];
    let mut text = HEAD.to_owned() + &service("first", "web");
    for name in names {
        text.extend(["[[service]]\nname = \"", name, "\"\n"]);
    }
    let found = loaded(&text).engine.services;
    let mut aliases: Vec<_> = found.iter().map(|service| service.alias.clone()).collect();
    assert_eq!(&aliases[..3], ["web", "che", "chc"]);
    assert!(aliases.iter().all(|alias| (1..=4).contains(&alias.len())), "{aliases:?}");
    aliases.sort();
    aliases.dedup();
    assert_eq!(aliases.len(), names.len() + 1, "{aliases:?}");
}

#[test]
fn a_secret_in_plain_is_refused_and_not_repeated() {
    let text = format!(
        "{HEAD}[[feed]]\nname = \"a\"\nalertmanager = \"http://x/\"\ntoken = \"s3cret\"\n\
         headers = {{ Authorization = \"s3cret\", accept = \"x/y\", \
         x-key = {{ value = \"s3cret\" }} }}\n"
    );
    let found = lines(&text);
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[0].starts_with("6:9: `token` is a secret and never stands in this file"));
    assert!(found[1].starts_with("7:29: `Authorization` is a secret"), "{found:#?}");
    assert!(!found.join("\n").contains("s3cret"), "{found:#?}");
}

#[test]
fn routers_name_their_kind_and_groups() {
    let router = |text: &str| format!("[service.router]\n{text}");
    let haproxy = "haproxy = \"/run/x.sock\"\n";
    check_service(
        &router(""),
        &["5:1: `router` needs one of `haproxy`, `nginx`, `http` or `command`"],
    );
    check_service(
        &router(haproxy),
        &["5:1: `router` needs `arms", "5:1: `router` needs `backend`"],
    );
    check_service(
        &router(&format!("{haproxy}backend = \"b;c\"\nstable = \"v1\"\ncanary = [\"v 2\"]\n")),
        &["7:11: `backend` holds a name outside", "9:10: `canary` holds a name outside"],
    );
    check_service(
        &router(&format!("{haproxy}backend = \"b\"\narms = {{ a = [\"x\"], b = [\"x\"] }}\n")),
        &["8:8: `x` stands in both groups"],
    );
    check_service(
        &router(&format!("{haproxy}backend = \"b\"\narms = {{ a = \"x\" }}\n")),
        &["8:8: `arms` needs `b`"],
    );
    check_service(
        &router(&format!("{haproxy}backend = \"b\"\nstable = \"x\"\n")),
        &["5:1: `router` needs `canary`"],
    );
    check_service(
        &router(&format!("{haproxy}http = {{ url = \"http://x/\" }}\n")),
        &["7:8: `router` takes only one of `haproxy` and `http`"],
    );
    check_service(
        &router("command = { read = [\"x\"], set = [\"y\"] }\n"),
        &["6:11: `set` has no place"],
    );
    check_service(
        &router(
            "nginx = { file = \"f\", pid = \"p\", test = [], \
             proof = \"http://x/\", split_by = \"$a;\" }\n\
             stable = \"a:1\"\ncanary = \"b\"\n",
        ),
        &[
            "6:41: `test` names no program",
            "6:77: `split_by` is a text of nginx variables",
            "8:10: `canary`: each server is an address",
        ],
    );
}

#[test]
fn a_router_may_have_another_way() {
    let router = |fallback: &str| {
        format!("[service.router]\nhttp = {{ url = \"http://x/\" }}\nfallback = {{ {fallback} }}\n")
    };
    check_service(&router("command = [\"/bin/true\"]"), &[]);
    check_service(&router("http = { url = \"http://y/\" }"), &[]);
    check_service(&router(""), &["7:12: `fallback` needs one of `maint`, `command` or `http`"]);
    check_service(&router("maint = true"), &["7:22: `maint` belongs to haproxy routers"]);
    let haproxy = "[service.router]\nhaproxy = \"/run/x.sock\"\nbackend = \"b\"\n\
                   stable = \"x\"\ncanary = \"y\"\nfallback = { maint = false }\n";
    check_service(haproxy, &["10:22: `maint` is true"]);
}

#[test]
fn the_name_of_an_nginx_variable_is_checked() {
    let nginx = |more: &str| {
        format!(
            "[service.router]\nstable = \"a:1\"\ncanary = \"b:1\"\nnginx = {{ file = \"f\", \
             pid = \"p\", test = [\"t\"], proof = \"http://x/\", {more} }}\n"
        )
    };
    check_service(&nginx("upstream = \"Web-1.x\""), &[]);
    check_service(&nginx("upstream = \"a;b\""), &["8:80: `upstream`"]);
    check_service(
        &nginx("upstream = \"a-b\", split_by = \"$remote_addr\""),
        &["8:80: `upstream` (by default the service's name)"],
    );
}

#[test]
fn signals_tell_the_groups_apart() {
    let metrics = "[[metrics]]\nname = \"prom\"\nprometheus = \"http://x/\"\n";
    let signals =
        |text: &str| format!("{metrics}[[service]]\nname = \"web\"\n[service.signals]\n{text}");
    check(&signals("requests = 'r'\n"), &["9:12: `requests` is the same for both groups"]);
    check(
        &signals("requests = 'rate(r{v=\"{arm}\"}[5m])'\n"),
        &["9:12: `requests` is a raw counter"],
    );
    check(
        &signals("metrics = \"pron\"\nrequests = 'r{v=\"{arm}\"}'\n"),
        &["9:11: `metrics` names no [[metrics]] of this file; did you mean `prom`?"],
    );
    check(
        &signals("metrics = \"haproxy\"\nerrors = 'x'\n"),
        &[
            "9:11: `metrics = \"haproxy\"` needs a haproxy router",
            "10:10: `errors` is not asked of HAProxy",
        ],
    );
    check(
        &signals("requests = 'r{v=\"{arm}\"}'\nslow_above = \"1s\"\nsum = 's'\n"),
        &["10:14: `slow_above` needs `latency`", "11:7: `sum` and `count` go together"],
    );
    check(
        &signals("requests = 'r{v=\"{arm}\"}'\nversions = { a = \"x\", b = \"x\" }\n"),
        &["10:27: both groups have the same version"],
    );
}

/// A service with a router and signals; line 10 is the first of `text`.
fn check_canary(signals: &str, text: &str, expected: &[&str]) {
    let head = "[[metrics]]\nname = \"prom\"\nprometheus = \"http://x/\"\n\
                [[service]]\nname = \"web\"\n\
                router = { command = { read = [\"r\"], set = [\"{b}\"] } }\n";
    check(&format!("{head}signals = {{ {signals} }}\n{text}"), expected);
}

const COUNTED: &str = "requests = 'r{v=\"{arm}\"}', errors = 'e{v=\"{arm}\"}'";

#[test]
fn a_canary_is_read_with_its_defaults() {
    let service = full().engine.services.remove(0);
    let canary = service.canary.expect("the service has a canary");
    let steps: Vec<u8> = canary.steps.iter().map(|step| step.get()).collect();
    assert_eq!(steps, [1, 5, 25, 50, 100]);
    assert_eq!((canary.pass, canary.on_fail), (Pass::Evidence, OnFail::RollBack));
    assert_eq!(canary.objective, Some(1.0));
    assert_eq!((canary.soak, canary.wait), (Duration::from_mins(1), Duration::from_mins(30)));
    assert_eq!((canary.every, canary.bake), (Duration::from_secs(10), Duration::from_mins(10)));
    assert_eq!((canary.requests_min, canary.limits), (0, Limits::default()));
    assert_eq!(canary.policy, Policy::default());
    let sources: Vec<&str> = canary.fail_when.iter().map(|rule| rule.source.as_str()).collect();
    assert_eq!(
        sources,
        ["canary.error_rate > 10.0", "canary.latency_p95 > stable.latency_p95 + 3000.0"]
    );
    assert_eq!(service.triggers.len(), 1);
    assert_eq!(service.triggers[0].span, Duration::from_mins(5));
    let engine = loaded(&example_switched_on()).engine;
    let timed = engine.services[2].canary.as_ref().expect("mail has a canary");
    assert_eq!((timed.pass, timed.requests_min), (Pass::Time, 100));
}

#[test]
fn the_rules_of_the_fleets_are_accepted() {
    let rules = [
        "canary.error_rate > stable.error_rate + 2.0",
        "canary.latency_avg > stable.latency_avg + 3000.0",
        "canary.error_rate > 10.0",
        "canary.latency_p95 > 10000.0",
        "canary.availability < 99.0 || canary.error_rate > 1.0",
        "canary.latency_avg > baseline.latency_avg * 1.2",
        "service.latency_p95 > 1.5 * baseline.latency_p95",
        "service.throughput < 0.8 * baseline.throughput",
        "service.availability < 99.5 && canary.share > 0.0",
    ];
    let all = format!("{COUNTED}, latency = 'b{{v=\"{{arm}}\"}}', sum = 's', count = 'c'");
    for rule in rules {
        let canary = "steps = [100]\nobjective = { error_rate = 1 }\nfail_when";
        check_canary(&all, &format!("[service.canary]\n{canary} = [\"{rule}\"]\n"), &[]);
        if !rule.contains("baseline") {
            check_canary(&all, &format!("[[service.rollback_when]]\nwhen = \"{rule}\"\n"), &[]);
        }
    }
}

#[test]
fn a_canary_that_could_never_work_is_refused() {
    let canary = |text: &str| format!("[service.canary]\n{text}");
    let check = |text: &str, expected: &[&str]| check_canary(COUNTED, &canary(text), expected);
    check(
        "steps = [5, 101]\npass = \"tim\"\nsoak = \"1h\"\nwait = \"1m\"\n",
        &[
            "11:13: `steps` is a whole percent, from 1 to 100",
            "12:8: `pass` is one of `evidence` or `time`; did you mean `time`?",
            "14:8: `wait` is shorter than `soak`",
        ],
    );
    check(
        "steps = [5, 5]\nobjective = { error_rate = 100.5 }\n",
        &["11:9: `steps` rise", "12:28: `error_rate` is from 0.001 to 99"],
    );
    check("steps = [0.5, 100]\n", &["11:10: `steps` is a whole percent, not a float"]);
    check("steps = [5, 50]\n", &["11:9: the last of `steps` is 100"]);
    check("steps = []\n", &["11:9: the last of `steps` is 100"]);
    check("soak = \"1m\"\n", &["10:1: `canary` needs `steps`"]);
    check("steps = [100]\nevery = \"1h\"\n", &["12:9: `every` is longer than `wait`"]);
    check(
        "steps = [100]\nrequests_min = 5\ntol = 1.5\nalpha = 1\n",
        &[
            "12:16: `requests_min` belongs to `pass = \"time\"`",
            "13:7: `tol` tolerates 1.5 more, but `harm` begins at 1.5 times",
            "14:9: `alpha` is from 0.00001 to 0.5",
        ],
    );
    check_canary(
        "requests = 'r{v=\"{arm}\"}'",
        &canary("steps = [100]\n"),
        &["10:1: `canary` judges errors, and [service.signals] has no `errors`"],
    );
    check_service(
        "[service.canary]\nsteps = [100]\n",
        &["5:1: `canary` needs [service.signals]", "5:1: `canary` needs a [[service.router]]"],
    );
    let router = "[service.router]\ncommand = { read = [\"r\"], set = [\"{b}\"] }\n";
    check_service(&format!("{router}[service.canary]\nsteps = [50, 100]\npass = \"time\"\n"), &[]);
    check_service(
        &format!(
            "{router}[service.canary]\nsteps = [50, 100]\npass = \"time\"\n\
             fail_when = [\"canary.error_rate > 1.0\"]\n"
        ),
        &["10:14: `fail_when` needs [service.signals]"],
    );
}

#[test]
fn rules_name_only_what_is_counted() {
    let trigger = |rule: &str| format!("[[service.rollback_when]]\nwhen = \"{rule}\"\n");
    let check = |rule: &str, expected: &[&str]| check_canary(COUNTED, &trigger(rule), expected);
    check("service.error_rate > 1.0", &[]);
    check("(a", &["11:8: `when` is no rule: "]);
    check(
        "canary.errro_rate > 1.0",
        &["11:8: `when` is no rule: `canary.errro_rate` is not known; \
           did you mean `canary.error_rate`?"],
    );
    check("host.cpu > 1.0", &["11:8: `when` is no rule: `host.cpu` is not known"]);
    // Outside of a release there is no baseline.
    check("baseline.requests > 1.0", &["11:8: `when` is no rule: `baseline.requests`"]);
    check(
        "service.latency_p95 > 1.0",
        &["11:8: `when` names `service.latency_p95`, which needs `latency`"],
    );
    check_canary(
        COUNTED,
        "[[service.rollback_when]]\nfor = \"1m\"\n",
        &["10:1: `rollback_when` needs `when`"],
    );
    check_canary(
        COUNTED,
        "[service.canary]\nsteps = [100]\nfail_when = [\n\"canary.errors > 5\",\n\
         \"canary.eror > 1.0\"]\n",
        &["14:1: `fail_when` is no rule: `canary.eror` is not known"],
    );
}

/// A plan of the service `web`, which has a probe, a router and no canary; line 18 is the first
/// step of `steps`.
fn check_steps(steps: &str, expected: &[&str]) {
    let text = format!(
        "[[metrics]]\nname = \"prom\"\nprometheus = \"http://x/\"\n\
         [[service]]\nname = \"web\"\nmaintenance = {{ on = [\"on\"], off = [\"off\"] }}\n\
         [service.probe]\nname = \"api\"\ntcp = \"127.0.0.1:1\"\n\
         [service.router]\ncommand = {{ read = [\"r\"], set = [\"{{b}}\"] }}\n\n\
         [plan.p]\nservice = \"web\"\nsteps = [\n{steps}\n]\n"
    );
    check(&text, expected);
}

#[test]
fn a_plan_is_read_in_the_engines_words() {
    let Loaded { engine, io, .. } = loaded(&example_switched_on());
    assert_eq!(engine.tasks.len(), io.tasks.len());
    let search = &engine.services[1];
    let deploy = engine.plan(search.deploy.expect("search is deployed by a plan"));
    assert_eq!(deploy.service, engine.service_named("search"));
    let names: Vec<&str> = deploy.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "backup is there",
            "run deploy",
            "check query up{job=\"search\"}",
            "call https://ci.example/hooks/{service}",
            "ask",
        ]
    );
    let run = &deploy.steps[1];
    assert_eq!(run.timeout, Duration::from_mins(10));
    assert_eq!(run.after_crash, AfterCrash::Check);
    let kinds = [run.verify, run.undo].map(|id| {
        let task = engine.task(id.expect("the step has both"));
        (task.kind.as_str(), task.label.as_str())
    });
    assert_eq!(kinds, [("check command", "running"), ("run", "deploy")]);
    let Action::Task(id) = run.action else { panic!("{run:?}") };
    let TaskTarget::Run(program) = &io.tasks[id.index()] else { panic!("{:?}", io.tasks) };
    assert_eq!(Path::new(&program.argv[0]), fixtures().join("deploy"));
    assert_eq!(program.argv[1..], ["{group}", "{version}"]);
    assert!(matches!(program.env["DEPLOY_TOKEN"], Given::Secret(Secret::Missing(_))));
    assert!(matches!(&program.stdin, Some(Given::Text(text)) if text.contains("{reason}")));
    let TaskTarget::Call { http, status, .. } = &io.tasks[task_of(&deploy.steps[3])] else {
        panic!("{:?}", io.tasks)
    };
    assert_eq!(
        (http.url.as_str(), &status[..]),
        ("https://ci.example/hooks/{service}", &[204][..])
    );
    assert_eq!(
        deploy.steps[4].action,
        Action::Ask { question: "Smoke tests are green. Go on?".to_owned(), default: Some(false) }
    );
    // The recovery plan names no service: the one that uses it is meant.
    let recovery = engine.plan(search.recovery.expect("search is recovered by a plan"));
    assert_eq!(recovery.service, deploy.service);
    let actions: Vec<&Action> = recovery.steps.iter().map(|step| &step.action).collect();
    assert_eq!(actions[0], &Action::Maintenance(true));
    assert_eq!(actions[1], &Action::Switch);
    assert_eq!(actions[2], &Action::Probe("api".to_owned()));
    assert_eq!(actions[3], &Action::Wait { span: Duration::from_secs(30), watch: true });
    assert_eq!(recovery.steps[2].after_crash, AfterCrash::Repeat);
    let by_hand = engine.plans.iter().find(|plan| plan.name == "by-hand").expect("the third plan");
    let sum = Duration::from_mins(30) * 4 + Duration::from_hours(1);
    assert_eq!(by_hand.steps[1].timeout, sum, "one step waits longer");
    let page = search.maintenance.expect("search has a page").map(|id| engine.task(id).clone());
    assert_eq!(page.map(|task| task.label), ["page", "page"]);
}

fn task_of(step: &Step) -> usize {
    let Action::Task(id) = step.action else { panic!("{step:?}") };
    id.index()
}

#[test]
fn steps_without_a_deadline_are_refused() {
    check_steps("{ run = [\"x\"] },", &["18:1: a step that has `run` needs `timeout`"]);
    check_steps("{ ask = \"ok?\" },", &["18:1: a step that has `ask` needs `timeout`"]);
    check_steps(
        "{ call = { url = \"http://x/\" } },",
        &["18:1: a step that has `call` needs `timeout`"],
    );
    check_steps(
        "{ wait = \"1s\", timeout = \"1s\" },",
        &["18:26: `timeout` is not given beside `wait`"],
    );
    check_steps("{ run = [\"x\"], timeout = \"8d\" },", &["18:26: `timeout` is from 100ms to 7d"]);
    check_steps(
        "{ check = { probe = \"api\" } }, { check = { command = [\"x\"] } },\n\
         { split = 10 }, { switch = true }, { note = \"n\" }, { maintenance = \"on\" },",
        &[],
    );
}

#[test]
fn a_step_has_one_action_and_what_goes_with_it() {
    check_steps("{ name = \"x\" },", &["18:1: `step` needs one of `check`, `run`"]);
    check_steps(
        "{ note = \"x\", switch = true },",
        &["18:10: `step` takes only one of `switch` and `note`"],
    );
    check_steps(
        "{ rum = [\"x\"] },",
        &["18:1: `step` needs one of", "18:3: unknown key `rum` in `step`; did you mean `run`?"],
    );
    check_steps(
        "{ note = \"x\", watch = true, default = \"yes\", env = {}, undo = [\"u\"] },",
        &[
            "18:23: `watch` belongs to `wait`",
            "18:39: `default` belongs to `ask`",
            "18:52: `env` belongs to `run`",
            "18:63: `undo` has nothing to do here",
        ],
    );
    check_steps(
        "{ switch = false },\n{ split = 101 },\n{ split = 1.5 },",
        &[
            "18:12: `switch` is true",
            "19:11: `split` is a whole percent, from 0 to 100",
            "20:11: `split` is a whole percent, not a float",
        ],
    );
    check_steps(
        "{ switch = true, after_crash = \"check\" },",
        &["18:32: `after_crash = \"check\"` needs `verify`"],
    );
    check_steps(
        "{ note = \"a\", name = \"n\" },\n{ note = \"b\", name = \"n\" },\n\
         { note = \"\\u001b[2J\" },",
        &["19:22: there is already a step of this name", "20:10: `note` is 1 to 1000 printable"],
    );
    check_steps("", &["17:9: `steps` is empty"]);
}

#[test]
fn what_a_step_names_is_there() {
    check_steps(
        "{ check = { probe = \"apii\" } },\n{ canary = true },",
        &[
            "18:21: `web` has no probe named `apii`; did you mean `api`?",
            "19:12: `canary`: the service `web` has no [service.canary]",
        ],
    );
    check(
        "[plan.p]\n\
         steps = [{ split = 5 }, { check = { probe = \"x\" } }, { maintenance = \"on\" }]\n",
        &[
            "4:20: `split` needs to know whose it is: write `service",
            "4:45: `probe` needs to know whose it is",
            "4:70: `maintenance` needs to know whose it is",
        ],
    );
    check(
        "[plan.p]\nservice = \"x\"\nsteps = [{ switch = true }]\n",
        &["4:11: there is no [[service]]"],
    );
    check(
        "[[service]]\nname = \"web\"\ndeploy = \"depoly\"\n[[service]]\nname = \"b\"\n\
         recovery = \"p\"\n\
         [plan.deploy]\nservice = \"web\"\nsteps = [{ switch = true }, { maintenance = \"on\" }]\n\
         [plan.p]\nservice = \"web\"\nsteps = [{ note = \"n\" }]\n",
        &[
            "5:10: there is no [plan.depoly]; did you mean `deploy`?",
            "8:12: `recovery` names a plan of the service `web`",
            "11:21: `switch` moves traffic, and `web` has no router",
            "11:45: `web` has no `maintenance",
        ],
    );
    check_steps(
        "{ check = { query = 'x', metrics = \"pron\", above = 1 } },\n\
         { check = { query = 'x' } },\n\
         { check = { file = \"f\", exit = 1 } },",
        &[
            "18:36: `metrics` names no Prometheus server of this file; did you mean `prom`?",
            "19:21: `query` needs `above` or `below`",
            "20:32: `exit` belongs to `command`",
        ],
    );
    check_steps(
        "{ check = { command = [\"x\"], output = \"(\" } },",
        &["18:39: `output` is no regular expression"],
    );
}

#[test]
fn placeholders_are_known_and_stay_in_their_place() {
    check_steps(
        "{ run = [\"x\", \"{vesion}\"], timeout = \"1s\" },\n\
         { run = [\"{version}\"], timeout = \"1s\" },",
        &[
            "18:15: `run` has an unknown placeholder `{vesion}`; did you mean `{version}`?",
            "19:9: `run`: the program itself is never a placeholder",
        ],
    );
    check_steps(
        "{ call = { url = \"http://x/{a}\", body = \"{b}\" }, timeout = \"1s\" },",
        &[
            "18:18: `url` has an unknown placeholder `{a}`",
            "18:41: `body` has an unknown placeholder `{b}`",
        ],
    );
    check_steps(
        "{ call = { url = \"http://x{version}/\" }, timeout = \"1s\" },",
        &["18:18: `url`"],
    );
    check_steps("{ run = [\"awk\", \"{ print }\"], timeout = \"1s\" },", &[]);
}

#[test]
fn a_credential_of_a_program_is_a_secret() {
    let found = lines(&format!(
        "{HEAD}[plan.p]\nsteps = [{{ run = [\"x\"], timeout = \"1s\", \
         env = {{ API_TOKEN = \"s3cret\", TOKEN_FILE = \"/x\", \"A B\" = \"x\" }} }}]\n"
    ));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("`API_TOKEN` is a secret and never stands"), "{found:#?}");
    assert!(!found.join("\n").contains("s3cret"), "{found:#?}");
}

#[test]
fn time_zones_are_known() {
    check_whole(
        "[environment]\nname = \"x\"\ntimezone = \"Europe/Lisbonn\"\n",
        &["3:12: `timezone` is an IANA name such as \"Europe/Lisbon\"; \
             did you mean `Europe/Lisbon`?"],
    );
}

#[test]
fn all_problems_come_at_once_in_order() {
    let text = format!("{HEAD}[[host]]\nlocal = 1\nx = 2\n[[feed]]\nname = \"A\"\n[[service]]\n");
    let found = lines(&text);
    assert_eq!(found.len(), 6, "{found:#?}");
}

#[test]
fn broken_toml_gives_each_line_once() {
    check_whole("a = \n[environment]\nname = \"x\nb = = 2\n", &["1:5: not TOML", "3:", "4:"]);
}

#[test]
fn a_megabyte_of_garbage_is_answered_quickly() {
    let begin = std::time::Instant::now();
    let garbage: String = (0..1024 * 1024_u32)
        .map(|n| char::from(b' ' + u8::try_from(n.wrapping_mul(n) / 7 % 95).expect("small")))
        .collect();
    assert!(!lines(&garbage).is_empty());
    assert!(lines(&"[[".repeat(500_000)).len() <= 101);
    assert!(lines(&"=\n".repeat(500_000)).len() <= 101);
    assert!(lines(&format!("a = {}", "[".repeat(1_000_000))).len() <= 101);
    assert_eq!(lines(&"x".repeat(1024 * 1024 + 1)).len(), 1);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[test]
fn a_file_is_read_only_when_nobody_else_may_write_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("quarterdeck.toml");
    let failure = |path: &Path| read(path).expect_err("the file is refused");
    assert!(failure(&path).contains("cannot be read"));
    assert!(failure(dir.path()).contains("is not a file"));
    fs::write(&path, include_str!("../fixtures/config/minimal.toml")).expect("written");
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
    mode(0o644);
    assert_eq!(read(&path).expect("the file is fine").engine.environment.name, "staging");
    mode(0o664);
    assert!(failure(&path).contains("written by others"));
    mode(0o600);
    fs::write(&path, b"a = \"\xff\"").expect("written");
    assert!(failure(&path).contains("not UTF-8 text (byte 6)"));
    fs::write(&path, vec![b'#'; 1024 * 1024 + 1]).expect("written");
    assert!(failure(&path).contains("larger than 1 MiB"));
    fs::write(&path, "[environment]\nname = 1\nx = 2\n").expect("written");
    let shown = path.display();
    let text = failure(&path);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with(&format!("{shown}:2:8: `name` is a string")), "{text}");
    assert!(lines[1].starts_with(&format!("{shown}:3:1: unknown key `x`")), "{text}");
}

/// The manual command of a service's one router.
fn check_manual(router: &str, expected: &str) {
    let text = format!("{HEAD}[[service]]\nname = \"web\"\n[service.router]\n{router}");
    assert_eq!(loaded(&text).engine.routers[0].manual, expected);
}

#[test]
fn each_router_can_be_moved_by_hand() {
    check_manual(
        "haproxy = \"/run/x.sock\"\nbackend = \"b\"\nstable = [\"s1\", \"s2\"]\ncanary = \"c\"\n",
        "printf \"set server b/s1 weight $(({a}*1)); set server b/s2 weight $(({a}*1)); \
         set server b/c weight $(({b}*2))\\n\" | socat - UNIX-CONNECT:/run/x.sock",
    );
    check_manual(
        "nginx = { file = \"/etc/x y.conf\", pid = \"/run/n.pid\", test = [\"nginx\", \"-t\"], \
         proof = \"http://x/\" }\narms = { a = [\"x:1\", \"x:2\"], b = \"y:1\" }\n",
        "edit '/etc/x y.conf' (block web: set the weight of x:1 and x:2 to {a}*1, y:1 to {b}*2; \
         mark a server of weight 0 `down`), then: nginx -t && kill -HUP \"$(cat /run/n.pid)\"",
    );
    check_manual(
        "http = { url = \"https://x/split\", token = { env = \"PAGERDUTY_TOKEN\" } }\n",
        "printf 'Authorization: Bearer %s' \"$PAGERDUTY_TOKEN\" | \
         curl -sS --fail -X PUT -H @- -H 'Content-Type: application/json' \
         -d '{\"stable\":{a},\"canary\":{b}}' https://x/split",
    );
    check_manual(
        "http = { url = \"https://x/split\", token = { file = \"/etc/q d/t\" } }\n",
        "printf 'Authorization: Bearer %s' \"$(cat '/etc/q d/t')\" | \
         curl -sS --fail -X PUT -H @- -H 'Content-Type: application/json' \
         -d '{\"stable\":{a},\"canary\":{b}}' https://x/split",
    );
    check_manual(
        "command = { read = [\"x\"], set = [\"/bin/split\", \"of web\", \"{canary}\"] }\n",
        "/bin/split 'of web' {b}",
    );
}

#[test]
fn programs_are_found_from_the_file_on() {
    let text = "[service.router]\ncommand = { read = [\"./split\"], set = [\"split\", \"{a}\"] }\n";
    let io = loaded(&format!("{HEAD}[[service]]\nname = \"web\"\n{text}")).io;
    let RouterTarget::Command { read, set, .. } = &io.routers[0] else {
        panic!("{:?}", io.routers)
    };
    assert_eq!(Path::new(&read[0]), fixtures().join("split"));
    assert_eq!(set[0], "split");
}

#[test]
fn a_page_for_each_version_is_scraped() {
    let text = format!(
        "{HEAD}[[metrics]]\nname = \"p\"\nexposition = \"http://x/{{arm}}/metrics\"\n\
         [[service]]\nname = \"web\"\n[service.signals]\nrequests = \"r\"\n\
         versions = {{ a = \"v1\", b = \"v2\" }}\n"
    );
    let io = loaded(&text).io;
    let Some(SignalsTarget::Exposition { pages, requests, .. }) = &io.signals[0] else {
        panic!("{:?}", io.signals)
    };
    let urls: Vec<&str> = pages.iter().map(|page| page.url.as_str()).collect();
    assert_eq!(urls, ["http://x/v1/metrics", "http://x/v2/metrics"]);
    assert_eq!(requests, &["r".to_owned(), "r".to_owned()]);
}

#[test]
fn text_of_the_file_cannot_reach_the_terminal() {
    let text = "runbook = \"\\u001b]52;c;x\\u0007\"\n";
    let found = loaded(&format!("{HEAD}[[service]]\nname = \"web\"\n{text}")).warnings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(!found[0].text.contains(char::is_control), "{found:?}");
    check_service(
        "[service.probe]\nhttp = \"http://x/\"\n\"\\u202e\" = 1\n",
        &["7:1: unknown key `⟨U+202E⟩` in `probe`"],
    );
}
