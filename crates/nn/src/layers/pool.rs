//! How are images made smaller, and into vectors?

use wengert::{Pair, PoolOptions, Tensor};
use wengert_derive::Tree;

use super::Layer;
use crate::Pass;

/// The largest element of each window of images: `[n, c, h, w] -> [n, c, oh, ow]`, as `torch.nn.MaxPool2d`.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, PoolOptions, Tape};
/// use wengert_nn::{AvgPool2d, Layer, MaxPool2d, Pass};
/// let tape = Tape::new();
/// let x = tape.leaf(&Array::from([[[[1.0, 2.0], [4.0, 5.0]]]]));
/// assert_eq!(MaxPool2d::new(2).forward(x, &Pass::eval()).value(), Array::from([[[[5.0]]]]));
/// assert_eq!(AvgPool2d(PoolOptions::new([1, 2]).stride(1)).forward(x, &Pass::eval()).value(), Array::from([[[[1.5], [4.5]]]]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Tree)]
pub struct MaxPool2d(
    /// The window.
    pub PoolOptions,
);

impl MaxPool2d {
    /// Windows of this size, side by side.
    pub fn new(size: impl Pair) -> Self {
        MaxPool2d(PoolOptions::new(size))
    }
}

impl<'t> Layer<'t> for MaxPool2d {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, _: &Pass<'t>) -> Tensor<'t> {
        x.max_pool2d(self.0)
    }
}

/// The mean of each window of images, as `torch.nn.AvgPool2d`; see [`MaxPool2d`].
#[derive(Clone, Copy, Debug, PartialEq, Tree)]
pub struct AvgPool2d(
    /// The window.
    pub PoolOptions,
);

impl AvgPool2d {
    /// Windows of this size, side by side.
    pub fn new(size: impl Pair) -> Self {
        AvgPool2d(PoolOptions::new(size))
    }
}

impl<'t> Layer<'t> for AvgPool2d {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, _: &Pass<'t>) -> Tensor<'t> {
        x.avg_pool2d(self.0)
    }
}

/// A vector for each element of a batch: `[n, ..] -> [n, size]`, as `torch.nn.Flatten`.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, DType, Tape};
/// use wengert_nn::{Flatten, Layer, Pass};
/// let tape = Tape::new();
/// let images = tape.constant(&Array::zeros(DType::F32, [5, 4, 3, 3]));
/// assert_eq!(Flatten.forward(images, &Pass::eval()).shape(), [5, 36]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Tree)]
pub struct Flatten;

impl<'t> Layer<'t> for Flatten {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, _: &Pass<'t>) -> Tensor<'t> {
        let shape = x.shape();
        let Some((&n, each)) = shape.split_first() else { panic!("Flatten: expected a batch, got {x:?}") };
        x.reshape([n, each.iter().product()])
    }
}
