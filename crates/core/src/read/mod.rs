//! Reading values: the way from a recorded tensor through plan and execution to an array, and back into the tape's table.

mod eager;
mod error;
mod eval;
mod reference;
mod stats;
mod update;

pub(crate) use eager::configure;
pub use error::EvalError;
pub(crate) use eval::Reader;
pub use stats::Stats;
pub use update::Destination;
