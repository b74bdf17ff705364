#![doc = include_str!("../README.md")]

pub use wengert_core::*;
#[cfg(feature = "data")]
pub use wengert_data as data;
pub use wengert_derive::Tree;
pub use wengert_nn as nn;

/// The pages of `docs/`, so that their examples are run with the tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../docs/adding-an-op.md")]
    mod adding_an_op {}
    #[doc = include_str!("../docs/for-pytorch-users.md")]
    mod for_pytorch_users {}
}
