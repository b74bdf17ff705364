//! Comparisons: which elements are equal, smaller, larger?

use super::pair;
use crate::{IntoOperand, Tensor, record::binary};

const FLAT: &str = "a comparison is a step function, flat almost everywhere";

/// One op per comparison: program, reference, method.
macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident $op:ident |$p:ident| $program:expr, |$a:ident, $b:ident| $value:expr;)*) => {
        $(
            #[doc = concat!("The op of [`Tensor::", stringify!($name), "`].")]
            pub static $op: super::OpDef = super::OpDef {
                name: stringify!($name),
                shape: pair::comparison,
                kernel: crate::KernelClass::Pointwise(|$p| $program),
                value: |s, x| super::Dense::map(s, x, |v| { let ($a, $b) = (v[0], v[1]); f64::from(u8::from($value)) }),
                jvp: super::Rule::Zero(FLAT),
                vjp: super::Rule::Zero(FLAT),
                batch: super::Batch::Pointwise,
                samples: pair::signed_samples,
            };
            impl<'t> Tensor<'t> {
                $(#[$doc])*
                #[track_caller]
                pub fn $name(self, other: impl IntoOperand<'t>) -> Tensor<'t> { binary(&$op, self, other) }
            }
        )*
        /// The ops of this table.
        pub static ALL: &[&super::OpDef] = &[$(&$op),*];
    };
}
comparisons! {
    /// Whether `self == other`, element by element with broadcasting. NaN equals nothing.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0, 3.0]));
    /// assert_eq!(x.eq(2).value(), Array::from([false, true, false]));
    /// ```
    eq EQ |p| p.x(0).eq(p.x(1)), |a, b| a == b;
    /// Whether `self != other`. NaN differs from everything.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0, 3.0]));
    /// assert_eq!(x.ne(2).value(), Array::from([true, false, true]));
    /// ```
    ne NE |p| p.x(0).ne(p.x(1)), |a, b| a != b;
    /// Whether `self < other`; false for NaN.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0, 3.0]));
    /// assert_eq!(x.lt(2).value(), Array::from([true, false, false]));
    /// ```
    lt LT |p| p.x(0).lt(p.x(1)), |a, b| a < b;
    /// Whether `self <= other`; false for NaN.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0, 3.0]));
    /// assert_eq!(x.le(2).value(), Array::from([true, true, false]));
    /// ```
    le LE |p| p.x(0).le(p.x(1)), |a, b| a <= b;
    /// Whether `self > other`; false for NaN.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0, 3.0]));
    /// assert_eq!(x.gt(2).value(), Array::from([false, false, true]));
    /// ```
    gt GT |p| p.x(1).lt(p.x(0)), |a, b| a > b;
    /// Whether `self >= other`; false for NaN.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0, 3.0]));
    /// assert_eq!(x.ge(2).value(), Array::from([false, true, true]));
    /// ```
    ge GE |p| p.x(1).le(p.x(0)), |a, b| a >= b;
}
