//! Who multiplies a part of a matrix product on one core: the library, or loops of our own where it serves badly?
//!
//! The library is `private-gemm-x86`, the engine of `faer`, which packs into memory of its thread's own and so leaves the heap alone.
//! Loops of our own take vectors, tiny products, integers and machines that the library doesn't know.
//!
//! Either way an element's terms are summed in the order in which they lie in `b`, [`DEPTH`] at a time, by fused multiply-adds where
//! the machine has them. So its bits don't depend on which part of a product it is computed in. The exception is [`dots`].

use super::{
    isa::{Isa, for_each_isa},
    strided::Shared,
};
use crate::{Element, memory::Buffer};
use std::ops::Range;

/// Terms whose sum is begun anew, and added to the sum before: the library's choice, which keeps its panels in the cache.
const DEPTH: usize = 512;
/// Columns of a tile of our loops.
const TILE: usize = 16;
/// Up to so many multiplications the library's preparation costs more than it gains: if our loops find whole tiles, and if not.
const TINY: [usize; 2] = [1 << 12, 1 << 7];

/// A matrix anywhere in memory.
pub struct Matrix<T> {
    /// The first element.
    pub data: Shared<T>,
    /// Elements from row to row.
    pub row: isize,
    /// Elements from column to column.
    pub col: isize,
}

impl<T> Clone for Matrix<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Matrix<T> {}

impl<T> Matrix<T> {
    /// The place of an element.
    pub fn at(&self, i: usize, j: usize) -> *mut T {
        self.data.at(i as isize * self.row + j as isize * self.col)
    }

    /// The matrix from an element on.
    pub fn from(&self, i: usize, j: usize) -> Self {
        Matrix { data: Shared::new(self.at(i, j)), ..*self }
    }

    /// The same elements with rows for columns.
    pub fn transposed(&self) -> Self {
        Matrix { data: self.data, row: self.col, col: self.row }
    }
}

/// `out[i, j] = Σ_l a[i, l] * b[l, j]`; neighbouring columns of `out` are neighbours in memory.
pub struct Product<T> {
    /// Rows of `a` and `out`.
    pub m: usize,
    /// Columns of `b` and `out`.
    pub n: usize,
    /// Terms of each sum, at least one.
    pub k: usize,
    /// `[m, k]`.
    pub a: Matrix<T>,
    /// `[k, n]`.
    pub b: Matrix<T>,
    /// `[m, n]`.
    pub out: Matrix<T>,
}

impl<T> Product<T> {
    /// The same sums in the order in which the terms lie in `b`: the library's order, so that it is everyone's.
    fn forward(&self) -> Self {
        let Product { m, n, k, a, b, out } = *self;
        if b.row >= 0 || k == 0 {
            return Product { m, n, k, a, b, out };
        }
        let (last_a, last_b) = (a.from(0, k - 1), b.from(k - 1, 0));
        Product { m, n, k, a: Matrix { col: -a.col, ..last_a }, b: Matrix { row: -b.row, ..last_b }, out }
    }
}

/// Elements of a dtype that can be multiplied as matrices.
pub trait Engine: Element {
    /// Whether the library multiplies this dtype by this instruction set; then it has done so.
    ///
    /// # Safety
    /// As for [`multiply`].
    unsafe fn by_library(product: &Product<Self>, isa: Isa) -> bool;
    /// `self * b + c`; rounded once if `FMA`.
    fn mul_add<const FMA: bool>(self, b: Self, c: Self) -> Self;
    /// `self + b`.
    fn plus(self, b: Self) -> Self;

    /// The loops of [`multiply`].
    ///
    /// # Safety
    /// As for [`multiply`].
    #[inline(always)]
    unsafe fn in_tiles<const FMA: bool>(product: &Product<Self>) {
        // SAFETY: as for the caller.
        unsafe {
            if product.m == 1 {
                // A row alone needs many sums side by side, as many as registers hold, to hide how long an addition takes.
                let wide = 256 / size_of::<Self>();
                let bulk = product.n / wide * wide;
                if wide == 64 {
                    tiles::<Self, FMA, 1, 64>(product, 0, 0..bulk);
                } else {
                    tiles::<Self, FMA, 1, 32>(product, 0, 0..bulk);
                }
                return tiles::<Self, FMA, 1, TILE>(product, 0, bulk..product.n);
            }
            let fours = product.m / 4 * 4;
            for row in (0..fours).step_by(4) {
                tiles::<Self, FMA, 4, TILE>(product, row, 0..product.n);
            }
            for row in fours..product.m {
                tiles::<Self, FMA, 1, TILE>(product, row, 0..product.n);
            }
        }
    }

