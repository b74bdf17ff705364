//! How does one walk downhill, with or without momentum?
//!
//! Robbins and Monro, "A stochastic approximation method" (1951), doi:10.1214/aoms/1177729586; Polyak, "Some methods of speeding up the
//! convergence of iteration methods" (1964), doi:10.1016/0041-5553(64)90137-5; Sutskever, Martens, Dahl and Hinton, "On the importance
//! of initialization and momentum in deep learning" (ICML 2013), <https://proceedings.mlr.press/v28/sutskever13.html>.

use wengert::{Array, Tensor, Tree};
use wengert_derive::Tree;

use super::{Hyper, Slot, zeros};
use crate::OnTape;

/// Gradient descent, as `torch.optim.SGD` with `dampening = 0`:
///
/// `g += weight_decay p`, `v = momentum v + g`, `p -= lr v` — with `nesterov`, `p -= lr (g + momentum v)`.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert_nn::Sgd;
/// let plain = Sgd::new(0.1);
/// let heavy = Sgd { momentum: 0.9.into(), nesterov: true, ..Sgd::new(0.01) };
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Sgd<'t> {
    /// Learning rate.
    pub lr: Hyper<'t>,
    /// How much of the last velocity stays. With the number 0 there is no velocity, and no state.
    pub momentum: Hyper<'t>,
    /// Whether the gradient is taken as if after the momentum's step.
    pub nesterov: bool,
    /// Factor of the parameters that is added to their gradients.
    pub weight_decay: Hyper<'t>,
}

/// What [`Sgd`] keeps of a model `M`: velocities in its shape, unless there is no momentum.
#[derive(Clone, Debug, PartialEq, Tree)]
pub struct SgdState<M> {
    /// The running sum of gradients of each parameter.
    #[tree(state)]
    pub velocity: Option<M>,
}

impl<'t> Sgd<'t> {
    /// Plain gradient descent.
    pub fn new(lr: impl Into<Hyper<'t>>) -> Self {
        Sgd { lr: lr.into(), momentum: 0.0.into(), nesterov: false, weight_decay: 0.0.into() }
    }

    /// The state before the first step.
    pub fn init<M: Tree<Array> + Clone>(&self, model: &M) -> SgdState<M> {
        SgdState { velocity: (!self.momentum.is_zero()).then(|| zeros(model)) }
    }

    /// The next model and the next state.
    ///
    /// # Panics
    /// When the trees differ, naming the path, and when the state was made without the momentum that there is now.
    #[track_caller]
    pub fn step<M: OnTape<'t>>(&self, model: &M, grads: &M, state: &SgdState<M>) -> (M, SgdState<M>) {
        let slots = model.zip_with(grads, |_, role, &p, &g: &Tensor<'t>| {
            let slot = Slot::new(role, p, g);
            if slot.trained && !self.weight_decay.is_zero() { Slot { g: g + self.weight_decay.times(p), ..slot } } else { slot }
        });
        let Some(velocity) = &state.velocity else {
            if !self.momentum.is_zero() {
                panic!("step: expected a state with velocities, got one that was made without momentum");
            }
            return (model.zip_with(&slots, |_, _, _, s: &Slot<'t>| self.descend(s, s.g)), SgdState { velocity: None });
        };
        let slots = slots.zip_with(velocity, |_, _, s: &Slot<'t>, &v: &Tensor<'t>| Slot {
            v: if s.trained { self.momentum.times(v) + s.g } else { v },
            ..*s
        });
        let next = model.zip_with(&slots, |_, _, _, s: &Slot<'t>| {
            let along = if s.trained && self.nesterov { s.g + self.momentum.times(s.v) } else { s.v };
            self.descend(s, along)
        });
        (next, SgdState { velocity: Some(model.zip_with(&slots, |_, _, _, s: &Slot<'t>| s.v)) })
    }

    fn descend(&self, s: &Slot<'t>, along: Tensor<'t>) -> Tensor<'t> {
        if s.trained { s.p - self.lr.times(along) } else { s.p }
    }
}
