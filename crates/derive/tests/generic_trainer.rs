//! Do trainers and optimizers that are generic over the model compile, and do they compute what they should?
//!
//! A toy tape stands in for the real one: what matters is that its tensors carry a lifetime.

extern crate wengert_core as wengert;

use std::cell::RefCell;
use wengert::{Leaf, Tree};
use wengert_derive::Tree;

#[derive(Clone, Debug, PartialEq)]
struct Array(f64);
impl Leaf for Array {}

#[derive(Default)]
struct Tape(RefCell<Vec<f64>>);

#[derive(Clone, Copy)]
struct Tensor<'t> {
    tape: &'t Tape,
    id: usize,
}
impl Leaf for Tensor<'_> {}

impl Tape {
    fn push(&self, value: f64) -> Tensor<'_> {
        let mut values = self.0.borrow_mut();
        values.push(value);
        Tensor { tape: self, id: values.len() - 1 }
    }

    fn bind<'t, M: Tree<Array>>(&'t self, model: &M) -> M::With<Tensor<'t>> {
        model.map(|x| self.push(x.0))
    }
}

impl<'t> Tensor<'t> {
    fn value(self) -> f64 {
        self.tape.0.borrow()[self.id]
    }

    fn axpy(self, a: f64, x: Tensor<'t>) -> Tensor<'t> {
        self.tape.push(a * x.value() + self.value())
    }

    fn mul(self, x: Tensor<'t>) -> Tensor<'t> {
        self.tape.push(self.value() * x.value())
    }
}

fn eval<'t, T: Tree<Tensor<'t>>>(tree: &T) -> T::With<Array> {
    tree.map(|x| Array(x.value()))
}

trait Layer<'t> {
    fn forward(&self, x: Tensor<'t>) -> Tensor<'t>;
}

#[derive(Clone, Debug, PartialEq, Tree)]
struct Scale<P = Array> {
    weight: P,
    bias: Option<P>,
}

#[derive(Clone, Debug, PartialEq, Tree)]
struct Square;

#[derive(Clone, Debug, PartialEq, Tree)]
struct Residual<M> {
    #[tree(flatten)]
    inner: M,
}

#[derive(Clone, Debug, PartialEq, Tree)]
struct Adam<M> {
    m: M,
    v: M,
    step: u64,
}

impl<'t> Layer<'t> for Scale<Tensor<'t>> {
    fn forward(&self, x: Tensor<'t>) -> Tensor<'t> {
        let y = x.mul(self.weight);
        self.bias.map_or(y, |b| y.axpy(1.0, b))
    }
}

impl<'t> Layer<'t> for Square {
    fn forward(&self, x: Tensor<'t>) -> Tensor<'t> {
        x.mul(x)
    }
}

impl<'t, M: Layer<'t>> Layer<'t> for Residual<M> {
    fn forward(&self, x: Tensor<'t>) -> Tensor<'t> {
        x.axpy(1.0, self.inner.forward(x))
    }
}

impl<'t, A: Layer<'t>, B: Layer<'t>, C: Layer<'t>> Layer<'t> for (A, B, C) {
    fn forward(&self, x: Tensor<'t>) -> Tensor<'t> {
        self.2.forward(self.1.forward(self.0.forward(x)))
    }
}

/// Over the layer bound: the bound model is a layer on every tape.
fn predict<M>(model: &M, x: f64) -> f64
where
    M: Tree<Array>,
    for<'t> M::With<Tensor<'t>>: Layer<'t>,
{
    let tape = Tape::default();
    tape.bind(model).forward(tape.push(x)).value()
}

/// `m - rate * g` for any tree on a tape. That `N::With<Tensor>` is `N` for a model `N` that was bound is known to the
/// compiler, so that what comes out is a model again.
fn sgd<'t, M: Tree<Array>>(model: &M::With<Tensor<'t>>, grads: &M::With<Tensor<'t>>, rate: f64) -> M::With<Tensor<'t>> {
    model.zip_with(grads, |_, _, p, g: &Tensor<'t>| p.axpy(-rate, *g))
}

/// What goes into and comes out of one parameter's step.
#[derive(Clone, Copy)]
struct Slot<'t> {
    param: Tensor<'t>,
    m: Tensor<'t>,
    v: Tensor<'t>,
}
impl Leaf for Slot<'_> {}

fn adam<'t, M: Tree<Tensor<'t>>>(model: &M, grads: &M, state: &Adam<M>) -> (M::With<Tensor<'t>>, Adam<M::With<Tensor<'t>>>) {
    let slots = model.zip_with(grads, |_, _, &param, &g: &Tensor<'t>| Slot { param, m: g, v: g.mul(g) });
    let slots = slots.zip_with(&state.m, |_, _, s: &Slot<'t>, m: &Tensor<'t>| Slot { m: s.m.axpy(0.5, *m), ..*s });
    let slots = slots.zip_with(&state.v, |_, _, s: &Slot<'t>, v: &Tensor<'t>| Slot { v: s.v.axpy(0.25, *v), ..*s });
    let next = model.zip_with(&slots, |_, _, _, s: &Slot<'t>| s.param.axpy(-1.0, s.m));
    let moments = Adam {
        m: model.zip_with(&slots, |_, _, _, s: &Slot<'t>| s.m),
        v: model.zip_with(&slots, |_, _, _, s: &Slot<'t>| s.v),
        step: state.step + 1,
    };
    (next, moments)
}

/// A training loop over any model, with the loss as a closure; model and state come back in the types they came in.
fn train<M: Tree<Array>>(mut model: M, loss: impl for<'t> Fn(&M::With<Tensor<'t>>, &'t Tape) -> Tensor<'t>) -> (M, Vec<f64>) {
    let mut losses = Vec::new();
    for _ in 0..2 {
        let tape = Tape::default();
        let bound = tape.bind(&model);
        let value = loss(&bound, &tape);
        let grads = bound.map(|x| *x); // of |x|²/2
        let next = sgd::<M>(&bound, &grads, 0.5);
        let (value, next) = eval(&(value, next));
        losses.push(value.0);
        model = next;
    }
    (model, losses)
}

fn net() -> (Scale, Square, Residual<Scale>) {
    let (first, last) = (Scale { weight: Array(2.0), bias: None }, Scale { weight: Array(3.0), bias: Some(Array(1.0)) });
    (first, Square, Residual { inner: last })
}

#[test]
fn layers_on_every_tape() {
    assert_eq!(predict(&net(), 1.5), 9.0 + 28.0);
    assert_eq!(predict(&Residual { inner: Residual { inner: Square } }, 3.0), 3.0 + 12.0);
}

#[test]
fn a_generic_trainer_gives_the_model_back() {
    let (model, losses) = train(net(), |m, tape| m.forward(tape.push(1.5)));
    assert_eq!(losses, [37.0, 2.25 + 2.25 * 1.5 + 0.5]);
    let quarter: (Scale, Square, Residual<Scale>) = net().map(|x: &Array| Array(x.0 / 4.0));
    assert_eq!(model, quarter);
}

#[test]
fn a_generic_optimizer_keeps_its_state_in_trees() {
    let model = net();
    let tape = Tape::default();
    let bound = tape.bind(&model);
    let grads = bound.map(|_: &Tensor<'_>| tape.push(1.0));
    let state = Adam { m: bound.map(|x: &Tensor<'_>| *x), v: bound.map(|_: &Tensor<'_>| tape.push(4.0)), step: 6 };
    let (next, state) = adam(&bound, &grads, &state);
    let (next, state) = eval(&(next, state));
    assert_eq!(state.step, 7);
    assert_eq!(state.paths(), ["m.0.weight", "m.2.weight", "m.2.bias", "v.0.weight", "v.2.weight", "v.2.bias"]);
    assert_eq!(state.m, model.map(|x: &Array| Array(1.0 + x.0 / 2.0)));
    assert_eq!(state.v, model.map(|_: &Array| Array(2.0)));
    assert_eq!(next, model.map(|x: &Array| Array(x.0 / 2.0 - 1.0)));
}
