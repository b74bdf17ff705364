//! Where do the elements of a fused loop's operands lie, and how does a block of them come into a register and out again?

use super::{
    gemm::Matrix,
    isa::{self, BlockFn, BlockLoop, Isa},
    strided::Shared,
    transpose::gather,
};
use crate::{
    DType, Element, MAX_RANK,
    execute::frame::{Frame, RawBuffer},
    plan::kernel::{BufferId, Dims, Place, ScalarSource, Strides},
};
use smallvec::SmallVec;
use std::{marker::PhantomData, ops::Range};

/// The most elements in a block: a few registers of it fit the first cache.
pub const BLOCK: usize = 512;

/// Tiles for transposed operands: at most so many rows and columns, a block together.
const TILE: [usize; 2] = [32, 16];
/// From so many elements on tiles pay.
const TILED: usize = 1 << 15;

/// An iteration space with as few axes as its operands allow.
pub struct Space {
    /// Lengths, none of them 1.
    dims: Dims,
    /// Number of elements.
    pub size: usize,
    /// Length of the last axis.
    pub last: usize,
}

/// How a block of an operand is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Access {
    /// One element for all.
    Uniform,
    /// In the order of the space: a pointer.
    Dense,
    /// Dense along the last axis, and a block stays within it: a pointer.
    Row,
    /// One element along the last axis, and a block stays within it.
    RowFill,
    /// A pointer would do, but the memory is overwritten too early.
    Copied,
    /// Any strides; what is read repeats every so many elements.
    Strided { period: usize },
}

/// An operand of a fused loop.
pub struct Operand {
    buffer: BufferId,
    /// Bytes of one element.
    pub size: usize,
    offset: isize,
    strides: Strides,
    access: Access,
    /// Writes one of its elements many times.
    repeat: BlockFn,
}

/// What a register was last filled with.
#[derive(Clone, Copy, PartialEq)]
pub struct Filled {
    from: isize,
    n: usize,
}

/// A position in a space.
pub type Index = [usize; MAX_RANK];

impl Space {
    /// The space `dims` with its operands. Neighbouring axes become one if all operands allow; none merges across the places
    /// in `borders`. If `any_order`, the elements may be visited in another order than row-major.
    ///
    /// # Panics
    /// When a place has another rank than the space.
    pub fn new(dims: &[usize], borders: [usize; 2], any_order: bool, places: &[&Place], isa: Isa) -> (Space, Vec<Operand>) {
        let mut kept: SmallVec<[usize; 8]> = SmallVec::new(); // the last of the axes that became this one
        let mut space = Space { dims: Dims::new(), size: dims.iter().product(), last: 1 };
        for axis in (0..dims.len()).filter(|&a| dims[a] != 1) {
            let joins = kept.last().is_some_and(|&before| {
                !borders.iter().any(|&b| before < b && b <= axis)
                    && places.iter().all(|p| p.strides[before] == p.strides[axis] * dims[axis] as isize)
            });
            match (joins, kept.last_mut(), space.dims.last_mut()) {
                (true, Some(k), Some(d)) => (*k, *d) = (axis, *d * dims[axis]),
                _ => {
                    kept.push(axis);
                    space.dims.push(dims[axis]);
                }
            }
        }
        let mut strides: Vec<Strides> = places.iter().map(|p| kept.iter().map(|&a| p.strides[a]).collect()).collect();
        if any_order {
            space.tile(&mut strides);
        }
        space.last = space.dims.last().copied().unwrap_or(1);
        let operands = places.iter().zip(strides).map(|(p, strides)| {
            assert!(p.dims[..] == *dims && p.strides.len() == dims.len(), "an operand has dims {:?} in a loop over {dims:?}", p.dims);
            let access = space.access(&strides);
            Operand { buffer: p.buffer, size: p.dtype.size(), offset: p.offset, strides, access, repeat: repeat(isa, p.dtype.size()) }
        });
        let operands = operands.collect();
        (space, operands)
    }

