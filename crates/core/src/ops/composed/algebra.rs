//! Short names for powers, quotients and logarithms to other bases.

use super::{Composed, each};
use crate::{Array, DType, Tensor, ops::Sample};
use std::f64::consts::{LN_2, LN_10};

/// The functions of this file.
pub(super) static ALL: &[Composed] = &[
    Composed { name: "square", run: |x| x[0].square(), value: |x| each(x, |v| v.powi(2)), samples },
    Composed { name: "recip", run: |x| x[0].recip(), value: |x| each(x, f64::recip), samples },
    Composed { name: "rsqrt", run: |x| x[0].rsqrt(), value: |x| each(x, |v| v.powf(-0.5)), samples },
    Composed { name: "tan", run: |x| x[0].tan(), value: |x| each(x, f64::tan), samples },
    Composed { name: "log2", run: |x| x[0].log2(), value: |x| each(x, f64::log2), samples },
    Composed { name: "log10", run: |x| x[0].log10(), value: |x| each(x, f64::log10), samples },
];

fn samples() -> Vec<Sample> {
    let u = |shape: &[usize], seed| Array::uniform(DType::F64, shape, 0.4, 1.2, seed);
    vec![Sample::new([u(&[2, 3], 27)]), Sample::new([u(&[], 28)]), Sample::new([u(&[0, 2], 29)])]
}

impl<'t> Tensor<'t> {
    /// `x x`; integers wrap.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([3.0, -2.0]));
    /// assert_eq!(x.square().value(), Array::from([9.0, 4.0]));
    /// ```
    #[track_caller]
    pub fn square(self) -> Tensor<'t> {
        self * self
    }

    /// `1 / x`; integers give `f32`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([4.0, -2.0]));
    /// assert_eq!(x.recip().value(), Array::from([0.25, -0.5]));
    /// ```
    #[track_caller]
    pub fn recip(self) -> Tensor<'t> {
        1.0 / self
    }

    /// `1 / √x`; ∞ at 0, NaN below.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([4.0, 16.0]));
    /// assert_eq!(x.rsqrt().value(), Array::from([0.5, 0.25]));
    /// ```
    #[track_caller]
    pub fn rsqrt(self) -> Tensor<'t> {
        1.0 / self.sqrt()
    }

    /// Tangent of radians.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, 0.5]));
    /// assert!(x.tan().value().all_close(&Array::from([0.0, 0.5f64.tan()]), 1e-15, 1e-16));
    /// ```
    #[track_caller]
    pub fn tan(self) -> Tensor<'t> {
        self.sin() / self.cos()
    }

    /// As [`ln`](Self::ln): the name in NumPy and PyTorch.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 0.0]));
    /// assert_eq!(x.log().value(), Array::from([0.0, f64::NEG_INFINITY]));
    /// ```
    #[track_caller]
    pub fn log(self) -> Tensor<'t> {
        self.ln()
    }

    /// As [`ln_1p`](Self::ln_1p): the name in NumPy and PyTorch.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, 1e-20]));
    /// assert_eq!(x.log1p().value(), Array::from([0.0, 1e-20]));
    /// ```
    #[track_caller]
    pub fn log1p(self) -> Tensor<'t> {
        self.ln_1p()
    }

    /// Logarithm to base 2: [`ln`](Self::ln) over `ln 2`, so a power of two may be one unit in the last place off.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([8.0, 0.5]));
    /// assert!(x.log2().value().all_close(&Array::from([3.0, -1.0]), 1e-15, 1e-16));
    /// ```
    #[track_caller]
    pub fn log2(self) -> Tensor<'t> {
        self.ln() / LN_2
    }

    /// Logarithm to base 10: [`ln`](Self::ln) over `ln 10`, so a power of ten may be one unit in the last place off.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1000.0, 0.1]));
    /// assert!(x.log10().value().all_close(&Array::from([3.0, -1.0]), 1e-15, 1e-16));
    /// ```
    #[track_caller]
    pub fn log10(self) -> Tensor<'t> {
        self.ln() / LN_10
    }
}
