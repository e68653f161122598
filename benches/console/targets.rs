//! Servers to be probed: as many addresses of the loopback network as asked for, on a thread of
//! their own. Each tells when it was asked.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// Hosts of one 127.x.y.0/24 that are used: 1 to 250.
const HOSTS: usize = 250;
/// About as long as a health answer with a few details.
const BODY: &str = concat!(
    r#"{"status":"UP","components":{"db":{"status":"UP","details":{"database":"PostgreSQL","#,
    r#""validationQuery":"isValid()"}},"diskSpace":{"status":"UP","details":{"#,
    r#""total":1000240963584,"free":551345229824,"threshold":10485760,"exists":true}},"#,
    r#""ping":{"status":"UP"},"redis":{"status":"UP","details":{"version":"7.2.4"}}}}"#,
);

type Asked = Arc<Mutex<Vec<(usize, Instant)>>>;

pub struct Targets {
    pub addresses: Vec<SocketAddr>,
    asked: Asked,
}

impl Targets {
    pub fn serve(count: usize) -> Targets {
        // One for all of them: ten thousand would take as many descriptors again.
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be set");
        let port = listener.local_addr().expect("it is bound").port();
        let address = |place: usize| {
            let byte = |figure: usize| u8::try_from(figure).expect("few enough");
            let host = Ipv4Addr::new(127, 1, byte(place / HOSTS), byte(place % HOSTS + 1));
            SocketAddr::from((host, port))
        };
        let addresses = (0..count).map(address).collect();
        let asked = Asked::default();
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let local = tokio::task::LocalSet::new();
            local.spawn_local(serve(listener, kept));
            runtime.expect("a runtime").block_on(local);
        });
        Targets { addresses, asked }
    }

    /// When each was asked since the last time, in order.
    pub fn take(&self) -> Vec<(usize, Instant)> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Which of the addresses somebody connected to.
fn place_of(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(address) => {
            let [_, _, network, host] = address.ip().octets();
            usize::from(network) * HOSTS + usize::from(host) - 1
        }
        SocketAddr::V6(_) => panic!("only the older addresses are served"),
    }
}

async fn serve(listener: TcpListener, asked: Asked) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    while let Ok((stream, _)) = listener.accept().await {
        let place = place_of(stream.local_addr().expect("it is connected"));
        let asked = Arc::clone(&asked);
        let answer = service_fn(move |_| {
            asked.lock().unwrap_or_else(PoisonError::into_inner).push((place, Instant::now()));
            let response = Response::builder().header("content-type", "application/json");
            let response = response.body(Full::new(Bytes::from_static(BODY.as_bytes())));
            async move { Ok::<_, Infallible>(response.expect("a fixed answer")) }
        });
        // A client that goes away is its own matter.
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        tokio::task::spawn_local(connection);
    }
}

/// A feed of many alerts, of which so many change their severity each second.
pub struct Alerts {
    pub url: String,
    pub interval: Duration,
}

impl Alerts {
    pub fn serve(count: usize, changes: usize) -> Alerts {
        let interval = Duration::from_secs(if changes > 0 { 1 } else { 10 });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let begin = Instant::now();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seconds = usize::try_from(begin.elapsed().as_secs()).expect("few enough");
                // A client that goes away is its own matter.
                let _ = answer(stream, &page(count, changes * seconds));
            }
        });
        Alerts { url: format!("http://{address}/alerts"), interval }
    }
}

/// The alerts at a moment at which so many changes have been made, one after the other.
fn page(count: usize, changed: usize) -> String {
    let (turns, into) = (changed / count, changed % count);
    let alert = |place: usize| {
        let high = (turns + usize::from(place < into)).is_multiple_of(2);
        let severity = if high { "high" } else { "low" };
        format!(r#"{{"id":"{place}","name":"HighErrorRate","severity":"{severity}"}}"#)
    };
    let alerts: Vec<String> = (0..count).map(alert).collect();
    format!(r#"{{"incidents":[{}]}}"#, alerts.join(","))
}

fn answer(mut stream: TcpStream, body: &str) -> std::io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}
