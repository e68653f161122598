//! Incident feeds: what each of them says is wrong right now, and telling it that somebody has it.
//!
//! Decides what is one alert and how bad it is. Never invents an alert's end: what a feed leaves
//! out is resolved by the engine. Contract: a reading has at most [`ALERTS_MAX`] alerts, the worst
//! ones, one for each fingerprint; the rest is counted. A list of alerts is read as it comes, at
//! most [`LIST_BYTES_MAX`] of it; other answers are at most [`BODY_BYTES_MAX`].

mod alertmanager;
mod json;
mod pagerduty;
mod prometheus;
mod split;
mod statuspage;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::reading::{Alert, FeedReading};
use engine::types::{Actor, Failure, FailureKind, Severity, Untrusted};
use serde_json::Value;
use tokio::io::AsyncReadExt;

use self::split::{Place, Splitter};
use crate::io::http::{Answer, Client, Method};
use crate::io::settings::{FeedTarget, HttpTarget};
use crate::io::{clock, metrics};

/// Nobody reads more, and the worst ten thousand are kept.
pub const ALERTS_MAX: usize = 10_000;
/// A page of incidents, or an answer to a reply.
pub const BODY_BYTES_MAX: usize = 8 << 20;
/// A hundred thousand alerts with their annotations fit; a list is never kept as a whole.
pub const LIST_BYTES_MAX: usize = 256 << 20;
/// Labels of the alerts that are kept, by a guess of 3 KiB for each of [`ALERTS_MAX`].
const KEPT_BYTES_MAX: usize = 32 << 20;
/// What an alert takes besides its labels, about.
const ALERT_BYTES: usize = 512;
/// Pieces of a file.
const PIECE_BYTES: usize = 64 << 10;
/// More labels on one alert are cut.
const LABELS_MAX: usize = 64;
/// More links on one alert are cut.
const LINKS_MAX: usize = 8;
/// A fingerprint is a key in journal and snapshot; a longer one is replaced by its hash.
const FINGERPRINT_BYTES_MAX: usize = 128;
/// Reading a local file takes no longer; a file on a dead file server would.
const FILE_TIMEOUT: Duration = Duration::from_secs(5);
/// More of an error message than this does not help a person.
const MESSAGE_CHARS_MAX: usize = 300;

/// One alert, with what a reply to its feed needs as the feed wrote it.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    alert: Alert,
    /// Alertmanager: the labels that a silence matches. PagerDuty: the incident's id.
    raw: BTreeMap<String, String>,
}

pub struct Reader {
    name: String,
    target: FeedTarget,
    raw: BTreeMap<String, BTreeMap<String, String>>,
    /// An incident of PagerDuty does not tell its level: the ones asked for are kept here.
    levels: BTreeMap<String, u32>,
}

impl Reader {
    #[must_use]
    pub fn new(name: &str, target: FeedTarget) -> Reader {
        let name = name.to_owned();
        Reader { name, target, raw: BTreeMap::new(), levels: BTreeMap::new() }
    }

    /// Everything that is open now.
    pub async fn read(&mut self, client: &Client) -> Result<FeedReading, Failure> {
        let now = clock::now().wall;
        let worst = match &self.target {
            FeedTarget::Alertmanager(http) => {
                let url = below(http, alertmanager::ALERTS_PATH);
                self.listed(client, http, &url, &ALERTMANAGER, now).await?
            }
            FeedTarget::Prometheus(http) => {
                let url = below(http, "/api/v1/alerts");
                self.listed(client, http, &url, &PROMETHEUS, now).await?
            }
            FeedTarget::PagerDuty { http, .. } => self.incidents(client, http, now).await?,
            FeedTarget::Statuspage(http) => {
                let whole = Path::new(&http.url).extension().is_some_and(|end| end == "json");
                let url =
                    if whole { http.url.clone() } else { below(http, "/api/v2/summary.json") };
                let body = self.get(client, http, &url, &[]).await?;
                Worst::of(statuspage::parse(&body, now).map_err(|why| self.malformed(&why))?)
            }
            FeedTarget::JsonUrl(http) => self.listed(client, http, &http.url, &JSON, now).await?,
            FeedTarget::JsonFile(path) => {
                file(path, now).await.map_err(|failure| self.named(&failure))?
            }
            FeedTarget::Counters { http, queries } => {
                return self.count(client, http, queries).await;
            }
        };
        let (reading, raw) = worst.reading();
        self.levels.retain(|fingerprint, _| raw.contains_key(fingerprint));
        self.raw = raw;
        Ok(reading)
    }

