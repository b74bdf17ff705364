//! What is an op held to? Every check at one sample, in an order that puts the plainest fault first.

use super::{batching, derivatives, values};
use crate::{Array, DType, Dense, Meta, OpDef, OutShape, Rule, Sample, Shape, Spec, Tape, Tensor, ops::composed::Composed};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// A check that an op has failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{op}, sample {sample}: {check}: {what}")]
pub struct OpFault {
    /// Name of the op.
    pub op: String,
    /// Number of the sample; 0 where one was given.
    pub sample: usize,
    /// Which check.
    pub check: &'static str,
    /// What was expected and what was found.
    pub what: String,
}

/// A function with a plain meaning, at the inputs of a sample.
pub(super) struct Case<'a> {
    pub name: &'a str,
    pub sample: &'a Sample,
    /// The inputs, floats as doubles.
    pub x: Vec<Array>,
    pub record: &'a dyn for<'t> Fn(&[Tensor<'t>], &'t Tape) -> Tensor<'t>,
    /// The meaning, for inputs of these dtypes; `None` where they are refused.
    pub value: &'a Meaning<'a>,
    pub op: Option<&'static OpDef>,
}

type Meaning<'a> = dyn Fn(&[Dense], &[DType]) -> Option<Dense> + 'a;

/// What the derivative rules of a case are held to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// To differences, and to each other.
    Differences,
    /// To each other only.
    EachOther,
    /// To nothing: there are no tangents.
    Nothing,
}

type Check = fn(&Case<'_>) -> Result<(), String>;

const CHECKS: &[(&str, Check)] = &[
    ("vjp against differences", derivatives::first),
    ("jvp against vjp", derivatives::modes),
    ("vjp of the vjp against second differences", derivatives::second),
    ("derivatives of the rules against each other", derivatives::rules),
    ("batch rule against single runs", batching::check),
    ("value against the reference", values::dense),
    ("value within a fused chain", values::fused),
    ("value in f32", values::single),
    ("derivative in f32", derivatives::single),
    ("value of views", values::views),
    ("special values", values::special),
];

/// Checks everything that an op claims at one sample: its value by every kernel against its reference loop; its vjp against
/// differences of the reference, in two orders; its jvp against its vjp; its batch rule against single runs; in `f32` and `f64`, on
/// views of every layout, and for pointwise ops at infinities, NaN and signed zeros. Rules of kind `Zero` are checked to be zero;
/// `Declared` and `Stop` are exempt from differences.
pub fn op(def: &'static OpDef, sample: &Sample) -> Result<(), OpFault> {
    let value = |x: &[Dense], dtypes: &[DType]| reference(def, sample, x, dtypes);
    run(&Case {
        name: def.name,
        sample,
        x: widened(sample),
        record: &|x, tape| tape.op(def, x, &sample.attrs),
        value: &value,
        op: Some(def),
    })
}

/// As [`op`], at every sample that the op brings; an op must bring one.
///
/// ```
/// use wengert_core::{check::check_op, ops};
/// check_op(&ops::mul::OP).unwrap();
/// ```
pub fn check_op(def: &'static OpDef) -> Result<(), OpFault> {
    let samples = (def.samples)();
    if samples.is_empty() {
        return Err(OpFault { op: def.name.into(), sample: 0, check: "samples", what: "expected at least one, got none".into() });
    }
    for (i, sample) in samples.iter().enumerate() {
        op(def, sample).map_err(|fault| OpFault { sample: i, ..fault })?;
    }
    Ok(())
}

/// As [`op`], for a function put together from ops.
pub fn composed(function: &'static Composed, sample: &Sample) -> Result<(), OpFault> {
    let value = |x: &[Dense], _: &[DType]| Some((function.value)(x));
    run(&Case { name: function.name, sample, x: widened(sample), record: &|x, _| (function.run)(x), value: &value, op: None })
}

fn run(case: &Case<'_>) -> Result<(), OpFault> {
    for (check, f) in CHECKS {
        let result = catch_unwind(AssertUnwindSafe(|| f(case))).unwrap_or_else(|panic| Err(text(&*panic)));
        result.map_err(|what| OpFault { op: case.name.into(), sample: 0, check, what })?;
    }
    Ok(())
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("for an unknown reason"))
}

