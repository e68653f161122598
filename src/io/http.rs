//! One HTTP client for every adapter, with its limits.
//!
//! Decides how long, how large and how far an exchange may go: one deadline over everything, a
//! body limit held while it streams, redirects only by hand and to the same origin, compression
//! only where asked for, no name of a link-local address. Never uses a proxy of the environment,
//! never sends a secret to another origin than the target's, never puts a header's value, a user or
//! a query into an error text. Contract: `send` returns within the target's timeout and keeps at
//! most `body_bytes_max` bytes; `stream` hands on at most as many and keeps none.

mod dates;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::types::{Failure, FailureKind};
use flate2::write::GzDecoder;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::Instant;

pub use self::dates::{Watch, farthest};
use crate::io::settings::{HttpTarget, Secret};

/// A host in reach answers a connection far sooner; the rest of the deadline is for the answer.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(1);
/// One: a target has one request in flight.
const IDLE_PER_HOST_MAX: usize = 1;
/// Longer than any usual probe interval, so that a poller keeps its connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// What browsers need for a canonical host and a trailing slash, and one more.
const REDIRECTS_MAX: usize = 3;
/// Names and values together; servers accept about as much in a request.
const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 100;
/// JSON of a health page packs 5 to 20 times; zeros pack 1000 times.
const RATIO_MAX: u64 = 50;
/// Below this an expansion harms nobody, and tiny texts may well be repetitive.
const RATIO_FREE_BYTES: u64 = 1024;
/// A bundle of all public authorities has about 250 KiB.
const CA_FILE_BYTES_MAX: u64 = 1024 * 1024;
const AGENT: &str = concat!("quarterdeck/", env!("CARGO_PKG_VERSION"));

/// Shared by all adapters; cheap to clone.
#[derive(Clone)]
pub struct Client {
    plain: reqwest::Client,
    /// Keeps no connection.
    closing: reqwest::Client,
    /// Built at the first `https` address, one for each set of trusted authorities.
    secure: Arc<Mutex<BTreeMap<Option<PathBuf>, reqwest::Client>>>,
    dates: dates::Dates,
    /// Where the dates of the answers are noted; nowhere when nobody wants to know.
    watch: Option<Watch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Put,
    Post,
}

impl Method {
    fn word(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Put => "PUT",
            Method::Post => "POST",
        }
    }
}

impl From<Method> for reqwest::Method {
    fn from(method: Method) -> reqwest::Method {
        match method {
            Method::Get => reqwest::Method::GET,
            Method::Put => reqwest::Method::PUT,
            Method::Post => reqwest::Method::POST,
        }
    }
}

/// What takes the body of a good answer as it comes.
pub type Take<'a> = &'a mut (dyn FnMut(&[u8]) -> Result<(), String> + Send);

/// A whole answer, within the target's limits.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case; values as received, so treat them as outside text.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub latency: Duration,
    pub certificate_expires: Option<DateTime<Utc>>,
}

impl Client {
    pub fn new() -> Result<Client, Failure> {
        // No authority is trusted here: this one only ever sees plain addresses.
        let client = |kept| build(rustls::RootCertStore::empty(), Names { lookup }, kept);
        let (plain, closing) = (client(IDLE_PER_HOST_MAX)?, client(0)?);
        let (secure, dates) = (Arc::default(), dates::Dates::default());
        Ok(Client { plain, closing, secure, dates, watch: None })
    }

    /// The same client, which notes in `watch` how far the servers' clocks are from ours.
    #[must_use]
    pub fn watched(&self, watch: &Watch) -> Client {
        Client { watch: Some(watch.clone()), ..self.clone() }
    }

