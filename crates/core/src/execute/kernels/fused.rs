//! How does a fused loop run? Block by block: every instruction is one vector loop over registers that fit the first cache.
//!
//! [`Prepared`] fixes all that depends on the kernel alone: loops, registers, blocks and tasks. Blocks and tasks depend on
//! shapes only, so that results are the same bits on any number of threads.

use super::{
    fold::{self, Accumulators, FLUSH, FoldLoops, State},
    isa::{BlockFn, Forms, Isa},
    nest::{Nest, tasks},
    pointwise, rows,
    scratch::{self, Layout},
    space::{self, BLOCK, Filled, Index, Operand, Space},
};
use crate::{
    execute::{
        frame::{Fault, Frame},
        threads,
    },
    plan::kernel::{BufferId, FoldStore, Fused, Inst, Load, Reg, ScalarSource},
};
use rustc_hash::FxHashMap;
use std::{ops::Range, sync::atomic::AtomicUsize};

/// A fused loop made ready to run.
pub struct Prepared {
    space: Space,
    /// Length of a block.
    step: usize,
    /// Registers of all kinds: where in the scratch memory each begins, if it is there.
    slots: Vec<Option<usize>>,
    loads: Vec<(Operand, usize)>,
    scalars: Vec<(ScalarSource, usize, usize)>, // value, bytes of an element, slot
    code: Vec<Op>,
    pub(super) stores: Vec<StoreOp>,
    pub(super) folds: Vec<FoldOp>,
    needs_index: bool,
    pub(super) nest: Nest,
    pub(super) rows: Option<rows::Prepared>,
    /// Number of tasks.
    pub(super) tasks: usize,
    pointers: usize, // where in the scratch memory the table of pointers begins
    filled: usize,   // and what the loads' registers were filled with
    scratch: usize,
    partials: usize,
}

pub(super) struct Op {
    pub run: BlockFn,
    pub args: [usize; 3],
    pub out: usize,
}

pub(super) struct StoreOp {
    pub to: Operand,
    pub slot: usize,
    /// The instruction that computes it writes to memory at once.
    pub direct: bool,
}

pub(super) struct FoldOp {
    pub loops: FoldLoops,
    pub slot: usize,
    to: BufferId,
    /// Bytes of a result.
    size: usize,
    /// Where in the scratch memory its accumulators begin, for columns: narrow, wide, positions.
    accumulators: [usize; 3],
    /// And its states: one for each column, or one.
    states: usize,
}

/// Makes a fused loop ready for this machine.
///
/// # Panics
/// When an instruction or a fold does not exist for its dtype, or the kernel contradicts itself.
pub fn prepare(kernel: &Fused) -> Prepared {
    prepare_for(kernel, Isa::current())
}

/// The registers of a kernel as it is being prepared: each value gets a slot, so that a register may be reused.
pub(super) struct Slots {
    places: Vec<Option<usize>>,
    held: Vec<Option<usize>>, // by register: the slot of the value it holds
    pub layout: Layout,
    computed: FxHashMap<(Reg, usize), usize>, // slots of computed values by register and element size
    longest: usize,                           // elements of the longest block
    row: usize,                               // elements of a row that is passed over several times
    whole: Vec<Reg>,                          // registers that hold such a row
    pub lasting: Vec<(usize, usize)>,         // their slots and the bytes of an element, where a row is longer than a block
}

impl Slots {
    fn new(kernel: &Fused, longest: usize) -> Slots {
        let (row, whole) = match &kernel.rows {
            Some(rows) => (kernel.dims[kernel.outer..].iter().product(), rows.whole.clone()),
            None => (0, Vec::new()),
        };
        Slots {
            places: Vec::new(),
            held: vec![None; usize::from(kernel.registers)],
            layout: Layout::default(),
            computed: FxHashMap::default(),
            longest,
            row,
            whole,
            lasting: Vec::new(),
        }
    }

    pub fn add(&mut self, bytes: Option<usize>) -> usize {
        let place = bytes.map(|b| self.layout.reserve(b));
        self.places.push(place);
        self.places.len() - 1
    }

    /// Room for a block in a register that holds it to the end.
    pub fn pin(&mut self, reg: Reg, size: usize) -> usize {
        let slot = self.add(Some(self.longest * size));
        self.held[usize::from(reg)] = Some(slot);
        slot
    }

    pub fn of(&self, reg: Reg) -> usize {
        match self.held[usize::from(reg)] {
            Some(slot) => slot,
            None => panic!("a fused kernel reads register {reg}, which holds nothing yet"),
        }
    }

