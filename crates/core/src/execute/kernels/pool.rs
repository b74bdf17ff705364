//! How are the windows of images pooled, and cotangents spread over them? Rows are first taken apart by the stride into strips, in which
//! neighbouring windows find neighbours, so that many windows are looked at side by side.
//!
//! A strip holds some rows of a plane, each in as many phases as the stride is wide: phase `f` has the columns `f, f + stride, …` of the
//! padded row. Of border rows nothing is copied: windows leave out what lies above and below. What is spread is collected: each element
//! of the image asks the windows that it is in, row by row of windows, so that it is written once, after sums in one order.

use super::{
    gemm::Engine,
    isa::{Isa, for_each_isa},
    patches::Planes,
    scratch::{Layout, with_registers},
    strided::{BLOCK, Shared, dense},
};
use crate::{
    DType, Pool, Window,
    execute::{frame::Frame, threads},
    plan::kernel::PoolKernel,
};
use apart::Apart;
use spread::{Asked, collect, divide, place};
use std::ops::Range;

mod apart;
mod spread;

/// Windows that are looked at side by side.
const LANES: usize = 16;
/// Elements of a strip, unless a single row of windows sees more: it should stay in the first-level cache.
const STRIP: usize = 1 << 12;

/// Maxima, means and their transposes.
pub fn run(kernel: &PoolKernel, frame: &Frame) {
    match kernel.x.dtype {
        DType::F32 => on::<f32>(kernel, frame, Isa::current()),
        DType::F64 => on::<f64>(kernel, frame, Isa::current()),
        DType::I64 => on::<i64>(kernel, frame, Isa::current()),
        DType::Bool => panic!("pooling needs numbers, found bool"),
    }
}

fn on<T: Pooled>(kernel: &PoolKernel, frame: &Frame, isa: Isa) {
    let PoolKernel { kind, x, with, out, dims, window } = kernel;
    let (x, with) = (Planes::<T>::new(frame, x), with.as_ref().map(|with| Planes::<T>::new(frame, with)));
    let [n, channels, height, width] = dims[..].try_into().expect("images have four axes");
    let out = dense::<T>(frame, *out, n * channels * height * width);
    let spreads = matches!(kind, Pool::MaxSpread | Pool::MeanSpread);
    let (image, outputs) = match kind {
        Pool::MeanSpread => ([height, width], x.image()),
        Pool::MaxSpread => ([height, width], with.as_ref().expect("two operands").image()),
        Pool::Max | Pool::MaxPick | Pool::Mean => (x.image(), [height, width]),
    };
    if n * channels * height * width == 0 {
        return;
    }
    if let Some(apart) = Apart::<T>::new(frame, kernel) {
        return apart.run(isa);
    }
    let pitch = outputs[1] + (window.size[1] - 1) / window.stride[1];
    // Rows of the result that one strip of the image serves.
    let lines = STRIP / (pitch * window.stride[1]);
    let rows = if spreads { lines } else { lines / window.stride[0] }.clamp(1, height);
    let (planes, bands) = (n * channels, height.div_ceil(rows));
    let each = (BLOCK / (rows * width)).clamp(1, planes * bands);
    threads::run((planes * bands).div_ceil(each), &|task| {
        for unit in task * each..(planes * bands).min((task + 1) * each) {
            let (plane, first) = (unit / bands, unit % bands * rows);
            let unit = Unit {
                kind: *kind,
                x: &x,
                with: with.as_ref(),
                plane: [plane / channels, plane % channels],
                window: *window,
                image,
                outputs,
                pitch,
                rows: first..height.min(first + rows),
                out: Shared::new(out.at((plane * height * width) as isize)),
            };
            unit.run(isa);
        }
    });
}

