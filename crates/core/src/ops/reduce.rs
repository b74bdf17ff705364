//! What do the ops that fold axes away share?

use super::{BatchCx, Cx, Dense, Meta, Mismatch, OpDef, Spec, Typed};
use crate::{Attrs, DType, Fold, Shape, Tensor};
use smallvec::SmallVec;

/// Shape without the folded axes.
pub(crate) fn shape(fold: Fold, attrs: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
    let from = x[0].shape;
    if x[0].dtype == DType::Bool && matches!(fold, Fold::Sum | Fold::Prod) {
        return Err(Mismatch::new("numbers").hint("x.cast(DType::I64) counts truth values"));
    }
    if !attrs.is_sorted_by(|a, b| a < b) || attrs.iter().any(|&a| a < 0 || a as usize >= from.rank()) {
        return Err(Mismatch::new(format!("ascending axes of the operand, not {attrs:?}")));
    }
    if attrs.is_empty() && fold.result(x[0].dtype) == x[0].dtype {
        return Typed::like(0, x);
    }
    let dims: SmallVec<[usize; 8]> = kept(attrs, from.rank()).map(|a| from[a]).collect();
    Typed::new(fold.result(x[0].dtype), &dims)
}

/// Refuses a fold of no elements into some, for folds without an identity.
pub(crate) fn refuse_none(attrs: &Attrs, x: &[Meta<'_>]) -> Result<(), Mismatch> {
    let from = x[0].shape;
    let none = attrs.iter().any(|&a| from[a as usize] == 0) && kept(attrs, from.rank()).all(|a| from[a] != 0);
    if none { Err(Mismatch::new("at least one element along the folded axes")) } else { Ok(()) }
}

/// The axes that stay, ascending.
fn kept(folded: &Attrs, rank: usize) -> impl Iterator<Item = usize> {
    (0..rank).filter(|&a| !folded.contains(&(a as i64)))
}

/// The reference: `f` of the elements under each output index, in row-major order of the folded axes.
pub(crate) fn value(spec: &Spec<'_>, x: &Dense, f: impl Fn(&[f64]) -> f64) -> Dense {
    let keep: Vec<usize> = kept(spec.attrs, x.dims.len()).collect();
    let mut groups: Vec<Vec<f64>> = vec![Vec::new(); spec.shape.size()];
    Dense::from_fn(&x.dims, |i| {
        let at = keep.iter().fold(0, |at, &a| at * x.dims[a] + i[a]);
        groups[at].push(x.at(i));
        0.0
    });
    Dense { dims: spec.shape.to_vec(), data: groups.iter().map(|g| f(g)).collect() }
}

/// Repeats `t`, which has the output's shape, over the folded axes of the input.
pub(crate) fn unfold<'t>(t: Tensor<'t>, cx: &Cx<'t>) -> Tensor<'t> {
    let to = cx.x(0).shape();
    if t.id.as_slot().is_some() {
        return t.broadcast_to(to);
    }
    let axes: SmallVec<[usize; 8]> = kept(&cx.attrs(), to.rank()).collect();
    if axes.len() == to.rank() { t } else { t.expand_into(&axes, &to) }
}

/// The same fold, one axis further right.
pub(crate) fn batch<'t>(b: &BatchCx<'t>, op: &'static OpDef) -> Tensor<'t> {
    let axes: SmallVec<[i64; 8]> = b.attrs.iter().map(|a| a + 1).collect();
    b.x[0].tape.op(op, &[b.x[0]], &axes)
}

/// Resolves the axes and records.
#[track_caller]
pub(crate) fn record<'t>(op: &'static OpDef, x: Tensor<'t>, axes: &[isize]) -> Tensor<'t> {
    let mut folded: SmallVec<[i64; 8]> = SmallVec::new();
    for &axis in axes {
        folded.push(x.axis(op.name, axis) as i64);
    }
    folded.sort_unstable();
    if folded.windows(2).any(|w| w[0] == w[1]) {
        panic!("{}: expected each axis once, got {axes:?} for {x:?}", op.name);
    }
    x.tape.op(op, &[x.recorded()], &folded)
}

/// The result `y` of a fold of `x`, with the folded axes put back as axes of length 1.
#[track_caller]
pub(crate) fn keep<'t>(x: Tensor<'t>, axes: &[isize], y: Tensor<'t>) -> Tensor<'t> {
    let mut dims = x.shape().to_vec();
    for &axis in axes {
        dims[x.axis("keep", axis)] = 1;
    }
    y.reshape(Shape::new(&dims).expect("not larger than the operand"))
}