fn widened(sample: &Sample) -> Vec<Array> {
    sample.x.iter().map(|x| if x.dtype().is_float() { x.cast(DType::F64) } else { x.clone() }).collect()
}

/// The op's reference loop; `None` where its shape rule refuses.
fn reference(def: &OpDef, sample: &Sample, x: &[Dense], dtypes: &[DType]) -> Option<Dense> {
    let shapes: Vec<Shape> = x.iter().map(|x| Shape::new(&x.dims).expect("the sample had this shape")).collect();
    let meta = |i: usize| Meta { dtype: dtypes[i], shape: &shapes[i], is_scalar: sample.scalars[i] };
    let metas: Vec<Meta<'_>> = (0..x.len()).map(meta).collect();
    let typed = (def.shape)(&sample.attrs, &metas).ok()?;
    let shape = match typed.shape {
        OutShape::Like(i) => shapes[i],
        OutShape::New(shape) => shape,
    };
    Some((def.value)(&Spec { attrs: &sample.attrs, shape: &shape, dtype: typed.dtype, inputs: dtypes }, x))
}

impl Case<'_> {
    pub fn dtypes(&self) -> Vec<DType> {
        self.x.iter().map(Array::dtype).collect()
    }

    /// The inputs as plain doubles.
    pub fn point(&self) -> Vec<Dense> {
        self.x.iter().map(Dense::of).collect()
    }

    /// Which inputs have derivatives.
    pub fn moves(&self) -> Vec<bool> {
        self.x.iter().zip(&self.sample.scalars).map(|(x, scalar)| x.dtype().is_float() && !scalar).collect()
    }

    /// The inputs on a tape, by number from `tensor`, or as scalar operands.
    pub fn inputs<'t>(&self, tape: &'t Tape, mut tensor: impl FnMut(usize) -> Tensor<'t>, float: DType) -> Vec<Tensor<'t>> {
        let each = self.x.iter().zip(&self.sample.scalars).enumerate().map(|(i, (x, scalar))| {
            let dtype = if x.dtype().is_float() { float } else { x.dtype() };
            if *scalar { tape.scalar(dtype, x.item()) } else { tensor(i) }
        });
        each.collect()
    }

    /// The function recorded at the sample's inputs, and these.
    pub fn recorded<'t>(&self, tape: &'t Tape, float: DType) -> (Tensor<'t>, Vec<Tensor<'t>>) {
        let leaf = |i: usize| tape.leaf(&if self.x[i].dtype().is_float() { self.x[i].cast(float) } else { self.x[i].clone() });
        let x = self.inputs(tape, leaf, float);
        ((self.record)(&x, tape), x)
    }

    pub fn held(&self, y: Tensor<'_>) -> Held {
        let exempt = |rule| matches!(rule, Rule::Declared(..) | Rule::Stop(_));
        if !y.dtype().is_float() || !self.moves().contains(&true) {
            Held::Nothing
        } else if self.op.is_some_and(|op| exempt(op.vjp) || exempt(op.jvp)) {
            Held::EachOther
        } else {
            Held::Differences
        }
    }
}

/// The first element that is not close: `None` if all are. Equal infinities are close, and so are two NaN.
pub(super) fn apart(found: &[f64], expected: &[f64], relative: f64, absolute: f64) -> Option<usize> {
    let close = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan() || b.is_finite() && (a - b).abs() <= absolute + relative * b.abs();
    (0..expected.len()).find(|&i| !close(found[i], expected[i]))
}

/// `Err` with both values where two results are not close.
pub(super) fn compare(found: &Dense, expected: &Dense, relative: f64, absolute: f64) -> Result<(), String> {
    if found.dims != expected.dims || found.data.len() != expected.data.len() {
        return Err(format!("shape {:?}, expected {:?}", found.dims, expected.dims));
    }
    match apart(&found.data, &expected.data, relative, absolute) {
        None => Ok(()),
        Some(at) => {
            let index = super::claim::unravel(at, &expected.dims);
            Err(format!("{:?} at {index:?}, expected {:?}", found.data[at], expected.data[at]))
        }
    }
}

/// The largest finite absolute value; 0 if there is none.
pub(super) fn largest(x: &[f64]) -> f64 {
    x.iter().map(|v| v.abs()).filter(|v| v.is_finite()).fold(0.0, f64::max)
}
