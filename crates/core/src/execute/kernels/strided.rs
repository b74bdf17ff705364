//! In which order are the elements of strided operands visited, and how are they copied?

use crate::{
    DType, Element,
    execute::{frame::Frame, threads},
    plan::kernel::Place,
};
use smallvec::SmallVec;
use std::ops::Range;

/// Elements in one task of a loop that is bound by memory. Fixed, so that the split depends on shapes only.
pub const BLOCK: usize = 1 << 15;

/// A walk in row-major order over the common index space of `N` operands: runs along one axis, as long as their strides allow.
pub struct Rows<const N: usize> {
    /// Length and steps of every axis but the innermost, outermost first.
    outer: SmallVec<[(usize, [isize; N]); 8]>,
    /// Length of a run.
    pub len: usize,
    /// Elements between neighbours in a run, for each operand.
    pub steps: [isize; N],
    first: [isize; N],
    size: usize,
}

impl<const N: usize> Rows<N> {
    /// Over `dims`, with each operand's first offset and strides. Axes that run on into each other become one.
    pub fn new(dims: &[usize], operands: [(isize, &[isize]); N]) -> Self {
        let first = operands.map(|(offset, _)| offset);
        let mut axes: SmallVec<[(usize, [isize; N]); 8]> = SmallVec::new();
        for (axis, &len) in dims.iter().enumerate() {
            let steps = operands.map(|(_, strides)| strides[axis]);
            match axes.last_mut() {
                _ if len == 1 => {}
                Some((l, s)) if (0..N).all(|o| s[o] == steps[o] * len as isize) => (*l, *s) = (*l * len, steps),
                _ => axes.push((len, steps)),
            }
        }
        let (len, steps) = axes.pop().unwrap_or((1, [0; N]));
        Rows { outer: axes, len, steps, first, size: dims.iter().product() }
    }

    /// Number of elements.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Calls `visit` with the offsets and the length of every run in `elements`, counted in row-major order.
    pub fn each(&self, elements: Range<usize>, mut visit: impl FnMut([isize; N], usize)) {
        debug_assert!(elements.end <= self.size);
        if elements.is_empty() {
            return;
        }
        let (mut row, within) = (elements.start / self.len, elements.start % self.len);
        let mut at = self.first;
        let mut index: SmallVec<[usize; 8]> = SmallVec::from_elem(0, self.outer.len());
        for (i, (len, steps)) in index.iter_mut().zip(&self.outer).rev() {
            (*i, row) = (row % len, row / len);
            step(&mut at, steps, *i as isize);
        }
        step(&mut at, &self.steps, within as isize);
        let mut left = elements.len();
        let mut run = (self.len - within).min(left);
        visit(at, run);
        step(&mut at, &self.steps, -(within as isize));
        left -= run;
        while left > 0 {
            self.advance(&mut index, &mut at);
            run = self.len.min(left);
            visit(at, run);
            left -= run;
        }
    }

    fn advance(&self, index: &mut [usize], at: &mut [isize; N]) {
        for (i, (len, steps)) in index.iter_mut().zip(&self.outer).rev() {
            *i += 1;
            step(at, steps, 1);
            if *i < *len {
                return;
            }
            step(at, steps, -(*len as isize));
            *i = 0;
        }
    }

    /// The same in parallel, split at multiples of `block` elements.
    pub fn in_blocks(&self, block: usize, visit: impl Fn([isize; N], usize) + Sync) {
        let block = block.max(1);
        threads::run(self.size.div_ceil(block), &|task| {
            self.each(task * block..((task + 1) * block).min(self.size), &visit);
        });
    }
}

fn step<const N: usize>(at: &mut [isize; N], steps: &[isize; N], times: isize) {
    for (a, s) in at.iter_mut().zip(steps) {
        *a += s * times;
    }
}

