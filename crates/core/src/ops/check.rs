//! Do an op's rules agree with its reference? What the tests of the linear ops share.

use super::{Batch, BatchCx, Cx, Dense, OpDef, Rule, Sample};
use crate::{Array, DType, Tape, Tensor};
use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

/// Holds the kernel against the reference at every sample, the rules against differences, the batch rule against one element after
/// the other.
pub(crate) fn op(op: &'static OpDef) {
    let mut largest: f64 = 0.0;
    for (n, sample) in (op.samples)().iter().enumerate() {
        computed(op, sample, n);
        largest = largest.max(derivatives(op, sample, n).abs());
        batches(op, sample, n);
    }
    assert!(largest > 1e-3, "{}: some sample has a derivative", op.name);
}

/// What a kernel computes, in both float types, is what the reference says.
pub(crate) fn computed(op: &'static OpDef, sample: &Sample, n: usize) {
    for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 1e-6)] {
        let tape = Tape::new();
        let x: Vec<Array> = sample.x.iter().map(|x| if x.dtype().is_float() { x.cast(dtype) } else { x.clone() }).collect();
        let y = tape.op(op, &put(&tape, sample, &x), &sample.attrs);
        let (value, reference) = (y.value(), y.reference());
        assert_eq!((value.dtype(), value.shape(), &*reference.dims), (y.dtype(), &y.shape(), &*y.shape()));
        let far = |(a, b): (f64, &f64)| (a - b).abs() > tolerance * b.abs().max(1.0);
        let apart = value.to_f64_vec().into_iter().zip(&reference.data).find(|&pair| far(pair));
        assert_eq!(apart, None, "{} sample {n} in {dtype}: computed, expected", op.name);
    }
}

fn put<'t>(tape: &'t Tape, sample: &Sample, x: &[Array]) -> Vec<Tensor<'t>> {
    let put = |(x, &scalar): (&Array, &bool)| if scalar { tape.scalar(x.dtype(), x.item()) } else { tape.leaf(x) };
    x.iter().zip(&sample.scalars).map(put).collect()
}

fn differentiable(sample: &Sample) -> Vec<usize> {
    (0..sample.x.len()).filter(|&i| !sample.scalars[i] && sample.x[i].dtype().is_float()).collect()
}

fn dot(a: &Dense, b: &Dense) -> f64 {
    assert_eq!(a.dims, b.dims);
    a.data.iter().zip(&b.data).map(|(a, b)| a * b).sum()
}

/// `⟨u, Jv⟩` by central differences, by the jvp, and as `⟨Jᵀu, v⟩`.
fn derivatives(op: &'static OpDef, sample: &Sample, n: usize) -> f64 {
    let moved = |direction: &[Array], h: f64| -> Vec<Array> {
        let mut x = sample.x.clone();
        for (&i, v) in differentiable(sample).iter().zip(direction) {
            let sum: Vec<f64> = x[i].to_f64_vec().iter().zip(v.to_f64_vec()).map(|(x, v)| x + h * v).collect();
            x[i] = Array::new(*x[i].shape(), sum);
        }
        x
    };
    let random = |a: &crate::Shape, seed| Array::uniform(DType::F64, *a, -1.0, 1.0, seed);
    let v: Vec<Array> = differentiable(sample).iter().map(|&i| random(sample.x[i].shape(), 100 + i as u64)).collect();
    let at = |h: f64| {
        let tape = Tape::new();
        tape.op(op, &put(&tape, sample, &moved(&v, h)), &sample.attrs).reference()
    };
    let (plus, minus) = (at(1e-3), at(-1e-3));
    let tape = Tape::new();
    let x = put(&tape, sample, &sample.x);
    let y = tape.op(op, &x, &sample.attrs);
    let u = tape.leaf(&random(&y.shape(), 99));
    let difference = (dot(&u.reference(), &plus) - dot(&u.reference(), &minus)) / 2e-3;
    let targets: Vec<Tensor<'_>> = differentiable(sample).iter().map(|&i| x[i]).collect();
    let pulled: f64 = y.vjp(u, &targets).iter().zip(&v).map(|(g, v)| dot(&g.reference(), &Dense::of(v))).sum();
    assert!((difference - pulled).abs() < 1e-9, "{} sample {n}: vjp {pulled}, differences {difference}", op.name);
    let pushed = push(op, y, &x, sample, &v).map_or(0.0, |t| dot(&u.reference(), &t.reference()));
    assert!((difference - pushed).abs() < 1e-9, "{} sample {n}: jvp {pushed}, differences {difference}", op.name);
    difference
}

