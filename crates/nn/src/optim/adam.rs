//! How does each parameter get a step size of its own?
//!
//! Kingma and Ba, "Adam: a method for stochastic optimization" (2014), arXiv:1412.6980; Loshchilov and Hutter, "Decoupled weight decay
//! regularization" (2017), arXiv:1711.05101.

use wengert::{Array, DType, Tensor, Tree};
use wengert_derive::Tree;

use super::{Hyper, Slot, zeros};
use crate::OnTape;

/// Adam, as `torch.optim.Adam`:
///
/// `g += weight_decay p`, `m = β₁ m + (1 - β₁) g`, `v = β₂ v + (1 - β₂) g²`, `p -= lr m̂ / (√(v̂ + eps_root) + eps)`, where
/// `m̂ = m / (1 - β₁ᵗ)`, `v̂ = v / (1 - β₂ᵗ)` and `t` counts the steps from 1.
///
/// To differentiate through a step give `eps_root` a small positive value: the slope of the root at a second moment of 0 is infinite.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert_nn::Adam;
/// let adam = Adam { beta2: 0.99.into(), ..Adam::new(1e-3) };
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Adam<'t> {
    /// Learning rate.
    pub lr: Hyper<'t>,
    /// How much of the mean gradient stays, 0.9.
    pub beta1: Hyper<'t>,
    /// How much of the mean square stays, 0.999.
    pub beta2: Hyper<'t>,
    /// Added to the root, 1e-8.
    pub eps: Hyper<'t>,
    /// Added under the root, 0.
    pub eps_root: Hyper<'t>,
    /// Factor of the parameters that is added to their gradients, 0.
    pub weight_decay: Hyper<'t>,
}

/// What [`Adam`] keeps of a model `M` with leaves `P`.
#[derive(Clone, Debug, PartialEq, Tree)]
pub struct AdamState<M, P = Array> {
    /// How many steps were taken, a 0-d `i64`.
    #[tree(state)]
    pub step: P,
    /// Running means of the gradients.
    #[tree(state)]
    pub m: M,
    /// Running means of their squares.
    #[tree(state)]
    pub v: M,
}

impl<'t> Adam<'t> {
    /// With the settings of the paper.
    pub fn new(lr: impl Into<Hyper<'t>>) -> Self {
        Adam { lr: lr.into(), beta1: 0.9.into(), beta2: 0.999.into(), eps: 1e-8.into(), eps_root: 0.0.into(), weight_decay: 0.0.into() }
    }

    /// The state before the first step.
    pub fn init<M: Tree<Array> + Clone>(&self, model: &M) -> AdamState<M> {
        AdamState { step: Array::from(0), m: zeros(model), v: zeros(model) }
    }

    /// The next model and the next state.
    ///
    /// # Panics
    /// When the trees differ, naming the path.
    #[track_caller]
    pub fn step<M: OnTape<'t>>(&self, model: &M, grads: &M, state: &AdamState<M, Tensor<'t>>) -> (M, AdamState<M, Tensor<'t>>) {
        let step = state.step + 1;
        let rate = self.lr.wide(step) * unbias(self.beta1, step);
        let scale = unbias(self.beta2, step);
        let slots = model.zip_with(grads, |_, role, &p, &g: &Tensor<'t>| {
            let slot = Slot::new(role, p, g);
            if slot.trained && !self.weight_decay.is_zero() { Slot { g: g + self.weight_decay.times(p), ..slot } } else { slot }
        });
        let slots = slots.zip_with(&state.m, |_, _, s: &Slot<'t>, &m: &Tensor<'t>| Slot {
            m: if s.trained { mix(self.beta1, m, s.g) } else { m },
            ..*s
        });
        let slots = slots.zip_with(&state.v, |_, _, s: &Slot<'t>, &v: &Tensor<'t>| Slot {
            v: if s.trained { mix(self.beta2, v, s.g * s.g) } else { v },
            ..*s
        });
        let next = model.zip_with(&slots, |_, _, _, s: &Slot<'t>| if s.trained { self.descend(s, rate, scale) } else { s.p });
        let m = model.zip_with(&slots, |_, _, _, s: &Slot<'t>| s.m);
        let v = model.zip_with(&slots, |_, _, _, s: &Slot<'t>| s.v);
        (next, AdamState { step, m, v })
    }

    /// `rate` is the learning rate over `1 - β₁ᵗ`, `scale` is `1 / (1 - β₂ᵗ)`.
    fn descend(&self, s: &Slot<'t>, rate: Tensor<'t>, scale: Tensor<'t>) -> Tensor<'t> {
        let (rate, square) = (rate.cast(s.p.dtype()), s.v * scale.cast(s.p.dtype()));
        let under = if self.eps_root.is_zero() { square } else { square + self.eps_root.beside(square) };
        s.p - s.m * rate / (under.sqrt() + self.eps.beside(square))
    }
}

/// `beta average + (1 - beta) x`, written so that it reads one setting.
fn mix<'t>(beta: Hyper<'t>, average: Tensor<'t>, x: Tensor<'t>) -> Tensor<'t> {
    average + beta.complement().times(x - average)
}

/// `1 / (1 - beta^step)`, in `f64`: near the first step single precision would lose half of its digits.
fn unbias<'t>(beta: Hyper<'t>, step: Tensor<'t>) -> Tensor<'t> {
    1.0 / (1.0 - beta.wide(step).pow(step.cast(DType::F64)))
}

/// Adam with weight decay apart from the gradient, as `torch.optim.AdamW`: `p -= lr weight_decay p` before the step of [`Adam`].
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert_nn::{Adam, AdamW};
/// let adamw = AdamW { adam: Adam { beta2: 0.95.into(), ..Adam::new(3e-4) }, weight_decay: 0.1.into() };
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AdamW<'t> {
    /// The step itself.
    pub adam: Adam<'t>,
    /// By what share of `lr` the parameters shrink, 0.01.
    pub weight_decay: Hyper<'t>,
}

impl<'t> AdamW<'t> {
    /// With the settings of [`Adam::new`] and a decay of 0.01.
    pub fn new(lr: impl Into<Hyper<'t>>) -> Self {
        AdamW { adam: Adam::new(lr), weight_decay: 0.01.into() }
    }

    /// The state before the first step.
    pub fn init<M: Tree<Array> + Clone>(&self, model: &M) -> AdamState<M> {
        self.adam.init(model)
    }

    /// The next model and the next state.
    ///
    /// # Panics
    /// When the trees differ, naming the path.
    #[track_caller]
    pub fn step<M: OnTape<'t>>(&self, model: &M, grads: &M, state: &AdamState<M, Tensor<'t>>) -> (M, AdamState<M, Tensor<'t>>) {
        let shrunk =
            model.zip_with(
                grads,
                |_, role, &p, &g: &Tensor<'t>| {
                    if Slot::new(role, p, g).trained { p - self.adam.lr.times(self.weight_decay.times(p)) } else { p }
                },
            );
        self.adam.step(&shrunk, grads, state)
    }
}
