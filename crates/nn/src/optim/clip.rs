//! How is a step kept short where the gradient is steep?
//!
//! Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2012), arXiv:1211.5063.

use wengert::{Role, Tensor};

use crate::OnTape;

/// The Euclidean length of all parameters' gradients taken as one vector, a 0-d tensor. Its derivative at 0 is taken as 0.
///
/// # Panics
/// When there are no parameters.
#[track_caller]
pub fn global_norm<'t, M: OnTape<'t>>(grads: &M) -> Tensor<'t> {
    let mut squares: Option<Tensor<'t>> = None;
    grads.visit(|_, role, &g| {
        if role == Role::Param {
            let square = (g * g).sum();
            squares = Some(squares.map_or(square, |sum| sum + square));
        }
    });
    match squares {
        Some(sum) => {
            let flat = sum.eq(0);
            flat.select(0, flat.select(1, sum).sqrt())
        }
        None => panic!("global_norm: expected a tree with parameters, got one without"),
    }
}

/// Gradients that are longer than `largest` altogether, shortened to that length; the direction stays. As
/// `torch.nn.utils.clip_grad_norm_`, without its 1e-6 and as a function.
///
/// # Panics
/// Unless `largest > 0`, and when there are no parameters.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, Tape, Tree};
/// let tape = Tape::new();
/// let grads = (tape.leaf(&Array::from([3.0])), tape.leaf(&Array::from([4.0])));
/// let clipped = wengert_nn::clip_by_norm(&grads, 1.0);
/// assert!((clipped.0.item() - 0.6).abs() < 1e-15 && (clipped.1.item() - 0.8).abs() < 1e-15);
/// ```
#[track_caller]
pub fn clip_by_norm<'t, M: OnTape<'t>>(grads: &M, largest: f64) -> M {
    if largest.is_nan() || largest <= 0.0 {
        panic!("clip_by_norm: expected a positive length, got {largest}");
    }
    let norm = global_norm(grads);
    let scale = norm.gt(largest).select(largest / norm.maximum(largest), 1);
    grads.map_with(|_, role, &g| if role == Role::Param { g * scale } else { g })
}
