//! How are cotangents pulled back? One walk over the active nodes, recording each op's rule on the same tape.

use super::{Scratch, Unreached, replay::Question, unreached};
use crate::{
    Tensor,
    ops::{Cx, OpDef, Rule, Tangents},
    record::{Record, node::Operand},
};
use smallvec::{SmallVec, smallvec};
use std::{panic::Location, time::Instant};

/// The cotangent of each target, in order; `None` where nothing arrived.
pub(crate) type Pulled<'t> = SmallVec<[Option<Tensor<'t>>; 8]>;

/// A rule as called for one node.
pub(crate) enum Called<'t> {
    Gave(Tangents<'t>),
    Cut,
}

/// Pulls the cotangents `seeds` of `results` back onto `targets`.
///
/// Only nodes that depend on a target and are reached from a result are visited. Total derivatives: a target that depends on another
/// passes its cotangent on.
pub(crate) fn pull<'t>(results: &[(Tensor<'t>, Tensor<'t>)], targets: &[Tensor<'t>]) -> Pulled<'t> {
    let Some(tape) = results.first().map(|r| r.0.tape) else { return smallvec![None; targets.len()] };
    let ids = |xs: &mut dyn Iterator<Item = Operand>| -> SmallVec<[usize; 8]> { xs.filter_map(Operand::as_node).collect() };
    let ends = ids(&mut results.iter().map(|r| r.0.id));
    let starts = ids(&mut targets.iter().map(|t| t.id));
    let (Some(&first), Some(&last)) = (starts.iter().min(), ends.iter().max()) else { return smallvec![None; targets.len()] };
    if last < first {
        return smallvec![None; targets.len()];
    }
    let start = Instant::now();
    let question = Question::new(results, targets);
    if let Some(pulled) = question.answered(tape, start) {
        return pulled;
    }
    let mut notes = question.notes(tape);
    let mut scratch = tape.record.borrow_mut().scratch.pop().unwrap_or_default();
    scratch.begin(first, last);
    mark(&mut scratch, &tape.record(), &starts, first, last);
    for (y, seed) in results {
        if let Some(id) = y.id.as_node().filter(|&id| scratch.is_active(Operand::node(id))) {
            accumulate(&mut scratch, id, *seed);
        }
    }
    let locations = tape.locations();
    for id in (first..=last).rev() {
        let Some(g) = scratch.get(id) else { continue };
        let g = Tensor { tape, id: g };
        let Some((cx, at)) = visit(Tensor { tape, id: Operand::node(id) }, |x| scratch.is_active(x)) else { continue };
        locations.set(at);
        let Called::Gave(back) = call(&cx.op.vjp, cx.op, &cx, &[Some(g)]) else { continue };
        assert!(back.len() == cx.arity(), "{}: its vjp gave {} cotangents for {} inputs", cx.op.name, back.len(), cx.arity());
        for (i, gx) in back.into_iter().enumerate() {
            let (Some(gx), true, Some(x)) = (gx, cx.needs[i], cx.inputs[i].as_node()) else { continue };
            let gx = fitted(&cx, cx.x(i), gx, || format!("its vjp gave a cotangent for input {i}"));
            accumulate(&mut scratch, x, gx);
        }
        notes.visited(&tape.record(), id, cx.op);
    }
    let at = tape.record().locations[last];
    locations.set(at);
    let pulled = targets.iter().map(|t| finish(&scratch, *t)).collect();
    drop(locations);
    let mut r = tape.record.borrow_mut();
    r.scratch.push(scratch);
    notes.end(&mut r, &pulled, last, start);
    pulled
}

/// Marks the targets and everything up to `last` that depends on them.
fn mark(scratch: &mut Scratch, r: &Record, starts: &[usize], first: usize, last: usize) {
    for &s in starts {
        if s <= last {
            scratch.activate(s);
        }
    }
    for id in first..=last {
        let passes = r.nodes[id].dtype.is_float() && !matches!(r.nodes[id].op.0.vjp, Rule::Zero(_) | Rule::Stop(_));
        if passes && r.inputs(id).iter().any(|&x| scratch.is_active(x)) {
            scratch.activate(id);
        }
    }
}