    /// Room for a computed value; the same for later values of that size in the same register.
    fn computed(&mut self, reg: Reg, size: usize) -> usize {
        if let Some(&slot) = self.computed.get(&(reg, size)) {
            return slot;
        }
        let lasts = self.row > BLOCK && self.whole.contains(&reg);
        let slot = self.add(Some(size * if lasts { self.row } else { self.longest }));
        if lasts {
            self.lasting.push((slot, size));
        }
        self.computed.insert((reg, size), slot);
        slot
    }
}

pub(super) fn prepare_for(kernel: &Fused, isa: Isa) -> Prepared {
    let (outer, inner) = (kernel.outer, kernel.dims.len() - kernel.inner);
    let places: Vec<_> = kernel.loads.iter().map(|l| &l.from).chain(kernel.stores.iter().map(|s| &s.to)).collect();
    let (space, mut operands) = Space::new(&kernel.dims, [outer, inner], kernel.folds.is_empty(), &places);
    let targets = operands.split_off(kernel.loads.len());
    let longest = BLOCK.min(space.size);
    let mut slots = Slots::new(kernel, longest);
    let mut loads = Vec::new();
    for (load, operand) in kernel.loads.iter().zip(operands) {
        let mut operand = operand;
        if is_overwritten(kernel, load) {
            operand.copy();
        }
        let slot = slots.add((!operand.is_pointer()).then_some(longest * operand.size));
        slots.held[usize::from(load.reg)] = Some(slot);
        loads.push((operand, slot));
    }
    let mut scalars = Vec::new();
    for scalar in &kernel.scalars {
        let size = scalar.dtype.size();
        let slot = slots.add(Some(longest * size));
        slots.held[usize::from(scalar.reg)] = Some(slot);
        scalars.push((scalar.from, size, slot));
    }
    let mut rows = rows::prepare(kernel, isa, &mut slots);
    let mut compiler = Compiler {
        kernel,
        isa,
        direct: direct_stores(kernel, &targets),
        outlives: outlives_next(kernel),
        direct_slots: vec![None; targets.len()],
        code: Vec::with_capacity(kernel.code.len()),
    };
    match (&mut rows, &kernel.rows) {
        (Some(rows), Some(from)) => {
            for (pass, from) in rows.passes.iter_mut().zip(&from.passes) {
                pass.code = compiler.compile(from.code.clone(), &mut slots);
            }
            rows.bind(kernel, &slots);
        }
        _ => {
            compiler.compile(0..kernel.code.len(), &mut slots);
        }
    }
    let Compiler { code, direct_slots, .. } = compiler;
    let stores: Vec<_> = targets
        .into_iter()
        .zip(&kernel.stores)
        .zip(&direct_slots)
        .map(|((to, store), direct)| StoreOp { to, slot: direct.unwrap_or_else(|| slots.of(store.reg)), direct: direct.is_some() })
        .collect();
    let extent = |dims: &[usize]| dims.iter().product::<usize>();
    let counts = [extent(&kernel.dims[..outer]), extent(&kernel.dims[outer..inner]), extent(&kernel.dims[inner..])];
    let row = if kernel.folds.is_empty() {
        space.last
    } else if counts[2] == 1 {
        counts[1]
    } else {
        counts[2]
    };
    let step = space.step(row);
    let nest = match &rows {
        Some(_) => rows::nest(counts[0], counts[1], kernel.folds.len()),
        None if kernel.folds.is_empty() => Nest::Flat,
        None => Nest::of(counts, &space, step),
    };
    let room = match nest {
        Nest::Rows { length, .. } => rows::room(&space, step, length),
        Nest::Columns { .. } => (BLOCK * 8, BLOCK * size_of::<State>()),
        _ => (0, size_of::<State>()),
    };
    let folds: Vec<_> = kernel.folds.iter().map(|f| fold_op(f, isa, room, &mut slots)).collect();
    let needs_index = loads.iter().any(|(o, _)| o.needs_index()) || stores.iter().any(|s| s.to.needs_index());
    let weight = weight(kernel, &loads, &stores);
    let (pointers, filled) =
        (slots.layout.reserve(slots.places.len() * size_of::<*mut u8>()), slots.layout.reserve(loads.len() * size_of::<Filled>()));
    let units = nest.units(&space, step);
    Prepared {
        step,
        needs_index,
        tasks: tasks(space.size.saturating_mul(weight), units),
        partials: if nest.chunks() > 1 { folds.len() * nest.results() * nest.chunks() } else { 0 },
        scratch: slots.layout.bytes(),
        slots: slots.places,
        space,
        loads,
        scalars,
        code,
        stores,
        folds,
        nest,
        rows,
        pointers,
        filled,
    }
}

