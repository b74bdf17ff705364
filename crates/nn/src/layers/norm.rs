//! How are a layer's signals kept at one size?
//!
//! Ba, Kiros and Hinton, "Layer normalization" (2016), arXiv:1607.06450.

use wengert::{Array, DType, IntoShape, Tensor};
use wengert_derive::Tree;

use super::Layer;
use crate::Pass;

/// Mean 0 and variance 1 over the last axes, then a learned gain and shift of each element, as `torch.nn.LayerNorm`.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, Tape};
/// use wengert_nn::{Bind, Layer, LayerNorm, Pass};
/// let tape = Tape::new();
/// let x = tape.constant(&Array::from([[1.0f32, 5.0], [-2.0, -4.0]]));
/// let y = LayerNorm::new(2).on(&tape).forward(x, &Pass::eval());
/// assert!(y.value().all_close(&Array::from([[-1.0f32, 1.0], [1.0, -1.0]]), 1e-4, 0.0));
/// ```
#[derive(Clone, Debug, PartialEq, Tree)]
pub struct LayerNorm<P = Array> {
    /// Of the shape of the last axes.
    pub weight: P,
    /// Likewise.
    pub bias: P,
    /// Added to the variance.
    pub eps: f64,
}

impl LayerNorm {
    /// For last axes of this shape, a number where it is one axis. Gain 1, shift 0, `eps` 1e-5; `f32`.
    #[track_caller]
    pub fn new(shape: impl IntoShape) -> Self {
        let shape = shape.into_shape();
        LayerNorm { weight: Array::ones(DType::F32, shape), bias: Array::zeros(DType::F32, shape), eps: 1e-5 }
    }

    /// With another `eps`.
    pub fn eps(self, eps: f64) -> Self {
        LayerNorm { eps, ..self }
    }
}

impl<'t> Layer<'t> for LayerNorm<Tensor<'t>> {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, _: &Pass<'t>) -> Tensor<'t> {
        let last = self.weight.shape();
        if !x.shape().ends_with(&last) {
            panic!("LayerNorm: expected last axes of lengths {last:?}, got {x:?}");
        }
        let axes: Vec<isize> = (1..=last.rank() as isize).map(|axis| -axis).collect();
        x.layer_norm(&axes, self.eps) * self.weight + self.bias
    }
}
