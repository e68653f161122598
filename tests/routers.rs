//! The routers against the real nginx and HAProxy, on loopback and free ports.

#[path = "support/nobody.rs"]
mod nobody;
#[path = "support/quick.rs"]
mod quick;
#[path = "support/small_disk.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod small_disk;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use engine::reading::{Access, Claim, WriteAnswer};
use engine::types::{FailureKind, Fence, Percent, Weights};
use quarterdeck::io::http::Client;
use quarterdeck::io::router::Writer;
use quarterdeck::io::router::lease::Identity;
use quarterdeck::io::settings::{Fallback, RouterTarget};
use small_disk::SmallDisk;
use tempfile::TempDir;

/// Far above what anything here needs on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);
const BUDGET: Duration = PATIENCE;
/// For a write that takes as long as it may.
const WHOLE_BUDGET: Duration = Duration::from_secs(8);
/// A port that somebody took in between is tried again elsewhere.
const STARTS: usize = 5;

/// Ends its process with the test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// In memory where the machine has such a place: for what must not wait for a busy disk.
fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a temporary directory")
}

fn on_disk() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

impl Guard {
    /// Whether it came to that; false when the process ended before.
    fn runs_until(&mut self, what: &str, mut done: impl FnMut() -> bool) -> bool {
        let mut runs = true;
        until(what, || {
            runs = matches!(self.0.try_wait(), Ok(None));
            !runs || done()
        });
        runs
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn start(program: &str, args: &[&str]) -> Guard {
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} cannot start: {error}; is it installed?"));
    Guard(child)
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn block<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}

fn weights(b: u8) -> Weights {
    let b = Percent::new(b).expect("a percent");
    Weights { a: b.rest(), b }
}

fn client() -> Client {
    Client::new().expect("a client")
}

fn why(answer: &WriteAnswer) -> String {
    match answer {
        WriteAnswer::Applied => "applied".to_owned(),
        WriteAnswer::Rejected { why, .. } => format!("rejected: {why}"),
        WriteAnswer::Unknown { why } => format!("unknown: {why}"),
    }
}

fn own(dir: &Path) -> Identity {
    Identity::here("test", dir)
}

fn set(writer: &mut Writer, b: u8, fence: u64) -> WriteAnswer {
    set_within(writer, b, fence, BUDGET)
}

fn set_within(writer: &mut Writer, b: u8, fence: u64, budget: Duration) -> WriteAnswer {
    block(writer.set(&client(), weights(b), Fence(fence), &Claim::default(), budget))
}

fn read(writer: &Writer) -> Result<(f64, String), engine::types::Failure> {
    block(writer.read(&client(), None, BUDGET))
        .map(|split| (split.b, split.note.display().to_owned()))
}

/// What a reading says about a write that nobody asked for yet; a slow look says nothing.
fn access_says(writer: &Writer, part: &str) {
    let mut said = String::new();
    let found = || {
        let reading = block(writer.read(&client(), None, BUDGET)).expect("reads");
        said = match reading.lease.access {
            Access::Unknown => return false,
            Access::Granted { how } => format!("granted: {how}"),
            Access::Denied { why } => format!("denied: {why}"),
        };
        true
    };
    until("a look at the access", found);
    assert!(said.contains(part), "{said} lacks {part:?}");
}

fn rejected_with(answer: &WriteAnswer, part: &str) {
    let text = why(answer);
    assert!(text.starts_with("rejected") && text.contains(part), "{text} lacks {part:?}");
}

struct Haproxy {
    dir: TempDir,
    _guard: Guard,
}

impl Haproxy {
    fn start(balance: &str) -> Haproxy {
        (0..STARTS).find_map(|_| Haproxy::try_start(balance, on_disk())).expect("haproxy starts")
    }

    fn try_start(balance: &str, dir: TempDir) -> Option<Haproxy> {
        let text = include_str!("../fixtures/routers/haproxy.cfg")
            .replace("@DIR@", &dir.path().display().to_string())
            .replace("@PORT@", &free_port().to_string())
            .replace("@BALANCE@", balance);
        let config = dir.path().join("haproxy.cfg");
        fs::write(&config, text).expect("writes");
        let mut guard = start("/usr/sbin/haproxy", &["-db", "-f", &config.display().to_string()]);
        let socket = dir.path().join("admin.sock");
        let answers = || std::os::unix::net::UnixStream::connect(&socket).is_ok();
        guard.runs_until("haproxy's socket", answers).then_some(Haproxy { dir, _guard: guard })
    }

