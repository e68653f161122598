//! A version of a service in this process: it answers at once, late or with errors, on demand; and
//! clients that keep asking it through a router.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// One version.
pub struct Backend {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    answered: AtomicU64,
    error_percent: AtomicU64,
    delay_ms: AtomicU64,
    sick: AtomicBool,
}

impl Backend {
    /// Serves until the test process ends; the header `X-Server` tells its name.
    pub fn serve(name: &'static str) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&own);
                // A client that goes away in the middle is its own matter.
                std::thread::spawn(move || answer(stream, name, &shared));
            }
        });
        Backend { port, shared }
    }

    /// That many of a hundred requests fail from now on, evenly.
    pub fn errors(&self, percent: u64) {
        self.shared.error_percent.store(percent, Ordering::SeqCst);
    }

    /// `/health` says no from now on; the other pages go on.
    pub fn sick(&self, sick: bool) {
        self.shared.sick.store(sick, Ordering::SeqCst);
    }

    pub fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).expect("a short delay");
        self.shared.delay_ms.store(millis, Ordering::SeqCst);
    }

    /// Requests that were answered so far, `/health` apart.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: TcpStream, name: &str, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let healthy = if first.starts_with("GET /health") {
        !shared.sick.load(Ordering::SeqCst)
    } else {
        std::thread::sleep(Duration::from_millis(shared.delay_ms.load(Ordering::SeqCst)));
        let number = shared.answered.fetch_add(1, Ordering::SeqCst);
        let percent = shared.error_percent.load(Ordering::SeqCst);
        // Spread evenly: the whole part of the running sum goes up with each error.
        (number + 1) * percent / 100 == number * percent / 100
    };
    let status = if healthy { "200 OK" } else { "500 Broken" };
    let text = format!(
        "HTTP/1.1 {status}\r\nX-Server: {name}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(text.as_bytes())
}

/// Clients that ask for a page again and again, until this is dropped.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// About 200 requests a second from each client.
    pub fn on(port: u16, clients: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    // Errors are counted where they are answered.
                    let _ = ask(port);
                    std::thread::sleep(Duration::from_millis(5));
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Load { stop, clients }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients.drain(..) {
            // A client that panicked has failed its test already.
            let _ = client.join();
        }
    }
}

fn ask(port: u16) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    stream.read_to_end(&mut Vec::new()).map(|_| ())
}
