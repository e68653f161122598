//! The tasks of plans: what runs, calls and checks become of hostile programs and servers.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use engine::reading::{TaskAnswer, TaskContext};
use engine::types::Untrusted;
use quarterdeck::io::http::{Client, Method};
use quarterdeck::io::settings::{
    Format, Given, HttpTarget, ProbeTarget, Program, Secret, TaskTarget,
};
use quarterdeck::io::task;

/// Longer than anything here takes, shorter than a person waits.
const BUDGET: Duration = Duration::from_secs(20);
/// What must be late.
const SHORT: Duration = Duration::from_secs(2);

fn context() -> TaskContext {
    TaskContext {
        service: "checkout".to_owned(),
        version: "1.2.3".to_owned(),
        group: "b".to_owned(),
        reason: Untrusted::new("smoke \"tests\""),
        ..TaskContext::default()
    }
}

fn perform_with(target: &TaskTarget, context: &TaskContext, budget: Duration) -> TaskAnswer {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime").block_on(async {
        let client = Client::new().expect("a client");
        task::perform(&client, target, context, budget).await
    })
}

fn perform(target: &TaskTarget, budget: Duration) -> TaskAnswer {
    perform_with(target, &context(), budget)
}

fn program(argv: &[&str]) -> Program {
    Program {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: BTreeMap::new(),
        stdin: None,
    }
}

fn script(script: &str) -> Program {
    program(&["/bin/sh", "-c", script])
}

/// The kind of an answer and its text, a line for each line.
fn words(answer: &TaskAnswer) -> (&'static str, String) {
    let (kind, text) = match answer {
        TaskAnswer::Passed { output } => ("passed", output),
        TaskAnswer::Failed { output } => ("failed", output),
        TaskAnswer::Unknown { why } => ("unknown", why),
    };
    assert!(text.display().len() <= 4096);
    (kind, text.display().replace('␊', "\n"))
}

fn check(target: &TaskTarget, kind: &str, text: &str) {
    let answer = perform(target, BUDGET);
    assert_eq!(words(&answer), (kind_of(kind), text.to_owned()), "{target:?}");
}

/// The same by a part of the text.
fn check_part(target: &TaskTarget, kind: &str, part: &str) {
    let (found, text) = words(&perform(target, BUDGET));
    assert!(found == kind && text.contains(part), "{found}: {text}\nfor {target:?}");
}

fn kind_of(kind: &str) -> &'static str {
    ["passed", "failed", "unknown"].into_iter().find(|known| *known == kind).expect("a kind")
}

#[test]
fn arguments_get_the_values_of_the_release() {
    let run = |argv: &[&str]| TaskTarget::Run(program(argv));
    let script = "printf '<%s>' \"$@\"; echo low >&2; echo";
    let argv =
        ["/bin/sh", "-c", script, "sh", "app:{version}", "{group}", "{reason}", "$(id) {x", ""];
    let (kind, text) = words(&perform(&run(&argv), BUDGET));
    // Two streams have no order between them, but a line stays whole.
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(kind, "passed");
    assert_eq!(lines, ["<app:1.2.3><b><smoke \"tests\"><$(id) {x><>", "low"]);
    check_part(&run(&["/bin/echo", "{vresion}"]), "failed", "{vresion} stands for nothing");
}

#[test]
fn a_value_never_becomes_an_option() {
    let dir = tempfile::tempdir().expect("a directory");
    let mark = dir.path().join("ran");
    let touch = format!("touch {}", mark.display());
    let target = TaskTarget::Run(program(&["/bin/sh", "-c", &touch, "sh", "{version}"]));
    for (version, part) in
        [("--delete", "become an option"), ("", "not known here"), ("1\n2", "control character")]
    {
        let context = TaskContext { version: version.to_owned(), ..context() };
        let (kind, text) = words(&perform_with(&target, &context, BUDGET));
        assert!(kind == "failed" && text.contains(part), "{kind}: {text}");
        assert!(!mark.exists(), "it was started with {version:?}");
    }
    assert_eq!(words(&perform(&target, BUDGET)).0, "passed");
    assert!(mark.exists());
}

