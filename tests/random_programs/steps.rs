//! Which steps does a random program take? Each uses values of the pool and adds what it computes.

use crate::{
    listed::{binary, sample, unary},
    recorder::{Known, Recorder},
};
use wengert::{DType, Key, concat, stack};

type Step = fn(&mut Recorder<'_, '_>);

const STEPS: &[Step] = &[
    unary,
    unary,
    unary,
    binary,
    binary,
    binary,
    affine,
    softmax,
    softmax,
    normalised,
    normalised,
    folded,
    folded,
    folded,
    view,
    view,
    view,
    product,
    product,
    index,
    joined,
    scan,
    mixed,
    sample,
    cross_entropy,
    again,
    noise,
];

/// One random step.
pub fn step(r: &mut Recorder<'_, '_>) {
    let step = STEPS[r.choices.below(STEPS.len())];
    step(r);
}

/// A value that may be compared: one whose bits do not depend on how it is computed.
pub fn exact<'t>(r: &mut Recorder<'t, '_>) -> Known<'t> {
    let a = r.any();
    if a.exact { a } else { r.pool[0] }
}

fn affine(r: &mut Recorder<'_, '_>) {
    let a = r.any();
    let b = r.beside(a);
    let (y, bound) = match r.choices.below(8) {
        0 => (a.x * 0.5 + b.x, 0.5 * a.bound + b.bound),
        1 => (a.x * b.x + 1.0, a.bound * b.bound + 1.0),
        2 => (2.0 - a.x, a.bound + 2.0),
        3 => ((a.x - b.x) * (a.x + b.x), (a.bound + b.bound).powi(2)),
        4 => ((a.x * b.x - 0.25).maximum(0.0), a.bound * b.bound + 0.25),
        5 => (a.x / (b.x * b.x + 1.0), a.bound),
        6 => (a.x - r.tape.scalar(r.kind.dtype, 0.37) * b.x, a.bound + b.bound),
        _ => (-a.x * b.x - b.x, (a.bound + 1.0) * b.bound),
    };
    r.push_smooth(y, bound);
}

/// Softmax and its relatives over some axes, written out or by name; sometimes an inner value stays in use.
fn softmax(r: &mut Recorder<'_, '_>) {
    let a = r.any_with_axes();
    let axes = if r.choices.chance(70) { vec![r.axis(a.x)] } else { r.axes(a.x) };
    if a.x.size() == 0 {
        return;
    }
    let n = axes.iter().map(|&i| a.x.shape()[i as usize]).product::<usize>() as f64;
    let (top, scale) = (a.x.max_keep(&axes), r.choices.of(&[1.0, 0.25, 3.0]));
    let shifted = (a.x - top) * scale;
    let powers = shifted.exp();
    let total = powers.sum_keep(&axes);
    let wide = 2.0 * a.bound * scale + n.ln();
    match r.choices.below(7) {
        0 => r.push_smooth(powers / total, 1.0),
        1 => r.push_smooth(shifted - total.ln(), wide),
        2 => {
            r.push_smooth(powers / total, 1.0);
            r.push_smooth(shifted, wide);
            r.push_smooth(total, n);
        }
        3 => {
            // A second round of reductions over the same rows.
            let p = powers / total;
            r.push_smooth(p - (p * p).sum_keep(&axes), 1.0);
        }
        4 => r.push_smooth(a.x.softmax(axes[0]), 1.0),
        5 => r.push_smooth(a.x.log_softmax(axes[0]), 2.0 * a.bound + n.ln()),
        _ => r.push_smooth(a.x.logsumexp_keep(&axes) - a.x, 2.0 * a.bound + n.ln()),
    }
}

/// Normalised over some axes, with a weight and an offset per column.
fn normalised(r: &mut Recorder<'_, '_>) {
    let a = r.any_with_axes();
    let axes = if r.choices.chance(60) { vec![a.x.rank() as isize - 1] } else { r.axes(a.x) };
    if a.x.size() == 0 {
        return;
    }
    let centred = a.x - a.x.mean_keep(&axes);
    let variance = centred.square().mean_keep(&axes);
    let y = match r.choices.below(4) {
        0 => centred / (variance + 0.1).sqrt(),
        1 => centred * (variance + 0.1).rsqrt(),
        2 => {
            let wide = a.x.shape()[a.x.rank() - 1];
            let (weight, offset) = (r.leaf(&[wide]), r.leaf(&[wide]));
            centred * (variance + 0.1).rsqrt() * weight + offset
        }
        _ => {
            let variance = (a.x - a.x.mean_keep(&axes)).square().mean_keep(&axes);
            r.push_smooth(variance, 4.0 * a.bound * a.bound);
            (a.x - variance) * 0.5
        }
    };
    r.push_smooth(y, 8.0 * (a.bound + 1.0) + 4.0 * a.bound * a.bound);
}

