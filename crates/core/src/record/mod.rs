//! Record: method calls become nodes of an arena.

mod array;
mod index;
mod key;
mod leaf;
pub(crate) mod node;
mod operators;
pub(crate) mod report;
mod tape;
mod tensor;

pub use array::{Array, ArrayError};
pub use index::{By, Ellipsis, Indices, IntoIndex, NewAxis, Pick};
pub use key::Key;
pub(crate) use leaf::{LEAF, LeafKind};
pub use operators::{Given, IntoOperand};
pub(crate) use operators::{binary, broadcast, promote};
pub use tape::Tape;
pub(crate) use tape::{Record, Value, Walk};
pub use tensor::Tensor;
