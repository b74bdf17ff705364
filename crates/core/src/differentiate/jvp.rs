//! How are tangents pushed forward? One walk over the nodes between targets and results, recording each op's rule on the same tape.

use super::{
    Scratch, Targets,
    vjp::{self, Called, Pulled, accumulate, finish, fitted, pull, visit},
};
use crate::{
    Tensor,
    ops::{Cx, Rule, Tangents},
    record::{Record, Walk, node::Operand},
};
use smallvec::{SmallVec, smallvec};
use std::time::Instant;

/// Pushes tangents, given as `(target, tangent)`, to `results`; `None` where nothing arrives, which is a tangent of zero.
///
/// Only nodes that a result is computed from and that depend on a target are visited. Total derivatives, as in the other
/// direction: a target that depends on another has its own tangent and the other's.
pub(crate) fn push<'t>(results: &[Tensor<'t>], seeds: &[(Tensor<'t>, Tensor<'t>)]) -> Pulled<'t> {
    let nothing = || smallvec![None; results.len()];
    let Some(tape) = results.first().map(|y| y.tape) else { return nothing() };
    let first = seeds.iter().filter_map(|(x, _)| x.id.as_node()).min();
    let last = results.iter().filter_map(|y| y.id.as_node()).max();
    let (Some(first), Some(last)) = (first, last) else { return nothing() };
    if last < first {
        return nothing();
    }
    let start = Instant::now();
    let (mut scratch, begin) = {
        let mut r = tape.record.borrow_mut();
        (r.scratch.pop().unwrap_or_default(), r.nodes.len())
    };
    scratch.begin(first, last);
    mark_ancestors(&mut scratch, &tape.record(), results, first, last);
    for (x, tangent) in seeds {
        if let Some(id) = x.id.as_node().filter(|&id| id <= last) {
            accumulate(&mut scratch, id, *tangent);
        }
    }
    for id in first..=last {
        let y = Tensor { tape, id: Operand::node(id) };
        if !scratch.is_active(y.id) || !y.dtype().is_float() {
            continue;
        }
        let tangent = |x: Operand| Some(Tensor { tape, id: scratch.get(x.as_node()?)? });
        let Some((cx, at)) = visit(y, |x| tangent(x).is_some()) else { continue };
        let t: SmallVec<[Option<Tensor<'t>>; 4]> = cx.inputs.iter().map(|&x| tangent(x)).collect();
        tape.located_at(at, || {
            let Called::Gave(out) = call(&cx, &t) else { return };
            assert!(out.len() == 1, "{}: its jvp gave {} tangents for one output", cx.op.name, out.len());
            if let Some(t) = out[0] {
                let t = fitted(&cx, y, t, || "its jvp gave a tangent".into());
                accumulate(&mut scratch, id, t);
            }
        });
    }
    let pushed = results.iter().map(|y| finish(&scratch, *y)).collect();
    let mut r = tape.record.borrow_mut();
    let end = r.nodes.len();
    r.walks.push(Walk { nodes: begin..end, result: last, time: start.elapsed(), origins: [].into() });
    r.scratch.push(scratch);
    pushed
}

