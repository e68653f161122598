//! The pollers: probes, hosts, feeds and signals.
//!
//! Decides when each is asked again and what its last answers add up to. Never more than one
//! question in flight for a target. Contract: a failed read keeps the last good value with its
//! age, and its error beside it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::counts::Counts;
use crate::health::Judge;
use crate::reading::{FeedReading, HostReading, Measurement, Observation, TenantReading};
use crate::record::ArmCount;
use crate::rng::Rng;
use crate::settings::{self, Settings};
use crate::snapshot::{CLOCK_SKEW_MAX_S, HostView, ProbeView, SignalsView, SourceView};
use crate::tenant;
use crate::types::{EffectId, Failure, Freshness, Group, Now, Status, Time, Untrusted};

/// Points of a sparkline; more than the widest panel shows.
const HISTORY_MAX: usize = 120;

/// Answers that uptime is computed over.
const UPTIME_ANSWERS_MAX: usize = 1024;

/// One target that is asked again and again.
#[derive(Debug)]
pub struct Poll {
    pub interval: Duration,
    in_flight: Option<EffectId>,
    asked: Time,
    pub success: Option<Now>,
    pub error: Untrusted,
    /// As of the last answer.
    clock_ahead_s: Option<i64>,
}

impl Poll {
    fn new(interval: Duration) -> Poll {
        Poll {
            interval,
            in_flight: None,
            asked: Time(0),
            success: None,
            error: Untrusted::default(),
            clock_ahead_s: None,
        }
    }

    /// Marks a question as asked; false when one is already in flight.
    pub fn ask(&mut self, id: EffectId, now: Now) -> bool {
        if self.in_flight.is_some() {
            return false;
        }
        self.in_flight = Some(id);
        self.asked = now.mono;
        true
    }

    /// Takes the reply; `None` when nobody waits for it, else when to ask again.
    pub fn answered(&mut self, id: EffectId, now: Now, rng: &mut Rng) -> Option<Time> {
        if self.in_flight != Some(id) {
            return None;
        }
        self.in_flight = None;
        let next = self.asked + rng.jitter(self.interval);
        Some(next.max(now.mono + Duration::from_millis(1)))
    }

    fn settle<T>(&mut self, result: Result<T, Failure>, now: Now) -> Option<T> {
        match result {
            Ok(value) => {
                self.success = Some(now);
                self.error = Untrusted::default();
                Some(value)
            }
            Err(failure) => {
                self.error = failure.text;
                None
            }
        }
    }

    /// A name may be used once by each part of the configuration, so it stands with what it names.
    fn source(&self, name: &str, kind: &str) -> SourceView {
        SourceView {
            name: format!("{name} {}", part(kind)),
            kind: kind.to_owned(),
            interval: self.interval,
            success: self.success,
            error: self.error.clone(),
            skew_s: self.skew_s(),
        }
    }

    /// How far the clock is ahead, where that is too far.
    fn skew_s(&self) -> Option<i64> {
        self.clock_ahead_s.filter(|ahead| ahead.unsigned_abs() > CLOCK_SKEW_MAX_S)
    }
}

/// What a source of this kind is in the configuration; a feed's kind is its format.
fn part(kind: &str) -> &str {
    match kind {
        "probe" | "host" | "signals" => kind,
        _ => "feed",
    }
}

fn remember<T>(ring: &mut VecDeque<T>, value: T, limit: usize) {
    if ring.len() == limit {
        ring.pop_front();
    }
    ring.push_back(value);
}

#[derive(Debug)]
pub struct Probe {
    pub poll: Poll,
    judge: Judge,
    /// When the last answer was asked for, if that alone says UP: what is shown may lag behind.
    pub up: Option<Time>,
    answers: Answers,
    /// As clients see it, shared with the pictures made since its last answer.
    view: Arc<ProbeView>,
    source: Arc<SourceView>,
}

impl Probe {
    /// One for each probe of the settings, in their order.
    pub fn all(settings: &Settings) -> Vec<Probe> {
        let service = |probe: &settings::Probe| &settings.service(probe.service).name;
        settings.probes.iter().map(|probe| Probe::new(probe, service(probe))).collect()
    }

