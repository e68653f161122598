//! One program on a pseudo-terminal, and what it wrote when.
//!
//! Never looks into the bytes while the program runs: the screen is put together afterwards, so
//! that measuring costs the measured program nothing.

use std::io::{Read, Write};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// Silence after which a picture is whole.
const QUIET: Duration = Duration::from_millis(50);
/// A picture has at least as many characters that are not blank.
const VISIBLE_MIN: usize = 500;
/// Longest that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// A program that lives on for longer stays.
const GONE_MAX: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(1);

type Chunks = Arc<Mutex<Vec<(Instant, Vec<u8>)>>>;

pub struct Session {
    master: Option<Box<dyn MasterPty + Send>>,
    writer: Option<Box<dyn Write + Send>>,
    child: Box<dyn Child + Send + Sync>,
    chunks: Chunks,
    reader: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    size: (u16, u16),
    pub started: Instant,
}

/// How a program left.
pub struct Left {
    pub after: Option<Duration>,
    /// What it did not give back: the alternate screen, the cursor, the mouse.
    pub kept: Vec<&'static str>,
}

impl Session {
    pub fn start(words: &[String], (columns, rows): (u16, u16)) -> Session {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let mut command = CommandBuilder::new(&words[0]);
        command.args(&words[1..]);
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        let mut reader = pair.master.try_clone_reader().expect("a reader");
        let writer = pair.master.take_writer().expect("a writer");
        let started = Instant::now();
        let child = pair.slave.spawn_command(command).expect("the program starts");
        drop(pair.slave);
        let chunks = Chunks::default();
        let kept = Arc::clone(&chunks);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let chunk = (Instant::now(), buffer[..count].to_vec());
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(chunk);
            }
        });
        Session {
            master: Some(pair.master),
            writer: Some(writer),
            child,
            chunks,
            reader: Some(reader),
            stop,
            size: (columns, rows),
            started,
        }
    }

    pub fn pid(&self) -> i32 {
        self.child.process_id().and_then(|pid| i32::try_from(pid).ok()).expect("it runs")
    }

    pub fn chunks(&self) -> Vec<(Instant, Vec<u8>)> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn bytes(&self) -> usize {
        let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    pub fn screen(&self) -> Screen {
        let [rows, columns] =
            [self.size.1, self.size.0].map(|cells| NonZero::new(cells).expect("a size"));
        Screen(vt100::Parser::new(rows, columns, 0))
    }

    /// When the picture was whole for the first time: its last bytes before a silence.
    pub fn full_paint(&self) -> Option<Duration> {
        let end = Instant::now() + PATIENCE;
        loop {
            let chunks = self.chunks();
            let mut screen = self.screen();
            for (place, (at, bytes)) in chunks.iter().enumerate() {
                screen.feed(bytes);
                let next = chunks.get(place + 1).map_or_else(Instant::now, |(at, _)| *at);
                if next.duration_since(*at) >= QUIET && screen.visible() >= VISIBLE_MIN {
                    return Some(at.duration_since(self.started));
                }
            }
            if Instant::now() > end {
                return None;
            }
            std::thread::sleep(QUIET / 5);
        }
    }

    pub fn write(&mut self, key: &[u8]) -> Instant {
        let writer = self.writer.as_mut().expect("the terminal is there");
        let at = Instant::now();
        writer.write_all(key).and_then(|()| writer.flush()).expect("a key is taken");
        at
    }

    /// Waits for the end after `signal`.
    pub fn leave(mut self, signal: rustix::process::Signal) -> Left {
        let asked = Instant::now();
        let pid = rustix::process::Pid::from_raw(self.pid()).expect("a number");
        rustix::process::kill_process(pid, signal).expect("it runs");
        let after = self.ended(asked);
        std::thread::sleep(QUIET);
        let mut screen = self.screen();
        for (_, bytes) in self.chunks() {
            screen.feed(&bytes);
        }
        Left { after, kept: screen.kept() }
    }
}

impl Session {
    /// Takes the terminal away; how long the program lived on.
    pub fn hang_up(mut self) -> Option<Duration> {
        // The reader has an end of the terminal, too: it goes with the next bytes.
        self.stop.store(true, Ordering::SeqCst);
        self.writer = None;
        self.master = None;
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has nothing more to tell.
            let _ = reader.join();
        }
        self.ended(Instant::now())
    }

    fn ended(&mut self, asked: Instant) -> Option<Duration> {
        while asked.elapsed() < GONE_MAX {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return Some(asked.elapsed());
            }
            std::thread::sleep(PAUSE / 4);
        }
        None
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It fails only when the program is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.writer = None;
        self.master = None;
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has nothing more to tell.
            let _ = reader.join();
        }
    }
}

/// The picture that some bytes make.
pub struct Screen(vt100::Parser);

impl Screen {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.0.process(bytes);
    }

    pub fn text(&self) -> String {
        self.0.screen().contents()
    }

    fn visible(&self) -> usize {
        self.text().chars().filter(|letter| !letter.is_whitespace()).count()
    }

    fn kept(&self) -> Vec<&'static str> {
        let screen = self.0.screen();
        let mouse = screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None;
        [
            (screen.alternate_screen(), "alternate screen"),
            (screen.hide_cursor(), "no cursor"),
            (mouse, "mouse"),
        ]
        .into_iter()
        .filter_map(|(kept, name)| kept.then_some(name))
        .collect()
    }
}