    fn writer(&self, socket: &str, backend: &str, groups: [&[&str]; 2]) -> Writer {
        haproxy_writer(&self.dir, self.dir.path().join(socket), backend, groups)
    }
}

fn haproxy_writer(dir: &TempDir, socket: PathBuf, backend: &str, groups: [&[&str]; 2]) -> Writer {
    let groups = groups.map(|group| group.iter().map(|&name| name.to_owned()).collect());
    let target = RouterTarget::Haproxy { socket, backend: backend.to_owned(), groups };
    Writer::open("edge", target, &own(dir.path()), dir.path()).expect("the writer opens")
}

const GROUPS: [&[&str]; 2] = [&["blue1", "blue2"], &["green"]];

/// A write with its read-back.
fn timed(writer: &mut Writer, turn: usize) -> Duration {
    let b = [10, 0, 100, 1, 99][turn % 5];
    let started = Instant::now();
    assert_eq!(set(writer, b, turn as u64 + 1), WriteAnswer::Applied);
    let (share, _) = read(writer).expect("reads");
    let spent = started.elapsed();
    assert!((share - f64::from(b)).abs() <= 1.0, "{b} reads {share}");
    spent
}

fn own_file(dir: &TempDir) -> fs::File {
    fs::File::create(dir.path().join("least")).expect("makes")
}

#[test]
fn haproxy_applies_reads_back_and_is_quick() {
    let haproxy = Haproxy::start("roundrobin");
    let mut writer = haproxy.writer("admin.sock", "be_app", GROUPS);
    let (socket, file) = (haproxy.dir.path().join("admin.sock"), own_file(&haproxy.dir));
    // A look at the servers, three weights, the read-back with its level; the fence and the lease.
    quick::judge(
        "haproxy",
        (Duration::from_millis(50), 4),
        |turn| timed(&mut writer, turn),
        || {
            quick::ask_haproxy(&socket, "be_app", 6);
            quick::sync(&file, 2);
        },
    );
    rejected_with(&set(&mut writer, 50, 19), "superseded");
}

#[test]
fn haproxy_says_what_is_wrong() {
    let haproxy = Haproxy::start("roundrobin");
    let check = |socket: &str, backend: &str, groups: [&[&str]; 2], part: &str| {
        let mut writer = haproxy.writer(socket, backend, groups);
        rejected_with(&set(&mut writer, 10, 1), part);
    };
    check("admin.sock", "nosuch", GROUPS, "Can't find backend");
    check("admin.sock", "be_app", [&["blue1"], &["nosuch"]], "nosuch is not in backend");
    check("admin.sock", "be;app", GROUPS, "is not a name");
    check("admin.sock", "be_app", [&["a b"], &["green"]], "is not a name");
    check("missing.sock", "be_app", GROUPS, "no socket at");
    check("operator.sock", "be_app", GROUPS, "level admin");
    let writer = haproxy.writer("missing.sock", "be_app", GROUPS);
    assert_eq!(read(&writer).expect_err("nobody").kind, FailureKind::Unreachable);
    drop(writer);
    // The same is known before a write.
    access_says(&haproxy.writer("admin.sock", "be_app", GROUPS), "granted: level admin");
    access_says(&haproxy.writer("operator.sock", "be_app", GROUPS), "denied: the socket has level");
    let fixed = Haproxy::start("static-rr");
    let mut writer = fixed.writer("admin.sock", "be_app", GROUPS);
    access_says(&writer, "denied: balance static-rr takes no weights");
    rejected_with(&set(&mut writer, 10, 1), "balance roundrobin");
}

#[test]
fn haproxy_does_not_ready_what_a_person_took_out() {
    let haproxy = Haproxy::start("roundrobin");
    let socket = haproxy.dir.path().join("admin.sock");
    let tell = |line: &str| {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).expect("connects");
        writeln!(stream, "{line}").expect("writes");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("reads");
        assert_eq!(reply, "\n");
    };
    tell("set server be_app/green state maint");
    let mut writer = haproxy.writer("admin.sock", "be_app", GROUPS);
    rejected_with(&set(&mut writer, 100, 1), "green is in maint");
    assert_eq!(set(&mut writer, 50, 2), WriteAnswer::Applied);
    let (share, note) = read(&writer).expect("reads");
    assert!(share.abs() < f64::EPSILON && note.contains("green in maint"), "{share} {note}");
    tell("set server be_app/blue1 state drain");
    assert!(read(&writer).expect("reads").1.contains("blue1 in drain"));
}

#[test]
fn the_other_way_takes_the_canary_out() {
    let haproxy = Haproxy::start("roundrobin");
    let fallback = Some(Fallback::Maint);
    let mut writer = haproxy.writer("admin.sock", "be_app", GROUPS).with_fallback(fallback);
    assert_eq!(set(&mut writer, 50, 2), WriteAnswer::Applied);
    let other_way = |writer: &mut Writer, b: u8, fence: u64| {
        block(writer.fall_back(&client(), weights(b), Fence(fence), &Claim::default(), BUDGET))
    };
    rejected_with(&other_way(&mut writer, 0, 1), "superseded");
    rejected_with(&other_way(&mut writer, 10, 3), "all traffic to one group");
    assert_eq!(read(&writer).expect("reads"), (50.0, String::new()));
    for fence in [4, 5] {
        assert_eq!(other_way(&mut writer, 0, fence), WriteAnswer::Applied);
        assert_eq!(read(&writer).expect("reads"), (0.0, "green in maint".to_owned()));
    }
    rejected_with(&other_way(&mut writer, 100, 6), "nobody would be left");
    assert_eq!(read(&writer).expect("reads"), (0.0, "green in maint".to_owned()));
    drop(writer);
    let mut plain = haproxy.writer("admin.sock", "be_app", GROUPS);
    rejected_with(&other_way(&mut plain, 0, 7), "no other way");
}

