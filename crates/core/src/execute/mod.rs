//! Execute: a plan and its leaf buffers become values.

mod chain;
pub mod frame;
pub mod kernels;
pub(crate) mod run;
pub mod threads;
