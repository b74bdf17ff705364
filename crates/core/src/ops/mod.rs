//! All operations. One line per file; a file that is not named here is not compiled, and what is named is checked by `tests/every_op.rs`.

#[cfg(test)]
pub(crate) mod check;
pub mod composed;
mod def;
mod function;
pub(crate) mod pair;
pub(crate) mod reduce;
mod reference;
pub(crate) mod sliding;

pub use def::{Batch, BatchCx, Cx, Meta, Mismatch, OpDef, OutShape, Rule, RuleFn, Sample, Tangents, Typed, linear_jvp};
pub use function::Function;
pub use reference::{Dense, Spec};

/// Declares the op modules and, from the same list, the registry that the tests walk.
macro_rules! ops {
    (files: $($m:ident),*; tables: $($t:ident),*;) => {
        $(pub mod $m;)*
        $(pub mod $t;)*
        /// Every operation of the engine.
        pub fn all() -> impl Iterator<Item = &'static OpDef> {
            static ONE_PER_FILE: &[&OpDef] = &[$(&$m::OP),*];
            ONE_PER_FILE.iter().copied() $(.chain($t::ALL.iter().copied()))*
        }
    };
}
ops! {
    files: add, sub, mul, div, pow, select, cast, fill, expand, reshape, permute, sum, prod, matmul,
        slice, place, gather, scatter_add, index_select, index_add, cumsum, iota, stop_gradient, shift;
    tables: elementwise, extremum, amax, argmax, compare, logic, random, conv2d, pool2d;
}