#[test]
fn a_reply_that_is_cut_off_is_not_an_answer() {
    let dir = on_disk();
    let socket = dir.path().join("fake.sock");
    let listener = UnixListener::bind(&socket).expect("binds");
    let fake = std::thread::spawn(move || {
        let whole = include_str!("../fixtures/routers/servers-state.txt");
        // A reading cut in its middle, then a whole one followed by a write without a reply.
        for reply in [&whole[..whole.len() / 2], whole, ""] {
            let (mut stream, _) = listener.accept().expect("accepts");
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(reply.as_bytes());
        }
    });
    let mut writer = haproxy_writer(&dir, socket, "be_app", GROUPS);
    assert_eq!(read(&writer).expect_err("cut off").kind, FailureKind::Malformed);
    let answer = set(&mut writer, 10, 1);
    assert!(why(&answer).starts_with("unknown"), "{}", why(&answer));
    fake.join().expect("the fake ends");
}

struct Nginx {
    dir: TempDir,
    port: u16,
    arms: [u16; 2],
    /// The managed file, below `dir`.
    file: &'static str,
    _guard: Guard,
}

impl Nginx {
    fn start() -> Nginx {
        let first = include_str!("../fixtures/routers/nginx-start.conf");
        Nginx::start_with([18001, 18002], "http://app", ("split.conf", first), |_, text| text)
    }

    fn start_in_memory() -> Nginx {
        let first = include_str!("../fixtures/routers/nginx-start.conf");
        let once = |_| {
            let (arms, file) = ([18001, 18002], ("split.conf", first));
            Nginx::try_start(arms, "http://app", file, in_memory(), &mut |_, text| text)
        };
        (0..STARTS).find_map(once).expect("nginx starts")
    }