    /// Sends one request to `url` (the target's own, or one below it) under the target's limits.
    /// `body` is sent as JSON. An HTTP error status is an answer, not a failure.
    pub async fn send(
        &self,
        target: &HttpTarget,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Answer, Failure> {
        self.attempt(target, method, url, headers, body)
            .await
            .map_err(|trouble| trouble.of(method, url))
    }

    /// Gets `url`, and hands the body on piece by piece when the status is a good one.
    pub async fn stream(
        &self,
        target: &HttpTarget,
        url: &str,
        take: Take<'_>,
    ) -> Result<Answer, Failure> {
        let exchange = self.exchange(target, Method::Get, url, &[], None, Some(take));
        let Ok(result) = tokio::time::timeout(target.timeout, exchange).await else {
            return Err(Trouble::late(target).of(Method::Get, url));
        };
        result.map_err(|trouble| trouble.of(Method::Get, url))
    }

    /// As `send`, for a caller whose own text names the operation already.
    pub(crate) async fn attempt(
        &self,
        target: &HttpTarget,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Answer, Trouble> {
        let started = Instant::now();
        let exchange = self.exchange(target, method, url, headers, body, None);
        let Ok(result) = tokio::time::timeout(target.timeout, exchange).await else {
            return Err(Trouble::late(target));
        };
        result.map(|answer| Answer { latency: started.elapsed(), ..answer })
    }

    async fn exchange(
        &self,
        target: &HttpTarget,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
        take: Option<Take<'_>>,
    ) -> Result<Answer, Trouble> {
        let mut url = parse(url)?;
        let own = parse(&target.url)?;
        if !same_origin(&own, &url) {
            return Err(Trouble::new(
                FailureKind::Denied,
                format!("not at the configured origin {}", redacted(&target.url)),
            ));
        }
        let headers = assemble(target, headers, body.is_some()).await?;
        let client = self.client_for(&url, target).await?;
        for _ in 0..=REDIRECTS_MAX {
            let response = ask(&client, method, &url, &headers, body.as_deref()).await?;
            if let Some(watch) = &self.watch {
                watch.note(self.dates.ahead(response.headers()));
            }
            let redirect = response.status().is_redirection() && method == Method::Get;
            match response.headers().get(header::LOCATION) {
                Some(place) if redirect && target.follow_redirects => {
                    url = next_place(&url, place)?;
                }
                Some(_) | None => return receive(response, target, take).await,
            }
        }
        Err(Trouble::new(FailureKind::Refused, format!("more than {REDIRECTS_MAX} redirects")))
    }

    async fn client_for(&self, url: &Url, target: &HttpTarget) -> Result<reqwest::Client, Trouble> {
        if url.scheme() == "http" {
            return Ok(if target.close { &self.closing } else { &self.plain }.clone());
        }
        let key = target.ca_file.clone();
        let known = {
            let clients = self.secure.lock().unwrap_or_else(PoisonError::into_inner);
            clients.get(&key).cloned()
        };
        if let Some(client) = known {
            return Ok(client);
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(path) = &key {
            add_authorities(&mut roots, path).await?;
        }
        let client = build(roots, Names { lookup }, IDLE_PER_HOST_MAX)
            .map_err(|failure| Trouble::new(failure.kind, failure.text.display().to_owned()))?;
        let mut clients = self.secure.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(clients.entry(key).or_insert(client).clone())
    }
}

/// A failure before its text names the operation.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) kind: FailureKind,
    pub(crate) text: String,
}

impl Trouble {
    fn new(kind: FailureKind, text: impl Into<String>) -> Trouble {
        Trouble { kind, text: text.into() }
    }

    fn late(target: &HttpTarget) -> Trouble {
        let why = format!("no answer within {:?}", target.timeout);
        Trouble::new(FailureKind::Timeout, why)
    }

    fn of(self, method: Method, url: &str) -> Failure {
        // Where there is little room, the reason is what is read.
        let text = format!("{} ({} {})", self.text, method.word(), redacted(url));
        Failure::new(self.kind, text)
    }
}

/// Resolves names, but not to link-local addresses: there live the metadata services of clouds,
/// which a name of somebody else must not make us ask. An address in the URL itself is the
/// operator's own word and needs no resolving.
#[derive(Clone, Copy)]
struct Names {
    lookup: fn(String) -> Found,
}

type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

fn lookup(name: String) -> Found {
    Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let found = (self.lookup)(name.clone());
        Box::pin(async move {
            let kept = screened(&name, found.await?)?;
            let addresses: Addrs = Box::new(kept.into_iter());
            Ok(addresses)
        })
    }
}

fn screened(name: &str, found: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    let (refused, kept): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| is_link_local(address.ip()));
    match refused.first() {
        Some(address) if kept.is_empty() => {
            let ip = address.ip();
            let why =
                format!("{name} is the link-local address {ip}: write that in the URL itself");
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
        }
        Some(_) | None => Ok(kept),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn build(
    roots: rustls::RootCertStore,
    names: Names,
    kept: usize,
) -> Result<reqwest::Client, Failure> {
    let failed = |error: &dyn StdError| {
        Failure::new(FailureKind::Denied, format!("set up the HTTP client: {}", deepest(error)))
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .tls_info(true)
        .http1_only()
        .http1_max_headers(HEADERS_MAX)
        .no_proxy()
        .dns_resolver(names)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT_MAX)
        .pool_max_idle_per_host(kept)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .user_agent(AGENT)
        .build()
        .map_err(|error| failed(&error))
}

async fn add_authorities(roots: &mut rustls::RootCertStore, path: &Path) -> Result<(), Trouble> {
    let denied = |why: String| {
        Trouble::new(FailureKind::Denied, format!("authority file {}: {why}", path.display()))
    };
    let size = tokio::fs::metadata(path).await.map_err(|error| denied(error.to_string()))?.len();
    if size > CA_FILE_BYTES_MAX {
        return Err(denied(format!("larger than {CA_FILE_BYTES_MAX} bytes")));
    }
    let pem = tokio::fs::read(path).await.map_err(|error| denied(error.to_string()))?;
    let mut added = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| denied(error.to_string()))?;
        roots.add(certificate).map_err(|error| denied(error.to_string()))?;
        added += 1;
    }
    if added == 0 { Err(denied("holds no certificate".to_owned())) } else { Ok(()) }
}

