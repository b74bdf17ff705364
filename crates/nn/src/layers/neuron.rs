//! What does one unit compute?
//!
//! McCulloch and Pitts, "A logical calculus of the ideas immanent in nervous activity" (1943), doi:10.1007/BF02478259.

use wengert::{Array, DType, Tensor};
use wengert_derive::Tree;

use super::{Activation, Layer};
use crate::{Init, Pass};

/// `y = f(x · w + b)`: `[.., in] -> [..]`.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, Tape};
/// use wengert_nn::{Bind, Layer, Neuron, Pass, Relu};
/// let unit = Neuron { weight: Array::from([0.1, 0.3, 0.5]), bias: Array::from(0.1), activation: Relu };
/// let tape = Tape::new();
/// let y = unit.on(&tape).forward(tape.constant(&Array::from([0.5, 0.1, 0.2])), &Pass::eval());
/// assert!((y.item() - 0.28).abs() < 1e-15);
/// ```
#[derive(Clone, Debug, PartialEq, Tree)]
pub struct Neuron<P = Array> {
    /// `[in]`.
    pub weight: P,
    /// `[]`.
    pub bias: P,
    /// The function `f`.
    pub activation: Activation,
}

impl Neuron {
    /// With weights as [`Init::glorot_uniform`] draws them for this activation and bias 0; `f32`.
    #[track_caller]
    pub fn new(inputs: usize, activation: Activation, seed: u64) -> Self {
        let weight = Init::glorot_uniform(activation).array(DType::F32, [inputs], seed);
        Neuron { weight, bias: Array::zeros(DType::F32, ()), activation }
    }
}

impl<'t> Layer<'t> for Neuron<Tensor<'t>> {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, _: &Pass<'t>) -> Tensor<'t> {
        self.activation.apply(x.matmul(self.weight) + self.bias)
    }
}
