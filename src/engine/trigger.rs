//! Rules that roll back by themselves: `rollback_when`.
//!
//! Decides when a rule has been true for long enough, and whether a rollback may follow from it.
//! Never fires on figures that are missing, old or few; a rule on the service as a whole not on
//! trouble that stable has alone, too.
//! Contract: a rule fires once for each time that it became true in an exposure, and at most one
//! rollback of a service starts by itself in [`COOLDOWN`]; where it would fire and may not, it is
//! held, and people are told once for each obstacle.

use std::time::Duration;

use chrono::{DateTime, NaiveTime, Utc};

use crate::record::{Entry, Event};
use crate::rule::{Answer, Rule, Values};
use crate::settings;
use crate::snapshot::{TriggerState, TriggerView};
use crate::types::{Now, Percent, Time, Untrusted};
use crate::words;

/// At most one rollback by itself in this long: a second one would not help what the first did not.
pub const COOLDOWN: Duration = Duration::from_mins(15);

/// A rate of fewer requests in the window is no evidence: one error would be a tenth of them.
pub const SAMPLE_MIN: f64 = 10.0;

/// Longer than this nobody remembers that it is off.
pub const OFF_MAX: Duration = Duration::from_hours(24);

/// How the sentence of a rule that is off begins.
const OFF: &str = "off until ";

/// More intervals than this between two looks, and the time between them is not known.
const GAP_INTERVALS: u32 = 3;

/// Fields that are a rate or a latency: as good or bad at any share of the traffic.
const RATES: [&str; 6] =
    ["error_rate", "availability", "latency_avg", "latency_p50", "latency_p95", "latency_p99"];

/// What the caller knows about taking traffic back right now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ground<'a> {
    /// What the service's split is set to.
    pub set: Option<Percent>,
    /// The most that the canary may be getting; `None` when a router could not say.
    pub exposure: Option<f64>,
    /// Percent of the requests that the canary served; `None` without counts.
    pub traffic: Option<f64>,
    /// Why no rollback may start: one is in flight, another engine holds the lease.
    pub busy: Option<&'a str>,
    /// Why stable cannot take the traffic: its probes are down, its version is marked bad.
    pub target: Option<&'a str>,
}

/// What a look asks of the caller; `trigger` is the rule's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Record it and roll back, now.
    Fire { trigger: u32, sentence: String },
    /// It would fire, and may not: tell people.
    Hold { trigger: u32, sentence: String },
    /// What was held is not any more.
    Clear { trigger: u32 },
}

/// All triggers of one service.
#[derive(Clone, Debug)]
pub struct Triggers {
    service: String,
    each: Vec<Trigger>,
    cooldown_until: Option<Time>,
}

#[derive(Clone, Debug, Default)]
struct Trigger {
    /// True without a gap since then.
    since: Option<Now>,
    looked: Option<Now>,
    /// Fired then, and not been false since.
    fired: Option<Now>,
    held: Option<Obstacle>,
    off: Option<Off>,
    sentence: String,
}

#[derive(Clone, Debug)]
struct Off {
    /// The span counts on the clock that never steps.
    deadline: Time,
    until: DateTime<Utc>,
    user: Untrusted,
    reason: Untrusted,
}

/// Why a rollback may not follow, in the order in which it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    NoExposure,
    NotTheCanary,
    CommonCause,
    Target,
    Busy,
    Cooldown,
}

impl Triggers {
    /// As many as the service's settings have.
    #[must_use]
    pub fn new(service: &settings::Service) -> Triggers {
        Triggers {
            service: service.name.clone(),
            each: vec![Trigger::default(); service.triggers.len()],
            cooldown_until: None,
        }
    }

    /// The places of those that looked, and hold nothing back.
    #[must_use]
    pub fn not_held(&self) -> Vec<u32> {
        let all = (0..).zip(&self.each);
        let free = all.filter(|(_, own)| own.held.is_none() && own.looked.is_some());
        free.map(|(place, _)| place).collect()
    }

