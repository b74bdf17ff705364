//! Does pooling give what the naive loops give, for every window and layout, by every instruction set?

use super::{super::strided::tests::*, *};
use crate::plan::kernel::Place;
use rand::{RngExt, rngs::StdRng};

/// Small integers, so that many are equal and every order of summation gives the same bits.
fn check<T: Pooled>(rng: &mut StdRng, [n, channels]: [usize; 2], image: [usize; 2], window: Window) {
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
        let kernel = PoolKernel { kind, x, with, out, dims: dims.as_slice().into(), window };
        for isa in Isa::available() {
            on::<T>(&kernel, &memory.frame(), isa);
            let found: Vec<f64> = memory.read::<T>(out).into_iter().map(T::to_f64).collect();
            assert_eq!(found, expected, "{isa:?} {kind:?} {} {large:?} {window}", T::DTYPE);
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