/// Whether what is loaded is stored or folded as it is while another store may overwrite it. Places are compared and not buffers:
/// a result that takes over the memory of an input has a number of its own.
fn is_overwritten(kernel: &Fused, load: &Load) -> bool {
    kernel.stores.iter().any(|s| s.in_place && s.to.offset == load.from.offset && s.to.strides == load.from.strides)
        && (kernel.stores.iter().any(|s| s.reg == load.reg) || kernel.folds.iter().any(|f| f.reg == load.reg))
}

/// The instructions that may write to a store's memory at once, and that store.
fn direct_stores(kernel: &Fused, targets: &[Operand]) -> FxHashMap<usize, usize> {
    let writer: FxHashMap<Reg, usize> = kernel.code.iter().enumerate().map(|(at, inst)| (inst.out, at)).collect();
    let mut direct = FxHashMap::default();
    for (number, (store, to)) in kernel.stores.iter().zip(targets).enumerate() {
        if let Some(&at) = writer.get(&store.reg).filter(|_| !store.in_place && to.is_pointer()) {
            direct.entry(at).or_insert(number);
        }
    }
    direct
}

/// By instruction, whether its result is read after the next instruction.
pub(super) fn outlives_next(kernel: &Fused) -> Vec<bool> {
    let mut live = vec![false; usize::from(kernel.registers)];
    let row_folds = kernel.rows.iter().flat_map(|r| &r.passes).flat_map(|p| &p.folds).map(|f| f.reg);
    let ends = kernel.stores.iter().map(|s| s.reg).chain(kernel.folds.iter().map(|f| f.reg)).chain(row_folds);
    ends.for_each(|reg| live[usize::from(reg)] = true);
    let mut outlives = vec![true; kernel.code.len()];
    for at in (0..kernel.code.len()).rev() {
        let inst = &kernel.code[at];
        // Here `live` holds what is read after instruction `at`.
        if let Some(before) = at.checked_sub(1) {
            outlives[before] = live[usize::from(kernel.code[before].out)];
        }
        live[usize::from(inst.out)] = false;
        inst.args[..inst.instr.arity()].iter().for_each(|&reg| live[usize::from(reg)] = true);
    }
    outlives
}

/// One loop for instruction `at` and the next, with its arguments, where the next alone wants the result.
pub(super) fn joined(kernel: &Fused, at: usize, isa: Isa) -> Option<(Forms, [Reg; 3])> {
    let (first, second) = (&kernel.code[at], kernel.code.get(at + 1)?);
    if first.of != second.of || first.instr.arity() != 2 || second.instr.arity() != 2 {
        return None;
    }
    let (flipped, other) = match second.args {
        [x, y, _] if x == first.out && y != first.out => (false, y),
        [x, y, _] if y == first.out && x != first.out => (true, x),
        _ => return None,
    };
    let args = [first.args[0], first.args[1], other];
    if args.contains(&second.out) {
        return None; // it would write over an argument
    }
    Some((pointwise::pair(isa, [first.instr, second.instr], flipped, first.of)?, args))
}

/// The code of a kernel on its way to loops.
struct Compiler<'a> {
    kernel: &'a Fused,
    isa: Isa,
    direct: FxHashMap<usize, usize>,
    outlives: Vec<bool>,
    /// By store, the slot whose instruction writes to memory at once.
    direct_slots: Vec<Option<usize>>,
    code: Vec<Op>,
}

impl Compiler<'_> {
    /// Adds loops for some instructions, of which none is joined to others. Gives their numbers.
    fn compile(&mut self, range: Range<usize>, slots: &mut Slots) -> Range<usize> {
        let start = self.code.len();
        let mut at = range.start;
        while at < range.end {
            let alone = self.outlives[at] || at + 1 == range.end;
            let joined = if alone { None } else { joined(self.kernel, at, self.isa) };
            at += usize::from(joined.is_some());
            let (inst, store) = (&self.kernel.code[at], self.direct.get(&at));
            let size = inst.instr.result(inst.of).size();
            let out = if store.is_some() { slots.add(None) } else { slots.computed(inst.out, size) };
            self.code.push(op(inst, joined, self.isa, out, |reg| slots.of(reg)));
            slots.held[usize::from(inst.out)] = Some(out);
            if let Some(&store) = store {
                self.direct_slots[store] = Some(out);
            }
            at += 1;
        }
        start..self.code.len()
    }
}

