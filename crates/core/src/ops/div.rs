//! `a / b`.

use super::{Batch, Dense, OpDef, Rule, pair};
use crate::KernelClass;
use smallvec::smallvec;

/// Quotient of two tensors, element by element; floats only.
pub static OP: OpDef = OpDef {
    name: "div",
    shape: pair::same_float,
    kernel: KernelClass::Pointwise(|p| p.x(0) / p.x(1)),
    value: |s, x| Dense::map(s, x, |v| v[0] / v[1]),
    jvp: Rule::By(|cx, t| {
        let b = cx.x(1);
        smallvec![match (t[0], t[1]) {
            (Some(ta), Some(tb)) => Some((ta - cx.y() * tb) / b),
            (ta, tb) => ta.map(|t| t / b).or(tb.map(|t| -(cx.y() * t) / b)),
        }]
    }),
    vjp: Rule::By(|cx, g| {
        let Some(g) = g[0] else { return smallvec![None, None] };
        let ga = g / cx.x(1);
        smallvec![Some(ga), cx.when_needed(1, || -(ga * cx.y()))]
    }),
    batch: Batch::Pointwise,
    samples: pair::samples,
};
