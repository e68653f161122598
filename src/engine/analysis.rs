//! Is the canary bad? The verdict and its parameters.

/// How sure a verdict must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Greatest chance of a false FAIL in a release, over all its signals.
    pub alpha: f64,
    /// Greatest chance of a false PASS.
    pub beta: f64,
    /// A canary worse by less than this share is not called bad.
    pub tol: f64,
    /// A canary as much worse as this must never pass: errors, slow requests.
    pub harm_errors: f64,
    pub harm_slow: f64,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { alpha: 0.01, beta: 0.05, tol: 0.1, harm_errors: 2.0, harm_slow: 1.5 }
    }
}
