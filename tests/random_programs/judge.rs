//! Does a program give, however it is read, what its ops mean? The reference loops in `f64`, and each op evaluated by itself, decide.

use crate::recorder::{self, Recorder};
use wengert::{Array, DType, Tape, Tensor, concat, set_threads};

/// Relative changes of the leaves that a result must not magnify too much to be compared, and the error that is allowed at least.
const DOUBLE: (f64, f64) = (1e-13, 1e-9);
const SINGLE: (f64, f64) = (1e-6, 1e-4);
/// What a result may be off by, in changes that the nudge makes.
const MAGNIFIED: f64 = 200.0;
/// Above so many elements the reference loops are left out.
const SLOW: usize = 16 << 10;

/// What a program gives: chosen values of its pool, a loss, gradients, sometimes gradients of those.
fn wanted<'t>(r: &mut Recorder<'t, '_>) -> Vec<Tensor<'t>> {
    let mut wanted: Vec<Tensor<'t>> = r.pool.iter().map(|k| k.x).collect();
    wanted.retain(|_| r.choices.chance(30));
    wanted.push(r.pool[r.pool.len() - 1].x);
    if r.choices.chance(75) {
        let terms: Vec<Tensor<'t>> = r.pool.iter().map(|k| k.x).rev().filter(|x| x.size() > 0).take(5).collect();
        let loss = terms.iter().map(|x| if x.dtype() == r.kind.dtype { *x } else { x.cast(r.kind.dtype) }).map(|x| (x * 0.5).sin().mean());
        let Some(loss) = loss.reduce(|a, b| a + b) else { return wanted };
        let leaves: Vec<Tensor<'t>> = r.leaves.iter().map(|l| l.1).collect();
        let gradients = loss.grad_or_zero(&leaves);
        wanted.push(loss);
        wanted.extend(&gradients);
        if r.choices.chance(25) {
            let length = gradients.iter().map(|g| (*g * *g).sum()).reduce(|a, b| a + b).expect("there is a leaf");
            wanted.extend(length.grad_or_zero(&leaves));
        }
    }
    wanted
}

/// All numbers of all tensors, one after the other.
fn flat<'t>(x: &[Tensor<'t>]) -> Tensor<'t> {
    let each: Vec<Tensor<'t>> = x.iter().map(|x| x.cast(DType::F64).flatten()).collect();
    concat(&each, 0)
}

fn numbers(values: &[Array]) -> Vec<f64> {
    values.iter().flat_map(Array::to_f64_vec).collect()
}

/// What values are compared with.
struct Expected {
    values: Vec<f64>,
    /// How far each may be off.
    allowed: Vec<f64>,
    /// What the numbers belong to, by their count.
    parts: Vec<(String, usize)>,
}

impl Expected {
    fn of(bytes: &[u8]) -> Expected {
        let look = |nudge: f64| {
            let is_large = recorder::size(bytes) > SLOW;
            let tape = if is_large { Tape::eager() } else { Tape::new() };
            let mut r = Recorder::record(&tape, bytes, nudge);
            let x = wanted(&mut r);
            let all = flat(&x);
            let values = if is_large { all.value().to_f64_vec() } else { all.reference().data };
            let parts: Vec<(String, usize)> = x.iter().map(|x| (format!("{x:?}"), x.size())).collect();
            (values, parts, if r.is_rounded { SINGLE } else { DOUBLE })
        };
        let (values, parts, (nudge, least)) = look(0.0);
        let mut allowed: Vec<f64> = values.iter().map(|v| least * (1.0 + v.abs())).collect();
        let mut magnified = vec![0.0; values.len()];
        for nudge in [nudge, -0.7 * nudge] {
            let (moved, ..) = look(nudge);
            for ((a, b), m) in values.iter().zip(&moved).zip(&mut magnified) {
                let moved = if a == b || a.is_nan() && b.is_nan() { 0.0 } else { (a - b).abs() };
                *m = f64::max(*m, if moved.is_nan() { f64::INFINITY } else { moved });
            }
        }
        let mut at = 0;
        for (_, n) in &parts {
            let largest = magnified[at..at + n].iter().copied().fold(0.0, f64::max);
            allowed[at..at + n].iter_mut().for_each(|a| *a += MAGNIFIED * largest);
            at += n;
        }
        Expected { values, allowed, parts }
    }

    /// `None` if the values are as expected, else the first that is not.
    fn fault(&self, found: &[f64]) -> Option<String> {
        assert_eq!(found.len(), self.values.len(), "numbers");
        let same =
            |a: f64, b: f64, allowed: f64| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= allowed || allowed == f64::INFINITY;
        let at = (0..found.len()).find(|&i| !same(found[i], self.values[i], self.allowed[i]))?;
        let (mut start, mut number) = (0, 0);
        while at >= start + self.parts[number].1 {
            start += self.parts[number].1;
            number += 1;
        }
        let (e, f, a) = (self.values[at], found[at], self.allowed[at]);
        let name = &self.parts[number].0;
        Some(format!("result {number}, {name}, element {}: expected {e:?}, got {f:?}, {a:e} apart at most", at - start))
    }
}

