//! Does an op's batch rule do what single runs do?

use super::case::{Case, compare};
use crate::{Array, DType, Dense, Tape, differentiate::batch};

/// How many runs are stacked.
const SIZES: [usize; 2] = [3, 1];

/// All tensor inputs batched, and each alone, against one run after the other.
pub(super) fn check(case: &Case<'_>) -> Result<(), String> {
    let tensors: Vec<usize> = (0..case.x.len()).filter(|&i| !case.sample.scalars[i]).collect();
    let mut sets: Vec<Vec<usize>> = tensors.iter().map(|&i| vec![i]).collect();
    if tensors.len() > 1 {
        sets.push(tensors);
    }
    for size in SIZES {
        for set in &sets {
            stacked(case, set, size).map_err(|e| format!("inputs {set:?} batched {size} times: {e}"))?;
        }
    }
    Ok(())
}

fn stacked(case: &Case<'_>, set: &[usize], size: usize) -> Result<(), String> {
    let tape = Tape::new();
    let (y, x) = case.recorded(&tape, DType::F64);
    let mapped: Vec<_> = set.iter().map(|&i| (x[i], tape.leaf(&stack(&case.x[i], size)))).collect();
    let found = Dense::of(&batch(&mapped, &[y], size)[0].value());
    let rows = (0..size).map(|k| {
        let tape = Tape::new();
        let input = |i: usize| tape.leaf(&if set.contains(&i) { variant(&case.x[i], k) } else { case.x[i].clone() });
        let x = case.inputs(&tape, input, DType::F64);
        (case.record)(&x, &tape).value().to_f64_vec()
    });
    let data: Vec<f64> = rows.flatten().collect();
    let mut dims = vec![size];
    dims.extend_from_slice(&y.shape());
    let largest = super::case::largest(&data);
    compare(&found, &Dense { dims, data }, 1e-12, 1e-13 * largest)
}

/// Input number `k` of a batch: floats scaled, so that they stay in the function's domain; others moved along.
fn variant(x: &Array, k: usize) -> Array {
    let mut v = x.to_f64_vec();
    if x.dtype().is_float() {
        v.iter_mut().for_each(|v| *v *= 1.0 - 0.125 * k as f64);
    } else if !v.is_empty() {
        let n = v.len();
        v.rotate_left(k % n);
    }
    Array::new(x.shape(), v).cast(x.dtype())
}

fn stack(x: &Array, size: usize) -> Array {
    let mut dims = vec![size];
    dims.extend_from_slice(x.shape());
    let data: Vec<f64> = (0..size).flat_map(|k| variant(x, k).to_f64_vec()).collect();
    Array::new(dims, data).cast(x.dtype())
}
