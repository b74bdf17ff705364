//! What is reported when a value cannot be computed from the data it met?

/// An evaluation that met data it can't compute with: an index out of range, a user's function that failed, a NaN under the trap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{op} at {location}: {reason}")]
pub struct EvalError {
    /// The op that failed.
    pub op: &'static str,
    /// Where it was recorded: file, line and column.
    pub location: String,
    /// What it met.
    pub reason: String,
}