    /// `edit` may change the main file and make what else is needed.
    fn start_with(
        arms: [u16; 2],
        proxy: &str,
        (file, first): (&'static str, &str),
        mut edit: impl FnMut(&Path, String) -> String,
    ) -> Nginx {
        let first =
            first.replace("18001", &arms[0].to_string()).replace("18002", &arms[1].to_string());
        let once = |_| Nginx::try_start(arms, proxy, (file, &first), on_disk(), &mut edit);
        (0..STARTS).find_map(once).expect("nginx starts")
    }

    fn try_start(
        arms: [u16; 2],
        proxy: &str,
        (file, first): (&'static str, &str),
        dir: TempDir,
        edit: &mut impl FnMut(&Path, String) -> String,
    ) -> Option<Nginx> {
        let port = free_port();
        let text = include_str!("../fixtures/routers/nginx.conf")
            .replace("@PORT@", &port.to_string())
            .replace("@PROXY@", proxy)
            .replace("include split.conf", &format!("include {file}"));
        fs::write(dir.path().join("nginx.conf"), edit(dir.path(), text)).expect("writes");
        fs::create_dir(dir.path().join("tmp")).expect("makes");
        fs::write(dir.path().join(file), first).expect("writes");
        let prefix = dir.path().display().to_string();
        let mut guard =
            start("/usr/sbin/nginx", &["-p", &prefix, "-e", "error.log", "-c", "nginx.conf"]);
        // It listens before it writes down its number.
        let pid = dir.path().join("nginx.pid");
        let written = || fs::metadata(&pid).is_ok_and(|meta| meta.len() > 0);
        let runs = guard.runs_until("nginx", written);
        runs.then_some(Nginx { dir, port, arms, file, _guard: guard })
    }

    fn writer(&self, proof: &str, split_by: Option<&str>) -> Writer {
        let dir = self.dir.path();
        let target = self.target(proof, split_by);
        Writer::open("edge", target, &own(dir), dir).expect("the writer opens")
    }

    fn target(&self, proof: &str, split_by: Option<&str>) -> RouterTarget {
        let prefix = self.dir.path().display().to_string();
        let test = ["/usr/sbin/nginx", "-t", "-p", &prefix, "-e", "error.log", "-c", "nginx.conf"];
        RouterTarget::Nginx {
            file: self.dir.path().join(self.file),
            upstream: "app".to_owned(),
            pid: self.dir.path().join("nginx.pid"),
            test: test.map(str::to_owned).to_vec(),
            proof: format!("http://127.0.0.1:{}{proof}", self.port),
            groups: self.arms.map(|port| vec![format!("127.0.0.1:{port}")]),
            split_by: split_by.map(str::to_owned),
        }
    }

    fn split_file(&self) -> String {
        fs::read_to_string(self.dir.path().join(self.file)).expect("reads")
    }
}

#[test]
fn nginx_applies_proves_and_is_quick() {
    let nginx = Nginx::start();
    let mut writer = nginx.writer("/__generation", None);
    assert!(read(&writer).expect("the first file reads").0.abs() < f64::EPSILON);
    let (dir, file) = (nginx.dir.path(), own_file(&nginx.dir));
    // Two files and their directory; the fence and the lease.
    quick::judge(
        "nginx",
        (Duration::from_millis(400), 2),
        |turn| timed(&mut writer, turn),
        || {
            quick::sync(&file, 6);
            quick::reload_nginx(dir);
        },
    );
}

#[test]
fn a_failing_test_puts_the_old_file_back() {
    let nginx = Nginx::start();
    let mut writer = nginx.writer("/__generation", None);
    assert_eq!(set(&mut writer, 10, 1), WriteAnswer::Applied);
    let before = nginx.split_file();
    let main = nginx.dir.path().join("nginx.conf");
    let text = fs::read_to_string(&main).expect("reads");
    fs::write(&main, text.replace("events", "evenst")).expect("writes");
    rejected_with(&set(&mut writer, 50, 2), "previous file is put back");
    assert_eq!(nginx.split_file(), before);
    assert!((read(&writer).expect("reads").0 - 10.0).abs() < f64::EPSILON);
}

#[test]
fn a_taken_port_is_found_out_and_undone() {
    let nginx = Nginx::start();
    let mut writer = nginx.writer("/__generation", None);
    assert_eq!(set(&mut writer, 10, 1), WriteAnswer::Applied);
    let before = nginx.split_file();
    let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = taken.local_addr().expect("an address").port();
    let main = nginx.dir.path().join("nginx.conf");
    let text = fs::read_to_string(&main).expect("reads");
    let listen = format!("server {{\n listen 127.0.0.1:{port};");
    fs::write(&main, text.replacen("server {", &listen, 1)).expect("writes");
    // The test may find the port out by itself; either way nothing stays changed.
    let answer = set_within(&mut writer, 50, 2, WHOLE_BUDGET);
    rejected_with(&answer, "previous file is put back");
    assert_eq!(nginx.split_file(), before);
    assert!((read(&writer).expect("reads").0 - 10.0).abs() < f64::EPSILON);
}

#[test]
fn without_a_proof_a_write_stays_unknown() {
    let nginx = Nginx::start();
    let mut writer = nginx.writer("/nosuch", None);
    let answer = set_within(&mut writer, 10, 1, WHOLE_BUDGET);
    assert!(why(&answer).starts_with("unknown"), "{}", why(&answer));
    assert_eq!(read(&writer).expect_err("no proof").kind, FailureKind::Malformed);
}

#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    let nginx = Nginx::start();
    let file = nginx.dir.path().join("split.conf");
    fs::write(&file, "upstream app { server 127.0.0.1:1; }\n").expect("writes");
    let mut writer = nginx.writer("/__generation", None);
    rejected_with(&set(&mut writer, 10, 1), "not a file of Quarterdeck");
    assert!(nginx.split_file().contains("127.0.0.1:1"));
    fs::remove_file(nginx.dir.path().join("nginx.pid")).expect("removes");
    fs::write(&file, include_str!("../fixtures/routers/nginx-start.conf")).expect("writes");
    // The test run makes an empty one.
    rejected_with(&set(&mut writer, 10, 2), "does not hold a process id");
}

#[test]
fn a_file_of_another_block_is_told_and_left_alone() {
    let nginx = Nginx::start();
    let before = nginx.split_file();
    for (fence, name, key, wanted) in [
        (1, "checkout", None, "`upstream checkout`"),
        (2, "app", Some("$uid"), "`split_clients $app`"),
    ] {
        let mut target = nginx.target("/__generation", key);
        let RouterTarget::Nginx { upstream, file, .. } = &mut target else { panic!("{target:?}") };
        name.clone_into(upstream);
        let shown = file.display().to_string();
        let dir = nginx.dir.path();
        let mut writer = Writer::open("edge", target, &own(dir), dir).expect("the writer opens");
        let failure = read(&writer).expect_err("the block is another");
        let text = failure.text.display();
        for part in [shown.as_str(), "`upstream app`", wanted, "reload nginx"] {
            assert!(text.contains(part), "{text} lacks {part}");
        }
        rejected_with(&set(&mut writer, 10, fence), wanted);
        assert_eq!(nginx.split_file(), before);
    }
    assert!(!nginx.dir.path().join(".split.conf.previous").exists());
}

#[test]
fn a_file_ahead_of_nginx_is_put_back() {
    let nginx = Nginx::start();
    let file = nginx.dir.path().join("split.conf");
    let kept = nginx.dir.path().join(".split.conf.previous");
    let mut writer = nginx.writer("/__generation", None);
    let texts = [(50, 1), (10, 2)].map(|(b, fence)| {
        assert_eq!(set(&mut writer, b, fence), WriteAnswer::Applied);
        nginx.split_file()
    });
    drop(writer);
    // As a kill between rename and reload leaves it: 50 % in the file, 10 % in nginx.
    fs::write(&kept, &texts[1]).expect("writes");
    fs::write(&file, &texts[0]).expect("writes");
    let writer = nginx.writer("/__generation", None);
    let (share, note) = read(&writer).expect("reads");
    assert!((share - 10.0).abs() < 0.1 && note.contains("the file holds"), "{share} {note}");
    assert_eq!(nginx.split_file(), texts[0], "a reload may still be under way");
    let mut said = String::new();
    until("the file that nginx runs", || {
        let (share, note) = read(&writer).expect("reads");
        assert!((share - 10.0).abs() < 0.1, "{share} {note}");
        said = note;
        nginx.split_file() == texts[1]
    });
    assert!(said.contains("what runs is put back"), "{said}");
    assert_eq!(read(&writer).expect("reads").1, "");
    // A write over a file that is ahead keeps what nginx runs, and puts that back if it fails.
    drop(writer);
    fs::write(&file, &texts[0]).expect("writes");
    let mut writer = nginx.writer("/__generation", None);
    let pid = fs::read(nginx.dir.path().join("nginx.pid")).expect("reads");
    fs::write(nginx.dir.path().join("nginx.pid"), "1").expect("writes");
    rejected_with(&set(&mut writer, 20, 3), "the previous file is put back");
    assert_eq!(nginx.split_file(), texts[1]);
    fs::write(nginx.dir.path().join("nginx.pid"), pid).expect("writes");
    // What a person edited is a person's.
    let edited = texts[0].replace("weight=50", "weight=51");
    fs::write(&file, &edited).expect("writes");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(4) {
        assert!((read(&writer).expect("reads").0 - 10.0).abs() < 0.1);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(nginx.split_file(), edited);
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let nginx = Nginx::start();
    let mut writer = nginx.writer("/__generation", None);
    // A directory stands where the temporary file belongs: nobody can write it, root neither.
    fs::create_dir(nginx.dir.path().join(".split.conf.new")).expect("makes");
    let before = nginx.split_file();
    rejected_with(&set(&mut writer, 10, 1), "nothing was changed");
    assert_eq!(nginx.split_file(), before);
}

#[test]
fn a_command_sets_and_reads() {
    let dir = on_disk();
    let file = dir.path().join("split").display().to_string();
    let target = |set: &[&str], read: &[&str]| RouterTarget::Command {
        set: set.iter().map(|&word| word.to_owned()).collect(),
        read: read.iter().map(|&word| word.to_owned()).collect(),
        lease: None,
    };
    let open = |name: &str, target| {
        Writer::open(name, target, &own(dir.path()), dir.path()).expect("the writer opens")
    };
    let script = format!("echo $0 > {file}");
    let ok = target(&["/bin/sh", "-c", &script, "{canary}"], &["/bin/cat", &file]);
    let mut writer = open("ok", ok);
    assert_eq!(set(&mut writer, 25, 1), WriteAnswer::Applied);
    assert!((read(&writer).expect("reads").0 - 25.0).abs() < f64::EPSILON);
    let bad = target(&["/bin/sh", "-c", "echo no such split >&2; exit 3"], &["/bin/false"]);
    let mut writer = open("bad", bad);
    rejected_with(&set(&mut writer, 25, 1), "no such split");
    assert!(read(&writer).is_err());
    let slow = ["/bin/sh", "-c", "test $0 != 1 || exec sleep 60", "{canary}"];
    let mut writer = open("slow", target(&slow, &["/bin/true"]));
    assert_eq!(set(&mut writer, 25, 1), WriteAnswer::Applied);
    // The fence stands already: the whole budget is the command's.
    let answer = set_within(&mut writer, 1, 1, Duration::from_millis(100));
    assert!(why(&answer).starts_with("unknown"), "{}", why(&answer));
}

/// The body of the answer to a GET on a connection of its own.
fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    stream.set_read_timeout(Some(2 * PATIENCE)).expect("a limit");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n\r\n").expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("reads");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.contains(" 200 "), "{answer}");
    body.trim().to_owned()
}

/// Says its name to everybody until the test process ends.
fn backend(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A client that goes away in the middle is its own matter.
            let _ = stream.read(&mut [0; 1024]);
            let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{name}\n");
        }
    });
    port
}