/// Marks the results and everything from `first` on that they are computed from.
pub(super) fn mark_ancestors(scratch: &mut Scratch, r: &Record, results: &[Tensor<'_>], first: usize, last: usize) {
    for id in results.iter().filter_map(|y| y.id.as_node()) {
        scratch.activate(id);
    }
    for id in (first..=last).rev() {
        if scratch.is_active(Operand::node(id)) {
            for x in r.inputs(id).iter().filter_map(|x| x.as_node()) {
                scratch.activate(x);
            }
        }
    }
}

/// Applies an op's jvp rule.
fn call<'t>(cx: &Cx<'t>, t: &[Option<Tensor<'t>>]) -> Called<'t> {
    match cx.op.jvp {
        Rule::By(f) | Rule::Declared(f, _) => Called::Gave(f(cx, t)),
        Rule::Zero(_) | Rule::Stop(_) => Called::Cut,
        Rule::Transposed => transposed(cx, t),
    }
}

/// The jvp by the vjp alone: `Jᵀ` is linear, so pulling the tangents back through the record of `Jᵀ u` gives `J t`.
///
/// What is recorded for `Jᵀ u` itself is needed by nobody and never computed, so `u` may be anything.
fn transposed<'t>(cx: &Cx<'t>, t: &[Option<Tensor<'t>>]) -> Called<'t> {
    let u = cx.y.zeros_like();
    let Called::Gave(back) = vjp::call(&cx.op.vjp, cx.op, cx, &[Some(u)]) else { return Called::Cut };
    let pairs: SmallVec<[_; 4]> = back.iter().zip(t).filter_map(|(b, t)| Some(((*b)?, (*t)?))).collect();
    let tangents: Tangents<'t> = pull(&pairs, &[u]).into_iter().collect();
    Called::Gave(tangents)
}

impl<'t> Tensor<'t> {
    /// Pushes tangents of `targets` forward to this tensor: `J t`, in one walk, whatever the number of targets.
    ///
    /// Total derivatives, as for [`grad`](Self::grad). The derivative of something that does not depend on the targets is zero, and
    /// so is what is returned then. A tangent may itself be differentiated.
    ///
    /// # Panics
    /// At the caller: when this is no float tensor, when there are not as many tangents as targets, and when a tangent has another
    /// dtype or shape than its target.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let (x, v) = (tape.leaf(&Array::from([1.0, 2.0])), tape.leaf(&Array::from([1.0, -1.0])));
    /// assert_eq!((x * x).jvp(x, v).value(), Array::from([2.0, -4.0]));
    /// ```
    #[track_caller]
    pub fn jvp<X: Targets<'t>, V: Targets<'t>>(self, targets: X, tangents: V) -> Tensor<'t> {
        if !self.dtype().is_float() {
            panic!("jvp: expected a float tensor, got {self:?}");
        }
        let seeds = pairs("jvp", "tangent", &targets.targets(), &tangents.targets());
        match push(&[self], &seeds)[0] {
            Some(t) => t,
            None => self.zeros_like(),
        }
    }
}

/// Each target with the direction given for it.
#[track_caller]
pub(super) fn pairs<'t>(name: &str, what: &str, x: &[Tensor<'t>], v: &[Tensor<'t>]) -> SmallVec<[(Tensor<'t>, Tensor<'t>); 4]> {
    if x.len() != v.len() {
        panic!("{name}: expected a {what} for each of {} targets, got {}", x.len(), v.len());
    }
    let mut pairs = SmallVec::new();
    for (&x, &v) in x.iter().zip(v) {
        x.check_direction(name, what, v);
        pairs.push((x, v));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use crate::{
        Array, Tape, Tensor,
        ops::{self, OpDef, Rule},
    };

    fn leaf<'t>(tape: &'t Tape, v: &[f64]) -> Tensor<'t> {
        tape.leaf(&Array::from(v))
    }

    #[test]
    fn several_targets_at_once() {
        let tape = Tape::new();
        let (x, y) = (leaf(&tape, &[1.0, 2.0]), leaf(&tape, &[3.0, 4.0]));
        let (tx, ty) = (leaf(&tape, &[1.0, 10.0]), leaf(&tape, &[0.5, 0.0]));
        assert_eq!((x * y).jvp([x, y], [tx, ty]).value(), Array::from([3.5, 40.0]));
    }

    #[test]
    fn a_target_that_depends_on_another_has_both_tangents() {
        let tape = Tape::new();
        let x = leaf(&tape, &[3.0]);
        let y = x * x;
        let (tx, ty) = (leaf(&tape, &[1.0]), leaf(&tape, &[0.5]));
        assert_eq!((2.0 * y).jvp([x, y], [tx, ty]).value(), Array::from([13.0]));
        assert_eq!(y.jvp([y], [ty]).value(), Array::from([0.5]));
    }

    #[test]
    fn what_does_not_depend_has_tangent_zero() {
        let tape = Tape::new();
        let (x, y) = (leaf(&tape, &[1.0, 2.0]), leaf(&tape, &[3.0, 4.0]));
        assert_eq!(y.exp().jvp(x, x).value(), Array::from([0.0, 0.0]));
        assert_eq!(x.sign().jvp(x, x).value(), Array::from([0.0, 0.0]));
        assert_eq!(y.jvp((y * 2.0).exp(), y).value(), Array::from([0.0, 0.0]), "the target comes after the result");
    }

    #[test]
    fn a_jvp_derived_by_transposing_agrees_with_the_written_one() {
        for op in [&ops::mul::OP, &ops::add::OP, &ops::div::OP, &ops::pow::OP, &ops::matmul::OP] {
            let derived: &'static OpDef = Box::leak(Box::new(OpDef { jvp: Rule::Transposed, ..*copy(op) }));
            let tape = Tape::new();
            let at = |seed| tape.leaf(&Array::uniform(crate::DType::F64, [2, 2], 0.5, 2.0, seed));
            let (x, y, tx, ty) = (at(1), at(2), at(3), at(4));
            let written = tape.op(op, &[x, y], &[]).jvp([x, y], [tx, ty]).value();
            let z = tape.op(derived, &[x, y], &[]);
            assert!(z.jvp([x, y], [tx, ty]).value().all_close(&written, 1e-14, 0.0), "{}", op.name);
            let one = tape.op(op, &[x, y], &[]).jvp([y], [ty]).value();
            assert!(z.jvp([y], [ty]).value().all_close(&one, 1e-14, 0.0), "{}", op.name);
            // It is recorded like any other, so it can be differentiated again.
            let (a, b) = (z.jvp(x, tx).sum().grad_or_zero(x), tape.op(op, &[x, y], &[]).jvp(x, tx).sum().grad_or_zero(x));
            assert!(a.value().all_close(&b.value(), 1e-13, 1e-15), "{}", op.name);
        }
    }

    fn copy(op: &'static OpDef) -> Box<OpDef> {
        let OpDef { name, shape, kernel, value, jvp, vjp, batch, samples } = *op;
        Box::new(OpDef { name, shape, kernel, value, jvp, vjp, batch, samples })
    }

    #[test]
    #[should_panic(expected = "jvp: expected a tangent of the same float dtype and shape")]
    fn a_tangent_of_another_shape_is_refused() {
        let tape = Tape::new();
        let x = leaf(&tape, &[1.0, 2.0]);
        x.jvp(x, x.sum());
    }
}
