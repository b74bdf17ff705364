//! Record: method calls become nodes of an arena.

mod array;
mod leaf;
pub(crate) mod node;
mod operators;
pub(crate) mod report;
mod tape;
mod tensor;

pub use array::{Array, ArrayError};
pub(crate) use leaf::{LEAF, LeafKind};
pub use operators::{Given, IntoOperand};
pub(crate) use operators::{binary, broadcast, promote};
pub use tape::Tape;
pub(crate) use tape::{Record, Slot, Value, Walk};
pub use tensor::Tensor;