    /// A list of alerts, however long, as it comes.
    async fn listed(
        &self,
        client: &Client,
        http: &HttpTarget,
        url: &str,
        shape: &'static Shape,
        now: DateTime<Utc>,
    ) -> Result<Worst, Failure> {
        let http = HttpTarget { body_bytes_max: LIST_BYTES_MAX, ..http.clone() };
        let mut intake = Intake::new(shape, now);
        let mut take = |bytes: &[u8]| intake.take(bytes);
        let answer = client.stream(&http, url, &mut take).await;
        self.good(answer.map_err(|failure| self.named(&failure))?)?;
        intake.finish().map_err(|why| self.malformed(&why))
    }

    /// One figure for each query; one that finds nothing has none, several are no figure.
    async fn count(
        &self,
        client: &Client,
        http: &HttpTarget,
        queries: &[(String, String)],
    ) -> Result<FeedReading, Failure> {
        let mut figures = BTreeMap::new();
        for (name, query) in queries {
            let found = metrics::values(client, http, query).await;
            match found.map_err(|failure| self.named(&failure))?.0.as_slice() {
                [] => {}
                [one] => _ = figures.insert(name.clone(), *one),
                several => {
                    let why = format!("{name}: {} values instead of one", several.len());
                    return Err(self.failure(FailureKind::Malformed, &why));
                }
            }
        }
        Ok(FeedReading { figures, ..FeedReading::default() })
    }

    /// Says that `actor` has it: a silence in Alertmanager, an acknowledgement in PagerDuty.
    pub async fn acknowledge(
        &mut self,
        client: &Client,
        fingerprint: &str,
        actor: &Actor,
        comment: &Untrusted,
    ) -> Result<(), Failure> {
        match &self.target {
            FeedTarget::Alertmanager(http) => {
                let labels = self.raw_of(fingerprint)?;
                let body = alertmanager::silence(labels, actor, comment, clock::now().wall);
                let url = below(http, "/api/v2/silences");
                let answer = self.send(client, http, Method::Post, &url, &[], Some(body)).await?;
                alertmanager::silenced(&answer.body)
                    .map_err(|why| self.failure(FailureKind::Malformed, &why))
            }
            FeedTarget::PagerDuty { http, from } => {
                let body = pagerduty::acknowledgement(self.raw_of(fingerprint)?);
                self.put_incident(client, http, from, body).await
            }
            FeedTarget::Prometheus(_)
            | FeedTarget::Statuspage(_)
            | FeedTarget::JsonUrl(_)
            | FeedTarget::JsonFile(_)
            | FeedTarget::Counters { .. } => {
                Err(self.failure(FailureKind::Refused, "this feed cannot acknowledge"))
            }
        }
    }

    /// Hands it to the next level of its escalation policy; only PagerDuty has one.
    pub async fn escalate(
        &mut self,
        client: &Client,
        fingerprint: &str,
        _actor: &Actor,
    ) -> Result<(), Failure> {
        match &self.target {
            FeedTarget::PagerDuty { http, from } => {
                let raw = self.raw_of(fingerprint)?;
                let told = self.level(client, http, raw).await?;
                // Between an escalation and the next reading the assignees are the old ones.
                let known = told.max(self.levels.get(fingerprint).copied());
                let level = known.unwrap_or(1) + 1;
                let body = pagerduty::escalation(raw, level);
                self.put_incident(client, http, from, body).await?;
                self.levels.insert(fingerprint.to_owned(), level);
                Ok(())
            }
            FeedTarget::Alertmanager(_)
            | FeedTarget::Prometheus(_)
            | FeedTarget::Statuspage(_)
            | FeedTarget::JsonUrl(_)
            | FeedTarget::JsonFile(_)
            | FeedTarget::Counters { .. } => {
                Err(self.failure(FailureKind::Refused, "this feed cannot escalate"))
            }
        }
    }

