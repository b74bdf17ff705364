//! `a` to the power `b`.

use super::{Batch, Cx, Dense, OpDef, Rule, Sample, pair};
use crate::{Array, DType, IntoOperand, KernelClass, Tensor, record::binary};
use smallvec::smallvec;

/// Power, as C's `pow`: `x^0` is 1, also for 0 and NaN.
///
/// The derivative in the exponent is `y ln x`, taken as 0 at `x = 0`, so that it is finite wherever the value is.
pub static OP: OpDef = OpDef {
    name: "pow",
    shape: pair::same_number,
    kernel: KernelClass::Pointwise(|p| p.x(0).pow(p.x(1))),
    value: |s, x| Dense::map(s, x, |v| if s.dtype == DType::I64 { v[0].powf(v[1]).trunc() } else { v[0].powf(v[1]) }),
    jvp: Rule::By(|cx, t| {
        let base = t[0].map(|t| t * base_slope(cx));
        let exponent = t[1].map(|t| t * exponent_slope(cx));
        smallvec![match (base, exponent) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        }]
    }),
    vjp: Rule::By(|cx, g| {
        let Some(g) = g[0] else { return smallvec![None, None] };
        smallvec![cx.when_needed(0, || g * base_slope(cx)), cx.when_needed(1, || g * exponent_slope(cx))]
    }),
    batch: Batch::Pointwise,
    samples: || {
        let mut all = pair::samples();
        all.push(Sample::new([Array::from([0.5, 2.0, 1.5]), Array::from([0.0, 1.0, -1.0])]));
        all
    },
};

/// `b x^(b-1)`, and 0 for `b = 0`; the common small numbers as exponents need no power.
fn base_slope<'t>(cx: &Cx<'t>) -> Tensor<'t> {
    let (x, b) = (cx.x(0), cx.x(1));
    match b.scalar_value() {
        Some(v @ (0.0 | 1.0)) => x.scalar_like(v),
        Some(2.0) => 2.0 * x,
        Some(v) => x.pow(v - 1.0) * v,
        None => {
            // Only there, 0 · ∞ stands for 0. Elsewhere `b = 0` must stay in the formula: its derivative in the exponent is `1 / x`.
            let hole = b.eq(0) & x.eq(0);
            b * hole.select(1, x).pow(b - 1)
        }
    }
}

/// `y ln x`, and 0 where `x = 0`.
fn exponent_slope<'t>(cx: &Cx<'t>) -> Tensor<'t> {
    let x = cx.x(0);
    cx.y() * x.eq(0).select(1, x).ln()
}

impl<'t> Tensor<'t> {
    /// `self` to the power `exponent`, with broadcasting; integers wrap.
    ///
    /// The derivative in the exponent is taken as 0 where the base is 0.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([2.0, 3.0]));
    /// assert_eq!(x.pow(2).value(), Array::from([4.0, 9.0]));
    /// assert_eq!(x.pow(x).value(), Array::from([4.0, 27.0]));
    /// ```
    #[track_caller]
    pub fn pow(self, exponent: impl IntoOperand<'t>) -> Tensor<'t> {
        binary(&OP, self, exponent)
    }
}
