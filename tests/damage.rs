//! Do the checks bite? Each rule of each op is damaged in every way that we have seen or can think of, and must be caught.

use std::{cell::Cell, collections::BTreeMap};
use wengert::{Array, Batch, BatchCx, Cx, DType, OpDef, Rule, Sample, Tangents, Tape, Tensor, check, ops};

/// What is done to a rule's results.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    /// A slope one and a half times too steep.
    Scaled,
    /// The other sign.
    Negated,
    /// A constant added.
    Shifted,
    /// The first result forgotten.
    Dropped,
    /// The last result forgotten.
    DroppedLast,
    /// Elements in reverse order.
    Reversed,
    /// Right numbers, cut off from what they were computed from.
    Detached,
}
use Damage::*;

const DAMAGES: [Damage; 7] = [Scaled, Negated, Shifted, Dropped, DroppedLast, Reversed, Detached];

thread_local! {
    /// The op whose copy is being checked, and the damage. Rules are plain functions, so they cannot carry it.
    static UNDER_TEST: Cell<Option<(&'static OpDef, Damage)>> = const { Cell::new(None) };
}

fn under_test() -> (&'static OpDef, Damage) {
    UNDER_TEST.get().expect("set before a damaged rule runs")
}

fn damaged<'t>(damage: Damage, given: Tensor<'t>) -> Tensor<'t> {
    match damage {
        Scaled => given * 1.5,
        Negated => -given,
        Shifted => given + 0.25,
        Reversed => reversed(given),
        Detached => given.tape().constant(&given.value()),
        Dropped | DroppedLast => unreachable!("a result that is forgotten is not computed"),
    }
}

/// Row-major elements in reverse order, by a product with the reversed identity.
fn reversed(x: Tensor<'_>) -> Tensor<'_> {
    let n = x.size();
    let turn = Array::from_fn([n, n], |i| f64::from(u8::from(i[0] + i[1] + 1 == n))).cast(x.dtype());
    x.tape().constant(&turn).matmul(x.reshape([n, 1])).reshape(x.shape())
}

fn damage_all<'t>(damage: Damage, mut given: Tangents<'t>) -> Tangents<'t> {
    let last = given.len() - 1;
    match damage {
        Dropped => given[0] = None,
        DroppedLast => given[last] = None,
        _ => given.iter_mut().for_each(|t| *t = t.map(|t| damaged(damage, t))),
    }
    given
}

fn damaged_vjp<'t>(cx: &Cx<'t>, g: &[Option<Tensor<'t>>]) -> Tangents<'t> {
    let (op, damage) = under_test();
    match op.vjp {
        Rule::By(f) => damage_all(damage, f(cx, g)),
        _ => unreachable!("only rules are damaged"),
    }
}

fn damaged_jvp<'t>(cx: &Cx<'t>, t: &[Option<Tensor<'t>>]) -> Tangents<'t> {
    let (op, damage) = under_test();
    match op.jvp {
        Rule::By(f) => damage_all(damage, f(cx, t)),
        _ => unreachable!("only rules are damaged"),
    }
}

fn damaged_batch<'t>(cx: &BatchCx<'t>) -> Tensor<'t> {
    let (op, damage) = under_test();
    let y = match op.batch {
        Batch::By(f) => f(cx),
        Batch::Pointwise => unreachable!("only rules are damaged"),
    };
    if y.dtype().is_float() { damaged(damage, y) } else { y }
}

/// Which rule of the copy is the damaged one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Vjp,
    Jvp,
    Batch,
}

