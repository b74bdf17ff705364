//! How does a fused loop run? Block by block: every instruction is one vector loop over registers that fit the first cache.

use super::{
    fold::{Accumulators, FLUSH, State},
    nest::Nest,
    prepare::{By, FoldOp, Op, Prepared},
    scratch,
    space::{BLOCK, Filled, Index},
    stream,
};
use crate::execute::{
    frame::{Fault, Frame},
    threads,
};
use std::{ops::Range, sync::atomic::AtomicUsize};

/// Runs a prepared loop. Allocates nothing once a thread's scratch memory has grown to what the kernel needs.
///
/// Every place must lie in its buffer; buffers that are written overlap no others, but for the stores that say so.
pub fn run(kernel: &Prepared, frame: &Frame) -> Result<(), Fault> {
    if kernel.space.size == 0 {
        kernel.fold_nothing(frame);
        return Ok(());
    }
    let fault = AtomicUsize::new(usize::MAX);
    scratch::with_partials(kernel.partials * size_of::<State>(), |partials| {
        let partials = Partials(partials.cast());
        if kernel.tasks == 1 {
            kernel.task(0, 1, frame, partials, &fault);
        } else {
            threads::run(kernel.tasks, &|task| kernel.task(task, kernel.tasks, frame, partials, &fault));
        }
        kernel.combine(frame, partials);
    });
    match (fault.into_inner(), &kernel.rows) {
        (at, Some(rows)) if at != usize::MAX => Err(rows.fault(at, frame)),
        _ => Ok(()),
    }
}

/// Partial results: for each fold, each chunk and each result one state.
#[derive(Clone, Copy)]
struct Partials(*mut State);
// SAFETY: an address; every unit writes states of its own, and they are read when all tasks have ended.
unsafe impl Send for Partials {}
// SAFETY: as above.
unsafe impl Sync for Partials {}

impl Partials {
    fn at(self, i: usize) -> *mut State {
        self.0.wrapping_add(i)
    }
}

impl Prepared {
    /// Number of elements.
    pub(super) fn size(&self) -> usize {
        self.space.size
    }

    /// The length of the block that begins at element `at`.
    pub(super) fn next_block(&self, at: usize, end: usize) -> usize {
        self.space.block(at, end, self.step)
    }

    fn fold_nothing(&self, frame: &Frame) {
        for fold in &self.folds {
            for i in 0..self.nest.results() {
                // SAFETY: the destination has room for all results.
                unsafe { (fold.loops.finish)(&fold.loops.start, 1, self.result(fold, frame, i)) };
            }
        }
    }

    /// Where result `i` of a fold goes.
    fn result(&self, fold: &FoldOp, frame: &Frame, i: usize) -> *mut u8 {
        let buffer = frame.buffer(fold.to);
        debug_assert!((i + 1) * fold.size <= buffer.bytes, "result {i} of a fold into a buffer of {} bytes", buffer.bytes);
        buffer.ptr.wrapping_add(i * fold.size)
    }

    /// Merges the chunks' partial results, in order.
    fn combine(&self, frame: &Frame, partials: Partials) {
        if self.partials == 0 {
            return;
        }
        let (results, chunks) = (self.nest.results(), self.nest.chunks());
        for (f, fold) in self.folds.iter().enumerate() {
            for i in 0..results {
                let mut state = fold.loops.start;
                for chunk in 0..chunks {
                    let at = (f * chunks + chunk) * results + i;
                    debug_assert!(at < self.partials);
                    // SAFETY: every unit has written its states, and all tasks have ended.
                    (fold.loops.merge)(&mut state, unsafe { *partials.at(at) });
                }
                // SAFETY: the destination has room for all results.
                unsafe { (fold.loops.finish)(&state, 1, self.result(fold, frame, i)) };
            }
        }
    }