    /// The loops of [`dots`].
    ///
    /// # Safety
    /// As for [`dots`].
    #[inline(always)]
    unsafe fn in_lanes<const FMA: bool>(product: &Product<Self>) {
        // SAFETY: as for the caller; a cache line of lanes for each column.
        unsafe { if size_of::<Self>() == 4 { columns::<Self, FMA, 16>(product) } else { columns::<Self, FMA, 8>(product) } }
    }
}

/// Loops that were compiled for an instruction set.
type Compiled<T> = unsafe fn(&Product<T>);

for_each_isa! {
    fn loops<T: Engine>(product: &Product<T>) as Compiled<T> => in_tiles
}
for_each_isa! {
    fn dot_loops<T: Engine>(product: &Product<T>) as Compiled<T> => in_lanes
}

/// Computes a product, or a part of one, on this thread.
///
/// # Safety
/// The matrices must lie in memory, and nobody else may use `out` meanwhile. The machine must have the instruction set.
pub unsafe fn multiply<T: Engine>(product: &Product<T>, isa: Isa) {
    debug_assert!(product.k > 0 && product.out.col == 1);
    let product = &product.forward();
    let (work, rows_of_b) = (product.m * product.n * product.k, product.b.col == 1);
    let tiny = if rows_of_b && product.n.is_multiple_of(TILE) { TINY[0] } else { TINY[1] };
    let ours = work <= tiny || (product.m == 1 && rows_of_b);
    // SAFETY: as for the caller.
    unsafe {
        if !ours && T::by_library(product, isa) {
            return;
        }
        if rows_of_b || product.m <= 4 {
            return loops::<T>(isa)(product);
        }
        let own = Buffer::new(product.k * product.n * size_of::<T>());
        let b = Matrix { data: Shared::new(own.ptr().cast::<T>()), row: product.n as isize, col: 1 };
        for l in 0..product.k {
            for j in 0..product.n {
                *b.at(l, j) = *product.b.at(l, j);
            }
        }
        loops::<T>(isa)(&Product { b, ..*product })
    }
}

/// Computes a row times a matrix, the terms of both of which are neighbours. Several partial sums run side by side and are
/// added in a fixed order that depends on the dtype and `k` only.
///
/// # Safety
/// As for [`multiply`].
pub unsafe fn dots<T: Engine>(product: &Product<T>, isa: Isa) {
    debug_assert_eq!((product.m, product.a.col, product.b.row, product.out.col), (1, 1, 1, 1));
    // SAFETY: as for the caller.
    unsafe { dot_loops::<T>(isa)(product) }
}

// No closures in what follows: they are compiled without the caller's instruction set, and every fused multiply-add becomes a call.

/// Some rows and columns of a product, in tiles.
#[inline(always)]
unsafe fn tiles<T: Engine, const FMA: bool, const ROWS: usize, const COLS: usize>(p: &Product<T>, row: usize, cols: Range<usize>) {
    for col in cols.step_by(COLS) {
        // SAFETY: as for the caller; neighbours are read together only if there are enough.
        unsafe {
            if p.b.col == 1 && col + COLS <= p.n {
                tile::<T, FMA, true, ROWS, COLS>(p, row, col);
            } else {
                tile::<T, FMA, false, ROWS, COLS>(p, row, col);
            }
        }
    }
}

