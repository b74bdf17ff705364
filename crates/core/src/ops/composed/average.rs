//! Mean, variance, standard deviation and length: sums divided or rooted.

use super::{Composed, each_row, each_row_whole, floating};
use crate::{Array, DType, Tensor, ops::Sample};
use smallvec::SmallVec;

/// The functions of this file.
pub(super) static ALL: &[Composed] = &[
    Composed { name: "mean_over(&[-1])", run: |x| x[0].mean_over(&[-1]), value: |x| each_row(x, mean), samples: rows },
    Composed { name: "mean_keep(&[-1])", run: |x| x[0].mean_keep(&[-1]).squeeze(-1), value: |x| each_row(x, mean), samples: rows },
    Composed { name: "var(&[-1], 0)", run: |x| x[0].var(&[-1], 0), value: |x| each_row(x, |v| variance(v, 0.0)), samples: rows },
    Composed { name: "var(&[-1], 1)", run: |x| x[0].var(&[-1], 1), value: |x| each_row(x, |v| variance(v, 1.0)), samples: rows },
    Composed { name: "std(&[-1], 1)", run: |x| x[0].std(&[-1], 1), value: |x| each_row(x, |v| variance(v, 1.0).sqrt()), samples: rows },
    Composed {
        name: "norm_over(&[-1])",
        run: |x| x[0].norm_over(&[-1]),
        value: |x| each_row(x, |v| v.iter().fold(0.0, |a: f64, b| a.hypot(*b))),
        samples: rows,
    },
    Composed { name: "layer_norm(&[-1], 0.1)", run: |x| x[0].layer_norm(&[-1], 0.1), value: |x| each_row_whole(x, normed), samples: rows },
];

fn rows() -> Vec<Sample> {
    let u = |shape: &[usize]| Array::uniform(DType::F64, shape, -2.0, 2.0, 21);
    vec![Sample::new([u(&[2, 3])]), Sample::new([u(&[2, 2, 4])]), Sample::new([u(&[5])]), Sample::new([u(&[0, 3])])]
}

fn mean(v: &[f64]) -> f64 {
    v.iter().sum::<f64>() / v.len() as f64
}

fn variance(v: &[f64], correction: f64) -> f64 {
    let m = mean(v);
    v.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / (v.len() as f64 - correction)
}

fn normed(v: &[f64]) -> Vec<f64> {
    v.iter().map(|x| (x - mean(v)) / (variance(v, 0.0) + 0.1).sqrt()).collect()
}

