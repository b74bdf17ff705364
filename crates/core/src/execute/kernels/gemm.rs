//! Who multiplies a part of a matrix product on one core: the library, or loops of our own where it serves badly?
//!
//! The library is `private-gemm-x86`, the engine of `faer`, which packs into memory of its thread's own and so leaves the heap alone.
//! Loops of our own ([`tiles`]) take vectors, small and thin products, integers and machines that the library doesn't know.
//!
//! Either way an element's terms are summed in the order in which they lie in `b`, [`DEPTH`] at a time, by fused multiply-adds where
//! the machine has them; each such sum is multiplied by `alpha`, then added to those before. So an element's bits don't depend on which
//! part of a product it is computed in. The exception is [`dots`].

use super::{
    isa::{Isa, for_each_isa},
    scratch::with_panels,
    strided::Shared,
    tiles::{self, TILE, WIDEST},
    transpose::gather,
};
use crate::Element;
pub use crate::plan::contract::DEPTH;
use std::ops::RangeInclusive;

/// Up to so many multiplications our loops need less time than the library: where they read `b` in place, and where they gather it.
const SMALL: [usize; 2] = [1 << 17, 1 << 15];
/// Of so many rows our loops make a product sooner than the library, which packs for more, where registers are many and wide.
const FEW: RangeInclusive<usize> = 8..=24;
/// Elements of a right operand that stays in a core's own cache while it is read again for every eight rows.
const AGAIN: usize = 1 << 18;
/// From so many elements on, an `a` that the library would read slowly is gathered for it.
pub const TURNED: usize = 1 << 13;
/// Columns that are a multiple of so many bytes apart share few lines of the caches.
const FAR: usize = 1 << 10;
/// Elements between the gathered rows of `a`, beyond their length: rows of a power of two would share few lines, too.
pub const APART: usize = 16;

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
    #[inline(always)]
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

/// `out[i, j] = alpha * Σ_l a[i, l] * b[l, j]`, or that much more; neighbouring columns of `out` are neighbours in memory.
#[derive(Clone, Copy)]
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
    /// What each sum is multiplied by.
    pub alpha: T,
    /// Whether the product is added to what `out` holds; if not, that is never read.
    pub added: bool,
}

impl<T: Element> Product<T> {
    /// `a @ b` written to `out`; the lengths are `m`, `n` and `k`.
    pub fn new([m, n, k]: [usize; 3], a: Matrix<T>, b: Matrix<T>, out: Matrix<T>) -> Self {
        Product { m, n, k, a, b, out, alpha: T::from_f64(1.0), added: false }
    }

    /// The same sums in the order in which the terms lie in `b`: the library's order, so that it is everyone's.
    fn forward(&self) -> Self {
        if self.b.row >= 0 || self.k == 0 {
            return *self;
        }
        let (last_a, last_b) = (self.a.from(0, self.k - 1), self.b.from(self.k - 1, 0));
        Product { a: Matrix { col: -last_a.col, ..last_a }, b: Matrix { row: -last_b.row, ..last_b }, ..*self }
    }
}

/// Elements of a dtype that can be multiplied as matrices.
pub trait Engine: Element {
    /// Whether the library multiplies this dtype by this instruction set; then it has done so.
    ///
    /// # Safety
    /// As for [`multiply`].
    unsafe fn by_library(product: &Product<Self>, isa: Isa) -> bool;
    /// The number that these raw bits stand for, low bytes first.
    fn of_bits(bits: u64) -> Self;
    /// `self * b + c`; rounded once if `FMA`.
    fn mul_add<const FMA: bool>(self, b: Self, c: Self) -> Self;
    /// `self + b`.
    fn plus(self, b: Self) -> Self;
    /// `self * b`.
    fn times(self, b: Self) -> Self;

    /// [`tiles::all`], to be compiled for each instruction set.
    ///
    /// # Safety
    /// As for [`multiply`].
    #[inline(always)]
    unsafe fn in_tiles<const FMA: bool>(product: &Product<Self>) {
        // SAFETY: as for the caller.
        unsafe { tiles::all::<Self, FMA>(product) }
    }

    /// [`tiles::wide`], to be compiled for each instruction set.
    ///
    /// # Safety
    /// As for [`multiply`].
    #[inline(always)]
    unsafe fn in_wide_tiles<const FMA: bool>(product: &Product<Self>) {
        // SAFETY: as for the caller.
        unsafe { tiles::wide::<Self, FMA>(product) }
    }

    /// [`tiles::in_lanes`], to be compiled for each instruction set.
    ///
    /// # Safety
    /// As for [`dots`].
    #[inline(always)]
    unsafe fn in_lanes<const FMA: bool>(product: &Product<Self>) {
        // SAFETY: as for the caller.
        unsafe { tiles::in_lanes::<Self, FMA>(product) }
    }
}

/// Loops that were compiled for an instruction set.
type Compiled<T> = unsafe fn(&Product<T>);

