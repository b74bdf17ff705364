//! `max(a, b)` and `min(a, b)`, element by element.

use super::{Batch, Cx, Dense, OpDef, Rule, Tangents, pair};
use crate::{IntoOperand, KernelClass, Tensor, record::binary};
use smallvec::smallvec;

/// Larger of two numbers; NaN if either is.
pub static MAXIMUM: OpDef = OpDef {
    name: "maximum",
    shape: pair::same_number,
    kernel: KernelClass::Pointwise(|p| p.x(0).maximum(p.x(1))),
    value: |s, x| Dense::map(s, x, |v| larger(v[0], v[1])),
    jvp: Rule::By(jvp),
    vjp: Rule::By(vjp),
    batch: Batch::Pointwise,
    samples: pair::signed_samples,
};

/// IEEE 754's maximum, which Rust's `max` is not: NaN wins, and 0 is larger than −0.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a > b || a == b && b.is_sign_negative() {
        a
    } else {
        b
    }
}

/// Smaller of two numbers; NaN if either is.
pub static MINIMUM: OpDef = OpDef {
    name: "minimum",
    shape: pair::same_number,
    kernel: KernelClass::Pointwise(|p| p.x(0).minimum(p.x(1))),
    value: |s, x| Dense::map(s, x, |v| -larger(-v[0], -v[1])),
    jvp: Rule::By(jvp),
    vjp: Rule::By(vjp),
    batch: Batch::Pointwise,
    samples: pair::signed_samples,
};

/// `t` where the output is input `i` alone, half of it at a tie, else 0.
fn share<'t>(cx: &Cx<'t>, i: usize, t: Tensor<'t>) -> Tensor<'t> {
    let (mine, other) = (cx.x(i), cx.x(1 - i));
    let tied = mine.eq(other).select(0.5 * t, t);
    mine.eq(cx.y()).select(tied, 0)
}

fn jvp<'t>(cx: &Cx<'t>, t: &[Option<Tensor<'t>>]) -> Tangents<'t> {
    let part = |i: usize| t[i].map(|t| share(cx, i, t));
    smallvec![match (part(0), part(1)) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }]
}

fn vjp<'t>(cx: &Cx<'t>, g: &[Option<Tensor<'t>>]) -> Tangents<'t> {
    let part = |i: usize| g[0].filter(|_| cx.needs(i)).map(|g| share(cx, i, g));
    smallvec![part(0), part(1)]
}

impl<'t> Tensor<'t> {
    /// Larger of two numbers, element by element with broadcasting; NaN if either is. A tie splits the derivative evenly.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([-3.0, 1.0, 3.0]));
    /// assert_eq!(x.maximum(1).value(), Array::from([1.0, 1.0, 3.0]));
    /// assert_eq!(x.maximum(1).sum().grad(x).value(), Array::from([0.0, 0.5, 1.0]));
    /// ```
    #[track_caller]
    pub fn maximum(self, other: impl IntoOperand<'t>) -> Tensor<'t> {
        binary(&MAXIMUM, self, other)
    }

    /// Smaller of two numbers, element by element with broadcasting; NaN if either is. A tie splits the derivative evenly.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([-3.0, 1.0, 3.0]));
    /// assert_eq!(x.minimum(1).value(), Array::from([-3.0, 1.0, 1.0]));
    /// ```
    #[track_caller]
    pub fn minimum(self, other: impl IntoOperand<'t>) -> Tensor<'t> {
        binary(&MINIMUM, self, other)
    }

    /// Between two bounds; NaN stays NaN.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([-3.0, 1.0, 3.0]));
    /// assert_eq!(x.clamp(-2, 2).value(), Array::from([-2.0, 1.0, 2.0]));
    /// ```
    #[track_caller]
    pub fn clamp(self, low: impl IntoOperand<'t>, high: impl IntoOperand<'t>) -> Tensor<'t> {
        self.maximum(low).minimum(high)
    }
}

/// The ops of this file.
pub static ALL: &[&OpDef] = &[&MAXIMUM, &MINIMUM];
