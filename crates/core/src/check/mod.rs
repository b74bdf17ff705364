//! Are the derivatives right? Checks for functions, models, recorded nodes and ops: yours by the same code as the engine's own.
//!
//! - [`gradcheck`], [`gradcheck_model`]: a function's first and second derivatives against differences;
//! - [`check_each_op`]: every recorded node's rule at its actual inputs, to find the one at fault;
//! - [`op`], [`check_op`]: everything an [`OpDef`](crate::OpDef) claims, at its samples.

mod batching;
mod case;
mod claim;
mod derivatives;
mod each;
mod function;
mod report;
mod slope;
mod values;

pub use case::{OpFault, check_op, composed, op};
pub use each::{NodeFault, check_each_op};
pub use function::{gradcheck, gradcheck_model};
pub use report::{Exempt, Fault, Passed, Report};
