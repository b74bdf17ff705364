//! What of a fused loop depends on the kernel alone? Its loops, registers, blocks and tasks, fixed before the first run.
//!
//! Blocks and tasks depend on shapes only, so that results are the same bits on any number of threads.

use super::{
    fold::{self, FoldLoops, State},
    isa::{BlockFn, Forms, Isa},
    nest::{Nest, tasks},
    pointwise, rows,
    scratch::Layout,
    space::{BLOCK, Constant, Filled, Operand, Space},
    stream,
};
use crate::plan::kernel::{BufferId, FoldStore, Fused, Inst, Load, Reg, Store};
use rustc_hash::FxHashMap;
use std::ops::Range;

/// A fused loop made ready to run.
pub struct Prepared {
    pub(super) space: Space,
    /// Length of a block.
    pub(super) step: usize,
    /// Registers of all kinds: where in the scratch memory each begins, if it is there.
    pub(super) slots: Vec<Option<usize>>,
    pub(super) loads: Vec<(Operand, usize)>,
    pub(super) scalars: Vec<(Constant, usize)>,
    pub(super) code: Vec<Op>,
    pub(super) stores: Vec<StoreOp>,
    pub(super) folds: Vec<FoldOp>,
    pub(super) needs_index: bool,
    pub(super) nest: Nest,
    pub(super) rows: Option<rows::Prepared>,
    /// Number of tasks.
    pub(super) tasks: usize,
    pub(super) pointers: usize, // where in the scratch memory the table of pointers begins
    pub(super) filled: usize,   // and what the loads' registers were filled with
    pub(super) scratch: usize,
    pub(super) partials: usize,
}

pub(super) struct Op {
    pub(super) run: BlockFn,
    pub(super) args: [usize; 3],
    pub(super) out: usize,
}

pub(super) struct StoreOp {
    pub(super) to: Operand,
    pub(super) slot: usize,
    pub(super) by: By,
}

/// How does a store reach memory?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The instruction that computes it writes there at once.
    Instruction,
    /// It is copied there.
    Copy,
    /// It is copied past the caches.
    Stream,
}