#[test]
fn a_flood_is_read_on_and_its_end_kept() {
    let flood = "i=0; while [ $i -lt 20000 ]; do echo \"line $i of a flood of words\"; \
                 i=$((i+1)); done; echo last; exit 3";
    let (kind, text) = words(&perform(&TaskTarget::Run(script(flood)), BUDGET));
    assert_eq!(kind, "failed");
    assert!(text.starts_with("exit code 3\nline 19981 of") && text.ends_with("\nlast"), "{text}");
    let begin = Instant::now();
    let (kind, text) = words(&perform(&TaskTarget::Run(script("yes flood")), SHORT));
    // The very last line may be cut where the program was.
    let lines: Vec<&str> = text.lines().collect();
    assert!(kind == "unknown" && lines.len() == 21 && lines[19] == "flood", "{kind}: {text}");
    assert!(begin.elapsed() < SHORT + BUDGET, "{:?}", begin.elapsed());
}

#[test]
fn the_last_words_are_kept_at_the_deadline() {
    let late = "echo step one; echo step two >&2; sleep 300";
    let (kind, text) = words(&perform(&TaskTarget::Run(script(late)), SHORT));
    assert_eq!(kind, "unknown", "{text}");
    assert!(text.starts_with("run /bin/sh: no end within 2s\n"), "{text}");
    assert!(text.contains("step one") && text.contains("step two"), "{text}");
    let late = TaskTarget::Command { program: script(late), exit: 0, output: None };
    let (kind, text) = words(&perform(&late, SHORT));
    assert!(kind == "failed" && text.contains("step two"), "{kind}: {text}");
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie waits for its parent only.
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

fn gone(pid: &str) -> bool {
    let deadline = Instant::now() + BUDGET;
    while is_alive(pid) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    !is_alive(pid)
}

#[test]
fn children_end_with_the_program() {
    let forks = "sleep 300 & echo $!; sleep 300 & echo $!";
    for (script_of, budget, expected) in [
        (format!("{forks}; exit 0"), BUDGET, "passed"),
        (format!("{forks}; wait"), SHORT, "unknown"),
    ] {
        let begin = Instant::now();
        let (kind, text) = words(&perform(&TaskTarget::Run(script(&script_of)), budget));
        assert_eq!(kind, expected, "{text}");
        assert!(begin.elapsed() < BUDGET, "it waited for the children");
        let pids: Vec<&str> =
            text.lines().filter(|line| line.bytes().all(|b| b.is_ascii_digit())).collect();
        assert_eq!(pids.len(), 2, "{text}");
        assert!(pids.iter().all(|pid| gone(pid)), "{pids:?}");
    }
}

#[test]
fn a_program_that_a_signal_ends_is_no_success() {
    let killed = script("echo before; kill -9 $$");
    check(&TaskTarget::Run(killed.clone()), "unknown", "a signal ended it\nbefore");
    let check_it = TaskTarget::Command { program: killed, exit: 0, output: None };
    check(&check_it, "failed", "a signal ended it\nbefore");
    check_part(&TaskTarget::Run(program(&["/nowhere/x"])), "failed", "run /nowhere/x: ");
}

#[test]
fn secrets_come_by_variable_or_input_and_do_not_come_back() {
    let secret = || Given::Secret(Secret::Known("hunter2-s3cret".to_owned()));
    let mut own = script(
        "read line; [ \"$TOKEN\" = \"$line\" ] && echo same; echo \"$TOKEN $NAME\"; \
         [ -z \"$CARGO_MANIFEST_DIR\" ] && tr '\\0' ' ' < /proc/$$/cmdline",
    );
    own.env.insert("TOKEN".to_owned(), secret());
    own.env.insert("NAME".to_owned(), Given::Text("app-{version}".to_owned()));
    own.stdin = Some(secret());
    let (kind, text) = words(&perform(&TaskTarget::Run(own.clone()), BUDGET));
    assert_eq!(kind, "passed", "{text}");
    assert!(text.starts_with("same\n*** app-1.2.3\n/bin/sh"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
    own.env.insert(
        "OTHER".to_owned(),
        Given::Secret(Secret::Missing("file /x: not there".to_owned())),
    );
    check(&TaskTarget::Run(own), "failed", "a secret is missing: file /x: not there");
}

#[test]
fn a_secret_is_what_its_file_holds_when_it_is_used() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("secret");
    let secret = || Secret::File(path.clone());
    let mut own = script("read line; echo \"$TOKEN $line\" | tr 3 e");
    own.env.insert("TOKEN".to_owned(), Given::Secret(secret()));
    own.stdin = Some(Given::Secret(secret()));
    let server = server(vec![answer(200, "hello s3cret-1 s3cret-2"), answer(401, "no s3cret-2")]);
    let mut http = http(&server.url);
    http.token = Some(secret());
    let (method, body, status) = (Method::Post, None, Vec::new());
    let call = TaskTarget::Call { http, method, body, status };
    let missing = format!("a secret is missing: file {}: No such file", path.display());
    check_part(&TaskTarget::Run(own.clone()), "failed", &missing);
    check_part(&call, "failed", &missing);
    std::fs::write(&path, "s3cret-1\n").expect("it can be written");
    check(&TaskTarget::Run(own.clone()), "passed", "secret-1 secret-1");
    check(&call, "passed", "answered 200: hello *** s3cret-2");
    std::fs::write(&path, "s3cret-2\n").expect("it can be written");
    check(&TaskTarget::Run(own), "passed", "secret-2 secret-2");
    check(&call, "failed", "answered 401: no ***");
    let asked = server.asked.join().expect("the server ends");
    assert!(asked[1].contains("authorization: bearer s3cret-2"), "{asked:?}");
}

#[test]
fn a_command_is_checked_by_its_code_and_output() {
    let target = |text: &str, exit, output: Option<&str>| TaskTarget::Command {
        program: script(text),
        exit,
        output: output.map(|pattern| regex_lite::Regex::new(pattern).expect("a pattern")),
    };
    check(&target("echo ok; exit 7", 7, Some("(?m)^ok$")), "passed", "ok");
    check(&target("echo no", 0, Some("^ok")), "failed", "its output does not match\nno");
    check(&target("echo ok >&2", 0, Some("^ok")), "failed", "its output does not match\nok");
    check(&target("exit 1", 0, None), "failed", "exit code 1, not 0");
}

#[test]
fn a_file_is_checked() {
    let dir = tempfile::tempdir().expect("a directory");
    let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
    put("dump-1.2.3.sql", "insert");
    put("empty", "");
    put("good.json", "{\"a\": [1, 2]}");
    put("bad.json", "{\"a\": [1,\n 2}");
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    let file = |path: &str, json: bool| TaskTarget::File {
        dir: dir.path().to_owned(),
        path: path.to_owned(),
        format: json.then_some(Format::Json),
        keys: Vec::new(),
        names: Vec::new(),
    };
    check(&file("dump-{version}.sql", false), "passed", "6 bytes");
    check(&file("good.json", true), "passed", "13 bytes");
    check_part(&file("bad.json", true), "failed", "at line 2 column 3");
    check_part(&file("empty", false), "failed", "is empty");
    check_part(&file("pipe", false), "failed", "is not a file");
    check_part(&file(".", false), "failed", "is not a file");
    check_part(&file("dump-{service}.sql", false), "failed", "dump-checkout.sql: No such file");
    let naming = |name: &str| TaskTarget::File {
        dir: dir.path().to_owned(),
        path: "versions".to_owned(),
        format: None,
        keys: Vec::new(),
        names: vec!["app".to_owned(), name.to_owned()],
    };
    put("versions", "app 1.2.3 2.0.0\n");
    check(&naming("{version}"), "passed", "16 bytes");
    check_part(&naming("{service}"), "failed", "checkout");
    let elsewhere = TaskContext { version: "../x".to_owned(), ..context() };
    let (kind, text) = words(&perform_with(&file("dump-{version}", false), &elsewhere, BUDGET));
    assert!(kind == "failed" && text.contains("another folder"), "{text}");
}

/// Answers each connection with the next of `answers`, in a thread; gives what was asked.
struct Server {
    url: String,
    asked: std::thread::JoinHandle<Vec<String>>,
}

fn server(answers: Vec<String>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut peer, _) = listener.accept().expect("a client");
            peer.set_read_timeout(Some(BUDGET)).expect("a timeout");
            asked.push(request(&mut peer));
            // An empty answer is a peer that hangs up.
            peer.write_all(answer.as_bytes()).expect("the client reads");
        }
        asked
    });
    Server { url, asked }
}

