//! Being written.

use std::time::Duration;

use engine::reading::{SplitReading, WriteAnswer};
use engine::types::{Failure, FailureKind, Untrusted, Weights};

use crate::io::http::Client;
use crate::io::settings::HttpTarget;

pub async fn set(
    _client: &Client,
    _target: &HttpTarget,
    _weights: Weights,
    _budget: Duration,
) -> WriteAnswer {
    WriteAnswer::Rejected { why: Untrusted::new("not there yet") }
}

pub async fn read(
    _client: &Client,
    _target: &HttpTarget,
    _budget: Duration,
) -> Result<SplitReading, Failure> {
    Err(Failure::new(FailureKind::Unreachable, "not there yet"))
}
