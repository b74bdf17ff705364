//! How are matrix products cut into pieces for the caches and the cores?
//!
//! All cuts depend on shapes only, and no cut changes a bit of the result: see [`gemm`](super::gemm). An element's terms are
//! summed in ascending order, [`DEPTH`] at a time.

use super::{
    gemm::{Engine, Panel, Product},
    strided::{Rows, Shared, dense, dense_strides, memory},
};
use crate::{
    DType,
    execute::{frame::Frame, threads},
    memory::Buffer,
    plan::kernel::{Contract, Place},
};

/// Terms summed at a time: a panel of `b` of this depth stays in the nearest cache.
const DEPTH: usize = 256;
/// Columns of `b` packed at a time.
const WIDTH: usize = 512;
/// Multiplications that a task should have at least: some 2 µs.
const TASK: usize = 1 << 17;
/// So many products are not cut: each is a task's own.
const MANY: usize = 8;

/// Matrix products over the batch axes, for every layout of the operands.
pub fn run(kernel: &Contract, frame: &Frame) {
    debug_assert_eq!(kernel.a.dtype, kernel.b.dtype);
    match kernel.a.dtype {
        DType::F32 => batch::<f32>(kernel, frame, f32::engine()),
        DType::F64 => batch::<f64>(kernel, frame, f64::engine()),
        DType::I64 => batch::<i64>(kernel, frame, i64::engine()),
        DType::Bool => panic!("a matrix product needs numbers, found bool"),
    }
}

/// One product: `out` is dense, `[m, n]`.
struct Task<T> {
    m: usize,
    n: usize,
    k: usize,
    a: Operand<T>,
    b: Operand<T>,
    out: Shared<T>,
}

/// A matrix anywhere in memory.
#[derive(Clone, Copy)]
struct Operand<T> {
    data: Shared<T>,
    row: isize,
    col: isize,
}

impl<T> Operand<T> {
    fn at(&self, i: usize, j: usize) -> *const T {
        self.data.at(i as isize * self.row + j as isize * self.col)
    }
}

fn batch<T: Product>(Contract { a, b, out }: &Contract, frame: &Frame, engine: Engine<T>) {
    let (mut rank, k) = (a.dims.len() - 2, a.dims[a.dims.len() - 1]);
    let (mut m, n) = (a.dims[rank], b.dims[rank + 1]);
    debug_assert_eq!((&a.dims[..rank], k), (&b.dims[..rank], b.dims[rank]));
    let size: usize = a.dims[..=rank].iter().product::<usize>() * n;
    let (x, y, out) = (memory::<T>(frame, a), memory::<T>(frame, b), dense::<T>(frame, *out, size));
    let matrix = |place: &Place, data, r: usize| Operand { data, row: place.strides[r], col: place.strides[r + 1] };
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
                let a = Operand { data: Shared::new(x.data.at(x_at + i * rows.steps[0])), ..x };
                let b = Operand { data: Shared::new(y.data.at(y_at + i * rows.steps[1])), ..y };
                let out = Shared::new(out.at((number + i * rows.steps[2]) * (m * n) as isize));
                multiply(&Task { m, n, k, a, b, out }, engine);
            }
        });
    });
}

fn multiply<T: Product>(task: &Task<T>, engine: Engine<T>) {
    if task.k == 0 {
        // SAFETY: the product's own part of the output, which is dense.
        unsafe { std::slice::from_raw_parts_mut(task.out.at(0), task.m * task.n) }.fill(T::default());
    }
    if task.n == 1 && task.m > 1 {
        // A dense column is a dense row: its transpose's product.
        let flip = |o: Operand<T>| Operand { row: o.col, col: o.row, ..o };
        return multiply(&Task { m: 1, n: task.m, k: task.k, a: flip(task.b), b: flip(task.a), out: task.out }, engine);
    }
    if task.m == 1 && task.b.row == 1 && task.a.col == 1 && task.k >= engine.cols {
        return dots(task, engine);
    }
    for first_col in (0..task.n).step_by(WIDTH) {
        for first_term in (0..task.k).step_by(DEPTH) {
            let slab =
                Slab { task, engine, first_col, cols: WIDTH.min(task.n - first_col), first_term, terms: DEPTH.min(task.k - first_term) };
            slab.multiply();
        }
    }
}

/// A row times a matrix whose columns are dense.
fn dots<T: Product>(task: &Task<T>, engine: Engine<T>) {
    let share = TASK.div_ceil(task.k).next_multiple_of(4);
    threads::run(task.n.div_ceil(share), &|t| {
        let first = t * share;
        let part = Panel {
            rows: share.min(task.n - first),
            cols: 1,
            k: task.k,
            a: task.b.at(0, first),
            a_block: 0,
            a_row: task.b.col,
            a_step: 1,
            b: task.a.at(0, 0),
            b_step: 1,
            out: task.out.at(first as isize),
            out_row: 1,
            accumulate: false,
        };
        // SAFETY: columns of `b` and the row `a`, whose terms are neighbours; tasks write disjoint parts of `out`.
        unsafe { (engine.dots)(&part) };
    });
}