fn request(peer: &mut std::net::TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        peer.read_exact(&mut byte).expect("a request");
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).expect("a head is text").to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
    peer.read_exact(&mut body).expect("a body");
    format!("{head}{}", String::from_utf8(body).expect("a body is text"))
}

fn answer(status: u16, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

fn http(url: &str) -> HttpTarget {
    HttpTarget {
        url: url.to_owned(),
        headers: BTreeMap::new(),
        token: Some(Secret::Known("hunter2-s3cret".to_owned())),
        timeout: BUDGET,
        body_bytes_max: 64 * 1024,
        follow_redirects: false,
        compressed: false,
        ca_file: None,
        close: false,
    }
}

fn call(url: &str, method: Method, body: Option<&str>, status: &[u16]) -> TaskTarget {
    let (body, status) = (body.map(str::to_owned), status.to_vec());
    TaskTarget::Call { http: http(url), method, body, status }
}

#[test]
fn a_call_says_what_became_of_it() {
    let cases: [(u16, &[u16], Method, &str); 8] = [
        (204, &[], Method::Post, "passed"),
        (200, &[202], Method::Post, "failed"),
        (404, &[200, 404], Method::Put, "passed"),
        (302, &[], Method::Post, "failed"),
        (500, &[], Method::Post, "failed"),
        (503, &[], Method::Put, "failed"),
        (504, &[], Method::Post, "unknown"),
        (401, &[], Method::Get, "failed"),
    ];
    let answers = cases.map(|(status, ..)| answer(status, if status == 204 { "" } else { "why" }));
    let server = server(answers.to_vec());
    for (code, wanted, method, kind) in cases {
        let found = words(&perform(&call(&server.url, method, None, wanted), BUDGET));
        let text = format!("answered {code}{}", if code == 204 { "" } else { ": why" });
        assert_eq!(found, (kind_of(kind), text));
    }
    server.asked.join().expect("the server ends");
}

#[test]
fn a_call_carries_its_values_in_their_places() {
    let server = server(vec![answer(200, "token hunter2-s3cret was fine \u{1b}[31m")]);
    let url = format!("{}/hooks/{{service}}?v={{version}}&r={{reason}}", server.url);
    let body = "{\"reason\":\"{reason}\"}";
    check(
        &call(&url, Method::Post, Some(body), &[]),
        "passed",
        "answered 200: token *** was fine ␛[31m",
    );
    let asked = server.asked.join().expect("the server ends").remove(0);
    let line = "post /hooks/checkout?v=1.2.3&r=smoke%20%22tests%22 http/1.1\r\n";
    assert!(asked.starts_with(line), "{asked}");
    assert!(asked.contains("authorization: bearer hunter2-s3cret"), "{asked}");
    assert!(asked.ends_with("{\"reason\":\"smoke \\\"tests\\\"\"}"), "{asked}");
}

#[test]
fn a_call_without_an_answer_is_unknown() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let begin = Instant::now();
    let (kind, text) = words(&perform(&call(&url, Method::Post, None, &[]), SHORT));
    assert!(kind == "unknown" && text.contains("no answer within 2s"), "{kind}: {text}");
    assert_eq!(words(&perform(&call(&url, Method::Get, None, &[]), SHORT)).0, "failed");
    assert!(begin.elapsed() < BUDGET);
    let server = server(vec![String::new()]);
    check_part(&call(&server.url, Method::Post, None, &[]), "unknown", "POST ");
    let mut without = http(&url);
    without.token = Some(Secret::Missing("environment variable X is not set".to_owned()));
    let target =
        TaskTarget::Call { http: without, method: Method::Post, body: None, status: Vec::new() };
    check_part(&target, "failed", "environment variable X is not set");
}

