//! What an open console and its engine cost together, counted from outside: a loaded machine wakes
//! them no more often, and draws no more.

use std::net::TcpListener;

use super::*;

/// Each time that a thread of these processes went to sleep by itself: as many wake-ups.
fn wakes(pids: &[Pid]) -> u64 {
    let threads = pids.iter().flat_map(|pid| {
        let place = format!("/proc/{}/task", pid.as_raw_nonzero());
        fs::read_dir(place).into_iter().flatten().filter_map(Result::ok)
    });
    let count = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|figure| figure.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    threads.map(count).sum()
}

#[test]
fn an_open_console_wakes_seldom_and_sends_little() {
    // Connections wait to be taken: that is an answer.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let mut text = "[environment]\nname = \"test\"\n\
                    [[host]]\nname = \"here\"\nlocal = true\ninterval = \"1s\"\n"
        .to_owned();
    for (service, probes) in [("checkout", 4), ("search", 3), ("billing", 3)] {
        text += &format!("[[service]]\nname = \"{service}\"\n");
        for place in 0..probes {
            text += &format!(
                "[[service.probe]]\nname = \"p{place}\"\ntcp = \"{address}\"\ninterval = \"5s\"\n"
            );
        }
    }
    let dir = private_dir();
    let config = dir.path().join("config.toml");
    fs::write(&config, text).expect("the configuration");
    let of = |path: PathBuf| path.to_str().expect("a plain path").to_owned();
    let state = of(dir.path().join("state"));
    let console =
        Console::start(dir, &["--config", &of(config), "--state-dir", &state], (80, 24), &[]);
    console.until("all answered", |screen| screen.contains("billing") && screen.contains("UP"));
    // What only happens at a start.
    std::thread::sleep(Duration::from_secs(3));
    let pids = processes_of(console.dir.path());
    assert_eq!(pids.len(), 2, "a console and its engine");
    let (begin, woken, sent) = (Instant::now(), wakes(&pids), console.seen().bytes.len());
    std::thread::sleep(Duration::from_secs(5));
    let seconds = begin.elapsed().as_secs();
    let (woken, sent) = (wakes(&pids) - woken, console.seen().bytes.len() - sent);
    println!("{woken} wake-ups and {sent} bytes in {seconds} s");
    assert!(woken <= 16 * seconds, "{woken} wake-ups in {seconds} s");
    // Of these the cell that moves with the news takes some ten a second.
    assert!(sent <= 210 * usize::try_from(seconds).expect("few"), "{sent} bytes in {seconds} s");
}