/// Reductions along any axes, also two of the same values, and their results spread out again.
fn folded(r: &mut Recorder<'_, '_>) {
    let a = r.any_with_axes();
    let axes = r.axes(a.x);
    let n = axes.iter().map(|&i| a.x.shape()[i as usize]).product::<usize>();
    let m = n as f64;
    match r.choices.below(9) {
        0 => r.push_smooth(a.x.sum_over(&axes), m * a.bound),
        1 => r.push_smooth(a.x.sum_keep(&axes), m * a.bound),
        2 if n > 0 => r.push_smooth(a.x - a.x.mean_keep(&axes), 2.0 * a.bound),
        3 if n > 0 => r.push(a.x.max_over(&axes), a.bound, a.exact),
        4 if n > 0 => r.push(a.x.min_keep(&axes), a.bound, a.exact),
        5 => {
            // Rows and columns of one value.
            let y = a.x.sin();
            let other = r.axes(a.x);
            r.push_smooth(y.sum_over(&axes), m);
            let columns = y.sum_over(&other);
            let count = y.size() / columns.size().max(1);
            r.push_smooth(columns, count as f64);
            r.push_smooth(y, 1.0);
        }
        6 => r.push_smooth((a.x.tanh() * 0.05 + 1.0).prod_over(&axes), 1.05f64.powi(n as i32)),
        7 if n > 1 => r.push_smooth(a.x.var(&axes, 1), 4.0 * a.bound * a.bound),
        _ => r.push_smooth(a.x.sin().sum(), a.x.size() as f64),
    }
}

fn view(r: &mut Recorder<'_, '_>) {
    let a = r.any_with_axes();
    let (x, axis) = (a.x, r.axis(a.x));
    let length = x.shape()[axis as usize];
    let y = match r.choices.below(9) {
        0 => x.transpose(0, -1),
        1 => {
            let mut axes: Vec<isize> = (0..x.rank() as isize).collect();
            axes.rotate_left(r.choices.below(x.rank()));
            x.permute(&axes)
        }
        2 => x.flip(&[axis]),
        3 if length > 1 => {
            let start = r.choices.below(length);
            x.narrow(axis, start, r.choices.within(1, length - start))
        }
        4 => x.flatten(),
        5 => x.unsqueeze(axis),
        6 => {
            let mut shape = vec![r.choices.within(1, 4)];
            shape.extend_from_slice(&x.shape());
            x.broadcast_to(shape)
        }
        7 if length > 0 => x.roll(r.choices.below(length) as isize, axis),
        _ => x.transpose(0, axis) * 1.0,
    };
    r.push(y, a.bound, a.exact);
}

/// Matrix products, with a bias and an activation, batched, and with transposed operands.
fn product(r: &mut Recorder<'_, '_>) {
    let a = r.any_with_axes();
    let inner = a.x.shape()[a.x.rank() - 1];
    let bound = a.bound * 1.5 * inner.max(1) as f64;
    let rows = if a.x.rank() == 1 { a.x.unsqueeze(0) } else { a.x };
    match r.choices.below(5) {
        0 => {
            let out = r.choices.within(1, 9);
            let (w, b) = (r.leaf(&[inner, out]), r.leaf(&[out]));
            let y = rows.matmul(w) + b;
            let y = if r.choices.chance(50) { y.maximum(0.0) } else { y.tanh() };
            r.push_smooth(y, bound + 1.5);
        }
        1 => {
            let out = r.choices.within(1, 9);
            let w = r.leaf(&[out, inner]);
            r.push_smooth(rows.matmul(w.t()) * 0.5, 0.5 * bound);
        }
        2 if rows.shape()[rows.rank() - 2] <= 40 => r.push_smooth(rows.matmul(rows.transpose(-1, -2)), bound * a.bound),
        3 if inner <= 40 => {
            let m = rows.shape()[rows.rank() - 2].max(1) as f64;
            r.push_smooth(rows.transpose(-1, -2).matmul(rows.sin()), m * a.bound);
        }
        _ => {
            // Two products of one factor, added up.
            let (w, v) = (r.leaf(&[inner, 3]), r.leaf(&[inner, 3]));
            r.push_smooth(rows.matmul(w) + rows.sin().matmul(v), bound + 1.5 * inner.max(1) as f64);
        }
    }
}