/// The jvp rule applied to a node.
fn push<'t>(op: &'static OpDef, y: Tensor<'t>, x: &[Tensor<'t>], sample: &Sample, v: &[Array]) -> Option<Tensor<'t>> {
    let Rule::By(rule) = op.jvp else { panic!("{}: expected a jvp rule", op.name) };
    let attrs = y.tape.record().nodes[y.id.as_node().expect("a node")].attrs;
    let cx = Cx { y, op, inputs: x.iter().map(|x| x.id).collect(), needs: x.iter().map(|_| true).collect(), attrs };
    let mut tangents = vec![None; x.len()];
    for (&i, v) in differentiable(sample).iter().zip(v) {
        tangents[i] = Some(y.tape.leaf(v));
    }
    rule(&cx, &tangents)[0]
}

/// The batch rule on each operand alone, and on all of them.
fn batches(op: &'static OpDef, sample: &Sample, n: usize) {
    let Batch::By(rule) = op.batch else { return };
    let tensors: Vec<usize> = (0..sample.x.len()).filter(|&i| !sample.scalars[i]).collect();
    for choice in tensors.iter().map(|&i| vec![i]).chain([tensors.clone()]) {
        let tape = Tape::new();
        let one = put(&tape, sample, &sample.x);
        let mut many = one.clone();
        for &i in &choice {
            many[i] = tape.leaf(&repeated(&sample.x[i]));
        }
        let batched = (0..one.len()).map(|i| choice.contains(&i)).collect();
        let alone = tape.op(op, &one, &sample.attrs);
        let (shape, dtype) = (alone.shape(), alone.dtype());
        let y = rule(&BatchCx { op, x: many.clone(), batched, size: 2, attrs: sample.attrs.clone(), shape, dtype }).reference();
        let mut expected = Vec::new();
        for element in 0..2 {
            let pick = |i: usize| if choice.contains(&i) { element_of(&tape, &many[i].value(), &sample.x[i], element) } else { one[i] };
            let x: Vec<Tensor<'_>> = (0..one.len()).map(pick).collect();
            expected.extend(tape.op(op, &x, &sample.attrs).reference().data);
        }
        assert_eq!(y.data, expected, "{} sample {n}, batched {choice:?}", op.name);
        assert_eq!((y.dims[0], &y.dims[1..]), (2, &*shape), "{} sample {n}, batched {choice:?}", op.name);
    }
}

/// An array, then another like it: the elements in opposite order, so that indices stay in range.
fn repeated(x: &Array) -> Array {
    let data = x.to_f64_vec();
    let both: Vec<f64> = data.iter().chain(data.iter().rev()).copied().collect();
    let mut dims = vec![2];
    dims.extend_from_slice(x.shape());
    Array::new(dims, both).cast(x.dtype())
}

fn element_of<'t>(tape: &'t Tape, both: &Array, like: &Array, element: usize) -> Tensor<'t> {
    let data = &both.to_f64_vec()[element * like.size()..][..like.size()];
    tape.leaf(&Array::new(*like.shape(), data).cast(like.dtype()))
}

thread_local! {
    static LINE: Cell<u32> = const { Cell::new(0) };
}

/// The text of a panic, and the line that it names.
pub(crate) fn panic_of<R>(f: impl FnOnce() -> R) -> (String, u32) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            LINE.set(info.location().map_or(0, |l| l.line()));
            before(info);
        }));
    });
    let Err(payload) = catch_unwind(AssertUnwindSafe(f)) else { panic!("expected a panic") };
    let text = payload.downcast_ref::<String>().cloned().or_else(|| payload.downcast_ref::<&str>().map(|s| s.to_string()));
    (text.expect("a panic with a text"), LINE.get())
}
