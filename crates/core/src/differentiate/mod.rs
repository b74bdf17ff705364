//! Differentiate: nodes become more nodes on the same tape.

mod scratch;
mod unreached;
mod vjp;

pub(crate) use scratch::Scratch;
pub use unreached::{Cut, Unreached};
pub use vjp::Targets;