fn parse(url: &str) -> Result<Url, Trouble> {
    let bad = |why: String| Trouble::new(FailureKind::Malformed, why);
    let url = Url::parse(url).map_err(|error| bad(format!("not a URL: {error}")))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(bad(format!("scheme {other} is not http or https"))),
    }
}

fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host() == b.host()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// The address without what may be secret in it: user, password, query, fragment.
fn redacted(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else {
        return "(not a URL)".to_owned();
    };
    // Both fail only on addresses that cannot have a user at all.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.set_fragment(None);
    let hidden = if parsed.query().is_some() { "?…" } else { "" };
    parsed.set_query(None);
    format!("{parsed}{hidden}")
}

/// All headers of a request; `own` wins over the target's.
async fn assemble(
    target: &HttpTarget,
    own: &[(&str, &str)],
    has_body: bool,
) -> Result<HeaderMap, Trouble> {
    let mut map = HeaderMap::new();
    let encoding = if target.compressed { "gzip" } else { "identity" };
    map.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding));
    if has_body {
        map.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, secret) in &target.headers {
        put(&mut map, name, &known(secret).await?)?;
    }
    if let Some(secret) = &target.token {
        put(&mut map, "authorization", &format!("Bearer {}", known(secret).await?))?;
    }
    for (name, value) in own {
        put(&mut map, name, value)?;
    }
    Ok(map)
}

async fn known(secret: &Secret) -> Result<Cow<'_, str>, Trouble> {
    secret.value().await.map_err(|why| Trouble::new(FailureKind::Denied, why))
}

