//! What it costs a service to be watched: requests, counted where they arrive.

#[path = "support/product.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod product;
#[path = "support/servers.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod servers;

use std::time::{Duration, Instant};

use product::Deck;
use servers::{Page, get};

/// Requests a second, and how many: 20 s, or longer on a machine that is slower than its clients.
const RATE: u32 = 100;
const REQUESTS: u32 = 20 * RATE;

const METRICS: &str = "requests_total 1000\nerrors_total 0\n";

/// A version of the service: its page, its health and its counters.
fn version() -> Page {
    let page = Page::serve();
    page.set("/", 200, "hello");
    page.set("/health", 200, "ok");
    page.set("/metrics", 200, METRICS);
    page
}

#[test]
fn watching_costs_below_one_percent_of_the_requests() {
    let versions = [version(), version()];
    let [a, b] = versions.each_ref().map(Page::url);
    // No interval is given: these are the defaults.
    let deck = Deck::new(&format!(
        "version = 1\n[environment]\nname = \"test\"\n\
         [[metrics]]\nname = \"pages\"\nexposition = [\"{a}/metrics\", \"{b}/metrics\"]\n\
         [[service]]\nname = \"web\"\nalias = \"web\"\n\
         [[service.probe]]\nname = \"health\"\nhttp = \"{a}/health\"\n\
         [service.signals]\nmetrics = \"pages\"\nrequests = \"requests_total\"\n\
         errors = \"errors_total\"\n"
    ));
    let _engine = deck.start_engine();
    let begin = Instant::now();
    for sent in 0..REQUESTS {
        let due = begin + Duration::from_secs(1) * sent / RATE;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // Both versions serve, in turn.
        let port = versions[sent as usize % 2].port;
        assert_eq!(get(port, "/"), Some(200), "request {sent}");
    }
    let seconds = begin.elapsed().as_secs_f64();
    let paths: Vec<String> = versions
        .iter()
        .flat_map(|page| page.requests.lock().expect("no thread panicked").clone())
        .map(|(_, path, _)| path)
        .collect();
    let of = |path: &str| paths.iter().filter(|asked| *asked == path).count();
    let (probes, metrics, served) = (of("/health"), of("/metrics"), of("/"));
    assert_eq!(probes + metrics + served, paths.len(), "nothing else is asked");
    assert!(probes >= 3 && metrics >= 6, "{probes} probes and {metrics} pages in {seconds} s");
    assert_eq!(served, REQUESTS as usize, "all were served");
    // Of the requests that a quick machine sends in this time.
    let share = 100.0 * f64::from(u32::try_from(probes + metrics).expect("few"))
        / (f64::from(RATE) * seconds);
    println!(
        "overhead: {probes} probes and {metrics} pages of metrics beside {served} requests in \
         {seconds:.0} s: {share:.2} %"
    );
    assert!(share < 1.0, "{share:.2} %");
}
