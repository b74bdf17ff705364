//! How does a model get onto a tape, and how do its gradients come back in its own shape?

use wengert::{Array, DType, Role, Tape, Tensor, Tree, Unreached};

/// Puts a model, an optimizer's state, or any tree of arrays onto a tape.
pub trait Bind: Tree<Array> {
    /// The same tree on a tape: parameters as leaves that [`Tensor::backward`] gives gradients for, state and frozen values as
    /// constants. Buffers are shared, not copied.
    ///
    /// ```
    /// # extern crate wengert_core as wengert;
    /// use wengert::{Array, Tape};
    /// use wengert_nn::{Bind, Layer, Linear, Pass, grads};
    /// let model = Linear { weight: Array::from([[1.0, 2.0]]), bias: Some(Array::from([0.5])) };
    /// let tape = Tape::new();
    /// let m = model.on(&tape);
    /// let y = m.forward(tape.constant(&Array::from([3.0, 4.0])), &Pass::eval());
    /// assert_eq!(y.value(), Array::from([11.5]));
    /// assert_eq!(grads(y.sum(), &m).weight.value(), Array::from([[3.0, 4.0]]));
    /// ```
    #[track_caller]
    fn on<'t>(&self, tape: &'t Tape) -> Self::With<Tensor<'t>> {
        self.map_with(|_, role, array| match role {
            Role::Param => tape.leaf(array),
            _ => tape.constant(array),
        })
    }

    /// The same tree with its floats in another float dtype; counters and truth values stay as they are.
    ///
    /// # Panics
    /// When `dtype` is no float.
    #[track_caller]
    fn cast(&self, dtype: DType) -> Self
    where
        Self: Clone,
    {
        if !dtype.is_float() {
            panic!("cast: expected a float dtype for a model, got {dtype}");
        }
        let mut tree = self.clone();
        tree.visit_mut(|_, _, array| {
            if array.dtype().is_float() {
                *array = Array::cast(array, dtype);
            }
        });
        tree
    }
}
impl<T: Tree<Array>> Bind for T {}

/// A tree of tensors on one tape: what [`Bind::on`] gives, gradients, an optimizer's state during a step.
pub trait OnTape<'t>: Tree<Tensor<'t>, With<Tensor<'t>> = Self> {}
impl<'t, T: Tree<Tensor<'t>, With<Tensor<'t>> = T>> OnTape<'t> for T {}

/// A parameter that a loss does not depend on, or only through something that lets no gradient pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no gradient reaches the parameter `{path}`: {why}")]
pub struct UnreachedParam {
    /// Where the parameter is in the model: `hidden.weight`.
    pub path: String,
    /// What is in the way.
    pub why: Unreached,
}

/// Gradients of a scalar with respect to a model, in the shape of the model.
///
/// Leaves that are no parameters (running means, counters, frozen weights) get zeros, which cost nothing unless they are used.
///
/// # Panics
/// At the caller when the loss is no float scalar, and when a parameter is not reached, naming it and what cut it.
/// [`try_grads`] returns that, [`grads_or_zero`] gives zeros.
#[track_caller]
pub fn grads<'t, M: OnTape<'t>>(loss: Tensor<'t>, model: &M) -> M {
    match try_grads(loss, model) {
        Ok(grads) => grads,
        Err(why) => panic!("grads: {why}"),
    }
}

/// As [`grads`]; a parameter that is not reached is an error.
#[track_caller]
pub fn try_grads<'t, M: OnTape<'t>>(loss: Tensor<'t>, model: &M) -> Result<M, UnreachedParam> {
    match loss.try_grad(&params(model)) {
        Ok(found) => Ok(in_shape(model, found)),
        Err(why) => Err(first_unreached(loss, model, why)),
    }
}

/// As [`grads`], with zeros for parameters that are not reached.
#[track_caller]
pub fn grads_or_zero<'t, M: OnTape<'t>>(loss: Tensor<'t>, model: &M) -> M {
    in_shape(model, loss.grad_or_zero(&params(model)))
}

fn params<'t, M: OnTape<'t>>(model: &M) -> Vec<Tensor<'t>> {
    let mut params = Vec::new();
    model.visit(|_, role, &leaf| {
        if role == Role::Param {
            params.push(leaf);
        }
    });
    params
}

/// Puts the gradients of the parameters at their places, zeros elsewhere.
fn in_shape<'t, M: OnTape<'t>>(model: &M, found: Vec<Tensor<'t>>) -> M {
    let mut found = found.into_iter();
    model.map_with(|_, role, &leaf| match role {
        Role::Param => found.next().expect("one gradient for each parameter"),
        _ => leaf.zeros_like(),
    })
}

/// The engine names a tensor; a model knows it by its path.
#[track_caller]
fn first_unreached<'t, M: OnTape<'t>>(loss: Tensor<'t>, model: &M, why: Unreached) -> UnreachedParam {
    let mut path_of = None;
    model.visit(|path, role, &leaf| {
        if role == Role::Param && path_of.is_none() && loss.try_grad([leaf]).is_err() {
            path_of = Some(path.to_string());
        }
    });
    UnreachedParam { path: path_of.unwrap_or_default(), why }
}
