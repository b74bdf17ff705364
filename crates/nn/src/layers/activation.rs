//! Which functions follow a linear layer, and how much do they shrink a signal?

use wengert::Tensor;
use wengert_derive::Tree;

use super::Layer;
use crate::Pass;

/// A function applied to each element (or, for softmax, along an axis), as a layer without parameters.
///
/// The variants are exported by name, so a model reads `(Linear::new(64, 32, 1), Relu, Linear::new(32, 10, 2))`.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, Tape};
/// use wengert_nn::{LeakyRelu, Layer, Pass, Step};
/// let tape = Tape::new();
/// let x = tape.leaf(&Array::from([-2.0, 0.0, 3.0]));
/// assert_eq!(LeakyRelu(0.1).forward(x, &Pass::eval()).value(), Array::from([-0.2, 0.0, 3.0]));
/// assert_eq!(Step.forward(x, &Pass::eval()).value(), Array::from([-1.0, 1.0, 1.0]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Tree)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(x, 0)`; the derivative at 0 is 0.
    Relu,
    /// `x` above 0, else `slope x`; the derivative at 0 is the slope.
    LeakyRelu(
        /// The slope.
        f64,
    ),
    /// `x` above 0, else `alpha (e^x - 1)`.
    Elu(
        /// The factor below 0.
        f64,
    ),
    /// `x Φ(x)` by its formula in `tanh`.
    Gelu,
    /// `ln(1 + e^x)`.
    Softplus,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `e^x` divided by its sum along an axis; −1 is the last.
    Softmax(
        /// The axis.
        isize,
    ),
    /// The threshold unit: 1 where `x >= 0`, −1 below. It is flat almost everywhere, so no gradient passes: [`grads`](crate::grads)
    /// panics and names it, [`grads_or_zero`](crate::grads_or_zero) gives zeros.
    Step,
}

impl Activation {
    /// The function itself.
    #[track_caller]
    pub fn apply(self, x: Tensor<'_>) -> Tensor<'_> {
        match self {
            Activation::Identity => x,
            Activation::Relu => x.relu(),
            Activation::LeakyRelu(slope) => x.leaky_relu(slope),
            Activation::Elu(alpha) => x.elu(alpha),
            Activation::Gelu => x.gelu(),
            Activation::Softplus => x.softplus(),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => x.sigmoid(),
            Activation::Softmax(axis) => x.softmax(axis),
            Activation::Step => x.step(),
        }
    }

    /// By how much weights in front of it are enlarged, so that signals keep their size: the values of `torch.nn.init.calculate_gain`,
    /// and for GELU that of ReLU.
    pub fn gain(self) -> f64 {
        match self {
            Activation::Relu | Activation::Gelu => 2f64.sqrt(),
            Activation::LeakyRelu(slope) => (2.0 / (1.0 + slope * slope)).sqrt(),
            Activation::Tanh => 5.0 / 3.0,
            _ => 1.0,
        }
    }
}

impl<'t> Layer<'t> for Activation {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, _: &Pass<'t>) -> Tensor<'t> {
        self.apply(x)
    }
}

/// Any function of a tensor as a layer without parameters: `Apply(|x| x.sin())`.
#[derive(Clone, Copy, Debug, Tree)]
pub struct Apply(
    /// The function.
    pub for<'t> fn(Tensor<'t>) -> Tensor<'t>,
);

impl<'t> Layer<'t> for Apply {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, _: &Pass<'t>) -> Tensor<'t> {
        (self.0)(x)
    }
}
