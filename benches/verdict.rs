//! How often the verdict is wrong and how long it takes, over simulated releases.
//!
//! `cargo bench --bench verdict` prints the tables and ends with an error when equal releases fail
//! more often than α, harmful ones pass more often than β, or a median is more than a fifth above
//! its figure. Contract: fixed seeds, one core, the same figures every time.

#[path = "../tests/support/streams.rs"]
#[expect(dead_code, reason = "shared with the test, which asks for more")]
mod streams;

use std::process::ExitCode;
use std::time::Instant;

use engine::analysis::{Control, Counts, Kind, Policy, Signal, Verdict};
use streams::{Ending, Fails, Judge, Ranks, STEPS, TENTH, Threshold, Traffic, median, release};

/// How far above its figure a median may be.
const SLACK: f64 = 1.2;
const HOUR: u32 = 3600;

/// The product's verdict for one signal: ends with PASS. Remembers a FAIL, which ends it too.
struct Passes {
    signal: Signal,
    policy: Policy,
    failed: bool,
}

impl Passes {
    fn new(policy: &Policy, objective: Option<f64>) -> Passes {
        Passes {
            signal: Signal::new(Kind::Errors, policy, objective),
            policy: *policy,
            failed: false,
        }
    }
}

impl Judge for Passes {
    fn look(&mut self, second: u32, stable: Counts, canary: Counts) -> bool {
        self.signal.observe(Some(stable), canary);
        // Judging costs more than observing, and an hour in a second is not needed any more.
        if second > 600 && !second.is_multiple_of(10) {
            return false;
        }
        match self.signal.judge(&self.policy, Control::Stable, None) {
            Verdict::Pass { .. } => true,
            Verdict::Fail => {
                self.failed = true;
                true
            }
            Verdict::NeedMoreData { .. } | Verdict::NoData { .. } => false,
        }
    }
}

fn traffic(errors_per_s: f64, rate: f64, ratio: f64) -> Traffic {
    Traffic { requests: errors_per_s / rate, errors: rate, ratio, outage: 1.0 }
}

fn policy(tol: f64) -> Policy {
    Policy { tol, ..Policy::default() }
}

fn time(second: Option<u32>) -> String {
    match second {
        None => "never".into(),
        Some(s) if s < 600 => format!("{s} s"),
        Some(s) => format!("{:.1} min", f64::from(s) / 60.0),
    }
}