#[test]
fn nginx_splits_clients_and_keeps_each_on_its_side() {
    let first = "upstream app_a { server 127.0.0.1:18001; }\n\
                 upstream app_b { server 127.0.0.1:18002; }\n\
                 split_clients \"$arg_user\" $app { * app_a; }\n\
                 map \"\" $quarterdeck_generation { default \"0:start\"; }\n";
    let arms = [backend("stable"), backend("canary")];
    let nginx = Nginx::start_with(arms, "http://$app", ("split.conf", first), |_, text| text);
    let mut writer = nginx.writer("/__generation", Some("$arg_user"));
    let on_canary = || -> BTreeSet<u32> {
        let chosen = |user: &u32| get(nginx.port, &format!("/?user={user}")) == "canary";
        (0..300).filter(chosen).collect()
    };
    assert!(read(&writer).expect("the first file reads").0.abs() < f64::EPSILON);
    assert_eq!(on_canary(), BTreeSet::new());
    let mut before = BTreeSet::new();
    for (fence, b) in [1, 25, 50, 100, 0].into_iter().enumerate() {
        assert_eq!(set(&mut writer, b, fence as u64 + 1), WriteAnswer::Applied);
        assert!((read(&writer).expect("reads").0 - f64::from(b)).abs() < f64::EPSILON);
        let found = on_canary();
        // Hashes of names scatter: five standard deviations of 300 coins are 43 at most.
        let expected = 3 * usize::from(b);
        assert!(found.len().abs_diff(expected) <= 43, "{b} %: {} of 300", found.len());
        assert_eq!(found.len() == 300, b == 100);
        assert_eq!(found.is_empty(), b == 0, "{b} %");
        if b > 0 {
            assert!(found.is_superset(&before), "nobody goes back when the share rises");
            assert_eq!(on_canary(), found, "each stays where it is");
        }
        before = found;
    }
}

