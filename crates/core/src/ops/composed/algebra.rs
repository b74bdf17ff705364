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
    #[track_caller]
    pub fn square(self) -> Tensor<'t> {
        self * self
    }

    /// `1 / x`; integers give `f32`.
    #[track_caller]
    pub fn recip(self) -> Tensor<'t> {
        1.0 / self
    }

    /// `1 / √x`; ∞ at 0, NaN below.
    #[track_caller]
    pub fn rsqrt(self) -> Tensor<'t> {
        1.0 / self.sqrt()
    }

    /// Tangent of radians.
    #[track_caller]
    pub fn tan(self) -> Tensor<'t> {
        self.sin() / self.cos()
    }

    /// As [`ln`](Self::ln): the name in NumPy and PyTorch.
    #[track_caller]
    pub fn log(self) -> Tensor<'t> {
        self.ln()
    }

    /// As [`ln_1p`](Self::ln_1p): the name in NumPy and PyTorch.
    #[track_caller]
    pub fn log1p(self) -> Tensor<'t> {
        self.ln_1p()
    }

    /// Logarithm to base 2: [`ln`](Self::ln) over `ln 2`, so a power of two may be one unit in the last place off.
    #[track_caller]
    pub fn log2(self) -> Tensor<'t> {
        self.ln() / LN_2
    }

    /// Logarithm to base 10: [`ln`](Self::ln) over `ln 10`, so a power of ten may be one unit in the last place off.
    #[track_caller]
    pub fn log10(self) -> Tensor<'t> {
        self.ln() / LN_10
    }
}
