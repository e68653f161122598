//! A service behind a real HAProxy and a real nginx, and what both truly do with its traffic.
//!
//! Decides nothing. Never asks the product: HAProxy's socket, nginx's answers on new connections
//! and the managed file are read here by other code than the adapters'. Contract: a [`Split`] is
//! read only once nginx's answers agree.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::backend::{Backend, Load};
use crate::product::{Deck, until};
use crate::servers::{self, Server};
use crate::trace::is_gone;

/// Matching answers on new connections: three for each of the two workers.
const ANSWERS: usize = 6;

/// Far above what a reload takes.
const RELOAD: Duration = Duration::from_millis(1500);

/// What the routers do, as weights of group a and b.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    pub haproxy: [u32; 2],
    pub nginx: [u32; 2],
    /// The fence that nginx runs.
    pub fence: u64,
    /// nginx's file at rest is what nginx runs.
    pub at_rest: bool,
}

impl Split {
    /// The share of the group at `place` in percent, by router.
    pub fn shares(&self, place: usize) -> [f64; 2] {
        [self.haproxy, self.nginx].map(|weights| {
            100.0 * f64::from(weights[place]) / f64::from((weights[0] + weights[1]).max(1))
        })
    }
}

pub struct Site {
    pub haproxy: Server,
    pub nginx: Server,
    pub deck: Deck,
    _versions: [Backend; 2],
    _load: Option<Load>,
}

