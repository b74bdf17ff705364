//! Differentiate: nodes become more nodes on the same tape.

mod backward;
mod batch;
mod higher;
mod jvp;
mod replay;
mod scratch;
mod transform;
mod unreached;
mod vjp;

pub use backward::Gradients;
pub(crate) use scratch::Scratch;
pub use transform::{evaluate, grad, hessian, jacobian, value_and_grad, value_and_grad_at, vmap};
pub use unreached::{Cut, Unreached};
pub use vjp::Targets;
pub(crate) use {batch::batch, jvp::push, vjp::pull};
