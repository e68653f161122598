//! Real servers for tests: each on loopback at a free port, in a directory of its own, ended by
//! its process id when its guard is dropped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Far above what any of them needs on a loaded machine.
pub const READY_WITHIN: Duration = Duration::from_secs(30);

/// One that was asked to end is gone within this, or killed.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// A running server.
pub struct Server {
    child: Child,
    pub port: u16,
    pub directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first: a killed master of nginx leaves its workers behind. All of these fail only
        // when the process is gone already.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let end = Instant::now() + ENDS_WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Starts `program` and waits until `ready` says so. `arguments` gets the port and the directory
/// and may write files there. A port that somebody took in between is tried again elsewhere.
pub fn start(
    program: &str,
    arguments: impl Fn(u16, &Path) -> Vec<String>,
    ready: impl Fn(u16, &Path) -> bool,
) -> Server {
    assert!(Path::new(program).exists(), "{program} is not installed: tests/run installs it");
    let mut log = String::new();
    for _ in 0..3 {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let path = directory.path();
        let output = File::create(path.join("log")).expect("a log file");
        let child = Command::new(program)
            .args(arguments(port, path))
            .current_dir(path)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let mut server = Server { child, port, directory };
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if ready(port, server.directory.path()) {
                return server;
            }
            if server.child.try_wait().expect("a child can be asked").is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let log_file = server.directory.path().join("log");
        log = std::fs::read_to_string(log_file).unwrap_or_default();
    }
    panic!("{program} did not become ready:\n{log}");
}

/// Somebody listens on this socket; its file is there a moment before that.
pub fn listens(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound port").port()
}

/// The status of a GET; `None` when nobody answers.
pub fn get(port: u16, path: &str) -> Option<u16> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    line.split(' ').nth(1)?.parse().ok()
}

pub fn alertmanager() -> Server {
    let arguments = |port: u16, path: &Path| {
        let config = path.join("config.yml");
        let text = "route: { receiver: none }\nreceivers: [ { name: none } ]\n";
        std::fs::write(&config, text).expect("a config file");
        vec![
            format!("--config.file={}", config.display()),
            format!("--storage.path={}", path.join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--cluster.listen-address=".into(),
        ]
    };
    let ready = |port, _: &Path| get(port, "/-/ready") == Some(200);
    start("/usr/bin/prometheus-alertmanager", arguments, ready)
}

pub fn node_exporter() -> Server {
    let arguments = |port: u16, _: &Path| vec![format!("--web.listen-address=127.0.0.1:{port}")];
    let ready = |port, _: &Path| get(port, "/metrics") == Some(200);
    start("/usr/bin/prometheus-node-exporter", arguments, ready)
}

/// Scrapes `targets` each second.
pub fn prometheus(targets: &[u16], rules: &str) -> Server {
    let arguments = |port: u16, path: &Path| {
        let targets: Vec<String> = targets.iter().map(|t| format!("'127.0.0.1:{t}'")).collect();
        let text = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s }}\n\
             rule_files: [ rules.yml ]\n\
             scrape_configs:\n  - job_name: app\n    static_configs: [ {{ targets: [ {} ] }} ]\n",
            targets.join(", ")
        );
        std::fs::write(path.join("prometheus.yml"), text).expect("a config file");
        std::fs::write(path.join("rules.yml"), rules).expect("a rules file");
        vec![
            format!("--config.file={}", path.join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", path.join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ]
    };
    let ready = |port, _: &Path| get(port, "/-/ready") == Some(200);
    start("/usr/bin/prometheus", arguments, ready)
}

/// One backend `app` with the servers `stable` and `canary`; its socket is `admin.sock`.
pub fn haproxy(stable: u16, canary: u16) -> Server {
    let arguments = |port: u16, path: &Path| {
        let text = format!(
            "global\n  stats socket {}/admin.sock mode 600 level admin\n\
             defaults\n  mode http\n  retries 0\n  timeout connect 2s\n  timeout client 5s\n  \
             timeout server 5s\n\
             frontend fe\n  bind 127.0.0.1:{port}\n  default_backend app\n\
             backend app\n  balance roundrobin\n  server stable 127.0.0.1:{stable} weight 100\n  \
             server canary 127.0.0.1:{canary} weight 100\n",
            path.display()
        );
        let config = path.join("haproxy.cfg");
        std::fs::write(&config, text).expect("a config file");
        vec!["-db".into(), "-f".into(), config.display().to_string()]
    };
    let ready = |_, path: &Path| listens(&path.join("admin.sock"));
    start("/usr/sbin/haproxy", arguments, ready)
}

/// A page served from this process; what it answers can be changed at any time.
pub struct Page {
    pub port: u16,
    pages: Arc<Mutex<BTreeMap<String, (u16, String)>>>,
    /// Method, path and body of every request so far.
    pub requests: Arc<Mutex<Vec<(String, String, String)>>>,
}

impl Page {
    /// Serves until the test process ends. Paths are compared without their query.
    pub fn serve() -> Page {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let pages = Arc::new(Mutex::new(BTreeMap::new()));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let page = Page { port, pages: Arc::clone(&pages), requests: Arc::clone(&requests) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away in the middle is its own matter.
                let _ = answer(stream, &pages, &requests);
            }
        });
        page
    }

    pub fn set(&self, path: &str, status: u16, body: &str) {
        let mut pages = self.pages.lock().expect("no thread panicked");
        pages.insert(path.into(), (status, body.into()));
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

type Shared<T> = Arc<Mutex<T>>;

fn answer(
    mut stream: TcpStream,
    pages: &Shared<BTreeMap<String, (u16, String)>>,
    requests: &Shared<Vec<(String, String, String)>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    requests.lock().expect("no thread panicked").push((method.into(), target.into(), body));
    let path = target.split('?').next().unwrap_or("");
    let found = pages.lock().expect("no thread panicked").get(path).cloned();
    let (status, body) = found.unwrap_or((404, String::new()));
    let head = format!(
        "HTTP/1.1 {status} Test\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}
