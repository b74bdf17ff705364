//! Which steps does the registry give? Whatever op is listed there takes part in random programs.

use crate::{
    recorder::{Known, Recorder},
    steps::exact,
};
use wengert::{Array, DType, KernelClass, OpDef, Rule, Sample, Spec, Tensor, ops};

/// Pointwise ops of `arity` tensors of floats without attributes, from the registry.
fn pointwise(arity: usize) -> Vec<(&'static OpDef, Sample)> {
    let fits = |s: &Sample| s.x.len() == arity && s.attrs.is_empty() && s.x.iter().all(|x| x.dtype().is_float() && x.size() > 0);
    let class = |op: &OpDef| matches!(op.kernel, KernelClass::Pointwise(_)) && op.name != "stop_gradient";
    ops::all().filter(|op| class(op)).filter_map(|op| Some((op, (op.samples)().into_iter().next()?))).filter(|(_, s)| fits(s)).collect()
}

/// Least and largest number of a sample's input: where the op is meant to be used.
fn domain(x: &Array) -> (f64, f64) {
    let v = x.to_f64_vec();
    (v.iter().copied().fold(f64::INFINITY, f64::min), v.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

/// `a` mapped into the domain of an operand, unless it lies there already; as it is where numbers out of bounds are wanted.
fn mapped<'t>(r: &mut Recorder<'t, '_>, a: Known<'t>, (low, high): (f64, f64)) -> Tensor<'t> {
    let (middle, half) = (0.5 * (low + high), 0.5 * (high - low));
    let lies_within = middle - half <= -a.bound && a.bound <= middle + half;
    if lies_within || r.kind.special && r.choices.chance(50) { a.x } else { a.x.tanh() * half + middle }
}

/// Largest absolute value that the op's reference takes on a grid over the domains.
fn largest(op: &OpDef, domains: &[(f64, f64)]) -> f64 {
    const GRID: usize = 9;
    let n = GRID.pow(domains.len() as u32);
    let at = |i: usize, (low, high): (f64, f64)| low + (high - low) * i as f64 / (GRID - 1) as f64;
    let x: Vec<wengert::Dense> = (domains.iter().enumerate())
        .map(|(k, &d)| wengert::Dense { dims: vec![n], data: (0..n).map(|i| at(i / GRID.pow(k as u32) % GRID, d)).collect() })
        .collect();
    let inputs = vec![DType::F64; domains.len()];
    let shape = *Array::zeros(DType::Bool, [n]).shape();
    let y = (op.value)(&Spec { attrs: &[], shape: &shape, dtype: DType::F64, inputs: &inputs }, &x);
    1.5 * y.data.iter().map(|v| v.abs()).filter(|v| v.is_finite()).fold(0.0, f64::max)
}

/// A listed function of one tensor.
pub fn unary(r: &mut Recorder<'_, '_>) {
    let all = pointwise(1);
    let (op, sample) = &all[r.choices.below(all.len())];
    let is_step = matches!(op.vjp, Rule::Zero(_));
    let a = if is_step { exact(r) } else { r.any() };
    let domain = domain(&sample.x[0]);
    let x = if is_step { a.x } else { mapped(r, a, domain) };
    let y = x.op(op, [], &[]);
    if y.dtype().is_float() {
        r.push(y, largest(op, &[domain]).max(if is_step { a.bound + 1.0 } else { 0.0 }), is_step);
    } else {
        let y = y.cast(r.kind.dtype);
        r.push(y, 1.0, true);
    }
}

/// A listed function of two tensors, broadcast.
pub fn binary(r: &mut Recorder<'_, '_>) {
    let all = pointwise(2);
    let (op, sample) = &all[r.choices.below(all.len())];
    let is_step = matches!(op.vjp, Rule::Zero(_));
    let a = if is_step { exact(r) } else { r.any() };
    let mut b = r.beside(a);
    if is_step && !b.exact {
        b = a;
    }
    let domains = [domain(&sample.x[0]), domain(&sample.x[1])];
    let (x, z) = if is_step { (a.x, b.x) } else { (mapped(r, a, domains[0]), mapped(r, b, domains[1])) };
    let shape = x.shape().broadcast(&z.shape()).expect("it was drawn so");
    let y = x.broadcast_to(shape).op(op, [z.broadcast_to(shape)], &[]);
    if is_step {
        let y = y.cast(r.kind.dtype);
        r.push(y, 1.0, true);
    } else {
        r.push_smooth(y, largest(op, &domains).max(a.bound * b.bound).max(a.bound + b.bound));
    }
}

/// Any op of the registry at one of its samples, its inputs moved a little by a value of the program.
pub fn sample(r: &mut Recorder<'_, '_>) {
    let all: Vec<&OpDef> = ops::all().collect();
    let op = all[r.choices.below(all.len())];
    let samples = (op.samples)();
    let sample = &samples[r.choices.below(samples.len())];
    let moved = match op.vjp {
        Rule::By(_) => Some(r.any().x.sum().tanh() * 0.05 + 1.0),
        _ => None,
    };
    let dtype = r.kind.dtype;
    let inputs: Vec<Tensor<'_>> = (sample.x.iter().zip(&sample.scalars))
        .map(|(x, &is_scalar)| match (x.dtype().is_float(), is_scalar) {
            (true, true) => r.tape.scalar(dtype, x.item()),
            (false, true) => r.tape.scalar(x.dtype(), x.item()),
            (true, false) => moved.map_or(r.tape.leaf(&x.cast(dtype)), |m| r.tape.leaf(&x.cast(dtype)) * m),
            (false, false) => r.tape.constant(x),
        })
        .collect();
    // Some attributes name a dtype, which need not be the program's.
    let y = r.tape.op(op, &inputs, &sample.attrs);
    r.is_rounded |= y.dtype() == DType::F32;
    let y = if y.dtype() == dtype { y } else { y.cast(dtype) };
    r.push_smooth(y.tanh(), 1.0);
}
