//! Are an op's derivative rules right? Differences of its reference loop alone, and the rules against each other.

use super::{
    case::{Case, Held, compare, largest},
    claim::{Claim, normal, typical},
    slope,
};
use crate::{
    Array, DType, Dense, Rule, Shape, Tape, Tensor,
    differentiate::{pull, push},
};

/// Off the tape, by the reference loops, so that a kernel's fault is not taken for a rule's.
fn plain(g: Option<Tensor<'_>>, like: Tensor<'_>) -> Dense {
    g.map_or_else(|| Dense { dims: like.shape().to_vec(), data: vec![0.0; like.size()] }, Tensor::reference)
}

fn random(shape: &Shape, seed: u64) -> Array {
    Array::new(shape, normal(shape.size(), seed))
}

/// `Σ w (f(x') - f(x))` by the reference loop, and how large its terms are.
fn weighed<'a>(case: &'a Case<'_>, x: &'a [Dense], w: &'a [f64]) -> (impl Fn(&[Dense]) -> f64 + 'a, f64) {
    let dtypes = case.dtypes();
    let at = (case.value)(x, &dtypes).expect("the sample's inputs are accepted").data;
    let magnitude = at.iter().zip(w).map(|(y, w)| (y * w).abs()).filter(|t| t.is_finite()).sum();
    let change = move |to: &[Dense]| {
        let to = (case.value)(to, &dtypes).expect("the sample's inputs are accepted").data;
        to.iter().zip(&at).zip(w).map(|((to, from), w)| w * (to - from)).sum()
    };
    (change, magnitude)
}

/// `Jᵀ w` against central differences; also that a rule which claims to be zero is.
pub(super) fn first(case: &Case<'_>) -> Result<(), String> {
    let tape = Tape::new();
    let (y, x) = case.recorded(&tape, DType::F64);
    if case.held(y) != Held::Differences {
        return Ok(());
    }
    let w = random(&y.shape(), 1);
    let pulled = pull(&[(y, tape.constant(&w))], &x);
    let gradient: Vec<Vec<f64>> = pulled.into_iter().zip(&x).map(|(g, x)| plain(g, *x).data).collect();
    let (point, w) = (case.point(), w.to_f64_vec());
    let (change, magnitude) = weighed(case, &point, &w);
    let moves = case.moves();
    let claim = Claim { x: &point, moves: &moves, gradient: &gradient, change: &change, magnitude, tolerance: 1e-7, held: Vec::new() };
    let Err(at) = claim.examine(2, 11) else { return Ok(()) };
    let claimed = match case.op.map(|op| op.vjp) {
        Some(Rule::Zero(why)) => format!("the rule claims zero ({why})"),
        _ => format!("the rule gives {:?}", at.claimed),
    };
    let sides = format!("{:?} from the left, {:?} from the right", at.left, at.right);
    Err(format!("input {} at {:?}: {claimed}, differences give {:?} ({sides})\n  {}", at.input, at.index, at.found, at.rule))
}

