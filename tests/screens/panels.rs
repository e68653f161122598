//! Everything that the console can show, for the tests of the screens and the pictures in `docs/`.

use std::sync::Arc;
use std::time::Duration;

use engine::runbook;
use engine::snapshot::{ReleaseView, Snapshot};
use engine::types::{Now, Untrusted};
use quarterdeck::ui::keymap::Key;
use quarterdeck::ui::runbook::Reading;
use quarterdeck::ui::{Event, Mode, Panel, Ui};

use crate::{faces, sample};

/// One thing to look at.
pub struct Shown {
    pub name: &'static str,
    pub ui: Ui,
}

/// What is shown: a release that is taken back.
pub fn picture() -> Snapshot {
    let mut snapshot = sample::releasing(failing());
    without_attacks(&mut snapshot);
    snapshot
}

/// All of it, with the panels first.
pub fn all(picture: &Snapshot) -> Vec<Shown> {
    let mut ui = Ui::new(false, "Europe/Lisbon".parse().ok());
    for second in (0..1_200).rev().step_by(30) {
        ui.update(Event::Changed, Some(picture), sample::ago(second));
    }
    ui.service = Some("payments".to_owned());
    let panel = |panel: Panel| {
        let mut ui = ui.clone();
        (ui.focus, ui.zoomed) = (panel, true);
        Shown { name: panel.title(), ui }
    };
    let over = |name, keys: &str| {
        let mut ui = ui.clone();
        for (place, key) in (1..).zip(keys.chars()) {
            let now = sample::now();
            let mono = now.mono + Duration::from_millis(50 * place);
            ui.update(Event::Key(Key::Char(key)), Some(picture), Now { mono, ..now });
        }
        Shown { name, ui }
    };
    let mut read = ui.clone();
    read.mode = Mode::Runbook(Box::new(reading()));
    let mut all: Vec<Shown> = Panel::ALL.into_iter().map(panel).collect();
    let keys = [
        ("screen", ""),
        ("wall", "w"),
        ("changes", "L"),
        ("handover", "H"),
        ("rollback", "R"),
        ("shift", "S"),
        ("palette", ":ro"),
        ("help", "?"),
    ];
    all.extend(keys.map(|(name, keys)| over(name, keys)));
    all.push(Shown { name: "runbook", ui: read });
    all
}

/// The release that is taken back, with the counts that its figures stand for.
fn failing() -> ReleaseView {
    let mut faces = faces::faces().into_iter();
    let (_, mut release) = faces.find(|(name, _)| *name == "back").expect("such a face");
    if let Some(canary) = &mut release.canary {
        canary.canary.errors = 116;
        canary.canary.slow = Some(71);
        canary.evidence.iter_mut().for_each(|evidence| evidence.pass = 0.0);
        canary.evidence[1].fail = 0.42;
    }
    release
}

fn reading() -> Reading {
    let text = "# payments is stuck\n\nIts queue grows and nothing is charged.\n\n```sh\n\
                systemctl status payments\n```\n\nStill stuck? Restart the workers:\n\n\
                ```sh changes ask=pid\nkill -TERM {pid}\n```\n";
    let page = runbook::parse("stuck", "runbooks/stuck.md", text, &|_| None);
    Reading::new(page.expect("a page without a fault"), sample::ago(10))
}

/// The tests' sample carries text of attackers, which is no sight for a first look.
fn without_attacks(snapshot: &mut Snapshot) {
    for service in Arc::make_mut(&mut snapshot.services).iter_mut().map(Arc::make_mut) {
        let probes = service.probes.iter_mut().map(Arc::make_mut);
        for probe in probes.filter(|probe| !probe.message.is_empty()) {
            probe.message = Untrusted::new("db: pool at 96 %");
        }
        for step in service.release.iter_mut().flat_map(|release| &mut release.steps) {
            step.detail = Untrusted::default();
        }
        for rule in &mut service.triggers {
            rule.since = Some(sample::ago(12));
            rule.sentence = Untrusted::new("canary.error_rate 21.4");
        }
        if let Some(operation) = &mut service.operation {
            operation.reason = Untrusted::new("step 2 of 1.9.0");
        }
    }
    for incident in &mut Arc::make_mut(&mut snapshot.incidents).open {
        incident.labels.retain(|name, _| name.display() == "service");
        if incident.summary.display().contains("slow") {
            incident.name = Untrusted::new("SlowQueries");
            incident.summary = Untrusted::new("p95 above 2 s");
        }
    }
}