/// One tile. `WHOLE`: it has all of its columns, and those of `b` are neighbours.
#[inline(always)]
unsafe fn tile<T: Engine, const FMA: bool, const WHOLE: bool, const ROWS: usize, const COLS: usize>(
    p: &Product<T>,
    row: usize,
    col: usize,
) {
    debug_assert!(row + ROWS <= p.m && col < p.n && (!WHOLE || col + COLS <= p.n));
    let width = if WHOLE { COLS } else { COLS.min(p.n - col) };
    let (mut total, mut first) = ([[T::default(); COLS]; ROWS], 0);
    while first < p.k {
        let mut sums = [[T::default(); COLS]; ROWS];
        for l in first..p.k.min(first + DEPTH) {
            let mut terms = [T::default(); COLS];
            // SAFETY: `width` columns of `b`.
            unsafe {
                if WHOLE {
                    terms = p.b.at(l, col).cast::<[T; COLS]>().read_unaligned();
                } else {
                    for (j, to) in terms[..width].iter_mut().enumerate() {
                        *to = *p.b.at(l, col + j);
                    }
                }
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                // SAFETY: a row and a term of `a`.
                let x = unsafe { *p.a.at(row + i, l) };
                for (sum, y) in sums.iter_mut().zip(&terms) {
                    *sum = x.mul_add::<FMA>(*y, *sum);
                }
            }
        }
        for (total, sums) in total.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            *total = if first == 0 { *sums } else { total.plus(*sums) };
        }
        first += DEPTH;
    }
    for (i, total) in total.iter().enumerate() {
        // SAFETY: the tile's part of `out`, which is the caller's own.
        unsafe { std::slice::from_raw_parts_mut(p.out.at(row + i, col), width) }.copy_from_slice(&total[..width]);
    }
}

/// All columns of [`dots`].
#[inline(always)]
unsafe fn columns<T: Engine, const FMA: bool, const LANES: usize>(p: &Product<T>) {
    let fours = p.n / 4 * 4;
    // SAFETY: as for the caller.
    unsafe {
        for col in (0..fours).step_by(4) {
            lanes::<T, FMA, 4, LANES>(p, col);
        }
        for col in fours..p.n {
            lanes::<T, FMA, 1, LANES>(p, col);
        }
    }
}

/// Some columns of [`dots`].
#[inline(always)]
unsafe fn lanes<T: Engine, const FMA: bool, const COLS: usize, const LANES: usize>(p: &Product<T>, col: usize) {
    debug_assert!(col + COLS <= p.n && LANES.is_power_of_two());
    let bulk = p.k / LANES * LANES;
    let mut sums = [[T::default(); LANES]; COLS];
    for l in (0..bulk).step_by(LANES) {
        // SAFETY: `LANES` terms of `a`, which are neighbours.
        let x = unsafe { p.a.at(0, l).cast::<[T; LANES]>().read_unaligned() };
        for (j, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as many of a column of `b`.
            let y = unsafe { p.b.at(l, col + j).cast::<[T; LANES]>().read_unaligned() };
            for ((sum, x), y) in sums.iter_mut().zip(&x).zip(&y) {
                *sum = x.mul_add::<FMA>(*y, *sum);
            }
        }
    }
    for (j, &sums) in sums.iter().enumerate() {
        let mut sum = total(sums);
        // SAFETY: the terms that are left; an element of `out`, which is the caller's own.
        unsafe {
            for l in bulk..p.k {
                sum = (*p.a.at(0, l)).mul_add::<FMA>(*p.b.at(l, col + j), sum);
            }
            *p.out.at(0, col + j) = sum;
        }
    }
}

