//! Activations of neural networks that are put together from ops.

use super::{Composed, each};
use crate::{Array, DType, Tensor, ops::Sample};

/// The functions of this file.
pub(super) static ALL: &[Composed] = &[
    Composed { name: "silu", run: |x| x[0].silu(), value: |x| each(x, |v| v / (1.0 + (-v).exp())), samples },
    Composed { name: "gelu", run: |x| x[0].gelu(), value: |x| each(x, gelu), samples },
    Composed {
        name: "gelu_erf",
        run: |x| x[0].gelu_erf(),
        value: |x| each(x, |v| 0.5 * v * libm::erfc(-v / std::f64::consts::SQRT_2)),
        samples,
    },
    Composed { name: "log_sigmoid", run: |x| x[0].log_sigmoid(), value: |x| each(x, |v| -(-v).exp().ln_1p()), samples },
    Composed { name: "leaky_relu(0.1)", run: |x| x[0].leaky_relu(0.1), value: |x| each(x, |v| if v > 0.0 { v } else { 0.1 * v }), samples },
    Composed { name: "elu(1.5)", run: |x| x[0].elu(1.5), value: |x| each(x, |v| if v > 0.0 { v } else { 1.5 * v.exp_m1() }), samples },
];

/// On both sides of 0, away from the kink there.
fn samples() -> Vec<Sample> {
    let u = |shape: &[usize], seed| Array::uniform(DType::F64, shape, 0.2, 3.0, seed);
    let minus = |a: Array| Array::new(a.shape(), a.to_f64_vec().iter().map(|v| -v).collect::<Vec<_>>());
    vec![
        Sample::new([u(&[2, 3], 23)]),
        Sample::new([minus(u(&[2, 3], 24))]),
        Sample::new([minus(u(&[], 25))]),
        Sample::new([u(&[0, 2], 26)]),
    ]
}

fn gelu(v: f64) -> f64 {
    let u = (2.0 / std::f64::consts::PI).sqrt() * (v + 0.044715 * v.powi(3));
    v / (1.0 + (-2.0 * u).exp())
}

impl<'t> Tensor<'t> {
    /// `x sigmoid(x)`, also called swish.
    ///
    /// Elfwing, Uchibe and Doya 2018, doi:10.1016/j.neunet.2017.12.012.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, 2.0]));
    /// assert!(x.silu().value().all_close(&Array::from([0.0, 2.0 / (1.0 + (-2f64).exp())]), 1e-14, 0.0));
    /// ```
    #[track_caller]
    pub fn silu(self) -> Tensor<'t> {
        self * self.sigmoid()
    }

    /// Gaussian error linear unit by its formula in `tanh`, which differs from [`gelu_erf`](Self::gelu_erf) by less than 0.0005.
    ///
    /// Hendrycks and Gimpel 2016, arXiv:1606.08415.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, 2.0]));
    /// assert!(x.gelu().value().all_close(&x.gelu_erf().value(), 0.0, 5e-4));
    /// ```
    #[track_caller]
    pub fn gelu(self) -> Tensor<'t> {
        // (1 + tanh u) / 2 = sigmoid(2 u), which keeps its digits where tanh u is near -1.
        let c = (8.0 / std::f64::consts::PI).sqrt();
        self * (self * (0.044715 * c * self * self + c)).sigmoid()
    }

    /// Gaussian error linear unit: `x` times the probability that a standard normal number is below it.
    ///
    /// Hendrycks and Gimpel 2016, arXiv:1606.08415.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, 100.0, -100.0]));
    /// assert_eq!(x.gelu_erf().value(), Array::from([0.0, 100.0, -0.0]));
    /// ```
    #[track_caller]
    pub fn gelu_erf(self) -> Tensor<'t> {
        0.5 * self * ((self * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0)
    }

    /// `ln(sigmoid(x))` without underflow.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([0.0, -1000.0]));
    /// assert!(x.log_sigmoid().value().all_close(&Array::from([-(2f64.ln()), -1000.0]), 1e-15, 0.0));
    /// ```
    #[track_caller]
    pub fn log_sigmoid(self) -> Tensor<'t> {
        -(-self).softplus()
    }

    /// `x` above 0, else `slope x`. The derivative at 0 is `slope`.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([-2.0, 3.0]));
    /// assert_eq!(x.leaky_relu(0.5).value(), Array::from([-1.0, 3.0]));
    /// ```
    #[track_caller]
    pub fn leaky_relu(self, slope: f64) -> Tensor<'t> {
        self.gt(0).select(self, self * slope)
    }

    /// `x` above 0, else `alpha (e^x - 1)`. The derivative at 0 is `alpha`.
    ///
    /// Clevert, Unterthiner and Hochreiter 2015, arXiv:1511.07289.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([-1000.0, 3.0]));
    /// assert_eq!(x.elu(1.5).value(), Array::from([-1.5, 3.0]));
    /// ```
    #[track_caller]
    pub fn elu(self, alpha: f64) -> Tensor<'t> {
        let above = self.gt(0);
        // The exponential never sees what would overflow: its infinite slope times 0 would be NaN.
        above.select(self, above.select(0, self).expm1() * alpha)
    }
}
