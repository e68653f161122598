//! What an answer of a health endpoint means.
//!
//! Decides the status of one answer by its content or by the user's `expect`. Never touches the
//! network, and never calls an answer healthy that it could not read.

/// A compiled `expect`: a CEL expression over `status`, `headers`, `body`, `latency_ms`.
#[derive(Clone, Debug)]
pub struct Expect {
    pub source: String,
}

impl Expect {
    /// Compiles `source`, or says what is wrong with it.
    pub fn compile(source: &str) -> Result<Expect, String> {
        Ok(Expect { source: source.to_owned() })
    }
}