    /// All pages of open incidents, up to the limit.
    async fn incidents(
        &self,
        client: &Client,
        http: &HttpTarget,
        now: DateTime<Utc>,
    ) -> Result<Worst, Failure> {
        let http = pagerduty::authorized(http).await.map_err(|failure| self.named(&failure))?;
        let mut all = Vec::new();
        for page in 0..pagerduty::PAGES_MAX {
            let url = below(&http, &pagerduty::list_path(page * pagerduty::PAGE_LEN));
            let body = self.get(client, &http, &url, &[pagerduty::ACCEPT]).await?;
            match pagerduty::parse(&body, now) {
                Ok((found, more)) => {
                    let empty = found.is_empty();
                    all.extend(found);
                    if !more || empty {
                        break;
                    }
                }
                Err(why) => return Err(self.malformed(&format!("page {}: {why}", page + 1))),
            }
        }
        Ok(Worst::of(all))
    }

    /// The level of an incident, by who is on call; `None` when PagerDuty does not let us know.
    async fn level(
        &self,
        client: &Client,
        http: &HttpTarget,
        raw: &BTreeMap<String, String>,
    ) -> Result<Option<u32>, Failure> {
        let Some(path) = pagerduty::on_call_path(raw) else { return Ok(None) };
        let http = pagerduty::authorized(http).await.map_err(|failure| self.named(&failure))?;
        match self.get(client, &http, &below(&http, &path), &[pagerduty::ACCEPT]).await {
            Ok(body) => pagerduty::level(&body, raw)
                .map_err(|why| self.failure(FailureKind::Malformed, &why)),
            // A token that may not read who is on call can still escalate.
            Err(failure) => match failure.kind {
                FailureKind::Denied => Ok(None),
                FailureKind::Refused
                | FailureKind::Unreachable
                | FailureKind::Timeout
                | FailureKind::Malformed => Err(failure),
            },
        }
    }

    async fn put_incident(
        &self,
        client: &Client,
        http: &HttpTarget,
        from: &str,
        body: String,
    ) -> Result<(), Failure> {
        let http = pagerduty::authorized(http).await.map_err(|failure| self.named(&failure))?;
        let headers = [pagerduty::ACCEPT, ("From", from)];
        let url = below(&http, "/incidents");
        self.send(client, &http, Method::Put, &url, &headers, Some(body)).await?;
        Ok(())
    }

    async fn get(
        &self,
        client: &Client,
        http: &HttpTarget,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<Vec<u8>, Failure> {
        Ok(self.send(client, http, Method::Get, url, headers, None).await?.body)
    }

    /// One request; any answer but a good one is a failure with the feed's own words.
    async fn send(
        &self,
        client: &Client,
        http: &HttpTarget,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Answer, Failure> {
        let http = HttpTarget { body_bytes_max: BODY_BYTES_MAX, ..http.clone() };
        let answer = client
            .send(&http, method, url, headers, body)
            .await
            .map_err(|failure| self.named(&failure))?;
        self.good(answer)
    }

    fn good(&self, answer: Answer) -> Result<Answer, Failure> {
        match answer.status {
            200..=299 => Ok(answer),
            status => {
                let denied = matches!(status, 401 | 403);
                let kind = if denied { FailureKind::Denied } else { FailureKind::Refused };
                let said = message(&answer.body);
                Err(self.failure(kind, &format!("HTTP {status}: {said}")))
            }
        }
    }

    fn raw_of(&self, fingerprint: &str) -> Result<&BTreeMap<String, String>, Failure> {
        self.raw.get(fingerprint).ok_or_else(|| {
            self.failure(FailureKind::Refused, "the alert is not in the last reading any more")
        })
    }

    fn failure(&self, kind: FailureKind, why: &str) -> Failure {
        Failure::new(kind, format!("feed {}: {why}", self.name))
    }

    fn malformed(&self, why: &str) -> Failure {
        self.failure(FailureKind::Malformed, why)
    }

    fn named(&self, failure: &Failure) -> Failure {
        self.failure(failure.kind, failure.text.display())
    }
}

fn below(http: &HttpTarget, path: &str) -> String {
    format!("{}{path}", http.url.trim_end_matches('/'))
}

async fn file(path: &Path, now: DateTime<Utc>) -> Result<Worst, Failure> {
    let place = path.display();
    let failed = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::PermissionDenied => FailureKind::Denied,
            _ => FailureKind::Unreachable,
        };
        Failure::new(kind, format!("{place}: {error}"))
    };
    let malformed = |why: String| Failure::new(FailureKind::Malformed, format!("{place}: {why}"));
    let reading = async {
        // Opening a pipe would wait for its writer.
        if !tokio::fs::metadata(path).await.map_err(failed)?.is_file() {
            return Err(malformed("not a file".to_owned()));
        }
        let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
        let mut intake = Intake::new(&JSON, now);
        let mut piece = vec![0; PIECE_BYTES];
        let mut left = LIST_BYTES_MAX;
        loop {
            let count = file.read(&mut piece).await.map_err(failed)?;
            if count == 0 {
                return intake.finish().map_err(malformed);
            }
            left = left
                .checked_sub(count)
                .ok_or_else(|| malformed(format!("more than {LIST_BYTES_MAX} bytes")))?;
            intake.take(&piece[..count]).map_err(malformed)?;
        }
    };
    tokio::time::timeout(FILE_TIMEOUT, reading).await.unwrap_or_else(|_| {
        Err(Failure::new(FailureKind::Timeout, format!("{place}: cannot be read in time")))
    })
}

