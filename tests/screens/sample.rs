//! A picture made by hand: one service well, one degraded with a canary, one stale.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use engine::reading::{AlertState, Disk, HostReading};
use engine::record::{OperationResult, ReleaseKind, ReleaseResult, ReleaseState};
use engine::settings::Environment;
use engine::snapshot::{
    ArmTotals, ArmView, CanaryView, CheckState, CheckView, Evidence, Head, HostView, IncidentView,
    Incidents, JournalLine, JournalState, OperationView, PastRelease, Phase, ProbeView, Readiness,
    ReadinessCheck, ReleaseView, RouteState, RouteView, RouterProgress, RouterView, ServiceView,
    SignalsView, Snapshot, SourceView, StepState, StepView, TriageView, TriggerState, TriggerView,
    ValidationView,
};
use engine::types::{Fence, Now, Percent, Severity, Status, Time, Untrusted};

pub fn now() -> Now {
    let wall: DateTime<Utc> = "2026-03-14T14:03:11Z".parse().expect("a valid instant");
    Now { mono: Time(10_000_000_000), wall }
}

pub fn ago(seconds: u64) -> Now {
    let now = now();
    let span = i64::try_from(seconds).expect("spans of the sample are short");
    Now { mono: now.mono - Duration::from_secs(seconds), wall: now.wall - TimeDelta::seconds(span) }
}

fn percent(value: u8) -> Percent {
    Percent::new(value).expect("a percent")
}

fn probe(name: &str, status: Status, seconds: u64, ms: u64, message: &str) -> ProbeView {
    let latencies = [12, 14, 13, 18, 22, 17, 15, 40, 35, 28, 21, 19];
    ProbeView {
        name: name.to_owned(),
        status,
        interval: Duration::from_secs(5),
        observed: Some(ago(seconds)),
        latency: Some(Duration::from_millis(ms)),
        message: Untrusted::new(message),
        last_error: None,
        latencies_ms: latencies
            .iter()
            .enumerate()
            .map(|(place, ms)| (place != 4).then_some(*ms))
            .collect(),
        uptime_percent: Some(if status == Status::Up { 100.0 } else { 98.6 }),
        certificate_expires: None,
        since: Some(ago(seconds + 120)),
    }
}

fn router(name: &str, canary: f64) -> RouterView {
    RouterView {
        name: name.to_owned(),
        kind: "haproxy".to_owned(),
        canary: Some(canary),
        read: Some(ago(2)),
        reread: Duration::from_secs(5),
        error: Untrusted::default(),
        note: Untrusted::default(),
        manual: format!("echo 'set weight web/v2 {{canary}}' | socat - /run/{name}.sock"),
        holder: None,
        fenced: Some(true),
        access: engine::reading::Access::default(),
    }
}

fn arm(version: &str, rate: f64, errors: f64, p95: f64) -> ArmView {
    ArmView {
        version: version.to_owned(),
        requests: Some(rate * 60.0),
        requests_per_s: Some(rate),
        errors: Some(rate * 60.0 * errors / 100.0),
        error_percent: Some(errors),
        latency_avg_ms: None,
        latency_p50_ms: Some(p95 / 4.0),
        latency_p95_ms: Some(p95),
        latency_p99_ms: None,
        error_history: vec![Some(0.0), Some(0.2), None, Some(errors / 2.0), Some(errors)],
    }
}

fn service(name: &str, alias: &str, probe: ProbeView) -> ServiceView {
    ServiceView {
        name: name.to_owned(),
        alias: alias.to_owned(),
        runbook: None,
        flag: false,
        probes: vec![Arc::new(probe)],
        route: None,
        signals: None,
        operation: None,
        release: None,
        validation: None,
        readiness: Readiness::default(),
        triggers: Vec::new(),
        plans: Vec::new(),
        history: Vec::new(),
    }
}

fn payments() -> ServiceView {
    let mut service = service(
        "payments",
        "pay",
        probe("api", Status::Degraded, 3, 640, "db: pool at 96 % \u{1b}[31mred\u{1b}[0m"),
    );
    service.route = Some(RouteView {
        state: RouteState::Verified,
        set: Some(percent(25)),
        fence: Fence(41),
        routers: vec![router("edge-1", 25.0), router("edge-2", 25.0)],
        traffic: Some(24.7),
    });
    service.signals = Some(SignalsView {
        interval: Duration::from_secs(5),
        window: Duration::from_mins(1),
        stable: arm("v1.8.2", 41.2, 0.1, 88.0),
        canary: arm("v1.9.0", 13.6, 21.4, 2140.0),
        at: Some(ago(3).wall),
        observed: Some(ago(3)),
        error: Untrusted::default(),
        tenants: Vec::new(),
        tenants_error: Untrusted::default(),
    });
    service.operation = Some(operation(Phase::Ended(OperationResult::Verified)));
    service
}

/// Seconds from now.
pub fn ahead(seconds: u64) -> Now {
    let now = now();
    let span = i64::try_from(seconds).expect("spans of the sample are short");
    Now { mono: now.mono + Duration::from_secs(seconds), wall: now.wall + TimeDelta::seconds(span) }
}

