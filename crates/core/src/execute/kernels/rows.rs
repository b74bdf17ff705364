//! How does a fused loop pass over the same rows several times? Short rows stay in their registers, many at a time; of a long row, what a
//! later pass reads waits in memory of the thread.
//!
//! Each pass ends with folds to one value per row, code on these values, and the next pass spreads them along the row again.

use super::{
    fold::{self, Accumulators, FLUSH, FoldLoops},
    fused::Worker,
    isa::{BlockFn, Isa},
    nest::Nest,
    prepare::{InstLoops, Op, Slots},
    space::{self, BLOCK, Constant, Filled, Index, Operand, Space},
};
use crate::{
    execute::frame::{Fault, Frame},
    plan::kernel::{self, BufferId, Dims, Fused, Reg},
};
use rustc_hash::FxHashMap;
use std::{ops::Range, sync::atomic::Ordering};

/// What a fused loop does per row, made ready to run.
pub(super) struct Prepared {
    space: Space,
    /// Operands of the code per row, and the slot that holds them.
    loads: Vec<(Operand, usize)>,
    scalars: Vec<(Constant, usize)>,
    pub(super) passes: Vec<Pass>,
    stores: Vec<(usize, usize, BufferId)>, // slot, bytes of an element
    /// Slots that hold a whole row, and bytes of an element.
    whole: Vec<(usize, usize)>,
    spots: Vec<Spot>,
    /// Lengths of the axes that the rows are numbered by.
    kept: Dims,
    length: usize,
}

/// One pass.
pub(super) struct Pass {
    /// The loads that it reads, and those of them that no earlier pass has read.
    loads: [Vec<usize>; 2],
    spreads: Vec<Spread>,
    /// The spots that it reads, and those of them that no earlier pass has read.
    spots: [Vec<usize>; 2],
    /// Which of the kernel's instructions.
    pub code: Range<usize>,
    folds: Vec<Fold>,
    then: Vec<Op>,
    /// The kernel's stores and folds over columns that are due in it.
    stores: Vec<usize>,
    columns: Vec<usize>,
}

struct Spread {
    row: usize,
    slot: usize,
    size: usize,
    repeat: BlockFn,
}

struct Spot {
    slot: usize,
    size: usize,
    fill: Constant,
    index: usize,
    value: usize,
    axis: usize,
    node: u32,
}

struct Fold {
    loops: FoldLoops,
    slot: usize,
    row: usize,
    /// Where in the scratch memory its state is.
    state: usize,
}

/// How many rows are held at a time.
pub(super) fn together(length: usize) -> usize {
    (BLOCK / length.max(1)).max(1)
}

