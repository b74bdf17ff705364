//! Execute: a plan and its inputs become results. `run` runs the kernels, `chain` those that run part by part, `threads` spreads work over
//! the cores, `frame` says where buffers lie, and `kernels` holds the loops.

mod chain;
pub mod frame;
pub mod kernels;
pub(crate) mod run;
pub mod threads;
