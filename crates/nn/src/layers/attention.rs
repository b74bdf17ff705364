//! How does each element of a sequence look at the others?
//!
//! Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser and Polosukhin, "Attention is all you need" (2017), arXiv:1706.03762.

use wengert::{Array, DType, Mask, Tensor};
use wengert_derive::Tree;

use super::{Activation, Layer, LayerNorm, Linear};
use crate::{Init, Pass};

/// Attention of a sequence to itself, by several heads side by side: `[.., length, width] -> [.., length, width]`, as
/// `torch.nn.MultiheadAttention(batch_first=True)` of one tensor.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, DType, Tape, Tree};
/// use wengert_nn::{Bind, Layer, MultiHeadAttention, Pass};
/// let attention = MultiHeadAttention::new(8, 2, 1).causal();
/// assert_eq!(attention.paths(), ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]);
/// let tape = Tape::new();
/// let x = tape.constant(&Array::normal(DType::F32, [3, 5, 8], 0.0, 1.0, 2));
/// let y = attention.on(&tape).forward(x, &Pass::eval());
/// assert_eq!(y.shape(), [3, 5, 8]);
/// ```
#[derive(Clone, Debug, PartialEq, Tree)]
pub struct MultiHeadAttention<P = Array> {
    /// `[3 width, width]`: of the queries, the keys and the values.
    pub in_proj_weight: P,
    /// `[3 width]`.
    pub in_proj_bias: P,
    /// What the heads' results pass through.
    pub out_proj: Linear<P>,
    heads: usize,
    causal: bool,
}

impl MultiHeadAttention {
    /// For elements of a width, which the heads divide among them. Drawn as PyTorch does: Glorot uniform for the projections in front,
    /// biases 0; `f32`.
    ///
    /// # Panics
    /// When the number of heads does not divide the width.
    #[track_caller]
    pub fn new(width: usize, heads: usize, seed: u64) -> Self {
        if heads == 0 || !width.is_multiple_of(heads) {
            panic!("MultiHeadAttention::new: expected a number of heads that divides the width {width}, got {heads}");
        }
        let in_proj_weight = Init::glorot_uniform(Activation::Identity).array(DType::F32, [3 * width, width], seed);
        let out_proj = Linear::new(width, width, seed ^ super::BIAS).biases(Init::ZEROS, 0);
        MultiHeadAttention { in_proj_weight, in_proj_bias: Array::zeros(DType::F32, 3 * width), out_proj, heads, causal: false }
    }

    /// Each element looks only at itself and those before it.
    pub fn causal(self) -> Self {
        MultiHeadAttention { causal: true, ..self }
    }
}

impl<'t> MultiHeadAttention<Tensor<'t>> {
    /// Attention where a mask allows it; it broadcasts to `[.., heads, length, length]`.
    #[track_caller]
    pub fn attend(&self, x: Tensor<'t>, mask: Mask<'t>, pass: &Pass<'t>) -> Tensor<'t> {
        let shape = x.shape();
        let [.., length, width] = shape[..] else { panic!("MultiHeadAttention: expected sequences [.., length, width], got {x:?}") };
        let all = x.matmul(self.in_proj_weight.t()) + self.in_proj_bias;
        let outer = &shape[..shape.rank() - 2];
        let split = [outer, &[length, self.heads, width / self.heads]].concat();
        let part = |i: usize| all.narrow(-1, i * width, width).reshape(&split).transpose(-2, -3);
        let y = part(0).scaled_dot_product_attention(part(1), part(2), mask);
        self.out_proj.forward(y.transpose(-2, -3).reshape(shape), pass)
    }
}

impl<'t> Layer<'t> for MultiHeadAttention<Tensor<'t>> {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, pass: &Pass<'t>) -> Tensor<'t> {
        self.attend(x, if self.causal { Mask::Causal } else { Mask::None }, pass)
    }
}

/// A block of a transformer: attention, then two linear layers with GELU between, each around which the signal goes, and each behind
/// a normalisation. As `torch.nn.TransformerEncoderLayer(norm_first=True, batch_first=True)` without dropout and with the GELU that
/// [`Gelu`](crate::Gelu) is.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, DType, Tape};
/// use wengert_nn::{Bind, Layer, MultiHeadAttention, Pass, TransformerBlock};
/// let block = TransformerBlock::new(MultiHeadAttention::new(8, 2, 1), 32, 2);
/// let tape = Tape::new();
/// let x = tape.constant(&Array::normal(DType::F32, [3, 5, 8], 0.0, 1.0, 2));
/// assert_eq!(block.on(&tape).forward(x, &Pass::eval()).shape(), [3, 5, 8]);
/// ```
#[derive(Clone, Debug, PartialEq, Tree)]
pub struct TransformerBlock<P = Array> {
    /// In front of the attention.
    pub norm1: LayerNorm<P>,
    /// The attention.
    pub self_attn: MultiHeadAttention<P>,
    /// In front of the linear layers.
    pub norm2: LayerNorm<P>,
    /// To the hidden width.
    pub linear1: Linear<P>,
    /// And back.
    pub linear2: Linear<P>,
}

impl TransformerBlock {
    /// Around an attention, with so many hidden units; `f32`.
    #[track_caller]
    pub fn new(self_attn: MultiHeadAttention, hidden: usize, seed: u64) -> Self {
        let width = self_attn.in_proj_weight.shape()[1];
        TransformerBlock {
            norm1: LayerNorm::new(width),
            self_attn,
            norm2: LayerNorm::new(width),
            linear1: Linear::new(width, hidden, seed),
            linear2: Linear::new(hidden, width, seed ^ super::BIAS << 1),
        }
    }
}

impl<'t> Layer<'t> for TransformerBlock<Tensor<'t>> {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, pass: &Pass<'t>) -> Tensor<'t> {
        let x = x + self.self_attn.forward(self.norm1.forward(x, pass), pass);
        let hidden = self.linear1.forward(self.norm2.forward(x, pass), pass).gelu();
        x + self.linear2.forward(hidden, pass)
    }
}
