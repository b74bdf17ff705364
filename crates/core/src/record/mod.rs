//! Record: method calls become nodes of an arena.

mod array;
mod index;
mod key;
mod leaf;
mod list;
pub(crate) mod node;
mod operators;
pub(crate) mod report;
mod tape;
mod tensor;
mod trace;
mod values;

pub use array::{Array, ArrayError};
pub use index::{By, Ellipsis, Indices, IntoIndex, NewAxis, Pick};
pub use key::Key;
pub(crate) use leaf::{LEAF, LeafKind};
pub(crate) use list::{Record, Walk};
pub use operators::{Given, IntoOperand};
pub(crate) use operators::{binary, broadcast, promote};
pub use tape::Tape;
pub use tensor::Tensor;
pub(crate) use trace::Pullback;
pub(crate) use values::Value;
