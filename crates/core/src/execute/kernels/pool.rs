//! How are the windows of images pooled, and cotangents spread over them? One plane after the other, split over planes.

use super::{
    gemm::Engine,
    patches::Planes,
    strided::{BLOCK, dense},
};
use crate::{
    DType, Pool, Window,
    execute::{frame::Frame, threads},
    plan::kernel::PoolKernel,
};
use std::ops::Range;

/// Maxima, means and their transposes.
pub fn run(kernel: &PoolKernel, frame: &Frame) {
    match kernel.x.dtype {
        DType::F32 => on::<f32>(kernel, frame),
        DType::F64 => on::<f64>(kernel, frame),
        DType::I64 => on::<i64>(kernel, frame),
        DType::Bool => panic!("pooling needs numbers, found bool"),
    }
}

fn on<T: Engine>(kernel: &PoolKernel, frame: &Frame) {
    let PoolKernel { kind, x, with, out, dims, window } = kernel;
    let (x, with) = (Planes::<T>::new(frame, x), with.as_ref().map(|with| Planes::<T>::new(frame, with)));
    let [n, channels, height, width] = dims[..].try_into().expect("images have four axes");
    let size = height * width;
    let out = dense::<T>(frame, *out, n * channels * size);
    let planes = n * channels;
    let each = (BLOCK / size.max(1)).clamp(1, planes.max(1));
    threads::run(planes.div_ceil(each), &|task| {
        for plane in task * each..planes.min((task + 1) * each) {
            let at = [plane / channels, plane % channels];
            // SAFETY: a plane of the output that is this task's own.
            let to = unsafe { std::slice::from_raw_parts_mut(out.at((plane * size) as isize), size) };
            let task = Plane { x: &x, with: with.as_ref(), at, window, dims: [height, width] };
            match kind {
                Pool::Max | Pool::MaxPick => task.take(to),
                Pool::MaxSpread => task.spread(to),
                Pool::Mean => task.average(to),
                Pool::MeanSpread => task.divide(to),
            }
        }
    });
}

fn is_nan<T: Engine>(v: T) -> bool {
    v.partial_cmp(&v).is_none()
}

/// One plane of the result.
struct Plane<'a, T> {
    x: &'a Planes<T>,
    with: Option<&'a Planes<T>>,
    /// Image and channel.
    at: [usize; 2],
    window: &'a Window,
    dims: [usize; 2],
}

