//! What is the largest of each window, and where, if no two windows share an element? Dense images are read where they lie, and written,
//! once.
//!
//! A block of windows is read and written whole, also where their row ends before it: what stands behind is read for nothing, and
//! written over, since rows are written in ascending order, and of each its last block first. Only at the end of what a task may read or
//! write is a block cut.

use super::{LANES, Pooled, load, stays};
use crate::{
    Pool, Window,
    execute::{
        frame::Frame,
        kernels::{
            isa::{Isa, for_each_isa},
            scratch::with_registers,
            strided::{BLOCK, Shared, dense, dense_strides, memory},
        },
        threads,
    },
    plan::kernel::{Place, PoolKernel},
};
use std::ops::Range;

/// Images, row by row, in strips: as many lines as windows step down by, so that each has one row of windows or none.
pub(super) struct Apart<T> {
    window: Window,
    /// Height and width of the images, and of what their windows give.
    image: [usize; 2],
    outputs: [usize; 2],
    planes: usize,
    /// Strips of a plane.
    strips: usize,
    x: Shared<T>,
    with: Option<Shared<T>>,
    out: Shared<T>,
}

/// The work on some strips, compiled for an instruction set.
type Compiled<T> = unsafe fn(&Apart<T>, Range<usize>, *mut T);

for_each_isa! {
    fn work<T: Strips>(apart: &Apart<T>, strips: Range<usize>, places: *mut T) as Compiled<T> => strips
}

/// Numbers whose maxima are found in strips.
trait Strips: Pooled {
    /// Computes some strips.
    ///
    /// # Safety
    /// The images must lie in memory, nobody else may use these strips of the result meanwhile, nor `places`, of which there must be a
    /// row of windows in whole blocks, and the machine must have the instructions.
    #[inline(always)]
    unsafe fn strips<const FMA: bool>(apart: &Apart<Self>, strips: Range<usize>, places: *mut Self) {
        // SAFETY: as for the caller.
        unsafe {
            match (&apart.with, apart.window.stride[1]) {
                (None, 2) => largest::<Self, 2>(apart, strips),
                (None, 3) => largest::<Self, 3>(apart, strips),
                (None, _) => largest::<Self, 4>(apart, strips),
                (Some(given), 2) => spread::<Self, 2>(apart, *given, strips, places),
                (Some(given), 3) => spread::<Self, 3>(apart, *given, strips, places),
                (Some(given), _) => spread::<Self, 4>(apart, *given, strips, places),
            }
        }
    }
}

impl<T: Pooled> Strips for T {}

impl<T: Pooled> Apart<T> {
    /// The work of a kernel, if it is of this kind.
    pub fn new(frame: &Frame, kernel: &PoolKernel) -> Option<Self> {
        let PoolKernel { kind, x, with, out, dims, window } = kernel;
        let ([down, across], [step, stride]) = (window.size, window.stride);
        let apart = down <= step && across == stride && window.padding == [0; 2];
        let known = matches!(kind, Pool::Max | Pool::MaxSpread) && (2..=4).contains(&stride);
        if !(apart && known && is_dense(x) && with.as_ref().is_none_or(is_dense)) {
            return None;
        }
        let first = |place: &Place| Shared::new(memory::<T>(frame, place).at(place.offset));
        Some(Apart {
            window: *window,
            image: [x.dims[2], x.dims[3]],
            outputs: window.count([x.dims[2], x.dims[3]])?,
            planes: dims[0] * dims[1],
            strips: x.dims[2].div_ceil(step),
            x: first(x),
            with: with.as_ref().map(first),
            out: dense::<T>(frame, *out, dims.iter().product()),
        })
    }

    /// Computes all of it.
    pub fn run(&self, isa: Isa) {
        let strips = self.planes * self.strips;
        let each = (BLOCK / (self.window.stride[0].min(self.image[0]) * self.image[1])).max(1);
        let places = self.outputs[1].next_multiple_of(LANES) * size_of::<T>();
        threads::run(strips.div_ceil(each), &|task| {
            with_registers(places, |places| {
                // SAFETY: `memory` checked the operands; the strips are this task's own, and the scratch memory; the machine's own
                // instructions.
                unsafe { work::<T>(isa)(self, task * each..strips.min((task + 1) * each), places.cast()) };
            });
        });
    }

