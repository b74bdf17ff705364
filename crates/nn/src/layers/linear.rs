//! How does a layer of units combine all its inputs?

use wengert::{Array, DType, Tensor};
use wengert_derive::Tree;

use super::{Activation, Layer};
use crate::{Init, Pass};

/// `y = x Wᵀ + b`: `[.., in] -> [.., out]`, as `torch.nn.Linear`.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{DType, Tree};
/// use wengert_nn::{Bind, Init, Linear, Relu};
/// let layer = Linear::new(64, 10, 7);
/// assert_eq!((&layer.weight.shape()[..], layer.paths()), (&[10, 64][..], vec!["weight".into(), "bias".into()]));
/// let layer = Linear::new(64, 10, 7).weights(Init::he_normal(Relu), 8).without_bias().cast(DType::F64);
/// assert_eq!(layer.paths(), ["weight"]);
/// ```
#[derive(Clone, Debug, PartialEq, Tree)]
pub struct Linear<P = Array> {
    /// `[out, in]`.
    pub weight: P,
    /// `[out]`.
    pub bias: Option<P>,
}

impl Linear {
    /// With weights and bias drawn uniformly within `±1/√inputs`, as PyTorch does; `f32` ([`cast`](crate::Bind::cast) gives `f64`).
    ///
    /// Give every layer of a model a seed of its own: layers of one shape and seed are equal.
    ///
    /// # Panics
    /// When the sizes are too large for a shape.
    #[track_caller]
    pub fn new(inputs: usize, outputs: usize, seed: u64) -> Self {
        // He et al. with the slope √5, which makes the bound that of the bias.
        let weight = Init::he_uniform(Activation::LeakyRelu(5f64.sqrt())).array(DType::F32, [outputs, inputs], seed);
        let bound = if inputs == 0 { 0.0 } else { 1.0 / (inputs as f64).sqrt() };
        let bias = Init::Uniform { low: -bound, high: bound }.array(DType::F32, [outputs], seed ^ super::BIAS);
        Linear { weight, bias: Some(bias) }
    }

    /// With other initial weights.
    #[track_caller]
    pub fn weights(self, init: Init, seed: u64) -> Self {
        Linear { weight: init.array(self.weight.dtype(), *self.weight.shape(), seed), ..self }
    }

    /// With another initial bias, most often [`Init::ZEROS`].
    #[track_caller]
    pub fn biases(self, init: Init, seed: u64) -> Self {
        let outputs = self.weight.shape()[0];
        Linear { bias: Some(init.array(self.weight.dtype(), [outputs], seed)), ..self }
    }

    /// Without a bias.
    pub fn without_bias(self) -> Self {
        Linear { bias: None, ..self }
    }
}

impl<'t> Layer<'t> for Linear<Tensor<'t>> {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, _: &Pass<'t>) -> Tensor<'t> {
        let y = x.matmul(self.weight.t());
        match self.bias {
            Some(bias) => y + bias,
            None => y,
        }
    }
}
