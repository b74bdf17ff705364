//! Attention: each query's mean of values, weighed by how well the keys match it.

use super::Composed;
use crate::{Array, DType, Dense, Tensor, ops::Sample};

/// The functions of this file.
pub(super) static ALL: &[Composed] = &[
    Composed {
        name: "scaled_dot_product_attention(Mask::None)",
        run: |x| x[0].scaled_dot_product_attention(x[1], x[2], Mask::None),
        value: |x| attend(x, |_, _| true),
        samples,
    },
    Composed {
        name: "scaled_dot_product_attention(Mask::Causal)",
        run: |x| x[0].scaled_dot_product_attention(x[1], x[2], Mask::Causal),
        value: |x| attend(x, |query, key| key <= query),
        samples,
    },
    Composed {
        name: "scaled_dot_product_attention(Mask::Where)",
        run: |x| {
            let shape = [x[0].shape()[x[0].rank() - 2], x[1].shape()[x[1].rank() - 2]];
            let takes_part = Array::from_fn(shape, |i| f64::from(u8::from(!(i[0] + i[1]).is_multiple_of(2) || i[1] == 0)));
            x[0].scaled_dot_product_attention(x[1], x[2], Mask::Where(x[0].tape().constant(&takes_part.cast(DType::Bool))))
        },
        value: |x| attend(x, |query, key| !(query + key).is_multiple_of(2) || key == 0),
        samples,
    },
];

fn samples() -> Vec<Sample> {
    let u = |shape: &[usize], seed| Array::uniform(DType::F64, shape, -1.5, 1.5, seed);
    vec![
        Sample::new([u(&[3, 2], 1), u(&[3, 2], 2), u(&[3, 2], 3)]),
        Sample::new([u(&[2, 2, 4], 4), u(&[2, 3, 4], 5), u(&[2, 3, 1], 6)]),
        Sample::new([u(&[1, 2, 2, 1], 7), u(&[1, 2, 2, 1], 8), u(&[1, 2, 2, 3], 9)]),
        Sample::new([u(&[0, 2, 3], 10), u(&[0, 2, 3], 11), u(&[0, 2, 3], 12)]),
    ]
}

/// For each query the exponentials of its products with the keys that take part, and the mean of values weighed by them.
fn attend(x: &[Dense], takes_part: impl Fn(usize, usize) -> bool) -> Dense {
    let rank = x[0].dims.len();
    let (keys, width) = (x[1].dims[rank - 2], x[0].dims[rank - 1]);
    let mut dims = x[0].dims.clone();
    dims[rank - 1] = x[2].dims[rank - 1];
    Dense::from_fn(&dims, |at| {
        let element = |x: &Dense, row: usize, col: usize| x.at(&[&at[..rank - 2], &[row, col]].concat());
        let weight = |key: usize| {
            let product: f64 = (0..width).map(|i| element(&x[0], at[rank - 2], i) * element(&x[1], key, i)).sum();
            if takes_part(at[rank - 2], key) { (product / (width as f64).sqrt()).exp() } else { 0.0 }
        };
        let total: f64 = (0..keys).map(weight).sum();
        (0..keys).map(|key| weight(key) * element(&x[2], key, at[rank - 1])).sum::<f64>() / total
    })
}

/// Which keys a query of an attention looks at.
#[derive(Clone, Copy, Debug)]
pub enum Mask<'t> {
    /// All.
    None,
    /// Those that are not behind it: query `i` looks at the keys `0..=i`.
    Causal,
    /// Those where a tensor of truth values, of a shape that broadcasts to `[.., queries, keys]`, is true.
    Where(Tensor<'t>),
}

impl<'t> Tensor<'t> {
    /// `softmax(q kᵀ / √d) v` of queries `[.., l, d]`, keys `[.., s, d]` and values `[.., s, e]`: `[.., l, e]`. A query that looks at no
    /// key gives NaN.
    ///
    /// Vaswani and others 2017, arXiv:1706.03762.
    ///
    /// # Panics
    /// When shapes do not fit, and when a mask is not of truth values.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Mask, Tape};
    /// let tape = Tape::new();
    /// let q = tape.leaf(&Array::from([[0.0], [0.0]]));
    /// let v = tape.leaf(&Array::from([[1.0, 2.0], [3.0, 6.0]]));
    /// assert_eq!(q.scaled_dot_product_attention(q, v, Mask::None).value(), Array::from([[2.0, 4.0], [2.0, 4.0]]));
    /// assert_eq!(q.scaled_dot_product_attention(q, v, Mask::Causal).value(), Array::from([[1.0, 2.0], [2.0, 4.0]]));
    /// ```
    #[track_caller]
    pub fn scaled_dot_product_attention(self, keys: Tensor<'t>, values: Tensor<'t>, mask: Mask<'t>) -> Tensor<'t> {
        let width = self.shape().last().copied().unwrap_or_default();
        let scores = self.matmul(keys.transpose(-1, -2)) * (1.0 / (width as f64).sqrt());
        let scores = match mask {
            Mask::None => scores,
            Mask::Where(takes_part) => takes_part.select(scores, f64::NEG_INFINITY),
            Mask::Causal => {
                let (shape, tape) = (scores.shape(), self.tape);
                let along = |axis: usize| tape.arange(DType::I64, shape[axis]);
                let (query, key) = (along(shape.rank() - 2).unsqueeze(-1), along(shape.rank() - 1));
                query.ge(key).select(scores, f64::NEG_INFINITY)
            }
        };
        // Normalised behind the product, whose rows are shorter than those of the weights; so there is one matrix of weights to keep.
        let weights = scores.weights(-1);
        weights.matmul(values) * (1.0 / weights.sum_keep(&[-1]))
    }
}