impl Drop for Site {
    fn drop(&mut self) {
        // Its workers would outlive a master that is killed.
        let file = self.nginx.directory.path().join("nginx.pid");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let Some(master) = text.trim().parse().ok().and_then(Pid::from_raw) else { return };
        let end = Instant::now() + RELOAD;
        let _ = kill_process(master, Signal::TERM);
        while !is_gone(master) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Site {
    /// All traffic to group a; with `clients`, clients that keep asking through HAProxy.
    pub fn new(clients: usize) -> Site {
        let versions = [Backend::serve("stable"), Backend::serve("canary")];
        let [a, b] = versions.each_ref().map(|version| version.port);
        let haproxy = servers::haproxy(a, b);
        tell(&haproxy, "set weight app/canary 0");
        let nginx = nginx(a, b);
        let load = (clients > 0).then(|| Load::on(haproxy.port, clients));
        let deck = Deck::new(&config(&haproxy, &nginx, [a, b]));
        Site { haproxy, nginx, deck, _versions: versions, _load: load }
    }

    pub fn managed(&self) -> PathBuf {
        self.nginx.directory.path().join("split.conf")
    }

    pub fn split(&self) -> Split {
        let haproxy = ["stable", "canary"].map(|name| {
            let text = tell(&self.haproxy, &format!("get weight app/{name}"));
            let weight = text.split(' ').next().and_then(|word| word.trim().parse().ok());
            weight.unwrap_or_else(|| panic!("HAProxy says {text:?} of {name}"))
        });
        let (running, nginx, at_rest) = until("nginx runs a file that is there", || {
            let running = self.generation()?;
            let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
            let file = read(self.managed());
            let kept = [".split.conf.previous", ".split.conf.displaced"]
                .map(|name| read(self.managed().with_file_name(name)));
            let mark = format!("\"{running}\"");
            let found = [&file].into_iter().chain(&kept).find(|text| text.contains(&mark))?;
            Some((running.clone(), weights(found), file.contains(&mark)))
        });
        let fence = running.split(':').next().and_then(|fence| fence.parse().ok());
        let fence = fence.unwrap_or_else(|| panic!("nginx runs {running:?}"));
        Split { haproxy, nginx, fence, at_rest }
    }

    /// The same after nginx had time to end a reload that it was told of already.
    pub fn calm_split(&self) -> Split {
        let end = Instant::now() + RELOAD;
        loop {
            let split = self.split();
            if split.at_rest || Instant::now() > end {
                return split;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What nginx answers, once several new connections get the same.
    fn generation(&self) -> Option<String> {
        let first = page(self.nginx.port)?;
        (1..ANSWERS).all(|_| page(self.nginx.port).as_ref() == Some(&first)).then_some(first)
    }
}

/// One command on HAProxy's socket.
pub fn tell(server: &Server, command: &str) -> String {
    let path = server.directory.path().join("admin.sock");
    let mut stream = UnixStream::connect(path).expect("HAProxy's socket");
    writeln!(stream, "{command}").expect("it takes a command");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    text
}

/// The generation that one new connection gets.
fn page(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let head = b"GET /__generation HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(head).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text.split_once("\r\n\r\n")?.1.trim().to_owned())
}

/// The weights of both servers, in the order of the file.
fn weights(text: &str) -> [u32; 2] {
    let servers = text.lines().map(str::trim).filter(|line| line.starts_with("server "));
    let weights: Vec<u32> = servers
        .map(|line| match line.split_once("weight=") {
            _ if line.trim_end_matches(';').split(' ').any(|word| word == "down") => 0,
            Some((_, rest)) => rest
                .split([' ', ';'])
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or_else(|| panic!("no weight in {line:?}")),
            None => 1,
        })
        .collect();
    <[u32; 2]>::try_from(weights).unwrap_or_else(|_| panic!("two servers in {text}"))
}

/// nginx in the foreground, with its managed file for group a alone.
fn nginx(a: u16, b: u16) -> Server {
    let arguments = |port: u16, path: &std::path::Path| {
        let text = include_str!("../../fixtures/routers/nginx.conf")
            .replace("@PORT@", &port.to_string())
            .replace("@PROXY@", "http://app");
        std::fs::write(path.join("nginx.conf"), text).expect("a config file");
        std::fs::create_dir(path.join("tmp")).expect("a directory");
        let first = include_str!("../../fixtures/routers/nginx-start.conf")
            .replace("18001", &a.to_string())
            .replace("18002", &b.to_string());
        std::fs::write(path.join("split.conf"), first).expect("a managed file");
        words(path, &["-p", "@", "-e", "error.log", "-c", "nginx.conf"])
    };
    let ready = |port, _: &std::path::Path| page(port).is_some();
    servers::start("/usr/sbin/nginx", arguments, ready)
}

/// The words, with `@` for the directory.
fn words(dir: &std::path::Path, words: &[&str]) -> Vec<String> {
    let dir = dir.display().to_string();
    words.iter().map(|word| if *word == "@" { dir.clone() } else { (*word).to_owned() }).collect()
}

fn config(haproxy: &Server, nginx: &Server, [a, b]: [u16; 2]) -> String {
    let dir = nginx.directory.path();
    let test = ["/usr/sbin/nginx", "-t", "-p", "@", "-e", "error.log", "-c", "nginx.conf"];
    format!(
        "version = 1\n[environment]\nname = \"crash\"\n[[service]]\nname = \"web\"\n\
         alias = \"web\"\n[[service.router]]\nname = \"edge\"\nhaproxy = \"{}\"\n\
         backend = \"app\"\nstable = \"stable\"\ncanary = \"canary\"\nreread = \"500ms\"\n\
         [[service.router]]\nname = \"inner\"\nstable = \"127.0.0.1:{a}\"\n\
         canary = \"127.0.0.1:{b}\"\nreread = \"500ms\"\nnginx = {{ file = \"{}\", \
         pid = \"{}\", test = {:?}, proof = \"{}/__generation\", upstream = \"app\" }}\n\
         [service.signals]\nmetrics = \"haproxy\"\ninterval = \"250ms\"\nwindow = \"2s\"\n\
         [service.canary]\nsteps = [10, 50, 100]\nsoak = \"400ms\"\nwait = \"60s\"\n\
         every = \"250ms\"\nbake = \"1s\"\nobjective = {{ error_rate = 10.0 }}\n",
        haproxy.directory.path().join("admin.sock").display(),
        dir.join("split.conf").display(),
        dir.join("nginx.pid").display(),
        words(dir, &test),
        nginx.url(),
    )
}