#[test]
fn a_query_is_judged_by_its_values() {
    let vector = |rows: &str| {
        let body = format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{rows}]}}}}"
        );
        answer(200, &body)
    };
    let row = |value: &str| format!("{{\"metric\":{{}},\"value\":[1.5,\"{value}\"]}}");
    let cases = [
        (vector(&row("0.5")), "passed", "0.5"),
        (vector(&row("1")), "failed", "1 is not above 0 below 1"),
        (vector(""), "failed", "no data"),
        (vector(&format!("{},{}", row("0.5"), row("NaN"))), "failed", "no data"),
        (answer(503, "busy"), "failed", "prometheus, a check: HTTP 503: busy"),
    ];
    let server = server(cases.iter().map(|(answer, ..)| answer.clone()).collect());
    let query = "errors{version=\"{version}\"}".to_owned();
    let target = TaskTarget::Query {
        http: http(&server.url),
        query,
        baseline: None,
        above: Some(0.0),
        below: Some(1.0),
    };
    for (_, kind, text) in &cases {
        check(&target, kind, text);
    }
    let asked = server.asked.join().expect("the server ends");
    let path = "get /api/v1/query?query=errors%7bversion%3d%221.2.3%22%7d http/1.1";
    assert!(asked[0].starts_with(path), "{}", asked[0]);
}

