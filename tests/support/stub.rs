//! An HTTP server on loopback that answers what it is told to, and remembers what it was asked.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the next request gets; the last one again and again.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status, headers as lines, a body.
    Status(u16, &'static str, String),
    /// The connection stays open and silent.
    Nothing,
}

impl Answer {
    pub fn status(status: u16) -> Answer {
        Answer::Status(status, "", String::new())
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: Instant,
    pub head: String,
    pub body: String,
}

impl Asked {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

#[derive(Clone)]
pub struct Stub {
    pub port: u16,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    answers: Vec<Answer>,
    asked: Vec<Asked>,
}

impl Stub {
    /// Serves until the test process ends.
    pub fn serve(answers: &[Answer]) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let shared = Arc::new(Mutex::new(Shared { answers: answers.to_vec(), asked: Vec::new() }));
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A client that goes away in the middle is its own matter.
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Stub { port, shared: own }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn answers(&self, answers: &[Answer]) {
        self.shared.lock().expect("no thread panicked").answers = answers.to_vec();
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.lock().expect("no thread panicked").asked.clone()
    }
}

fn serve(mut stream: TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let answer = {
        let mut shared = shared.lock().expect("no thread panicked");
        shared.asked.push(Asked { at: Instant::now(), head, body });
        if shared.answers.len() > 1 { shared.answers.remove(0) } else { shared.answers[0].clone() }
    };
    match answer {
        Answer::Status(status, headers, body) => {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\
                 connection: close\r\n\r\n{body}"
            );
            stream.write_all(head.as_bytes())
        }
        Answer::Nothing => {
            // Until the client gives up.
            let _ = stream.read(&mut byte);
            Ok(())
        }
    }
}
