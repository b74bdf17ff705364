//! How are functions differentiated, rather than results? `grad(f)` is a function again, so it can be differentiated again.
//!
//! A transformed function sees a fresh copy of its argument, so that what it takes from outside counts as constant, also where
//! that is the same tensor. Functions that use tensors from outside are written with the methods of [`Tensor`] instead.

use crate::{Array, Tape, Tensor, ops::reshape};
use smallvec::SmallVec;

impl<'t> Tensor<'t> {
    /// The same value as a node of its own.
    fn fresh(self) -> Tensor<'t> {
        let dims: SmallVec<[i64; 8]> = self.shape().iter().map(|&d| d as i64).collect();
        self.tape.op(&reshape::OP, &[self.recorded()], &dims)
    }
}

/// The gradient of a scalar function, as a function.
///
/// # Panics
/// The returned function panics as [`Tensor::grad`].
///
/// ```
/// # use wengert_core as wengert;
/// use wengert::{Array, Tape, grad};
/// let second = grad(grad(|x| x * x * x));
/// let tape = Tape::new();
/// assert_eq!(second(tape.leaf(&Array::from(2.0))).item(), 12.0);
/// ```
pub fn grad<F>(f: F) -> impl for<'t> Fn(Tensor<'t>) -> Tensor<'t>
where
    F: for<'t> Fn(Tensor<'t>) -> Tensor<'t>,
{
    move |x| {
        let x = x.fresh();
        f(x).grad(x)
    }
}

/// The Jacobian of a function, `[f(x).shape.., x.shape..]`, as a function: see [`Tensor::jacobian`].
pub fn jacobian<F>(f: F) -> impl for<'t> Fn(Tensor<'t>) -> Tensor<'t>
where
    F: for<'t> Fn(Tensor<'t>) -> Tensor<'t>,
{
    move |x| {
        let x = x.fresh();
        f(x).jacobian(x)
    }
}

/// The Hessian of a scalar function, `[x.shape.., x.shape..]`, as a function: see [`Tensor::hessian`].
pub fn hessian<F>(f: F) -> impl for<'t> Fn(Tensor<'t>) -> Tensor<'t>
where
    F: for<'t> Fn(Tensor<'t>) -> Tensor<'t>,
{
    move |x| {
        let x = x.fresh();
        f(x).hessian(x)
    }
}

/// A function mapped over the leading axis of its argument, as a function: see [`Tensor::vmap`].
///
/// ```
/// # use wengert_core as wengert;
/// use wengert::{Array, Tape, grad, vmap};
/// let tape = Tape::new();
/// let points = tape.leaf(&Array::from([1.0, 2.0, 3.0]));
/// assert_eq!(vmap(grad(|x| x * x))(points).value(), Array::from([2.0, 4.0, 6.0]));
/// ```
pub fn vmap<F>(f: F) -> impl for<'t> Fn(Tensor<'t>) -> Tensor<'t>
where
    F: for<'t> Fn(Tensor<'t>) -> Tensor<'t>,
{
    move |x| x.vmap(&f)
}

/// A function of arrays from a function of tensors: each call has a tape of its own.
///
/// ```
/// use wengert_core::{Array, evaluate, hessian};
/// let h = evaluate(hessian(|x| (x * x * x).sum()))(&Array::from([1.0, 2.0]));
/// assert_eq!(h, Array::from([[6.0, 0.0], [0.0, 12.0]]));
/// ```
pub fn evaluate<F>(f: F) -> impl Fn(&Array) -> Array
where
    F: for<'t> Fn(Tensor<'t>) -> Tensor<'t>,
{
    move |x| f(Tape::new().leaf(x)).value()
}

/// Value and gradient of a scalar function at an array, without a tape in sight.
///
/// # Panics
/// The returned function panics as [`Tensor::grad`].
///
/// ```
/// use wengert_core::{Array, value_and_grad};
/// let f = value_and_grad(|x| (x * x).sum());
/// assert_eq!(f(&Array::from([1.0, 2.0])), (5.0, Array::from([2.0, 4.0])));
/// ```
pub fn value_and_grad<F>(f: F) -> impl Fn(&Array) -> (f64, Array)
where
    F: for<'t> Fn(Tensor<'t>) -> Tensor<'t>,
{
    move |x| {
        let (y, [g]) = value_and_grad_at([x], |[x]| f(x));
        (y, g)
    }
}

/// Value and gradients of a scalar function of several arrays.
///
/// # Panics
/// As [`Tensor::grad`].
///
/// ```
/// use wengert_core::{Array, value_and_grad_at};
/// let (a, b) = (Array::from([1.0, 2.0]), Array::from([3.0, 4.0]));
/// let (y, [ga, gb]) = value_and_grad_at([&a, &b], |[a, b]| a.dot(b));
/// assert_eq!((y, ga, gb), (11.0, b, a));
/// ```
pub fn value_and_grad_at<const N: usize, F>(x: [&Array; N], f: F) -> (f64, [Array; N])
where
    F: for<'t> Fn([Tensor<'t>; N]) -> Tensor<'t>,
{
    let tape = Tape::new();
    let x = x.map(|x| tape.leaf(x));
    let y = f(x);
    let gradients = y.grad(x);
    (y.item(), gradients.map(Tensor::value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inner_variable_is_not_the_outer_one() {
        // d/dx [x · d/dy (x y) at y = x] = d/dx x² : with one variable for both the inner derivative would be 2x.
        let tape = Tape::new();
        let x = tape.leaf(&Array::scalar(3.0));
        let inner = {
            let y = x.fresh();
            (x * y).grad(y)
        };
        assert_eq!((x * inner).grad(x).item(), 6.0);
        let nested = grad(|x| grad(|y| y * y * y)(x) * x);
        assert_eq!(nested(x).item(), 81.0, "d/dx 3x³ = 9x²");
    }

    #[test]
    fn jacobian_of_a_gradient_is_the_hessian() {
        let x = Array::from([0.5, 2.0]);
        let h = evaluate(hessian(|x| (x * x.exp()).sum()))(&x);
        let j = evaluate(jacobian(grad(|x| (x * x.exp()).sum())))(&x);
        assert!(h.all_close(&j, 1e-14, 0.0), "{h} {j}");
    }
}