/// Some rows of a plane of the result.
struct Unit<'a, T> {
    kind: Pool,
    x: &'a Planes<T>,
    with: Option<&'a Planes<T>>,
    /// Image and channel.
    plane: [usize; 2],
    window: Window,
    /// Height and width of the larger planes, and of the smaller ones.
    image: [usize; 2],
    outputs: [usize; 2],
    /// Elements from row to row of a phase: as many as windows reach.
    pitch: usize,
    rows: Range<usize>,
    /// The plane of the result.
    out: Shared<T>,
}

/// The work of a unit, compiled for an instruction set.
type Compiled<T> = unsafe fn(&Unit<'_, T>, Range<usize>, [&Strip<'_, T>; 2], &Asked<T>);

for_each_isa! {
    fn work<T: Pooled>(unit: &Unit<'_, T>, windows: Range<usize>, strips: [&Strip<'_, T>; 2], asked: &Asked<T>) as Compiled<T> => pool
}

/// Numbers that can be pooled.
trait Pooled: Engine {
    /// Below or equal to all others.
    const LOWEST: Self;
    /// Whether it is no number.
    fn is_nan(self) -> bool;
    /// `self / n`.
    fn over(self, n: Self) -> Self;

    /// Computes the rows of a unit from so many rows of windows.
    ///
    /// # Safety
    /// The unit's planes and the strips must lie in memory, nobody else may use the strips or the unit's rows of the result meanwhile,
    /// and the machine must have the instructions.
    #[inline(always)]
    unsafe fn pool<const FMA: bool>(unit: &Unit<'_, Self>, windows: Range<usize>, strips: [&Strip<'_, Self>; 2], asked: &Asked<Self>) {
        let [first, second] = strips;
        // SAFETY: as for the caller.
        unsafe {
            match unit.kind {
                Pool::Max => {
                    take_apart(unit, unit.x, Self::LOWEST, first);
                    for row in windows {
                        largest(unit, row, first);
                    }
                }
                Pool::MaxPick => {
                    take_apart(unit, unit.x, Self::LOWEST, first);
                    take_apart(unit, unit.with.expect("two operands"), Self::default(), second);
                    for row in windows {
                        pick(unit, row, first, second);
                    }
                }
                Pool::Mean => {
                    take_apart(unit, unit.x, Self::default(), first);
                    for row in windows {
                        mean(unit, row, first);
                    }
                }
                Pool::MaxSpread => {
                    take_apart(unit, unit.x, Self::LOWEST, first);
                    for row in windows {
                        place(unit, row, first, asked);
                    }
                    collect::<Self, true>(unit, asked);
                }
                Pool::MeanSpread => {
                    for row in windows {
                        divide(unit, row, asked);
                    }
                    collect::<Self, false>(unit, asked);
                }
            }
        }
    }
}

impl Pooled for f32 {
    const LOWEST: f32 = f32::NEG_INFINITY;
    #[inline(always)]
    fn is_nan(self) -> bool {
        f32::is_nan(self)
    }
    #[inline(always)]
    fn over(self, n: f32) -> f32 {
        self / n
    }
}

impl Pooled for f64 {
    const LOWEST: f64 = f64::NEG_INFINITY;
    #[inline(always)]
    fn is_nan(self) -> bool {
        f64::is_nan(self)
    }
    #[inline(always)]
    fn over(self, n: f64) -> f64 {
        self / n
    }
}

impl Pooled for i64 {
    const LOWEST: i64 = i64::MIN;
    #[inline(always)]
    fn is_nan(self) -> bool {
        false
    }
    #[inline(always)]
    fn over(self, n: i64) -> i64 {
        self / n
    }
}