    fn task(&self, task: usize, tasks: usize, frame: &Frame, partials: Partials, fault: &AtomicUsize) {
        scratch::with_registers(self.scratch, |memory| {
            let units = self.nest.units(&self.space, self.step);
            let (first, end) = (units * task / tasks, units * (task + 1) / tasks);
            let mut worker = Worker::new(self, frame, memory, partials, fault);
            match self.nest {
                Nest::Flat => worker.flat(first * self.step, (end * self.step).min(self.space.size)),
                Nest::ShortRows { rows, length } => {
                    let together = BLOCK / length;
                    worker.short_rows(first * together, (end * together).min(rows), length);
                }
                Nest::LongRows { .. } => (first..end).for_each(|unit| worker.long_row(unit)),
                Nest::Columns { .. } => (first..end).for_each(|unit| worker.columns(unit)),
                Nest::Rows { .. } => (first..end).for_each(|unit| worker.rows(unit)),
            }
            if self.stores.iter().any(|s| s.by == By::Stream) {
                stream::finish();
            }
        });
    }
}

/// One task at work: the registers in its thread's scratch memory.
pub(super) struct Worker<'a> {
    pub kernel: &'a Prepared,
    pub frame: &'a Frame<'a>,
    memory: *mut u8,
    /// By slot.
    pub pointers: &'a mut [*mut u8],
    filled: &'a mut [Filled],
    partials: Partials,
    /// The first row with an index out of range, and which.
    pub fault: &'a AtomicUsize,
}

impl<'a> Worker<'a> {
    fn new(kernel: &'a Prepared, frame: &'a Frame<'a>, memory: *mut u8, partials: Partials, fault: &'a AtomicUsize) -> Self {
        let longest = BLOCK.min(kernel.space.size);
        // SAFETY: the layout has room for both tables, aligned; they are written here before they are read.
        let (pointers, filled) = unsafe {
            let pointers = memory.add(kernel.pointers).cast::<*mut u8>();
            for (i, place) in kernel.slots.iter().enumerate() {
                pointers.add(i).write(place.map_or(memory, |at| memory.add(at)));
            }
            let filled = memory.add(kernel.filled).cast::<Filled>();
            (0..kernel.loads.len()).for_each(|i| filled.add(i).write(Filled::NOTHING));
            (std::slice::from_raw_parts_mut(pointers, kernel.slots.len()), std::slice::from_raw_parts_mut(filled, kernel.loads.len()))
        };
        for (scalar, slot) in &kernel.scalars {
            // SAFETY: a register holds a block.
            unsafe { scalar.fill(frame, pointers[*slot], longest) };
        }
        for (operand, slot) in kernel.loads.iter().filter(|(o, _)| o.is_uniform()) {
            // SAFETY: as above; the place lies in its buffer.
            unsafe { operand.fill(frame, pointers[*slot], longest) };
        }
        let mut worker = Worker { kernel, frame, memory, pointers, filled, partials, fault };
        if let (Some(rows), Nest::Rows { length, .. }) = (&kernel.rows, kernel.nest) {
            worker.fill_rows(rows, length);
        }
        worker
    }

    /// Loads, computes and stores the block of `n` elements at `flat`.
    #[inline]
    fn block(&mut self, flat: usize, n: usize) {
        let k = self.kernel;
        debug_assert!(n <= BLOCK && flat + n <= k.space.size);
        let index = self.index(flat);
        self.load(0..k.loads.len(), flat, n, &index);
        self.aim(0..k.stores.len(), flat, &index);
        self.compute(0..k.code.len(), n);
        self.store(0..k.stores.len(), flat, n, &index);
    }

    /// The position of the block at `flat`, if any operand needs it.
    #[inline]
    pub fn index(&self, flat: usize) -> Index {
        if self.kernel.needs_index { self.kernel.space.index(flat) } else { Index::default() }
    }