#[test]
fn a_long_request_ends_well_while_nginx_reloads() {
    let slow = TcpListener::bind("127.0.0.1:0").expect("binds");
    let arms = [slow.local_addr().expect("an address").port(), free_port()];
    let first = include_str!("../fixtures/routers/nginx-start.conf");
    let nginx = Nginx::start_with(arms, "http://app", ("split.conf", first), |_, text| {
        text.replace("worker_processes 2", "worker_processes 4")
            .replace("worker_shutdown_timeout 10s", "worker_shutdown_timeout 120s")
    });
    let mut writer = nginx.writer("/__generation", None);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let backend = std::thread::spawn(move || {
        let (mut stream, _) = slow.accept().expect("accepts");
        let _ = stream.read(&mut [0; 1024]);
        wait.recv_timeout(2 * PATIENCE).expect("is let go");
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nlate\n").expect("writes");
    });
    let port = nginx.port;
    let client = std::thread::spawn(move || get(port, "/"));
    until("the request reaches its worker", || {
        // Readable from outside as an established connection of the backend's port.
        let table = fs::read_to_string("/proc/net/tcp").expect("reads");
        let local = format!(":{:04X} ", arms[0]);
        table.lines().any(|line| line.contains(&local) && line.contains(" 01 "))
    });
    for (fence, b) in [(1, 50), (2, 100)] {
        let started = Instant::now();
        assert_eq!(set(&mut writer, b, fence), WriteAnswer::Applied);
        // One that waits for the request takes all of its budget.
        assert!(started.elapsed() < BUDGET / 2, "{:?}", started.elapsed());
        until("the end of the workers that hold nothing", || {
            let (share, note) = read(&writer).expect("reads");
            assert!((share - f64::from(b)).abs() < f64::EPSILON);
            assert!(note.contains(" old workers still finish"), "{note:?}");
            note.contains("1 old workers")
        });
        assert!(!client.is_finished(), "the request is still held");
    }
    go.send(()).expect("the backend waits");
    assert_eq!(client.join().expect("ends"), "late");
    backend.join().expect("ends");
    until("the old worker's end", || read(&writer).expect("reads").1.is_empty());
}

