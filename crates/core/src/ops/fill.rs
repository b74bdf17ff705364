//! One number at every place.

use super::{Batch, Dense, Meta, Mismatch, OpDef, Rule, Sample, Typed};
use crate::{Array, DType, IntoShape, KernelClass, Scalar, Tape, Tensor};

/// A scalar operand at every place. Attributes: the shape.
pub static OP: OpDef = OpDef {
    name: "fill",
    shape: |attrs, x: &[Meta<'_>]| {
        if !x[0].is_scalar {
            return Err(Mismatch::new("a scalar operand").hint("broadcast_to repeats a tensor"));
        }
        let dims: Vec<usize> = attrs.iter().map(|&d| d as usize).collect();
        Typed::new(x[0].dtype, &dims)
    },
    kernel: KernelClass::Pointwise(|p| p.x(0).copy()),
    value: |s, x| Dense::map(s, x, |v| v[0]),
    jvp: Rule::Zero("its only operand is a number"),
    vjp: Rule::Zero("its only operand is a number"),
    batch: Batch::Pointwise,
    samples: || vec![Sample::new([Array::scalar(1.5)]).scalar(0).attrs([2, 3]), Sample::new([Array::scalar(-0.5)]).scalar(0)],
};

impl Tape {
    /// A tensor with one number at every place. It occupies no memory of its own where a fused loop uses it.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, DType, Tape};
    /// let tape = Tape::new();
    /// assert_eq!(tape.full(DType::F32, [2], 0.5).value(), Array::from([0.5f32, 0.5]));
    /// ```
    #[track_caller]
    pub fn full(&self, dtype: DType, shape: impl IntoShape, value: impl Scalar) -> Tensor<'_> {
        self.scalar(dtype, value).filled(shape)
    }

    /// Zeros.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, DType, Tape};
    /// let tape = Tape::new();
    /// assert_eq!(tape.zeros(DType::I64, [2]).value(), Array::from([0i64, 0]));
    /// ```
    #[track_caller]
    pub fn zeros(&self, dtype: DType, shape: impl IntoShape) -> Tensor<'_> {
        self.full(dtype, shape, 0)
    }

    /// Ones.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, DType, Tape};
    /// let tape = Tape::new();
    /// assert_eq!(tape.ones(DType::Bool, [2]).value(), Array::from([true, true]));
    /// ```
    #[track_caller]
    pub fn ones(&self, dtype: DType, shape: impl IntoShape) -> Tensor<'_> {
        self.full(dtype, shape, 1)
    }
}

impl<'t> Tensor<'t> {
    /// This scalar operand as a tensor of a shape.
    #[track_caller]
    pub(crate) fn filled(self, shape: impl IntoShape) -> Tensor<'t> {
        let dims: smallvec::SmallVec<[i64; 8]> = shape.into_shape().iter().map(|&d| d as i64).collect();
        self.tape.op(&OP, &[self], &dims)
    }

    /// A tensor of the same shape and dtype with one number at every place.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0]));
    /// assert_eq!(x.full_like(7).value(), Array::from([7.0, 7.0]));
    /// ```
    #[track_caller]
    pub fn full_like(self, value: impl Scalar) -> Tensor<'t> {
        self.tape.full(self.dtype(), self.shape(), value)
    }

    /// Zeros of the same shape and dtype.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0]));
    /// assert_eq!(x.zeros_like().value(), Array::from([0.0, 0.0]));
    /// ```
    #[track_caller]
    pub fn zeros_like(self) -> Tensor<'t> {
        self.full_like(0)
    }

    /// Ones of the same shape and dtype.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0]));
    /// assert_eq!(x.ones_like().value(), Array::from([1.0, 1.0]));
    /// ```
    #[track_caller]
    pub fn ones_like(self) -> Tensor<'t> {
        self.full_like(1)
    }

    /// The number of a scalar operand; `None` for a recorded tensor. A derivative walk whose rules ask for it is taken again when the
    /// number is another.
    pub(crate) fn scalar_value(self) -> Option<f64> {
        let number = self.id.as_slot()?;
        let mut r = self.tape.record.borrow_mut();
        if r.looks.walks > 0 {
            r.looks.slots.push(number as u32);
        }
        let slot = r.slots[number];
        Some(slot.dtype.number(slot.bits))
    }

    /// A recorded tensor: scalar operands become 0-d tensors, for ops that need one.
    #[track_caller]
    pub(crate) fn recorded(self) -> Tensor<'t> {
        if self.id.as_slot().is_some() { self.filled(()) } else { self }
    }
}