    #[inline]
    pub fn load(&mut self, which: impl Iterator<Item = usize>, flat: usize, n: usize, index: &Index) {
        let k = self.kernel;
        for i in which {
            let ((operand, slot), filled) = (&k.loads[i], &mut self.filled[i]);
            if operand.is_pointer() {
                self.pointers[*slot] = operand.pointer(self.frame, flat, index);
            } else if !operand.is_uniform() {
                // SAFETY: the place lies in its buffer; the register is scratch memory with room for a block.
                unsafe { operand.load(&k.space, self.frame, flat..flat + n, index, self.pointers[*slot], filled) };
            }
        }
    }

    /// Lets the instructions that write to memory at once do so.
    #[inline]
    pub fn aim(&mut self, which: impl Iterator<Item = usize>, flat: usize, index: &Index) {
        for store in which.map(|i| &self.kernel.stores[i]).filter(|s| s.by == By::Instruction) {
            self.pointers[store.slot] = store.to.pointer(self.frame, flat, index);
        }
    }

    #[inline]
    pub fn compute(&mut self, code: Range<usize>, n: usize) {
        for op in &self.kernel.code[code] {
            self.instruction(op, n);
        }
    }

    #[inline]
    pub fn instruction(&mut self, op: &Op, n: usize) {
        let args = op.args.map(|slot| self.pointers[slot].cast_const());
        // SAFETY: registers hold a block, and no instruction writes over an argument that its loop is not made for; memory that is
        // written at once is read later through this very pointer alone.
        unsafe { (op.run)(args, self.pointers[op.out], n) };
    }

    #[inline]
    pub fn store(&mut self, which: impl Iterator<Item = usize>, flat: usize, n: usize, index: &Index) {
        for store in which.map(|i| &self.kernel.stores[i]).filter(|s| s.by != By::Instruction) {
            let from = self.pointers[store.slot];
            // SAFETY: the place lies in its buffer; where a pointer was loaded from the same memory, it is the same block.
            unsafe {
                if store.by == By::Stream {
                    stream::copy(from, store.to.pointer(self.frame, flat, index), n * store.to.size);
                } else if store.to.is_pointer() {
                    from.copy_to(store.to.pointer(self.frame, flat, index), n * store.to.size);
                } else {
                    store.to.store(&self.kernel.space, self.frame, index, n, from);
                }
            }
        }
    }

    /// Where the scratch memory of a slot begins.
    pub fn home(&self, slot: usize) -> *mut u8 {
        self.memory.wrapping_add(self.kernel.slots[slot].expect("a slot with memory of its own"))
    }

    /// A state in the scratch memory.
    pub fn state(&self, at: usize) -> *mut State {
        self.memory.wrapping_add(at).cast()
    }

    fn flat(&mut self, mut at: usize, end: usize) {
        while at < end {
            let n = self.kernel.space.block(at, end, self.kernel.step);
            self.block(at, n);
            at += n;
        }
    }

    fn short_rows(&mut self, first: usize, end: usize, length: usize) {
        let (mut at, end) = (first * length, end * length);
        while at < end {
            let n = self.kernel.space.block(at, end, self.kernel.step);
            debug_assert_eq!(n % length, 0);
            self.block(at, n);
            for fold in &self.kernel.folds {
                let out = self.kernel.result(fold, self.frame, at / length);
                // SAFETY: the block holds whole rows, and the destination has room for all results.
                unsafe { (fold.loops.rows)(self.pointers[fold.slot], n / length, length, out) };
            }
            at += n;
        }
    }

    fn long_row(&mut self, unit: usize) {
        let Nest::LongRows { rows, length, chunk, chunks } = self.kernel.nest else { return };
        let (row, number) = (unit / chunks, unit % chunks);
        let (first, end) = (number * chunk, ((number + 1) * chunk).min(length));
        self.start_states();
        let mut at = row * length + first;
        while at < row * length + end {
            let n = self.kernel.space.block(at, row * length + end, self.kernel.step);
            self.block(at, n);
            for fold in &self.kernel.folds {
                // SAFETY: the register holds the block, and the layout has room for a state.
                unsafe { (fold.loops.row)(self.pointers[fold.slot], n, (at - row * length) as i64, self.states(fold)) };
            }
            at += n;
        }
        self.deliver(row, 1, number, chunks, rows);
    }

