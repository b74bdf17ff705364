//! Which elements of an image does each place of a window see? Patches are copied out of images, and added back into them.

use super::{
    gemm::{Engine, Matrix},
    isa::{Isa, for_each_isa},
    scratch::Layout,
    strided::{Shared, memory},
};
use crate::{Window, execute::frame::Frame, plan::kernel::Place};
use std::ops::Range;

/// Elements of a row of patches that are copied at once.
const WIDE: usize = 16;

/// Images `[n, c, h, w]` anywhere in memory.
pub struct Planes<T> {
    data: Shared<T>,
    dims: [usize; 4],
    strides: [isize; 4],
}

impl<T: Engine> Planes<T> {
    /// Those of an operand of four axes.
    pub fn new(frame: &Frame, place: &Place) -> Self {
        let data = Shared::new(memory::<T>(frame, place).at(place.offset));
        let four = "images have four axes";
        Planes { data, dims: place.dims[..].try_into().expect(four), strides: place.strides[..].try_into().expect(four) }
    }

    /// Height and width.
    pub fn image(&self) -> [usize; 2] {
        [self.dims[2], self.dims[3]]
    }

    /// Elements from column to column.
    #[inline(always)]
    pub fn step(&self) -> isize {
        self.strides[3]
    }

    /// Whether the elements of a plane lie one after the other in row-major order.
    #[inline(always)]
    pub fn is_dense(&self) -> bool {
        self.strides[3] == 1 && self.strides[2] == self.dims[3] as isize
    }

    /// The place of an element.
    #[inline(always)]
    pub fn at(&self, index: [usize; 4]) -> *mut T {
        let ([a, b, c, d], [n, m, h, w]) = (index.map(|i| i as isize), self.strides);
        self.data.at(a * n + b * m + c * h + d * w)
    }

    /// `m` channels of an image from one on, and in each some rows, as a matrix with a row for each channel. Copied to `scratch` if the rows
    /// don't run on into each other.
    ///
    /// # Safety
    /// There must be room for as many elements at `scratch`, and nobody else may use it meanwhile.
    pub unsafe fn matrix(&self, [number, channel]: [usize; 2], m: usize, rows: &Range<usize>, scratch: *mut u8) -> Matrix<T> {
        let ([.., width], [_, row, line, col]) = (self.dims, self.strides);
        if line == width as isize * col || rows.len() == 1 {
            return Matrix { data: Shared::new(self.at([number, channel, rows.start, 0])), row, col };
        }
        let scratch = scratch.cast::<T>();
        let mut to = scratch;
        for channel in channel..channel + m {
            for row in rows.clone() {
                // SAFETY: a row of the images (see `memory`); the scratch memory holds all of these rows.
                unsafe { copy(self.at([number, channel, row, 0]), col, to, width) };
                to = to.wrapping_add(width);
            }
        }
        Matrix { data: Shared::new(scratch), row: (rows.len() * width) as isize, col: 1 }
    }
}

/// Copies `n` elements that are `step` apart to neighbours.
///
/// # Safety
/// All must lie in memory, apart from each other, and nobody else may use `to` meanwhile.
#[inline(always)]
unsafe fn copy<T: Copy>(from: *const T, step: isize, to: *mut T, n: usize) {
    // SAFETY: as for the caller.
    unsafe {
        if step == 1 {
            to.copy_from_nonoverlapping(from, n);
        } else {
            (0..n).for_each(|i| *to.add(i) = *from.offset(i as isize * step));
        }
    }
}

/// A band of rows of the output, and what its windows see of the channels of one group.
pub struct Band {
    /// How the window slides.
    pub window: Window,
    /// Channels of the group.
    pub channels: usize,
    /// Rows of the output.
    pub rows: Range<usize>,
    /// Length of these rows.
    pub width: usize,
}

impl Band {
    /// Places of the window: columns of the matrix of patches.
    pub fn columns(&self) -> usize {
        self.rows.len() * self.width
    }

    /// Rows and columns of the padded image that the windows reach, of which there is at least one.
    fn reach(&self) -> [usize; 2] {
        let along = |axis: usize, count: usize| (count - 1) * self.window.stride[axis] + self.window.span(axis);
        [along(0, self.rows.len()), along(1, self.width)]
    }