impl<T: Pooled> Unit<'_, T> {
    /// Lays strips into the thread's scratch memory, and computes the rows.
    fn run(&self, isa: Isa) {
        let spreads = matches!(self.kind, Pool::MaxSpread | Pool::MeanSpread);
        let windows = if spreads { self.reaching() } else { self.rows.clone() };
        let seen = if windows.is_empty() { 0..0 } else { self.covered(windows.start).start..self.covered(windows.end - 1).end };
        let (depth, [down, across], stride) = (seen.len(), self.window.size, self.window.stride[1]);
        let mut layout = Layout::default();
        let taps = layout.reserve(down * across * size_of::<usize>());
        // A block of windows may look behind the last row.
        let image = stride * depth * self.pitch + LANES;
        let row = self.margin() + (self.image[1] + self.window.padding[1]) / stride + 1 + 2 * LANES;
        let sizes = if spreads { [image, windows.len() * row, windows.len() * row] } else { [image, image, 0] };
        let at = sizes.map(|n| layout.reserve(n * size_of::<T>()));
        with_registers(layout.bytes(), |scratch| {
            let taps = scratch.wrapping_add(taps).cast::<usize>();
            for tap in 0..down * across {
                let (line, col) = (tap / across, tap % across);
                // SAFETY: the table was reserved.
                unsafe { *taps.add(tap) = (col % stride * depth + line) * self.pitch + col / stride };
            }
            // SAFETY: as above.
            let taps = unsafe { std::slice::from_raw_parts(taps, down * across) };
            let part = |i: usize| scratch.wrapping_add(at[i]).cast::<T>();
            let strip = |i: usize| Strip { data: part(i), lines: seen.clone(), depth, taps };
            let asked = Asked { given: part(1), places: part(2), row, windows: windows.clone() };
            // SAFETY: `memory` checked the operands; the thread's own strips, and the unit's rows; the machine's own instructions.
            unsafe { work::<T>(isa)(self, windows, [&strip(0), &strip(1)], &asked) };
        });
    }

    /// How many windows before its own an element of the image asks.
    #[inline(always)]
    fn margin(&self) -> usize {
        (self.window.size[1] - 1) / self.window.stride[1]
    }

    /// The rows of the image that a row of windows covers.
    #[inline(always)]
    fn covered(&self, row: usize) -> Range<usize> {
        let (start, pad) = (row * self.window.stride[0], self.window.padding[0]);
        start.saturating_sub(pad)..(start + self.window.size[0] - pad).min(self.image[0])
    }

    /// The elements of a row of windows that lie in the image, by number.
    #[inline(always)]
    fn taps(&self, row: usize) -> Range<usize> {
        let (start, covered) = (row * self.window.stride[0], self.covered(row));
        let line = |line: usize| (line + self.window.padding[0] - start) * self.window.size[1];
        line(covered.start)..line(covered.end)
    }

    /// How many windows from `col` on, of a block, begin in the padding. Where such a window has the lowest of all numbers alone, the
    /// padding looks like the first of them, which is [`before`](Self::before) places further.
    #[inline(always)]
    fn padded(&self, col: usize) -> usize {
        self.window.padding[1].div_ceil(self.window.stride[1]).saturating_sub(col).min(LANES)
    }

    /// How many elements of a row of a window lie in the padding before the image.
    #[inline(always)]
    fn before(&self, col: usize) -> usize {
        self.window.padding[1] - col * self.window.stride[1]
    }

    /// The rows of windows that reach the rows of this unit, which are rows of the image.
    #[inline(always)]
    fn reaching(&self) -> Range<usize> {
        let (pad, stride) = (self.window.padding[0], self.window.stride[0]);
        let first = (self.rows.start + pad + 1).saturating_sub(self.window.size[0]).div_ceil(stride);
        let end = ((self.rows.end - 1 + pad) / stride + 1).min(self.outputs[0]);
        first.min(end)..end
    }
}

/// Rows of an image, taken apart.
struct Strip<'a, T> {
    data: *mut T,
    lines: Range<usize>,
    /// Rows from phase to phase.
    depth: usize,
    /// By element of a window, how far it is from the first.
    taps: &'a [usize],
}

