//! Plan: the nodes that a result needs become kernels over one arena.

pub mod kernel;