    /// Cuts the last axis and one that is dense in some operand into tiles, so that a transposed operand's cache lines are
    /// used up while they are there.
    fn tile(&mut self, strides: &mut [Strides]) {
        let Some(last) = self.dims.len().checked_sub(1) else { return };
        let transposed = |axis: usize| strides.iter().any(|s| s[last].unsigned_abs() >= TILE[1] && s[axis].unsigned_abs() == 1);
        let Some(axis) = (0..last).find(|&axis| transposed(axis)) else { return };
        let cut = |d: usize, most: usize| (1..=most).rev().find(|t| d.is_multiple_of(*t)).unwrap_or(1);
        let (rows, columns) = (cut(self.dims[axis], TILE[0]), cut(self.dims[last], TILE[1]));
        if self.size < TILED || rows < 4 || columns < 4 || self.dims.len() + 2 > MAX_RANK {
            return;
        }
        self.dims[axis] /= rows;
        self.dims[last] /= columns;
        self.dims.extend([rows, columns]);
        for s in strides {
            let steps = [s[axis], s[last]];
            s[axis] *= rows as isize;
            s[last] *= columns as isize;
            s.extend(steps);
        }
    }

    fn access(&self, strides: &[isize]) -> Access {
        let mut step = 1;
        let dense = self.dims.iter().zip(strides).rev().all(|(&d, &s)| {
            let fits = s == step;
            step *= d as isize;
            fits
        });
        match strides.last() {
            _ if strides.iter().all(|&s| s == 0) && !self.dims.is_empty() => Access::Uniform,
            _ if dense => Access::Dense,
            Some(1) if self.last > BLOCK => Access::Row,
            Some(0) if self.last > BLOCK => Access::RowFill,
            _ => {
                let still = strides.iter().take_while(|&&s| s == 0).count();
                Access::Strided { period: self.dims[still..].iter().product() }
            }
        }
    }

    /// The length of blocks within rows of `row` elements.
    pub fn step(&self, row: usize) -> usize {
        if self.last > BLOCK {
            self.last.div_ceil(self.last.div_ceil(BLOCK)).next_multiple_of(16)
        } else if row <= BLOCK {
            BLOCK / row.max(1) * row.max(1)
        } else {
            BLOCK / self.last * self.last
        }
    }

    /// The length of the block that begins at element `start`: within one row of the last axis where that is long.
    #[inline]
    pub fn block(&self, start: usize, end: usize, step: usize) -> usize {
        let whole = if self.last > BLOCK { step.min(self.last - start % self.last) } else { step };
        whole.min(end - start)
    }

    /// How many blocks `n` elements are cut into, whole rows of the last axis.
    pub fn blocks(&self, n: usize, step: usize) -> usize {
        if self.last > BLOCK { n / self.last * self.last.div_ceil(step) } else { n.div_ceil(step) }
    }

    /// Where block number `i` of these begins.
    pub fn nth_block(&self, i: usize, step: usize) -> usize {
        let in_row = self.last.div_ceil(step);
        if self.last > BLOCK { i / in_row * self.last + i % in_row * step } else { i * step }
    }

    /// The position of element `flat`.
    pub fn index(&self, mut flat: usize) -> Index {
        let mut index = [0; MAX_RANK];
        for axis in (1..self.dims.len()).rev() {
            index[axis] = flat % self.dims[axis];
            flat /= self.dims[axis];
        }
        index[0] = flat;
        index
    }
}

impl Operand {
    /// Makes blocks of it copies, even where a pointer would do.
    pub fn copy(&mut self) {
        if self.is_pointer() {
            self.access = Access::Copied;
        }
    }

    /// Whether blocks of it are dense in memory, so that a pointer will do.
    pub fn is_pointer(&self) -> bool {
        matches!(self.access, Access::Dense | Access::Row)
    }

    /// Whether one element stands for all.
    pub fn is_uniform(&self) -> bool {
        self.access == Access::Uniform
    }

    /// Whether [`Operand::pointer`], [`Operand::load`] and [`Operand::store`] need the block's position.
    pub fn needs_index(&self) -> bool {
        !matches!(self.access, Access::Dense | Access::Uniform)
    }

    /// Whether reading it costs more than a pointer.
    pub fn is_strided(&self) -> bool {
        matches!(self.access, Access::Strided { .. })
    }

    fn memory(&self, frame: &Frame) -> RawBuffer {
        frame.buffer(self.buffer)
    }

    fn element(&self, frame: &Frame, at: isize) -> *mut u8 {
        let buffer = self.memory(frame);
        debug_assert!(at >= 0 && (at as usize + 1) * self.size <= buffer.bytes, "element {at} of a buffer of {} bytes", buffer.bytes);
        buffer.ptr.wrapping_offset(at * self.size as isize)
    }

