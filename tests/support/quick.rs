//! Is the product as quick as it promises, whatever else the machine does?
//!
//! The product takes turns with the least that anybody needs for the same: the same questions on
//! the same socket, the same number of syncs to the same disk, the same reload. Contract: the
//! median of one round is below the promise, or, where the machine is too slow for that, below
//! so many times the least. A product that waits for nothing is above both in every round.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const TURNS: usize = 20;
/// What comes and goes on a machine does not stay for three of them.
const ROUNDS: usize = 3;
/// The least itself ends; what does not is broken.
const PATIENCE: Duration = Duration::from_secs(30);

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// `product` says how long it took; it gets the number of its turn. `factor`: how many times the
/// least it may take where that is more than its promise.
pub fn judge(
    name: &str,
    (promise, factor): (Duration, u32),
    mut product: impl FnMut(usize) -> Duration,
    mut least: impl FnMut(),
) {
    let mut seen = Vec::new();
    for round in 0..ROUNDS {
        let (mut own, mut bare) = (Vec::new(), Vec::new());
        for turn in 0..TURNS {
            own.push(product(round * TURNS + turn));
            let begin = Instant::now();
            least();
            bare.push(begin.elapsed());
        }
        let (own, bare) = (median(own), median(bare));
        println!("{name}: median of {TURNS}: {own:?}, the least for the same: {bare:?}");
        if own < promise.max(bare * factor) {
            return;
        }
        seen.push((own, bare));
    }
    panic!("{name}: above {promise:?} and above {factor} times the least: {seen:?}");
}

/// So many small writes, each on the disk before the next.
pub fn sync(file: &File, times: usize) {
    for _ in 0..times {
        file.write_all_at(b"00000000000000000001\n", 0).expect("writes");
        file.sync_data().expect("syncs");
    }
}

/// So many questions to HAProxy, each on a connection of its own.
pub fn ask_haproxy(socket: &Path, backend: &str, times: usize) {
    for _ in 0..times {
        let mut stream = UnixStream::connect(socket).expect("connects");
        writeln!(stream, "show servers state {backend}").expect("writes");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("reads");
        assert!(reply.ends_with("\n\n"), "{reply}");
    }
}

/// Tests and reloads the nginx of this directory, and waits for the end of its old workers.
pub fn reload_nginx(dir: &Path) {
    let mut test = Command::new("/usr/sbin/nginx");
    test.arg("-t").arg("-p").arg(dir).args(["-e", "error.log", "-c", "nginx.conf"]);
    let tested = test.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("nginx starts");
    assert!(tested.success(), "the test of {} fails", dir.display());
    let id = std::fs::read_to_string(dir.join("nginx.pid")).expect("a process id");
    let id: i32 = id.trim().parse().expect("a number");
    let workers = || {
        let all = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let all = all.expect("the master runs");
        all.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let old = workers();
    kill_process(Pid::from_raw(id).expect("not zero"), Signal::HUP).expect("the master runs");
    let end = Instant::now() + PATIENCE;
    while old.iter().any(|one| workers().contains(one)) {
        assert!(Instant::now() < end, "the old workers stay");
        std::thread::sleep(Duration::from_millis(1));
    }
}