    fn start_states(&mut self) {
        for fold in &self.kernel.folds {
            // SAFETY: the layout has room for a state.
            unsafe { self.states(fold).write(fold.loops.start) };
        }
    }

    pub fn states(&self, fold: &FoldOp) -> *mut State {
        self.state(fold.states)
    }

    /// Hands over `n` states of each fold, of chunk `number`, for the results from `at` on: as results if it is the only chunk, else as
    /// partial ones.
    pub fn deliver(&self, at: usize, n: usize, number: usize, chunks: usize, results: usize) {
        for (f, fold) in self.kernel.folds.iter().enumerate() {
            let states = self.states(fold);
            // SAFETY: the states have been written; the destination has room for all results, each of which belongs to one
            // unit, and so has the table of partial results.
            unsafe {
                if chunks == 1 {
                    (fold.loops.finish)(states, n, self.kernel.result(fold, self.frame, at));
                } else {
                    let to = (f * chunks + number) * results + at;
                    debug_assert!(to + n <= self.kernel.partials);
                    states.copy_to_nonoverlapping(self.partials.at(to), n);
                }
            }
        }
    }

    fn columns(&mut self, unit: usize) {
        let k = self.kernel;
        let Nest::Columns { outer, length, columns, blocks, chunk, chunks } = k.nest else { return };
        let (number, block, o) = (unit % chunks, unit / chunks % blocks, unit / chunks / blocks);
        let (first, end) = (number * chunk, ((number + 1) * chunk).min(length));
        let start = k.space.nth_block(block, k.step);
        let wide = columns > BLOCK;
        let n = if wide { k.space.block(start, columns, k.step) } else { k.step };
        for fold in &k.folds {
            // SAFETY: the layout has room for a block of accumulators.
            unsafe { (fold.loops.reset)(self.accumulators(fold), n) };
        }
        if wide {
            for row in first..end {
                self.block((o * length + row) * columns + start, n);
                self.add_block([n, n, n], row, row + 1 - first, row + 1 == end);
            }
        } else {
            let base = o * length;
            let (mut at, stop) = ((base + first) * columns, (base + end) * columns);
            let mut calls = 0;
            while at < stop {
                let n = k.space.block(at, stop, k.step);
                self.block(at, n);
                (at, calls) = (at + n, calls + 1);
                self.add_block([n, columns, k.step], (at - n) / columns - base, calls, at == stop);
            }
        }
        let width = if wide { n } else { columns };
        for fold in &k.folds {
            // SAFETY: the accumulators hold `n` columns side by side, the layout has room for as many states.
            unsafe { (fold.loops.collect)(self.accumulators(fold), n, width, self.states(fold)) };
        }
        self.deliver(o * columns + start, width, number, chunks, outer * columns);
    }

    /// Folds a block of `n` elements into the `held` accumulators of its columns; `calls` counts blocks from 1.
    fn add_block(&mut self, [n, columns, held]: [usize; 3], row: usize, calls: usize, last: bool) {
        for fold in &self.kernel.folds {
            let into = self.accumulators(fold);
            // SAFETY: the register holds the block; accumulators have room for a block.
            unsafe {
                (fold.loops.column)(self.pointers[fold.slot], n, columns, row as i64, into);
                if last || calls.is_multiple_of(FLUSH) {
                    (fold.loops.flush)(into, held);
                }
            }
        }
    }

    pub fn accumulators(&self, fold: &FoldOp) -> Accumulators {
        let [narrow, wide, index] = fold.accumulators.map(|at| self.memory.wrapping_add(at));
        Accumulators { narrow, wide, index: index.cast() }
    }
}
