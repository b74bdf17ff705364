//! What does a forward pass carry besides its input? The mode, fresh random keys, and the next values of running state.

use std::cell::{Cell, RefCell};
use wengert::{Key, Tensor};

use crate::OnTape;

/// One forward pass through a model, in training or in evaluation.
///
/// A pass mutates no model. A layer with running state hands the next value to [`Pass::assign`], and [`Pass::apply`] gives the model
/// with all of those in place.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::{Array, Key, Tape};
/// use wengert_nn::{Dropout, Layer, Pass};
/// let tape = Tape::new();
/// let x = tape.leaf(&Array::from([1.0, 2.0, 3.0, 4.0]));
/// let drop = Dropout::new(0.5);
/// assert_eq!(drop.forward(x, &Pass::eval()).value(), x.value());
/// let key = Key::new(1); // `fold` in the number of the step to have another for each
/// let y = drop.forward(x, &Pass::train(key)).value();
/// assert_eq!(y, drop.forward(x, &Pass::train(key)).value());
/// assert!((0..4).all(|i| [0.0, 2.0 * (i + 1) as f64].contains(&y.get(&[i]))));
/// ```
#[derive(Debug)]
pub struct Pass<'t> {
    /// The key of a training pass and how many were drawn from it.
    keys: Option<(Key, Cell<u64>)>,
    assigned: RefCell<Vec<(Tensor<'t>, Tensor<'t>)>>,
}

impl<'t> Pass<'t> {
    /// A pass in evaluation: layers such as dropout do nothing, running state is used as it is.
    pub fn eval() -> Self {
        Pass { keys: None, assigned: RefCell::default() }
    }

    /// A pass in training, whose random numbers come from `key` alone. The values drawn are no part of a plan: take another key for
    /// every step, `key.fold(step)`.
    pub fn train(key: Key) -> Self {
        Pass { keys: Some((key, Cell::new(0))), assigned: RefCell::default() }
    }

    /// Whether this is a pass in training.
    pub fn is_train(&self) -> bool {
        self.keys.is_some()
    }

    /// A key that no other call of this pass gives, or `None` in evaluation. The n-th call gives the same in every pass with one key.
    pub fn key(&self) -> Option<Key> {
        let (key, drawn) = self.keys.as_ref()?;
        drawn.set(drawn.get() + 1);
        Some(key.fold(drawn.get()))
    }

    /// Says that the leaf `state` of a model has the value `next` after this pass.
    ///
    /// # Panics
    /// At the caller when the two differ in shape or dtype, and when the leaf was assigned before in this pass: a layer that runs
    /// twice has to say itself how its two updates are merged.
    #[track_caller]
    pub fn assign(&self, state: Tensor<'t>, next: Tensor<'t>) {
        if state.shape() != next.shape() || state.dtype() != next.dtype() {
            panic!("assign: expected the next value of {state:?}, got {next:?}");
        }
        let mut assigned = self.assigned.borrow_mut();
        if let Some((_, before)) = assigned.iter().find(|(leaf, _)| leaf.is(state)) {
            panic!("assign: expected one next value for {state:?}, got two\n  {before:?}\n  {next:?}");
        }
        assigned.push((state, next));
    }

    /// The model with all assigned values in place, others as they are. `model` may be what an optimizer made of the model that ran,
    /// since optimizers leave all but parameters as they are.
    pub fn apply<M: OnTape<'t>>(&self, model: &M) -> M {
        let assigned = self.assigned.borrow();
        model.map(|&leaf| assigned.iter().find(|(state, _)| state.is(leaf)).map_or(leaf, |&(_, next)| next))
    }
}