/// The sum of some lanes, by halves. Apart from the loop over the terms, whose registers would else be arranged for this sum's sake.
#[inline(never)]
fn total<T: Engine, const LANES: usize>(mut lanes: [T; LANES]) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = lanes[i].plus(lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// A float that the library multiplies: the type, and the library's name of it.
macro_rules! float_engine {
    ($t:ident, $library:ident) => {
        impl Engine for $t {
            #[cfg(target_arch = "x86_64")]
            unsafe fn by_library(p: &Product<$t>, isa: Isa) -> bool {
                use private_gemm_x86::{Accum, DType, DstKind, IType, InstrSet, gemm};
                use std::ptr::null;
                let instructions = match isa {
                    Isa::Baseline => return false,
                    Isa::Avx2 => InstrSet::Avx256,
                    Isa::Avx512 => InstrSet::Avx512,
                };
                let one: $t = 1.0;
                let (rows, cols) = (p.out.row, p.out.col);
                // SAFETY: the caller vouches for the matrices and the instructions; no index lists, no diagonal, one thread.
                unsafe {
                    #[rustfmt::skip]
                                                    gemm(
                                                        DType::$library, IType::U64, instructions, p.m, p.n, p.k,
                                                        p.out.at(0, 0).cast(), rows, cols, null(), null(), DstKind::Full, Accum::Replace,
                                                        p.a.at(0, 0).cast_const().cast(), p.a.row, p.a.col, false, null(), 0,
                                                        p.b.at(0, 0).cast_const().cast(), p.b.row, p.b.col, false,
                                                        (&raw const one).cast(), 1,
                                                    );
                }
                true
            }
            #[cfg(not(target_arch = "x86_64"))]
            unsafe fn by_library(_: &Product<$t>, _: Isa) -> bool {
                false
            }
            #[inline(always)]
            fn mul_add<const FMA: bool>(self, b: $t, c: $t) -> $t {
                if FMA { $t::mul_add(self, b, c) } else { self * b + c }
            }
            #[inline(always)]
            fn plus(self, b: $t) -> $t {
                self + b
            }
        }
    };
}
float_engine!(f32, F32);
float_engine!(f64, F64);

impl Engine for i64 {
    unsafe fn by_library(_: &Product<i64>, _: Isa) -> bool {
        false
    }
    #[inline(always)]
    fn mul_add<const FMA: bool>(self, b: i64, c: i64) -> i64 {
        c.wrapping_add(self.wrapping_mul(b))
    }
    #[inline(always)]
    fn plus(self, b: i64) -> i64 {
        self.wrapping_add(b)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::strided::tests::*, *};
    use rand::RngExt;

    /// Random values, so that every other order of summation would show.
    fn check<T: Engine>(round: u64, [m, n, k]: [usize; 3]) {
        let mut rng = rng(round);
        let mut noise = |n: usize| (0..n).map(|_| T::from_f64(rng.random_range(-1.0..1.0))).collect::<Vec<T>>();
        let (mut a, mut b) = (noise(m * k), noise(k * n));
        let matrix = |data: &mut [T], [rows, cols]: [usize; 2], transposed: bool, reversed: bool| {
            let [row, col] = if transposed { [1, rows as isize] } else { [cols as isize, 1] };
            let data = Shared::new(data.as_mut_ptr());
            let last = Matrix { data, row, col }.from(rows - 1, cols - 1);
            if reversed { Matrix { row: -row, col: -col, ..last } } else { Matrix { data, row, col } }
        };
        for layout in 0..16 {
            let a = matrix(&mut a, [m, k], layout & 1 > 0, layout & 2 > 0);
            let b = matrix(&mut b, [k, n], layout & 4 > 0, layout & 8 > 0);
            for isa in Isa::available() {
                let [mut ours, mut theirs] = [0; 2].map(|_| vec![T::default(); m * (n + 1)]);
                let out = |data: &mut [T]| Matrix { data: Shared::new(data.as_mut_ptr()), row: n as isize + 1, col: 1 };
                // SAFETY: whole matrices; an available instruction set.
                let by_library = unsafe {
                    loops::<T>(isa)(&Product { m, n, k, a, b, out: out(&mut ours) }.forward());
                    T::by_library(&Product { m, n, k, a, b, out: out(&mut theirs) }.forward(), isa)
                };
                assert_eq!(by_library, isa > Isa::Baseline);
                if by_library {
                    assert!(ours == theirs, "{m} {n} {k}, layout {layout}, {isa:?}");
                }
            }
        }
    }

    #[test]
    fn the_library_and_our_loops_give_the_same_bits() {
        for (round, dims) in
            [[1, 1, 1], [4, 16, 1], [5, 17, 9], [1, 70, 600], [40, 1, 513], [33, 100, 1030], [130, 30, 64]].into_iter().enumerate()
        {
            check::<f32>(round as u64, dims);
            check::<f64>(round as u64, dims);
        }
    }
}
