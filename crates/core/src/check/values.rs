//! Do the kernels compute what an op means? Planned, fused, in `f32`, on views, and at special values, against the reference loop.

use super::{
    case::{Case, compare, largest},
    derivatives::narrowed,
};
use crate::{Array, DType, Dense, KernelClass, Tape, Tensor, ops::slice};

/// Relative tolerances: transcendental functions differ between libraries by a few units in the last place, sums by their order.
const DOUBLE: f64 = 1e-12;
const SINGLE: f64 = 1e-5;

/// The inputs as they are.
pub(super) fn dense(case: &Case<'_>) -> Result<(), String> {
    let tape = Tape::new();
    let (y, _) = case.recorded(&tape, DType::F64);
    against(case, y, &case.point())
}

/// Inputs that are computed by pointwise ops, and an output that goes through one.
pub(super) fn fused(case: &Case<'_>) -> Result<(), String> {
    let tape = Tape::new();
    let through = |x: Tensor<'_>| x.dtype().is_float();
    let x = case.inputs(&tape, |i| tape.leaf(&case.x[i]), DType::F64);
    let x: Vec<Tensor<'_>> = x.into_iter().map(|x| if through(x) && x.id.as_node().is_some() { -(-x) } else { x }).collect();
    let y = (case.record)(&x, &tape);
    against(case, if through(y) { -(-y) } else { y }, &case.point())
}

fn against(case: &Case<'_>, y: Tensor<'_>, x: &[Dense]) -> Result<(), String> {
    let expected = (case.value)(x, &case.dtypes()).ok_or("the shape rule refuses the sample")?;
    if y.shape() != expected.dims[..] {
        return Err(format!("the shape rule gives {:?}, the reference {:?}", y.shape(), expected.dims));
    }
    compare(&Dense::of(&y.value()), &expected, DOUBLE, DOUBLE * largest(&expected.data))
}

/// In `f32`, where the op takes it.
pub(super) fn single(case: &Case<'_>) -> Result<(), String> {
    let rounded: Vec<Array> = case.x.iter().map(|x| if x.dtype().is_float() { x.cast(DType::F32) } else { x.clone() }).collect();
    let x: Vec<Dense> = rounded.iter().map(Dense::of).collect();
    let Some(expected) = (case.value)(&x, &narrowed(case)) else { return Ok(()) };
    let tape = Tape::new();
    let (y, _) = case.recorded(&tape, DType::F32);
    compare(&Dense::of(&y.value()), &expected, SINGLE, SINGLE * largest(&expected.data))
}

/// Each tensor input as a view of a leaf that is laid out in another way.
pub(super) fn views(case: &Case<'_>) -> Result<(), String> {
    for (name, view) in VIEWS {
        let tape = Tape::new();
        let mut point = case.point();
        let tensor = |i: usize| {
            let x = view(&tape, &case.x[i]);
            point[i] = x.reference();
            x
        };
        let x = case.inputs(&tape, tensor, DType::F64);
        let y = (case.record)(&x, &tape);
        against(case, y, &point).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

type View = for<'t> fn(&'t Tape, &Array) -> Tensor<'t>;

const VIEWS: [(&str, View); 5] = [
    ("transposed", |tape, x| {
        let axes: Vec<isize> = (0..x.rank() as isize).rev().collect();
        let turned = tape.leaf(x).permute(&axes).value();
        tape.leaf(&turned).permute(&axes)
    }),
    ("every second element of a longer leaf", |tape, x| sliced(tape, x, 1, 2)),
    ("a leaf backwards", |tape, x| sliced(tape, x, -1, -1)),
    ("repeated along the last axis", |tape, x| repeated(tape, x, x.rank().wrapping_sub(1))),
    ("repeated along the first axis", |tape, x| repeated(tape, x, 0)),
];

/// A leaf that holds the elements at `start + step i` along each axis, counted from the end when negative.
fn sliced<'t>(tape: &'t Tape, x: &Array, start: i64, step: i64) -> Tensor<'t> {
    let wide: Vec<usize> = x.shape().iter().map(|&d| (d - d.min(1)) * step.unsigned_abs() as usize + d.min(1) + 1).collect();
    let first = |axis: usize| if x.shape()[axis] == 0 { 0 } else { start.rem_euclid(wide[axis] as i64) };
    let mut held = Dense { dims: wide.clone(), data: vec![0.0; wide.iter().product()] };
    Dense::from_fn(x.shape(), |i| {
        let at: Vec<usize> = i.iter().enumerate().map(|(a, &i)| (first(a) + step * i as i64) as usize).collect();
        *held.at_mut(&at) = x.get(i);
        0.0
    });
    let mut attrs: Vec<i64> = (0..x.rank()).flat_map(|a| [first(a), step]).collect();
    attrs.extend(x.shape().iter().map(|&d| d as i64));
    tape.leaf(&held.to_array(x.dtype())).op(&slice::OP, [], &attrs)
}