    /// A strip by number.
    #[inline(always)]
    fn strip(&self, strip: usize) -> Strip {
        let (plane, within) = (strip / self.strips, strip % self.strips);
        let [line, row] = [plane * self.image[0] + within * self.window.stride[0], plane * self.outputs[0] + within.min(self.outputs[0])];
        Strip { within, line, row }
    }

    /// The strip behind a strip.
    #[inline(always)]
    fn behind(&self, Strip { within, line, row }: Strip) -> Strip {
        let lines = self.window.stride[0].min(self.image[0] - within * self.window.stride[0]);
        let next = if within + 1 < self.strips { within + 1 } else { 0 };
        Strip { within: next, line: line + lines, row: row + usize::from(within < self.outputs[0]) }
    }
}

/// Some lines of a plane.
#[derive(Clone, Copy)]
struct Strip {
    /// How many strips of the plane stand before it.
    within: usize,
    /// How many lines of all planes do, and how many rows of windows.
    line: usize,
    row: usize,
}

/// Whether elements lie one after the other in row-major order.
fn is_dense(place: &Place) -> bool {
    let dense = dense_strides(&place.dims);
    (0..place.dims.len()).all(|axis| place.dims[axis] == 1 || place.strides[axis] == dense[axis])
}

// No closures in what follows: they are compiled without the caller's instruction set.

/// Windows side by side: by window, elements of one line.
type Block<T, const STRIDE: usize> = [[T; STRIDE]; LANES];

/// Reads a block from element `at` on, of which only `n` are needed and none from `end` on is there.
#[inline(always)]
unsafe fn read<T: Pooled, const STRIDE: usize>(from: Shared<T>, at: usize, n: usize, end: usize) -> Block<T, STRIDE> {
    let from = from.at(at as isize);
    // SAFETY: as for the caller.
    unsafe {
        if at + STRIDE * LANES <= end {
            return from.cast::<Block<T, STRIDE>>().read_unaligned();
        }
        let mut block = [[T::default(); STRIDE]; LANES];
        block.as_mut_ptr().cast::<T>().copy_from_nonoverlapping(from, n.min(STRIDE * LANES));
        block
    }
}

/// Writes a block from element `at` on, of which only `n` are needed and none must be written from `end` on.
#[inline(always)]
unsafe fn write<T: Pooled, const STRIDE: usize>(to: Shared<T>, at: usize, n: usize, end: usize, block: Block<T, STRIDE>) {
    let to = to.at(at as isize);
    // SAFETY: as for the caller.
    unsafe {
        if at + STRIDE * LANES <= end {
            to.cast::<Block<T, STRIDE>>().write_unaligned(block);
        } else {
            // A copy, so that blocks that are not cut stay in registers.
            let mut cut = [[T::default(); STRIDE]; LANES];
            for (to, from) in cut.iter_mut().zip(block) {
                *to = from;
            }
            to.copy_from_nonoverlapping(cut.as_ptr().cast(), n.min(STRIDE * LANES));
        }
    }
}

/// One element of each window.
#[inline(always)]
fn column<T: Pooled, const STRIDE: usize>(block: &Block<T, STRIDE>, col: usize) -> [T; LANES] {
    let mut column = [T::default(); LANES];
    for (to, from) in column.iter_mut().zip(block) {
        *to = from[col];
    }
    column
}

