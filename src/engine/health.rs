//! What an answer of a health endpoint means.
//!
//! Decides the status of one answer by its content or by the user's `expect`, and when a change
//! counts ([`Judge`]). Never touches the network, and never calls an answer healthy that it could
//! not read. Contract: any bytes give a status and a message; nothing here fails or panics.

mod content;
mod expect;
mod figures;
pub mod json;
mod judge;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::types::{Status, Untrusted};

pub use self::expect::Expect;
pub use self::figures::{FIGURES_MAX, Figure, with_figures};
pub use self::judge::Judge;

/// Room for a sentence or two on the screen; the rest of an error page helps nobody there.
const MESSAGE_CHARS_MAX: usize = 240;

/// What came back from an endpoint; a command gives its exit code as `status`.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub status: u16,
    /// Names in lower case.
    pub headers: &'a BTreeMap<String, String>,
    pub body: &'a [u8],
    pub latency: Duration,
}

impl Answer<'_> {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The sender says that the body is JSON, whether or not it is.
    fn claims_json(&self) -> bool {
        let kind = self.header("content-type").split(';').next().unwrap_or("").trim();
        let kind = kind.to_ascii_lowercase();
        kind.ends_with("/json") || kind.ends_with("+json")
    }
}

/// The status of one answer, and why, in a few words; no words when all is well.
///
/// 1. With an `expect` only it decides: true is UP, false is DOWN, anything else UNKNOWN.
/// 2. Without a body the HTTP status decides: 2xx is UP, 4xx and 5xx DOWN, the rest UNKNOWN.
/// 3. A body of a known format decides; 4xx and 5xx make it DOWN unless it says MAINT.
/// 4. UP with a bad component is DEGRADED: the summary leaves out what the parts admit.
/// 5. A body that names no known status is UNKNOWN under 2xx, DOWN under 4xx and 5xx.
/// 6. JSON that cannot be read is treated as in 5, never as text.
#[must_use]
pub fn classify(answer: &Answer, expect: Option<&Expect>) -> (Status, Untrusted) {
    let (status, message) = match expect {
        Some(expect) => expect.judge(answer),
        None => content::judge(answer),
    };
    (status, Untrusted::new(&shortened(&message)))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