/// Some columns and some terms of a product: as much of `b` as is packed at a time.
struct Slab<'a, T> {
    task: &'a Task<T>,
    engine: Engine<T>,
    first_col: usize,
    cols: usize,
    first_term: usize,
    terms: usize,
}

impl<T: Product> Slab<'_, T> {
    fn multiply(&self) {
        let (m, panels) = (self.task.m, self.cols.div_ceil(self.engine.cols));
        let direct = self.direct();
        let packed = Buffer::new(panels * self.engine.cols * self.terms * size_of::<T>());
        let packed = (Shared::new(packed.ptr().cast::<T>()), packed);
        // Packing moves some 4 elements in the time of a task's multiplication.
        let at_once = (TASK / 8 / (self.engine.cols * self.terms)).max(1);
        threads::run(panels.div_ceil(at_once), &|t| {
            for panel in t * at_once..((t + 1) * at_once).min(panels) {
                if !direct || self.width(panel) < self.engine.cols {
                    self.pack_b(panel, &packed.0);
                }
            }
        });
        let (tall, wide) = self.tile(panels);
        let across = panels.div_ceil(wide);
        threads::run(m.div_ceil(tall) * across, &|t| {
            let (row, panel) = (t / across * tall, t % across * wide);
            self.multiply_tile(row..(row + tall).min(m), panel..(panel + wide).min(panels), &packed.0, direct);
        });
    }

    /// Whether the panels of `b` can be read where they are; packing pays when they are read often.
    fn direct(&self) -> bool {
        self.task.b.col == 1 && self.task.m <= 2 * self.engine.rows
    }

    /// Columns of a panel.
    fn width(&self, panel: usize) -> usize {
        self.engine.cols.min(self.cols - panel * self.engine.cols)
    }

    /// Rows and panels of a tile, a task's share.
    fn tile(&self, panels: usize) -> (usize, usize) {
        let row_work = self.cols * self.terms;
        if self.task.m <= 32 {
            let panel_work = self.task.m * self.engine.cols * self.terms;
            return (self.task.m, TASK.div_ceil(panel_work).min(panels));
        }
        let most = if self.task.m >= 256 { 64 } else { 32 };
        (TASK.div_ceil(row_work).max(most).next_multiple_of(self.engine.rows), panels)
    }

    /// Copies a panel of `b` so that it is read in order, with zeros beyond its columns.
    fn pack_b(&self, panel: usize, packed: &Shared<T>) {
        let (engine, width, b) = (&self.engine, self.width(panel), &self.task.b);
        let to = packed.at((panel * engine.cols * self.terms) as isize);
        let (first, step) = (self.first_col + panel * engine.cols, engine.cols);
        // SAFETY: a panel of the packed memory, which is this task's own, and the elements of `b` that belong in it.
        unsafe {
            if width < step {
                std::slice::from_raw_parts_mut(to, step * self.terms).fill(T::default());
            }
            if b.col == 1 {
                for l in 0..self.terms {
                    copy(b.at(self.first_term + l, first), to.add(l * step), width);
                }
            } else {
                transpose(b.at(self.first_term, first), [b.row, b.col], [self.terms, width], to, step);
            }
        }
    }

    fn multiply_tile(&self, rows: std::ops::Range<usize>, panels: std::ops::Range<usize>, packed: &Shared<T>, direct: bool) {
        let (engine, task) = (&self.engine, self.task);
        let a = task.a.at(rows.start, self.first_term);
        // Rows of `a` are read where they are if their terms are neighbours; else each is read once, into order.
        let own = (task.a.col != 1 && task.a.row != 1 && panels.len() > 1)
            .then(|| Buffer::new(rows.len().next_multiple_of(engine.rows) * self.terms * size_of::<T>()));
        let (a, a_block, a_row, a_step) = match &own {
            None => (a, engine.rows as isize * task.a.row, task.a.row, task.a.col),
            Some(own) => {
                let to = own.ptr().cast::<T>();
                for first in (0..rows.len()).step_by(engine.rows) {
                    let height = engine.rows.min(rows.len() - first);
                    // SAFETY: rows of `a`; memory of this task's own that holds all blocks.
                    unsafe {
                        let from = a.wrapping_offset(first as isize * task.a.row);
                        transpose(from, [task.a.col, task.a.row], [self.terms, height], to.add(first * self.terms), engine.rows);
                    }
                }
                (to.cast_const(), (engine.rows * self.terms) as isize, 1, engine.rows as isize)
            }
        };
        let mut next = panels.start;
        while next < panels.end {
            let panel = next;
            next += 1;
            let (first, cols) = (self.first_col + panel * engine.cols, self.width(panel));
            let (b, b_step) = if direct && cols == engine.cols {
                (task.b.at(self.first_term, first), task.b.row)
            } else {
                (packed.at((panel * engine.cols * self.terms) as isize).cast_const(), engine.cols as isize)
            };
            let out = task.out.at((rows.start * task.n + first) as isize);
            let accumulate = self.first_term > 0;
            let part = Panel {
                rows: rows.len(),
                cols,
                k: self.terms,
                a,
                a_block,
                a_row,
                a_step,
                b,
                b_step,
                out,
                out_row: task.n as isize,
                accumulate,
            };
            let wide = engine.wide / engine.cols;
            // SAFETY: `a` and `b` hold the rows, terms and columns, as packed or as `memory` checked; tiles of `out` are disjoint.
            unsafe {
                if direct && rows.len() == 1 && panel + wide <= panels.end && self.width(panel + wide - 1) == engine.cols {
                    next += wide - 1;
                    (engine.row)(&Panel { cols: engine.wide, ..part });
                } else {
                    (engine.panel)(&part);
                }
            }
        }
    }
}