/// One element and its place in the list; `None` for what is not open.
type One = fn(&Value, usize, DateTime<Utc>) -> Result<Option<Found>, String>;
/// A whole answer.
type Parse = fn(&[u8], DateTime<Utc>) -> Result<Vec<Found>, String>;

/// Where a feed's list stands in its answer, and how it is read.
struct Shape {
    list: Place,
    one: One,
    /// What stands around the list is judged by it, too.
    parse: Parse,
}

const ALERTMANAGER: Shape =
    Shape { list: Place::Root, one: alertmanager::one, parse: alertmanager::parse };
const PROMETHEUS: Shape =
    Shape { list: Place::Under("alerts"), one: prometheus::one, parse: prometheus::parse };
const JSON: Shape = Shape { list: Place::Under("incidents"), one: json::one, parse: json::parse };

/// A list that is read as it comes.
struct Intake {
    shape: &'static Shape,
    now: DateTime<Utc>,
    splitter: Splitter,
    place: usize,
    worst: Worst,
}

impl Intake {
    fn new(shape: &'static Shape, now: DateTime<Utc>) -> Intake {
        let splitter = Splitter::new(shape.list);
        Intake { shape, now, splitter, place: 0, worst: Worst::default() }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Intake { shape, now, splitter, place, worst } = self;
        splitter.take(bytes, &mut |element| {
            let found = (shape.one)(&json_of(element)?, *place, *now)?;
            *place += 1;
            if let Some(found) = found {
                worst.add(found);
            }
            Ok(())
        })
    }

    fn finish(mut self) -> Result<Worst, String> {
        let (around, too_large) = self.splitter.finish();
        (self.shape.parse)(&around, self.now)?;
        self.worst.dropped = self.worst.dropped.saturating_add(too_large);
        Ok(self.worst)
    }
}

/// Every element of a list, by `one`.
fn each(list: &[Value], now: DateTime<Utc>, one: One) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    for (place, element) in list.iter().enumerate() {
        found.extend(one(element, place, now)?);
    }
    Ok(found)
}

/// One alert for each fingerprint, the worst ones: at most twice the limits while it grows.
#[derive(Default)]
struct Worst {
    found: BTreeMap<String, Found>,
    bytes: usize,
    dropped: u32,
}

impl Worst {
    fn of(found: Vec<Found>) -> Worst {
        let mut worst = Worst::default();
        for one in found {
            worst.add(one);
        }
        worst
    }

    fn add(&mut self, one: Found) {
        if let Some(known) = self.found.get_mut(&one.alert.fingerprint) {
            let known = &mut known.alert;
            known.severity = known.severity.max(one.alert.severity);
            // Triggered is the first state: what one duplicate leaves open is open.
            known.state = known.state.min(one.alert.state);
            known.started_at = match (known.started_at, one.alert.started_at) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            return;
        }
        self.bytes += weight(&one);
        self.found.insert(one.alert.fingerprint.clone(), one);
        if self.found.len() > 2 * ALERTS_MAX || self.bytes > 2 * KEPT_BYTES_MAX {
            let (kept, dropped) = self.cut();
            self.bytes = kept.iter().map(weight).sum();
            self.dropped = dropped;
            let by_name = |one: Found| (one.alert.fingerprint.clone(), one);
            self.found = kept.into_iter().map(by_name).collect();
        }
    }