#[test]
fn a_full_disk_leaves_the_old_file_and_says_so() {
    let full = |nginx: &Nginx, writer: &mut Writer, fence: u64| {
        let before = nginx.split_file();
        let answer = set(writer, 50, fence);
        rejected_with(&answer, "nothing was changed; make room for");
        assert!(why(&answer).contains("No space left"), "{}", why(&answer));
        assert_eq!(nginx.split_file(), before);
        assert!((read(writer).expect("reads").0 - 10.0).abs() < f64::EPSILON);
    };
    let nginx = Nginx::start();
    let mut writer = nginx.writer("/__generation", None);
    assert_eq!(set(&mut writer, 10, 1), WriteAnswer::Applied);
    // The temporary file lies on a device that is always full.
    std::os::unix::fs::symlink("/dev/full", nginx.dir.path().join(".split.conf.new"))
        .expect("links");
    full(&nginx, &mut writer, 2);
    assert_eq!(set(&mut writer, 50, 3), WriteAnswer::Applied, "the next one has room");

    let mut disk = None;
    let first = include_str!("../fixtures/routers/nginx-start.conf");
    let nginx = Nginx::start_with(
        [18001, 18002],
        "http://app",
        ("small/split.conf", first),
        |dir, text| {
            disk = SmallDisk::mount(&dir.join("small"));
            text
        },
    );
    let Some(disk) = disk else {
        println!("no mount: only the device that is always full was tried");
        return;
    };
    let mut writer = nginx.writer("/__generation", None);
    assert_eq!(set(&mut writer, 10, 1), WriteAnswer::Applied);
    disk.fill();
    full(&nginx, &mut writer, 2);
    disk.free();
    assert_eq!(set(&mut writer, 50, 3), WriteAnswer::Applied);
}

#[test]
fn a_disk_that_hangs_holds_up_nobody() {
    // The fence and the lease are kept beside it, and do not hang.
    let nginx = Nginx::start_in_memory();
    let mut writer = nginx.writer("/__generation", None);
    assert_eq!(set(&mut writer, 10, 1), WriteAnswer::Applied);
    // A pipe without a reader stands where the temporary file belongs: opening it does not return.
    let pipe = nginx.dir.path().join(".split.conf.new");
    let made = Command::new("/usr/bin/mkfifo").arg(&pipe).status().expect("mkfifo starts");
    assert!(made.success());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let answer = runtime.block_on(async {
        let started = Instant::now();
        let (client, claim) = (client(), Claim::default());
        let change =
            writer.set(&client, weights(50), Fence(2), &claim, Duration::from_millis(1500));
        let mut others = 0;
        let answer = tokio::select! {
            answer = change => answer,
            () = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    others += 1;
                }
            } => unreachable!("it goes on for ever"),
        };
        assert!(others > 3, "others went on meanwhile: {others} times");
        assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
        answer
    });
    runtime.shutdown_background();
    assert!(why(&answer).contains("unknown") && why(&answer).contains("the disk did not answer"));
    assert!((read(&writer).expect("reads").0 - 10.0).abs() < f64::EPSILON);
    // The disk answers again, with an error: a pipe cannot be made durable.
    let mut text = String::new();
    fs::File::open(&pipe).and_then(|mut pipe| pipe.read_to_string(&mut text)).expect("reads");
    assert_eq!(set(&mut writer, 50, 3), WriteAnswer::Applied);
    assert!((read(&writer).expect("reads").0 - 50.0).abs() < f64::EPSILON);
}

#[test]
fn missing_permission_says_what_the_operator_must_do() {
    const TEST: &str = "missing_permission_says_what_the_operator_must_do";
    if nobody::ran_as_nobody(&[TEST]) {
        return;
    }
    let haproxy = Haproxy::start("roundrobin");
    let mut writer = haproxy.writer("admin.sock", "be_app", GROUPS);
    nobody::mode(&haproxy.dir.path().join("admin.sock"), 0o000);
    rejected_with(&set(&mut writer, 10, 1), "add the engine's user to that group");
    assert_eq!(read(&writer).expect_err("denied").kind, FailureKind::Denied);

    let nginx = Nginx::start();
    let mut writer = nginx.writer("/__generation", None);
    let (dir, file) = (nginx.dir.path(), nginx.dir.path().join("split.conf"));
    let before = nginx.split_file();
    access_says(&writer, "granted: ");
    nobody::mode(dir, 0o500);
    access_says(&writer, "denied: cannot write in");
    let answer = set(&mut writer, 10, 1);
    nobody::mode(dir, 0o700);
    rejected_with(&answer, "nothing was changed; give the engine's user write permission for");
    assert_eq!(nginx.split_file(), before);
    nobody::mode(&file, 0o000);
    rejected_with(&set(&mut writer, 10, 2), "give the engine's user permission");
    nobody::mode(&file, 0o600);
    assert_eq!(set(&mut writer, 10, 3), WriteAnswer::Applied);

    let script = dir.join("set");
    fs::write(&script, "#!/bin/sh\n").expect("writes");
    let target = RouterTarget::Command {
        set: vec![script.display().to_string()],
        read: ["/bin/echo", "10"].map(str::to_owned).to_vec(),
        lease: None,
    };
    let mut writer = Writer::open("script", target, &own(dir), dir).expect("the writer opens");
    access_says(&writer, "denied: cannot run");
    rejected_with(&set(&mut writer, 10, 1), "Permission denied");
}

