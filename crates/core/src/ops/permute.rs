//! The same elements with the axes in another order.

use super::{Batch, Dense, Meta, Mismatch, OpDef, Rule, Sample, Typed, def::linear_jvp};
use crate::{Array, DType, KernelClass, Tensor, View};
use smallvec::{SmallVec, smallvec};

/// Attributes: for each output axis, the input axis.
pub static OP: OpDef = OpDef {
    name: "permute",
    shape: |attrs, x: &[Meta<'_>]| {
        let rank = x[0].shape.rank();
        if attrs.len() != rank || (0..rank as i64).any(|a| !attrs.contains(&a)) {
            return Err(Mismatch::new(format!("each of the operand's axes once, not {attrs:?}")));
        }
        let dims: SmallVec<[usize; 8]> = attrs.iter().map(|&a| x[0].shape[a as usize]).collect();
        Typed::new(x[0].dtype, &dims)
    },
    kernel: KernelClass::View(View::Permute),
    value: |s, x| {
        Dense::from_fn(s.shape, |i| {
            let mut from = vec![0; i.len()];
            for (&axis, &at) in s.attrs.iter().zip(i) {
                from[axis as usize] = at;
            }
            x[0].at(&from)
        })
    },
    jvp: Rule::By(linear_jvp),
    vjp: Rule::By(|cx, g| {
        let attrs = cx.attrs();
        let mut inverse: SmallVec<[isize; 8]> = smallvec![0; attrs.len()];
        for (to, &from) in attrs.iter().enumerate() {
            inverse[from as usize] = to as isize;
        }
        smallvec![g[0].map(|g| g.permute(&inverse))]
    }),
    batch: Batch::By(|b| {
        let mut axes: SmallVec<[isize; 8]> = smallvec![0];
        axes.extend(b.attrs.iter().map(|&a| a as isize + 1));
        b.x[0].permute(&axes)
    }),
    samples: || {
        let u = |shape: &[usize]| Array::uniform(DType::F64, shape, -1.0, 1.0, 14);
        vec![
            Sample::new([u(&[2, 3])]).attrs([1, 0]),
            Sample::new([u(&[2, 3, 4])]).attrs([2, 0, 1]),
            Sample::new([u(&[])]),
            Sample::new([u(&[0, 2])]).attrs([1, 0]),
        ]
    },
};

impl<'t> Tensor<'t> {
    /// The axes in another order: axis `i` of the result is axis `axes[i]` of this. Copies nothing.
    ///
    /// # Panics
    /// When `axes` does not name each axis once.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, DType, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::zeros(DType::F32, [2, 3, 4]));
    /// assert_eq!(x.permute(&[2, 0, 1]).shape(), [4, 2, 3]);
    /// ```
    #[track_caller]
    pub fn permute(self, axes: &[isize]) -> Tensor<'t> {
        let mut attrs: SmallVec<[i64; 8]> = SmallVec::new();
        for &axis in axes {
            attrs.push(self.axis("permute", axis) as i64);
        }
        self.tape.op(&OP, &[self.recorded()], &attrs)
    }

    /// Two axes exchanged.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, DType, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::zeros(DType::F32, [2, 3, 4]));
    /// assert_eq!(x.transpose(0, -1).shape(), [4, 3, 2]);
    /// ```
    #[track_caller]
    pub fn transpose(self, a: isize, b: isize) -> Tensor<'t> {
        let (a, b) = (self.axis("transpose", a), self.axis("transpose", b));
        let mut axes: SmallVec<[isize; 8]> = (0..self.rank() as isize).collect();
        axes.swap(a, b);
        self.permute(&axes)
    }

    /// The last two axes exchanged.
    ///
    /// # Panics
    /// When there are fewer than two axes.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 2.0, 3.0]]));
    /// assert_eq!(x.t().value(), Array::from([[1.0], [2.0], [3.0]]));
    /// ```
    #[track_caller]
    pub fn t(self) -> Tensor<'t> {
        if self.rank() < 2 {
            panic!("t: expected at least two axes, got {self:?}");
        }
        self.transpose(-1, -2)
    }
}
