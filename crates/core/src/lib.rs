//! Wengert's engine: record → differentiate → plan → execute.

// The words that every stage shares.
mod class;
mod dtype;
mod program;
mod shape;
mod tree;
mod window;
// The stages, in the order in which data flows.
pub mod memory;
mod record;
pub mod ops;
mod differentiate;
pub mod check;
mod plan;
mod execute;
mod read;

pub use class::{Attrs, Convolution, Fold, Generator, Index, Instr, KernelClass, Pool, Scan, View};
pub use differentiate::{Cut, Gradients, Targets, Unreached, evaluate, grad, hessian, jacobian, value_and_grad, value_and_grad_at, vmap};
pub use dtype::{DType, Element, Scalar};
pub use execute::threads::{set_threads, threads};
pub use ops::composed::Mask;
pub use ops::place::{concat, stack};
pub use ops::random::IntoKey;
pub use ops::sliding::{ConvOptions, Pair, PoolOptions};
pub use ops::{Batch, BatchCx, Cx, Dense, Function, Meta, Mismatch, OpDef, OutShape, Rule, Sample, Spec, Tangents, Typed};
pub use plan::{
    cost::Cost,
    text::{PlanText, PlannedKernel},
};
pub use program::{Expr, Pointwise, Step};
pub use read::{Destination, EvalError, KernelProfile, Piece, Profile, Program, ProgramError, Roof, Spent, Stats};
pub use record::{Array, ArrayError, By, Ellipsis, Given, Indices, IntoIndex, IntoOperand, Key, NewAxis, Pick, Tape, Tensor};
pub use shape::{IntoShape, MAX_RANK, Shape};
pub use tree::{Leaf, Path, PathMismatch, Role, Tree};
pub use window::Window;