/// The first slice along an axis, at every place of it.
fn repeated<'t>(tape: &'t Tape, x: &Array, axis: usize) -> Tensor<'t> {
    if x.size() == 0 || axis >= x.rank() {
        return tape.leaf(x);
    }
    let mut dims = x.shape().to_vec();
    dims[axis] = 1;
    let first = |i: &[usize]| x.get(i);
    let slice = Array::from_fn(dims, first).cast(x.dtype());
    tape.leaf(&slice).broadcast_to(x.shape())
}

const FLOATS: [f64; 12] = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 700.0, -745.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
const INTEGERS: [f64; 6] = [1.0, 2.0, 3.0, -1.0, -2.0, 5.0];
const TRUTHS: [f64; 2] = [0.0, 1.0];

/// Pointwise ops at signed zeros, infinities and NaN in all combinations, and on integers and truth values where they take them.
pub(super) fn special(case: &Case<'_>) -> Result<(), String> {
    let Some(op) = case.op.filter(|op| matches!(op.kernel, KernelClass::Pointwise(_)) && !case.sample.scalars.contains(&true)) else {
        return Ok(());
    };
    if case.x.is_empty() {
        return Ok(());
    }
    let own = case.dtypes();
    let replaced = |with: DType| own.iter().map(|&d| if d.is_float() { with } else { d }).collect::<Vec<DType>>();
    for dtypes in [own.clone(), replaced(DType::F32), replaced(DType::I64), replaced(DType::Bool)] {
        let x = combinations(&dtypes);
        let Some(expected) = (case.value)(&x, &dtypes) else { continue };
        let tape = Tape::new();
        let inputs: Vec<Tensor<'_>> = x.iter().zip(&dtypes).map(|(x, d)| tape.leaf(&x.to_array(*d))).collect();
        let y = tape.op(op, &inputs, &case.sample.attrs);
        let found = Dense::of(&y.value());
        let beyond = |b: f64| y.dtype() == DType::I64 && (!b.is_finite() || b.abs() >= 2f64.powi(53));
        let beyond: Vec<bool> = expected.data.iter().map(|&b| beyond(b)).collect();
        // What the reference gives in doubles, as a value of the op's dtype.
        let expected = Dense::of(&expected.to_array(y.dtype()));
        let relative = if dtypes.contains(&DType::F32) { SINGLE } else { DOUBLE };
        for (at, beyond) in beyond.into_iter().enumerate() {
            let (a, b) = (found.data[at], expected.data[at]);
            let zeros_differ = a == 0.0 && b == 0.0 && a.is_sign_negative() != b.is_sign_negative();
            if !beyond && (zeros_differ || super::case::apart(&[a], &[b], relative, 1e-300).is_some()) {
                let of: Vec<f64> = x.iter().map(|x| x.data[at]).collect();
                return Err(format!("of {of:?} as {dtypes:?}: {a:?}, expected {b:?}"));
            }
        }
    }
    Ok(())
}

/// For each operand a vector, so that all combinations of special values occur.
fn combinations(dtypes: &[DType]) -> Vec<Dense> {
    let values = |d: DType| match d {
        DType::F32 | DType::F64 => &FLOATS[..],
        DType::I64 => &INTEGERS,
        DType::Bool => &TRUTHS,
    };
    let n: usize = dtypes.iter().map(|&d| values(d).len()).product();
    let mut stride = 1;
    let operand = |&d: &DType| {
        let (v, every) = (values(d), stride);
        stride *= v.len();
        Dense { dims: vec![n], data: (0..n).map(|i| v[i / every % v.len()]).collect() }
    };
    dtypes.iter().map(operand).collect()
}