#[test]
fn a_probe_is_awaited() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let probe = |address: &str| {
        TaskTarget::Probe(ProbeTarget::Tcp { address: address.to_owned(), timeout: SHORT })
    };
    check(&probe(&address), "passed", "UP");
    // A port that a test gave back may be another's by now; at this one nobody listens.
    let (kind, text) = words(&perform(&probe("127.0.0.1:1"), SHORT));
    assert_eq!((kind, text.as_str()), ("failed", "not UP within 2s: DOWN connection refused"));
}

#[test]
fn a_check_with_tries_is_asked_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let count = dir.path().join("count");
    let again = |passes_at: usize, retries: u32| {
        let _ = std::fs::remove_file(&count);
        let text = format!("echo x >> {0}; [ $(wc -l < {0}) -ge {passes_at} ]", count.display());
        let target = TaskTarget::Command { program: script(&text), exit: 0, output: None };
        let pause = Duration::from_millis(10);
        let target = TaskTarget::Again { target: Box::new(target), retries, pause };
        let found = words(&perform(&target, BUDGET));
        let tries = std::fs::read_to_string(&count).expect("reads").lines().count();
        (found.0, tries, found.1)
    };
    assert_eq!(again(1, 5), ("passed", 1, String::new()));
    assert_eq!(again(3, 5), ("passed", 3, String::new()));
    assert_eq!(again(9, 2), ("failed", 3, "exit code 1, not 0 (try 3)".to_owned()));
    // The whole time is the step's; a try that hangs leaves some for the next.
    let hangs = TaskTarget::Command { program: script("sleep 60"), exit: 0, output: None };
    let pause = Duration::from_millis(10);
    let target = TaskTarget::Again { target: Box::new(hangs), retries: 100, pause };
    let begin = std::time::Instant::now();
    let (kind, said) = words(&perform(&target, Duration::from_secs(2)));
    assert!(kind == "failed" && said.contains("no end within"), "{kind}: {said}");
    let tries =
        said.rsplit("(try ").next().and_then(|rest| rest.trim_end_matches(')').parse().ok());
    assert!(tries.is_some_and(|tries: u32| tries > 1), "{said}");
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[test]
fn what_the_file_says_is_what_runs() {
    let text = "[environment]\nname = \"t\"\n[plan.p]\nsteps = [{ run = [\"/bin/echo\", \
                \"{version}\"], timeout = \"5s\", verify = { file = \"quarterdeck.toml\" } }]\n";
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("quarterdeck.toml"), text).expect("written");
    let loaded = quarterdeck::config::load(text, Path::new(dir.path()), &|_| None).expect("valid");
    assert_eq!(loaded.io.tasks.len(), 2);
    check(&loaded.io.tasks[0], "passed", "1.2.3");
    check_part(&loaded.io.tasks[1], "passed", "bytes");
}