    /// Where the padded part of an image and the patches lie in scratch memory, and its size. Behind both there is room for a block.
    fn layout<T>(&self) -> ([usize; 2], usize) {
        let [height, width] = self.reach();
        let mut layout = Layout::default();
        let padded = layout.reserve((self.channels * height * width + WIDE) * size_of::<T>());
        let patches = layout.reserve((self.channels * self.window.area() * self.columns() + WIDE) * size_of::<T>());
        ([padded, patches], layout.bytes())
    }

    /// Scratch memory for [`patches`](Self::patches).
    pub fn bytes<T>(&self) -> usize {
        self.layout::<T>().1
    }

    /// The patches of a group of channels of an image, a row for each channel and element of the window.
    ///
    /// # Safety
    /// `scratch` must be aligned, with room for [`bytes`](Self::bytes), and nobody else may use it meanwhile. The machine must have the
    /// instructions.
    pub unsafe fn patches<T: Engine>(&self, image: &Planes<T>, number: usize, group: usize, scratch: *mut u8, isa: Isa) -> Matrix<T> {
        let ([padded, patches], _) = self.layout::<T>();
        let (padded, patches) = (scratch.wrapping_add(padded).cast::<T>(), scratch.wrapping_add(patches).cast::<T>());
        self.pad(image, number, group * self.channels, padded);
        // SAFETY: both lie in the scratch memory, which is this task's own; the machine's own instructions.
        unsafe { copied::<T>(isa)(self, padded, patches) };
        Matrix { data: Shared::new(patches), row: self.columns() as isize, col: 1 }
    }

    /// Copies what the windows reach of some channels, with zeros around.
    fn pad<T: Engine>(&self, image: &Planes<T>, number: usize, channel: usize, mut to: *mut T) {
        let ([height, width], [.., tall, wide]) = (self.reach(), image.dims);
        let (above, left) = (self.window.padding[0], self.window.padding[1].min(width));
        let inside = wide.min(width - left);
        let first = self.rows.start * self.window.stride[0];
        // SAFETY: as below.
        let zeros = |to: *mut T, n: usize| (0..n).for_each(|i| unsafe { *to.add(i) = T::default() });
        for channel in channel..channel + self.channels {
            for row in first..first + height {
                match row.checked_sub(above).filter(|&row| row < tall) {
                    // SAFETY: a row of the image (see `memory`); the scratch memory holds the padded rows.
                    Some(row) => unsafe {
                        zeros(to, left);
                        copy(image.at([number, channel, row, 0]), image.strides[3], to.add(left), inside);
                        zeros(to.add(left + inside), width - left - inside);
                    },
                    None => zeros(to, width),
                }
                to = to.wrapping_add(width);
            }
        }
    }

    /// Elements of `lines` of the padded image: so much of it as windows reach.
    pub fn image(&self, lines: &Range<usize>) -> usize {
        self.channels * lines.len() * self.across()
    }

    /// Columns of the padded image that windows reach.
    fn across(&self) -> usize {
        (self.width - 1) * self.window.stride[1] + self.window.span(1)
    }

    /// Adds patches where they came from in `lines` of a padded image: the transpose of [`patches`](Self::patches).
    pub fn put_back<T: Engine>(&self, patches: Matrix<T>, lines: &Range<usize>, sums: &mut [T], isa: Isa) {
        assert_eq!(sums.len(), self.image(lines));
        // SAFETY: the patches lie in memory, densely; the machine's own instructions.
        unsafe { added::<T>(isa)(self, lines, patches.at(0, 0), sums.as_mut_ptr()) };
    }

    /// Writes `lines` of a padded image to images of `[h, w]`, of the first of which `out` is the first of these lines.
    pub fn without_padding<T: Engine>(&self, lines: &Range<usize>, sums: &[T], out: Shared<T>, [tall, wide]: [usize; 2]) {
        let left = self.window.padding[1].min(self.across());
        let inside = wide.min(self.across() - left);
        for (i, from) in sums.chunks_exact(self.across()).enumerate() {
            let to = out.at(((i / lines.len() * tall + i % lines.len()) * wide) as isize);
            // SAFETY: a row of the output that is this task's own.
            let to = unsafe { std::slice::from_raw_parts_mut(to, wide) };
            to[..inside].copy_from_slice(&from[left..left + inside]);
            to[inside..].fill(T::default());
        }
    }
}

type Copied<T> = unsafe fn(&Band, *const T, *mut T);
type Added<T> = unsafe fn(&Band, &Range<usize>, *const T, *mut T);