#[test]
fn every_router_works_without_privileges() {
    // Not those that measure times: each of these begins with writes that are applied.
    let tests = [
        "haproxy_says_what_is_wrong",
        "the_other_way_takes_the_canary_out",
        "nginx_splits_clients_and_keeps_each_on_its_side",
        "a_failing_test_puts_the_old_file_back",
        "a_long_request_ends_well_while_nginx_reloads",
        "a_command_sets_and_reads",
    ];
    if !nobody::ran_as_nobody(&tests) {
        println!("this is no root: the tests themselves ran without privileges");
    }
}

/// Two engines at one router, each with a fence file of its own.
fn rivals(target: &RouterTarget, part: &str) {
    // An emergency goes on without a disk that is slow, and is then not seen by the other.
    let dirs = [(); 2].map(|()| in_memory());
    let [mut bob, mut eve] = dirs.each_ref().map(|dir| {
        Writer::open("edge", target.clone(), &own(dir.path()), dir.path()).expect("opens")
    });
    let claim = |emergency| Claim { emergency, doing: "#1 split of web".to_owned() };
    let write = |writer: &mut Writer, b: u8, fence: u64, emergency: bool| {
        block(writer.set(&client(), weights(b), Fence(fence), &claim(emergency), BUDGET))
    };
    assert_eq!(write(&mut bob, 10, 5, false), WriteAnswer::Applied);
    let WriteAnswer::Rejected { newer, .. } = write(&mut eve, 0, 3, true) else {
        panic!("an older fence never passes")
    };
    assert_eq!(newer, Some(Fence(5)));
    rejected_with(&write(&mut eve, 50, 9, false), "held by ");
    assert_eq!(write(&mut eve, 0, 10, true), WriteAnswer::Applied);
    // What bob still wanted comes late.
    rejected_with(&write(&mut bob, 10, 5, false), "superseded");
    let reading = block(bob.read(&client(), None, BUDGET)).expect("reads");
    assert!(reading.b.abs() < f64::EPSILON && reading.lease.fenced, "{reading:?}");
    assert_eq!(reading.lease.other.map(|(fence, _)| fence), Some(Fence(10)));
    assert!(reading.lease.holder.is_some_and(|holder| holder.who.display().contains(part)));
    // Eve has nothing in flight any more.
    block(eve.read(&client(), None, BUDGET)).expect("reads");
    assert_eq!(write(&mut bob, 20, 11, false), WriteAnswer::Applied);
}

#[test]
fn two_engines_never_write_one_router_unseen() {
    let once = |_| Haproxy::try_start("roundrobin", in_memory());
    let haproxy = (0..STARTS).find_map(once).expect("haproxy starts");
    let groups = GROUPS.map(|group| group.iter().map(|&name| name.to_owned()).collect());
    let socket = haproxy.dir.path().join("admin.sock");
    let backend = "be_app".to_owned();
    rivals(&RouterTarget::Haproxy { socket, backend, groups }, "(pid ");
    assert!(haproxy.dir.path().join(".admin.sock.be_app.lease").exists());
    let nginx = Nginx::start_in_memory();
    rivals(&nginx.target("/__generation", None), "test");
    assert!(nginx.dir.path().join(".split.conf.lease").exists());
}

/// The lease is where another engine would look, also on a disk without room.
#[test]
fn a_lease_that_cannot_be_kept_stops_all_but_an_emergency() {
    let dir = on_disk();
    let file = dir.path().join("split");
    fs::write(&file, "0").expect("writes");
    let text = format!("echo {{b}} > {}", file.display());
    let target = RouterTarget::Command {
        read: vec!["/bin/cat".to_owned(), file.display().to_string()],
        set: ["/bin/sh", "-c", &text].map(str::to_owned).to_vec(),
        lease: Some(dir.path().join("gone/lease")),
    };
    let mut writer = Writer::open("edge", target, &own(dir.path()), dir.path()).expect("opens");
    rejected_with(&set(&mut writer, 10, 1), "cannot keep the lease");
    let claim = Claim { emergency: true, doing: String::new() };
    let answer = block(writer.set(&client(), weights(0), Fence(2), &claim, BUDGET));
    assert_eq!(answer, WriteAnswer::Applied);
    assert!(read(&writer).expect("reads").1.contains("another engine cannot see this write"));
}

#[test]
fn a_socket_that_forbids_says_what_to_do() {
    // Root may connect to any.
    if nobody::ran_as_nobody(&["a_socket_that_forbids_says_what_to_do"]) {
        return;
    }
    let dir = on_disk();
    let socket = dir.path().join("admin.sock");
    let _listener = UnixListener::bind(&socket).expect("binds");
    nobody::mode(&socket, 0o000);
    let mut writer = haproxy_writer(&dir, socket, "be_app", GROUPS);
    rejected_with(&set(&mut writer, 10, 1), "give the stats socket `mode 660` and a `group`");
    let failure = read(&writer).expect_err("forbidden");
    assert_eq!(failure.kind, FailureKind::Denied, "{}", failure.text);
}
