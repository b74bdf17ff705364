//! How does a signal go around a layer?
//!
//! He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (2015), arXiv:1512.03385.

use wengert::Tensor;
use wengert_derive::Tree;

use super::Layer;
use crate::Pass;

/// `x + inner(x)`, where the inner layer keeps the shape.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, Tape};
/// use wengert_nn::{Layer, Pass, Relu, Residual};
/// let tape = Tape::new();
/// let x = tape.leaf(&Array::from([-1.0, 2.0]));
/// assert_eq!(Residual { inner: Relu }.forward(x, &Pass::eval()).value(), Array::from([-1.0, 4.0]));
/// ```
#[derive(Clone, Debug, PartialEq, Tree)]
pub struct Residual<M> {
    /// What is added to the input.
    #[tree(flatten)]
    pub inner: M,
}

impl<'t, M: Layer<'t>> Layer<'t> for Residual<M> {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, pass: &Pass<'t>) -> Tensor<'t> {
        x + self.inner.forward(x, pass)
    }
}
