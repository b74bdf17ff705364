//! Logic on truth values: `a & b`, `a | b`, `a ^ b`, `!a`.

use super::{Batch, Dense, Meta, Mismatch, OpDef, Rule, Sample, Typed, pair};
use crate::{Array, DType, KernelClass, Tensor};

const DISCRETE: &str = "truth values have no tangents";

/// One op per connective.
macro_rules! connectives {
    ($($op:ident $name:literal |$p:ident| $program:expr, |$a:ident, $b:ident| $value:expr;)*) => {
        $(
            #[doc = concat!("`", $name, "` of two truth values.")]
            pub static $op: OpDef = OpDef {
                name: $name,
                shape: pair::truth,
                kernel: KernelClass::Pointwise(|$p| $program),
                value: |s, x| Dense::map(s, x, |v| { let ($a, $b) = (v[0] != 0.0, v[1] != 0.0); f64::from(u8::from($value)) }),
                jvp: Rule::Zero(DISCRETE),
                vjp: Rule::Zero(DISCRETE),
                batch: Batch::Pointwise,
                samples: pair::truth_samples,
            };
        )*
    };
}
connectives! {
    AND "and" |p| p.x(0) & p.x(1), |a, b| a & b;
    OR "or" |p| p.x(0) | p.x(1), |a, b| a | b;
    XOR "xor" |p| p.x(0).xor(p.x(1)), |a, b| a ^ b;
}

/// Truth negated.
pub static NOT: OpDef = OpDef {
    name: "not",
    shape: |_, x: &[Meta<'_>]| if x[0].dtype == DType::Bool { Typed::like(0, x) } else { Err(Mismatch::new("a bool").hint("`-x` negates a number")) },
    kernel: KernelClass::Pointwise(|p| !p.x(0)),
    value: |s, x| Dense::map(s, x, |v| 1.0 - v[0]),
    jvp: Rule::Zero(DISCRETE),
    vjp: Rule::Zero(DISCRETE),
    batch: Batch::Pointwise,
    samples: || vec![Sample::new([Array::from([true, false])])],
};

/// Whether an element is NaN.
pub static IS_NAN: OpDef = OpDef {
    name: "is_nan",
    shape: |_, x: &[Meta<'_>]| {
        if !x[0].dtype.is_float() {
            return Err(Mismatch::new("floats"));
        }
        Ok(Typed { dtype: DType::Bool, ..Typed::like(0, x)? })
    },
    kernel: KernelClass::Pointwise(|p| p.x(0).is_nan()),
    value: |s, x| Dense::map(s, x, |v| f64::from(u8::from(v[0].is_nan()))),
    jvp: Rule::Zero("constant almost everywhere"),
    vjp: Rule::Zero("constant almost everywhere"),
    batch: Batch::Pointwise,
    samples: || vec![Sample::new([Array::from([1.0, f64::NAN, f64::INFINITY])])],
};

/// The ops of this file.
pub static ALL: &[&OpDef] = &[&AND, &OR, &XOR, &NOT, &IS_NAN];

impl<'t> Tensor<'t> {
    /// `!self` of truth values; also the operator `!`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.constant(&Array::from([true, false]));
    /// assert_eq!(x.logical_not().value(), Array::from([false, true]));
    /// ```
    #[track_caller]
    pub fn logical_not(self) -> Tensor<'t> {
        self.tape.op(&NOT, &[self], &[])
    }

    /// Whether an element is NaN.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, f64::NAN]));
    /// assert_eq!(x.is_nan().value(), Array::from([false, true]));
    /// ```
    #[track_caller]
    pub fn is_nan(self) -> Tensor<'t> {
        self.tape.op(&IS_NAN, &[self], &[])
    }
}