/// Copies a short run without the call that a copy of unknown length becomes.
///
/// # Safety
/// Both sides must hold `n` elements; `to` must be the caller's own.
#[inline(always)]
unsafe fn copy<T: Copy>(from: *const T, to: *mut T, n: usize) {
    let bulk = n / 8 * 8;
    // SAFETY: the caller vouches for both sides.
    unsafe {
        for i in (0..bulk).step_by(8) {
            to.add(i).cast::<[T; 8]>().write_unaligned(from.add(i).cast::<[T; 8]>().read_unaligned());
        }
        for i in bulk..n {
            *to.add(i) = *from.add(i);
        }
    }
}

/// `to[i * step + j] = from[i * strides[0] + j * strides[1]]`, in squares, so that neither side leaves the nearest cache.
///
/// # Safety
/// Both sides must hold the elements; `to` must be the caller's own.
unsafe fn transpose<T: Copy>(from: *const T, strides: [isize; 2], [rows, cols]: [usize; 2], to: *mut T, step: usize) {
    let at = |i: usize, j: usize| from.wrapping_offset(i as isize * strides[0] + j as isize * strides[1]);
    let (mut tall, mut wide) = (0, 0);
    // SAFETY: the caller vouches for every element `i, j` of both sides.
    unsafe {
        if strides[1] == 1 {
            return (0..rows).for_each(|i| copy(at(i, 0), to.add(i * step), cols));
        }
        if strides[0] == 1 {
            (tall, wide) = (rows / 4 * 4, cols / 4 * 4);
            for (i, j) in (0..tall).step_by(4).flat_map(|i| (0..wide).step_by(4).map(move |j| (i, j))) {
                // Four loads, then four stores of one element of each: registers are transposed, not memory.
                let read = |j| at(i, j).cast::<[T; 4]>().read_unaligned();
                let [a, b, c, d] = [read(j), read(j + 1), read(j + 2), read(j + 3)];
                for l in 0..4 {
                    to.add((i + l) * step + j).cast::<[T; 4]>().write_unaligned([a[l], b[l], c[l], d[l]]);
                }
            }
        }
        for i in 0..rows {
            for j in if i < tall { wide } else { 0 }..cols {
                *to.add(i * step + j) = *at(i, j);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{gemm::tests::All, strided::tests::*},
        *,
    };
    use crate::execute::threads::set_threads;
    use rand::{RngExt, rngs::StdRng};

    fn naive<T: Product>(a: &[T], b: &[T], [count, m, n, k]: [usize; 4]) -> Vec<f64> {
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
    fn check<T: All>(rng: &mut StdRng, outer: &[usize], [m, n, k]: [usize; 3]) {
        let mut memory = Memory::new();
        let a = memory.place::<T>(rng, &[outer, &[m, k]].concat());
        let b = memory.place::<T>(rng, &[outer, &[k, n]].concat());
        let count = outer.iter().product();
        let expected = naive(&memory.elements::<T>(&a), &memory.elements::<T>(&b), [count, m, n, k]);
        for engine in T::engines() {
            let out = memory.add(&vec![T::from_f64(9.0); count * m * n]);
            batch(&Contract { a: a.clone(), b: b.clone(), out }, &memory.frame(), engine);
            let found: Vec<f64> = memory.read::<T>(out).into_iter().map(T::to_f64).collect();
            assert_eq!(found, expected, "{outer:?} {m} {n} {k} {a:?} {b:?}");
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
        for dims in
            [[1, 1, 1], [3, 600, 5], [600, 3, 5], [2, 2, 700], [1, 300, 300], [300, 1, 300], [1, 300, 3], [100, 10, 513], [130, 1030, 300]]
        {
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