/// The instruction, with its own loop and arguments or those it was joined to.
pub(super) fn op(inst: &Inst, joined: Option<(Forms, [Reg; 3])>, isa: Isa, out: usize, slot: impl Fn(Reg) -> usize) -> Op {
    let (run, read, n) = match joined {
        Some((forms, args)) => (forms.block, args, 3),
        None => (pointwise::block(isa, inst.instr, inst.of), inst.args, inst.instr.arity()),
    };
    let first = slot(read[0]);
    let mut args = [first; 3]; // those that it does not have point somewhere valid as well
    for (to, &reg) in args.iter_mut().zip(&read[..n]) {
        *to = slot(reg);
    }
    assert!(!args.contains(&out), "a fused kernel has {inst:?}, which writes over its own argument");
    Op { run, args, out }
}

fn fold_op(store: &FoldStore, isa: Isa, (accumulators, states): (usize, usize), slots: &mut Slots) -> FoldOp {
    let accumulators = [(); 3].map(|()| slots.layout.reserve(accumulators));
    let states = slots.layout.reserve(states);
    FoldOp {
        loops: fold::loops(isa, store.fold, store.dtype),
        slot: slots.of(store.reg),
        to: store.to,
        size: store.fold.result(store.dtype).size(),
        accumulators,
        states,
    }
}

/// Work for one element, in tenths of a nanosecond.
fn weight(kernel: &Fused, loads: &[(Operand, usize)], stores: &[StoreOp]) -> usize {
    let code: usize = kernel.code.iter().map(|i| pointwise::weight(i.instr, i.of)).sum();
    let strided = loads.iter().filter(|(o, _)| o.is_strided()).count() + stores.iter().filter(|s| s.to.is_strided()).count();
    code + 4 * strided + kernel.folds.len() + 1
}

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
        for &(from, size, slot) in &kernel.scalars {
            // SAFETY: a register holds a block.
            unsafe { space::fill(frame.scalar(from), size, pointers[slot], longest) };
        }
        for (operand, slot) in kernel.loads.iter().filter(|(o, _)| o.is_uniform()) {
            // SAFETY: as above; the place lies in its buffer.
            unsafe { space::fill(operand.uniform(frame), operand.size, pointers[*slot], longest) };
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
        for store in which.map(|i| &self.kernel.stores[i]).filter(|s| s.direct) {
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
        // SAFETY: registers hold a block, and no instruction writes over an argument; memory that is written directly
        // is not read by this kernel but through this very pointer.
        unsafe { (op.run)(args, self.pointers[op.out], n) };
    }

    #[inline]
    pub fn store(&mut self, which: impl Iterator<Item = usize>, flat: usize, n: usize, index: &Index) {
        for store in which.map(|i| &self.kernel.stores[i]).filter(|s| !s.direct) {
            let from = self.pointers[store.slot];
            // SAFETY: the place lies in its buffer; where a pointer was loaded from the same memory, it is the same block.
            unsafe {
                if store.to.is_pointer() {
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
        let (row, part) = (unit / chunks, unit % chunks);
        let (first, end) = (part * chunk, ((part + 1) * chunk).min(length));
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
        self.deliver(row, 1, part, chunks, rows);
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

    /// Hands over `n` states of each fold, for the results from `at` on: as results if there is one chunk, else as partial ones.
    pub fn deliver(&self, at: usize, n: usize, part: usize, chunks: usize, results: usize) {
        for (f, fold) in self.kernel.folds.iter().enumerate() {
            let states = self.states(fold);
            // SAFETY: the states have been written; the destination has room for all results, each of which belongs to one
            // unit, and so has the table of partial results.
            unsafe {
                if chunks == 1 {
                    (fold.loops.finish)(states, n, self.kernel.result(fold, self.frame, at));
                } else {
                    let to = (f * chunks + part) * results + at;
                    debug_assert!(to + n <= self.kernel.partials);
                    states.copy_to_nonoverlapping(self.partials.at(to), n);
                }
            }
        }
    }

    fn columns(&mut self, unit: usize) {
        let k = self.kernel;
        let Nest::Columns { outer, length, columns, blocks, chunk, chunks } = k.nest else { return };
        let (part, block, o) = (unit % chunks, unit / chunks % blocks, unit / chunks / blocks);
        let (first, end) = (part * chunk, ((part + 1) * chunk).min(length));
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
        self.deliver(o * columns + start, width, part, chunks, outer * columns);
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
