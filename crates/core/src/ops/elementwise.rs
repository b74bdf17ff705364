//! Which functions of one variable are there, and what are their slopes? Adding one is adding one paragraph.

use super::{Meta, Mismatch, Sample, Typed};
use crate::{Array, Attrs, DType, Tensor};

/// From program, reference value and slope, makes the op, its rules, samples and method.
///
/// `slope(t, x, y)` is the derivative applied to a tangent or cotangent `t` (a pointwise function is its own transpose), in terms of
/// the input `x` and the output `y`; `flat` instead claims that the derivative is 0 almost everywhere. `takes` says how the
/// method treats other dtypes: `as_float` converts integers to `f32`, `as_number` leaves them, `as_is` refuses nothing.
macro_rules! elementwise {
    ($($(#[$doc:meta])* $name:ident {
        takes: $takes:ident, program: $program:expr, value: $value:expr, $kind:ident: $rule:expr, samples: $low:literal..$high:literal $(,)?
    })*) => {
        $(
            #[doc = concat!("The op of [`Tensor::", stringify!($name), "`].")]
            pub mod $name {
                use crate::{KernelClass, Tensor, ops::{Batch, Dense, OpDef, Rule}};
                fn value(v: f64) -> f64 {
                    let f: fn(f64) -> f64 = $value;
                    f(v)
                }
                /// The definition.
                pub static OP: OpDef = OpDef {
                    name: stringify!($name),
                    shape: super::$takes::shape,
                    kernel: KernelClass::Pointwise($program),
                    value: |s, x| Dense::map(s, x, |v| value(v[0])),
                    jvp: elementwise!(@rule $kind $rule),
                    vjp: elementwise!(@rule $kind $rule),
                    batch: Batch::Pointwise,
                    samples: || super::samples($low, $high),
                };
                #[allow(unused)]
                type Slope = for<'t> fn(Tensor<'t>, Tensor<'t>, Tensor<'t>) -> Tensor<'t>;
            }
            impl<'t> Tensor<'t> {
                $(#[$doc])*
                #[allow(clippy::should_implement_trait)] // `neg` is the operator's method too
                #[track_caller]
                pub fn $name(self) -> Tensor<'t> {
                    match self.tape.expected(&$name::OP, &[self.id], std::panic::Location::caller()) {
                        Some(y) => y, // recorded so before, hence of a dtype that needs no conversion
                        None => self.tape.op(&$name::OP, &[$takes::convert(self)], &[]),
                    }
                }
            }
        )*
        /// The ops of this table.
        pub static ALL: &[&crate::ops::OpDef] = &[$(&$name::OP),*];
    };
    (@rule slope $rule:expr) => {
        Rule::By(|cx, t| {
            let slope: Slope = $rule;
            smallvec::smallvec![t[0].map(|t| slope(t, cx.x(0), cx.y()))]
        })
    };
    (@rule flat $why:expr) => { Rule::Zero($why) };
}

