//! How are elements picked, and added, by an index tensor?

use super::strided::{BLOCK, Rows, Shared, copy_dense, dense, dense_strides, memory, missing};
use crate::{
    DType, Element, Index,
    execute::{
        frame::{Fault, Frame},
        threads,
    },
    plan::kernel::{IndexKernel, Place, Strides},
};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Picks or adds. Where an index is out of range the picked element is NaN or 0, what would be added is left out, and the first
/// such index is reported. Additions to one element happen in the order of the index, for any number of threads.
pub fn run(kernel: &IndexKernel, frame: &Frame) -> Result<(), Fault> {
    debug_assert_eq!(kernel.index.dtype, DType::I64);
    match kernel.x.dtype {
        DType::F32 => on::<f32>(kernel, frame, |a, b| a + b),
        DType::F64 => on::<f64>(kernel, frame, |a, b| a + b),
        DType::I64 => on::<i64>(kernel, frame, i64::wrapping_add),
        DType::Bool => on::<bool>(kernel, frame, |a, b| a | b),
    }
}

fn on<T: Element>(kernel: &IndexKernel, frame: &Frame, add: impl Fn(T, T) -> T + Sync) -> Result<(), Fault> {
    let first_bad = AtomicUsize::new(usize::MAX);
    match &kernel.src {
        None => pick::<T>(kernel, frame, &first_bad),
        Some(src) => add_to::<T>(kernel, frame, src, add, &first_bad),
    }
    match first_bad.into_inner() {
        usize::MAX => Ok(()),
        position => Err(report(kernel, frame, position)),
    }
}

/// Strides of the index over the shape of what is picked or added: a one-axis index stays where it is along all others.
fn index_strides(kernel: &IndexKernel, rank: usize) -> Strides {
    match kernel.kind {
        Index::Gather | Index::ScatterAdd => kernel.index.strides.clone(),
        Index::Select | Index::SelectAdd => (0..rank).map(|axis| if axis == kernel.axis { kernel.index.strides[0] } else { 0 }).collect(),
    }
}

fn pick<T: Element>(kernel: &IndexKernel, frame: &Frame, first_bad: &AtomicUsize) {
    let (len, along) = (kernel.x.dims[kernel.axis], kernel.x.strides[kernel.axis]);
    let mut x_strides = kernel.x.strides.clone();
    x_strides[kernel.axis] = 0;
    let out_strides = dense_strides(&kernel.shape);
    let index_strides = index_strides(kernel, kernel.shape.rank());
    let rows = Rows::new(&kernel.shape, [(0, &out_strides), (kernel.index.offset, &index_strides), (kernel.x.offset, &x_strides)]);
    let (x, index) = (memory::<T>(frame, &kernel.x), memory::<i64>(frame, &kernel.index));
    let out = dense::<T>(frame, kernel.out, rows.size());
    let [_, is, xs] = rows.steps;
    rows.in_blocks(BLOCK, |[y, i, from], n| {
        // One index serves all of a run where the index does not vary.
        let (times, length) = if is == 0 { (1, n as isize) } else { (n as isize, 1) };
        for t in 0..times {
            // SAFETY: an index of the run (see `memory`); `length` elements of the run of `out`, which is this task's own;
            // elements of `x`, as the index is within its axis.
            unsafe {
                let (to, at) = (out.at(y + t), *index.at(i + t * is));
                if !(0..len as i64).contains(&at) {
                    std::slice::from_raw_parts_mut(to, length as usize).fill(missing());
                    first_bad.fetch_min((y + t) as usize, Ordering::Relaxed);
                    continue;
                }
                let source = x.at(from + t * xs + at as isize * along);
                if xs == 1 || length == 1 {
                    to.copy_from_nonoverlapping(source, length as usize);
                } else {
                    (0..length).for_each(|j| *to.offset(j) = *source.offset(j * xs));
                }
            }
        }
    });
}

fn add_to<T: Element>(kernel: &IndexKernel, frame: &Frame, src: &Place, add: impl Fn(T, T) -> T + Sync, first_bad: &AtomicUsize) {
    let (len, out_strides) = (kernel.shape[kernel.axis], dense_strides(&kernel.shape));
    let out = dense::<T>(frame, kernel.out, kernel.shape.size());
    // SAFETY: the whole dense output, which has the operand's shape.
    unsafe { copy_dense(frame, &kernel.x, out.at(0).cast()) };
    let along = out_strides[kernel.axis];
    let mut strides = out_strides;
    strides[kernel.axis] = 0;
    let index_strides = index_strides(kernel, src.dims.len());
    let rows = Rows::new(&src.dims, [(0, &strides), (kernel.index.offset, &index_strides), (src.offset, &src.strides)]);
    let (src_memory, index) = (memory::<T>(frame, src), memory::<i64>(frame, &kernel.index));
    let [ys, is, ss] = rows.steps;
    let slice: usize = src.dims[kernel.axis..].iter().product();
    slices(rows.size(), slice, &|range| {
        let mut position = range.start;
        rows.each(range, |[y, i, s], n| {
            for t in 0..n as isize {
                // SAFETY: an index and an element of the runs (see `memory`); an element of the dense output, as the index is
                // within its axis, in the slice over the outer axes that is this task's own.
                unsafe {
                    let at = *index.at(i + t * is);
                    if (0..len as i64).contains(&at) {
                        let to = out.at(y + t * ys + at as isize * along);
                        *to = add(*to, *src_memory.at(s + t * ss));
                    } else {
                        first_bad.fetch_min(position + t as usize, Ordering::Relaxed);
                    }
                }
            }
            position += n;
        });
    });
}

