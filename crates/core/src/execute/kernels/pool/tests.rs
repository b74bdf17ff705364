//! Does pooling give what the naive loops give, for every window and layout, by every instruction set?

use super::{
    super::strided::{dense_strides, tests::*},
    *,
};
use crate::plan::kernel::Place;
use rand::{RngExt, rngs::StdRng};

/// Small integers, so that many are equal and every order of summation gives the same bits.
fn check<T: Pooled>(rng: &mut StdRng, [n, channels]: [usize; 2], image: [usize; 2], window: Window) {
    let Some([oh, ow]) = window.count(image) else { return };
    let mut memory = Memory::new();
    let (large, small) = ([n, channels, image[0], image[1]], [n, channels, oh, ow]);
    let places = [&large, &large, &small].map(|dims| memory.place::<T>(rng, dims));
    equals_the_naive_loops::<T>(&mut memory, places, window, true);
}

/// Dense operands, with all that is special among numbers, of which there are only a few.
fn check_dense<T: Pooled>(rng: &mut StdRng, [n, channels]: [usize; 2], image: [usize; 2], window: Window) {
    let Some([oh, ow]) = window.count(image) else { return };
    let mut memory = Memory::new();
    let (large, small) = ([n, channels, image[0], image[1]], [n, channels, oh, ow]);
    let numbers = [f64::NAN, f64::NEG_INFINITY, f64::NEG_INFINITY, f64::INFINITY, -0.0, 0.0, 1.0, 2.0];
    // Where most are the lowest, whole windows are.
    let few = rng.random_range(1..=numbers.len());
    let places = [&large, &large, &small].map(|dims| {
        let values = (0..dims.iter().product()).map(|_| T::from_f64(numbers[rng.random_range(0..few)])).collect::<Vec<T>>();
        Place { buffer: memory.add(&values), dtype: T::DTYPE, offset: 0, dims: dims.as_slice().into(), strides: dense_strides(dims) }
    });
    equals_the_naive_loops::<T>(&mut memory, places, window, false);
}

/// Images, values to be picked from them, and what is given for their windows.
fn equals_the_naive_loops<T: Pooled>(memory: &mut Memory, [x, values, given]: [Place; 3], window: Window, sums: bool) {
    let (large, small): ([usize; 4], [usize; 4]) = (x.dims[..].try_into().unwrap(), given.dims[..].try_into().unwrap());
    let image = [large[2], large[3]];
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
        if means && !(sums && T::DTYPE.is_float() && window.area().is_power_of_two()) {
            continue;
        }
        let out = memory.add(&vec![T::from_f64(7.0); expected.len()]);
        let kernel = PoolKernel { kind, x, with, out, dims: dims.as_slice().into(), window };
        for isa in Isa::available() {
            on::<T>(&kernel, &memory.frame(), isa);
            let found: Vec<f64> = memory.read::<T>(out).into_iter().map(T::to_f64).collect();
            let wrong = (0..found.len()).find(|&i| found[i].to_bits() != expected[i].to_bits());
            let told = wrong.map(|i| (i, found[i], expected[i]));
            assert_eq!(told, None, "{isa:?} {kind:?} {} {large:?} {window}: {xs:?}", T::DTYPE);
        }
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

#[test]
fn windows_apart_find_the_first_largest_among_equals_and_nans() {
    let mut rng = rng(13);
    for _ in 0..300 {
        let mut pair = |least: usize, most: usize| [0; 2].map(|_| rng.random_range(least..=most));
        let (size, gap, image, planes) = (pair(1, 4), pair(0, 1), pair(1, 70), pair(1, 3));
        // Square steps of two above all, without gaps.
        let (size, gap) = if size[0] < 3 { ([2; 2], [0; 2]) } else { (size, gap) };
        let window = Window { size, stride: [size[0] + gap[0], size[1] + gap[1]], padding: [0; 2], dilation: [1; 2] };
        check_dense::<f32>(&mut rng, planes, image, window);
        check_dense::<f64>(&mut rng, planes, image, window);
        check_dense::<i64>(&mut rng, planes, image, window);
    }
}

#[test]
fn tasks_of_windows_apart_meet_without_gaps() {
    let window = |size: usize| Window { size: [size; 2], stride: [size; 2], padding: [0; 2], dilation: [1; 2] };
    check_dense::<f32>(&mut rng(14), [3, 70], [15, 15], window(2));
    check_dense::<f32>(&mut rng(15), [1, 2], [301, 203], window(3));
}
