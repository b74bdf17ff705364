//! How is what is given for windows spread over the image? Each element asks the windows that it is in.

use super::{LANES, Pooled, Strip, Unit, given, load, stays};
use std::ops::Range;

/// Rows of windows, each after so many zeros as elements of the image ask windows before its first, and before zeros: what is given
/// for each, and the number of its largest element.
pub(super) struct Asked<T> {
    pub given: *mut T,
    pub places: *mut T,
    /// Elements from row to row.
    pub row: usize,
    pub windows: Range<usize>,
}

// No closures in what follows: they are compiled without the caller's instruction set.

/// Notes what is given for each window of a row, and the number of its first largest element.
#[inline(always)]
pub(super) unsafe fn place<T: Pooled>(unit: &Unit<'_, T>, row: usize, strip: &Strip<'_, T>, asked: &Asked<T>) {
    let (from, taps) = (strip.windows(row, &unit.window, unit.pitch), unit.taps(row));
    // Elements of the window are numbered in their own type, so that all vectors are equally wide.
    let (one, first) = (T::from_f64(1.0), T::from_f64(taps.start as f64));
    let to = asked.places.wrapping_add((row - asked.windows.start) * asked.row + unit.margin());
    for col in (0..unit.outputs[1]).step_by(LANES) {
        // SAFETY: strips have a block of windows for each tap, and so have the places.
        unsafe {
            let mut largest = load(from.wrapping_add(strip.taps[taps.start] + col));
            let (mut place, mut number) = ([first; LANES], first);
            for &tap in &strip.taps[taps.clone()] {
                let v = load(from.wrapping_add(tap + col));
                for j in 0..LANES {
                    let stays = stays(largest[j], v[j]);
                    largest[j] = if stays { largest[j] } else { v[j] };
                    place[j] = if stays { place[j] } else { number };
                }
                number = number.plus(one);
            }
            for j in 0..unit.padded(col) {
                if largest[j] == T::LOWEST {
                    place[j] = first.plus(T::from_f64(unit.before(col + j) as f64));
                }
            }
            to.add(col).cast::<[T; LANES]>().write_unaligned(place);
            note(unit, row, col, asked, given(unit, unit.with.expect("two operands"), row, col));
        }
    }
}

/// Notes an equal share of what is given for each window of a row.
#[inline(always)]
pub(super) unsafe fn divide<T: Pooled>(unit: &Unit<'_, T>, row: usize, asked: &Asked<T>) {
    let area = T::from_f64(unit.window.area() as f64);
    for col in (0..unit.outputs[1]).step_by(LANES) {
        // SAFETY: as for the caller.
        unsafe {
            let mut share = given(unit, unit.x, row, col);
            for lane in &mut share {
                *lane = lane.over(area);
            }
            note(unit, row, col, asked, share);
        }
    }
}

/// Writes what is given for a block of windows, and zeros around the row.
#[inline(always)]
unsafe fn note<T: Pooled>(unit: &Unit<'_, T>, row: usize, col: usize, asked: &Asked<T>, given: [T; LANES]) {
    let to = asked.given.wrapping_add((row - asked.windows.start) * asked.row);
    // SAFETY: a row of what is given holds whole blocks of windows between its zeros.
    unsafe {
        to.add(unit.margin() + col).cast::<[T; LANES]>().write_unaligned(given);
        if col == 0 {
            for j in 0..unit.margin() {
                *to.add(j) = T::default();
            }
        }
        if col + LANES >= unit.outputs[1] {
            for j in unit.margin() + col + LANES..asked.row {
                *to.add(j) = T::default();
            }
        }
    }
}

