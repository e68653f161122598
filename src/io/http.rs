//! One HTTP client for every adapter, with its limits.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use engine::types::Failure;

use crate::io::settings::HttpTarget;

/// Shared by all adapters; cheap to clone.
#[derive(Clone)]
pub struct Client {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Put,
    Post,
}

/// A whole answer, within the target's limits.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case; values as received, so treat them as outside text.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub latency: Duration,
    pub certificate_expires: Option<DateTime<Utc>>,
}

impl Client {
    pub fn new() -> Result<Client, Failure> {
        Ok(Client {})
    }

    /// Sends one request to `url` (the target's own, or one below it) under the target's limits.
    /// `body` is sent as JSON. An HTTP error status is an answer, not a failure.
    pub async fn send(
        &self,
        _target: &HttpTarget,
        _method: Method,
        _url: &str,
        _headers: &[(&str, &str)],
        _body: Option<String>,
    ) -> Result<Answer, Failure> {
        unimplemented!()
    }
}
