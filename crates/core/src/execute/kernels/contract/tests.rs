//! Are products right, whatever the layout of their operands and however they are cut?

use super::{
    super::strided::{dense_strides, tests::*},
    *,
};
use crate::{execute::threads::set_threads, plan::kernel::ScalarSource};
use rand::{RngExt, rngs::StdRng};
use smallvec::smallvec;

fn naive<T: Engine>(a: &[T], b: &[T], [count, m, n, k]: [usize; 4]) -> Vec<f64> {
    let mut out = vec![0.0; count * m * n];
    for c in 0..count {
        for i in 0..m {
            for j in 0..n {
                out[(c * m + i) * n + j] = (0..k).map(|l| a[(c * m + i) * k + l].to_f64() * b[(c * k + l) * n + j].to_f64()).sum();
            }
        }
    }
    out
}

fn single(a: &Place, b: &Place, out: u32) -> Contract {
    let alpha = ScalarSource::Literal(a.dtype.bits(1.0));
    Contract { terms: smallvec![Term { a: a.clone(), b: b.clone(), alpha }], add: None, out: dense_out(a, b, out) }
}

/// The whole of a buffer as the result of a product.
fn dense_out(a: &Place, b: &Place, buffer: u32) -> Place {
    let mut dims = a.dims.clone();
    *dims.last_mut().unwrap() = *b.dims.last().unwrap();
    Place { buffer, dtype: a.dtype, offset: 0, strides: dense_strides(&dims), dims }
}

/// Small integers, so that every order of summation gives the same bits.
fn check<T: Engine>(rng: &mut StdRng, outer: &[usize], [m, n, k]: [usize; 3]) {
    let mut memory = Memory::new();
    let a = memory.place::<T>(rng, &[outer, &[m, k]].concat());
    let b = memory.place::<T>(rng, &[outer, &[k, n]].concat());
    let count = outer.iter().product();
    let expected = naive(&memory.elements::<T>(&a), &memory.elements::<T>(&b), [count, m, n, k]);
    for isa in Isa::available() {
        let out = memory.add(&vec![T::from_f64(9.0); count * m * n]);
        products::<T>(&single(&a, &b, out), &memory.frame(), isa);
        let found: Vec<f64> = memory.read::<T>(out).into_iter().map(T::to_f64).collect();
        assert_eq!(found, expected, "{isa:?} {outer:?} {m} {n} {k} {a:?} {b:?}");
        let apart = memory.add(&vec![T::from_f64(9.0); count * m * (n + 3) + 1]);
        check_apart::<T>(apart, [&a, &b], isa, &memory, &expected);
    }
}

/// The same product, whose rows go to places apart, those of a batch between those of the others.
fn check_apart<T: Engine>(buffer: u32, [a, b]: [&Place; 2], isa: Isa, memory: &Memory, expected: &[f64]) {
    let mut kernel = single(a, b, buffer);
    let (out, rank) = (&mut kernel.out, a.dims.len());
    out.offset = 1;
    let mut stride = out.dims[rank - 1] as isize + 3;
    for axis in 0..rank - 1 {
        (out.strides[axis], stride) = (stride, stride * out.dims[axis] as isize);
    }
    products::<T>(&kernel, &memory.frame(), isa);
    let found: Vec<f64> = memory.elements::<T>(&kernel.out).into_iter().map(T::to_f64).collect();
    assert_eq!(found, expected, "{isa:?} {a:?} {b:?} to {:?}", kernel.out);
    let untouched = memory.read::<T>(buffer).into_iter().filter(|v| v.to_f64() == 9.0).count();
    assert!(untouched > 3 * expected.len() / kernel.out.dims[rank - 1].max(1), "rows were written beyond their end");
}

#[test]
fn products_equal_the_naive_ones_for_every_layout() {
    let mut rng = rng(6);
    for round in 0..250 {
        let size = [7, 20, 70][round % 3];
        let dims = [0; 3].map(|_| if rng.random_range(0..20) == 0 { 0 } else { rng.random_range(1..size) });
        let outer = random_dims(&mut rng, round % 3);
        check::<f32>(&mut rng, &outer, dims);
        check::<f64>(&mut rng, &outer, dims);
        check::<i64>(&mut rng, &outer, dims);
    }
    for dims in [
        [1, 1, 1],
        [3, 600, 5],
        [600, 3, 5],
        [2, 2, 700],
        [1, 300, 300],
        [300, 1, 300],
        [1, 300, 3],
        [100, 10, 513],
        [130, 1030, 300],
        [5, 7, 0],
        [1, 1, 9000],
        [9000, 3, 2],
        [3, 9000, 2],
        [0, 3, 4],
    ] {
        check::<f32>(&mut rng, &[], dims);
        check::<f64>(&mut rng, &[], dims);
        check::<i64>(&mut rng, &[], dims);
    }
}

