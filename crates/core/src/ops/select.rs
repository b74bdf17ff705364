//! `c ? a : b`, element by element.

use super::{Batch, Dense, Mismatch, OpDef, Rule, Sample, pair};
use crate::{
    Array, DType, IntoOperand, KernelClass, Tensor,
    record::{Given, broadcast, promote},
};
use smallvec::smallvec;

/// Elements of the second operand where the first holds, else of the third.
pub static OP: OpDef = OpDef {
    name: "select",
    shape: |_, x| {
        if x[0].dtype != DType::Bool {
            return Err(Mismatch::new("a bool condition").hint("a comparison such as x.ne(0) gives one"));
        }
        let branches = pair::same_from(1, x)?;
        let tensors = || x.iter().filter(|x| !x.is_scalar);
        if tensors().any(|x| Some(x.shape) != tensors().next().map(|f| f.shape)) {
            return Err(Mismatch::new("condition and branches of shapes that broadcast"));
        }
        // All agree, so the output has the shape of any tensor among the operands.
        let like = (0..3).find(|&i| !x[i].is_scalar).unwrap_or(0);
        Ok(super::Typed { dtype: branches.dtype, shape: super::OutShape::Like(like) })
    },
    kernel: KernelClass::Pointwise(|p| p.x(1).select(p.x(0), p.x(2))),
    value: |s, x| Dense::map(s, x, |v| if v[0] != 0.0 { v[1] } else { v[2] }),
    jvp: Rule::By(|cx, t| {
        let c = cx.x(0);
        smallvec![match (t[1], t[2]) {
            (Some(a), Some(b)) => Some(c.select(a, b)),
            (Some(a), None) => Some(c.select(a, 0)),
            (None, Some(b)) => Some(c.select(b.scalar_like(0), b)),
            (None, None) => None,
        }]
    }),
    vjp: Rule::By(|cx, g| {
        let Some(g) = g[0] else { return smallvec![None, None, None] };
        let c = cx.x(0);
        smallvec![None, cx.when_needed(1, || c.select(g, 0)), cx.when_needed(2, || c.select(g.scalar_like(0), g))]
    }),
    batch: Batch::Pointwise,
    samples: || {
        let c = Array::from([[true, false, true], [false, false, true]]);
        let u = |shape: &[usize], seed| Array::uniform(DType::F64, shape, -2.0, 2.0, seed);
        vec![
            Sample::new([c.clone(), u(&[2, 3], 1), u(&[2, 3], 2)]),
            Sample::new([c, u(&[], 3), u(&[2, 3], 4)]).scalar(1),
            Sample::new([Array::scalar(true), u(&[], 5), u(&[], 6)]),
        ]
    },
};

impl<'t> Tensor<'t> {
    /// `a` where this holds, else `b`, with broadcasting of all three (NumPy's `where`).
    ///
    /// Two numbers give `f32`, or `i64` if both are integers. Each branch receives the cotangent of the elements that were taken from it.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([-2.0, 3.0]));
    /// assert_eq!(x.gt(0).select(x, 0).value(), Array::from([0.0, 3.0]));
    /// ```
    #[track_caller]
    pub fn select(self, a: impl IntoOperand<'t>, b: impl IntoOperand<'t>) -> Tensor<'t> {
        let (a, b) = match (a.given(), b.given()) {
            (Given::Tensor(a), b) => promote(&OP, a, b),
            (a, Given::Tensor(b)) => {
                let (b, a) = promote(&OP, b, a);
                (a, b)
            }
            (Given::Number { value: a, fractional: fa }, Given::Number { value: b, fractional: fb }) => {
                let dtype = if fa || fb { DType::F32 } else { DType::I64 };
                (self.tape.scalar(dtype, a), self.tape.scalar(dtype, b))
            }
        };
        let (a, b) = broadcast(&OP, a, b);
        let (c, a) = broadcast(&OP, self, a);
        let (c, b) = broadcast(&OP, c, b);
        let (c, a) = broadcast(&OP, c, a);
        self.tape.op(&OP, &[c, a, b], &[])
    }
}

