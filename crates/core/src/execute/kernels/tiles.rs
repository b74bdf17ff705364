//! Which loops of our own multiply matrices? Tiles of a few rows by sixteen columns, and sums in lanes for two vectors.
//!
//! The compiler turns them into vector instructions, anew for each instruction set.

use super::gemm::{DEPTH, Engine, Product};

/// Columns of a tile.
pub const TILE: usize = 16;
/// Bytes of a row of a wide tile: three cache lines.
pub const WIDEST: usize = 192;

// No closures in what follows: they are compiled without the caller's instruction set, and every fused multiply-add becomes a call.

/// The whole product, whose `b` has neighbouring columns: at least [`TILE`] of them in memory, if less are asked for.
///
/// # Safety
/// As for [`multiply`](super::gemm::multiply).
#[inline(always)]
pub unsafe fn all<T: Engine, const FMA: bool>(p: &Product<T>) {
    debug_assert_eq!((p.b.col, p.out.col), (1, 1));
    // SAFETY: as for the caller.
    unsafe {
        if p.m == 1 {
            // A row alone needs many sums side by side, as many as registers hold, to hide how long an addition takes.
            return if size_of::<T>() == 4 { rows::<T, FMA, 1, 64>(p, 0) } else { rows::<T, FMA, 1, 32>(p, 0) };
        }
        fours::<T, FMA, TILE>(p, 0);
    }
}

/// The whole product as [`all`] computes it, in tiles of eight rows by three cache lines: for 32 registers of the width of one.
///
/// # Safety
/// As for [`multiply`](super::gemm::multiply).
#[inline(always)]
pub unsafe fn wide<T: Engine, const FMA: bool>(p: &Product<T>) {
    // SAFETY: as for the caller.
    unsafe { if size_of::<T>() == 4 { eights::<T, FMA, 48>(p) } else { eights::<T, FMA, 24>(p) } }
}

/// Rows by eights, and what is left by fewer.
#[inline(always)]
unsafe fn eights<T: Engine, const FMA: bool, const WIDE: usize>(p: &Product<T>) {
    let eights = p.m / 8 * 8;
    // SAFETY: as for the caller.
    unsafe {
        for i in (0..eights).step_by(8) {
            rows::<T, FMA, 8, WIDE>(p, i);
        }
        fours::<T, FMA, WIDE>(p, eights);
    }
}

/// Rows by fours from one on, and what is left by two and one.
#[inline(always)]
unsafe fn fours<T: Engine, const FMA: bool, const WIDE: usize>(p: &Product<T>, mut i: usize) {
    // SAFETY: as for the caller.
    unsafe {
        while i + 4 <= p.m {
            rows::<T, FMA, 4, WIDE>(p, i);
            i += 4;
        }
        if i + 2 <= p.m {
            rows::<T, FMA, 2, WIDE>(p, i);
            i += 2;
        }
        if i < p.m {
            rows::<T, FMA, 1, WIDE>(p, i);
        }
    }
}

/// Some rows of a product, in wide tiles as far as they fit.
#[inline(always)]
unsafe fn rows<T: Engine, const FMA: bool, const ROWS: usize, const WIDE: usize>(p: &Product<T>, i: usize) {
    let bulk = p.n / WIDE * WIDE;
    for j in (0..bulk).step_by(WIDE) {
        // SAFETY: as for the caller.
        unsafe { tile::<T, FMA, ROWS, WIDE>(p, [i, j], 0..WIDE) };
    }
    // SAFETY: as for the caller.
    unsafe { columns::<T, FMA, ROWS>(p, i, bulk) };
}

/// Some rows of a product, from a column on. The last tile reaches back over columns that are done, and keeps to its own.
#[inline(always)]
unsafe fn columns<T: Engine, const FMA: bool, const ROWS: usize>(p: &Product<T>, i: usize, from: usize) {
    let mut j = from;
    while j + TILE <= p.n {
        // SAFETY: as for the caller.
        unsafe { tile::<T, FMA, ROWS, TILE>(p, [i, j], 0..TILE) };
        j += TILE;
    }
    if j < p.n {
        let back = if p.n >= TILE { j + TILE - p.n } else { 0 };
        // SAFETY: as for the caller; less than `TILE` columns have neighbours in memory.
        unsafe { tile::<T, FMA, ROWS, TILE>(p, [i, j - back], back..back + p.n - j) };
    }
}

