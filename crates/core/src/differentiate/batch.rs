//! How does a recorded computation run on many inputs at once? A walk over its nodes that applies each op's batch rule.

use super::jvp::mark_ancestors;
use crate::{Batch, BatchCx, KernelClass, OpDef, Rule, Shape, Tape, Tensor, Typed, ops::Mismatch, record::node::Operand};
use smallvec::SmallVec;
use std::panic::Location;

/// Records `outputs` anew with a leading axis of length `size`, given for each tensor of `mapped` a batched one in its place.
///
/// What does not depend on a mapped tensor is shared by all, and repeated only where an op needs it.
pub(crate) fn batch<'t>(mapped: &[(Tensor<'t>, Tensor<'t>)], outputs: &[Tensor<'t>], size: usize) -> SmallVec<[Tensor<'t>; 4]> {
    let repeat = |y: Tensor<'t>| {
        let mut dims = vec![size];
        dims.extend_from_slice(&y.shape());
        y.broadcast_to(dims)
    };
    let first = mapped.iter().filter_map(|(x, _)| x.id.as_node()).min();
    let last = outputs.iter().filter_map(|y| y.id.as_node()).max();
    let (Some(first), Some(last)) = (first, last) else { return outputs.iter().map(|&y| repeat(y)).collect() };
    if last < first {
        return outputs.iter().map(|&y| repeat(y)).collect();
    }
    let tape = outputs[0].tape;
    let mut scratch = tape.record.borrow_mut().scratch.pop().unwrap_or_default();
    scratch.begin(first, last);
    mark_ancestors(&mut scratch, &tape.record(), outputs, first, last);
    for (x, many) in mapped {
        if let Some(id) = x.id.as_node().filter(|&id| id <= last) {
            scratch.set(id, many.id);
        }
    }
    for id in first..=last {
        let node = Operand::node(id);
        if !scratch.is_active(node) || scratch.get(id).is_some() {
            continue;
        }
        let batched = |x: Operand| x.as_node().and_then(|x| scratch.get(x));
        let Some((op, cx, at)) = visit(Tensor { tape, id: node }, size, batched) else { continue };
        let y = tape.located_at(at, || apply(op, &cx));
        scratch.set(id, y.id);
    }
    let outputs = outputs.iter().map(|&y| match y.id.as_node().and_then(|id| scratch.get(id)) {
        Some(id) => Tensor { tape, id },
        None => repeat(y),
    });
    let outputs = outputs.collect();
    tape.record.borrow_mut().scratch.push(scratch);
    outputs
}

/// What a batch rule needs to know of a node; `None` where no input is batched.
fn visit<'t>(
    y: Tensor<'t>,
    size: usize,
    batched: impl Fn(Operand) -> Option<Operand>,
) -> Option<(&'static OpDef, BatchCx<'t>, &'static Location<'static>)> {
    let id = y.id.as_node()?;
    let r = y.tape.record();
    let inputs = r.inputs(id);
    let marks: Vec<bool> = inputs.iter().map(|&x| batched(x).is_some()).collect();
    if !marks.contains(&true) {
        return None;
    }
    let x = inputs.iter().map(|&x| Tensor { tape: y.tape, id: batched(x).unwrap_or(x) }).collect();
    let node = &r.nodes[id];
    let op = node.op.0;
    let cx = BatchCx { op, x, batched: marks, size, attrs: r.attrs(id).to_vec(), shape: *r.shape(y.id), dtype: node.dtype };
    Some((op, cx, r.locations[id]))
}