/// Elements and slices picked by a tensor of positions, and added back.
fn index(r: &mut Recorder<'_, '_>) {
    let a = r.any_with_axes();
    let axis = r.axis(a.x);
    let length = a.x.shape()[axis as usize];
    if length == 0 {
        return;
    }
    let mut shape = a.x.shape().to_vec();
    shape[axis as usize] = r.choices.within(1, 6);
    let some = shape[axis as usize];
    match r.choices.below(5) {
        0 => {
            let at = r.index(&shape, length);
            r.push(a.x.gather(axis, at), a.bound, a.exact);
        }
        1 => {
            let at = r.index(&[some], length);
            r.push(a.x.index_select(axis, at), a.bound, a.exact);
        }
        2 => {
            let at = r.index(&a.x.shape(), some);
            let zeros = r.tape.zeros(r.kind.dtype, shape);
            r.push_smooth(zeros.scatter_add(axis, at, a.x), a.bound * length as f64);
        }
        3 => {
            let at = r.index(&[length], some);
            let zeros = r.tape.zeros(r.kind.dtype, shape);
            r.push_smooth(zeros.index_add(axis, at, a.x.sin()), length as f64);
        }
        _ => {
            let at = r.index(&[some], 7);
            let rows = at.one_hot(7, r.kind.dtype);
            r.push(rows * 0.5, 0.5, true);
        }
    }
}

fn joined(r: &mut Recorder<'_, '_>) {
    let a = r.any_with_axes();
    let axis = r.axis(a.x);
    match r.choices.below(4) {
        0 => r.push_smooth(concat(&[a.x, a.x.sin()], axis), a.bound.max(1.0)),
        1 => r.push_smooth(stack(&[a.x.cos(), a.x], axis), a.bound.max(1.0)),
        2 => {
            let around: Vec<(usize, usize)> = (0..a.x.rank()).map(|_| (r.choices.below(3), r.choices.below(3))).collect();
            r.push(a.x.pad(&around, 0.5), a.bound.max(0.5), a.exact);
        }
        _ => {
            let parts = a.x.chunk(2, axis);
            let last = parts[parts.len() - 1].tanh();
            r.push_smooth(concat(&[last, parts[0]], axis), a.bound.max(1.0));
        }
    }
}

fn scan(r: &mut Recorder<'_, '_>) {
    let a = r.any_with_axes();
    let axis = r.axis(a.x);
    let n = a.x.shape()[axis as usize].max(1) as f64;
    r.push_smooth(a.x.cumsum(axis), n * a.bound);
}

/// Truth values, integers and the other width of floats.
fn mixed(r: &mut Recorder<'_, '_>) {
    let dtype = r.kind.dtype;
    let a = exact(r);
    let b = r.beside(a);
    let other = if b.exact { b } else { a };
    match r.choices.below(6) {
        0 => r.push_smooth(a.x.gt(0.25).select(b.x, a.x), a.bound.max(b.bound)),
        1 => r.push_smooth((a.x.lt(other.x) & a.x.gt(-1.0)).select(a.x.sin(), 0.5), 1.0),
        2 => {
            let counted = a.x.le(other.x).cast(DType::I64).sum();
            let share = counted.cast(dtype) / counted.size().max(1) as f64;
            r.push(share, a.x.size().max(other.x.size()) as f64, true);
        }
        3 if a.x.rank() > 0 && a.x.size() > 0 => {
            let axis = r.axis(a.x);
            r.push(a.x.argmax_axis(axis).cast(dtype), a.x.shape()[axis as usize] as f64, true);
        }
        4 => {
            r.is_rounded = true;
            let narrow = (b.x.cast(DType::F32) * 0.5 + 1.0).tanh();
            r.push_smooth(narrow.cast(dtype) + b.x, b.bound + 1.0);
        }
        _ => r.push((!a.x.eq(other.x)).cast(dtype) * 0.5, 0.5, true),
    }
}

fn cross_entropy(r: &mut Recorder<'_, '_>) {
    let a = r.any_with_axes();
    let classes = a.x.shape()[a.x.rank() - 1];
    if a.x.size() == 0 {
        return;
    }
    let logits = a.x.reshape([a.x.size() / classes, classes]);
    let labels = r.index(&[logits.shape()[0], 1], classes);
    let losses = -logits.log_softmax(-1).gather(-1, labels);
    let bound = 2.0 * a.bound + (classes as f64).ln();
    let y = if r.choices.chance(50) { losses.mean() } else { losses };
    r.push_smooth(y, bound);
}

/// A value from long ago, used once more beside its own successors.
fn again(r: &mut Recorder<'_, '_>) {
    let old = r.pool[r.choices.below(r.pool.len().min(4))];
    let b = r.beside(old);
    r.push_smooth(old.x * b.x.sigmoid() + b.x, old.bound + b.bound);
}

/// Dropout with a generator on the tape.
fn noise(r: &mut Recorder<'_, '_>) {
    let a = r.any();
    let key = Key::new(r.choices.below(256) as u64);
    let kept = r.tape.bernoulli(0.75, a.x.shape(), key);
    r.push(kept.select(a.x, 0), a.bound, a.exact);
}
