//! Softmax and its relatives, computed without overflow.

use super::{Composed, each_row, each_row_whole, floating};
use crate::{Array, DType, Tensor, ops::Sample};
use smallvec::SmallVec;

/// The functions of this file.
pub(super) static ALL: &[Composed] = &[
    Composed { name: "softmax(-1)", run: |x| x[0].softmax(-1), value: |x| each_row_whole(x, softmax), samples },
    Composed {
        name: "log_softmax(-1)",
        run: |x| x[0].log_softmax(-1),
        value: |x| each_row_whole(x, |v| v.iter().map(|x| x - logsumexp(v)).collect()),
        samples,
    },
    Composed { name: "logsumexp(&[-1])", run: |x| x[0].logsumexp(&[-1]), value: |x| each_row(x, logsumexp), samples },
    Composed { name: "logsumexp_keep(&[-1])", run: |x| x[0].logsumexp_keep(&[-1]).squeeze(-1), value: |x| each_row(x, logsumexp), samples },
];

fn samples() -> Vec<Sample> {
    let u = |shape: &[usize]| Array::uniform(DType::F64, shape, -2.0, 2.0, 22);
    vec![
        Sample::new([u(&[2, 3])]),
        Sample::new([u(&[2, 2, 4])]),
        Sample::new([u(&[5])]),
        Sample::new([Array::from([[800.0, 801.0, 799.5], [-800.0, -801.0, -802.0]])]),
        Sample::new([Array::from([[1.0, 1.0], [0.0, 0.0]])]),
        Sample::new([u(&[0, 3])]),
    ]
}

fn logsumexp(v: &[f64]) -> f64 {
    let m = v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    m + v.iter().map(|x| (x - m).exp()).sum::<f64>().ln()
}

fn softmax(v: &[f64]) -> Vec<f64> {
    v.iter().map(|x| 1.0 / v.iter().map(|y| (y - x).exp()).sum::<f64>()).collect()
}

impl<'t> Tensor<'t> {
    /// `e^x`, divided by its sum along an axis. A row of −∞ alone is NaN.
    ///
    /// # Panics
    /// When there is no such axis.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[0.0, 0.0], [1000.0, 0.0]]));
    /// assert_eq!(x.softmax(-1).value(), Array::from([[0.5, 0.5], [1.0, 0.0]]));
    /// ```
    #[track_caller]
    pub fn softmax(self, axis: isize) -> Tensor<'t> {
        let x = floating(self);
        let e = x.weights(axis);
        e / e.sum_keep(&[axis])
    }

    /// Softmax before the division: `e^x`, scaled along an axis so that the largest is 1.
    #[track_caller]
    pub(super) fn weights(self, axis: isize) -> Tensor<'t> {
        (self - peak(self, &[axis])).exp()
    }

    /// Logarithm of [`softmax`](Self::softmax), exact also where that is near 0.
    ///
    /// # Panics
    /// When there is no such axis.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, -1000.0]));
    /// assert_eq!(x.log_softmax(0).value(), Array::from([0.0, -1000.0]));
    /// ```
    #[track_caller]
    pub fn log_softmax(self, axis: isize) -> Tensor<'t> {
        let x = floating(self);
        let z = x - peak(x, &[axis]);
        z - z.exp().sum_keep(&[axis]).ln()
    }

    /// `ln(Σ e^x)` over some axes, which are dropped. A row of −∞ alone gives −∞, and its derivative is 0.
    ///
    /// # Panics
    /// When an axis does not exist or is named twice.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1000.0, 1000.0]));
    /// assert!((x.logsumexp(&[0]).item() - (1000.0 + 2f64.ln())).abs() < 1e-9);
    /// ```
    #[track_caller]
    pub fn logsumexp(self, axes: &[isize]) -> Tensor<'t> {
        let kept = self.logsumexp_keep(axes);
        let folded: SmallVec<[usize; 8]> = axes.iter().map(|&a| self.axis("logsumexp", a)).collect();
        let dims: Vec<usize> = (0..self.rank()).filter(|a| !folded.contains(a)).map(|a| self.shape()[a]).collect();
        kept.reshape(dims)
    }

    /// As [`logsumexp`](Self::logsumexp); the axes stay, with length 1.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[0.0, 0.0], [1.0, 3.0]]));
    /// assert!((x - x.logsumexp_keep(&[1])).value().all_close(&x.log_softmax(1).value(), 1e-15, 0.0));
    /// ```
    #[track_caller]
    pub fn logsumexp_keep(self, axes: &[isize]) -> Tensor<'t> {
        let x = floating(self);
        let peak = peak(x, axes);
        // ∞ - ∞ would be NaN.
        let peak = peak.abs().eq(f64::INFINITY).select(0, peak);
        let sum = (x - peak).exp().sum_keep(axes);
        let none = sum.eq(0);
        none.select(f64::NEG_INFINITY, none.select(1, sum).ln() + peak)
    }
}

/// The largest element along some axes, which stay with length 1: a number to shift by, on which the result does not depend; 0 where
/// there are no elements.
#[track_caller]
fn peak<'t>(x: Tensor<'t>, axes: &[isize]) -> Tensor<'t> {
    if x.size() > 0 {
        return x.shift().max_keep(axes);
    }
    let mut dims = x.shape().to_vec();
    for &axis in axes {
        dims[x.axis("max", axis)] = 1;
    }
    x.tape().zeros(x.dtype(), dims)
}
