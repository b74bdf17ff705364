//! Execute: a plan and its leaf buffers become values.

pub mod frame;
pub mod kernels;
pub mod threads;
