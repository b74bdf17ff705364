//! Which elements of an image does each place of a window see? Patches are copied out of images, and added back into them.

use super::{
    gemm::{Engine, Matrix},
    scratch::Layout,
    strided::{Shared, memory},
};
use crate::{Window, execute::frame::Frame, plan::kernel::Place};
use std::ops::Range;

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

    /// The place of an element.
    pub fn at(&self, index: [usize; 4]) -> *mut T {
        self.data.at(index.iter().zip(&self.strides).map(|(&i, s)| i as isize * s).sum())
    }

    /// `m` channels of an image from one on, and in each some rows, as a matrix with a row for each channel. Copied to `scratch`, which
    /// holds as many elements, if the rows don't run on into each other.
    pub fn matrix(&self, [number, channel]: [usize; 2], m: usize, rows: &Range<usize>, scratch: *mut u8) -> Matrix<T> {
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
    // SAFETY: as for the caller; the last eight or four overlap those before.
    unsafe {
        if step != 1 {
            (0..n).for_each(|i| *to.add(i) = *from.offset(i as isize * step));
        } else if n >= 8 {
            let whole = |i: usize| to.add(i).cast::<[T; 8]>().write_unaligned(from.add(i).cast::<[T; 8]>().read_unaligned());
            (0..n / 8).for_each(|i| whole(8 * i));
            whole(n - 8);
        } else if n >= 4 {
            let half = |i: usize| to.add(i).cast::<[T; 4]>().write_unaligned(from.add(i).cast::<[T; 4]>().read_unaligned());
            half(0);
            half(n - 4);
        } else {
            (0..n).for_each(|i| *to.add(i) = *from.add(i));
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

    /// Where the padded part of an image and the patches lie in scratch memory, and its size.
    fn layout<T>(&self) -> ([usize; 2], usize) {
        let [height, width] = self.reach();
        let mut layout = Layout::default();
        let padded = layout.reserve(self.channels * height * width * size_of::<T>());
        let patches = layout.reserve(self.channels * self.window.area() * self.columns() * size_of::<T>());
        ([padded, patches], layout.bytes())
    }

    /// Scratch memory for [`patches`](Self::patches).
    pub fn bytes<T>(&self) -> usize {
        self.layout::<T>().1
    }

    /// The patches of a group of channels of an image, a row for each channel and element of the window.
    pub fn patches<T: Engine>(&self, image: &Planes<T>, number: usize, group: usize, scratch: *mut u8) -> Matrix<T> {
        let ([padded, patches], _) = self.layout::<T>();
        let (padded, patches) = (scratch.wrapping_add(padded).cast::<T>(), scratch.wrapping_add(patches).cast::<T>());
        self.pad(image, number, group * self.channels, padded);
        let ([height, width], Window { size, stride, dilation, .. }) = (self.reach(), self.window);
        let mut to = patches;
        for channel in 0..self.channels {
            for tap in 0..self.window.area() {
                let (down, across) = (tap / size[1] * dilation[0], tap % size[1] * dilation[1]);
                let mut from = padded.wrapping_add((channel * height + down) * width + across);
                for _ in self.rows.clone() {
                    // SAFETY: a row of the padded image and a row of the patches, both of which are in the scratch memory.
                    unsafe { copy(from, stride[1] as isize, to, self.width) };
                    (to, from) = (to.wrapping_add(self.width), from.wrapping_add(stride[0] * width));
                }
            }
        }
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

    /// Scratch memory for [`put_back`](Self::put_back).
    pub fn bytes_of_image<T>(&self, lines: &Range<usize>) -> usize {
        self.channels * lines.len() * self.reach_across() * size_of::<T>()
    }

    fn reach_across(&self) -> usize {
        (self.width - 1) * self.window.stride[1] + self.window.span(1)
    }

    /// Adds patches to zeros where they came from, and writes `lines` of the images' channels, from one on, `[.., h, w]` each: the
    /// transpose of [`patches`](Self::patches).
    pub fn put_back<T: Engine>(
        &self,
        patches: Matrix<T>,
        lines: &Range<usize>,
        scratch: *mut u8,
        (out, channel, [_, tall, wide]): (Shared<T>, usize, [usize; 3]),
    ) {
        let (width, Window { size, stride, padding, dilation }) = (self.reach_across(), self.window);
        // SAFETY: the scratch memory is this task's own and holds so many elements.
        let padded = unsafe { std::slice::from_raw_parts_mut(scratch.cast::<T>(), self.channels * lines.len() * width) };
        padded.fill(T::default());
        for row in 0..if self.columns() == 0 { 0 } else { self.channels * self.window.area() } {
            let (channel, tap) = (row / self.window.area(), row % self.window.area());
            let (down, across) = (tap / size[1] * dilation[0], tap % size[1] * dilation[1]);
            for (i, at) in self.rows.clone().enumerate() {
                let Some(line) = (at * stride[0] + down).checked_sub(padding[0] + lines.start).filter(|&l| l < lines.len()) else {
                    continue;
                };
                let to = &mut padded[(channel * lines.len() + line) * width + across..];
                // SAFETY: a row of the patches, which are dense.
                let from = unsafe { std::slice::from_raw_parts(patches.at(row, i * self.width), self.width) };
                if stride[1] == 1 {
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = to.plus(*from));
                } else {
                    to.iter_mut().step_by(stride[1]).zip(from).for_each(|(to, from)| *to = to.plus(*from));
                }
            }
        }
        let left = padding[1].min(width);
        let inside = wide.min(width - left);
        for (i, from) in padded.chunks_exact(width).enumerate() {
            let (channel, line) = (channel + i / lines.len(), lines.start + i % lines.len());
            // SAFETY: a row of the output that is this task's own.
            let to = unsafe { std::slice::from_raw_parts_mut(out.at(((channel * tall + line) * wide) as isize), wide) };
            to[..inside].copy_from_slice(&from[left..left + inside]);
            to[inside..].fill(T::default());
        }
    }
}