impl<T> Strip<'_, T> {
    /// Where a phase of a row begins.
    #[inline(always)]
    fn phase(&self, phase: usize, line: usize, pitch: usize) -> *mut T {
        self.data.wrapping_add((phase * self.depth + line - self.lines.start) * pitch)
    }

    /// Where the elements of the first of a row of windows would begin, if there were rows in the padding.
    #[inline(always)]
    fn windows(&self, row: usize, window: &Window, pitch: usize) -> *mut T {
        let line = (row * window.stride[0]) as isize - (window.padding[0] + self.lines.start) as isize;
        self.data.wrapping_offset(line * pitch as isize)
    }
}

// No closures in what follows: they are compiled without the caller's instruction set.

/// Copies rows of a plane into a strip, with `fill` for the padding at both sides.
#[inline(always)]
unsafe fn take_apart<T: Pooled>(unit: &Unit<'_, T>, planes: &Planes<T>, fill: T, strip: &Strip<'_, T>) {
    let (stride, pad, wide, pitch) = (unit.window.stride[1], unit.window.padding[1], unit.image[1], unit.pitch);
    let row = |line: usize, col: usize| planes.at([unit.plane[0], unit.plane[1], line, col]);
    if stride == 2 && pad == 0 && wide == 2 * pitch && planes.is_dense() {
        let (from, even, odd) = (row(strip.lines.start, 0), strip.data, strip.data.wrapping_add(strip.depth * pitch));
        for j in 0..strip.lines.len() * pitch {
            // SAFETY: the rows follow one another, here and there.
            unsafe { (*even.add(j), *odd.add(j)) = (*from.add(2 * j), *from.add(2 * j + 1)) };
        }
        return;
    }
    for phase in 0..stride.min(unit.window.size[1]) {
        let start = pad.saturating_sub(phase).div_ceil(stride).min(pitch);
        let end = (wide + pad).saturating_sub(phase).div_ceil(stride).clamp(start, pitch);
        for line in strip.lines.clone() {
            let (to, from) = (strip.phase(phase, line, pitch), row(line, (start * stride + phase).saturating_sub(pad)));
            // SAFETY: a row of a plane (see `memory`), and a row of the strip.
            unsafe {
                for j in 0..start {
                    *to.add(j) = fill;
                }
                every(from, stride as isize * planes.step(), to.add(start), end - start);
                for j in end..pitch {
                    *to.add(j) = fill;
                }
            }
        }
    }
}

