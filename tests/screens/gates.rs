//! What stands against more exposure, by the picture alone.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use engine::snapshot::{FreezeView, RouteState, ServiceView, Snapshot};
use engine::types::{Now, Percent, Untrusted};
use quarterdeck::ui::gate;

use crate::sample::now;
use crate::{calm, later};

/// Payments as a feature flag: one router, no probe, nothing counted; and what else is so.
fn flag_but(change: impl FnOnce(&mut ServiceView)) -> Snapshot {
    let mut picture = calm();
    let mut services = (*picture.services).clone();
    let own = Arc::make_mut(&mut services[1]);
    own.flag = true;
    own.probes = Vec::new();
    own.signals = None;
    own.route.as_mut().expect("payments has a route").state = RouteState::Verified;
    change(own);
    picture.services = Arc::new(services);
    picture
}

fn flag() -> Snapshot {
    flag_but(|_| {})
}

fn keys(picture: &Snapshot, to: Percent, at: Now) -> Vec<String> {
    let gates = gate::against_split(picture, &picture.services[1], to, at);
    gates.into_iter().map(|gate| gate.key).collect()
}

#[test]
fn a_flag_is_raised_on_what_can_be_known_of_it() {
    let to = Percent::FULL;
    assert_eq!(keys(&flag(), to, now()), Vec::<String>::new());
    let watched = flag_but(|own| own.flag = false);
    assert_eq!(keys(&watched, to, now()), ["probes", "signals"], "a service is watched");
    let drifted = |own: &mut ServiceView| {
        own.route.as_mut().expect("a route").state = RouteState::Drifted;
    };
    assert_eq!(keys(&flag_but(drifted), to, now()), ["route"]);
    let mut frozen = flag();
    let mut head = (*frozen.head).clone();
    head.freezes = vec![FreezeView {
        service: None,
        until: now().wall + TimeDelta::hours(1),
        user: Untrusted::new("ana"),
        reason: Untrusted::new("migration"),
    }];
    frozen.head = Arc::new(head);
    assert_eq!(keys(&frozen, to, now()), [gate::FREEZE]);
    let mut alarmed = flag();
    alarmed.incidents = crate::sample::sample().incidents;
    assert_eq!(keys(&alarmed, to, now()), ["incidents"]);
    let long_ago = later(Duration::from_hours(1).as_millis().try_into().expect("an hour"));
    let old = keys(&flag(), to, long_ago);
    assert!(!old.is_empty() && old.iter().all(|key| key.starts_with("router/")), "{old:?}");
}