/// What a rule needs to know of a node; `None` where `wanted` holds for no input.
pub(super) fn visit<'t>(y: Tensor<'t>, wanted: impl Fn(Operand) -> bool) -> Option<(Cx<'t>, &'static Location<'static>)> {
    let id = y.id.as_node()?;
    let r = y.tape.record();
    let node = &r.nodes[id];
    let inputs: SmallVec<[Operand; 4]> = SmallVec::from_slice(r.inputs(id));
    let mut needs: SmallVec<[bool; 4]> = SmallVec::from_elem(false, inputs.len());
    let mut any = false;
    for (need, &x) in needs.iter_mut().zip(&inputs) {
        *need = wanted(x);
        any |= *need;
    }
    any.then(|| (Cx { y, op: node.op.0, inputs, needs, attrs: node.attrs }, r.locations[id]))
}

/// Applies a vjp rule.
pub(crate) fn call<'t>(rule: &Rule, op: &OpDef, cx: &Cx<'t>, g: &[Option<Tensor<'t>>]) -> Called<'t> {
    match rule {
        Rule::By(f) | Rule::Declared(f, _) => Called::Gave(f(cx, g)),
        Rule::Zero(_) | Rule::Stop(_) => Called::Cut,
        Rule::Transposed => panic!("{}: only a jvp can be derived by transposing", op.name),
    }
}

/// What a rule gave for a tensor `like`, which must have its dtype and shape; a scalar operand stands for any shape and is repeated.
pub(super) fn fitted<'t>(cx: &Cx<'t>, like: Tensor<'t>, given: Tensor<'t>, what: impl Fn() -> String) -> Tensor<'t> {
    let (g, x) = {
        let r = given.tape.record();
        (r.meta(given.id), r.meta(like.id))
    };
    match (g, x) {
        _ if g == x => given,
        _ if g.0 == x.0 && given.id.as_slot().is_some() => given.filled(like.shape()),
        _ => panic!("{}: {}, expected {}{:?}, got {}{:?}", cx.op.name, what(), like.dtype(), like.shape(), given.dtype(), given.shape()),
    }
}

/// Adds to what is held for a node.
pub(super) fn accumulate<'t>(scratch: &mut Scratch, id: usize, g: Tensor<'t>) {
    let sum = match scratch.get(id) {
        Some(before) => Tensor { tape: g.tape, id: before } + g,
        None => g,
    };
    scratch.set(id, sum.id);
}

/// What is held for a tensor, as a recorded tensor of its shape.
pub(super) fn finish<'t>(scratch: &Scratch, target: Tensor<'t>) -> Option<Tensor<'t>> {
    let id = target.id.as_node()?;
    let g = Tensor { tape: target.tape, id: scratch.get(id)? };
    Some(if g.id.as_slot().is_some() { g.filled(target.shape()) } else { g })
}

