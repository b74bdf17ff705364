//! Which functions are put together from ops? They have no rules of their own; each is listed with its meaning and checked like an op.

mod activation;
mod algebra;
mod attention;
mod average;
mod softmax;

pub use attention::Mask;

use super::{Dense, Sample};
use crate::{DType, Tensor};

/// A function put together from ops, as the tests see it.
pub struct Composed {
    /// Its name, with what it is called with.
    pub name: &'static str,
    /// Records it.
    pub run: for<'t> fn(&[Tensor<'t>]) -> Tensor<'t>,
    /// What it computes, by plain loops in `f64` that share nothing with the ops.
    pub value: fn(&[Dense]) -> Dense,
    /// Inputs at which the value and two orders of derivatives are checked.
    pub samples: fn() -> Vec<Sample>,
}

/// Every composed function.
pub fn all() -> impl Iterator<Item = &'static Composed> {
    [activation::ALL, algebra::ALL, attention::ALL, average::ALL, softmax::ALL].into_iter().flatten()
}

/// The tensor itself if of floats, else as `f32`.
#[track_caller]
fn floating(x: Tensor<'_>) -> Tensor<'_> {
    if x.dtype().is_float() { x } else { x.cast(DType::F32) }
}

/// `f` of each element.
fn each(x: &[Dense], f: impl Fn(f64) -> f64) -> Dense {
    Dense { dims: x[0].dims.clone(), data: x[0].data.iter().map(|&v| f(v)).collect() }
}

/// `f` of each row along the last axis, one number each.
fn each_row(x: &[Dense], f: impl Fn(&[f64]) -> f64) -> Dense {
    let (n, outer) = x[0].dims.split_last().expect("rows have an axis");
    let rows = outer.iter().product::<usize>();
    Dense { dims: outer.to_vec(), data: (0..rows).map(|i| f(&x[0].data[i * n..(i + 1) * n])).collect() }
}

/// `f` of each row along the last axis, as many numbers each.
fn each_row_whole(x: &[Dense], f: impl Fn(&[f64]) -> Vec<f64>) -> Dense {
    let n = *x[0].dims.last().expect("rows have an axis");
    let data = if n == 0 { Vec::new() } else { x[0].data.chunks(n).flat_map(f).collect() };
    Dense { dims: x[0].dims.clone(), data }
}