/// Tasks over whole slices, about a block each.
fn slices(size: usize, slice: usize, work: &(dyn Fn(std::ops::Range<usize>) + Sync)) {
    let block = slice.max(1) * (BLOCK / slice.max(1)).max(1);
    threads::run(size.div_ceil(block), &|task| work(task * block..((task + 1) * block).min(size)));
}

/// Names the index at `position`, counted in row-major order over what is picked or added.
fn report(kernel: &IndexKernel, frame: &Frame, mut position: usize) -> Fault {
    let dims: &[usize] = kernel.src.as_ref().map_or(&kernel.shape, |src| &src.dims);
    let mut place = vec![0; dims.len()];
    for (at, &len) in place.iter_mut().zip(dims).rev() {
        (*at, position) = (position % len, position / len);
    }
    if matches!(kernel.kind, Index::Select | Index::SelectAdd) {
        place = vec![place[kernel.axis]];
    }
    let offset = place.iter().zip(&kernel.index.strides).fold(kernel.index.offset, |o, (&i, s)| o + i as isize * s);
    let index: Shared<i64> = memory(frame, &kernel.index);
    // SAFETY: an element of the index, see `memory`.
    let value = unsafe { *index.at(offset) };
    let (axis, len) = (kernel.axis, if kernel.src.is_some() { kernel.shape[kernel.axis] } else { kernel.x.dims[kernel.axis] });
    Fault { node: kernel.node, reason: format!("index {value} at {place:?} is out of range for axis {axis} of length {len}") }
}

#[cfg(test)]
mod tests {
    use super::{super::strided::tests::*, *};
    use crate::Shape;
    use rand::{RngExt, rngs::StdRng};

    /// A random case and what it should give. `bad` is an index to put somewhere.
    fn check<T: Element>(rng: &mut StdRng, kind: Index, dims: &[usize], bad: Option<i64>) {
        let mut memory = Memory::new();
        let axis = rng.random_range(0..dims.len());
        let x = memory.place::<T>(rng, dims);
        let mut picked = dims.to_vec();
        picked[axis] = rng.random_range(0..7);
        let whole = matches!(kind, Index::Select | Index::SelectAdd);
        let index_dims = if whole { vec![picked[axis]] } else { picked.clone() };
        let mut index = memory.place::<i64>(rng, &index_dims);
        let cells = memory.read::<i64>(index.buffer).len();
        let mut values: Vec<i64> = (0..cells).map(|_| rng.random_range(0..dims[axis].max(1)) as i64).collect();
        if let Some(bad) = bad {
            let at = rng.random_range(0..cells);
            values[at] = bad;
        }
        index.buffer = memory.add(&values);
        let ids = memory.elements::<i64>(&index);
        let adds = matches!(kind, Index::ScatterAdd | Index::SelectAdd);
        let src = adds.then(|| memory.place::<T>(rng, &picked));
        let x_values = memory.elements::<T>(&x);
        let shape = Shape::new(if adds { dims } else { &picked }).unwrap();
        let mut expected: Vec<f64> = if adds { x_values.iter().map(|v| v.to_f64()).collect() } else { vec![] };
        let mut fault = None;
        for (p, i) in indices(&picked).iter().enumerate() {
            let place = if whole { vec![i[axis]] } else { i.clone() };
            let id = ids[position(&index_dims, &place)];
            let mut other = i.clone();
            other[axis] = id as usize;
            let good = (0..dims[axis] as i64).contains(&id);
            if !good && fault.is_none() {
                fault = Some(format!("index {id} at {place:?} is out of range for axis {axis} of length {}", dims[axis]));
            }
            match &src {
                Some(src) if good => {
                    let sum = &mut expected[position(dims, &other)];
                    *sum = T::from_f64(*sum + memory.elements::<T>(src)[p].to_f64()).to_f64();
                }
                None => expected.push(if good { x_values[position(dims, &other)] } else { missing::<T>() }.to_f64()),
                _ => {}
            }
        }
        let out = memory.add(&vec![T::default(); shape.size()]);
        let result = run(&IndexKernel { kind, axis, x, index, src, out, shape, node: 5 }, &memory.frame());
        assert_eq!(result, fault.map_or(Ok(()), |reason| Err(Fault { node: 5, reason })));
        let found: Vec<f64> = memory.read::<T>(out).into_iter().map(T::to_f64).collect();
        // As text, since NaN is to equal NaN.
        assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{kind:?} {dims:?} axis {axis}");
    }