fn step(name: &str, state: StepState, detail: &str) -> StepView {
    let begun = state != StepState::Waiting;
    StepView {
        name: name.to_owned(),
        state,
        started: begun.then(|| ago(200)),
        ended: (begun && state != StepState::Running).then(|| ago(180)),
        detail: Untrusted::new(detail),
        estimate: (name == "deploy").then_some(Duration::from_secs(15)),
    }
}

/// r12 of payments at its third step of five, with too little data.
pub fn release() -> ReleaseView {
    let totals = |requests, errors| ArmTotals { requests, errors, slow: Some(errors * 2) };
    let evidence = |name: &str, fail, pass| Evidence { name: name.to_owned(), fail, pass };
    let sentence = "the canary had 3 of 9 errors with 24.7 % of the traffic; about 1,240 more \
                    requests, some 2 min at this rate.";
    ReleaseView {
        id: 12,
        submission: "s-12".to_owned(),
        plan: "deploy-payments".to_owned(),
        kind: ReleaseKind::Deploy,
        version: "v1.9.0".to_owned(),
        hotfix: false,
        user: Untrusted::new("ana"),
        started: ago(250),
        state: ReleaseState::Running,
        result: None,
        ended: None,
        steps: vec![
            step("check", StepState::Done, "exit 0: healthy\u{1b}[31m"),
            step("canary", StepState::Running, ""),
            step("bake", StepState::Waiting, ""),
        ],
        step: 1,
        question: None,
        canary: Some(CanaryView {
            steps: [1, 5, 25, 50, 100].map(percent).to_vec(),
            place: 2,
            since: Some(ago(40)),
            soak_until: Some(ahead(20)),
            wait_until: Some(ahead(860)),
            bake_until: None,
            stable: totals(1_640, 2),
            canary: totals(544, 3),
            evidence: vec![evidence("errors", 0.31, 0.12), evidence("slow requests", 0.0, 0.64)],
            verdict: "NEED MORE DATA".to_owned(),
            sentence: Untrusted::new(sentence),
        }),
        sentence: Untrusted::new(sentence),
        next: Untrusted::new("then 50 %"),
    }
}

/// The sample with this release of payments, a rule, a way back, and what was before.
pub fn releasing(release: ReleaseView) -> Snapshot {
    let mut picture = sample();
    let mut services = (*picture.services).clone();
    let payments = Arc::make_mut(&mut services[1]);
    payments.release = Some(release);
    payments.runbook = Some("https://wiki.example.com/payments".to_owned());
    let passed = |name: &str, state, detail: &str| CheckView {
        name: name.to_owned(),
        critical: true,
        state,
        tries: 1,
        took: Some(Duration::from_millis(340)),
        detail: Untrusted::new(detail),
    };
    payments.validation = Some(ValidationView {
        submissions: vec!["s-11".to_owned()],
        version: "v1.9.0".to_owned(),
        user: Untrusted::new("ana"),
        started: ago(301),
        ended: Some(ago(300)),
        can_deploy: Some(true),
        fresh_for: Duration::from_mins(10),
        checks: vec![passed("tests green", CheckState::Passed, "exit 0")],
    });
    let check = |name: &str, why: &str| ReadinessCheck {
        name: name.to_owned(),
        ok: Some(true),
        why: Untrusted::new(why),
        at: Some(ago(4)),
        fresh_for: Duration::from_secs(15),
    };
    payments.readiness.checks = vec![
        check("edge-1 readable", "edge-1 shows 25.0 % to the canary"),
        check("target", "group a, v1.8.2"),
    ];
    payments.triggers = vec![TriggerView {
        rule: "canary.error_rate > 10.0".to_owned(),
        span: Duration::from_mins(1),
        state: TriggerState::Armed,
        since: None,
        sentence: Untrusted::new("not true: canary.error_rate 0.6"),
    }];
    payments.history = vec![PastRelease {
        id: 11,
        version: "v1.8.9".to_owned(),
        plan: "deploy-payments".to_owned(),
        kind: ReleaseKind::Deploy,
        user: Untrusted::new("ben"),
        started: ago(90_000).wall,
        ended: ago(89_000).wall,
        result: ReleaseResult::RolledBack,
        rollback_took: Some(Duration::from_secs(3)),
        down: Some(Duration::ZERO),
        bad: true,
    }];
    picture.services = Arc::new(services);
    picture
}

pub fn operation(phase: Phase) -> OperationView {
    let progress = |name: &str, proven| RouterProgress {
        router: name.to_owned(),
        sent: Some(ago(240)),
        proven,
        tries: 1,
        answer: Untrusted::default(),
    };
    let ended = matches!(phase, Phase::Ended(OperationResult::Verified));
    OperationView {
        fence: Fence(41),
        earlier: Vec::new(),
        submission: "s-41".to_owned(),
        verb: "split".to_owned(),
        service: "payments".to_owned(),
        from: Some(percent(10)),
        to: percent(25),
        user: Untrusted::new("ana"),
        reason: Untrusted::new("step 2 of 1.9.0\u{202e}"),
        requested: ago(241),
        phase,
        changed: ago(240),
        routers: vec![
            progress("edge-1", Some(ago(240))),
            progress("edge-2", ended.then(|| ago(240))),
        ],
        sentence: Untrusted::new("edge-1 and edge-2 show 25 %"),
        manual: vec!["set server payments/v2 weight 0".to_owned()],
    }
}

