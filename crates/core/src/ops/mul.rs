//! `a * b`.

use super::{Batch, Dense, OpDef, Rule, pair};
use crate::KernelClass;
use smallvec::smallvec;

/// Product of two tensors, element by element; integers wrap.
pub static OP: OpDef = OpDef {
    name: "mul",
    shape: pair::same_number,
    kernel: KernelClass::Pointwise(|p| p.x(0) * p.x(1)),
    value: |s, x| Dense::map(s, x, |v| v[0] * v[1]),
    jvp: Rule::By(|cx, t| {
        let (a, b) = (t[0].map(|t| t * cx.x(1)), t[1].map(|t| cx.x(0) * t));
        smallvec![match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        }]
    }),
    vjp: Rule::By(|cx, g| {
        let Some(g) = g[0] else { return smallvec![None, None] };
        smallvec![cx.when_needed(0, || g * cx.x(1)), cx.when_needed(1, || g * cx.x(0))]
    }),
    batch: Batch::Pointwise,
    samples: pair::signed_samples,
};
