//! Reverse-mode autodiff tensors in Rust: write eager, run compiled.

pub use wengert_core::*;
#[cfg(feature = "data")]
pub use wengert_data as data;
pub use wengert_derive::Tree;
pub use wengert_nn as nn;