fn copy(op: &'static OpDef, part: Part) -> &'static OpDef {
    let OpDef { name, shape, kernel, value, mut jvp, mut vjp, mut batch, samples } = *op;
    match part {
        Part::Vjp => vjp = Rule::By(damaged_vjp),
        Part::Jvp => jvp = Rule::By(damaged_jvp),
        Part::Batch => batch = Batch::By(damaged_batch),
    }
    Box::leak(Box::new(OpDef { name, shape, kernel, value, jvp, vjp, batch, samples }))
}

fn has(op: &OpDef, part: Part) -> bool {
    match part {
        Part::Vjp => matches!(op.vjp, Rule::By(_)),
        Part::Jvp => matches!(op.jvp, Rule::By(_)),
        Part::Batch => matches!(op.batch, Batch::By(_)),
    }
}

/// What a user would see of the rule: numbers, of first and second order. Where these are the same as without it, it is no damage.
fn numbers(op: &'static OpDef, sample: &Sample, part: Part) -> Vec<Array> {
    let tape = Tape::new();
    let x: Vec<Tensor<'_>> = (0..sample.x.len())
        .map(|i| {
            let x = &sample.x[i];
            let x = if x.dtype().is_float() { x.cast(DType::F64) } else { x.clone() };
            if sample.scalars[i] { tape.scalar(x.dtype(), x.item()) } else { tape.leaf(&x) }
        })
        .collect();
    if part == Part::Batch {
        return batched(op, sample, &x);
    }
    let y = tape.op(op, &x, &sample.attrs);
    let targets: Vec<Tensor<'_>> = x.iter().zip(&sample.scalars).filter(|(x, s)| x.dtype().is_float() && !**s).map(|(x, _)| *x).collect();
    if !y.dtype().is_float() || targets.is_empty() {
        return Vec::new();
    }
    let random = |t: &Tensor<'_>, seed| Array::normal(DType::F64, t.shape(), 0.0, 1.0, seed).cast(t.dtype());
    let mut all = Vec::new();
    if part == Part::Vjp {
        let w = tape.leaf(&random(&y, 1));
        let first = y.vjp_or_zero(w, &targets);
        for (i, g) in first.iter().enumerate() {
            all.push(g.value());
            let again = g.vjp_or_zero(tape.leaf(&random(g, 2 + i as u64)), &targets);
            all.extend(again.into_iter().map(Tensor::value));
            all.extend(g.vjp_or_zero(tape.leaf(&random(g, 2)), &vec![w]).into_iter().map(Tensor::value));
        }
    } else {
        for x in targets {
            let t = tape.leaf(&random(&x, 3));
            let pushed = y.jvp(x, t);
            all.push(pushed.value());
            all.push(pushed.vjp_or_zero(tape.leaf(&random(&y, 4)), x).value());
            all.push(pushed.vjp_or_zero(tape.leaf(&random(&y, 4)), t).value());
        }
    }
    all
}

fn batched(op: &'static OpDef, sample: &Sample, x: &[Tensor<'_>]) -> Vec<Array> {
    let tensors = (0..x.len()).filter(|&i| !sample.scalars[i]);
    let each = tensors.map(|i| {
        let v = sample.x[i].cast(x[i].dtype()).to_f64_vec();
        let mut dims = vec![2];
        dims.extend_from_slice(sample.x[i].shape());
        let scale = if x[i].dtype().is_float() { 0.875 } else { 1.0 };
        let both: Vec<f64> = v.iter().copied().chain(v.iter().map(|v| scale * v)).collect();
        let many = x[i].tape().leaf(&Array::new(dims, both).cast(x[i].dtype()));
        let run = |one: Tensor<'_>| -> Array { one.value() };
        run(many.vmap(|one| {
            let mut x = x.to_vec();
            x[i] = one;
            one.tape().op(op, &x, &sample.attrs)
        }))
    });
    each.collect()
}

fn same(a: &[Array], b: &[Array]) -> bool {
    let close = |(a, b): (&Array, &Array)| {
        let (a, b) = (a.to_f64_vec(), b.to_f64_vec());
        let size = b.iter().map(|v| v.abs()).filter(|v| v.is_finite()).fold(0.0, f64::max);
        a.iter().zip(&b).all(|(a, b)| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-8 * size)
    };
    a.len() == b.len() && a.iter().zip(b).all(close)
}

/// Every damage of one kind of rule; gives how many were caught by each kind.
fn damage_every_op(part: Part) -> BTreeMap<String, usize> {
    let mut missed = Vec::new();
    let mut caught = BTreeMap::new();
    for op in ops::all().filter(|op| has(op, part)) {
        let wrong = copy(op, part);
        for damage in DAMAGES {
            if part == Part::Batch && matches!(damage, Dropped | DroppedLast | Detached) {
                continue;
            }
            UNDER_TEST.set(Some((op, damage)));
            for (i, sample) in (op.samples)().iter().enumerate() {
                let harmless = same(&numbers(wrong, sample, part), &numbers(op, sample, part));
                match check::op(wrong, sample) {
                    Err(_) => *caught.entry(format!("{damage:?}")).or_insert(0) += 1,
                    Ok(()) if harmless => {}
                    Ok(()) => missed.push(format!("{} sample {i}: {part:?} {damage:?}", op.name)),
                }
            }
        }
    }
    assert!(missed.is_empty(), "{} damages were not caught:\n{}", missed.len(), missed.join("\n"));
    caught
}

fn all_kinds_were_caught(caught: &BTreeMap<String, usize>, kinds: usize) {
    assert!(caught.len() == kinds && caught.values().all(|&n| n > 10), "{caught:?}");
}

#[test]
fn a_damaged_vjp_is_caught() {
    all_kinds_were_caught(&damage_every_op(Part::Vjp), DAMAGES.len());
}

#[test]
fn a_damaged_jvp_is_caught() {
    all_kinds_were_caught(&damage_every_op(Part::Jvp), DAMAGES.len());
}

#[test]
fn a_damaged_batch_rule_is_caught() {
    all_kinds_were_caught(&damage_every_op(Part::Batch), 4);
}