/// Sums of products of every length, multiplied and added to something; small integers again.
fn check_sums<T: Engine>(rng: &mut StdRng, outer: &[usize], [m, n]: [usize; 2]) {
    let mut memory = Memory::new();
    let count: usize = outer.iter().product();
    let (mut terms, mut expected) = (SmallVec::<[Term; 1]>::new(), vec![0.0; count * m * n]);
    for _ in 0..rng.random_range(1..5) {
        let k = [0, 1, 3, 30, 200][rng.random_range(0..5)];
        let a = memory.place::<T>(rng, &[outer, &[m, k]].concat());
        let b = memory.place::<T>(rng, &[outer, &[k, n]].concat());
        let factor = [1.0, -1.0, 3.0][rng.random_range(0..3)];
        memory.slots.push(T::DTYPE.bits(factor));
        let product = naive(&memory.elements::<T>(&a), &memory.elements::<T>(&b), [count, m, n, k]);
        expected.iter_mut().zip(product).for_each(|(e, p)| *e += factor * p);
        terms.push(Term { a, b, alpha: ScalarSource::Slot(memory.slots.len() as u32 - 1) });
    }
    let add = rng.random_bool(0.5).then(|| memory.place::<T>(rng, &[outer, &[m, n]].concat()));
    if let Some(add) = &add {
        expected.iter_mut().zip(memory.elements::<T>(add)).for_each(|(e, v)| *e += v.to_f64());
    }
    let out = memory.add(&vec![T::from_f64(9.0); count * m * n]);
    let kernel = Contract { out: dense_out(&terms[0].a, &terms[0].b, out), terms, add };
    for isa in Isa::available() {
        products::<T>(&kernel, &memory.frame(), isa);
        let found: Vec<f64> = memory.read::<T>(out).into_iter().map(T::to_f64).collect();
        assert_eq!(found, expected, "{isa:?} {outer:?} {m} {n}");
    }
}

#[test]
fn sums_of_products_equal_the_naive_ones() {
    let mut rng = rng(8);
    for round in 0..200 {
        let size = [7, 40, 130][round % 3];
        let dims = [0; 2].map(|_| rng.random_range(1..size));
        let outer = random_dims(&mut rng, [0, 0, 1, 2][round % 4]);
        check_sums::<f32>(&mut rng, &outer, dims);
        check_sums::<f64>(&mut rng, &outer, dims);
        check_sums::<i64>(&mut rng, &outer, dims);
    }
}