/// The first largest element of each window of a block whose first line begins at element `at`, and its number. Lines have `n` elements
/// from there on.
#[inline(always)]
unsafe fn first_largest<T: Pooled, const STRIDE: usize>(apart: &Apart<T>, at: usize, n: usize) -> [[T; LANES]; 2] {
    let ([height, wide], down) = (apart.image, apart.window.size[0]);
    let (mut largest, mut place) = ([T::LOWEST; LANES], [T::default(); LANES]);
    // Elements of the window are numbered in their own type, so that all vectors are equally wide.
    let (one, mut number) = (T::from_f64(1.0), T::default());
    for line in 0..down {
        // SAFETY: a line of an image.
        let block = unsafe { read::<T, STRIDE>(apart.x, at + line * wide, n, apart.planes * height * wide) };
        for col in 0..STRIDE {
            let v = column(&block, col);
            for j in 0..LANES {
                let stays = stays(largest[j], v[j]);
                largest[j] = if stays { largest[j] } else { v[j] };
                place[j] = if stays { place[j] } else { number };
            }
            number = number.plus(one);
        }
    }
    [largest, place]
}

/// Writes the largest element of each window.
#[inline(always)]
unsafe fn largest<T: Pooled, const STRIDE: usize>(apart: &Apart<T>, strips: Range<usize>) {
    let (wide, windows) = (apart.image[1], apart.outputs[1]);
    let (mut next, end) = (apart.strip(strips.start), apart.strip(strips.end).row * windows);
    for _ in strips {
        let Strip { line, row, .. } = next;
        next = apart.behind(next);
        for col in (0..(next.row - row) * windows).step_by(LANES) {
            // SAFETY: windows of the images; the result's are this task's own.
            unsafe {
                let [largest, _] = first_largest::<T, STRIDE>(apart, line * wide + col * STRIDE, wide - col * STRIDE);
                let mut block = [[T::default(); 1]; LANES];
                for j in 0..LANES {
                    block[j] = [largest[j]];
                }
                write(apart.out, row * windows + col, windows - col, end, block);
            }
        }
    }
}

/// Writes what is given for each window at its first largest element, and zeros everywhere else.
///
/// The places are noted for a row of windows before any is written: seen together, reading and writing would be compiled to neither's
/// vectors.
#[inline(always)]
unsafe fn spread<T: Pooled, const STRIDE: usize>(apart: &Apart<T>, given: Shared<T>, strips: Range<usize>, places: *mut T) {
    let ([_, wide], [rows, windows], down, zero) = (apart.image, apart.outputs, apart.window.size[0], T::default());
    let (mut next, end, one) = (apart.strip(strips.start), apart.strip(strips.end).line * wide, T::from_f64(1.0));
    for _ in strips {
        let Strip { line: first, row, .. } = next;
        next = apart.behind(next);
        let n = (next.row - row) * windows;
        for col in (0..n).step_by(LANES) {
            // SAFETY: windows of the images, and their places.
            unsafe {
                let [_, place] = first_largest::<T, STRIDE>(apart, first * wide + col * STRIDE, wide - col * STRIDE);
                places.add(col).cast::<[T; LANES]>().write_unaligned(place);
            }
        }
        let served = first + (next.row - row) * down;
        for col in (0..n).step_by(LANES).rev() {
            // SAFETY: lines of the result that are this task's own, what is given for their windows, and the places.
            unsafe {
                let given = read::<T, 1>(given, row * windows + col, n - col, apart.planes * rows * windows);
                let (place, mut number) = (load(places.add(col)), zero);
                for line in first..served {
                    let mut block = [[zero; STRIDE]; LANES];
                    for j in 0..LANES {
                        let mut number = number;
                        for element in &mut block[j] {
                            // Added to zero, as where windows overlap: there is no -0.
                            *element = if place[j] == number { zero.plus(given[j][0]) } else { zero };
                            number = number.plus(one);
                        }
                    }
                    for _ in 0..STRIDE {
                        number = number.plus(one);
                    }
                    write(apart.out, line * wide + col * STRIDE, wide - col * STRIDE, end, block);
                    // Columns behind all windows; blocks before the last leave them alone.
                    for behind in windows * STRIDE..wide {
                        *apart.out.at((line * wide + behind) as isize) = zero;
                    }
                }
            }
        }
        for at in served * wide..next.line * wide {
            // SAFETY: lines of the result that are this task's own.
            unsafe { *apart.out.at(at as isize) = zero };
        }
    }
}