/// Gives slots to the row registers, the spreads and the spots of a kernel, before its code is compiled.
pub(super) fn prepare(fused: &Fused, isa: Isa, slots: &mut Slots) -> Option<Prepared> {
    let rows = fused.rows.as_ref()?;
    let length: usize = fused.dims[fused.outer..].iter().product();
    let room = together(length);
    let places: Vec<_> = rows.loads.iter().map(|l| &l.from).collect();
    let (space, operands) = Space::new(&fused.dims[..fused.outer], [0, fused.outer], false, &places, isa);
    let mut held: Vec<Option<usize>> = vec![None; usize::from(rows.registers)];
    let mut give = |slots: &mut Slots, reg: Reg, bytes: Option<usize>| {
        let slot = slots.add(bytes.map(|b| b * room));
        held[usize::from(reg)] = Some(slot);
        slot
    };
    let loads = operands
        .into_iter()
        .zip(&rows.loads)
        .map(|(operand, load)| {
            let slot = give(slots, load.reg, (!operand.is_pointer()).then_some(operand.size));
            (operand, slot)
        })
        .collect();
    let scalars = rows.scalars.iter().map(|s| (Constant::new(s.from, s.dtype, isa), give(slots, s.reg, Some(s.dtype.size())))).collect();
    for pass in &rows.passes {
        pass.folds.iter().for_each(|f| {
            give(slots, f.row, Some(f.fold.result(f.dtype).size()));
        });
        pass.then.iter().for_each(|i| {
            give(slots, i.out, Some(i.instr.result(i.of).size()));
        });
    }
    let row = |reg: Reg| held[usize::from(reg)].expect("a row register is written before it is read");
    let mut spots = Vec::new();
    let mut passes = Vec::new();
    for pass in &rows.passes {
        let spread = |s: &kernel::Spread| {
            let size = s.dtype.size();
            Spread { row: row(s.row), slot: slots.pin(s.reg, size), size, repeat: space::repeat(isa, size) }
        };
        let spreads = pass.spreads.iter().map(spread).collect();
        for s in &pass.spots {
            let (slot, size) = (slots.pin(s.reg, s.dtype.size()), s.dtype.size());
            spots.push(Spot {
                slot,
                size,
                fill: Constant::new(s.fill, s.dtype, isa),
                index: row(s.index),
                value: row(s.value),
                axis: s.axis,
                node: s.node,
            });
        }
        let then = pass.then.iter().map(|inst| {
            let loops = InstLoops::of(inst, None, isa);
            loops.op(loops.forms.block, row(inst.out), row)
        });
        let then = then.collect();
        let [loads, new_spots] = [(); 2].map(|()| [Vec::new(), Vec::new()]);
        let folds = Vec::new();
        passes.push(Pass { loads, spreads, spots: new_spots, code: 0..0, folds, then, stores: Vec::new(), columns: Vec::new() });
    }
    let stores = rows.stores.iter().map(|s| (row(s.row), s.dtype.size(), s.to)).collect();
    let mut prepared = Prepared {
        space,
        loads,
        scalars,
        passes,
        stores,
        whole: Vec::new(),
        spots,
        kept: Dims::from_slice(&fused.dims[..fused.outer]),
        length,
    };
    prepared.share_out(fused, rows);
    let row_of: Vec<Vec<usize>> = rows.passes.iter().map(|p| p.folds.iter().map(|f| row(f.row)).collect()).collect();
    for ((pass, from), row_of) in prepared.passes.iter_mut().zip(&rows.passes).zip(row_of) {
        for (f, row) in from.folds.iter().zip(row_of) {
            let state = slots.layout.reserve(size_of::<fold::State>());
            pass.folds.push(Fold { loops: fold::loops(isa, f.fold, f.dtype), slot: usize::MAX, row, state });
        }
    }
    Some(prepared)
}

impl Prepared {
    /// Which loads, spots, stores and column folds belong to which pass.
    fn share_out(&mut self, fused: &Fused, rows: &kernel::Rows) {
        let load_of: FxHashMap<Reg, usize> = fused.loads.iter().enumerate().map(|(i, l)| (l.reg, i)).collect();
        let spots: Vec<Reg> = rows.passes.iter().flat_map(|p| &p.spots).map(|s| s.reg).collect();
        let spot_of: FxHashMap<Reg, usize> = spots.iter().enumerate().map(|(i, &reg)| (reg, i)).collect();
        let mut written: FxHashMap<Reg, usize> = FxHashMap::default();
        for (number, pass) in rows.passes.iter().enumerate() {
            let spread = pass.spreads.iter().map(|s| s.reg).chain(pass.spots.iter().map(|s| s.reg));
            written.extend(spread.chain(fused.code[pass.code.clone()].iter().map(|i| i.out)).map(|reg| (reg, number)));
        }
        let pass_of = |reg: Reg| written.get(&reg).copied().unwrap_or(0);
        fused.stores.iter().enumerate().for_each(|(i, s)| self.passes[pass_of(s.reg)].stores.push(i));
        fused.folds.iter().enumerate().for_each(|(i, f)| self.passes[pass_of(f.reg)].columns.push(i));
        let mut seen = (vec![false; fused.loads.len()], vec![false; spots.len()]);
        for (pass, from) in self.passes.iter_mut().zip(&rows.passes) {
            let code = fused.code[from.code.clone()].iter().flat_map(|i| &i.args[..i.instr.arity()]).copied();
            let columns = pass.columns.iter().map(|&i| fused.folds[i].reg);
            let stores = pass.stores.iter().map(|&i| fused.stores[i].reg);
            for reg in code.chain(columns).chain(stores).chain(from.folds.iter().map(|f| f.reg)) {
                note(&mut pass.loads, load_of.get(&reg), &mut seen.0);
                note(&mut pass.spots, spot_of.get(&reg), &mut seen.1);
            }
        }
    }