    /// Takes a durable entry: at a start all of them, later each as it is written. What concerns
    /// no trigger of this service is ignored.
    pub fn apply(&mut self, entry: &Entry, now: Now) {
        if let Event::TriggerFired { service, .. } = &entry.event
            && *service == self.service
        {
            // Its place on the other clock; a label in the future counts as now.
            let age = (now.wall - entry.at).to_std().unwrap_or_default();
            let until = now.mono + COOLDOWN.saturating_sub(age);
            self.cooldown_until = self.cooldown_until.max(Some(until));
        }
        if let Event::Intent(intent) = &entry.event
            && intent.service == self.service
            && intent.to > Percent::ZERO
        {
            // What is exposed anew is another canary: the rule may fire again. Without traffic in
            // between there were no figures, so that it need not have become false.
            for trigger in self.each.iter_mut().filter(|trigger| trigger.fired.is_some()) {
                trigger.fired = None;
                trigger.since = None;
            }
        }
        if let Event::TriggerSet { service, trigger, off_until, reason } = &entry.event
            && *service == self.service
            && let Some(trigger) = self.each.get_mut(*trigger as usize)
        {
            let span = off_until.map(|until| (until - now.wall).to_std().unwrap_or_default());
            let (looked, held) = (trigger.looked, trigger.held);
            *trigger = Trigger { looked, held, ..Trigger::default() };
            trigger.off = off_until.zip(span).map(|(until, span)| Off {
                deadline: now.mono + span.min(OFF_MAX),
                until,
                user: entry.actor.user.clone(),
                reason: reason.clone(),
            });
        }
    }

    /// May this trigger be switched off for so long, or armed again with 0?
    pub fn check(&self, trigger: u32, off_seconds: u64) -> Result<(), String> {
        if trigger as usize >= self.each.len() {
            let count = self.each.len();
            return Err(format!("{} has {count} triggers, there is no such one", self.service));
        }
        if off_seconds > OFF_MAX.as_secs() {
            return Err(format!("a trigger is off for at most {}", words::span(OFF_MAX)));
        }
        Ok(())
    }

    /// One look: every rule on the figures of one scrape, `every` apart. Figures that are too old
    /// must not be in `values`. At most one [`Call::Fire`] comes out.
    pub fn look(
        &mut self,
        own: &[settings::Trigger],
        every: Duration,
        values: &Values,
        ground: &Ground,
        now: Now,
    ) -> Vec<Call> {
        let mut calls = Vec::new();
        for (place, (trigger, own)) in (0..).zip(self.each.iter_mut().zip(own)) {
            let was = trigger.held;
            let due = trigger.judge(own, every, values, now);
            let cooling = self.cooldown_until.filter(|until| now.mono < *until);
            let obstacle = due.then(|| obstacle(&own.rule, values, ground, cooling, now)).flatten();
            if let Some((kind, why)) = &obstacle {
                trigger.sentence = format!("would roll back, {why}: {}", trigger.sentence);
                if was != Some(*kind) {
                    let sentence = trigger.sentence.clone();
                    calls.push(Call::Hold { trigger: place, sentence });
                }
            } else {
                if was.is_some() {
                    calls.push(Call::Clear { trigger: place });
                }
                if due {
                    trigger.fired = Some(now);
                    self.cooldown_until = Some(now.mono + COOLDOWN);
                    calls.push(Call::Fire { trigger: place, sentence: trigger.sentence.clone() });
                }
            }
            trigger.held = obstacle.map(|(kind, _)| kind);
        }
        calls
    }

    /// When the first rule that is off is on again.
    #[must_use]
    pub fn next_on(&self, now: Now) -> Option<Time> {
        self.each.iter().filter_map(|trigger| Some(trigger.off(now)?.deadline)).min()
    }

    #[must_use]
    pub fn views(&self, own: &[settings::Trigger], every: Duration, now: Now) -> Vec<TriggerView> {
        self.each.iter().zip(own).map(|(trigger, own)| trigger.view(own, every, now)).collect()
    }
}

impl Trigger {
    fn off(&self, now: Now) -> Option<&Off> {
        self.off.as_ref().filter(|off| now.mono < off.deadline)
    }