/// A pointer that tasks share: each writes places of its own.
pub struct Shared<T>(*mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Shared<T> {}

// SAFETY: carries an address; the kernel that made it argues why no two tasks write one place.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Shares a pointer.
    pub fn new(first: *mut T) -> Self {
        Shared(first)
    }

    /// The pointer to element `at`.
    pub fn at(&self, at: isize) -> *mut T {
        self.0.wrapping_offset(at)
    }
}

/// The memory of an operand's buffer as elements. `T` has the size of its dtype; every element of the place must lie inside.
pub fn memory<T>(frame: &Frame, place: &Place) -> Shared<T> {
    let buffer = frame.buffer(place.buffer);
    debug_assert_eq!(size_of::<T>(), place.dtype.size());
    debug_assert_eq!(place.dims.len(), place.strides.len());
    if cfg!(debug_assertions) && !place.dims.contains(&0) {
        let (mut low, mut high) = (place.offset, place.offset);
        for (&len, &stride) in place.dims.iter().zip(&place.strides) {
            let reach = stride * (len as isize - 1);
            (low, high) = (low + reach.min(0), high + reach.max(0));
        }
        assert!(low >= 0 && (high as usize + 1) * size_of::<T>() <= buffer.bytes, "{place:?} leaves its buffer of {} bytes", buffer.bytes);
    }
    Shared(buffer.ptr.cast())
}

/// The memory of a dense output of `size` elements.
pub fn dense<T>(frame: &Frame, buffer: u32, size: usize) -> Shared<T> {
    let memory = frame.buffer(buffer);
    debug_assert!(size * size_of::<T>() <= memory.bytes, "an output of {size} elements in {} bytes", memory.bytes);
    Shared(memory.ptr.cast())
}

/// Strides of a dense row-major array.
pub fn dense_strides(dims: &[usize]) -> SmallVec<[isize; 8]> {
    let mut strides = SmallVec::from_elem(1, dims.len());
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis] as isize;
    }
    strides
}

/// Copies `from` to `to`: equal shapes and dtypes, buffers that do not overlap.
pub fn copy(frame: &Frame, from: &Place, to: &Place) {
    debug_assert_eq!((&from.dims, from.dtype), (&to.dims, to.dtype));
    match from.dtype.size() {
        1 => copy_as::<u8>(memory(frame, from), from, memory(frame, to), to.offset, &to.strides),
        4 => copy_as::<u32>(memory(frame, from), from, memory(frame, to), to.offset, &to.strides),
        _ => copy_as::<u64>(memory(frame, from), from, memory(frame, to), to.offset, &to.strides),
    }
}

/// Copies `from` to memory that is dense from `to` on.
///
/// # Safety
/// There must be room for as many elements at `to`, apart from `from`, and nobody else may use it meanwhile.
pub unsafe fn copy_dense(frame: &Frame, from: &Place, to: *mut u8) {
    let strides = dense_strides(&from.dims);
    match from.dtype.size() {
        1 => copy_as::<u8>(memory(frame, from), from, Shared(to), 0, &strides),
        4 => copy_as::<u32>(memory(frame, from), from, Shared(to.cast()), 0, &strides),
        _ => copy_as::<u64>(memory(frame, from), from, Shared(to.cast()), 0, &strides),
    }
}

fn copy_as<T: Copy>(source: Shared<T>, from: &Place, target: Shared<T>, offset: isize, strides: &[isize]) {
    let rows = Rows::new(&from.dims, [(from.offset, &from.strides), (offset, strides)]);
    let [s, t] = rows.steps;
    rows.in_blocks(BLOCK, |[x, y], n| {
        let (x, y) = (source.at(x), target.at(y));
        // SAFETY: both places lie in their buffers (see `memory`), which don't overlap; every run has a target of its own.
        unsafe {
            if s == 1 && t == 1 {
                y.copy_from_nonoverlapping(x, n);
            } else if s == 0 && t == 1 {
                std::slice::from_raw_parts_mut(y, n).fill(*x);
            } else {
                for i in 0..n as isize {
                    *y.offset(i * t) = *x.offset(i * s);
                }
            }
        }
    });
}