    /// When the code is compiled: the slots of what the folds read, and of what stays for later passes.
    pub(super) fn bind(&mut self, fused: &Fused, slots: &Slots) {
        let Some(rows) = &fused.rows else { return };
        for (pass, from) in self.passes.iter_mut().zip(&rows.passes) {
            pass.folds.iter_mut().zip(&from.folds).for_each(|(f, from)| f.slot = slots.of(from.reg));
        }
        self.whole.clone_from(&slots.lasting);
    }

    /// The fault of the first row whose spot lies outside of it.
    pub(super) fn fault(&self, at: usize, frame: &Frame) -> Fault {
        let (row, spot) = (at / self.spots.len(), &self.spots[at % self.spots.len()]);
        let (operand, _) = self.loads.iter().find(|l| l.1 == spot.index).expect("an index comes from memory");
        // SAFETY: the place lies in its buffer.
        let value = unsafe { operand.element_bits(&self.space, frame, row) } as i64;
        let mut place = vec![0; self.kept.len()];
        let mut rest = row;
        for (i, &d) in place.iter_mut().zip(&self.kept).rev() {
            (*i, rest) = (rest % d, rest / d);
        }
        place.insert(spot.axis, 0);
        let reason = format!("index {value} at {place:?} is out of range for axis {} of length {}", spot.axis, self.length);
        Fault { node: spot.node, reason }
    }
}

/// Notes that a pass reads something, and whether it is the first to do so.
fn note(lists: &mut [Vec<usize>; 2], found: Option<&usize>, seen: &mut [bool]) {
    let Some(&i) = found else { return };
    if !lists[0].contains(&i) {
        lists[0].push(i);
        if !std::mem::replace(&mut seen[i], true) {
            lists[1].push(i);
        }
    }
}

/// Rows at hand: the first, and how many.
#[derive(Clone, Copy)]
struct Held {
    first: usize,
    rows: usize,
}