#[test]
fn sums_of_products_have_the_same_bits_on_any_number_of_threads() {
    let mut rng = rng(9);
    let mut memory = Memory::new();
    // Cut across and down, of long and of short terms; few large ones; partial sums of long ones.
    for (outer, [m, n], ks) in [
        (vec![], [200, 300], vec![70, 600, 1]),
        (vec![], [200, 300], vec![70, 100, 1, 128]),
        (vec![3], [130, 90], vec![40]),
        (vec![], [5, 9], vec![70_000, 300]),
        (vec![], [1, 1], vec![1 << 20]),
    ] {
        let shape = |last: [usize; 2]| [&outer[..], &last].concat();
        let mut place = |dims: Vec<usize>, turned: bool| {
            let data: Vec<f32> = (0..dims.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
            let mut strides = dense_strides(&dims);
            let rank = dims.len();
            if turned {
                (strides[rank - 2], strides[rank - 1]) = (1, dims[rank - 2] as isize);
            }
            Place { buffer: memory.add(&data), dtype: DType::F32, offset: 0, dims: dims.as_slice().into(), strides }
        };
        let alpha = ScalarSource::Literal(DType::F32.bits(0.3));
        let terms: SmallVec<[Term; 1]> =
            ks.iter().map(|&k| Term { a: place(shape([m, k]), true), b: place(shape([k, n]), false), alpha }).collect();
        let add = Some(place(shape([m, n]), false));
        let out = memory.add(&vec![0f32; outer.iter().product::<usize>() * m * n]);
        let kernel = Contract { out: dense_out(&terms[0].a, &terms[0].b, out), terms, add };
        let [one, two, seven] = [1, 2, 7].map(|threads| {
            set_threads(threads);
            run(&kernel, &memory.frame());
            memory.read::<f32>(out)
        });
        set_threads(2);
        assert!(one == two && two == seven, "{outer:?} {m} {n} {ks:?}");
    }
}

#[test]
fn a_factor_of_zero_times_infinity_is_no_number_and_old_memory_is_not_read() {
    let mut memory = Memory::new();
    let (a, b) = (memory.add(&[f32::INFINITY, 1.0, 2.0, 3.0]), memory.add(&[1f32; 2 * 20]));
    let out = memory.add(&[f32::NAN; 40]);
    let mut kernel = single(&whole(a, [2, 2]), &whole(b, [2, 20]), out);
    for (alpha, expected) in [(1.0, [f32::INFINITY, 5.0]), (-2.0, [f32::NEG_INFINITY, -10.0])] {
        kernel.terms[0].alpha = ScalarSource::Literal(DType::F32.bits(alpha));
        run(&kernel, &memory.frame());
        let found = memory.read::<f32>(out);
        assert!(found[..20] == [expected[0]; 20] && found[20..] == [expected[1]; 20], "{found:?}");
    }
    kernel.terms[0].alpha = ScalarSource::Literal(0);
    run(&kernel, &memory.frame());
    let found = memory.read::<f32>(out);
    assert!(found[..20].iter().all(|v| v.is_nan()) && found[20..] == [0.0; 20], "{found:?}");
}

#[test]
fn the_public_entry_takes_every_dtype_and_shared_operands() {
    let mut memory = Memory::new();
    for dtype in [DType::F32, DType::F64, DType::I64] {
        let ones = |memory: &mut Memory, n: usize| match dtype {
            DType::F32 => memory.add(&vec![1f32; n]),
            DType::F64 => memory.add(&vec![1f64; n]),
            _ => memory.add(&vec![1i64; n]),
        };
        let place =
            |buffer, dims: &[usize], strides: &[isize]| Place { buffer, dtype, offset: 0, dims: dims.into(), strides: strides.into() };
        let a = place(ones(&mut memory, 60), &[5, 4, 3], &[12, 3, 1]);
        let b = place(ones(&mut memory, 6), &[5, 3, 2], &[0, 2, 1]);
        let out = ones(&mut memory, 40);
        run(&single(&a, &b, out), &memory.frame());
        let found = match dtype {
            DType::F32 => memory.read::<f32>(out).into_iter().map(f64::from).collect(),
            DType::F64 => memory.read::<f64>(out),
            _ => memory.read::<i64>(out).into_iter().map(|v| v as f64).collect::<Vec<f64>>(),
        };
        assert_eq!(found, vec![3.0; 40]);
    }
}

fn noise(rng: &mut StdRng, n: usize) -> Vec<f32> {
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn whole(buffer: u32, dims: [usize; 2]) -> Place {
    Place { buffer, dtype: DType::F32, offset: 0, dims: dims.as_slice().into(), strides: [dims[1] as isize, 1].as_slice().into() }
}

#[test]
fn no_split_changes_a_bit() {
    let mut rng = rng(7);
    for [m, n, k] in [[130, 70, 300], [64, 64, 64], [300, 600, 40], [9, 1000, 520]] {
        let mut memory = Memory::new();
        let (a, b) = (memory.add(&noise(&mut rng, m * k)), memory.add(&noise(&mut rng, k * n)));
        let (a, b) = (whole(a, [m, k]), whole(b, [k, n]));
        let out = memory.add(&vec![0f32; m * n]);
        let product = |memory: &Memory, a: &Place, b: &Place, out: u32| run(&single(a, b, out), &memory.frame());
        set_threads(1);
        product(&memory, &a, &b, out);
        let all = memory.read::<f32>(out);
        for threads in [2, 7] {
            set_threads(threads);
            product(&memory, &a, &b, out);
            assert_eq!(memory.read::<f32>(out), all, "{threads} threads");
        }
        set_threads(2);
        // Any rows alone, any columns alone, and the product of the transposes' copies.
        let (row, col) = (rng.random_range(0..m), rng.random_range(0..n));
        let (rows, cols) = (rng.random_range(1..=m - row), rng.random_range(1..=n - col));
        let mut part = a.clone();
        (part.offset, part.dims[0]) = ((row * k) as isize, rows);
        let some = memory.add(&vec![0f32; rows * n]);
        product(&memory, &part, &b, some);
        assert_eq!(memory.read::<f32>(some), all[row * n..(row + rows) * n]);
        let mut part = b.clone();
        (part.offset, part.dims[1]) = (col as isize, cols);
        let some = memory.add(&vec![0f32; m * cols]);
        product(&memory, &a, &part, some);
        let expected: Vec<f32> = (0..m).flat_map(|i| all[i * n + col..i * n + col + cols].to_vec()).collect();
        assert_eq!(memory.read::<f32>(some), expected);
    }
}

#[test]
fn infinities_and_nans_stay_in_their_rows() {
    let mut memory = Memory::new();
    let mut values = vec![1f32; 5 * 3];
    (values[3], values[7]) = (f32::INFINITY, f32::NAN);
    let (a, b) = (memory.add(&values), memory.add(&[1f32; 3 * 4]));
    let out = memory.add(&[0f32; 20]);
    run(&single(&whole(a, [5, 3]), &whole(b, [3, 4]), out), &memory.frame());
    let found = memory.read::<f32>(out);
    assert_eq!(found[..4], [3.0; 4]);
    assert_eq!(found[4..8], [f32::INFINITY; 4]);
    assert!(found[8..12].iter().all(|v| v.is_nan()));
    assert_eq!(found[12..], [3.0; 8]);
}