fn put(map: &mut HeaderMap, name: &str, value: &str) -> Result<(), Trouble> {
    let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        Trouble::new(FailureKind::Denied, format!("{name:?} is not a header's name"))
    })?;
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_| {
        let why = format!("the value of header {name} holds characters that cannot be sent");
        Trouble::new(FailureKind::Denied, why)
    })?;
    value.set_sensitive(true);
    map.insert(key, value);
    Ok(())
}

async fn ask(
    client: &reqwest::Client,
    method: Method,
    url: &Url,
    headers: &HeaderMap,
    body: Option<&str>,
) -> Result<Response, Trouble> {
    let request = || {
        let mut request = client.request(method.into(), url.clone()).headers(headers.clone());
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        request.send()
    };
    match request().await {
        Ok(response) => Ok(response),
        // A kept connection may end just as it is used again: a look may be asked once more on a
        // fresh one, a write may not.
        Err(error) if method == Method::Get && was_cut(&error) => {
            request().await.map_err(|error| trouble_of(&error))
        }
        Err(error) => Err(trouble_of(&error)),
    }
}

fn next_place(from: &Url, place: &HeaderValue) -> Result<Url, Trouble> {
    let refused = |why: String| Trouble::new(FailureKind::Refused, why);
    let place = place.to_str().map_err(|_| refused("redirects to no URL".to_owned()))?;
    let next = from.join(place).map_err(|_| refused("redirects to no URL".to_owned()))?;
    if same_origin(from, &next) {
        Ok(next)
    } else {
        let origin = next.origin().ascii_serialization();
        Err(refused(format!("redirects to another origin, {origin}: not followed")))
    }
}

async fn receive(
    mut response: Response,
    target: &HttpTarget,
    take: Option<Take<'_>>,
) -> Result<Answer, Trouble> {
    let malformed = |why: String| Trouble::new(FailureKind::Malformed, why);
    let status = response.status().as_u16();
    let certificate_expires = response.extensions().get::<reqwest::tls::TlsInfo>().and_then(expiry);
    let headers = collect_headers(response.headers())?;
    let too_large = || malformed(format!("answer is larger than {} bytes", target.body_bytes_max));
    let limit = u64::try_from(target.body_bytes_max).unwrap_or(u64::MAX);
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let coding = headers.get("content-encoding").map_or("", |value| value.trim());
    let mut sink = match coding.to_ascii_lowercase().as_str() {
        "" | "identity" => Sink::Plain(Bounded::new(limit, None)),
        "gzip" | "x-gzip" if target.compressed => {
            Sink::Packed(Box::new(GzDecoder::new(Bounded::new(limit, Some(0)))))
        }
        _ => return Err(malformed("compressed answer that was not asked for".to_owned())),
    };
    let mut take = take.filter(|_| response.status().is_success());
    let mut any = false;
    while let Some(chunk) = response.chunk().await.map_err(|error| body_trouble(&error))? {
        any |= !chunk.is_empty();
        sink.take(&chunk).map_err(malformed)?;
        if let Some(take) = &mut take {
            take(&sink.drain()).map_err(malformed)?;
        }
    }
    let mut body = if any { sink.finish().map_err(malformed)? } else { Vec::new() };
    if let Some(take) = take {
        take(&std::mem::take(&mut body)).map_err(malformed)?;
    }
    // `latency` is known only to the caller, who saw the start.
    Ok(Answer { status, headers, body, latency: Duration::ZERO, certificate_expires })
}

fn collect_headers(map: &HeaderMap) -> Result<BTreeMap<String, String>, Trouble> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    let mut bytes = 0;
    for (name, value) in map {
        bytes += name.as_str().len() + value.len();
        if bytes > HEADER_BYTES_MAX {
            let why = format!("headers are larger than {HEADER_BYTES_MAX} bytes");
            return Err(Trouble::new(FailureKind::Malformed, why));
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(&value);
            })
            .or_insert_with(|| value.clone().into_owned());
    }
    Ok(headers)
}

