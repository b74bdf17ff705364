//! What is a layer? A tree with a forward function.

mod activation;
mod attention;
mod conv;
mod dropout;
mod embedding;
mod linear;
mod lstm;
mod neuron;
mod norm;
mod pool;
mod residual;
mod sequence;

use wengert::Tensor;

use crate::Pass;
pub use activation::{Activation, Apply};
pub use attention::{MultiHeadAttention, TransformerBlock};
pub use conv::Conv2d;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use linear::Linear;
pub use lstm::Lstm;
pub use neuron::Neuron;
pub use norm::LayerNorm;
pub use pool::{AvgPool2d, Flatten, MaxPool2d};
pub use residual::Residual;

/// Keeps the draws of a bias apart from those of the weights.
const BIAS: u64 = 0x6269_6173;

/// Something that maps a tensor to a tensor.
///
/// A tuple of layers, a `Vec` and an array of them are layers that run one after the other; `None` is the identity.
/// A generic function over models asks for `M: Bind` and `for<'t> M::With<Tensor<'t>>: Layer<'t>`.
pub trait Layer<'t> {
    /// The output for an input, in the mode of `pass`.
    fn forward(&self, x: Tensor<'t>, pass: &Pass<'t>) -> Tensor<'t>;
}
