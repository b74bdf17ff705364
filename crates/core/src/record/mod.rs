//! Record: method calls become nodes of an arena.

mod array;
pub use array::{Array, ArrayError};