/// Writes the rows of the image: for each element the sum of what is given for the windows that it is in, or, `PLACED`, for those
/// whose first largest element it is.
#[inline(always)]
pub(super) unsafe fn collect<T: Pooled, const PLACED: bool>(unit: &Unit<'_, T>, asked: &Asked<T>) {
    let ([stride_down, stride], [pad_down, pad], wide) = (unit.window.stride, unit.window.padding, unit.image[1]);
    let (mut first_row, mut end_row, columns) = (asked.windows.start, asked.windows.start, wide.div_ceil(stride));
    for line in unit.rows.clone() {
        let end = unit.rows.end * wide - line * wide;
        let to = unit.out.at((line * wide) as isize);
        // The rows of windows that reach this line: those behind begin too late, those before have ended.
        while end_row < asked.windows.end && end_row * stride_down <= line + pad_down {
            end_row += 1;
        }
        while first_row < end_row && first_row * stride_down + unit.window.size[0] <= line + pad_down {
            first_row += 1;
        }
        let rows = first_row..end_row;
        for col in (0..columns).step_by(LANES) {
            // SAFETY: rows of the result that are this task's own; as for the caller.
            unsafe {
                match stride {
                    1 => {
                        let lanes = sum::<T, PLACED>(unit, line, rows.clone(), [0, pad + col], asked);
                        if col + LANES <= end {
                            to.add(col).cast::<[T; LANES]>().write_unaligned(lanes);
                        } else {
                            for (j, &lane) in lanes.iter().enumerate().take(wide - col) {
                                *to.add(col + j) = lane;
                            }
                        }
                    }
                    2 => {
                        let even = sum::<T, PLACED>(unit, line, rows.clone(), [pad % 2, pad / 2 + col], asked);
                        let odd = sum::<T, PLACED>(unit, line, rows.clone(), [(pad + 1) % 2, pad.div_ceil(2) + col], asked);
                        let mut both = [[T::default(); 2]; LANES];
                        for j in 0..LANES {
                            both[j] = [even[j], odd[j]];
                        }
                        if 2 * (col + LANES) <= end {
                            to.add(2 * col).cast::<[[T; 2]; LANES]>().write_unaligned(both);
                        } else {
                            to.add(2 * col).copy_from_nonoverlapping(both.as_ptr().cast(), (wide - 2 * col).min(2 * LANES));
                        }
                    }
                    _ => {
                        for residue in 0..stride.min(wide) {
                            let window = [(residue + pad) % stride, (residue + pad) / stride + col];
                            let lanes = sum::<T, PLACED>(unit, line, rows.clone(), window, asked);
                            for (j, &lane) in lanes.iter().enumerate().take((wide - residue).div_ceil(stride) - col) {
                                *to.add((col + j) * stride + residue) = lane;
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What elements of a row of the image, of one phase, collect from some rows of windows. Each is the element `phase` of the window
/// `at` or one of its neighbours.
#[inline(always)]
unsafe fn sum<T: Pooled, const PLACED: bool>(
    unit: &Unit<'_, T>,
    line: usize,
    rows: Range<usize>,
    [phase, at]: [usize; 2],
    asked: &Asked<T>,
) -> [T; LANES] {
    let ([stride_down, stride], across) = (unit.window.stride, unit.window.size[1]);
    let mut sum = [T::default(); LANES];
    for row in rows {
        let above = line + unit.window.padding[0] - row * stride_down;
        let mut window = (row - asked.windows.start) * asked.row + unit.margin() + at;
        let mut tap = phase;
        while tap < across {
            // SAFETY: before the first window and behind the last there are as many zeros as are asked for.
            unsafe {
                let given = load(asked.given.wrapping_add(window));
                if PLACED {
                    let (place, number) = (load(asked.places.wrapping_add(window)), T::from_f64((above * across + tap) as i32 as f64));
                    for j in 0..LANES {
                        sum[j] = sum[j].plus(if place[j] == number { given[j] } else { T::default() });
                    }
                } else {
                    for j in 0..LANES {
                        sum[j] = sum[j].plus(given[j]);
                    }
                }
            }
            (window, tap) = (window.wrapping_sub(1), tap + stride);
        }
    }
    sum
}
