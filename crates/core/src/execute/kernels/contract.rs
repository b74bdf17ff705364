//! How are matrix products cut into parts for the cores?
//!
//! All cuts depend on shapes only: see [`gemm`](super::gemm) for what computes a part, and in which order it sums.

use super::{
    gemm::{Engine, Matrix, Product, dots, multiply},
    isa::Isa,
    strided::{Rows, Shared, dense, dense_strides, memory},
};
use crate::{
    DType,
    execute::{frame::Frame, threads},
    plan::kernel::{Contract, Place},
};

/// Multiplications that a task should have at least: some 2 µs.
const TASK: usize = 1 << 17;
/// So many products are not cut: each is a task's own.
const MANY: usize = 8;
/// Most columns of a part: so much of `b`, as packed for a part, stays in the core's own cache.
const WIDTH: usize = 192;
/// Columns of a part are a multiple of this, unless they are the last: whole registers for every instruction set.
const GRAIN: usize = 48;
/// Fewest and most rows of a part of many: each part packs its columns of `b` for itself.
const ROWS: [usize; 2] = [32, 128];

/// Matrix products over the batch axes, for every layout of the operands.
pub fn run(kernel: &Contract, frame: &Frame) {
    debug_assert_eq!(kernel.a.dtype, kernel.b.dtype);
    let isa = Isa::current();
    match kernel.a.dtype {
        DType::F32 => batch::<f32>(kernel, frame, isa),
        DType::F64 => batch::<f64>(kernel, frame, isa),
        DType::I64 => batch::<i64>(kernel, frame, isa),
        DType::Bool => panic!("a matrix product needs numbers, found bool"),
    }
}

fn batch<T: Engine>(Contract { a, b, out }: &Contract, frame: &Frame, isa: Isa) {
    let (mut rank, k) = (a.dims.len() - 2, a.dims[a.dims.len() - 1]);
    let (mut m, n) = (a.dims[rank], b.dims[rank + 1]);
    debug_assert_eq!((&a.dims[..rank], k), (&b.dims[..rank], b.dims[rank]));
    let size: usize = a.dims[..=rank].iter().product::<usize>() * n;
    let (x, y, out) = (memory::<T>(frame, a), memory::<T>(frame, b), dense::<T>(frame, *out, size));
    let matrix = |place: &Place, data, r: usize| Matrix { data, row: place.strides[r], col: place.strides[r + 1] };
    let (x, y) = (matrix(a, x, rank), matrix(b, y, rank));
    // Products that share `b` and whose rows run on into each other are one product.
    while rank > 0 && b.strides[rank - 1] == 0 && a.strides[rank - 1] == m as isize * x.row {
        rank -= 1;
        m *= a.dims[rank];
    }
    let dims = &a.dims[..rank];
    let count: usize = dims.iter().product();
    if m * n == 0 || count == 0 {
        return;
    }
    let rows = Rows::new(dims, [(a.offset, &a.strides[..rank]), (b.offset, &b.strides[..rank]), (0, &dense_strides(dims))]);
    let group = if count < MANY { count } else { (TASK / (m * n * k).max(1)).clamp(1, count) };
    threads::run(count.div_ceil(group), &|task| {
        rows.each(task * group..((task + 1) * group).min(count), |[x_at, y_at, number], len| {
            for i in 0..len as isize {
                let a = Matrix { data: Shared::new(x.data.at(x_at + i * rows.steps[0])), ..x };
                let b = Matrix { data: Shared::new(y.data.at(y_at + i * rows.steps[1])), ..y };
                let out = Shared::new(out.at((number + i * rows.steps[2]) * (m * n) as isize));
                product(Product { m, n, k, a, b, out: Matrix { data: out, row: n as isize, col: 1 } }, isa);
            }
        });
    });
}

/// One product whose result is dense.
fn product<T: Engine>(whole: Product<T>, isa: Isa) {
    let Product { m, n, k, a, b, out } = whole;
    if k == 0 {
        // SAFETY: the product's own part of the output, which is dense.
        return unsafe { std::slice::from_raw_parts_mut(out.at(0, 0), m * n) }.fill(T::default());
    }
    if n == 1 && m > 1 {
        // A dense column is a dense row: its transpose's product.
        let out = Matrix { row: m as isize, ..out };
        return product(Product { m: 1, n: m, k, a: b.transposed(), b: a.transposed(), out }, isa);
    }
    let along_terms = m == 1 && b.row == 1 && a.col == 1;
    let [tall, wide] = part(&whole);
    let across = n.div_ceil(wide);
    threads::run(m.div_ceil(tall) * across, &|t| {
        let (row, col) = (t / across * tall, t % across * wide);
        let (m, n) = (tall.min(m - row), wide.min(n - col));
        let part = Product { m, n, k, a: a.from(row, 0), b: b.from(0, col), out: out.from(row, col) };
        // SAFETY: `memory` and `dense` checked the matrices; parts of `out` are disjoint; the machine's own instruction set.
        unsafe { if along_terms { dots(&part, isa) } else { multiply(&part, isa) } };
    });
}

/// Rows and columns of a part.
fn part<T>(&Product { m, n, k, .. }: &Product<T>) -> [usize; 2] {
    let worth = |other: usize| TASK.div_ceil(other * k);
    if m <= ROWS[0] {
        return [m, worth(m).next_multiple_of(if m == 1 { 64 } else { GRAIN })];
    }
    let wide = n.div_ceil(n.div_ceil(WIDTH)).next_multiple_of(GRAIN);
    let tall = (m / 2).clamp(ROWS[0], ROWS[1]).max(worth(wide.min(n)));
    [tall.next_multiple_of(8), wide]
}

#[cfg(test)]
mod tests {
    use super::{super::strided::tests::*, *};
    use crate::execute::threads::set_threads;
    use rand::{RngExt, rngs::StdRng};

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

    /// Small integers, so that every order of summation gives the same bits.
    fn check<T: Engine>(rng: &mut StdRng, outer: &[usize], [m, n, k]: [usize; 3]) {
        let mut memory = Memory::new();
        let a = memory.place::<T>(rng, &[outer, &[m, k]].concat());
        let b = memory.place::<T>(rng, &[outer, &[k, n]].concat());
        let count = outer.iter().product();
        let expected = naive(&memory.elements::<T>(&a), &memory.elements::<T>(&b), [count, m, n, k]);
        for isa in Isa::available() {
            let out = memory.add(&vec![T::from_f64(9.0); count * m * n]);
            batch::<T>(&Contract { a: a.clone(), b: b.clone(), out }, &memory.frame(), isa);
            let found: Vec<f64> = memory.read::<T>(out).into_iter().map(T::to_f64).collect();
            assert_eq!(found, expected, "{isa:?} {outer:?} {m} {n} {k} {a:?} {b:?}");
        }
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
            run(&Contract { a, b, out }, &memory.frame());
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
            let product =
                |memory: &Memory, a: &Place, b: &Place, out: u32| run(&Contract { a: a.clone(), b: b.clone(), out }, &memory.frame());
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
        run(&Contract { a: whole(a, [5, 3]), b: whole(b, [3, 4]), out }, &memory.frame());
        let found = memory.read::<f32>(out);
        assert_eq!(found[..4], [3.0; 4]);
        assert_eq!(found[4..8], [f32::INFINITY; 4]);
        assert!(found[8..12].iter().all(|v| v.is_nan()));
        assert_eq!(found[12..], [3.0; 8]);
    }
}