    #[test]
    fn all_kinds_equal_the_naive_loops() {
        let mut rng = rng(5);
        for round in 0..200 {
            let dims = random_dims(&mut rng, 1 + round % 4);
            for kind in [Index::Gather, Index::ScatterAdd, Index::Select, Index::SelectAdd] {
                let bad = [None, None, Some(-1), Some(dims[0] as i64 + 9), Some(i64::MIN)][round % 5];
                check::<f32>(&mut rng, kind, &dims, bad);
                check::<f64>(&mut rng, kind, &dims, bad);
                check::<i64>(&mut rng, kind, &dims, bad);
                check::<bool>(&mut rng, kind, &dims, bad);
            }
        }
    }

    #[test]
    fn large_scatters_split_over_outer_slices() {
        let mut memory = Memory::new();
        let (outer, len) = (200, 1000);
        let dense = |buffer, dtype, dims: &[usize]| Place { buffer, dtype, offset: 0, dims: dims.into(), strides: dense_strides(dims) };
        let ids: Vec<i64> = (0..outer * len).map(|i| (i * 7 % 10) as i64).collect();
        let x = dense(memory.add(&vec![0i64; outer * 10]), DType::I64, &[outer, 10]);
        let index = dense(memory.add(&ids), DType::I64, &[outer, len]);
        let src = Some(dense(memory.add(&vec![1i64; outer * len]), DType::I64, &[outer, len]));
        let out = memory.add(&vec![9i64; outer * 10]);
        let kernel =
            IndexKernel { kind: Index::ScatterAdd, axis: 1, x, index, src, out, shape: Shape::new(&[outer, 10]).unwrap(), node: 0 };
        assert_eq!(run(&kernel, &memory.frame()), Ok(()));
        assert_eq!(memory.read::<i64>(out), vec![100; outer * 10]);
    }

    #[test]
    fn sums_of_floats_at_repeated_indices_have_the_same_bits_on_any_number_of_threads() {
        let mut rng = rng(7);
        let dense = |buffer, dtype, dims: &[usize]| Place { buffer, dtype, offset: 0, dims: dims.into(), strides: dense_strides(dims) };
        // Many slices, a few long ones, and one that is not to be shared out.
        for (dims, axis, n) in [([90, 11, 3], 1, 500), ([3, 7, 5], 1, 9000), ([5, 4, 1], 0, 20_000), ([700, 1, 6], 2, 200)] {
            for kind in [Index::ScatterAdd, Index::SelectAdd] {
                let mut memory = Memory::new();
                let (shape, mut added) = (Shape::new(&dims).unwrap(), dims);
                added[axis] = n;
                let index_dims = if kind == Index::SelectAdd { vec![n] } else { added.to_vec() };
                let ids: Vec<i64> = (0..index_dims.iter().product()).map(|_| rng.random_range(0..dims[axis]) as i64).collect();
                // Of many sizes, so that each order of adding rounds otherwise.
                let mut noise =
                    |n: usize| -> Vec<f32> { (0..n).map(|_| rng.random_range(-1.0..1.0) * 2f32.powi(rng.random_range(-12..12))).collect() };
                let (start, values) = (noise(shape.size()), noise(added.iter().product()));
                let mut expected = start.clone();
                for (value, at) in values.iter().zip(indices(&added)) {
                    let mut to = at.clone();
                    to[axis] = ids[if kind == Index::SelectAdd { at[axis] } else { position(&added, &at) }] as usize;
                    expected[position(&dims, &to)] += value;
                }
                let x = dense(memory.add(&start), DType::F32, &dims);
                let index = dense(memory.add(&ids), DType::I64, &index_dims);
                let src = Some(dense(memory.add(&values), DType::F32, &added));
                let out = memory.add(&vec![0f32; shape.size()]);
                let kernel = IndexKernel { kind, axis, x, index, src, out, shape, node: 0 };
                let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                for threads in [1, 2, 7] {
                    threads::set_threads(threads);
                    for _ in 0..5 {
                        assert_eq!(run(&kernel, &memory.frame()), Ok(()));
                        assert_eq!(bits(&memory.read(out)), bits(&expected), "{kind:?} {dims:?} on {threads} threads");
                    }
                }
            }
        }
    }
}