fn expiry(info: &reqwest::tls::TlsInfo) -> Option<DateTime<Utc>> {
    let (_, certificate) = x509_parser::parse_x509_certificate(info.peer_certificate()?).ok()?;
    DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)
}

/// Where a body goes while it streams in.
enum Sink {
    Plain(Bounded),
    Packed(Box<GzDecoder<Bounded>>),
}

impl Sink {
    fn take(&mut self, chunk: &[u8]) -> Result<(), String> {
        match self {
            Sink::Plain(bounded) => bounded.write_all(chunk),
            Sink::Packed(decoder) => {
                decoder.get_mut().received(chunk.len());
                decoder.write_all(chunk)
            }
        }
        .map_err(|error| said(&error))
    }

    /// What came since the last time.
    fn drain(&mut self) -> Vec<u8> {
        match self {
            Sink::Plain(bounded) => std::mem::take(&mut bounded.kept),
            Sink::Packed(decoder) => std::mem::take(&mut decoder.get_mut().kept),
        }
    }

    fn finish(self) -> Result<Vec<u8>, String> {
        match self {
            Sink::Plain(bounded) => Ok(bounded.kept),
            Sink::Packed(decoder) => {
                decoder.finish().map(|bounded| bounded.kept).map_err(|error| said(&error))
            }
        }
    }
}

fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::FileTooLarge => error.to_string(),
        _ => format!("compressed answer cannot be unpacked: {error}"),
    }
}

/// Keeps bytes up to a limit, and up to a ratio of what came over the wire.
struct Bounded {
    kept: Vec<u8>,
    /// Kept so far, drained or not.
    size: u64,
    limit: u64,
    /// Bytes on the wire so far; `None` where nothing is unpacked.
    wire: Option<u64>,
}

impl Bounded {
    fn new(limit: u64, wire: Option<u64>) -> Bounded {
        Bounded { kept: Vec::new(), size: 0, limit, wire }
    }