    /// The worst within the limits, and how many the others are.
    fn cut(&mut self) -> (Vec<Found>, u32) {
        let mut all: Vec<Found> = std::mem::take(&mut self.found).into_values().collect();
        all.sort_by_key(|one| (std::cmp::Reverse(one.alert.severity), one.alert.state));
        let mut bytes = 0;
        let fits = all.iter().take(ALERTS_MAX).take_while(|one| {
            bytes += weight(one);
            bytes <= KEPT_BYTES_MAX
        });
        let fits = fits.count();
        let dropped = u32::try_from(all.len() - fits).unwrap_or(u32::MAX);
        all.truncate(fits);
        (all, self.dropped.saturating_add(dropped))
    }

    fn reading(mut self) -> (FeedReading, BTreeMap<String, BTreeMap<String, String>>) {
        let (kept, dropped) = self.cut();
        let mut raw = BTreeMap::new();
        let alerts = kept.into_iter().map(|one| {
            raw.insert(one.alert.fingerprint.clone(), one.raw);
            one.alert
        });
        let alerts = alerts.collect();
        (FeedReading { alerts, dropped, ..FeedReading::default() }, raw)
    }
}

/// Bytes that an alert takes, about: its labels are kept twice.
fn weight(one: &Found) -> usize {
    let labels = one.raw.iter().map(|(name, value)| name.len() + value.len());
    ALERT_BYTES + 2 * labels.sum::<usize>() + one.alert.summary.display().len()
}

fn json_of(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))
}

/// The list under `key`, or why there is none.
fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    value.get(key).and_then(Value::as_array).ok_or_else(|| format!("no list `{key}`"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A label's value as text, whatever JSON it was.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Labels as the feed wrote them.
fn raw_labels(value: Option<&Value>) -> BTreeMap<String, String> {
    let labels = value.and_then(Value::as_object).into_iter().flatten();
    labels.map(|(name, value)| (name.clone(), plain(value))).collect()
}

fn shown_labels(raw: &BTreeMap<String, String>) -> BTreeMap<Untrusted, Untrusted> {
    let labels = raw.iter().take(LABELS_MAX);
    labels.map(|(name, value)| (Untrusted::new(name), Untrusted::new(value))).collect()
}

/// Addresses, and paths of pages that stand beside the configuration.
fn links<'a>(candidates: impl IntoIterator<Item = &'a str>) -> Vec<Untrusted> {
    let link = |text: &&str| {
        let is_page = text.strip_suffix(".md").is_some() && !text.contains(':');
        is_page || text.starts_with("http://") || text.starts_with("https://")
    };
    candidates.into_iter().filter(link).take(LINKS_MAX).map(Untrusted::new).collect()
}

/// A time that has passed. One in the future, or before 1970 as zero times are, is none.
fn past(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    (time.timestamp() > 0 && time <= now).then_some(time)
}

/// The words of all feeds. One that is not known here may mean anything: it stands in the middle.
fn severity(word: &str) -> Severity {
    match word.to_ascii_lowercase().as_str() {
        "critical" | "page" | "p1" => Severity::Critical,
        "error" | "high" | "major" | "p2" => Severity::High,
        "info" | "none" | "low" | "" | "p4" | "p5" | "maintenance" => Severity::Low,
        _ => Severity::Medium,
    }
}

/// A fingerprint that is safe as a key: the feed's own, or the hash of it.
fn fingerprint(raw: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/@-".contains(&byte);
    if !raw.is_empty() && raw.len() <= FINGERPRINT_BYTES_MAX && raw.bytes().all(plain) {
        raw.to_owned()
    } else {
        hash_of([raw])
    }
}

/// The fingerprint of labels, as Alertmanager computes it.
fn fingerprint_of(labels: &BTreeMap<String, String>) -> String {
    hash_of(labels.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]))
}

/// 64-bit FNV-1a with 0xff behind each part: the same in every build, which a key must be.
fn hash_of<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.into_iter().flat_map(|part| part.bytes().chain([0xff])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

/// What an error body says: Alertmanager answers a JSON text or an object with `message`,
/// PagerDuty an object with `error`, proxies plain text.
fn message(body: &[u8]) -> String {
    let said = match serde_json::from_slice::<Value>(body) {
        Ok(Value::String(said)) => said,
        Ok(value) => {
            let inner = value.get("error").unwrap_or(&value);
            match (inner.as_str(), inner.get("message").and_then(Value::as_str)) {
                (Some(said), _) | (None, Some(said)) => said.to_owned(),
                (None, None) => value.to_string(),
            }
        }
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    };
    let said = if said.is_empty() { "no reason given".to_owned() } else { said };
    said.chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
