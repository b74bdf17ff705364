//! `a + b`.

use super::{Batch, Dense, OpDef, Rule, pair};
use crate::KernelClass;
use smallvec::smallvec;

/// Sum of two tensors, element by element; integers wrap.
pub static OP: OpDef = OpDef {
    name: "add",
    shape: pair::same_number,
    kernel: KernelClass::Pointwise(|p| p.x(0) + p.x(1)),
    value: |s, x| Dense::map(s, x, |v| v[0] + v[1]),
    jvp: Rule::By(|_, t| {
        smallvec![match (t[0], t[1]) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        }]
    }),
    vjp: Rule::By(|_, g| smallvec![g[0], g[0]]),
    batch: Batch::Pointwise,
    samples: pair::signed_samples,
};
