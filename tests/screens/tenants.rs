//! Tenants in the release panel: who is in trouble first, and nobody well without data.

use engine::snapshot::{TenantFigure, TenantView};

use super::*;

fn tenant(name: &str, class: &str, latency: Option<f64>, limit: f64) -> TenantView {
    let figure = |name: &str, value, limit, target| TenantFigure {
        name: name.to_owned(),
        value,
        limit: Some(limit),
        target,
    };
    TenantView {
        name: Untrusted::new(name),
        class: class.to_owned(),
        figures: vec![
            figure("latency", latency, limit, Some(1000.0)),
            figure("rows", Some(12.0), 10_000.0, None),
        ],
    }
}

/// The zoomed release panel of a service with these tenants, so many seconds later.
fn panel(tenants: Vec<TenantView>, seconds: u64) -> String {
    let mut picture = sample();
    let mut services = (*picture.services).clone();
    let own = services.iter_mut().find(|own| own.name == "payments").expect("it is there");
    Arc::make_mut(own).signals.as_mut().expect("it counts").tenants = tenants;
    picture.services = Arc::new(services);
    let mut ui = ui(&picture);
    ui.focus = Panel::Release;
    ui.zoomed = true;
    printed_at(&ui, &picture, (120, 40), later(seconds * 1000))
}

#[test]
fn who_is_over_a_limit_is_named_first() {
    let tenants = vec![
        tenant("north", "default", Some(240.0), 3000.0),
        tenant("south", "default", Some(4210.0), 3000.0),
        tenant("west", "premium", Some(4210.0), 5000.0),
        tenant("east", "premium", None, 5000.0),
    ];
    let screen = panel(tenants.clone(), 0);
    let lines = [
        "tenants  1 over a limit, 2 above a target, 1 without data of 4",
        "OVER south (default): latency 4210 > 3000, rows 12 of 10000",
        "above target west (premium): latency 4210 > 1000, rows 12 of 10000",
        "no data east (premium): latency – of 5000, rows 12 of 10000",
        "north (default): latency 240 of 3000, rows 12 of 10000",
    ];
    let places = lines.map(|line| screen.find(line).unwrap_or_else(|| panic!("{line}\n{screen}")));
    assert!(places.is_sorted(), "{screen}");
    let fine = panel(tenants[..1].to_vec(), 0);
    assert!(fine.contains("tenants  all 1 within limits and targets"), "{fine}");
    let old = panel(tenants, 60);
    assert!(old.contains("tenants  ░ STALE: no data"), "{old}");
    assert!(!old.contains("OVER south") && !old.contains("north (default)"), "{old}");
}
