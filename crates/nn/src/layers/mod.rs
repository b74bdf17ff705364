//! What is a layer? A tree with a forward function.

mod activation;
mod dropout;
mod linear;
mod neuron;
mod residual;
mod sequence;

use wengert::Tensor;

use crate::Pass;
pub use activation::{Activation, Apply};
pub use dropout::Dropout;
pub use linear::Linear;
pub use neuron::Neuron;
pub use residual::Residual;

/// Something that maps a tensor to a tensor.
///
/// A tuple of layers, a `Vec` and an array of them are layers that run one after the other; `None` is the identity.
/// A generic function over models asks for `M: Bind` and `for<'t> M::With<Tensor<'t>>: Layer<'t>`.
pub trait Layer<'t> {
    /// The output for an input, in the mode of `pass`.
    fn forward(&self, x: Tensor<'t>, pass: &Pass<'t>) -> Tensor<'t>;
}