/// Floats; the methods convert integers and truth values to `f32`, as PyTorch does.
mod as_float {
    use super::*;
    pub fn shape(_: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
        if x[0].dtype.is_float() { Typed::like(0, x) } else { Err(Mismatch::new("a float operand").hint("x.cast(DType::F32)")) }
    }
    #[track_caller]
    pub fn convert(x: Tensor<'_>) -> Tensor<'_> {
        if x.dtype().is_float() { x } else { x.cast(DType::F32) }
    }
}

/// Floats and integers.
mod as_number {
    use super::*;
    pub fn shape(_: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
        if x[0].dtype == DType::Bool { Err(Mismatch::new("a number").hint("`!x` negates a bool")) } else { Typed::like(0, x) }
    }
    pub fn convert(x: Tensor<'_>) -> Tensor<'_> {
        x
    }
}

/// Where the range holds a kink, none of these numbers lies near it.
fn samples(low: f64, high: f64) -> Vec<Sample> {
    let u = |shape: &[usize], seed| Array::uniform(DType::F64, shape, low, high, seed);
    vec![Sample::new([u(&[2, 3], 7)]), Sample::new([u(&[], 8)]), Sample::new([u(&[0, 2], 9)]), Sample::new([u(&[], 10)]).scalar(0)]
}

elementwise! {
    /// `-x`. Integers wrap.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, -2.0]));
    /// assert_eq!(x.neg().value(), Array::from([-1.0, 2.0]));
    /// ```
    neg { takes: as_number, program: |p| -p.x(0), value: |x| -x, slope: |t, _, _| -t, samples: -1.0..1.0 }
    /// `|x|`. The derivative at 0 is 0.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.5, -2.0, 0.0]));
    /// assert_eq!(x.abs().value(), Array::from([1.5, 2.0, 0.0]));
    /// assert_eq!(x.abs().sum().grad(x).value(), Array::from([1.0, -1.0, 0.0]));
    /// ```
    abs { takes: as_number, program: |p| p.x(0).abs(), value: |x| x.abs(), slope: |t, x, _| t * x.sign(), samples: -2.0..2.0 }
    /// −1, 0 or 1 as the number is negative, zero or positive; zeros keep their sign, NaN stays. Its derivative is zero.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.5, -2.0, 0.0]));
    /// assert_eq!(x.sign().value(), Array::from([1.0, -1.0, 0.0]));
    /// ```
    sign {
        takes: as_number, program: |p| p.x(0).sign(), value: |x| if x == 0.0 || x.is_nan() { x } else { x.signum() },
        flat: "a step function is flat almost everywhere", samples: -2.0..2.0
    }
    /// The threshold unit: 1 where the number is at least zero, −1 below; NaN stays NaN. Its derivative is zero.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.5, 0.0, -3.0]));
    /// assert_eq!(x.step().value(), Array::from([1.0, 1.0, -1.0]));
    /// ```
    step {
        takes: as_float,
        program: |p| {
            let (x, zero) = (p.x(0), p.x(0).constant(0.0));
            x.constant(1.0).select(zero.le(x), x.constant(-1.0).select(x.lt(zero), x))
        },
        value: |x| if x.is_nan() { x } else if x >= 0.0 { 1.0 } else { -1.0 },
        flat: "a threshold unit is flat almost everywhere", samples: -2.0..2.0
    }
    /// Largest integer not above. Its derivative is zero.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.5, -1.5]));
    /// assert_eq!(x.floor().value(), Array::from([1.0, -2.0]));
    /// ```
    floor {
        takes: as_float, program: |p| p.x(0).floor(), value: |x| x.floor(),
        flat: "a step function is flat almost everywhere", samples: -2.0..2.0
    }
    /// Smallest integer not below. Its derivative is zero.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.5, -1.5]));
    /// assert_eq!(x.ceil().value(), Array::from([2.0, -1.0]));
    /// ```
    ceil {
        takes: as_float, program: |p| -(-p.x(0)).floor(), value: |x| x.ceil(),
        flat: "a step function is flat almost everywhere", samples: -2.0..2.0
    }
    /// Nearest integer; of two, the even one. Its derivative is zero.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.2, 1.5, 2.5]));
    /// assert_eq!(x.round().value(), Array::from([1.0, 2.0, 2.0]));
    /// ```
    round {
        takes: as_float,
        program: |p| {
            let below = p.x(0).floor();
            let part = p.x(0) - below;
            let odd = ((below * 0.5).floor() * 2.0).ne(below);
            let half = below.constant(0.5);
            let up = half.lt(part) | (half.eq(part) & odd);
            (below + 1.0).select(up, below)
        },
        value: |x| x.round_ties_even(), flat: "a step function is flat almost everywhere", samples: -2.0..2.0
    }
    /// `e^x`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, 1.0]));
    /// assert!(x.exp().value().all_close(&Array::from([1.0, std::f64::consts::E]), 1e-15, 1e-16));
    /// ```
    exp { takes: as_float, program: |p| p.x(0).exp(), value: |x| x.exp(), slope: |t, _, y| t * y, samples: -1.0..1.0 }
    /// `e^x - 1`, exact near 0.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, 1e-20]));
    /// assert_eq!(x.expm1().value(), Array::from([0.0, 1e-20]));
    /// ```
    expm1 { takes: as_float, program: |p| p.x(0).expm1(), value: |x| x.exp_m1(), slope: |t, _, y| t * (y + 1.0), samples: -1.0..1.0 }
    /// Natural logarithm; −∞ at 0, NaN below.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 0.0]));
    /// assert_eq!(x.ln().value(), Array::from([0.0, f64::NEG_INFINITY]));
    /// ```
    ln { takes: as_float, program: |p| p.x(0).ln(), value: |x| x.ln(), slope: |t, x, _| t / x, samples: 0.5..2.0 }
    /// `ln(1 + x)`, exact near 0.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, 1e-20]));
    /// assert_eq!(x.ln_1p().value(), Array::from([0.0, 1e-20]));
    /// ```
    ln_1p { takes: as_float, program: |p| p.x(0).ln_1p(), value: |x| x.ln_1p(), slope: |t, x, _| t / (x + 1.0), samples: -0.4..1.0 }
    /// Square root; NaN below 0. The derivative at 0 is ∞.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([4.0, 9.0]));
    /// assert_eq!(x.sqrt().value(), Array::from([2.0, 3.0]));
    /// assert_eq!(x.sqrt().sum().grad(x).value(), Array::from([0.25, 0.5 / 3.0]));
    /// ```
    sqrt { takes: as_float, program: |p| p.x(0).sqrt(), value: |x| x.sqrt(), slope: |t, _, y| 0.5 * t / y, samples: 0.5..2.0 }
    /// Sine of radians.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, 0.5]));
    /// assert!(x.sin().value().all_close(&Array::from([0.0, 0.5f64.sin()]), 1e-15, 1e-16));
    /// ```
    sin { takes: as_float, program: |p| p.x(0).sin(), value: |x| x.sin(), slope: |t, x, _| t * x.cos(), samples: -3.0..3.0 }
    /// Cosine of radians.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, 0.5]));
    /// assert!(x.cos().value().all_close(&Array::from([1.0, 0.5f64.cos()]), 1e-15, 1e-16));
    /// ```
    cos { takes: as_float, program: |p| p.x(0).cos(), value: |x| x.cos(), slope: |t, x, _| -(t * x.sin()), samples: -3.0..3.0 }
    /// Hyperbolic tangent.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, 0.5]));
    /// assert!(x.tanh().value().all_close(&Array::from([0.0, 0.5f64.tanh()]), 1e-15, 1e-16));
    /// ```
    tanh { takes: as_float, program: |p| p.x(0).tanh(), value: |x| x.tanh(), slope: |t, _, y| t * (1.0 - y * y), samples: -2.0..2.0 }
    /// Logistic function `1 / (1 + e^-x)`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, -1000.0]));
    /// assert_eq!(x.sigmoid().value(), Array::from([0.5, 0.0]));
    /// assert_eq!(x.sigmoid().sum().grad(x).value(), Array::from([0.25, 0.0]));
    /// ```
    sigmoid {
        takes: as_float, program: |p| p.x(0).sigmoid(), value: |x| 1.0 / (1.0 + (-x).exp()),
        slope: |t, _, y| t * (y * (1.0 - y)), samples: -3.0..3.0
    }
    /// `ln(1 + e^x)` without overflow.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, 1000.0]));
    /// assert!(x.softplus().value().all_close(&Array::from([2f64.ln(), 1000.0]), 1e-15, 1e-16));
    /// ```
    softplus {
        takes: as_float,
        program: |p| {
            let x = p.x(0);
            x.maximum(x.constant(0.0)) + (-x.abs()).exp().ln_1p()
        },
        value: |x| if x > 30.0 { x + (-x).exp() } else { x.exp().ln_1p() }, slope: |t, x, _| t * x.sigmoid(), samples: -3.0..3.0
    }
    /// Error function `2/√π ∫₀ˣ e^(-u²) du`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, 10.0]));
    /// assert_eq!(x.erf().value(), Array::from([0.0, 1.0]));
    /// ```
    erf {
        takes: as_float, program: |p| p.x(0).erf(), value: libm::erf,
        slope: |t, x, _| t * (std::f64::consts::FRAC_2_SQRT_PI * (-(x * x)).exp()), samples: -2.0..2.0
    }
    /// `max(x, 0)`; NaN stays NaN. The derivative at 0 is 0.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([-1.0, 0.0, 2.0]));
    /// assert_eq!(x.relu().value(), Array::from([0.0, 0.0, 2.0]));
    /// assert_eq!(x.relu().sum().grad(x).value(), Array::from([0.0, 0.0, 1.0]));
    /// ```
    relu {
        takes: as_number, program: |p| p.x(0).maximum(p.x(0).constant(0.0)), value: |x| if x.is_nan() { x } else { x.max(0.0) },
        slope: |t, _, y| y.gt(0).select(t, 0), samples: -2.0..2.0
    }
}