fn main() -> ExitCode {
    let start = Instant::now();
    let mut broken = Vec::new();
    false_fails(&mut broken);
    detection(&mut broken);
    passing(&mut broken);
    other_rules();
    println!("\n{:.0} s in all", start.elapsed().as_secs_f64());
    for line in &broken {
        println!("BROKEN: {line}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn false_fails(broken: &mut Vec<String>) {
    println!("false FAIL, equal releases, 1/5/25/50 % for 10 min each, a look a second");
    println!("{:>10} {:>7} {:>5} {:>9} {:>9}", "errors/s", "errors", "tol", "releases", "failed");
    let usual = traffic(5.0, 0.01, 1.0);
    let cases = [
        ("", usual, 0.0, 10_000_u32),
        ("", traffic(0.5, 0.01, 1.0), 0.0, 1000),
        ("", traffic(0.1, 0.01, 1.0), 0.0, 1000),
        ("", usual, 0.1, 1000),
        (", of 30 in 100 requests", traffic(5.0, 0.3, 1.0), 0.0, 500),
        (
            ", a minute of 20× in both arms in each step",
            Traffic { outage: 20.0, ..usual },
            0.0,
            500,
        ),
    ];
    for (what, traffic, tol, releases) in cases {
        let policy = policy(tol);
        let failed = (0..releases)
            .filter(|seed| {
                let mut judge = Fails::new(&policy);
                release(traffic, &STEPS, u64::from(*seed), &mut [&mut judge])[0].second.is_some()
            })
            .count();
        let part = f64::from(u32::try_from(failed).unwrap_or(u32::MAX)) / f64::from(releases);
        println!(
            "{:>10} {:>5} % {tol:>5} {releases:>9} {failed:>9} {:>6.2} %{what}",
            traffic.errors * traffic.requests,
            traffic.errors * 100.0,
            part * 100.0
        );
        if part > policy.alpha {
            broken.push(format!("{failed} of {releases} equal releases failed (tol {tol})"));
        }
    }
}

fn detection(broken: &mut Vec<String>) {
    println!("\nmedian time to FAIL, α = 0.01");
    println!(
        "{:>10} {:>5} {:>6} {:>10} {:>10} {:>6} {:>10} {:>9}",
        "errors/s", "tol", "ratio", "median", "figure", "", "90 % by", "harmed"
    );
    let cases = [
        (5.0, 0.0, 10.0, Some(10.0)),
        (5.0, 0.0, 3.0, Some(82.0)),
        (5.0, 0.0, 2.0, Some(318.0)),
        (5.0, 0.1, 10.0, Some(10.0)),
        (5.0, 0.1, 3.0, Some(96.0)),
        (5.0, 0.1, 2.0, Some(440.0)),
        (0.5, 0.0, 10.0, Some(96.0)),
        (0.5, 0.0, 3.0, Some(660.0)),
        (0.5, 0.0, 2.0, Some(1080.0)),
        (0.5, 0.1, 10.0, None),
        (0.5, 0.1, 3.0, None),
        (0.5, 0.1, 2.0, None),
    ];
    for (errors_per_s, tol, ratio, figure) in cases {
        let endings = endings(1001, &STEPS, traffic(errors_per_s, 0.01, ratio), || {
            vec![Box::new(Fails::new(&policy(tol)))]
        });
        let found = median(endings.iter().map(|all| all[0].second));
        let part = figure.map(|figure| found.map_or(f64::INFINITY, f64::from) / figure);
        println!(
            "{errors_per_s:>10} {tol:>5} {:>6} {:>10} {:>10} {:>6} {:>10} {:>9.1}",
            format!("{ratio}×"),
            time(found),
            figure.map_or("-".into(), |figure| format!("{figure} s")),
            part.map_or(String::new(), |part| format!("{part:.2}")),
            time(nine_of_ten(&endings)),
            harmed(&endings, 0),
        );
        if part.is_some_and(|part| part > SLACK) {
            let found = time(found);
            broken.push(format!("{ratio}× at {errors_per_s} errors/s, tol {tol}: {found}"));
        }
    }
}

fn passing(broken: &mut Vec<String>) {
    println!("\nmedian time to PASS, β = 0.05, canary at a constant 10 %, before any minimum soak");
    println!(
        "{:>10} {:>11} {:>9} {:>10} {:>8} {:>8}",
        "errors/s", "requests/s", "roads", "median", "figure", "failed"
    );
    let both = Some(0.02);
    let equal = traffic(5.0, 0.01, 1.0);
    let cases = [
        (traffic(5.0, 0.01, 1.0), None, Some(21.0)),
        (traffic(0.5, 0.01, 1.0), None, Some(240.0)),
        (traffic(0.1, 0.01, 1.0), None, None),
        (traffic(5.0, 0.01, 1.0), both, None),
        (traffic(0.5, 0.01, 1.0), both, None),
        (traffic(0.1, 0.01, 1.0), both, None),
        (Traffic { requests: 50.0, errors: 0.0, ..equal }, both, None),
        (Traffic { requests: 10.0, errors: 0.0, ..equal }, both, None),
    ];
    for (traffic, objective, figure) in cases {
        let mut failed = 0;
        let seconds: Vec<Option<u32>> = (0..301)
            .map(|seed| {
                let mut judge = Passes::new(&Policy::default(), objective);
                let ending = release(traffic, &TENTH, 50_000 + seed, &mut [&mut judge])[0];
                failed += u32::from(judge.failed);
                ending.second.filter(|_| !judge.failed)
            })
            .collect();
        let found = median(seconds.into_iter());
        let errors = traffic.errors * traffic.requests;
        println!(
            "{errors:>10.1} {:>11} {:>9} {:>10} {:>8} {failed:>8}",
            traffic.requests,
            objective.map_or("stable", |_| "both, 2 %"),
            time(found),
            figure.map_or("-".into(), |figure: f64| format!("{figure} s")),
        );
        let limit = figure.map_or(f64::from(HOUR), |figure| figure * SLACK);
        if found.is_none_or(|found| f64::from(found) > limit) {
            broken.push(format!("PASS at {errors:.1} errors/s: {}", time(found)));
        }
    }
    let policy = Policy::default();
    let harmful = traffic(5.0, 0.01, policy.harm_errors);
    let passed = (0..1000)
        .filter(|seed| {
            let mut judge = Passes::new(&policy, None);
            let ending = release(harmful, &TENTH, 60_000 + seed, &mut [&mut judge])[0];
            ending.second.is_some() && !judge.failed
        })
        .count();
    println!("false PASS of a canary with exactly 2× the errors: {passed} of 1000");
    if passed > 50 {
        broken.push(format!("{passed} of 1000 harmful canaries passed"));
    }
}

fn other_rules() {
    println!("\nother rules on the same streams: 0.3 % errors, 1/5/25/50 % for 10 min each");
    println!("  Argo: a minute above 1 %, failureLimit 1, no data passes");
    println!("  Flagger: a minute above 1 %, threshold 5, no data fails");
    println!("  Kayenta: Mann-Whitney of the minutes' error rates, every 10 min");
    println!(
        "{:>11} {:>6} {:>11} {:>9} {:>10} {:>9}",
        "requests/s", "ratio", "rule", "aborted", "median", "harmed"
    );
    let names = ["quarterdeck", "argo", "flagger", "kayenta"];
    for requests in [20.0, 100.0, 1000.0] {
        for (ratio, releases) in [(1.0, 500), (10.0, 200), (4.0, 200), (2.0, 200)] {
            let traffic = Traffic { requests, errors: 0.003, ratio, outage: 1.0 };
            let endings = endings(releases, &STEPS, traffic, || {
                vec![
                    Box::new(Fails::new(&Policy::default())),
                    Box::new(Threshold::argo(0.01)),
                    Box::new(Threshold::flagger(0.01)),
                    Box::new(Ranks::default()),
                ]
            });
            for (place, name) in names.into_iter().enumerate() {
                let seconds = || endings.iter().map(|all| all[place].second);
                let aborted = seconds().flatten().count();
                println!(
                    "{requests:>11} {:>6} {name:>11} {:>7.1} % {:>10} {:>9.1}",
                    if ratio > 1.0 { format!("{ratio}×") } else { "equal".into() },
                    100.0 * share_of(aborted, endings.len()),
                    time(median(seconds())),
                    harmed(&endings, place),
                );
            }
        }
    }
}

/// So many releases, each before judges of its own.
fn endings(
    releases: u64,
    steps: &[(f64, u32)],
    traffic: Traffic,
    judges: impl Fn() -> Vec<Box<dyn Judge>>,
) -> Vec<Vec<Ending>> {
    (0..releases)
        .map(|seed| {
            let mut judges = judges();
            let mut judges: Vec<&mut dyn Judge> =
                judges.iter_mut().map(|judge| &mut **judge as &mut dyn Judge).collect();
            release(traffic, steps, 100_000 + seed, &mut judges)
        })
        .collect()
}

fn share_of(part: usize, all: usize) -> f64 {
    let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    number(part) / number(all)
}

/// On average, canary requests that failed and would not have with stable.
fn harmed(endings: &[Vec<Ending>], place: usize) -> f64 {
    let all: f64 = endings.iter().map(|all| all[place].harmed).sum();
    all * share_of(1, endings.len())
}

fn nine_of_ten(endings: &[Vec<Ending>]) -> Option<u32> {
    let mut all: Vec<u32> = endings.iter().map(|all| all[0].second.unwrap_or(u32::MAX)).collect();
    all.sort_unstable();
    all.get(all.len() * 9 / 10).copied().filter(|second| *second < u32::MAX)
}