/// Applies an op's batch rule.
fn apply<'t>(op: &'static OpDef, cx: &BatchCx<'t>) -> Tensor<'t> {
    let y = match op.batch {
        Batch::Pointwise => {
            let with_axis = |(i, x): (usize, &Tensor<'t>)| if x.id.as_slot().is_some() { *x } else { cx.with_axis(i) };
            let x: SmallVec<[Tensor<'t>; 4]> = cx.x.iter().enumerate().map(with_axis).collect();
            x[0].tape.op(op, &x, &cx.attrs)
        }
        Batch::By(rule) => rule(cx),
    };
    let got = y.shape();
    if got.first() != Some(&cx.size) || got[1..] != cx.shape[..] {
        panic!("{}: its batch rule gave {got:?}, expected {} and then {:?}", op.name, cx.size, cx.shape);
    }
    y
}

/// Stands for one element of a mapped tensor while the function is recorded. Nothing that depends on it is computed afterwards.
static ELEMENT: OpDef = OpDef {
    name: "vmap",
    shape: |attrs, _| match attrs {
        [dtype, dims @ ..] => {
            let dims: SmallVec<[usize; 8]> = dims.iter().map(|&d| d as usize).collect();
            Typed::new(crate::ops::cast::dtype(*dtype), &dims)
        }
        [] => Err(Mismatch::new("a dtype and a shape as attributes")),
    },
    kernel: KernelClass::Opaque(|_, _| Err(UNREADABLE.into())),
    value: |_, _| panic!("{UNREADABLE}"),
    jvp: Rule::Zero("it has no operand"),
    vjp: Rule::Zero("it has no operand"),
    batch: Batch::By(|cx| cx.x[0]),
    samples: Vec::new,
};

const UNREADABLE: &str = "vmap: expected a function that reads no values, since it runs once for all of them";

impl<'t> Tensor<'t> {
    /// Maps a function over the leading axis, with one record and without a loop.
    ///
    /// The function sees one element; its results are stacked along a new leading axis. Tensors that it takes from outside are
    /// shared by all elements, and what it draws at random is drawn once for all. [`vmap`](crate::vmap) is the same for functions.
    ///
    /// # Panics
    /// When this has no axis, and when the function reads a value of its argument.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let (rows, w) = (tape.leaf(&Array::from([[1.0, 2.0], [3.0, 4.0]])), tape.leaf(&Array::from([1.0, -1.0])));
    /// let gradients = rows.vmap(|row| row.dot(w).exp().grad(row)); // one per row
    /// assert_eq!(gradients.shape(), [2, 2]);
    /// ```
    #[track_caller]
    pub fn vmap(self, f: impl FnOnce(Tensor<'t>) -> Tensor<'t>) -> Tensor<'t> {
        let shape = self.shape();
        let Some((&size, one)) = shape.split_first() else { panic!("vmap: expected a tensor with an axis, got {self:?}") };
        let one = element(self, one);
        let y = unwatched(self.tape, || f(one));
        batch(&[(one, self)], &[y], size)[0]
    }
}

/// A stand-in for one element of `many`.
fn element<'t>(many: Tensor<'t>, dims: &[usize]) -> Tensor<'t> {
    let mut attrs: SmallVec<[i64; 8]> = SmallVec::from_slice(&[crate::ops::cast::number(many.dtype())]);
    attrs.extend(Shape::new(dims).expect("part of a shape").iter().map(|&d| d as i64));
    unwatched(many.tape, || many.tape.op(&ELEMENT, &[], &attrs))
}

/// Runs `f` without evaluating what it records, also where the tape evaluates eagerly.
fn unwatched<R>(tape: &Tape, f: impl FnOnce() -> R) -> R {
    let hook = tape.on_push.take();
    let result = f();
    tape.on_push.set(hook);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Array, DType, vmap};

    #[test]
    fn per_example_gradients() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::uniform(DType::F64, [4, 3], 0.5, 2.0, 1));
        let w = tape.leaf(&Array::uniform(DType::F64, [3], -1.0, 1.0, 2));
        let each = x.vmap(|x| (x * w).tanh().sum().exp().grad(w)).value();
        for i in 0..4 {
            let row = tape.leaf(&Array::new([3], &x.value().to_vec::<f64>()[3 * i..3 * i + 3]));
            let one = (row * w).tanh().sum().exp().grad(w).value();
            let row = Array::new([3], &each.to_vec::<f64>()[3 * i..3 * i + 3]);
            assert!(row.all_close(&one, 1e-13, 0.0), "{row} {one}");
        }
    }

    #[test]
    fn maps_nest_and_what_does_not_depend_is_repeated() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::uniform(DType::F64, [2, 3, 4], -1.0, 1.0, 3));
        let twice = vmap(vmap(|row| (row * row).sum() + 1.0))(x).value();
        assert_eq!(twice, ((x * x).sum_over(&[2]) + 1.0).value());
        let constant = vmap(|x| x.tape().full(DType::F64, [2], 7))(x).value();
        assert_eq!(constant, Array::full([2, 2], 7.0));
    }

    #[test]
    #[should_panic(expected = "reads no values")]
    fn a_mapped_function_cannot_read() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([1.0, 2.0]));
        vmap(|x| if x.item() > 1.0 { x } else { -x })(x);
    }
}