/// `uᵀ (∂²f/∂x²) v` by the rule of the rule's record, against mixed second differences of values.
pub(super) fn second(case: &Case<'_>) -> Result<(), String> {
    let tape = Tape::new();
    let (y, x) = case.recorded(&tape, DType::F64);
    if case.held(y) != Held::Differences {
        return Ok(());
    }
    let w = random(&y.shape(), 2);
    let gradient = pull(&[(y, tape.constant(&w))], &x);
    let (point, w, moves) = (case.point(), w.to_f64_vec(), case.moves());
    let (change, magnitude) = weighed(case, &point, &w);
    for seed in [3, 4] {
        let direction = |k: u64| -> Vec<Vec<f64>> {
            let each = point.iter().enumerate().map(|(i, x)| {
                let scale = if moves[i] { typical(&x.data) } else { 0.0 };
                normal(x.data.len(), 100 * seed + 10 * k + i as u64).into_iter().map(|v| scale * v).collect()
            });
            each.collect()
        };
        let (u, v) = (direction(0), direction(1));
        let along = |i: usize| tape.constant(&Array::new(x[i].shape(), &u[i]));
        let pairs: Vec<_> = (0..x.len()).filter(|&i| moves[i]).filter_map(|i| Some((gradient[i]?, along(i)))).collect();
        let pulled = pull(&pairs, &x);
        let terms: Vec<f64> = (0..x.len()).filter(|&i| moves[i]).flat_map(|i| products(&plain(pulled[i], x[i]).data, &v[i])).collect();
        let mut moved = |s: f64, t: f64| {
            let mut to = point.clone();
            for (x, (u, v)) in to.iter_mut().zip(u.iter().zip(&v)) {
                x.data.iter_mut().zip(u.iter().zip(v)).filter(|(_, (u, _))| **u != 0.0).for_each(|(x, (u, v))| *x += s * u + t * v);
            }
            change(&to)
        };
        let found = slope::mixed(&mut moved, magnitude);
        let (claimed, tolerance) = (terms.iter().sum::<f64>(), case.sample.tolerance.unwrap_or(1e-5));
        let scale = terms.iter().map(|t| t * t).sum::<f64>().sqrt().max(found.value.abs());
        let allowed = tolerance * scale + 8.0 * found.spread;
        let unstable = found.spread > 1e-3 * scale + 1e-6 * (magnitude + found.reach);
        let difference = (claimed - found.value).abs();
        if unstable || difference.is_nan() || difference > allowed {
            return Err(format!(
                "the rules give {claimed:?}, differences {:?} (allowed {allowed:.1e}, spread {:.1e})",
                found.value, found.spread
            ));
        }
    }
    Ok(())
}

fn products(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a * b).collect()
}

/// The sets of inputs to give tangents to: all at once, and each alone.
fn sets(moves: &[bool]) -> Vec<Vec<usize>> {
    let all: Vec<usize> = (0..moves.len()).filter(|&i| moves[i]).collect();
    let mut sets: Vec<Vec<usize>> = all.iter().map(|&i| vec![i]).collect();
    if all.len() > 1 {
        sets.push(all);
    }
    sets
}

/// `⟨w, J v⟩ = ⟨Jᵀ w, v⟩` for tangents in all inputs and in each alone; the products are taken off the tape.
pub(super) fn modes(case: &Case<'_>) -> Result<(), String> {
    let tape = Tape::new();
    let (y, x) = case.recorded(&tape, DType::F64);
    if case.held(y) == Held::Nothing {
        return Ok(());
    }
    let w = random(&y.shape(), 5);
    let cotangent = tape.constant(&w);
    for set in sets(&case.moves()) {
        let v: Vec<Array> = set.iter().map(|&i| random(&x[i].shape(), 60 + i as u64)).collect();
        let seeds: Vec<_> = set.iter().zip(&v).map(|(&i, v)| (x[i], tape.constant(v))).collect();
        let targets: Vec<Tensor<'_>> = set.iter().map(|&i| x[i]).collect();
        let forward = products(&plain(push(&[y], &seeds)[0], y).data, &w.to_f64_vec());
        let pulled = pull(&[(y, cotangent)], &targets);
        let reverse: Vec<f64> =
            pulled.into_iter().zip(&targets).zip(&v).flat_map(|((g, x), v)| products(&plain(g, *x).data, &v.to_f64_vec())).collect();
        let (f, r): (f64, f64) = (forward.iter().sum(), reverse.iter().sum());
        let size: f64 = forward.iter().chain(&reverse).map(|t| t.abs()).sum();
        let difference = (f - r).abs();
        if difference.is_nan() || difference > 1e-11 * size {
            return Err(format!("tangents in inputs {set:?}: ⟨w, J v⟩ = {f:?}, ⟨Jᵀ w, v⟩ = {r:?}"));
        }
    }
    Ok(())
}

