//! Where is the largest element, where the smallest?

use super::{Batch, Meta, Mismatch, OpDef, Rule, Sample, Typed, reduce};
use crate::{Array, Attrs, DType, Fold, KernelClass, Tensor};

const POSITION: &str = "a position is an integer, constant almost everywhere";

/// Position of the first largest element, row-major over the folded axes; a NaN counts as largest. Attributes: the folded axes, ascending.
pub static ARGMAX: OpDef = OpDef {
    name: "argmax",
    shape: |attrs, x: &[Meta<'_>]| shape(Fold::ArgMax, attrs, x),
    kernel: KernelClass::Reduce(Fold::ArgMax),
    value: |s, x| reduce::value(s, &x[0], |v| first(v, |best, x| x > best)),
    jvp: Rule::Zero(POSITION),
    vjp: Rule::Zero(POSITION),
    batch: Batch::By(|b| reduce::batch(b, &ARGMAX)),
    samples,
};

/// Position of the first smallest element, row-major over the folded axes; a NaN counts as smallest. Attributes: the folded axes, ascending.
pub static ARGMIN: OpDef = OpDef {
    name: "argmin",
    shape: |attrs, x: &[Meta<'_>]| shape(Fold::ArgMin, attrs, x),
    kernel: KernelClass::Reduce(Fold::ArgMin),
    value: |s, x| reduce::value(s, &x[0], |v| first(v, |best, x| x < best)),
    jvp: Rule::Zero(POSITION),
    vjp: Rule::Zero(POSITION),
    batch: Batch::By(|b| reduce::batch(b, &ARGMIN)),
    samples,
};

/// The ops of this file.
pub static ALL: &[&OpDef] = &[&ARGMAX, &ARGMIN];

fn shape(fold: Fold, attrs: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
    if x[0].dtype == DType::Bool {
        return Err(Mismatch::new("numbers").hint("x.cast(DType::I64) orders truth values"));
    }
    let typed = reduce::shape(fold, attrs, x)?;
    reduce::refuse_none(attrs, x)?;
    Ok(typed)
}

/// The first position that no other beats.
fn first(v: &[f64], beats: fn(f64, f64) -> bool) -> f64 {
    let mut at = 0;
    for (i, x) in v.iter().enumerate() {
        if !v[at].is_nan() && (x.is_nan() || beats(v[at], *x)) {
            at = i;
        }
    }
    at as f64
}

fn samples() -> Vec<Sample> {
    let u = |shape: &[usize]| Array::uniform(DType::F64, shape, -2.0, 2.0, 15);
    vec![
        Sample::new([u(&[2, 3])]).attrs([1]),
        Sample::new([u(&[2, 3])]).attrs([0]),
        Sample::new([u(&[3, 2, 2])]).attrs([0, 2]),
        Sample::new([Array::from([1i64, 5, 5, -5, -5])]).attrs([0]),
        Sample::new([Array::from([1.0, f64::NAN, 5.0, f64::NAN])]).attrs([0]),
        Sample::new([u(&[0, 3])]).attrs([1]),
        Sample::new([u(&[])]),
    ]
}

impl<'t> Tensor<'t> {
    /// Row-major position of the first largest of all elements, a 0-d `i64`; a NaN counts as largest.
    ///
    /// # Panics
    /// When there are no elements.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 4.0], [5.0, 3.0]]));
    /// assert_eq!(x.argmax().item(), 2.0);
    /// assert_eq!(x.argmax_axis(1).value(), Array::from([1i64, 0]));
    /// ```
    #[track_caller]
    pub fn argmax(self) -> Tensor<'t> {
        positions(&ARGMAX, self)
    }

    /// Position of the first largest element along an axis, which is dropped.
    ///
    /// # Panics
    /// As [`argmax`](Self::argmax), and when there is no such axis.
    #[track_caller]
    pub fn argmax_axis(self, axis: isize) -> Tensor<'t> {
        reduce::record(&ARGMAX, self, &[axis])
    }

    /// Row-major position of the first smallest of all elements, a 0-d `i64`; a NaN counts as smallest.
    ///
    /// # Panics
    /// When there are no elements.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 4.0], [5.0, 3.0]]));
    /// assert_eq!(x.argmin().item(), 0.0);
    /// ```
    #[track_caller]
    pub fn argmin(self) -> Tensor<'t> {
        positions(&ARGMIN, self)
    }

    /// Position of the first smallest element along an axis, which is dropped.
    ///
    /// # Panics
    /// As [`argmin`](Self::argmin), and when there is no such axis.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 4.0], [5.0, 3.0]]));
    /// assert_eq!(x.argmin_axis(1).value(), Array::from([0i64, 1]));
    /// ```
    #[track_caller]
    pub fn argmin_axis(self, axis: isize) -> Tensor<'t> {
        reduce::record(&ARGMIN, self, &[axis])
    }
}

#[track_caller]
fn positions<'t>(op: &'static OpDef, x: Tensor<'t>) -> Tensor<'t> {
    let all: smallvec::SmallVec<[isize; 8]> = (0..x.rank() as isize).collect();
    reduce::record(op, x, &all)
}
