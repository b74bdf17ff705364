//! How does a layer look for the same patterns everywhere in an image?
//!
//! LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition" (1998), doi:10.1109/5.726791.

use wengert::{Array, ConvOptions, DType, Pair, Tensor};
use wengert_derive::Tree;

use super::{Activation, Layer};
use crate::{Init, Pass};

/// Convolution of images with learned weights: `[n, c, h, w] -> [n, o, oh, ow]`, as `torch.nn.Conv2d`.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, ConvOptions, DType, Tape};
/// use wengert_nn::{Bind, Conv2d, Flatten, Layer, Linear, MaxPool2d, Pass, Relu};
/// let net = (Conv2d::with_options(1, 4, 3, ConvOptions::new().padding(1), 1), Relu, MaxPool2d::new(2), Flatten, Linear::new(4 * 3 * 3, 10, 2));
/// let tape = Tape::new();
/// let images = tape.constant(&Array::zeros(DType::F32, [5, 1, 6, 6]));
/// assert_eq!(net.on(&tape).forward(images, &Pass::eval()).shape(), [5, 10]);
/// ```
#[derive(Clone, Debug, PartialEq, Tree)]
pub struct Conv2d<P = Array> {
    /// `[out, in / groups, height, width]`.
    pub weight: P,
    /// `[out]`.
    pub bias: Option<P>,
    /// Stride, padding, dilation, groups.
    pub options: ConvOptions,
}

impl Conv2d {
    /// From so many channels to so many, by windows of a size. Weights and bias are drawn uniformly within `±1/√(elements of a
    /// window over its channels)`, as PyTorch does; `f32`.
    ///
    /// Give every layer of a model a seed of its own: layers of one shape and seed are equal.
    ///
    /// # Panics
    /// When the sizes are too large for a shape.
    #[track_caller]
    pub fn new(inputs: usize, outputs: usize, window: impl Pair, seed: u64) -> Self {
        Self::with_options(inputs, outputs, window, ConvOptions::new(), seed)
    }

    /// The same with a stride, padding, dilation or groups.
    ///
    /// # Panics
    /// As there, and when the groups do not divide the channels.
    #[track_caller]
    pub fn with_options(inputs: usize, outputs: usize, window: impl Pair, options: ConvOptions, seed: u64) -> Self {
        let ([height, width], groups) = (window.pair(), options.groups);
        if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            panic!("Conv2d: expected groups that divide the channels, got {groups} for {inputs} and {outputs}");
        }
        let shape = [outputs, inputs / groups, height, width];
        let weight = Init::he_uniform(Activation::LeakyRelu(5f64.sqrt())).array(DType::F32, shape, seed);
        let connections = shape[1..].iter().product::<usize>();
        let bound = if connections == 0 { 0.0 } else { 1.0 / (connections as f64).sqrt() };
        let bias = Init::Uniform { low: -bound, high: bound }.array(DType::F32, [shape[0]], seed ^ super::BIAS);
        Conv2d { weight, bias: Some(bias), options }
    }

    /// Without a bias.
    pub fn without_bias(self) -> Self {
        Conv2d { bias: None, ..self }
    }
}

impl<'t> Layer<'t> for Conv2d<Tensor<'t>> {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, _: &Pass<'t>) -> Tensor<'t> {
        let y = x.conv2d(self.weight, self.options);
        match self.bias {
            Some(bias) => y + bias.reshape([bias.size(), 1, 1]),
            None => y,
        }
    }
}
