//! Matrix products.

use super::{Batch, BatchCx, Dense, Meta, Mismatch, OpDef, Rule, Sample, Typed};
use crate::{Array, DType, KernelClass, Tensor};
use smallvec::{SmallVec, smallvec};

/// `[batch.., m, k] @ [batch.., k, n] -> [batch.., m, n]`, equal batch axes.
pub static OP: OpDef = OpDef {
    name: "matmul",
    shape,
    kernel: KernelClass::Contract,
    value: |s, x| {
        let rank = s.shape.rank();
        let k = x[0].dims[rank - 1];
        Dense::from_fn(s.shape, |i| {
            let (mut a, mut b) = (i.to_vec(), i.to_vec());
            (0..k)
                .map(|l| {
                    (a[rank - 1], b[rank - 2]) = (l, l);
                    x[0].at(&a) * x[1].at(&b)
                })
                .sum()
        })
    },
    jvp: Rule::By(|cx, t| {
        let (a, b) = (t[0].map(|t| t.matmul(cx.x(1))), t[1].map(|t| cx.x(0).matmul(t)));
        smallvec![match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        }]
    }),
    vjp: Rule::By(|cx, g| {
        let Some(g) = g[0] else { return smallvec![None, None] };
        smallvec![cx.when_needed(0, || g.matmul(cx.x(1).t())), cx.when_needed(1, || cx.x(0).t().matmul(g))]
    }),
    batch: Batch::By(batch),
    samples: || {
        let u = |shape: &[usize], seed| Array::uniform(DType::F64, shape, -1.0, 1.0, seed);
        vec![
            Sample::new([u(&[2, 3], 1), u(&[3, 4], 2)]),
            Sample::new([u(&[2, 2, 3], 3), u(&[2, 3, 2], 4)]),
            Sample::new([u(&[1, 5], 5), u(&[5, 1], 6)]),
            Sample::new([u(&[2, 0], 7), u(&[0, 3], 8)]),
            Sample::new([u(&[0, 2], 9), u(&[2, 3], 10)]),
        ]
    },
};

fn shape(_: &[i64], x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
    let (a, b) = (x[0].shape, x[1].shape);
    let refuse = || Mismatch::new("[.., m, k] @ [.., k, n]");
    if a.rank() != b.rank() || a.rank() < 2 {
        return Err(refuse());
    }
    if x[0].dtype != x[1].dtype || x[0].dtype == DType::Bool {
        return Err(Mismatch::new("numbers of one dtype").hint("x.cast(DType::F32)"));
    }
    let rank = a.rank();
    if a[rank - 1] != b[rank - 2] || a[..rank - 2] != b[..rank - 2] {
        let fits = a[rank - 1] == b[rank - 1];
        return Err(if fits { refuse().hint("transpose the second operand: a.matmul(b.t())") } else { refuse() });
    }
    let mut dims: SmallVec<[usize; 8]> = a.iter().copied().collect();
    dims[rank - 1] = b[rank - 1];
    Typed::new(x[0].dtype, &dims)
}

/// A batched left operand against one matrix is a longer matrix; all else is one more batch axis.
fn batch<'t>(b: &BatchCx<'t>) -> Tensor<'t> {
    b.with_axis(0).matmul(b.with_axis(1))
}

impl<'t> Tensor<'t> {
    /// Matrix product, as NumPy's `@`: `[.., m, k] @ [.., k, n] -> [.., m, n]` with batch axes broadcast; a vector on the left is a row,
    /// on the right a column, and its axis is dropped from the result.
    ///
    /// # Panics
    /// When the inner lengths differ, the batch axes do not broadcast, or an operand is 0-d.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let a = tape.leaf(&Array::from([[1.0, 2.0], [3.0, 4.0]]));
    /// let v = tape.leaf(&Array::from([1.0, 1.0]));
    /// assert_eq!(a.matmul(v).value(), Array::from([3.0, 7.0]));
    /// ```
    #[track_caller]
    pub fn matmul(self, other: Tensor<'t>) -> Tensor<'t> {
        let (ra, rb) = (self.rank(), other.rank());
        if ra == 0 || rb == 0 {
            panic!("matmul: expected operands with axes, got {self:?} and {other:?}\n  hint: `a * b` multiplies by a scalar");
        }
        let a = if ra == 1 { self.unsqueeze(0) } else { self };
        let b = if rb == 1 { other.unsqueeze(1) } else { other };
        let (a, b) = batch_axes(a, b);
        let y = a.tape.op(&OP, &[a, b], &[]);
        let y = if rb == 1 { y.squeeze(-1) } else { y };
        if ra == 1 { y.squeeze(if rb == 1 { -1 } else { -2 }) } else { y }
    }

    /// Sum of the products of two vectors' elements: `[n], [n] -> []`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let (a, b) = (tape.leaf(&Array::from([1.0, 2.0])), tape.leaf(&Array::from([3.0, 4.0])));
    /// assert_eq!(a.dot(b).item(), 11.0);
    /// ```
    #[track_caller]
    pub fn dot(self, other: Tensor<'t>) -> Tensor<'t> {
        if self.rank() != 1 || other.rank() != 1 {
            panic!("dot: expected two vectors, got {self:?} and {other:?}");
        }
        self.matmul(other)
    }
}

/// Broadcasts the axes before the last two against each other.
#[track_caller]
fn batch_axes<'t>(a: Tensor<'t>, b: Tensor<'t>) -> (Tensor<'t>, Tensor<'t>) {
    let (sa, sb) = (a.shape(), b.shape());
    let (ba, bb) = (&sa[..sa.rank() - 2], &sb[..sb.rank() - 2]);
    if ba == bb {
        return (a, b);
    }
    let prefix = |dims| crate::Shape::new(dims).expect("part of a shape");
    let Some(batch) = prefix(ba).broadcast(&prefix(bb)) else { return (a, b) }; // the op refuses
    let whole = |s: &crate::Shape| -> SmallVec<[usize; 8]> { batch.iter().chain(&s[s.rank() - 2..]).copied().collect() };
    (a.broadcast_to(&whole(&sa)[..]), b.broadcast_to(&whole(&sb)[..]))
}
