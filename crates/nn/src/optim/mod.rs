//! How do gradients become the next parameters? By pure functions of trees, recorded like everything else.
//!
//! An optimizer holds its settings. `init(&model)` gives its state for a model at rest; `step(&model, &grads, &state)` takes all three
//! on a tape and gives the next model and the next state, tensors on the same tape. Nothing is mutated, so a loss after some steps can
//! be differentiated with respect to the initial weights, the state or a setting ([`Hyper`]).

mod adam;
mod clip;
mod hyper;
mod schedule;
mod sgd;

pub use adam::{Adam, AdamState, AdamW};
pub use clip::{clip_by_norm, global_norm};
pub use hyper::Hyper;
pub use schedule::Schedule;
pub use sgd::{Sgd, SgdState};

use wengert::{Array, Leaf, Role, Tensor, Tree};

/// A tree like the model with zeros for its parameters, and a 0-d zero where nothing is trained.
fn zeros<M: Tree<Array> + Clone>(model: &M) -> M {
    let mut zeros = model.clone();
    zeros.visit_mut(|_, role, array| {
        *array = match role {
            Role::Param => Array::zeros(array.dtype(), *array.shape()),
            _ => Array::zeros(array.dtype(), ()),
        }
    });
    zeros
}

/// What one parameter's step reads: the parameter, its gradient, and two more tensors that an optimizer keeps of it.
#[derive(Clone, Copy)]
struct Slot<'t> {
    /// Whether it is trained; else all tensors pass as they are.
    trained: bool,
    p: Tensor<'t>,
    g: Tensor<'t>,
    m: Tensor<'t>,
    v: Tensor<'t>,
}
impl Leaf for Slot<'_> {}

impl Slot<'_> {
    fn new<'t>(role: Role, p: Tensor<'t>, g: Tensor<'t>) -> Slot<'t> {
        Slot { trained: role == Role::Param, p, g, m: p, v: p }
    }
}
