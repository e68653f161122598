//! Stub.
use crate::reading::Measurement;
use crate::settings::Signals;
use crate::snapshot::ArmView;
use crate::types::{Group, Now};
use std::time::Duration;
#[derive(Debug)]
pub struct Counts;
impl Counts {
    pub fn new(_: Duration, _: Option<Duration>) -> Self {
        Counts
    }
    pub fn observe(&mut self, _: &Measurement, _: Now) {}
    pub fn view(&self, _: Group, _: &Signals) -> (ArmView, ArmView, Option<f64>) {
        (ArmView::default(), ArmView::default(), None)
    }
}