pub fn incident(key: &str, severity: Severity, state: AlertState, summary: &str) -> IncidentView {
    let labels = [("service", "payments"), ("team", "\u{1b}]0;owned\u{7}core")];
    IncidentView {
        key: key.to_owned(),
        name: Untrusted::new("HighErrorRate"),
        severity,
        state,
        source: "alerts".to_owned(),
        summary: Untrusted::new(summary),
        labels: labels
            .iter()
            .map(|(name, value)| (Untrusted::new(name), Untrusted::new(value)))
            .collect::<BTreeMap<_, _>>(),
        links: vec![Untrusted::new("https://example.com/runbook")],
        started_at: Some(ago(134).wall),
        first_seen: ago(130),
        last_seen: ago(2),
        pending: Untrusted::default(),
        can_acknowledge: true,
        can_escalate: true,
        triage: TriageView::default(),
        alerts: None,
    }
}

fn host(name: &str, cpu: f64) -> HostView {
    HostView {
        name: name.to_owned(),
        interval: Duration::from_secs(5),
        observed: Some(ago(1)),
        reading: Some(HostReading {
            cpu_percent: Some(cpu),
            memory_percent: Some(61.0),
            load: Some([1.25, 1.0, 0.7]),
            network_receive_bytes_per_s: Some(1_200_000.0),
            network_transmit_bytes_per_s: Some(340_000.0),
            disks: vec![Disk {
                mount: Untrusted::new("/"),
                used_percent: 71.0,
                total_bytes: 100_000_000_000,
            }],
            ..HostReading::default()
        }),
        error: Untrusted::default(),
        cpu_history: vec![Some(10.0), Some(20.0), None, Some(35.0), Some(33.0)],
        advice: None,
    }
}

pub fn sample() -> Snapshot {
    let mut checkout = service("checkout", "chk", probe("api", Status::Up, 2, 19, ""));
    checkout.route = Some(RouteView {
        state: RouteState::Verified,
        set: Some(Percent::ZERO),
        fence: Fence(12),
        routers: vec![router("edge-1", 0.0)],
        traffic: Some(0.0),
    });
    let search = service("search", "sea", probe("api", Status::Up, 134, 22, ""));
    let line = |seconds, kind: &str, text: &str| JournalLine {
        at: ago(seconds).wall,
        user: Untrusted::new("ana"),
        kind: kind.to_owned(),
        text: Untrusted::new(text),
    };
    let source = |name: &str, kind: &str, seconds, error: &str| {
        Arc::new(SourceView {
            name: name.to_owned(),
            kind: kind.to_owned(),
            interval: Duration::from_secs(5),
            success: Some(ago(seconds)),
            error: Untrusted::new(error),
            skew_s: None,
        })
    };
    let lost = HostView {
        name: "web-2".to_owned(),
        interval: Duration::from_secs(5),
        observed: None,
        reading: None,
        error: Untrusted::new("read of http://10.0.0.6:9100: connection refused"),
        cpu_history: Vec::new(),
        advice: None,
    };
    Snapshot {
        head: Arc::new(Head {
            environment: Environment {
                name: "production".to_owned(),
                timezone: "Europe/Lisbon".to_owned(),
                band: "danger".to_owned(),
            },
            started: ago(4_000),
            journal: JournalState::Writable,
            banners: Vec::new(),
            freezes: Vec::new(),
            runs: Vec::new(),
        }),
        services: Arc::new([checkout, payments(), search].map(Arc::new).into()),
        hosts: Arc::new(vec![host("here", 33.0), host("web-1", 97.0), lost]),
        incidents: Arc::new(Incidents {
            open: vec![
                incident("a/1", Severity::Critical, AlertState::Triggered, "21 % errors on v1.9.0"),
                incident(
                    "a/2",
                    Severity::High,
                    AlertState::Acknowledged,
                    "\u{1b}[2Jslow \u{200b}x",
                ),
                incident("a/3", Severity::Low, AlertState::Triggered, "disk fills by Friday"),
            ],
            total: 3,
            dropped: 0,
            names: Vec::new(),
            resolved: Vec::new(),
        }),
        journal: Arc::new(vec![
            line(240, "outcome", "VERIFIED: edge-1 and edge-2 show 25 %"),
            line(241, "intent", "split payments 10 % to 25 %: step 2 of 1.9.0"),
            line(4_000, "started", "engine 0.1.0"),
        ]),
        sources: Arc::new(vec![
            source("alerts", "alertmanager", 2, ""),
            source("payments/api", "probe", 3, ""),
            source("search/api", "probe", 134, "timeout after 2s"),
            source("edge-1", "haproxy", 2, ""),
        ]),
    }
}