    /// Takes one look; `true` when the rule has been true for long enough.
    fn judge(
        &mut self,
        own: &settings::Trigger,
        every: Duration,
        values: &Values,
        now: Now,
    ) -> bool {
        let gap = self.looked.is_some_and(|looked| looked.age(now) > every * GAP_INTERVALS);
        self.looked = Some(now);
        if gap {
            self.since = None;
        }
        if self.off(now).is_some() {
            self.since = None;
            return false;
        }
        self.off = None;
        let figures = own.rule.figures(values);
        match answer(&own.rule, values) {
            Answer::NoData(why) => {
                self.since = None;
                self.sentence = format!("no data: {why}");
                false
            }
            Answer::False => {
                self.since = None;
                self.fired = None;
                self.sentence = format!("not true: {figures}");
                false
            }
            Answer::True => {
                let since = *self.since.get_or_insert(now);
                let due = since.age(now) >= own.span && self.fired.is_none();
                self.sentence = if due {
                    let span = words::span(since.age(now));
                    format!("`{}` was true for {span}: {figures}", own.rule.source)
                } else {
                    let at = words::clock(since.wall + own.span);
                    format!("true, fires at {at} if it stays so: {figures}")
                };
                due
            }
        }
    }

    fn view(&self, own: &settings::Trigger, every: Duration, now: Now) -> TriggerView {
        let (state, sentence) = if let Some(off) = self.off(now) {
            let reason =
                if off.reason.is_empty() { String::new() } else { format!(": {}", off.reason) };
            let until = words::clock(off.until);
            (TriggerState::Off, format!("{OFF}{until} by {}{reason}", off.user))
        } else if let Some(fired) = self.fired {
            let at = words::clock(fired.wall);
            let until = "it is not true or something is exposed anew";
            (TriggerState::Held, format!("fired at {at}; armed again once {until}"))
        } else {
            let state = if self.held.is_some() { TriggerState::Held } else { TriggerState::Armed };
            let sentence = match self.looked.filter(|_| !self.sentence.is_empty()) {
                None => "no figures yet".to_owned(),
                Some(at) if at.age(now) > every * GAP_INTERVALS => {
                    format!("no figures since {}", words::clock(at.wall))
                }
                Some(_) => self.sentence.clone(),
            };
            (state, sentence)
        };
        TriggerView {
            rule: own.rule.source.clone(),
            span: own.span,
            state,
            since: self.since,
            sentence: Untrusted::new(&sentence),
        }
    }
}

/// When a rule that is off is armed again, by its sentence: the next such time of day, as nothing
/// is off for longer than a day.
#[must_use]
pub fn armed_again(view: &TriggerView, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let (until, _) = view.sentence.display().strip_prefix(OFF)?.split_once(' ')?;
    let until = NaiveTime::parse_from_str(until, "%H:%M:%SZ").ok()?;
    let today = now.date_naive().and_time(until).and_utc();
    Some(if today > now { today } else { today + Duration::from_hours(24) })
}

/// The rule's answer, where its rates stand on enough requests.
fn answer(rule: &Rule, values: &Values) -> Answer {
    let parts = rule.operands().iter().filter_map(|name| name.split_once('.'));
    for (arm, _) in parts.filter(|(_, field)| RATES.contains(field)) {
        match values.get(&format!("{arm}.requests")) {
            None => return Answer::NoData(format!("{arm}.requests")),
            Some(requests) if *requests < SAMPLE_MIN => {
                let why = format!("{arm} had {requests:.0} requests, {SAMPLE_MIN} are needed");
                return Answer::NoData(why);
            }
            Some(_) => {}
        }
    }
    rule.judge(values)
}

/// The first thing that forbids a rollback, with its words.
fn obstacle(
    rule: &Rule,
    values: &Values,
    ground: &Ground,
    cooling: Option<Time>,
    now: Now,
) -> Option<(Obstacle, String)> {
    if ground.nothing_to_take_back() {
        let why = "but stable has all the traffic already".to_owned();
        return Some((Obstacle::NoExposure, why));
    }
    let only = |arm: &str| rule.operands().iter().all(|name| name.starts_with(arm));
    if only("stable.") {
        return Some((Obstacle::NotTheCanary, "but it says nothing about the canary".to_owned()));
    }
    // A rule on the canary alone is an absolute guard: a canary may take stable down with it.
    if !only("canary.")
        && let Some(figures) = stable_too(rule, values)
    {
        let why = format!("but stable shows the same ({figures}), so it is not the canary");
        return Some((Obstacle::CommonCause, why));
    }
    if let Some(why) = ground.target {
        return Some((Obstacle::Target, format!("but stable cannot take the traffic, {why}")));
    }
    if let Some(why) = ground.busy {
        return Some((Obstacle::Busy, format!("but {why}")));
    }
    cooling.map(|until| {
        let left = words::span(until.since(now.mono));
        let why = format!("but one was rolled back by itself already, next in {left}");
        (Obstacle::Cooldown, why)
    })
}

