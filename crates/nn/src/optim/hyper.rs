//! What is a setting of an optimizer: a number, or something to differentiate with respect to?

use wengert::{DType, Tensor};

/// A number, or a 0-d tensor of the parameters' dtype. A number is no part of a plan, so it may change every step.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, Tape};
/// use wengert_nn::{Bind, Sgd};
/// let model = Array::from([1.0, 2.0]); // an array is a model
/// let tape = Tape::new();
/// let (m, lr) = (model.on(&tape), tape.leaf(&Array::from(0.1)));
/// let (next, _) = Sgd::new(lr).step(&m, &m, &Sgd::new(lr).init(&model).on(&tape)); // the gradient of |m|²/2
/// let [by_lr] = next.sum().grad([lr]);
/// assert_eq!(by_lr.item(), -3.0);
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Hyper<'t> {
    /// A number.
    Number(f64),
    /// A 0-d tensor.
    Tensor(Tensor<'t>),
}

impl From<f64> for Hyper<'_> {
    fn from(v: f64) -> Self {
        Hyper::Number(v)
    }
}

impl<'t> From<Tensor<'t>> for Hyper<'t> {
    fn from(v: Tensor<'t>) -> Self {
        Hyper::Tensor(v)
    }
}

impl<'t> Hyper<'t> {
    /// Whether it is the number 0, which leaves a term of an update out.
    pub(super) fn is_zero(self) -> bool {
        matches!(self, Hyper::Number(0.0))
    }

    /// As a tensor beside `x`.
    pub(super) fn beside(self, x: Tensor<'t>) -> Tensor<'t> {
        match self {
            Hyper::Number(v) => x.scalar_like(v),
            Hyper::Tensor(t) => t,
        }
    }

    /// As a 0-d `f64` on the tape of `x`.
    pub(super) fn wide(self, x: Tensor<'t>) -> Tensor<'t> {
        match self {
            Hyper::Number(v) => x.tape().scalar(DType::F64, v),
            Hyper::Tensor(t) => t.cast(DType::F64),
        }
    }

    /// `self * x`.
    #[track_caller]
    pub(super) fn times(self, x: Tensor<'t>) -> Tensor<'t> {
        x * self.beside(x)
    }

    /// `1 - self`.
    pub(super) fn complement(self) -> Hyper<'t> {
        match self {
            Hyper::Number(v) => Hyper::Number(1.0 - v),
            Hyper::Tensor(t) => Hyper::Tensor(1.0 - t),
        }
    }
}
