//! How are the rows of a matrix gathered, whatever its strides? Copied, or turned in blocks of four by four.

use super::gemm::Matrix;
use crate::Element;

/// Columns that are turned together: a cache line of four-byte elements on the reading side.
const BAND: usize = 16;

/// Copies a `[rows, cols]` matrix to rows that are `pitch` elements apart and dense each.
///
/// # Safety
/// The matrix must lie in memory; the target must have room and overlap nothing.
pub unsafe fn gather<T: Element>(from: Matrix<T>, [rows, cols]: [usize; 2], to: *mut T, pitch: usize) {
    debug_assert!(cols <= pitch);
    // SAFETY: as for the caller; each loop stays in `[rows, cols]`.
    unsafe {
        if from.col == 1 {
            for i in 0..rows {
                to.add(i * pitch).copy_from_nonoverlapping(from.at(i, 0), cols);
            }
        } else if from.row == 1 {
            turn(from, [rows, cols], to, pitch);
        } else {
            plain(from, [0, 0], [rows, cols], to, pitch);
        }
    }
}

/// The elements from one index to another, one by one.
unsafe fn plain<T: Element>(from: Matrix<T>, first: [usize; 2], end: [usize; 2], to: *mut T, pitch: usize) {
    for i in first[0]..end[0] {
        for j in first[1]..end[1] {
            // SAFETY: as for the caller.
            unsafe { *to.add(i * pitch + j) = *from.at(i, j) };
        }
    }
}

/// A matrix whose columns are dense.
unsafe fn turn<T: Element>(from: Matrix<T>, [rows, cols]: [usize; 2], to: *mut T, pitch: usize) {
    let (whole_rows, whole_cols) = (rows / 4 * 4, cols / 4 * 4);
    // SAFETY: as for the caller; blocks lie within the whole ones, the rest is copied one by one.
    unsafe {
        for band in (0..whole_rows).step_by(BAND) {
            for j in (0..whole_cols).step_by(4) {
                for i in (band..whole_rows.min(band + BAND)).step_by(4) {
                    block(from.at(i, j), from.col, to.add(i * pitch + j), pitch);
                }
            }
        }
        plain(from, [0, whole_cols], [whole_rows, cols], to, pitch);
        plain(from, [whole_rows, 0], [rows, cols], to, pitch);
    }
}

/// Four by four elements: columns of `from`, `step` apart, become rows of `to`, `pitch` apart.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn block<T: Element>(from: *const T, step: isize, to: *mut T, pitch: usize) {
    use std::arch::x86_64::*;
    // SAFETY: sixteen elements on either side; these instructions belong to every x86-64.
    unsafe {
        if size_of::<T>() == 4 {
            let column = |j: isize| _mm_loadu_ps(from.offset(j * step).cast());
            let (a, b, c, d) = (column(0), column(1), column(2), column(3));
            let (low, high) = ([_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d)], [_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(c, d)]);
            _mm_storeu_ps(to.cast(), _mm_movelh_ps(low[0], low[1]));
            _mm_storeu_ps(to.add(pitch).cast(), _mm_movehl_ps(low[1], low[0]));
            _mm_storeu_ps(to.add(2 * pitch).cast(), _mm_movelh_ps(high[0], high[1]));
            _mm_storeu_ps(to.add(3 * pitch).cast(), _mm_movehl_ps(high[1], high[0]));
        } else {
            debug_assert_eq!(size_of::<T>(), 8);
            for i in [0, 2] {
                for j in [0, 2] {
                    let column = |j: isize| _mm_loadu_pd(from.offset(j * step).add(i).cast());
                    let (a, b) = (column(j), column(j + 1));
                    let to = to.add(i * pitch + j as usize);
                    _mm_storeu_pd(to.cast(), _mm_unpacklo_pd(a, b));
                    _mm_storeu_pd(to.add(pitch).cast(), _mm_unpackhi_pd(a, b));
                }
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
unsafe fn block<T: Element>(from: *const T, step: isize, to: *mut T, pitch: usize) {
    for i in 0..4 {
        for j in 0..4 {
            // SAFETY: as for the caller.
            unsafe { *to.add(i * pitch + j) = *from.offset(j as isize * step).add(i) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::strided::Shared, *};

    fn check<T: Element>([rows, cols]: [usize; 2]) {
        let values: Vec<T> = (0..3 * rows * cols + 4).map(|v| T::from_f64(v as f64)).collect();
        let (r, c) = (rows as isize, cols as isize);
        let last = values.len() as isize - 1;
        for (first, row, col) in
            [(0, c, 1), (0, 1, r), (1, 1, r + 2), (0, 3 * c, 3), (last, -1, -r), (r - 1, -1, r), (last, 0, -1), (2, 0, 0)]
        {
            let data = Shared::new(values.as_ptr().wrapping_offset(first).cast_mut());
            for pitch in [cols, cols + 3] {
                let mut to = vec![T::from_f64(-1.0); rows * pitch];
                // SAFETY: the strides stay within `values`, which is only read.
                unsafe { gather(Matrix { data, row, col }, [rows, cols], to.as_mut_ptr(), pitch) };
                for (i, v) in to.iter().enumerate() {
                    let at = first + (i / pitch) as isize * row + (i % pitch) as isize * col;
                    let expected = if i % pitch < cols { values[at as usize] } else { T::from_f64(-1.0) };
                    assert_eq!(*v, expected, "{rows} {cols} by {row} {col}, pitch {pitch}");
                }
            }
        }
    }

    #[test]
    fn every_layout_is_gathered_as_one_by_one() {
        for dims in [[1, 1], [4, 4], [5, 3], [16, 16], [18, 23], [37, 9]] {
            check::<f32>(dims);
            check::<f64>(dims);
            check::<i64>(dims);
        }
    }
}
