//! Writes `docs/screen.svg` from the hand-made picture of the screen tests.

use std::sync::Arc;

#[path = "../tests/screens/faces.rs"]
mod faces;
#[path = "../tests/screens/sample.rs"]
mod sample;

use engine::snapshot::{ReleaseView, Snapshot};
use engine::types::Untrusted;
use quarterdeck::ui::theme::{Depth, Symbols, Theme};
use quarterdeck::ui::{Event, Ui, svg, view};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

fn main() -> Result<(), String> {
    let mut snapshot = sample::releasing(failing()?);
    without_attacks(&mut snapshot);
    let mut ui = Ui::new(false, "Europe/Lisbon".parse().ok());
    ui.update(Event::Changed, Some(&snapshot), sample::now());
    let theme = Theme::named("dark", Depth::True, Symbols::Unicode)?;
    let area = Rect::new(0, 0, 150, 36);
    let mut buffer = Buffer::empty(area);
    view::draw_in(&mut buffer, area, Some(&snapshot), &ui, &theme, sample::now());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/screen.svg");
    std::fs::write(path, svg::picture(&buffer)).map_err(|error| format!("{path}: {error}"))
}

/// The release that is taken back, with the counts that its figures stand for.
fn failing() -> Result<ReleaseView, String> {
    let mut faces = faces::faces().into_iter();
    let (_, mut release) = faces.find(|(name, _)| *name == "back").ok_or("no such face")?;
    if let Some(canary) = &mut release.canary {
        canary.canary.errors = 116;
        canary.canary.slow = Some(71);
        canary.evidence.iter_mut().for_each(|evidence| evidence.pass = 0.0);
        canary.evidence[1].fail = 0.42;
    }
    Ok(release)
}

/// The tests' sample carries text of attackers, which is no sight for a first look.
fn without_attacks(snapshot: &mut Snapshot) {
    for service in Arc::make_mut(&mut snapshot.services) {
        for probe in service.probes.iter_mut().filter(|probe| !probe.message.is_empty()) {
            probe.message = Untrusted::new("db: pool at 96 %");
        }
        for step in service.release.iter_mut().flat_map(|release| &mut release.steps) {
            step.detail = Untrusted::default();
        }
        for rule in &mut service.triggers {
            rule.since = Some(sample::ago(12));
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
