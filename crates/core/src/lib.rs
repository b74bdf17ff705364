//! Wengert's engine: record → differentiate → plan → execute.

// The words that every stage shares.
mod class;
mod dtype;
mod program;
mod shape;
// The stages, in the order in which data flows.
mod memory;
mod record;
// mod differentiate;
mod execute;
mod plan;

pub use class::{Attrs, Fold, Generator, Index, Instr, KernelClass, Scan, View};
pub use dtype::{DType, Element, Scalar};
pub use program::{Expr, Pointwise, Step};
pub use record::{Array, ArrayError};
pub use shape::{IntoShape, MAX_RANK, Shape};