for_each_isa! {
    fn copied<T: Moved>(band: &Band, padded: *const T, patches: *mut T) as Copied<T> => copy_rows
}
for_each_isa! {
    fn added<T: Moved>(band: &Band, lines: &Range<usize>, patches: *const T, sums: *mut T) as Added<T> => add_rows
}

impl<T: Engine> Moved for T {}

/// The loops over patches, which are compiled for each instruction set.
trait Moved: Engine {
    /// The loops of [`Band::patches`].
    ///
    /// # Safety
    /// Both must lie in memory as the band lays them out, and nobody else may use `patches` meanwhile. The machine must have the
    /// instructions.
    #[inline(always)]
    unsafe fn copy_rows<const FMA: bool>(band: &Band, padded: *const Self, mut patches: *mut Self) {
        let ([height, width], Window { size, stride, dilation, .. }) = (band.reach(), band.window);
        let (n, line) = (band.width, stride[0] * width);
        for channel in 0..band.channels {
            for tap in 0..band.window.area() {
                let (down, across) = (tap / size[1] * dilation[0], tap % size[1] * dilation[1]);
                let mut from = padded.wrapping_add((channel * height + down) * width + across);
                for _ in 0..band.rows.len() {
                    // SAFETY: a row of the padded image, and a row of the patches.
                    unsafe {
                        if stride[1] == 1 {
                            // What is behind the row's end is written over by the next row.
                            for i in (0..n).step_by(WIDE) {
                                write(patches.add(i), read::<Self, WIDE>(from.add(i)));
                            }
                        } else {
                            for i in 0..n {
                                *patches.add(i) = *from.add(i * stride[1]);
                            }
                        }
                    }
                    (patches, from) = (patches.wrapping_add(n), from.wrapping_add(line));
                }
            }
        }
    }

    /// The loops of [`Band::put_back`].
    ///
    /// # Safety
    /// As for [`copy_rows`](Self::copy_rows), of `sums`.
    #[inline(always)]
    unsafe fn add_rows<const FMA: bool>(band: &Band, lines: &Range<usize>, patches: *const Self, sums: *mut Self) {
        let (width, n, Window { size, stride, padding, dilation }) = (band.across(), band.width, band.window);
        for row in 0..band.channels * band.window.area() {
            let (channel, tap) = (row / band.window.area(), row % band.window.area());
            let (down, across) = (tap / size[1] * dilation[0], tap % size[1] * dilation[1]);
            let mut from = patches.wrapping_add(row * band.columns());
            for at in band.rows.clone() {
                let line = (at * stride[0] + down).wrapping_sub(padding[0] + lines.start);
                if line < lines.len() {
                    let to = sums.wrapping_add((channel * lines.len() + line) * width + across);
                    // SAFETY: a row of the patches, and a row of the sums.
                    unsafe {
                        if stride[1] == 1 && n >= 8 {
                            // The last eight overlap others, so they are summed before any are written.
                            let last = sums_of_eight(from.add(n - 8), to.add(n - 8));
                            for i in (0..n - 7).step_by(8) {
                                write(to.add(i), sums_of_eight(from.add(i), to.add(i)));
                            }
                            write(to.add(n - 8), last);
                        } else {
                            for i in 0..n {
                                *to.add(i * stride[1]) = (*to.add(i * stride[1])).plus(*from.add(i));
                            }
                        }
                    }
                }
                from = from.wrapping_add(n);
            }
        }
    }
}

/// Some neighbours.
#[inline(always)]
unsafe fn read<T: Copy, const N: usize>(from: *const T) -> [T; N] {
    // SAFETY: as for the caller.
    unsafe { from.cast::<[T; N]>().read_unaligned() }
}

/// Eight neighbours, to each of which one of others is added.
#[inline(always)]
unsafe fn sums_of_eight<T: Engine>(from: *const T, to: *const T) -> [T; 8] {
    // SAFETY: as for the caller.
    let (mut sums, from) = unsafe { (read::<T, 8>(to), read::<T, 8>(from)) };
    for j in 0..8 {
        sums[j] = sums[j].plus(from[j]);
    }
    sums
}

#[inline(always)]
unsafe fn write<T, const N: usize>(to: *mut T, values: [T; N]) {
    // SAFETY: as for the caller.
    unsafe { to.cast::<[T; N]>().write_unaligned(values) }
}