/// Some tensors to differentiate with respect to: one, an array, a slice, a vector, in the shape the gradients come back in.
pub trait Targets<'t> {
    /// The same container.
    type Gradients;
    /// The tensors in order.
    fn targets(&self) -> SmallVec<[Tensor<'t>; 4]>;
    /// Puts the gradients where the targets were.
    fn gradients(&self, each: SmallVec<[Tensor<'t>; 4]>) -> Self::Gradients;
}

impl<'t> Targets<'t> for Tensor<'t> {
    type Gradients = Tensor<'t>;
    fn targets(&self) -> SmallVec<[Tensor<'t>; 4]> {
        smallvec![*self]
    }
    fn gradients(&self, each: SmallVec<[Tensor<'t>; 4]>) -> Tensor<'t> {
        each[0]
    }
}
impl<'t, const N: usize> Targets<'t> for [Tensor<'t>; N] {
    type Gradients = [Tensor<'t>; N];
    fn targets(&self) -> SmallVec<[Tensor<'t>; 4]> {
        SmallVec::from_slice(self)
    }
    fn gradients(&self, each: SmallVec<[Tensor<'t>; 4]>) -> [Tensor<'t>; N] {
        std::array::from_fn(|i| each[i])
    }
}
impl<'t> Targets<'t> for &[Tensor<'t>] {
    type Gradients = Vec<Tensor<'t>>;
    fn targets(&self) -> SmallVec<[Tensor<'t>; 4]> {
        SmallVec::from_slice(self)
    }
    fn gradients(&self, each: SmallVec<[Tensor<'t>; 4]>) -> Vec<Tensor<'t>> {
        each.into_vec()
    }
}
impl<'t> Targets<'t> for &Vec<Tensor<'t>> {
    type Gradients = Vec<Tensor<'t>>;
    fn targets(&self) -> SmallVec<[Tensor<'t>; 4]> {
        SmallVec::from_slice(self)
    }
    fn gradients(&self, each: SmallVec<[Tensor<'t>; 4]>) -> Vec<Tensor<'t>> {
        each.into_vec()
    }
}

impl<'t> Tensor<'t> {
    /// Gradients of this scalar with respect to tensors on its tape, leaves or intermediates, in one walk.
    ///
    /// The gradients are tensors on the same tape: they can be differentiated again. Total derivatives, also when one target depends
    /// on another.
    ///
    /// # Panics
    /// At the caller: when this is no float scalar, and when a target is not reached, naming the op and line that cut it.
    /// [`try_grad`](Self::try_grad) returns that, [`grad_or_zero`](Self::grad_or_zero) gives zeros.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0]));
    /// let [g] = (x * x * x).sum().grad([x]);
    /// let [h] = g.sum().grad([x]); // again
    /// assert_eq!((g.value(), h.value()), (Array::from([3.0, 12.0]), Array::from([6.0, 12.0])));
    /// ```
    #[track_caller]
    pub fn grad<T: Targets<'t>>(self, targets: T) -> T::Gradients {
        match self.try_grad(targets) {
            Ok(g) => g,
            Err(why) => panic!("{why}"),
        }
    }

    /// As [`grad`](Self::grad); an unreached target is returned as an error.
    #[track_caller]
    pub fn try_grad<T: Targets<'t>>(self, targets: T) -> Result<T::Gradients, Unreached> {
        let seed = self.seed("grad");
        self.pull_all(seed, targets)
    }

    /// As [`grad`](Self::grad), with zeros for targets that are not reached.
    #[track_caller]
    pub fn grad_or_zero<T: Targets<'t>>(self, targets: T) -> T::Gradients {
        let seed = self.seed("grad_or_zero");
        self.pull_or_zero(seed, targets)
    }

    /// Pulls a cotangent of this tensor's shape back onto `targets`: `Jᵀ g`.
    ///
    /// # Panics
    /// As [`grad`](Self::grad), and when the cotangent has another shape or dtype.
    #[track_caller]
    pub fn vjp<T: Targets<'t>>(self, cotangent: Tensor<'t>, targets: T) -> T::Gradients {
        self.check_direction("vjp", "cotangent", cotangent);
        match self.pull_all(cotangent, targets) {
            Ok(g) => g,
            Err(why) => panic!("{why}"),
        }
    }

    /// As [`vjp`](Self::vjp), with zeros for targets that are not reached.
    #[track_caller]
    pub fn vjp_or_zero<T: Targets<'t>>(self, cotangent: Tensor<'t>, targets: T) -> T::Gradients {
        self.check_direction("vjp_or_zero", "cotangent", cotangent);
        self.pull_or_zero(cotangent, targets)
    }

    fn pull_all<T: Targets<'t>>(self, seed: Tensor<'t>, targets: T) -> Result<T::Gradients, Unreached> {
        let wrt = targets.targets();
        let mut all = SmallVec::new();
        for (g, &t) in pull(&[(self, seed)], &wrt).into_iter().zip(&wrt) {
            all.push(match g {
                Some(g) => g,
                None => unreached::explain(self, t).map(|()| t.zeros_like())?,
            });
        }
        Ok(targets.gradients(all))
    }

    pub(super) fn pull_or_zero<T: Targets<'t>>(self, seed: Tensor<'t>, targets: T) -> T::Gradients {
        let wrt = targets.targets();
        let all = pull(&[(self, seed)], &wrt).into_iter().zip(&wrt).map(|(g, t)| g.unwrap_or_else(|| t.zeros_like())).collect();
        targets.gradients(all)
    }

    /// The cotangent 1 of a float scalar.
    #[track_caller]
    pub(crate) fn seed(self, name: &str) -> Tensor<'t> {
        if self.size() != 1 || !self.dtype().is_float() {
            panic!("{name}: expected a float scalar, got {self:?}\n  hint: x.sum(), or vjp with a cotangent");
        }
        if self.rank() == 0 { self.scalar_like(1) } else { self.ones_like() }
    }

    #[track_caller]
    pub(crate) fn check_direction(self, name: &str, what: &str, v: Tensor<'t>) {
        if v.dtype() != self.dtype() || (v.shape() != self.shape()) || !self.dtype().is_float() {
            panic!("{name}: expected a {what} of the same float dtype and shape as the tensor, got {v:?} for {self:?}");
        }
    }
}