/// One tile; only the columns `kept` are written.
#[inline(always)]
unsafe fn tile<T: Engine, const FMA: bool, const ROWS: usize, const COLS: usize>(
    p: &Product<T>,
    [row, col]: [usize; 2],
    kept: std::ops::Range<usize>,
) {
    let whole = kept.start == 0 && kept.end == COLS;
    let (mut total, mut first) = ([[T::default(); COLS]; ROWS], 0);
    if p.added {
        for (i, total) in total.iter_mut().enumerate() {
            // SAFETY: the tile's part of `out`.
            unsafe {
                if whole {
                    *total = p.out.at(row + i, col).cast::<[T; COLS]>().read_unaligned();
                } else {
                    for (j, v) in total.iter_mut().enumerate().take(kept.end).skip(kept.start) {
                        *v = *p.out.at(row + i, col + j);
                    }
                }
            }
        }
    }
    while first < p.k {
        let mut sums = [[T::default(); COLS]; ROWS];
        for l in first..p.k.min(first + DEPTH) {
            // SAFETY: neighbouring columns of `b`.
            let terms = unsafe { p.b.at(l, col).cast::<[T; COLS]>().read_unaligned() };
            for (i, sums) in sums.iter_mut().enumerate() {
                // SAFETY: a row and a term of `a`.
                let x = unsafe { *p.a.at(row + i, l) };
                for (sum, y) in sums.iter_mut().zip(&terms) {
                    *sum = x.mul_add::<FMA>(*y, *sum);
                }
            }
        }
        for (total, sums) in total.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            let sum = p.alpha.times(*sums);
            *total = if first == 0 && !p.added { sum } else { total.plus(sum) };
        }
        first += DEPTH;
    }
    for (i, total) in total.iter().enumerate() {
        // SAFETY: the tile's part of `out`, which is the caller's own.
        unsafe {
            if whole {
                p.out.at(row + i, col).cast::<[T; COLS]>().write_unaligned(*total);
            } else {
                for (j, v) in total.iter().enumerate().take(kept.end).skip(kept.start) {
                    *p.out.at(row + i, col + j) = *v;
                }
            }
        }
    }
}

/// Rows times a matrix, where the terms of both are neighbours: sums in lanes.
///
/// # Safety
/// As for [`dots`](super::gemm::dots).
#[inline(always)]
pub unsafe fn in_lanes<T: Engine, const FMA: bool>(p: &Product<T>) {
    // SAFETY: as for the caller; a cache line of lanes for each sum.
    unsafe { if size_of::<T>() == 4 { in_lanes_of::<T, FMA, 16>(p) } else { in_lanes_of::<T, FMA, 8>(p) } }
}

/// Rows by twos, and their columns by threes; a row alone, by fours.
#[inline(always)]
unsafe fn in_lanes_of<T: Engine, const FMA: bool, const LANES: usize>(p: &Product<T>) {
    let pairs = p.m / 2 * 2;
    // SAFETY: as for the caller.
    unsafe {
        for row in (0..pairs).step_by(2) {
            across::<T, FMA, 2, 3, LANES>(p, row);
        }
        if pairs < p.m {
            across::<T, FMA, 1, 4, LANES>(p, pairs);
        }
    }
}

/// All columns of some rows.
#[inline(always)]
unsafe fn across<T: Engine, const FMA: bool, const ROWS: usize, const COLS: usize, const LANES: usize>(p: &Product<T>, row: usize) {
    let bulk = p.n / COLS * COLS;
    // SAFETY: as for the caller.
    unsafe {
        for col in (0..bulk).step_by(COLS) {
            lanes::<T, FMA, ROWS, COLS, LANES>(p, row, col);
        }
        for col in bulk..p.n {
            lanes::<T, FMA, ROWS, 1, LANES>(p, row, col);
        }
    }
}

/// Some columns of some rows. An element's terms are summed in the same order, whatever is summed beside it.
#[inline(always)]
unsafe fn lanes<T: Engine, const FMA: bool, const ROWS: usize, const COLS: usize, const LANES: usize>(
    p: &Product<T>,
    row: usize,
    col: usize,
) {
    debug_assert!(row + ROWS <= p.m && col + COLS <= p.n && LANES.is_power_of_two());
    let bulk = p.k / LANES * LANES;
    let mut sums = [[[T::default(); LANES]; COLS]; ROWS];
    for l in (0..bulk).step_by(LANES) {
        let mut y = [[T::default(); LANES]; COLS];
        for (j, y) in y.iter_mut().enumerate() {
            // SAFETY: `LANES` terms of a column of `b`, which are neighbours.
            *y = unsafe { p.b.at(l, col + j).cast::<[T; LANES]>().read_unaligned() };
        }
        for (i, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as many of a row of `a`.
            let x = unsafe { p.a.at(row + i, l).cast::<[T; LANES]>().read_unaligned() };
            for (sums, y) in sums.iter_mut().zip(&y) {
                for ((sum, x), y) in sums.iter_mut().zip(&x).zip(y) {
                    *sum = x.mul_add::<FMA>(*y, *sum);
                }
            }
        }
    }
    for (at, &sums) in sums.as_flattened().iter().enumerate() {
        let (i, j) = (row + at / COLS, col + at % COLS);
        let mut sum = total(sums);
        // SAFETY: the terms that are left; an element of `out`, which is the caller's own.
        unsafe {
            for l in bulk..p.k {
                sum = (*p.a.at(i, l)).mul_add::<FMA>(*p.b.at(l, j), sum);
            }
            let to = p.out.at(i, j);
            sum = p.alpha.times(sum);
            *to = if p.added { (*to).plus(sum) } else { sum };
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
