//! The same elements in row-major order under another shape.

use super::{Batch, Dense, Meta, Mismatch, OpDef, Rule, Sample, Typed, def::linear_jvp};
use crate::{Array, DType, IntoShape, KernelClass, Tensor, View};
use smallvec::{SmallVec, smallvec};

/// Attributes: the shape.
pub static OP: OpDef = OpDef {
    name: "reshape",
    shape: |attrs, x: &[Meta<'_>]| {
        let dims: SmallVec<[usize; 8]> = attrs.iter().map(|&d| d as usize).collect();
        if dims.iter().product::<usize>() != x[0].shape.size() {
            return Err(Mismatch::new(format!("as many elements as {dims:?} has")));
        }
        Typed::new(x[0].dtype, &dims)
    },
    kernel: KernelClass::View(View::Reshape),
    value: |s, x| Dense { dims: s.shape.to_vec(), data: x[0].data.clone() },
    jvp: Rule::By(linear_jvp),
    vjp: Rule::By(|cx, g| smallvec![g[0].map(|g| g.reshape(cx.x(0).shape()))]),
    batch: Batch::By(|b| {
        let mut dims = vec![b.size];
        dims.extend_from_slice(&b.shape);
        b.x[0].reshape(dims)
    }),
    samples: || {
        let u = |shape: &[usize]| Array::uniform(DType::F64, shape, -1.0, 1.0, 12);
        vec![
            Sample::new([u(&[2, 3])]).attrs([3, 2]),
            Sample::new([u(&[2, 2, 2])]).attrs([4, 2]),
            Sample::new([u(&[1])]),
            Sample::new([u(&[0, 3])]).attrs([3, 0, 2]),
        ]
    },
};

impl<'t> Tensor<'t> {
    /// The same elements in row-major order under another shape of as many elements.
    ///
    /// Nothing is copied where strides can express it.
    ///
    /// # Panics
    /// When the numbers of elements differ.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0, 3.0, 4.0]));
    /// assert_eq!(x.reshape([2, 2]).value(), Array::from([[1.0, 2.0], [3.0, 4.0]]));
    /// ```
    #[track_caller]
    pub fn reshape(self, shape: impl IntoShape) -> Tensor<'t> {
        let shape = shape.into_shape();
        if self.shape() == shape {
            return self;
        }
        let dims: SmallVec<[i64; 8]> = shape.iter().map(|&d| d as i64).collect();
        self.tape.op(&OP, &[self.recorded()], &dims)
    }

    /// One axis with all elements.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 2.0], [3.0, 4.0]]));
    /// assert_eq!(x.flatten().value(), Array::from([1.0, 2.0, 3.0, 4.0]));
    /// ```
    #[track_caller]
    pub fn flatten(self) -> Tensor<'t> {
        self.reshape(self.size())
    }

    /// A new axis of length 1 in front of `axis` (counted in the result when negative).
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0]));
    /// assert_eq!((x.unsqueeze(0).shape().to_vec(), x.unsqueeze(-1).shape().to_vec()), (vec![1, 2], vec![2, 1]));
    /// ```
    #[track_caller]
    pub fn unsqueeze(self, axis: isize) -> Tensor<'t> {
        let mut dims = self.shape().to_vec();
        let rank = dims.len() as isize;
        let at = if axis < 0 { axis + rank + 1 } else { axis };
        if !(0..=rank).contains(&at) {
            panic!("unsqueeze: expected an axis between {} and {rank}, got {axis}", -rank - 1);
        }
        dims.insert(at as usize, 1);
        self.reshape(dims)
    }

    /// Without an axis of length 1.
    ///
    /// # Panics
    /// When the axis has another length.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 2.0, 3.0]]));
    /// assert_eq!(x.squeeze(0).value(), Array::from([1.0, 2.0, 3.0]));
    /// ```
    #[track_caller]
    pub fn squeeze(self, axis: isize) -> Tensor<'t> {
        let axis = self.axis("squeeze", axis);
        let mut dims = self.shape().to_vec();
        if dims[axis] != 1 {
            panic!("squeeze: expected an axis of length 1, got axis {axis} of {self:?}");
        }
        dims.remove(axis);
        self.reshape(dims)
    }
}