    pub fn new(settings: &settings::Probe, service: &str) -> Probe {
        let poll = Poll::new(settings.interval);
        let name = format!("{service}/{}", settings.name);
        Probe {
            judge: Judge::new(
                settings.rise,
                settings.fall,
                settings.degraded_above,
                settings.unhealthy_above,
            ),
            up: None,
            answers: Answers::default(),
            view: Arc::new(ProbeView {
                name: settings.name.clone(),
                status: Status::Unknown,
                interval: settings.interval,
                observed: None,
                latency: None,
                message: Untrusted::default(),
                last_error: None,
                latencies_ms: Vec::new(),
                uptime_percent: None,
                certificate_expires: None,
                since: None,
            }),
            source: Arc::new(poll.source(&name, "probe")),
            poll,
        }
    }

    /// True when the status changed.
    pub fn observe(&mut self, observation: Observation, now: Now) -> bool {
        let source = Arc::make_mut(&mut self.source);
        if observation.answered() {
            self.poll.clock_ahead_s = observation.clock_ahead_s;
            source.skew_s = self.poll.skew_s();
            source.success = Some(now);
            source.error = Untrusted::default();
        } else if observation.message.is_empty() {
            source.error = Untrusted::new("no answer");
        } else {
            source.error = observation.message.clone();
        }
        self.up = (observation.status == Status::Up).then_some(self.poll.asked);
        let good = matches!(observation.status, Status::Up | Status::Degraded);
        self.answers.remember(good);
        let status = self.judge.observe(&observation);
        let view = Arc::make_mut(&mut self.view);
        let turned = status != view.status || view.since.is_none();
        if turned {
            view.since = Some(now);
        }
        view.status = status;
        view.observed = Some(now);
        view.latency = observation.latency;
        let millis =
            observation.latency.map(|span| u32::try_from(span.as_millis()).unwrap_or(u32::MAX));
        if view.latencies_ms.len() == HISTORY_MAX {
            view.latencies_ms.remove(0);
        }
        view.latencies_ms.push(millis);
        view.uptime_percent = Some(self.answers.good_percent());
        if observation.status != Status::Up && !observation.message.is_empty() {
            view.last_error = Some((now, observation.message.clone()));
        }
        view.message = observation.message;
        view.certificate_expires = observation.certificate_expires;
        turned
    }

    /// As in the view.
    pub fn status_at(&self, now: Now) -> Status {
        self.view.status_at(now)
    }

    pub fn view(&self) -> Arc<ProbeView> {
        Arc::clone(&self.view)
    }

    /// A probe is its own source: an answer of any kind is a success of the poller, none is not.
    pub fn source(&self) -> Arc<SourceView> {
        Arc::clone(&self.source)
    }
}

/// Which of the last answers were good: a bit for each.
#[derive(Debug, Default)]
struct Answers {
    good: [u64; UPTIME_ANSWERS_MAX / 64],
    /// Of all time.
    count: usize,
}

impl Answers {
    fn remember(&mut self, good: bool) {
        let place = self.count % UPTIME_ANSWERS_MAX;
        let (word, bit) = (&mut self.good[place / 64], 1 << (place % 64));
        *word = if good { *word | bit } else { *word & !bit };
        self.count += 1;
    }