for_each_isa! {
    fn loops<T: Engine>(product: &Product<T>) as Compiled<T> => in_tiles
}
for_each_isa! {
    fn wide_loops<T: Engine>(product: &Product<T>) as Compiled<T> => in_wide_tiles
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
    let p = &product.forward();
    let small = p.m * p.n * p.k <= SMALL[usize::from(!is_read_in_place(p))] || p.n <= TILE || (p.m == 1 && p.b.col == 1);
    // SAFETY: as for the caller.
    unsafe {
        if small || has_few_rows(p, isa) || !library(p, isa) {
            own(p, isa);
        }
    }
}

/// Whether our loops read `b` where it lies.
fn is_read_in_place<T>(p: &Product<T>) -> bool {
    p.b.col == 1 && p.n >= TILE
}

/// Whether wide tiles are the fastest.
fn has_few_rows<T>(p: &Product<T>, isa: Isa) -> bool {
    let wide = p.n * size_of::<T>() >= WIDEST;
    wide && isa == Isa::Avx512 && FEW.contains(&p.m) && p.n * p.k <= AGAIN && is_read_in_place(p)
}

/// Computes a product by loops of our own.
unsafe fn own<T: Engine>(p: &Product<T>, isa: Isa) {
    // SAFETY: as for the caller; what is gathered is the thread's own, and its rows are long enough for a tile.
    unsafe {
        if is_read_in_place(p) {
            return if has_few_rows(p, isa) { wide_loops::<T>(isa)(p) } else { loops::<T>(isa)(p) };
        }
        let pitch = p.n.next_multiple_of(TILE);
        with_panels(p.k * pitch * size_of::<T>(), |panel| {
            let data = panel.cast::<T>();
            gather(p.b, [p.k, p.n], data, pitch);
            loops::<T>(isa)(&Product { b: Matrix { data: Shared::new(data), row: pitch as isize, col: 1 }, ..*p });
        });
    }
}

/// Leaves a product to the library if it knows the dtype and the instruction set.
unsafe fn library<T: Engine>(p: &Product<T>, isa: Isa) -> bool {
    if isa == Isa::Baseline || T::DTYPE == crate::DType::I64 {
        return false;
    }
    // SAFETY: as for the caller; what is gathered is the thread's own.
    unsafe {
        if !is_slow(&p.a) || p.m * p.k < TURNED {
            return T::by_library(p, isa);
        }
        let pitch = p.k.min(DEPTH) + APART;
        with_panels(p.m * pitch * size_of::<T>(), |panel| {
            let data = panel.cast::<T>();
            let rows = Matrix { data: Shared::new(data), row: pitch as isize, col: 1 };
            (0..p.k).step_by(DEPTH).all(|at| {
                let k = DEPTH.min(p.k - at);
                gather(p.a.from(0, at), [p.m, k], data, pitch);
                T::by_library(&Product { k, a: rows, b: p.b.from(at, 0), added: p.added || at > 0, ..*p }, isa)
            })
        })
    }
}

/// Whether the library, which reads `a` in place, would do so slowly: its columns are dense, and a sum's terms share few lines.
pub fn is_slow<T>(a: &Matrix<T>) -> bool {
    a.row == 1 && a.col != 1 && (a.col.unsigned_abs() * size_of::<T>()).is_multiple_of(FAR)
}