/// Square root with derivative 0 at 0, where the root itself has none.
fn root(v: Tensor<'_>) -> Tensor<'_> {
    let zero = v.eq(0);
    zero.select(0, zero.select(1, v).sqrt())
}

impl<'t> Tensor<'t> {
    /// Mean of all elements, a 0-d tensor; integers and truth values give `f32`. NaN for no elements.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 2.0], [3.0, 6.0]]));
    /// assert_eq!(x.mean().item(), 3.0);
    /// assert_eq!(x.mean_over(&[0]).value(), Array::from([2.0, 4.0]));
    /// ```
    #[track_caller]
    pub fn mean(self) -> Tensor<'t> {
        self.mean_over(&self.all_axes())
    }

    /// Mean over some axes, which are dropped; negative ones count from the end.
    ///
    /// # Panics
    /// When an axis does not exist or is named twice.
    #[track_caller]
    pub fn mean_over(self, axes: &[isize]) -> Tensor<'t> {
        let n = self.length_along(axes);
        self.sum_over(axes) / n as f64
    }

    /// As [`mean_over`](Self::mean_over); the axes stay, with length 1.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[3.0, 4.0], [6.0, 8.0]]));
    /// assert_eq!(x.mean_keep(&[1]).value(), Array::from([[3.5], [7.0]]));
    /// ```
    #[track_caller]
    pub fn mean_keep(self, axes: &[isize]) -> Tensor<'t> {
        let n = self.length_along(axes);
        self.sum_keep(axes) / n as f64
    }

    /// Variance over some axes, which are dropped: the squared distances from the mean, summed and divided by the number of elements less
    /// `correction` (0: the mean square; 1: unbiased for a sample). With no element left over it is NaN or ∞.
    ///
    /// # Panics
    /// When an axis does not exist or is named twice.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0, 6.0]));
    /// assert_eq!(x.var(&[0], 1).item(), 7.0);
    /// ```
    #[track_caller]
    pub fn var(self, axes: &[isize], correction: usize) -> Tensor<'t> {
        let n = self.length_along(axes).saturating_sub(correction);
        let x = floating(self);
        let d = x - x.mean_keep(axes);
        (d * d).sum_over(axes) / n as f64
    }

    /// Standard deviation: the root of [`var`](Self::var). Its derivative is taken as 0 where it is 0.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 5.0]));
    /// assert_eq!(x.std(&[0], 0).item(), 2.0);
    /// ```
    #[track_caller]
    pub fn std(self, axes: &[isize], correction: usize) -> Tensor<'t> {
        root(self.var(axes, correction))
    }

    /// Less the mean and divided by the standard deviation along some axes: `(x - mean) / √(variance + eps)`. A gain and a shift are a
    /// product and a sum more: `x.layer_norm(&[-1], 1e-5) * gain + shift`.
    ///
    /// Ba, Kiros and Hinton 2016, arXiv:1607.06450.
    ///
    /// # Panics
    /// When an axis does not exist or is named twice.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 5.0], [4.0, 4.0]]));
    /// assert_eq!(x.layer_norm(&[-1], 0.0).at(0).value(), Array::from([-1.0, 1.0]));
    /// assert_eq!(x.layer_norm(&[-1], 1e-5).at(1).value(), Array::from([0.0, 0.0]));
    /// ```
    #[track_caller]
    pub fn layer_norm(self, axes: &[isize], eps: f64) -> Tensor<'t> {
        let x = floating(self);
        let d = x - x.mean_keep(axes);
        d * ((d * d).mean_keep(axes) + eps).rsqrt()
    }

    /// Euclidean length of all elements taken as one vector, a 0-d tensor. Its derivative is taken as 0 where it is 0.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([3.0, 4.0]));
    /// assert_eq!(x.norm().item(), 5.0);
    /// ```
    #[track_caller]
    pub fn norm(self) -> Tensor<'t> {
        self.norm_over(&self.all_axes())
    }

    /// Euclidean length over some axes, which are dropped: the root of the sum of squares. Its derivative is taken as 0 where it is 0.
    ///
    /// # Panics
    /// When an axis does not exist or is named twice.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[3.0, 4.0], [6.0, 8.0]]));
    /// assert_eq!(x.norm_over(&[1]).value(), Array::from([5.0, 10.0]));
    /// ```
    #[track_caller]
    pub fn norm_over(self, axes: &[isize]) -> Tensor<'t> {
        let x = floating(self);
        root((x * x).sum_over(axes))
    }

    /// As [`norm_over`](Self::norm_over); the axes stay, with length 1.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[3.0, 4.0], [6.0, 8.0]]));
    /// assert_eq!((x / x.norm_keep(&[1])).value(), Array::from([[0.6, 0.8], [0.6, 0.8]]));
    /// ```
    #[track_caller]
    pub fn norm_keep(self, axes: &[isize]) -> Tensor<'t> {
        let x = floating(self);
        root((x * x).sum_keep(axes))
    }

    fn all_axes(self) -> SmallVec<[isize; 8]> {
        (0..self.rank() as isize).collect()
    }

    /// Number of elements that a fold over `axes` combines.
    #[track_caller]
    fn length_along(self, axes: &[isize]) -> usize {
        let shape = self.shape();
        let mut n = 1;
        for &axis in axes {
            n *= shape[self.axis("mean", axis)];
        }
        n
    }
}
