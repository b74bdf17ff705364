//! The sum over some axes: the transpose of `expand`.

use super::{Batch, Meta, OpDef, Rule, Sample, def::linear_jvp, reduce};
use crate::{Array, DType, Fold, KernelClass, Tensor};
use smallvec::{SmallVec, smallvec};

/// Attributes: the folded axes, ascending.
pub static OP: OpDef = OpDef {
    name: "sum",
    shape: |attrs, x: &[Meta<'_>]| reduce::shape(Fold::Sum, attrs, x),
    kernel: KernelClass::Reduce(Fold::Sum),
    value: |s, x| reduce::value(s, &x[0], |v| v.iter().sum()),
    jvp: Rule::By(linear_jvp),
    vjp: Rule::By(|cx, g| smallvec![g[0].map(|g| reduce::unfold(g, cx))]),
    batch: Batch::By(|b| reduce::batch(b, &OP)),
    samples: || {
        let u = |shape: &[usize]| Array::uniform(DType::F64, shape, -1.0, 1.0, 13);
        vec![
            Sample::new([u(&[2, 3])]).attrs([1]),
            Sample::new([u(&[2, 3])]).attrs([0]),
            Sample::new([u(&[2, 3, 2])]).attrs([0, 2]),
            Sample::new([u(&[2, 2, 3])]).attrs([1]),
            Sample::new([u(&[3])]).attrs([0]),
            Sample::new([u(&[0, 3])]).attrs([0]),
            Sample::new([u(&[])]),
        ]
    },
};

impl<'t> Tensor<'t> {
    /// Sum of all elements, a 0-d tensor. Truth values are counted as `i64`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 2.0], [3.0, 4.0]]));
    /// assert_eq!(x.sum().item(), 10.0);
    /// assert_eq!(x.sum_over(&[0]).value(), Array::from([4.0, 6.0]));
    /// ```
    #[track_caller]
    pub fn sum(self) -> Tensor<'t> {
        let all: SmallVec<[isize; 8]> = (0..self.rank() as isize).collect();
        self.sum_over(&all)
    }

    /// Sum over some axes, which are dropped; negative ones count from the end. No axis: unchanged.
    ///
    /// # Panics
    /// When an axis does not exist or is named twice.
    #[track_caller]
    pub fn sum_over(self, axes: &[isize]) -> Tensor<'t> {
        let x = if self.dtype() == DType::Bool { self.cast(DType::I64) } else { self };
        reduce::record(&OP, x, axes)
    }

    /// As [`sum_over`](Self::sum_over); the axes stay, with length 1.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[3.0, 4.0], [6.0, 8.0]]));
    /// assert_eq!(x.sum_keep(&[1]).value(), Array::from([[7.0], [14.0]]));
    /// ```
    #[track_caller]
    pub fn sum_keep(self, axes: &[isize]) -> Tensor<'t> {
        reduce::keep(self, axes, self.sum_over(axes))
    }
}