    fn start(&self, index: &Index) -> isize {
        self.strides.iter().zip(index).fold(self.offset, |at, (&s, &i)| at + s * i as isize)
    }

    /// The memory of the block at `flat`, for operands that are a pointer.
    #[inline]
    pub fn pointer(&self, frame: &Frame, flat: usize, index: &Index) -> *mut u8 {
        match self.access {
            Access::Dense => self.element(frame, self.offset + flat as isize),
            _ => self.element(frame, self.start(index)),
        }
    }

    /// Copies a block, which begins at `index`, into a register, unless it holds them already.
    ///
    /// # Safety
    /// The operand's elements must lie in its buffer, `into` must have room for the block and lie elsewhere.
    pub unsafe fn load(&self, space: &Space, frame: &Frame, block: Range<usize>, index: &Index, into: *mut u8, filled: &mut Filled) {
        let n = block.len();
        let from = match self.access {
            Access::Strided { period } => (block.start % period) as isize,
            _ => self.start(index),
        };
        if filled.from == from && n <= filled.n {
            return;
        }
        *filled = Filled { from, n };
        // SAFETY: passed on.
        unsafe {
            match self.size {
                4 if self.is_turned(space, n, index) => self.load_turned::<f32>(space, frame, index, into),
                8 if self.is_turned(space, n, index) => self.load_turned::<f64>(space, frame, index, into),
                1 => self.load_as::<u8>(space, frame, index, n, into),
                4 => self.load_as::<u32>(space, frame, index, n, into),
                _ => self.load_as::<u64>(space, frame, index, n, into),
            }
        }
    }

    /// Whether the block is a whole tile over the last two axes, of which not the last is dense here.
    fn is_turned(&self, space: &Space, n: usize, index: &Index) -> bool {
        let Some(row) = space.dims.len().checked_sub(2) else { return false };
        self.strides[row] == 1 && self.strides[row + 1] > 1 && n == space.dims[row] * space.last && index[row..row + 2] == [0, 0]
    }

    /// Loads such a tile; `T` only tells the size of an element.
    unsafe fn load_turned<T: Element>(&self, space: &Space, frame: &Frame, index: &Index, into: *mut u8) {
        let (row, at) = (space.dims.len() - 2, self.start(index));
        let dims = [space.dims[row], space.last];
        self.check::<T>(frame, at, self.strides[row + 1], dims[1]);
        let data = Shared::new(self.memory(frame).ptr.cast::<T>().wrapping_offset(at));
        // SAFETY: all elements of the tile are in the buffer, and the register has room for them.
        unsafe { gather(Matrix { data, row: 1, col: self.strides[row + 1] }, dims, into.cast(), dims[1]) };
    }

    unsafe fn load_as<T: Copy>(&self, space: &Space, frame: &Frame, index: &Index, n: usize, into: *mut u8) {
        let (memory, mut into) = (self.memory(frame).ptr.cast::<T>(), into.cast::<T>());
        let step = self.strides.last().copied().unwrap_or(0);
        self.runs(space, *index, n, |at, run| {
            self.check::<T>(frame, at, step, run);
            // SAFETY: all elements of the run are in the buffer, and the register has room for the block's elements.
            unsafe {
                let from = memory.offset(at);
                match step {
                    1 => from.copy_to_nonoverlapping(into, run),
                    0 => (self.repeat)([from.cast(); 3], into.cast(), run),
                    _ => (0..run).for_each(|i| into.add(i).write(*from.offset(i as isize * step))),
                }
                into = into.add(run);
            }
        });
    }

    /// Copies a register to the block of `n` elements at `index`.
    ///
    /// # Safety
    /// The operand's elements must lie in its buffer, `from` must hold `n` and lie elsewhere.
    pub unsafe fn store(&self, space: &Space, frame: &Frame, index: &Index, n: usize, from: *const u8) {
        // SAFETY: passed on.
        unsafe {
            match self.size {
                1 => self.store_as::<u8>(space, frame, index, n, from),
                4 => self.store_as::<u32>(space, frame, index, n, from),
                _ => self.store_as::<u64>(space, frame, index, n, from),
            }
        }
    }