impl<T: Engine> Plane<'_, T> {
    fn element(&self, planes: &Planes<T>, [row, col]: [usize; 2]) -> T {
        // SAFETY: callers stay within the planes.
        unsafe { *planes.at([self.at[0], self.at[1], row, col]) }
    }

    /// Rows and columns of the image `[h, w]` that a window covers.
    fn covered(&self, output: [usize; 2], image: [usize; 2]) -> [Range<usize>; 2] {
        [0, 1].map(|axis| {
            let start = output[axis] * self.window.stride[axis];
            let (pad, len) = (self.window.padding[axis], image[axis]);
            start.saturating_sub(pad).min(len)..(start + self.window.size[axis]).saturating_sub(pad).min(len)
        })
    }

    fn first_largest(&self, output: [usize; 2]) -> [usize; 2] {
        let [rows, cols] = self.covered(output, self.x.image());
        let mut best = [rows.start, cols.start];
        let mut largest = self.element(self.x, best);
        for row in rows {
            for col in cols.clone() {
                let v = self.element(self.x, [row, col]);
                if v > largest || is_nan(v) && !is_nan(largest) {
                    (best, largest) = ([row, col], v);
                }
            }
        }
        best
    }

    fn take(&self, to: &mut [T]) {
        for (i, to) in to.iter_mut().enumerate() {
            let at = self.first_largest([i / self.dims[1], i % self.dims[1]]);
            *to = self.element(self.with.unwrap_or(self.x), at);
        }
    }

    fn spread(&self, to: &mut [T]) {
        to.fill(T::default());
        let from = self.with.expect("two operands");
        let [height, width] = from.image();
        for row in 0..height {
            for col in 0..width {
                let [i, j] = self.first_largest([row, col]);
                let to = &mut to[i * self.dims[1] + j];
                *to = to.plus(self.element(from, [row, col]));
            }
        }
    }

    fn average(&self, to: &mut [T]) {
        let area = self.window.area() as f64;
        for (i, to) in to.iter_mut().enumerate() {
            let [rows, cols] = self.covered([i / self.dims[1], i % self.dims[1]], self.x.image());
            let mut sum = T::default();
            for row in rows {
                for col in cols.clone() {
                    sum = sum.plus(self.element(self.x, [row, col]));
                }
            }
            *to = T::from_f64(sum.to_f64() / area);
        }
    }

    fn divide(&self, to: &mut [T]) {
        to.fill(T::default());
        let area = self.window.area() as f64;
        let [height, width] = self.x.image();
        for row in 0..height {
            for col in 0..width {
                let share = T::from_f64(self.element(self.x, [row, col]).to_f64() / area);
                let [rows, cols] = self.covered([row, col], self.dims);
                for row in rows {
                    for col in cols.clone() {
                        let to = &mut to[row * self.dims[1] + col];
                        *to = to.plus(share);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::strided::tests::*, *};
    use crate::plan::kernel::Place;
    use rand::{RngExt, rngs::StdRng};

    /// Small integers, so that many are equal and every order of summation gives the same bits.
    fn check<T: Engine>(rng: &mut StdRng, [n, channels]: [usize; 2], image: [usize; 2], window: Window) {
        let Some([oh, ow]) = window.count(image) else { return };
        let mut memory = Memory::new();
        let (large, small) = ([n, channels, image[0], image[1]], [n, channels, oh, ow]);
        let x = memory.place::<T>(rng, &large);
        let (values, given) = (memory.place::<T>(rng, &large), memory.place::<T>(rng, &small));
        let of = |place: &Place| memory.elements::<T>(place).into_iter().map(T::to_f64).collect::<Vec<f64>>();
        let (xs, vs, gs) = (of(&x), of(&values), of(&given));
        let mut expected: [Vec<f64>; 5] = [vec![], vec![], vec![0.0; xs.len()], vec![], vec![0.0; xs.len()]];
        for (number, at) in indices(&small).iter().enumerate() {
            let taps = indices(&window.size);
            let places = taps.iter().filter_map(|tap| {
                let place = |axis: usize| window.position(axis, at[axis + 2], tap[axis], image[axis]);
                Some(position(&large, &[at[0], at[1], place(0)?, place(1)?]))
            });
            let places: Vec<usize> = places.collect();
            let best = places.iter().copied().reduce(|a, b| if xs[a].is_nan() || xs[a] >= xs[b] { a } else { b }).unwrap();
            expected[0].push(xs[best]);
            expected[1].push(vs[best]);
            expected[2][best] += gs[number];
            expected[3].push(places.iter().map(|&p| xs[p]).sum::<f64>() / window.area() as f64);
            places.iter().for_each(|&p| expected[4][p] += gs[number] / window.area() as f64);
        }
        let kinds = [Pool::Max, Pool::MaxPick, Pool::MaxSpread, Pool::Mean, Pool::MeanSpread];
        for (kind, expected) in kinds.into_iter().zip(expected) {
            let (dims, x, with) = match kind {
                Pool::Max | Pool::Mean => (small, x.clone(), None),
                Pool::MaxPick => (small, x.clone(), Some(values.clone())),
                Pool::MaxSpread => (large, x.clone(), Some(given.clone())),
                Pool::MeanSpread => (large, given.clone(), None),
            };
            let means = matches!(kind, Pool::Mean | Pool::MeanSpread);
            if means && !(T::DTYPE.is_float() && window.area().is_power_of_two()) {
                continue;
            }
            let out = memory.add(&vec![T::from_f64(7.0); expected.len()]);
            run(&PoolKernel { kind, x, with, out, dims: dims.as_slice().into(), window }, &memory.frame());
            let found: Vec<f64> = memory.read::<T>(out).into_iter().map(T::to_f64).collect();
            // As text, since NaN is to equal NaN.
            assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{kind:?} {} {large:?} {window}", T::DTYPE);
        }
    }

    #[test]
    fn all_kinds_equal_the_naive_loops() {
        let mut rng = rng(12);
        for _ in 0..150 {
            let mut pair = |least: usize, most: usize| [0; 2].map(|_| rng.random_range(least..=most));
            let (size, stride, image, planes) = (pair(1, 4), pair(1, 3), pair(1, 40), pair(0, 3));
            let padding = size.map(|s| rng.random_range(0..=s / 2));
            let window = Window { size, stride, padding, dilation: [1; 2] };
            check::<f32>(&mut rng, planes, image, window);
            check::<f64>(&mut rng, planes, image, window);
            check::<i64>(&mut rng, planes, image, window);
        }
    }
}