/// Checks one program; panics with what is wrong.
pub fn judge(name: &str, bytes: &[u8]) {
    let expected = Expected::of(bytes);
    let fail = |how: &str, found: &[f64], plan: &str| {
        if let Some(fault) = expected.fault(found) {
            panic!("program {name}, {how}: {fault}\n{plan}");
        }
    };
    let tape = Tape::new();
    let mut r = Recorder::record(&tape, bytes, 0.0);
    let x = wanted(&mut r);
    let plan = tape.plan(&x).to_string();
    set_threads(1);
    let one = numbers(&tape.eval(&x));
    fail("read together", &one, &plan);
    for threads in [2, 7] {
        set_threads(threads);
        let tape = Tape::new();
        let mut r = Recorder::record(&tape, bytes, 0.0);
        let several = numbers(&tape.eval(&wanted(&mut r)));
        let same = one.iter().zip(&several).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "program {name}: {threads} threads give other bits than one\n{plan}");
    }
    kept(name, bytes, &one, &plan);
    one_by_one(bytes, &fail, &plan);
    updated(&Tape::new(), bytes, &fail, &plan);
    chained(bytes, &fail);
    eagerly(bytes, &fail, &plan);
}

type Fail<'a> = dyn Fn(&str, &[f64], &str) + 'a;

/// Compiled, with the leaves as inputs, on a tape where these hold other numbers; run twice. A read makes the same plan: the same bits.
fn kept(name: &str, bytes: &[u8], one: &[f64], plan: &str) {
    let program = {
        let tape = Tape::new();
        let mut r = Recorder::record(&tape, bytes, 0.5);
        let x = wanted(&mut r);
        let leaves: Vec<Tensor<'_>> = r.leaves.iter().map(|l| l.1).collect();
        tape.compile(&leaves, &x)
    };
    let tape = Tape::new();
    let mut r = Recorder::record(&tape, bytes, 0.0);
    wanted(&mut r);
    let leaves: Vec<Array> = r.leaves.into_iter().map(|l| l.0).collect();
    for run in ["the first", "the second"] {
        let found = numbers(&program.run(&leaves));
        let wrong = one.iter().zip(&found).position(|(a, b)| a.to_bits() != b.to_bits());
        let at = wrong.unwrap_or(0);
        assert!(wrong.is_none(), "program {name}, kept, {run} run: number {at} is {:?}, read {:?}\n{plan}", found[at], one[at]);
    }
}

/// Each value by a read of its own, the last first, so that later plans start from what earlier ones left.
fn one_by_one(bytes: &[u8], fail: &Fail<'_>, plan: &str) {
    let tape = Tape::new();
    let mut r = Recorder::record(&tape, bytes, 0.0);
    let x = wanted(&mut r);
    let mut values: Vec<Array> = x.iter().rev().map(|x| x.value()).collect();
    values.reverse();
    fail("read one by one", &numbers(&values), plan);
}

/// Read together with a step that writes new leaves over the old.
fn updated<'t>(tape: &'t Tape, bytes: &[u8], fail: &Fail<'_>, plan: &str) {
    let mut r = Recorder::record(tape, bytes, 0.0);
    let x = wanted(&mut r);
    let mut arrays: Vec<Array> = Vec::new();
    let mut next: Vec<Tensor<'t>> = Vec::new();
    for (array, leaf) in std::mem::take(&mut r.leaves) {
        let change = x.iter().find(|g| g.shape() == leaf.shape() && g.dtype() == leaf.dtype());
        next.push(change.map_or(leaf * 0.5, |g| leaf * 0.5 + *g));
        arrays.push(array);
    }
    let plain = {
        let tape = Tape::new();
        let mut r = Recorder::record(&tape, bytes, 0.0);
        let x = wanted(&mut r);
        let next = r.leaves.iter().map(|&(_, leaf)| {
            let change = x.iter().find(|g| g.shape() == leaf.shape() && g.dtype() == leaf.dtype());
            change.map_or(leaf * 0.5, |g| leaf * 0.5 + *g)
        });
        tape.eval(&(x.clone(), next.collect::<Vec<_>>()))
    };
    let read = tape.eval_and_update(&x, &mut arrays, next);
    fail("read with an update", &numbers(&read), plan);
    let same = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-3 * (1.0 + a.abs());
    let (new, expected) = (numbers(&arrays), numbers(&plain.1));
    let wrong = new.iter().zip(&expected).position(|(a, b)| !same(*a, *b));
    assert!(wrong.is_none(), "an update writes {:?}, expected {:?}\n{plan}", new[wrong.unwrap_or(0)], expected[wrong.unwrap_or(0)]);
}

/// With chains of kernels that run part by part wherever they may: the same on any number of threads, alone and with an update.
fn chained(bytes: &[u8], fail: &Fail<'_>) {
    let chained = || {
        let tape = Tape::new();
        tape.chain_everywhere();
        tape
    };
    let mut first: Option<Vec<f64>> = None;
    for threads in [1, 7] {
        set_threads(threads);
        let tape = chained();
        let x = wanted(&mut Recorder::record(&tape, bytes, 0.0));
        let plan = tape.plan(&x).to_string();
        let found = numbers(&tape.eval(&x));
        fail("read in chains", &found, &plan);
        let same = first.iter().flatten().zip(&found).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "in chains, {threads} threads give other bits than one\n{plan}");
        first = Some(found);
        updated(&chained(), bytes, fail, &plan);
    }
}

/// Each op evaluated as it is recorded.
fn eagerly(bytes: &[u8], fail: &Fail<'_>, plan: &str) {
    let tape = Tape::eager();
    let mut r = Recorder::record(&tape, bytes, 0.0);
    let x = wanted(&mut r);
    fail("read eagerly", &numbers(&tape.eval(&x)), plan);
}
