//! What do the pointwise ops of two inputs share? Shape rules and samples.

use super::{Meta, Mismatch, OutShape, Sample, Typed};
use crate::{Array, Attrs, DType};

/// Floats of one dtype and one shape, scalars aside.
pub(crate) fn same_float(_: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
    if x.iter().any(|x| !x.dtype.is_float()) {
        return Err(Mismatch::new("floats").hint("x.cast(DType::F32)"));
    }
    same_from(0, x)
}

/// As [`same_float`], for numbers.
pub(crate) fn same_number(_: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
    if x.iter().any(|x| x.dtype == DType::Bool) {
        return Err(Mismatch::new("numbers").hint("x.cast(DType::F32), or `&`, `|`, `^` for logic"));
    }
    same_from(0, x)
}

/// As [`same_float`], giving truth values.
pub(crate) fn comparison(_: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
    Ok(Typed { dtype: DType::Bool, ..same_from(0, x)? })
}

/// As [`same_float`], for truth values.
pub(crate) fn truth(_: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
    if x.iter().any(|x| x.dtype != DType::Bool) {
        return Err(Mismatch::new("bool operands").hint("a comparison such as x.ne(0) gives one"));
    }
    same_from(0, x)
}

/// Operands from number `first` on agree; the output is like the first of them that is no scalar.
pub(crate) fn same_from(first: usize, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
    let mut like = first;
    for (i, operand) in x.iter().enumerate().skip(first).filter(|(_, o)| !o.is_scalar) {
        if x[like].is_scalar {
            like = i;
        } else if !std::ptr::eq(operand.shape, x[like].shape) && operand.shape != x[like].shape {
            return Err(Mismatch::new("shapes that broadcast: equal from the last axis on, or 1"));
        }
    }
    if x[first..].iter().any(|o| o.dtype != x[like].dtype) {
        return Err(Mismatch::new("operands of one dtype").hint("x.cast(DType::F32)"));
    }
    Ok(Typed { dtype: x[like].dtype, shape: OutShape::Like(like) })
}

/// Two inputs between 0.5 and 2: matrices, a scalar on either side, 0-d, empty.
pub(crate) fn samples() -> Vec<Sample> {
    within(0.5, 2.0)
}

/// As [`samples`], of both signs.
pub(crate) fn signed_samples() -> Vec<Sample> {
    within(-2.0, 2.0)
}

fn within(low: f64, high: f64) -> Vec<Sample> {
    let u = |shape: &[usize], seed| Array::uniform(DType::F64, shape, low, high, seed);
    vec![
        Sample::new([u(&[2, 3], 1), u(&[2, 3], 2)]),
        Sample::new([u(&[2, 3], 3), u(&[], 4)]).scalar(1),
        Sample::new([u(&[], 5), u(&[4], 6)]).scalar(0),
        Sample::new([u(&[], 7), u(&[], 8)]),
        Sample::new([u(&[0, 3], 9), u(&[0, 3], 9)]),
    ]
}

/// Truth values in all combinations.
pub(crate) fn truth_samples() -> Vec<Sample> {
    vec![Sample::new([Array::from([false, false, true, true]), Array::from([false, true, false, true])])]
}