/// What stable shows where the same rule is true of stable alone: then it is a common cause.
/// Volumes stay as they are, since they follow the share and not the version.
fn stable_too(rule: &Rule, values: &Values) -> Option<String> {
    let mut control = values.clone();
    let mut shown = Vec::new();
    for name in rule.operands() {
        let (arm, field) = name.split_once('.')?;
        if arm == "stable" || !RATES.contains(&field) {
            continue;
        }
        let stable = format!("stable.{field}");
        let value = *values.get(&stable)?;
        shown.push(format!("{stable} {value:.1}"));
        control.insert(name.clone(), value);
    }
    let enough = values.get("stable.requests").is_some_and(|requests| *requests >= SAMPLE_MIN);
    let same = enough && !shown.is_empty() && rule.judge(&control) == Answer::True;
    same.then(|| shown.join(", "))
}

impl Ground<'_> {
    /// Nothing is set for the canary, and nothing goes to it: a rollback would change nothing.
    fn nothing_to_take_back(&self) -> bool {
        let set = self.set.is_some_and(|set| set > Percent::ZERO);
        let none = |percent: f64| percent < 0.001;
        // A router that cannot be read may be serving the canary: then the counts must say.
        let reaches = match (self.exposure, self.set) {
            (Some(exposure), _) => !none(exposure),
            (None, Some(_)) => !self.traffic.is_some_and(none),
            (None, None) => true,
        };
        !set && !reaches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Intent;
    use crate::rule::TRIGGER_NAMES;
    use crate::types::Actor;

    const EVERY: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Now {
        let wall = DateTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        Now { mono: Time(0) + Duration::from_secs(50_000 + seconds), wall }
    }

    fn service(rules: &[(&str, u64)]) -> settings::Service {
        let trigger = |(source, seconds): &(&str, u64)| settings::Trigger {
            rule: Rule::compile(source, TRIGGER_NAMES).expect("the rule compiles"),
            span: Duration::from_secs(*seconds),
        };
        settings::Service {
            name: "shop".to_owned(),
            alias: "s".to_owned(),
            runbook: None,
            probes: Vec::new(),
            routers: Vec::new(),
            signals: None,
            canary: None,
            triggers: rules.iter().map(trigger).collect(),
            deploy: None,
            recovery: None,
            maintenance: None,
            phases: Vec::new(),
            checks: Vec::new(),
            flag: false,
        }
    }

    fn figures(stable: (f64, f64), canary: (f64, f64)) -> Values {
        let arms = [("stable", stable), ("canary", canary)];
        let rate = |name: &str, (requests, rate): (f64, f64)| {
            [(format!("{name}.requests"), requests), (format!("{name}.error_rate"), rate)]
        };
        arms.into_iter().flat_map(|(name, figures)| rate(name, figures)).collect()
    }

    fn bad() -> Values {
        figures((900.0, 0.5), (100.0, 20.0))
    }

    fn good() -> Values {
        figures((900.0, 0.5), (100.0, 1.0))
    }

    fn exposed() -> Ground<'static> {
        Ground { set: Percent::new(10), exposure: Some(10.0), ..Ground::default() }
    }

    struct Bench {
        service: settings::Service,
        triggers: Triggers,
    }

    impl Bench {
        fn new(rules: &[(&str, u64)]) -> Bench {
            let service = service(rules);
            Bench { triggers: Triggers::new(&service), service }
        }
        fn look(&mut self, seconds: u64, values: &Values, ground: &Ground) -> Vec<Call> {
            self.triggers.look(&self.service.triggers, EVERY, values, ground, at(seconds))
        }
        /// One word for each call of a look on exposed ground.
        fn words(&mut self, seconds: u64, values: &Values) -> Vec<&'static str> {
            self.look(seconds, values, &exposed()).iter().map(word).collect()
        }
        fn view(&self, seconds: u64) -> TriggerView {
            self.triggers.views(&self.service.triggers, EVERY, at(seconds)).remove(0)
        }
        fn apply(&mut self, seconds: u64, entered: u64, event: Event) {
            let entry = Entry {
                id: "e".to_owned(),
                at: at(entered).wall,
                actor: Actor { user: Untrusted::new("ada"), uid: Some(7), ssh: None },
                event,
            };
            self.triggers.apply(&entry, at(seconds));
        }
    }

    fn word(call: &Call) -> &'static str {
        match call {
            Call::Fire { .. } => "fire",
            Call::Hold { .. } => "hold",
            Call::Clear { .. } => "clear",
        }
    }

    fn sentence(calls: &[Call]) -> &str {
        match calls {
            [Call::Fire { sentence, .. } | Call::Hold { sentence, .. }] => sentence,
            other => panic!("one sentence, not {other:?}"),
        }
    }

    #[test]
    fn it_fires_once_after_its_span_and_again_only_after_it_was_false() {
        let mut bench = Bench::new(&[("canary.error_rate > 15", 30)]);
        assert_eq!(bench.view(0).sentence.display(), "no figures yet");
        for seconds in [0, 10, 20] {
            assert!(bench.words(seconds, &bad()).is_empty(), "too early at {seconds}");
        }
        assert_eq!(bench.view(20).since, Some(at(0)));
        assert!(bench.view(20).sentence.display().contains("fires at"));
        let fired = bench.look(30, &bad(), &exposed());
        assert_eq!(
            sentence(&fired),
            "`canary.error_rate > 15` was true for 30 s: canary.error_rate 20"
        );
        for seconds in [40, 50, 1000, 1010, 1020, 1040] {
            assert!(bench.words(seconds, &bad()).is_empty(), "fired again at {seconds}");
        }
        let view = bench.view(1040);
        assert_eq!(view.state, TriggerState::Held);
        assert!(view.sentence.display().starts_with("fired at"), "{view:?}");
        assert!(bench.words(1050, &good()).is_empty());
        assert_eq!(bench.view(1050).state, TriggerState::Armed);
        for seconds in [1060, 1070, 1080] {
            assert!(bench.words(seconds, &bad()).is_empty());
        }
        assert_eq!(bench.words(1090, &bad()), ["fire"]);
    }

    #[test]
    fn it_is_armed_again_when_something_is_exposed_anew() {
        let mut bench = Bench::new(&[("canary.error_rate > 15", 0)]);
        let set = |to: u8| {
            Event::Intent(Intent {
                fence: crate::types::Fence(1),
                submission: "s".to_owned(),
                service: "shop".to_owned(),
                verb: "split".to_owned(),
                stable: crate::types::Group::A,
                from: None,
                to: Percent::new(to).expect("a percent"),
                reason: Untrusted::default(),
                seen: Untrusted::default(),
                routers: Vec::new(),
            })
        };
        assert_eq!(bench.words(0, &bad()), ["fire"]);
        bench.apply(1, 1, set(0));
        let away = Ground { set: Some(Percent::ZERO), exposure: Some(0.0), ..Ground::default() };
        assert!(bench.look(10, &bad(), &away).is_empty(), "the window still shows it");
        assert!(bench.look(20, &Values::new(), &away).is_empty());
        assert_eq!(bench.view(20).state, TriggerState::Held);
        // Bad at once: held in the cooldown, and told; then it fires.
        bench.apply(21, 21, set(10));
        assert_eq!(bench.words(30, &bad()), ["hold"]);
        let later = COOLDOWN.as_secs();
        assert!(bench.words(later - 10, &bad()).is_empty(), "held as before");
        assert_eq!(bench.words(later, &bad()), ["clear", "fire"]);
    }

    #[test]
    fn a_look_without_data_a_false_one_and_a_gap_start_the_span_anew() {
        let blind = figures((900.0, 0.5), (100.0, f64::NAN));
        for pause in [good(), blind, Values::new(), figures((900.0, 0.5), (9.0, 100.0))] {
            let mut bench = Bench::new(&[("canary.error_rate > 15", 20)]);
            bench.words(0, &bad());
            bench.words(10, &pause);
            assert!(bench.words(20, &bad()).is_empty());
            assert!(bench.words(30, &bad()).is_empty());
            assert_eq!(bench.words(40, &bad()), ["fire"]);
        }
        let mut bench = Bench::new(&[("canary.error_rate > 15", 20)]);
        bench.words(0, &bad());
        assert!(bench.view(31).sentence.display().starts_with("no figures since"));
        assert!(bench.words(31, &bad()).is_empty(), "nobody knows what was between");
        assert_eq!(bench.words(51, &bad()), ["fire"]);
    }

    #[test]
    fn few_requests_are_no_evidence() {
        let mut bench = Bench::new(&[("canary.error_rate > 15", 0)]);
        assert!(bench.words(0, &figures((900.0, 0.0), (9.0, 100.0))).is_empty());
        let view = bench.view(0);
        assert_eq!(view.sentence.display(), "no data: canary had 9 requests, 10 are needed");
        assert_eq!(bench.words(10, &figures((900.0, 0.0), (10.0, 100.0))), ["fire"]);
        let mut volume = Bench::new(&[("canary.requests < 5", 0)]);
        assert_eq!(volume.words(0, &figures((900.0, 0.0), (2.0, 0.0))), ["fire"]);
    }

    /// Whatever forbids it, it is said once, with the reason, and it fires when that is gone.
    fn held(rule: &str, values: &Values, ground: &Ground, words: &str) {
        let mut bench = Bench::new(&[(rule, 0)]);
        let calls = bench.look(0, values, ground);
        assert!(sentence(&calls).contains(words), "{calls:?}");
        assert_eq!(calls.iter().map(word).collect::<Vec<_>>(), ["hold"]);
        assert!(bench.look(10, values, ground).is_empty(), "said twice");
        assert_eq!(bench.view(10).state, TriggerState::Held);
        assert!(bench.view(10).sentence.display().contains(words));
        assert_eq!(bench.words(20, &good()), ["clear"]);
        assert_eq!(bench.view(20).state, TriggerState::Armed);
        assert_eq!(bench.words(30, &bad()), ["fire"]);
    }

    #[test]
    fn it_is_held_where_a_rollback_may_not_follow() {
        let rule = "canary.error_rate > 15";
        let at_rest = Ground {
            set: Some(Percent::ZERO),
            exposure: Some(0.0),
            traffic: Some(3.0),
            ..Ground::default()
        };
        held(rule, &bad(), &at_rest, "stable has all the traffic already: `canary");
        let unread = Ground { exposure: None, traffic: Some(0.0), ..at_rest };
        held(rule, &bad(), &unread, "stable has all the traffic already");
        let busy = Ground { busy: Some("#7 rollback by ada is in flight"), ..exposed() };
        held(rule, &bad(), &busy, "but #7 rollback by ada is in flight");
        let sick = Ground { target: Some("1.4 is marked bad"), ..exposed() };
        held(rule, &bad(), &sick, "stable cannot take the traffic, 1.4 is marked bad");
    }

    #[test]
    fn exposure_that_is_not_known_is_exposure() {
        let fires = |ground: Ground| {
            let mut bench = Bench::new(&[("canary.error_rate > 15", 0)]);
            let calls = bench.look(0, &bad(), &ground);
            assert_eq!(calls.iter().map(word).collect::<Vec<_>>(), ["fire"], "{ground:?}");
        };
        fires(Ground::default());
        fires(Ground { set: Some(Percent::ZERO), ..Ground::default() });
        fires(Ground { set: Some(Percent::ZERO), exposure: Some(50.0), ..Ground::default() });
        fires(Ground { set: Percent::new(10), exposure: Some(0.0), ..Ground::default() });
    }

    #[test]
    fn stable_without_traffic_is_no_excuse() {
        let mut bench = Bench::new(&[("service.error_rate > 15", 0)]);
        let service = |stable: (f64, f64)| {
            let mut values = figures(stable, (1000.0, 20.0));
            values.insert("service.requests".to_owned(), 1000.0);
            values.insert("service.error_rate".to_owned(), 20.0);
            values
        };
        let both = bench.look(0, &service((900.0, 30.0)), &exposed());
        assert!(sentence(&both).contains("stable shows the same (stable.error_rate 30.0)"));
        assert_eq!(bench.words(10, &service((0.0, 100.0))), ["clear", "fire"]);
        let mut own = Bench::new(&[("stable.error_rate > 15", 0)]);
        let calls = own.look(0, &service((900.0, 30.0)), &exposed());
        assert!(sentence(&calls).contains("nothing about the canary"));
        let mut against = Bench::new(&[("canary.error_rate > stable.error_rate + 2", 0)]);
        let sick = figures((900.0, 17.0), (100.0, 20.0));
        assert_eq!(against.words(0, &sick), ["fire"]);
        let mut guard = Bench::new(&[("canary.error_rate > 15", 0)]);
        assert_eq!(guard.words(0, &sick), ["fire"], "an absolute guard stands always");
    }

    #[test]
    fn one_rollback_by_itself_then_a_pause() {
        let rules = [("canary.error_rate > 15", 0), ("canary.error_rate > 12", 0)];
        let mut bench = Bench::new(&rules);
        assert_eq!(bench.words(0, &bad()), ["fire", "hold"]);
        assert!(bench.words(10, &bad()).is_empty());
        // It was false, and is true again: held until the pause is over.
        assert_eq!(bench.words(20, &good()), ["clear"]);
        assert_eq!(bench.words(30, &bad()), ["hold", "hold"]);
        assert!(bench.words(899, &bad()).is_empty());
        assert_eq!(bench.words(900, &bad()), ["clear", "fire"]);
    }

    #[test]
    fn the_pause_survives_a_restart() {
        let fired = || Event::TriggerFired {
            service: "shop".to_owned(),
            trigger: 0,
            sentence: Untrusted::default(),
        };
        let mut bench = Bench::new(&[("canary.error_rate > 15", 0)]);
        bench.apply(600, 0, fired());
        assert_eq!(bench.words(899, &bad()), ["hold"]);
        assert_eq!(bench.words(900, &bad()), ["clear", "fire"]);
        let mut ahead = Bench::new(&[("canary.error_rate > 15", 0)]);
        ahead.apply(0, 5000, fired());
        assert_eq!(ahead.words(899, &bad()), ["hold"]);
        assert_eq!(ahead.words(900, &bad()), ["clear", "fire"]);
    }

    #[test]
    fn off_has_an_owner_and_an_end() {
        let set = |off_until| Event::TriggerSet {
            service: "shop".to_owned(),
            trigger: 0,
            off_until,
            reason: Untrusted::new("known"),
        };
        let mut bench = Bench::new(&[("canary.error_rate > 15", 10)]);
        bench.apply(0, 0, set(Some(at(60).wall)));
        for seconds in [0, 10, 20, 30, 40, 50] {
            assert!(bench.words(seconds, &bad()).is_empty());
            assert_eq!(bench.view(seconds).state, TriggerState::Off);
        }
        let off = bench.view(50);
        assert_eq!(off.sentence.display(), "off until 13:47:40Z by ada: known");
        assert_eq!(armed_again(&off, at(50).wall), Some(at(60).wall));
        assert_eq!(armed_again(&off, at(60).wall), Some(at(60 + 86_400).wall), "of tomorrow");
        assert!(bench.words(60, &bad()).is_empty(), "the span starts after it");
        assert_eq!(bench.words(70, &bad()), ["fire"]);
        bench.apply(70, 70, set(Some(at(100_000_000).wall)));
        assert_eq!(bench.view(71).state, TriggerState::Off);
        assert_eq!(bench.view(70 + 86_400).state, TriggerState::Armed, "a day at most");
        bench.apply(80, 80, set(None));
        assert_eq!(bench.view(80).state, TriggerState::Armed);
        assert_eq!(armed_again(&bench.view(80), at(80).wall), None);
        let check = |trigger, seconds| bench.triggers.check(trigger, seconds).is_ok();
        assert!(check(0, 0) && check(0, 86_400));
        assert!(!check(1, 0) && !check(0, 86_401));
    }
}