    unsafe fn store_as<T: Copy>(&self, space: &Space, frame: &Frame, index: &Index, n: usize, from: *const u8) {
        let (memory, mut from) = (self.memory(frame).ptr.cast::<T>(), from.cast::<T>());
        let step = self.strides.last().copied().unwrap_or(0);
        self.runs(space, *index, n, |at, run| {
            self.check::<T>(frame, at, step, run);
            // SAFETY: all elements of the run are in the buffer, and the register holds the block's elements.
            unsafe {
                let to = memory.offset(at);
                match step {
                    1 => from.copy_to_nonoverlapping(to, run),
                    _ => (0..run).for_each(|i| to.offset(i as isize * step).write(*from.add(i))),
                }
                from = from.add(run);
            }
        });
    }

    fn check<T>(&self, frame: &Frame, at: isize, step: isize, run: usize) {
        debug_assert_eq!(size_of::<T>(), self.size);
        if cfg!(debug_assertions) {
            self.element(frame, at);
            self.element(frame, at + step * (run as isize - 1));
        }
    }

    /// Calls `visit(first element, length)` for the stretches along the last axis that make up `n` elements from `index` on.
    #[inline]
    fn runs(&self, space: &Space, mut index: Index, n: usize, mut visit: impl FnMut(isize, usize)) {
        let Some(last) = space.dims.len().checked_sub(1) else { return visit(self.offset, n) };
        let mut at = self.start(&index);
        let mut left = n;
        loop {
            let run = left.min(space.dims[last] - index[last]);
            visit(at, run);
            left -= run;
            if left == 0 {
                return;
            }
            at -= self.strides[last] * index[last] as isize;
            index[last] = 0;
            let mut axis = last;
            loop {
                axis -= 1; // elements are left, so that an axis further out has room
                index[axis] += 1;
                at += self.strides[axis];
                if index[axis] < space.dims[axis] {
                    break;
                }
                at -= self.strides[axis] * space.dims[axis] as isize;
                index[axis] = 0;
            }
        }
    }

    /// The bits of element number `flat`.
    ///
    /// # Safety
    /// It must lie in its buffer.
    pub unsafe fn element_bits(&self, space: &Space, frame: &Frame, flat: usize) -> u64 {
        let (mut bits, from) = (0u64, self.element(frame, self.start(&space.index(flat))));
        // SAFETY: the element lies in the buffer; it is no larger than the word.
        unsafe { from.copy_to_nonoverlapping((&raw mut bits).cast(), self.size) };
        bits
    }

    /// Writes the single element of a uniform operand `n` times.
    ///
    /// # Safety
    /// It must lie in its buffer, and `into` must have room.
    pub unsafe fn fill(&self, frame: &Frame, into: *mut u8, n: usize) {
        // SAFETY: as for the caller.
        unsafe { (self.repeat)([self.element(frame, self.offset).cast_const(); 3], into, n) };
    }
}

impl Filled {
    /// What no block is.
    pub const NOTHING: Filled = Filled { from: -1, n: 0 };
}

/// Writes its only argument's first element `n` times.
struct Repeat<T>(PhantomData<T>);

impl<T: Copy> BlockLoop for Repeat<T> {
    #[inline(always)]
    unsafe fn run<const FMA: bool>(args: [*const u8; 3], out: *mut u8, n: usize) {
        // SAFETY: the caller promises an element, and room for `n`.
        unsafe { std::slice::from_raw_parts_mut(out.cast::<T>(), n).fill(*args[0].cast()) };
    }
}

/// The loop that writes an element of `size` bytes many times.
pub fn repeat(isa: Isa, size: usize) -> BlockFn {
    match size {
        1 => isa::instance::<Repeat<u8>>(isa),
        4 => isa::instance::<Repeat<u32>>(isa),
        _ => isa::instance::<Repeat<u64>>(isa),
    }
}

/// A scalar that fills a register.
pub struct Constant {
    from: ScalarSource,
    repeat: BlockFn,
}

impl Constant {
    /// For elements of a dtype.
    pub fn new(from: ScalarSource, dtype: DType, isa: Isa) -> Self {
        Constant { from, repeat: repeat(isa, dtype.size()) }
    }

    /// Writes it `n` times.
    ///
    /// # Safety
    /// `into` must have room.
    pub unsafe fn fill(&self, frame: &Frame, into: *mut u8, n: usize) {
        let bits = frame.scalar(self.from).to_le();
        // SAFETY: as for the caller; the low bytes of the bits are an element.
        unsafe { (self.repeat)([(&raw const bits).cast(); 3], into, n) };
    }
}