/// Computes a few rows times a few columns, the terms of both of which are neighbours. Several partial sums run side by side and are
/// added in a fixed order that depends on the dtype and `k` only.
///
/// # Safety
/// As for [`multiply`].
pub unsafe fn dots<T: Engine>(product: &Product<T>, isa: Isa) {
    debug_assert_eq!((product.a.col, product.b.row, product.out.col), (1, 1, 1));
    // SAFETY: as for the caller.
    unsafe { dot_loops::<T>(isa)(product) }
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
                let (rows, cols) = (p.out.row, p.out.col);
                let sum = if p.added { Accum::Add } else { Accum::Replace };
                // SAFETY: the caller vouches for the matrices and the instructions; no index lists, no diagonal, one thread.
                unsafe {
                    #[rustfmt::skip]
                                                            gemm(
                                                                DType::$library, IType::U64, instructions, p.m, p.n, p.k,
                                                                p.out.at(0, 0).cast(), rows, cols, null(), null(), DstKind::Full, sum,
                                                                p.a.at(0, 0).cast_const().cast(), p.a.row, p.a.col, false, null(), 0,
                                                                p.b.at(0, 0).cast_const().cast(), p.b.row, p.b.col, false,
                                                                (&raw const p.alpha).cast(), 1,
                                                            );
                }
                true
            }
            #[cfg(not(target_arch = "x86_64"))]
            unsafe fn by_library(_: &Product<$t>, _: Isa) -> bool {
                false
            }
            fn of_bits(bits: u64) -> $t {
                <$t>::from_bits(bits as _)
            }
            #[inline(always)]
            fn mul_add<const FMA: bool>(self, b: $t, c: $t) -> $t {
                if FMA { $t::mul_add(self, b, c) } else { self * b + c }
            }
            #[inline(always)]
            fn plus(self, b: $t) -> $t {
                self + b
            }
            #[inline(always)]
            fn times(self, b: $t) -> $t {
                self * b
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
    fn of_bits(bits: u64) -> i64 {
        bits as i64
    }
    #[inline(always)]
    fn mul_add<const FMA: bool>(self, b: i64, c: i64) -> i64 {
        c.wrapping_add(self.wrapping_mul(b))
    }
    #[inline(always)]
    fn plus(self, b: i64) -> i64 {
        self.wrapping_add(b)
    }
    #[inline(always)]
    fn times(self, b: i64) -> i64 {
        self.wrapping_mul(b)
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
        let before = noise(m * (n + 1));
        for layout in 0..16 {
            let a = matrix(&mut a, [m, k], layout & 1 > 0, layout & 2 > 0);
            let b = matrix(&mut b, [k, n], layout & 4 > 0, layout & 8 > 0);
            for (isa, added) in Isa::available().flat_map(|isa| [(isa, false), (isa, true)]) {
                let [mut ours, mut theirs] = [before.clone(), before.clone()];
                let out = |data: &mut [T]| Matrix { data: Shared::new(data.as_mut_ptr()), row: n as isize + 1, col: 1 };
                let alpha = T::from_f64([1.0, -0.3][layout % 2]);
                let product = |data: &mut [T]| Product { m, n, k, a, b, out: out(data), alpha, added }.forward();
                // SAFETY: whole matrices; an available instruction set.
                let by_library = unsafe {
                    own::<T>(&product(&mut ours), isa);
                    library(&product(&mut theirs), isa)
                };
                assert_eq!(by_library, isa > Isa::Baseline);
                if by_library {
                    assert!(ours == theirs, "{m} {n} {k}, layout {layout}, {isa:?}, added: {added}");
                }
            }
        }
    }

    #[test]
    fn the_library_and_our_loops_give_the_same_bits() {
        for (round, dims) in [
            [1, 1, 1],
            [4, 16, 1],
            [5, 17, 9],
            [1, 70, 600],
            [40, 1, 513],
            [33, 100, 1030],
            [130, 30, 70],
            [60, 3, 520],
            [512, 20, 600],
            [16, 100, 600],
            [15, 150, 30],
        ]
        .into_iter()
        .enumerate()
        {
            check::<f32>(round as u64, dims);
            check::<f64>(round as u64, dims);
        }
    }

    #[test]
    fn a_sum_in_lanes_has_the_same_bits_whatever_is_summed_beside_it() {
        for [m, n, k] in [[1, 1, 1], [1, 9, 40], [2, 3, 16], [3, 4, 100], [5, 8, 33], [4, 7, 15], [7, 2, 515]] {
            in_lanes::<f32>([m, n, k], 1e-4);
            in_lanes::<f64>([m, n, k], 1e-12);
        }
    }

    fn in_lanes<T: Engine>([m, n, k]: [usize; 3], round: f64) {
        let mut rng = rng(1);
        let mut noise = |n: usize| (0..n).map(|_| T::from_f64(rng.random_range(-1.0..1.0))).collect::<Vec<T>>();
        let (mut a, mut b, before) = (noise(m * k), noise(k * n), noise(m * n));
        let matrix =
            |data: &mut [T], row: usize, col: usize| Matrix { data: Shared::new(data.as_mut_ptr()), row: row as isize, col: col as isize };
        let (a, b) = (matrix(&mut a, k, 1), matrix(&mut b, 1, k));
        for (isa, added) in Isa::available().flat_map(|isa| [(isa, false), (isa, true)]) {
            let mut data = before.clone();
            let whole = Product { added, alpha: T::from_f64(-0.5), ..Product::new([m, n, k], a, b, matrix(&mut data, n, 1)) };
            // SAFETY: whole matrices; an available instruction set.
            unsafe { dots(&whole, isa) };
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let mut alone = [before[i * n + j]];
                // SAFETY: as above; a row, and a column.
                let sum: f64 = (0..k).map(|l| unsafe { (*a.at(i, l)).to_f64() * (*b.at(l, j)).to_f64() }).sum();
                let out = matrix(&mut alone, 1, 1);
                // SAFETY: as above.
                unsafe { dots(&Product { m: 1, n: 1, a: a.from(i, 0), b: b.from(0, j), out, ..whole }, isa) };
                let expected = if added { before[i * n + j].to_f64() } else { 0.0 } - 0.5 * sum;
                assert!(data[i * n + j] == alone[0], "{m} {n} {k}, {isa:?}");
                assert!((alone[0].to_f64() - expected).abs() <= round, "{m} {n} {k}, {isa:?}: {} for {expected}", alone[0].to_f64());
            }
        }
    }
}
