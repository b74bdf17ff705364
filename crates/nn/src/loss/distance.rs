//! How far apart are two tensors of numbers?

use wengert::Tensor;

use super::{Reduction, same_shape};

/// `(y - target)²`, as `torch.nn.functional.mse_loss`.
///
/// # Panics
/// When the shapes differ.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, Tape};
/// use wengert_nn::{Reduction, mse_loss};
/// let tape = Tape::new();
/// let (y, t) = (tape.leaf(&Array::from([1.0, 2.0])), tape.constant(&Array::from([1.0, 4.0])));
/// let loss = mse_loss(y, t, Reduction::Mean);
/// let [g] = loss.grad([y]);
/// assert_eq!((loss.item(), g.value()), (2.0, Array::from([0.0, -2.0])));
/// ```
#[track_caller]
pub fn mse_loss<'t>(y: Tensor<'t>, target: Tensor<'t>, reduction: Reduction) -> Tensor<'t> {
    same_shape("mse_loss", y, target);
    let d = y - target;
    reduction.of(d * d)
}

/// `|y - target|`, as `torch.nn.functional.l1_loss`. The derivative where they are equal is 0.
///
/// # Panics
/// When the shapes differ.
#[track_caller]
pub fn l1_loss<'t>(y: Tensor<'t>, target: Tensor<'t>, reduction: Reduction) -> Tensor<'t> {
    same_shape("l1_loss", y, target);
    reduction.of((y - target).abs())
}

/// `d²/2` where `|d| <= delta`, else `delta (|d| - delta/2)`, with `d = y - target`, as `torch.nn.functional.huber_loss`. The
/// derivative is continuous.
///
/// Huber, "Robust estimation of a location parameter" (1964), doi:10.1214/aoms/1177703732.
///
/// # Panics
/// When the shapes differ, and unless `delta > 0`.
#[track_caller]
pub fn huber_loss<'t>(y: Tensor<'t>, target: Tensor<'t>, delta: f64, reduction: Reduction) -> Tensor<'t> {
    same_shape("huber_loss", y, target);
    reduction.of(huber("huber_loss", y - target, delta))
}

/// [`huber_loss`] divided by `beta`, as `torch.nn.functional.smooth_l1_loss`.
///
/// # Panics
/// When the shapes differ, and unless `beta > 0` ([`l1_loss`] is its limit at 0).
#[track_caller]
pub fn smooth_l1_loss<'t>(y: Tensor<'t>, target: Tensor<'t>, beta: f64, reduction: Reduction) -> Tensor<'t> {
    same_shape("smooth_l1_loss", y, target);
    reduction.of(huber("smooth_l1_loss", y - target, beta) / beta)
}

#[track_caller]
fn huber<'t>(name: &str, d: Tensor<'t>, delta: f64) -> Tensor<'t> {
    if !(delta > 0.0 && delta.is_finite()) {
        panic!("{name}: expected a positive width, got {delta}");
    }
    let size = d.abs();
    size.le(delta).select(0.5 * d * d, delta * (size - 0.5 * delta))
}