/// What the records of both rules say when they are differentiated: `Jᵀ` transposed is `J`, and both depend on `x` alike.
pub(super) fn rules(case: &Case<'_>) -> Result<(), String> {
    let tape = Tape::new();
    let (y, x) = case.recorded(&tape, DType::F64);
    if case.held(y) != Held::Differences {
        return Ok(());
    }
    let moved: Vec<Tensor<'_>> = (0..x.len()).filter(|&i| case.moves()[i]).map(|i| x[i]).collect();
    let w = tape.constant(&random(&y.shape(), 7));
    let seeds: Vec<_> = moved.iter().enumerate().map(|(i, x)| (*x, tape.constant(&random(&x.shape(), 80 + i as u64)))).collect();
    let pushed = push(&[y], &seeds)[0];
    let pulled = pull(&[(y, w)], &moved);
    let pairs: Vec<_> = pulled.iter().zip(&seeds).filter_map(|(g, (_, v))| Some(((*g)?, *v))).collect();
    let (forward, transposed) = (plain(pushed, y), plain(pull(&pairs, &[w])[0], y));
    close(&transposed, &forward).map_err(|e| format!("the vjp transposed gives {e} by the jvp"))?;
    let of_jvp = match pushed {
        Some(jv) => pull(&[(jv, w)], &moved),
        None => moved.iter().map(|_| None).collect(),
    };
    let tangents: Vec<Tensor<'_>> = seeds.iter().map(|(_, v)| *v).collect();
    let back = pushed.map_or_else(|| moved.iter().map(|_| None).collect(), |jv| pull(&[(jv, w)], &tangents));
    for (i, x) in moved.iter().enumerate() {
        close(&plain(back[i], *x), &plain(pulled[i], *x)).map_err(|e| format!("input {i}: the jvp transposed gives {e} by the vjp"))?;
    }
    let of_vjp = pull(&pairs, &moved);
    for (i, x) in moved.iter().enumerate() {
        let (a, b) = (plain(of_jvp[i], *x), plain(of_vjp[i], *x));
        close(&a, &b).map_err(|e| format!("differentiated by input {i}, the jvp gives {e} by the vjp"))?;
    }
    Ok(())
}

fn close(found: &Dense, expected: &Dense) -> Result<(), String> {
    compare(found, expected, 0.0, 1e-9 * largest(&expected.data).max(largest(&found.data)))
}

/// `Jᵀ w` and `J v` computed in `f32` are those in `f64`, but for rounding.
pub(super) fn single(case: &Case<'_>) -> Result<(), String> {
    if (case.value)(&case.point(), &narrowed(case)).is_none() {
        return Ok(());
    }
    let both = |float: DType| {
        let tape = Tape::new();
        let (y, x) = case.recorded(&tape, float);
        if case.held(y) == Held::Nothing || y.dtype() != float {
            return None;
        }
        let given = |shape: &Shape, seed| tape.constant(&random(shape, seed).cast(float));
        let seeds: Vec<_> = (0..x.len()).filter(|&i| case.moves()[i]).map(|i| (x[i], given(&x[i].shape(), 90 + i as u64))).collect();
        let jv = push(&[y], &seeds)[0].unwrap_or_else(|| y.zeros_like());
        let pulled = pull(&[(y, given(&y.shape(), 9))], &x);
        let mut all = vec![Dense::of(&jv.value())];
        all.extend(pulled.into_iter().flatten().map(|g| Dense::of(&g.value())));
        Some(all)
    };
    let (Some(narrow), Some(wide)) = (both(DType::F32), both(DType::F64)) else { return Ok(()) };
    if narrow.len() != wide.len() {
        return Err(format!("{} results, in f64 {}", narrow.len(), wide.len()));
    }
    narrow.iter().zip(&wide).try_for_each(|(n, w)| compare(n, w, 1e-3, 1e-3 * largest(&w.data)))
}

/// The sample's dtypes, floats as `f32`.
pub(super) fn narrowed(case: &Case<'_>) -> Vec<DType> {
    case.dtypes().iter().map(|&d| if d.is_float() { DType::F32 } else { d }).collect()
}
