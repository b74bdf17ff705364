//! Reading values: the way from a recorded tensor through plan and execution to an array, and back into the tape's table.

mod compile;
mod eager;
mod error;
mod eval;
mod look;
mod profile;
mod program;
mod reference;
mod rounds;
mod stats;
mod update;

pub(crate) use eager::configure;
pub use error::EvalError;
pub(crate) use eval::Reader;
pub use profile::{KernelProfile, Piece, Profile, Roof, Spent};
pub use program::{Program, ProgramError};
pub use stats::Stats;
pub use update::Destination;