    /// After the first answer.
    fn good_percent(&self) -> f64 {
        let good = self.good.iter().map(|word| word.count_ones() as usize).sum();
        percent_of(good, self.count.min(UPTIME_ANSWERS_MAX))
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^52")]
fn percent_of(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}

#[derive(Debug)]
pub struct Host {
    pub poll: Poll,
    reading: Option<HostReading>,
    cpu_history: VecDeque<Option<f32>>,
}

impl Host {
    pub fn new(settings: &settings::Host) -> Host {
        Host { poll: Poll::new(settings.interval), reading: None, cpu_history: VecDeque::new() }
    }

    pub fn read(&mut self, result: Result<HostReading, Failure>, now: Now) {
        let reading = self.poll.settle(result, now);
        #[expect(clippy::cast_possible_truncation, reason = "a sparkline needs no more digits")]
        let cpu = reading.as_ref().and_then(|reading| reading.cpu_percent).map(|cpu| cpu as f32);
        remember(&mut self.cpu_history, cpu, HISTORY_MAX);
        if let Some(reading) = reading {
            self.poll.clock_ahead_s = reading.clock_ahead_s;
            self.reading = Some(reading);
        }
    }

    pub fn view(&self, settings: &settings::Host) -> HostView {
        HostView {
            name: settings.name.clone(),
            interval: settings.interval,
            observed: self.poll.success,
            reading: self.reading.clone(),
            error: self.poll.error.clone(),
            cpu_history: self.cpu_history.iter().copied().collect(),
            advice: None,
        }
    }

    pub fn source(&self, settings: &settings::Host) -> SourceView {
        self.poll.source(&settings.name, "host")
    }
}

/// The feed's alerts live in [`crate::incident`]; here is only its poller.
#[derive(Debug)]
pub struct Feed {
    pub poll: Poll,
    /// Of the newest reading, by name; none when it failed.
    figures: BTreeMap<String, f64>,
}

impl Feed {
    pub fn new(settings: &settings::Feed) -> Feed {
        Feed { poll: Poll::new(settings.interval), figures: BTreeMap::new() }
    }

    pub fn read(&mut self, result: Result<FeedReading, Failure>, now: Now) -> Option<FeedReading> {
        let mut reading = self.poll.settle(result, now);
        if let Some(reading) = &reading {
            self.poll.clock_ahead_s = reading.clock_ahead_s;
        }
        let figures = reading.as_mut().map(|reading| std::mem::take(&mut reading.figures));
        self.figures = figures.unwrap_or_default();
        reading
    }

    /// What it last said is what is so now.
    #[must_use]
    pub fn is_fresh(&self, now: Now) -> bool {
        let fresh = |at: Now| Freshness::of(at.age(now), self.poll.interval) != Freshness::Stale;
        self.poll.error.is_empty() && self.poll.success.is_some_and(fresh)
    }

    #[must_use]
    pub fn figures(&self) -> &BTreeMap<String, f64> {
        &self.figures
    }

    pub fn source(&self, settings: &settings::Feed) -> SourceView {
        self.poll.source(&settings.name, &settings.kind)
    }
}

#[derive(Debug)]
pub struct Signals {
    pub poll: Poll,
    counts: Counts,
    at: Option<chrono::DateTime<chrono::Utc>>,
    /// When the newest look was asked for, or what it shows was scraped.
    taken: Option<Time>,
    /// When the last answer was asked for: it is no newer, however late it came.
    asked: Option<Time>,
    tenants: TenantReading,
}

impl Signals {
    pub fn new(settings: &settings::Signals) -> Signals {
        Signals {
            poll: Poll::new(settings.interval),
            counts: Counts::new(settings.window, settings.slow_above),
            at: None,
            taken: None,
            asked: None,
            tenants: TenantReading::default(),
        }
    }

    /// Takes a look; what both groups did since the one before, if it was a new one, and when that
    /// one was asked for: the difference holds nothing from before.
    pub fn read(
        &mut self,
        result: Result<Measurement, Failure>,
        now: Now,
    ) -> Option<([Option<ArmCount>; 2], Option<Time>)> {
        let mut measurement = self.poll.settle(result, now)?;
        self.poll.clock_ahead_s = measurement.clock_ahead_s;
        self.tenants = std::mem::take(&mut measurement.tenants);
        self.at = Some(measurement.at);
        self.asked = Some(self.poll.asked);
        let delta = self.counts.observe(&measurement, now)?;
        // A source may show an old scrape: its counters stop there, not when it was asked.
        let age = (now.wall - measurement.at).to_std().unwrap_or_default();
        let taken = self.poll.asked.min(now.mono - age);
        Some((delta, self.taken.replace(taken)))
    }

    /// Rules see nothing of what this group did before.
    pub fn count_anew(&mut self, group: Group, now: Now) {
        self.counts.anew(group, now);
    }

    /// When what it says was asked for, while that is new enough to decide anything.
    pub fn fresh(&self, now: Now) -> Option<Time> {
        let old = |at: &Time| Freshness::of(now.mono.since(*at), self.poll.interval);
        self.asked.filter(|at| old(at) != Freshness::Stale)
    }

    /// The view, and the share of the traffic that the canary served.
    pub fn view(&self, settings: &settings::Signals, stable: Group) -> (SignalsView, Option<f64>) {
        let (stable, canary, traffic) = self.counts.view(stable, settings);
        let view = SignalsView {
            interval: settings.interval,
            window: settings.window,
            stable,
            canary,
            at: self.at,
            observed: self.poll.success,
            error: self.poll.error.clone(),
            tenants: tenant::views(&settings.tenants, &self.tenants),
            tenants_error: self.tenants.error.clone(),
        };
        (view, traffic)
    }

    pub fn source(&self, service: &settings::Service) -> SourceView {
        let mut source = self.poll.source(&service.name, "signals");
        if source.error.is_empty() {
            source.error = self.tenants.error.clone();
        }
        source
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::types::ServiceId;

    #[test]
    fn a_clock_is_flagged_beyond_half_a_minute_and_forgotten_when_it_is_right() {
        let interval = Duration::from_secs(5);
        let (can_acknowledge, can_escalate) = (false, false);
        let (name, kind) = ("alerts".to_owned(), "json".to_owned());
        let settings = settings::Feed { name, kind, interval, can_acknowledge, can_escalate };
        let mut feed = Feed::new(&settings);
        let now = Now { mono: Time(0), wall: DateTime::UNIX_EPOCH };
        let mut check = |ahead: Option<i64>, expected: Option<i64>| {
            let reading = FeedReading { clock_ahead_s: ahead, ..FeedReading::default() };
            feed.read(Ok(reading), now);
            assert_eq!(feed.source(&settings).skew_s, expected, "{ahead:?}");
            // What cannot be read says nothing new of its clock.
            let failure = Failure::new(crate::types::FailureKind::Timeout, "no answer");
            feed.read(Err(failure), now);
            assert_eq!(feed.source(&settings).skew_s, expected, "{ahead:?}");
        };
        check(None, None);
        check(Some(30), None);
        check(Some(31), Some(31));
        check(Some(-299), Some(-299));
        check(Some(0), None);
        check(Some(i64::MIN), Some(i64::MIN));
        check(None, None);
    }

    #[test]
    fn a_bad_answer_is_no_up_while_the_status_still_shows_it() {
        let settings = settings::Probe {
            service: ServiceId(0),
            name: "web".to_owned(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            degraded_above: None,
            unhealthy_above: None,
            rise: 1,
            fall: 3,
        };
        let mut probe = Probe::new(&settings, "shop");
        let mut rng = Rng::new(1);
        let mut check = |second: u64, status: Status, shown: Status, up: Option<u64>| {
            let at = |second: u64| Now {
                mono: Time(0) + Duration::from_secs(second),
                wall: DateTime::UNIX_EPOCH,
            };
            assert!(probe.poll.ask(EffectId(second), at(second)));
            probe.poll.answered(EffectId(second), at(second + 1), &mut rng);
            let latency = Some(Duration::from_millis(5));
            let (message, certificate_expires) = (Untrusted::default(), None);
            let clock_ahead_s = None;
            let seen = Observation { status, latency, message, certificate_expires, clock_ahead_s };
            probe.observe(seen, at(second + 1));
            let up = up.map(|second| at(second).mono);
            assert_eq!((probe.status_at(at(second + 1)), probe.up), (shown, up), "{second}");
        };
        check(10, Status::Up, Status::Up, Some(10));
        check(20, Status::Down, Status::Up, None);
        check(30, Status::Down, Status::Up, None);
        check(40, Status::Down, Status::Down, None);
        check(50, Status::Up, Status::Up, Some(50));
    }
}