/// Copies `n` elements that are `step` apart.
#[inline(always)]
unsafe fn every<T: Copy>(from: *const T, step: isize, to: *mut T, n: usize) {
    // SAFETY: as for the caller. Steps that are known become shuffles.
    unsafe {
        match step {
            1 => to.copy_from_nonoverlapping(from, n),
            2 => {
                for j in 0..n {
                    *to.add(j) = *from.add(2 * j);
                }
            }
            _ => {
                for j in 0..n {
                    *to.add(j) = *from.offset(j as isize * step);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn load<T: Copy>(from: *const T) -> [T; LANES] {
    // SAFETY: as for the caller.
    unsafe { from.cast::<[T; LANES]>().read_unaligned() }
}

/// What is given for the windows of a row from `col` on, and zeros behind the last.
#[inline(always)]
unsafe fn given<T: Pooled>(unit: &Unit<'_, T>, planes: &Planes<T>, row: usize, col: usize) -> [T; LANES] {
    let (from, n) = (planes.at([unit.plane[0], unit.plane[1], row, col]), unit.outputs[1] - col);
    // SAFETY: a row of the operand (see `memory`), and what follows it in a dense one.
    unsafe {
        if n >= LANES && planes.step() == 1 {
            return load(from);
        }
        if planes.is_dense() && (unit.outputs[0] - row) * unit.outputs[1] >= col + LANES {
            let mut lanes = load(from);
            for (j, lane) in lanes.iter_mut().enumerate() {
                *lane = if j < n { *lane } else { T::default() };
            }
            return lanes;
        }
        let mut lanes = [T::default(); LANES];
        every(from, planes.step(), lanes.as_mut_ptr(), n.min(LANES));
        lanes
    }
}

/// Writes the windows of a row from `col` on. What stands behind the last of them is written over by the next row, and by none behind
/// the last row.
#[inline(always)]
unsafe fn store<T: Pooled>(unit: &Unit<'_, T>, row: usize, col: usize, lanes: [T; LANES]) {
    let at = row * unit.outputs[1] + col;
    let to = unit.out.at(at as isize);
    // SAFETY: rows of the result that are this task's own.
    unsafe {
        if at + LANES <= unit.rows.end * unit.outputs[1] {
            to.cast::<[T; LANES]>().write_unaligned(lanes);
        } else {
            for (j, &lane) in lanes.iter().enumerate().take(unit.outputs[1] - col) {
                *to.add(j) = lane;
            }
        }
    }
}

/// Whether the largest so far stays before a further element: a NaN does, and gives way to none.
#[inline(always)]
fn stays<T: Pooled>(largest: T, v: T) -> bool {
    (largest >= v) | largest.is_nan()
}

#[inline(always)]
unsafe fn largest<T: Pooled>(unit: &Unit<'_, T>, row: usize, strip: &Strip<'_, T>) {
    let (from, taps) = (strip.windows(row, &unit.window, unit.pitch), unit.taps(row));
    for col in (0..unit.outputs[1]).step_by(LANES) {
        let mut largest = [T::LOWEST; LANES];
        for &tap in &strip.taps[taps.clone()] {
            // SAFETY: a strip has a block of windows for each tap.
            let v = unsafe { load(from.wrapping_add(tap + col)) };
            for j in 0..LANES {
                largest[j] = if stays(largest[j], v[j]) { largest[j] } else { v[j] };
            }
        }
        // SAFETY: as for the caller.
        unsafe { store(unit, row, col, largest) };
    }
}

#[inline(always)]
unsafe fn mean<T: Pooled>(unit: &Unit<'_, T>, row: usize, strip: &Strip<'_, T>) {
    let (from, taps) = (strip.windows(row, &unit.window, unit.pitch), unit.taps(row));
    let area = T::from_f64(unit.window.area() as f64);
    for col in (0..unit.outputs[1]).step_by(LANES) {
        let mut sum = [T::default(); LANES];
        for &tap in &strip.taps[taps.clone()] {
            // SAFETY: a strip has a block of windows for each tap.
            let v = unsafe { load(from.wrapping_add(tap + col)) };
            for j in 0..LANES {
                sum[j] = sum[j].plus(v[j]);
            }
        }
        for lane in &mut sum {
            *lane = lane.over(area);
        }
        // SAFETY: as for the caller.
        unsafe { store(unit, row, col, sum) };
    }
}

/// For each window of a row the value at its first largest element.
#[inline(always)]
unsafe fn pick<T: Pooled>(unit: &Unit<'_, T>, row: usize, strip: &Strip<'_, T>, values: &Strip<'_, T>) {
    let (from, taps) = (strip.windows(row, &unit.window, unit.pitch), unit.taps(row));
    let values = values.windows(row, &unit.window, unit.pitch);
    for col in (0..unit.outputs[1]).step_by(LANES) {
        let first = strip.taps[taps.start] + col;
        // SAFETY: strips have a block of windows for each tap.
        unsafe {
            let (mut largest, mut value) = (load(from.wrapping_add(first)), load(values.wrapping_add(first)));
            for &tap in &strip.taps[taps.clone()] {
                let (v, given) = (load(from.wrapping_add(tap + col)), load(values.wrapping_add(tap + col)));
                for j in 0..LANES {
                    let stays = stays(largest[j], v[j]);
                    largest[j] = if stays { largest[j] } else { v[j] };
                    value[j] = if stays { value[j] } else { given[j] };
                }
            }
            for j in 0..unit.padded(col) {
                if largest[j] == T::LOWEST {
                    value[j] = *values.wrapping_add(strip.taps[taps.start + unit.before(col + j)] + col + j);
                }
            }
            store(unit, row, col, value);
        }
    }
}

#[cfg(test)]
mod tests;