    fn received(&mut self, bytes: usize) {
        if let Some(wire) = &mut self.wire {
            *wire = wire.saturating_add(bytes as u64);
        }
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.size + bytes.len() as u64;
        let too_large = |why: String| io::Error::new(io::ErrorKind::FileTooLarge, why);
        if size > self.limit {
            return Err(too_large(format!("answer is larger than {} bytes", self.limit)));
        }
        let allowed = self.wire.map(|wire| wire.saturating_mul(RATIO_MAX).max(RATIO_FREE_BYTES));
        if allowed.is_some_and(|allowed| size > allowed) {
            return Err(too_large(format!("answer unpacks to more than {RATIO_MAX} times")));
        }
        self.kept.extend_from_slice(bytes);
        self.size = size;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Cause<'a> = &'a (dyn StdError + 'static);

fn causes(error: &reqwest::Error) -> impl Iterator<Item = Cause<'_>> {
    let first: Cause<'_> = error;
    std::iter::successors(Some(first), |&error: &Cause<'_>| error.source())
}

fn deepest(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}

/// The connection ended before a byte of the answer came.
fn was_cut(error: &reqwest::Error) -> bool {
    !error.is_connect()
        && causes(error).any(|cause| {
            let hyper_says = cause
                .downcast_ref::<hyper::Error>()
                .is_some_and(|error| error.is_incomplete_message() || error.is_canceled());
            let system_says = cause.downcast_ref::<io::Error>().is_some_and(|error| {
                matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
            });
            hyper_says || system_says
        })
}

fn trouble_of(error: &reqwest::Error) -> Trouble {
    if error.is_timeout() {
        let why = format!("no connection within {CONNECT_TIMEOUT_MAX:?}");
        return Trouble::new(FailureKind::Timeout, why);
    }
    if was_cut(error) {
        return Trouble::new(FailureKind::Unreachable, "connection closed without an answer");
    }
    let system = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
    if system.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        return Trouble::new(FailureKind::Unreachable, "connection refused");
    }
    if let Some(error) = system.filter(|error| error.kind() == io::ErrorKind::PermissionDenied) {
        return Trouble::new(FailureKind::Denied, error.to_string());
    }
    let kind = if error.is_connect() { FailureKind::Unreachable } else { FailureKind::Malformed };
    Trouble::new(kind, deepest(error))
}

fn body_trouble(error: &reqwest::Error) -> Trouble {
    let why = format!("answer was cut off: {}", deepest(error));
    Trouble::new(FailureKind::Malformed, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_never_carry_a_user_or_a_query() {
        let check = |url: &str, shown: &str| assert_eq!(redacted(url), shown);
        check("http://me:secret@h:1/p?token=x#y", "http://h:1/p?…");
        check("https://h/health", "https://h/health");
        check("no url at all", "(not a URL)");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let check = |a: &str, b: &str, same: bool| {
            let parsed = |url: &str| parse(url).expect("a valid address");
            assert_eq!(same_origin(&parsed(a), &parsed(b)), same, "{a} and {b}");
        };
        check("http://h/", "http://h:80/x", true);
        check("http://h/", "https://h/", false);
        check("http://h:1/", "http://h:2/", false);
        check("http://h/", "http://h.evil/", false);
    }

    #[test]
    fn a_name_never_leads_to_a_link_local_address() {
        let check = |found: &[&str], kept: Option<&[&str]>| {
            let parsed = |texts: &[&str]| -> Vec<SocketAddr> {
                let address = |text: &&str| SocketAddr::new(text.parse().expect("an address"), 0);
                texts.iter().map(address).collect()
            };
            assert_eq!(screened("h", parsed(found)).ok(), kept.map(parsed), "{found:?}");
        };
        check(&["127.0.0.1", "::1"], Some(&["127.0.0.1", "::1"]));
        check(&["169.253.255.255", "169.255.0.0"], Some(&["169.253.255.255", "169.255.0.0"]));
        check(&["169.254.169.254"], None);
        check(&["169.254.0.0", "fe80::1", "febf::1", "::ffff:169.254.1.1"], None);
        check(&["169.254.169.254", "10.0.0.1", "fec0::1"], Some(&["10.0.0.1", "fec0::1"]));
        check(&[], Some(&[]));
    }

    #[tokio::test]
    async fn a_request_to_such_a_name_is_denied_and_to_the_address_itself_is_not() {
        let names = Names {
            lookup: |name| {
                let text = if name == "good.test" { "127.0.0.1:0" } else { "169.254.169.254:0" };
                Box::pin(async move { Ok(vec![text.parse().expect("an address")]) })
            },
        };
        let plain = build(rustls::RootCertStore::empty(), names, 1).expect("a client");
        let client = Client { plain, ..Client::new().expect("a client") };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("an address").port();
        let asked = async |url: &str| {
            let target = HttpTarget {
                url: url.to_owned(),
                headers: BTreeMap::new(),
                token: None,
                timeout: Duration::from_millis(300),
                body_bytes_max: 1024,
                compressed: false,
                follow_redirects: false,
                ca_file: None,
                close: false,
            };
            client.send(&target, Method::Get, url, &[], None).await.expect_err("no answer")
        };
        let denied = asked("http://metadata.test/latest").await;
        assert_eq!(denied.kind, FailureKind::Denied, "{}", denied.text);
        let text = denied.text.display();
        assert!(text.contains("metadata.test is the link-local address 169.254.169.254"), "{text}");
        // Another name is asked: the listener accepts and is silent.
        let silent = asked(&format!("http://good.test:{port}/")).await;
        assert_eq!(silent.kind, FailureKind::Timeout, "{}", silent.text);
        // What the operator wrote is asked for; without a zone the kernel knows no way to it.
        let own = asked("http://[fe80::1]:9/").await;
        assert_ne!(own.kind, FailureKind::Denied, "{}", own.text);
    }
}
