//! How do words, or other members of a set, become vectors?

use wengert::{Array, DType, Tensor};
use wengert_derive::Tree;

use super::Layer;
use crate::{Init, Pass};

/// A learned vector for each number below a count: `[..]` of `i64` gives `[.., width]`, as `torch.nn.Embedding`.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, Tape};
/// use wengert_nn::{Bind, Embedding, Layer, Pass};
/// let table = Embedding { weight: Array::from([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]) };
/// let tape = Tape::new();
/// let words = tape.constant(&Array::from([[2i64, 0]]));
/// assert_eq!(table.on(&tape).forward(words, &Pass::eval()).value(), Array::from([[[5.0, 6.0], [1.0, 2.0]]]));
/// ```
#[derive(Clone, Debug, PartialEq, Tree)]
pub struct Embedding<P = Array> {
    /// `[count, width]`.
    pub weight: P,
}

impl Embedding {
    /// With standard normal numbers, as PyTorch draws them; `f32`.
    #[track_caller]
    pub fn new(count: usize, width: usize, seed: u64) -> Self {
        Embedding { weight: Init::Normal { mean: 0.0, std: 1.0 }.array(DType::F32, [count, width], seed) }
    }
}

impl<'t> Layer<'t> for Embedding<Tensor<'t>> {
    /// # Panics
    /// When the numbers are not `i64`. A number that is negative or too large fails when the value is read.
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, _: &Pass<'t>) -> Tensor<'t> {
        let mut shape = x.shape().to_vec();
        shape.push(self.weight.shape()[1]);
        self.weight.index_select(0, x.flatten()).reshape(shape)
    }
}