impl Worker<'_> {
    /// The rows of one unit, and their share of the folds over columns.
    pub(super) fn rows(&mut self, unit: usize) {
        let k = self.kernel;
        let (Nest::Rows { rows, length, chunk }, Some(per_row)) = (k.nest, &k.rows) else { return };
        let (first, end) = (unit * chunk, ((unit + 1) * chunk).min(rows));
        self.reset_columns(length);
        let mut at = first;
        let mut calls = 0;
        while at < end {
            // Rows of one element are as many as the blocks of the space allow, and so are those of the operands per row.
            let rows = k.space.block(at, end, together(length));
            let held = Held { first: at, rows: per_row.space.block(at, at + rows, rows) };
            self.load_rows(per_row, held);
            calls += 1;
            for pass in &per_row.passes {
                self.spread(pass, held, length);
                if length <= BLOCK {
                    self.pass_short(per_row, pass, held, length)
                } else {
                    self.pass_long(per_row, pass, held, length)
                }
                for op in &pass.then {
                    self.instruction(op, held.rows);
                }
            }
            self.store_rows(per_row, held, length);
            at += held.rows;
            if !k.folds.is_empty() && (calls % FLUSH == 0 || at == end) {
                self.flush_columns(length);
            }
        }
        self.deliver_columns(unit, length);
    }

    fn load_rows(&mut self, per_row: &Prepared, held: Held) {
        let index: Index = per_row.space.index(held.first);
        for (operand, slot) in &per_row.loads {
            if operand.is_pointer() {
                self.pointers[*slot] = operand.pointer(self.frame, held.first, &index);
            } else {
                let (range, into) = (held.first..held.first + held.rows, self.pointers[*slot]);
                let mut filled = Filled::NOTHING;
                // SAFETY: the place lies in its buffer; the register has room for as many rows as are held at a time.
                unsafe { operand.load(&per_row.space, self.frame, range, &index, into, &mut filled) };
            }
        }
    }

    /// Fills the registers that hold one value all along: of the scalars per row, and of the spots.
    pub(super) fn fill_rows(&mut self, per_row: &Prepared, length: usize) {
        for (scalar, slot) in &per_row.scalars {
            // SAFETY: a row register has room for the rows that are held at a time.
            unsafe { scalar.fill(self.frame, self.pointers[*slot], together(length)) };
        }
        for spot in &per_row.spots {
            // SAFETY: a register holds a block.
            unsafe { spot.fill.fill(self.frame, self.pointers[spot.slot], BLOCK.min(self.kernel.size())) };
        }
    }

    fn spread(&mut self, pass: &Pass, held: Held, length: usize) {
        let length = length.min(BLOCK);
        for s in &pass.spreads {
            for row in 0..held.rows {
                let from = self.pointers[s.row].wrapping_add(row * s.size).cast_const();
                // SAFETY: the row register holds a value of each row, the block register has room for the rows, or for a block.
                unsafe { (s.repeat)([from; 3], self.pointers[s.slot].wrapping_add(row * length * s.size), length) };
            }
        }
    }

    fn pass_short(&mut self, per_row: &Prepared, pass: &Pass, held: Held, length: usize) {
        let (flat, n) = (held.first * length, held.rows * length);
        self.set_spots(per_row, &pass.spots[1], held, 0, length);
        let index = self.index(flat);
        self.load(pass.loads[1].iter().copied(), flat, n, &index);
        self.aim(pass.stores.iter().copied(), flat, &index);
        self.compute(pass.code.clone(), n);
        self.store(pass.stores.iter().copied(), flat, n, &index);
        for f in &pass.folds {
            // SAFETY: the block holds whole rows, the row register has room for their results.
            unsafe { (f.loops.rows)(self.pointers[f.slot], held.rows, length, self.pointers[f.row]) };
        }
        for &column in &pass.columns {
            self.add_column(column, n, length, held.first, 0);
        }
    }

    fn pass_long(&mut self, per_row: &Prepared, pass: &Pass, held: Held, length: usize) {
        let k = self.kernel;
        let start = held.first * length;
        for f in &pass.folds {
            // SAFETY: the layout has room for a state.
            unsafe { self.state(f.state).write(f.loops.start) };
        }
        let (mut at, mut block) = (start, 0);
        while at < start + length {
            let n = k.next_block(at, start + length);
            let index = self.index(at);
            for &(slot, size) in &per_row.whole {
                self.pointers[slot] = self.home(slot).wrapping_add((at - start) * size);
            }
            self.set_spots(per_row, &pass.spots[0], held, at - start, n);
            self.load(pass.loads[0].iter().copied(), at, n, &index);
            self.aim(0..k.stores.len(), at, &index);
            self.compute(pass.code.clone(), n);
            self.store(pass.stores.iter().copied(), at, n, &index);
            for f in &pass.folds {
                // SAFETY: the register holds the block, and the layout has room for a state.
                unsafe { (f.loops.row)(self.pointers[f.slot], n, (at - start) as i64, self.state(f.state)) };
            }
            for &column in &pass.columns {
                self.add_column(column, n, n, held.first, block);
            }
            self.clear_spots(per_row, &pass.spots[0], held, at - start, n);
            (at, block) = (at + n, block + 1);
        }
        for f in &pass.folds {
            // SAFETY: the state has been written, the row register has room for a value.
            unsafe { (f.loops.finish)(self.state(f.state), 1, self.pointers[f.row]) };
        }
    }

    fn row_length(&self) -> usize {
        match self.kernel.nest {
            Nest::Rows { length, .. } => length,
            _ => 0,
        }
    }

    /// Writes the values of spots to their places, for rows of which the block holds `n` elements from `from` on.
    fn set_spots(&mut self, per_row: &Prepared, which: &[usize], held: Held, from: usize, n: usize) {
        let length = self.row_length();
        for &number in which {
            let spot = &per_row.spots[number];
            for row in 0..held.rows {
                // SAFETY: the row registers hold a value of each row; the place is in the block.
                unsafe {
                    let at = *self.pointers[spot.index].cast::<i64>().add(row);
                    if !(0..length as i64).contains(&at) {
                        self.fault.fetch_min((held.first + row) * per_row.spots.len() + number, Ordering::Relaxed);
                    } else if (from..from + n).contains(&(at as usize)) {
                        let to = self.pointers[spot.slot].add((row * length + at as usize - from) * spot.size);
                        to.copy_from_nonoverlapping(self.pointers[spot.value].add(row * spot.size), spot.size);
                    }
                }
            }
        }
    }

    /// Undoes [`Self::set_spots`].
    fn clear_spots(&mut self, per_row: &Prepared, which: &[usize], held: Held, from: usize, n: usize) {
        let length = self.row_length();
        for &number in which {
            let spot = &per_row.spots[number];
            for row in 0..held.rows {
                // SAFETY: as above.
                unsafe {
                    let at = *self.pointers[spot.index].cast::<i64>().add(row);
                    if (0..length as i64).contains(&at) && (from..from + n).contains(&(at as usize)) {
                        let to = self.pointers[spot.slot].add((row * length + at as usize - from) * spot.size);
                        spot.fill.fill(self.frame, to, 1);
                    }
                }
            }
        }
    }

    fn store_rows(&mut self, per_row: &Prepared, held: Held, length: usize) {
        for &(slot, size, buffer) in &per_row.stores {
            let to = self.frame.buffer(buffer);
            debug_assert!((held.first + held.rows) * size <= to.bytes);
            // SAFETY: the row register holds a value of each row, the buffer has room for all rows.
            unsafe { to.ptr.add(held.first * size).copy_from_nonoverlapping(self.pointers[slot], held.rows * size) };
        }
        if length <= BLOCK {
            for pass in &per_row.passes {
                self.clear_spots(per_row, &pass.spots[1], held, 0, length);
            }
        }
    }

    fn add_column(&mut self, column: usize, n: usize, columns: usize, row: usize, block: usize) {
        let fold = &self.kernel.folds[column];
        // SAFETY: the register holds the block; there are accumulators for every block of a row.
        unsafe { (fold.loops.column)(self.pointers[fold.slot], n, columns, row as i64, self.column(column, block)) };
    }

    /// The accumulators of one block of a row.
    fn column(&self, column: usize, block: usize) -> Accumulators {
        let Accumulators { narrow, wide, index } = self.accumulators(&self.kernel.folds[column]);
        let at = block * BLOCK * 8;
        Accumulators { narrow: narrow.wrapping_add(at), wide: wide.wrapping_add(at), index: index.wrapping_add(block * BLOCK) }
    }

    /// Calls `visit(fold, block, its first place in the row, how many accumulators it has)` for all accumulators.
    fn each_column(&self, length: usize, mut visit: impl FnMut(usize, usize, usize, usize)) {
        for column in 0..self.kernel.folds.len() {
            if length <= BLOCK {
                visit(column, 0, 0, together(length) * length);
                continue;
            }
            let (mut at, mut block) = (0, 0);
            while at < length {
                let n = self.kernel.next_block(at, length);
                visit(column, block, at, n);
                (at, block) = (at + n, block + 1);
            }
        }
    }

    fn reset_columns(&mut self, length: usize) {
        self.each_column(length, |column, block, _, n| {
            // SAFETY: the layout has room for the accumulators of every block.
            unsafe { (self.kernel.folds[column].loops.reset)(self.column(column, block), n) };
        });
    }

    fn flush_columns(&mut self, length: usize) {
        self.each_column(length, |column, block, _, n| {
            // SAFETY: as above.
            unsafe { (self.kernel.folds[column].loops.flush)(self.column(column, block), n) };
        });
    }

    fn deliver_columns(&mut self, unit: usize, length: usize) {
        let k = self.kernel;
        if k.folds.is_empty() {
            return;
        }
        self.each_column(length, |column, block, start, n| {
            let fold = &k.folds[column];
            // SAFETY: the accumulators hold rows of as many columns side by side; there is room for a state of each column.
            unsafe { (fold.loops.collect)(self.column(column, block), n, length.min(n), self.states(fold).add(start)) };
        });
        self.deliver(0, length, unit, k.nest.chunks(), length);
    }
}

/// The loops for `rows` rows of `length`: with folds over columns, units of many rows, each with a partial result of every column.
pub(super) fn nest(rows: usize, length: usize, columns: usize) -> Nest {
    let held = together(length);
    let chunk = if columns == 0 { held } else { rows.div_ceil((rows * length / UNIT).clamp(1, MOST_UNITS)).next_multiple_of(held) };
    Nest::Rows { rows, length, chunk }
}

/// With folds over columns a unit has about so many elements.
const UNIT: usize = 1 << 13;
/// And there are at most so many units.
const MOST_UNITS: usize = 64;

/// Bytes of the accumulators of a fold over columns, and states for all columns.
pub(super) fn room(space: &Space, step: usize, length: usize) -> (usize, usize) {
    let blocks = if length <= BLOCK { 1 } else { space.blocks(length, step) };
    (blocks * BLOCK * 8, length.max(together(length) * length) * size_of::<fold::State>())
}
