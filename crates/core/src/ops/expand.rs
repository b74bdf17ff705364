//! A tensor repeated along new axes, and along axes of length 1: the transpose of `sum`.

use super::{Batch, Dense, Meta, Mismatch, OpDef, OutShape, Rule, Sample, Typed, def::linear_jvp};
use crate::{Array, DType, IntoShape, KernelClass, Shape, Tensor, View};
use smallvec::{SmallVec, smallvec};

/// Repeats a tensor. Attributes: for each input axis its output axis, then the lengths of the output.
pub static OP: OpDef = OpDef {
    name: "expand",
    shape,
    kernel: KernelClass::View(View::Expand),
    value: |s, x| {
        let axes = &s.attrs[..x[0].dims.len()];
        Dense::from_fn(s.shape, |i| {
            let from: Vec<usize> = axes.iter().zip(&x[0].dims).map(|(&a, &d)| if d == 1 { 0 } else { i[a as usize] }).collect();
            x[0].at(&from)
        })
    },
    jvp: Rule::By(linear_jvp),
    vjp: Rule::By(|cx, g| smallvec![g[0].map(|g| unexpand(g, &cx.x(0).shape(), &cx.attrs()))]),
    batch: Batch::By(|b| {
        let axes: Vec<usize> = b.attrs[..b.x[0].rank() - 1].iter().map(|&a| a as usize + 1).collect();
        let mut all = vec![0];
        all.extend(axes);
        let mut dims = vec![b.size];
        dims.extend_from_slice(&b.shape);
        b.x[0].expand_into(&all, &dims)
    }),
    samples: || {
        let u = |shape: &[usize]| Array::uniform(DType::F64, shape, -1.0, 1.0, 11);
        vec![
            Sample::new([u(&[3])]).attrs([1, 2, 3]),
            Sample::new([u(&[2, 1, 2])]).attrs([0, 2, 3, 2, 4, 3, 2]),
            Sample::new([u(&[])]).attrs([2, 2]),
            Sample::new([u(&[1])]).attrs([0, 0]),
        ]
    },
};

fn shape(attrs: &[i64], x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
    let rank = x[0].shape.rank();
    let (axes, dims) = attrs.split_at(rank.min(attrs.len()));
    let fits = |(&a, &d): (&i64, &usize)| dims.get(a as usize).is_some_and(|&to| to as usize == d || d == 1);
    if axes.len() != rank || !axes.is_sorted_by(|a, b| a < b) || !axes.iter().zip(x[0].shape.iter()).all(fits) {
        return Err(Mismatch::new(format!("a shape that broadcasts to {dims:?} along axes {axes:?}")));
    }
    let dims: SmallVec<[usize; 8]> = dims.iter().map(|&d| d as usize).collect();
    match Shape::new(&dims) {
        Some(shape) => Ok(Typed { dtype: x[0].dtype, shape: OutShape::New(shape) }),
        None => Err(Mismatch::new("a result that fits in memory")),
    }
}

/// Sums a cotangent over all that was repeated.
fn unexpand<'t>(g: Tensor<'t>, from: &Shape, attrs: &[i64]) -> Tensor<'t> {
    let to = g.shape();
    let axes = &attrs[..from.rank()];
    let kept = |axis: usize| axes.iter().zip(from.iter()).any(|(&a, &d)| a as usize == axis && d == to[axis]);
    let folded: SmallVec<[isize; 8]> = (0..to.rank()).filter(|&axis| !kept(axis)).map(|a| a as isize).collect();
    let sum = if folded.is_empty() { g } else { g.sum_over(&folded) };
    if sum.shape() == *from { sum } else { sum.reshape(*from) }
}

impl<'t> Tensor<'t> {
    /// Puts axis `i` at `axes[i]` (ascending) of a tensor of lengths `dims`, repeating it along all other axes and where its length is 1.
    #[track_caller]
    pub(crate) fn expand_into(self, axes: &[usize], dims: &[usize]) -> Tensor<'t> {
        let attrs: SmallVec<[i64; 16]> = axes.iter().chain(dims).map(|&d| d as i64).collect();
        self.tape.op(&OP, &[self.recorded()], &attrs)
    }

    /// Repeats to a larger shape by NumPy's rule, copying nothing.
    ///
    /// # Panics
    /// When the shapes do not broadcast.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let row = tape.leaf(&Array::from([1.0, 2.0]));
    /// assert_eq!(row.broadcast_to([2, 2]).value(), Array::from([[1.0, 2.0], [1.0, 2.0]]));
    /// ```
    #[track_caller]
    pub fn broadcast_to(self, shape: impl IntoShape) -> Tensor<'t> {
        let (from, to) = (self.shape(), shape.into_shape());
        if self.id.as_slot().is_some() {
            return self.filled(to);
        }
        if from == to {
            return self;
        }
        let lead = to.rank().saturating_sub(from.rank());
        let axes: SmallVec<[usize; 8]> = (0..from.rank()).map(|i| i + lead).collect();
        self.expand_into(&axes, &to)
    }

    /// As [`broadcast_to`](Self::broadcast_to): PyTorch's name.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0]));
    /// assert_eq!(x.expand([2, 2]).value(), Array::from([[1.0, 2.0], [1.0, 2.0]]));
    /// ```
    #[track_caller]
    pub fn expand(self, shape: impl IntoShape) -> Tensor<'t> {
        self.broadcast_to(shape)
    }
}
