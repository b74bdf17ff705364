//! Execute: a plan and its leaf buffers become values.

pub mod frame;
pub mod kernels;
pub(crate) mod run;
pub mod threads;
