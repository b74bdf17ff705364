//! How are running totals computed? Several lines at once, each from its first element to its last.

use super::strided::{BLOCK, Rows, Shared, dense, dense_strides, memory};
use crate::{
    DType, Element, Scan,
    execute::frame::Frame,
    plan::kernel::{Place, ScanKernel},
};

/// Lines that advance together: their additions don't wait for one another.
const LINES: usize = 16;

/// Running totals of `x` along the axis, in `f64` for floats, rounded once for each element written.
pub fn run(kernel: &ScanKernel, frame: &Frame) {
    let Scan::Sum = kernel.kind;
    match kernel.x.dtype {
        DType::F32 => sums::<f32, f64>(kernel, frame, |a, x| a + f64::from(x), |a| a as f32),
        DType::F64 => sums::<f64, f64>(kernel, frame, |a, x| a + x, |a| a),
        DType::I64 => sums::<i64, i64>(kernel, frame, |a, x| a.wrapping_add(x), |a| a),
        DType::Bool => panic!("a running total needs a number, found bool"),
    }
}

/// One walk along the axis: from where, by which steps, how far.
struct Axis {
    len: usize,
    x: isize,
    out: isize,
}

fn sums<T: Element, A: Copy + Default>(
    kernel: &ScanKernel,
    frame: &Frame,
    add: impl Fn(A, T) -> A + Copy + Sync,
    round: impl Fn(A) -> T + Copy + Sync,
) {
    let Place { dims, strides, offset, .. } = &kernel.x;
    let out_strides = dense_strides(dims);
    let mut axis = Axis { len: dims[kernel.axis], x: strides[kernel.axis], out: out_strides[kernel.axis] };
    let (mut x_at, mut out_at) = (*offset, 0);
    if kernel.reversed && axis.len > 0 {
        let last = axis.len as isize - 1;
        (x_at, out_at) = (x_at + last * axis.x, last * axis.out);
        (axis.x, axis.out) = (-axis.x, -axis.out);
    }
    let mut lines = dims.clone();
    lines[kernel.axis] = 1;
    let rows = Rows::new(&lines, [(x_at, strides), (out_at, &out_strides)]);
    let (x, out) = (memory::<T>(frame, &kernel.x), dense::<T>(frame, kernel.out, dims.iter().product()));
    let [xs, ys] = rows.steps;
    rows.in_blocks((BLOCK / axis.len.max(1)).max(1).next_multiple_of(LINES), |[mut x_at, mut out_at], n| {
        for start in (0..n).step_by(LINES) {
            let lines = LINES.min(n - start);
            together([(x, x_at, xs), (out, out_at, ys)], lines, &axis, add, round);
            (x_at, out_at) = (x_at + LINES as isize * xs, out_at + LINES as isize * ys);
        }
    });
}

fn together<T: Element, A: Copy + Default>(
    [(x, x_at, xs), (out, out_at, ys)]: [(Shared<T>, isize, isize); 2],
    lines: usize,
    axis: &Axis,
    add: impl Fn(A, T) -> A,
    round: impl Fn(A) -> T,
) {
    let mut totals = [A::default(); LINES];
    for i in 0..axis.len as isize {
        for (line, total) in totals[..lines].iter_mut().enumerate() {
            let line = line as isize;
            // SAFETY: element `i` of a line of `x`, and its like in the dense output; no other task has this line.
            unsafe {
                *total = add(*total, *x.at(x_at + line * xs + i * axis.x));
                *out.at(out_at + line * ys + i * axis.out) = round(*total);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::strided::tests::*, *};
    use rand::{RngExt, rngs::StdRng};

    #[test]
    fn totals_equal_the_naive_ones_in_both_directions() {
        let mut rng = rng(4);
        for round in 0..150 {
            let dims = if round == 0 { vec![70, 9, 130] } else { random_dims(&mut rng, 1 + round % 4) };
            check::<f32>(&mut rng, &dims);
            check::<f64>(&mut rng, &dims);
            check::<i64>(&mut rng, &dims);
        }
    }

    fn check<T: Element>(rng: &mut StdRng, dims: &[usize]) {
        let mut memory = Memory::new();
        let x = memory.place::<T>(rng, dims);
        let out = memory.add(&vec![T::default(); dims.iter().product()]);
        let (axis, reversed) = (rng.random_range(0..dims.len()), rng.random_bool(0.5));
        let values = memory.elements::<T>(&x);
        let expected: Vec<f64> = indices(dims)
            .iter()
            .map(|index| {
                let range = if reversed { index[axis]..dims[axis] } else { 0..index[axis] + 1 };
                let mut other = index.clone();
                range
                    .map(|i| {
                        other[axis] = i;
                        values[position(dims, &other)].to_f64()
                    })
                    .sum()
            })
            .collect();
        run(&ScanKernel { kind: Scan::Sum, axis, reversed, x, out }, &memory.frame());
        let found: Vec<f64> = memory.read::<T>(out).into_iter().map(T::to_f64).collect();
        assert_eq!(found, expected, "{dims:?} axis {axis} reversed {reversed}");
    }

    #[test]
    fn many_small_terms_are_not_lost() {
        let mut memory = Memory::new();
        let n = 1 << 20;
        let x = memory.add(&vec![0.1f32; n]);
        let out = memory.add(&vec![0f32; n]);
        let x = Place { buffer: x, dtype: DType::F32, offset: 0, dims: [n].as_slice().into(), strides: [1].as_slice().into() };
        run(&ScanKernel { kind: Scan::Sum, axis: 0, reversed: false, x, out }, &memory.frame());
        let exact = n as f64 * f64::from(0.1f32);
        assert!((f64::from(memory.read::<f32>(out)[n - 1]) - exact).abs() <= exact * 1e-7);
    }
}