pub(super) struct FoldOp {
    pub(super) loops: FoldLoops,
    pub(super) slot: usize,
    pub(super) to: BufferId,
    /// Bytes of a result.
    pub(super) size: usize,
    /// Where in the scratch memory its accumulators begin, for columns: narrow, wide, positions.
    pub(super) accumulators: [usize; 3],
    /// And its states: one for each column, or one.
    pub(super) states: usize,
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
    let any_order = kernel.folds.is_empty() && kernel.rows.is_none(); // rows have to stay whole
    let (space, mut operands) = Space::new(&kernel.dims, [outer, inner], any_order, &places, isa);
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
        scalars.push((Constant::new(scalar.from, scalar.dtype, isa), slot));
    }
    let mut rows = rows::prepare(kernel, isa, &mut slots);
    let mut compiler = Compiler {
        kernel,
        isa,
        writers: writers(kernel, &loads, &targets, space.size),
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
        .map(|((to, store), direct)| StoreOp {
            slot: direct.unwrap_or_else(|| slots.of(store.reg)),
            by: match direct {
                Some(_) => By::Instruction,
                None if is_streamed(store, &to, space.size) => By::Stream,
                None => By::Copy,
            },
            to,
        })
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

/// Whether what is loaded is stored or folded as it is while a store overwrites it.
fn is_overwritten(kernel: &Fused, load: &Load) -> bool {
    kernel.stores.iter().any(|s| s.over == Some(load.from.buffer))
        && (kernel.stores.iter().any(|s| s.reg == load.reg) || kernel.folds.iter().any(|f| f.reg == load.reg))
}

/// An instruction that may write to a store's memory at once.
struct Writer {
    store: usize,
    /// Registers of what is read out of that memory.
    over: Vec<Reg>,
}

/// By instruction: which may write to memory at once, since what it overwrites is not read later.
fn writers(kernel: &Fused, loads: &[(Operand, usize)], targets: &[Operand], size: usize) -> FxHashMap<usize, Writer> {
    let computed: FxHashMap<Reg, usize> = kernel.code.iter().enumerate().map(|(at, inst)| (inst.out, at)).collect();
    let mut writers = FxHashMap::default();
    for (number, (store, to)) in kernel.stores.iter().zip(targets).enumerate() {
        let Some(&at) = computed.get(&store.reg).filter(|_| to.is_pointer() && !is_streamed(store, to, size)) else { continue };
        // What was copied into a register is safe there.
        let read = kernel.loads.iter().zip(loads).filter(|(l, (o, _))| store.over == Some(l.from.buffer) && o.is_pointer());
        let lasts = |reg: &Reg| kernel.code[..at].iter().all(|i| i.out != *reg);
        let over: Vec<Reg> = read.map(|(l, _)| l.reg).filter(lasts).collect();
        if !over.iter().any(|&reg| is_read_after(kernel, at, reg)) {
            writers.entry(at).or_insert(Writer { store: number, over });
        }
    }
    writers
}

/// Whether an instruction behind number `at` reads what a register holds there.
fn is_read_after(kernel: &Fused, at: usize, reg: Reg) -> bool {
    let touches = |i: &&Inst| i.out == reg || i.args[..i.instr.arity()].contains(&reg);
    kernel.code[at + 1..].iter().find(touches).is_some_and(|i| i.args[..i.instr.arity()].contains(&reg))
}

/// Whether a store of `size` elements goes past the caches.
fn is_streamed(store: &Store, to: &Operand, size: usize) -> bool {
    to.is_pointer() && store.over.is_none() && stream::pays(size * to.size)
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
    writers: FxHashMap<usize, Writer>,
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
            let inst = &self.kernel.code[at];
            let loops = InstLoops::of(inst, joined, self.isa);
            let direct = self.writers.get(&at).and_then(|w| Some((w.store, loops.over(&w.over)?)));
            let (out, run) = match direct {
                Some((store, run)) => {
                    let out = slots.add(None);
                    self.direct_slots[store] = Some(out);
                    (out, run)
                }
                None => (slots.computed(inst.out, inst.instr.result(inst.of).size()), loops.forms.block),
            };
            self.code.push(loops.op(run, out, |reg| slots.of(reg)));
            slots.held[usize::from(inst.out)] = Some(out);
            at += 1;
        }
        start..self.code.len()
    }
}

/// The loops of an instruction, or of two that were joined, and the registers that they read.
pub(super) struct InstLoops {
    pub(super) forms: Forms,
    pub(super) args: [Reg; 3],
    arity: usize,
}

impl InstLoops {
    pub(super) fn of(inst: &Inst, joined: Option<(Forms, [Reg; 3])>, isa: Isa) -> InstLoops {
        match joined {
            Some((forms, args)) => InstLoops { forms, args, arity: 3 },
            None => InstLoops { forms: pointwise::forms(isa, inst.instr, inst.of), args: inst.args, arity: inst.instr.arity() },
        }
    }

    /// The loop that writes over what these registers are read from, if there is one.
    fn over(&self, registers: &[Reg]) -> Option<BlockFn> {
        let mut found = (0..self.arity).filter(|&i| registers.contains(&self.args[i]));
        match (found.next(), found.next()) {
            (None, _) => Some(self.forms.block),
            (Some(arg), None) => self.forms.over[arg],
            _ => None,
        }
    }

    /// One of the loops, with the slots of what it reads and writes.
    pub(super) fn op(&self, run: BlockFn, out: usize, slot: impl Fn(Reg) -> usize) -> Op {
        let mut args = [slot(self.args[0]); 3]; // those that it does not have point somewhere valid as well
        for (to, &reg) in args.iter_mut().zip(&self.args[..self.arity]) {
            *to = slot(reg);
        }
        assert!(!args.contains(&out), "a fused kernel has an instruction that writes to a register which it reads");
        Op { run, args, out }
    }
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