/// Fills `size` elements with the low bytes of `bits`.
///
/// # Safety
/// There must be room for them at `out`, and nobody else may use it meanwhile.
pub unsafe fn fill(out: *mut u8, dtype: DType, bits: u64, size: usize) {
    match dtype.size() {
        1 => fill_as(Shared(out), bits as u8, size),
        4 => fill_as(Shared(out.cast()), bits as u32, size),
        _ => fill_as(Shared(out.cast()), bits, size),
    }
}

fn fill_as<T: Copy + Sync>(out: Shared<T>, value: T, size: usize) {
    threads::run(size.div_ceil(BLOCK), &|task| {
        let start = task * BLOCK;
        // SAFETY: the caller's memory holds `size` elements; each task has a block of its own.
        unsafe { std::slice::from_raw_parts_mut(out.at(start as isize), BLOCK.min(size - start)) }.fill(value);
    });
}

/// The bits that stand for "no value": NaN, or 0 where there is none.
pub fn missing<T: Element>() -> T {
    T::from_f64(if T::DTYPE.is_float() { f64::NAN } else { 0.0 })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::execute::frame::RawBuffer;
    use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

    /// Memory of a frame, as 8-byte words for alignment.
    pub struct Memory {
        words: Vec<Vec<u64>>,
        raw: Vec<RawBuffer>,
        pub slots: Vec<u64>,
    }

    impl Memory {
        pub fn new() -> Self {
            Memory { words: vec![], raw: vec![], slots: vec![] }
        }

        /// A further buffer with these elements.
        pub fn add<T: Element>(&mut self, values: &[T]) -> u32 {
            let bytes = size_of_val(values);
            let mut words = vec![0u64; bytes.div_ceil(8)];
            // SAFETY: at least `bytes` bytes.
            unsafe { words.as_mut_ptr().cast::<T>().copy_from_nonoverlapping(values.as_ptr(), values.len()) };
            self.raw.push(RawBuffer { ptr: words.as_mut_ptr().cast(), bytes });
            self.words.push(words);
            self.raw.len() as u32 - 1
        }

        pub fn frame(&self) -> Frame<'_> {
            Frame { buffers: &self.raw, slots: &self.slots }
        }

        pub fn read<T: Element>(&self, buffer: u32) -> Vec<T> {
            let raw = self.raw[buffer as usize];
            // SAFETY: made by `add` from values of this type.
            unsafe { std::slice::from_raw_parts(raw.ptr.cast::<T>(), raw.bytes / size_of::<T>()) }.to_vec()
        }

        /// A place of this shape over a fresh buffer of random small integers, with strides of every kind.
        pub fn place<T: Element>(&mut self, rng: &mut StdRng, dims: &[usize]) -> Place {
            let mut order: Vec<usize> = (0..dims.len()).collect();
            for i in (1..order.len()).rev() {
                order.swap(i, rng.random_range(0..=i));
            }
            let (mut strides, mut step, mut low) = (vec![0isize; dims.len()], isize::from(rng.random_range(1i8..3)), 0);
            for &axis in &order {
                let len = dims[axis] as isize;
                strides[axis] = [step, step, step, -step, 0][rng.random_range(0..5)];
                low += strides[axis].min(0) * (len - 1).max(0);
                step = (step * len.max(1)) + isize::from(rng.random_range(0i8..2));
            }
            let values: Vec<T> = (0..step.max(1) + 8).map(|_| T::from_f64(f64::from(rng.random_range(-4i32..5)))).collect();
            Place { buffer: self.add(&values), dtype: T::DTYPE, offset: -low, dims: dims.into(), strides: strides.into() }
        }

        /// The elements of a place in row-major order, found one by one.
        pub fn elements<T: Element>(&self, place: &Place) -> Vec<T> {
            let all = self.read::<T>(place.buffer);
            indices(&place.dims)
                .iter()
                .map(|i| all[(place.offset + i.iter().zip(&place.strides).map(|(&i, s)| i as isize * s).sum::<isize>()) as usize])
                .collect()
        }
    }

    /// All indices of a shape in row-major order.
    pub fn indices(dims: &[usize]) -> Vec<Vec<usize>> {
        let mut all = vec![vec![]];
        for &len in dims {
            all = all.into_iter().flat_map(|i| (0..len).map(move |j| [i.clone(), vec![j]].concat())).collect();
        }
        all
    }

    /// Row-major position of an index.
    pub fn position(dims: &[usize], index: &[usize]) -> usize {
        dims.iter().zip(index).fold(0, |p, (&d, &i)| p * d + i)
    }

    pub fn random_dims(rng: &mut StdRng, rank: usize) -> Vec<usize> {
        (0..rank).map(|_| if rng.random_range(0..12) == 0 { 0 } else { rng.random_range(1..6) }).collect()
    }

    pub fn rng(seed: u64) -> StdRng {
        StdRng::seed_from_u64(seed)
    }

    #[test]
    fn rows_visit_every_element_in_order_from_any_start() {
        let mut rng = rng(1);
        for _ in 0..300 {
            let rank = rng.random_range(0..5);
            let dims = random_dims(&mut rng, rank);
            let mut memory = Memory::new();
            let place = memory.place::<f64>(&mut rng, &dims);
            let expected: Vec<isize> = indices(&dims)
                .iter()
                .map(|i| place.offset + i.iter().zip(&place.strides).map(|(&i, s)| i as isize * s).sum::<isize>())
                .collect();
            let rows = Rows::new(&dims, [(place.offset, &place.strides)]);
            assert_eq!(rows.size(), expected.len());
            let start = rng.next_u32() as usize % (expected.len() + 1);
            let mut seen = vec![];
            rows.each(start..expected.len(), |[at], n| seen.extend((0..n as isize).map(|i| at + i * rows.steps[0])));
            assert_eq!(seen, expected[start..], "{place:?} from {start}");
        }
    }

    #[test]
    fn dense_axes_become_one_run() {
        let dims = [4, 1, 5, 6];
        let strides = dense_strides(&dims);
        let rows = Rows::new(&dims, [(0, &strides), (3, &strides)]);
        assert_eq!((rows.len, rows.steps), (120, [1, 1]));
    }

    #[test]
    fn copies_equal_the_naive_ones() {
        let mut rng = rng(2);
        for round in 0..200 {
            let dims = if round == 0 { vec![3, 300, 250] } else { random_dims(&mut rng, round % 5) };
            copies::<f32>(&mut rng, &dims);
            copies::<i64>(&mut rng, &dims);
            copies::<bool>(&mut rng, &dims);
        }
    }

    fn copies<T: Element>(rng: &mut StdRng, dims: &[usize]) {
        let mut memory = Memory::new();
        let from = memory.place::<T>(rng, dims);
        let size = dims.iter().product();
        let out = memory.add(&vec![T::default(); size]);
        // SAFETY: a buffer of as many elements.
        unsafe { copy_dense(&memory.frame(), &from, memory.frame().buffer(out).ptr) };
        assert_eq!(memory.read::<T>(out), memory.elements::<T>(&from));
        // Back into a transposed place.
        let reversed: Vec<usize> = dims.iter().rev().copied().collect();
        let strides = dense_strides(&reversed).into_iter().rev().collect();
        let to = Place { buffer: memory.add(&vec![T::default(); size]), dtype: T::DTYPE, offset: 0, dims: dims.into(), strides };
        copy(&memory.frame(), &from, &to);
        assert_eq!(memory.elements::<T>(&to), memory.elements::<T>(&from));
    }
}
