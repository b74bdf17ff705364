//! How do I add an op that the engine does not have? With the type that its own ops are made of, and its own checks.

use wengert::{
    Array, Attrs, Batch, Cx, DType, Dense, Function, KernelClass, Meta, Mismatch, OpDef, Rule, Sample, Tangents, Tape, Tensor, Typed, check,
};

/// `x / (1 + |x|)`, in full: a pointwise program that is fused with its neighbours, and a slope for both directions.
static SOFTSIGN: OpDef = OpDef {
    name: "softsign",
    shape: |_, x| if x[0].dtype.is_float() { Typed::like(0, x) } else { Err(Mismatch::new("a float operand")) },
    kernel: KernelClass::Pointwise(|p| p.x(0) / (p.x(0).abs() + 1.0)),
    value: |spec, x| Dense::map(spec, x, |v| v[0] / (1.0 + v[0].abs())),
    jvp: Rule::By(slope),
    vjp: Rule::By(slope),
    batch: Batch::Pointwise,
    samples: || vec![Sample::new([Array::uniform(DType::F64, [2, 3], 0.2, 2.0, 1)])],
};

fn slope<'t>(cx: &Cx<'t>, t: &[Option<Tensor<'t>>]) -> Tangents<'t> {
    let width = 1.0 + cx.x(0).abs();
    Tangents::from_slice(&[t[0].map(|t| t / (width * width))])
}

/// The median of a vector of odd length, the short way: a function over arrays, and its gradient.
struct Median;

impl Function for Median {
    const NAME: &'static str = "median";

    fn shape(_: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
        if x[0].shape.rank() == 1 && x[0].shape[0] % 2 == 1 && x[0].dtype.is_float() {
            Typed::new(x[0].dtype, &[])
        } else {
            Err(Mismatch::new("an odd number of floats"))
        }
    }

    fn value(_: &Attrs, x: &[Array]) -> Result<Array, String> {
        let mut sorted = x[0].to_f64_vec();
        if sorted.iter().any(|v| v.is_nan()) {
            return Err("NaN has no place in an order".into());
        }
        sorted.sort_by(f64::total_cmp);
        Ok(Array::scalar(sorted[sorted.len() / 2]).cast(x[0].dtype()))
    }

    fn vjp<'t>(cx: &Cx<'t>, g: Tensor<'t>) -> Tangents<'t> {
        let hit = cx.x(0).eq(cx.y()).cast(g.dtype());
        Tangents::from_slice(&[Some(g * hit / hit.sum())])
    }

    fn samples() -> Vec<Sample> {
        vec![Sample::new([Array::from([0.3, -1.0, 2.0, 0.5, -0.25])])]
    }
}

static MEDIAN: OpDef = OpDef::function::<Median>();

/// A wrong rule, to see that the checks bite: the root of the right width is missing.
static WRONG: OpDef = OpDef {
    name: "softsign with a wrong slope",
    vjp: Rule::By(|cx, t| Tangents::from_slice(&[t[0].map(|t| t / (1.0 + cx.x(0).abs()))])),
    samples: || (SOFTSIGN.samples)(),
    value: |spec, x| (SOFTSIGN.value)(spec, x),
    shape: |attrs, x| (SOFTSIGN.shape)(attrs, x),
    kernel: KernelClass::Pointwise(|p| p.x(0) / (p.x(0).abs() + 1.0)),
    jvp: Rule::By(slope),
    batch: Batch::Pointwise,
};

/// Checks both ops as the engine checks its own, and uses them.
pub fn main() {
    check::check_op(&SOFTSIGN).unwrap();
    check::check_op(&MEDIAN).unwrap();
    let fault = check::check_op(&WRONG).unwrap_err();
    println!("found: {fault}");

    let tape = Tape::new();
    let x = tape.leaf(&Array::from([-3.0, 0.0, 1.0]));
    let y = x.op(&SOFTSIGN, [], &[]);
    println!("softsign {y}, slope {}", y.sum().grad(x));
    assert_eq!(y.value(), Array::from([-0.75, 0.0, 0.5]));
    assert_eq!(y.sum().grad(x).value(), Array::from([0.0625, 1.0, 0.25]));

    let middle = (x * x).op(&MEDIAN, [], &[]);
    println!("median of squares {middle}, gradient {}", middle.grad(x));
    assert_eq!((middle.item(), middle.grad(x).value()), (1.0, Array::from([0.0, 0.0, 2.0])));
}
