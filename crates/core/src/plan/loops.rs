//! How does a fused group become one kernel? Its registers, loads, stores, folds and passes are numbered here.

use super::{
    emit::{Emitted, read, together},
    fuse::{Group, Groups, Nest, Role, row_layout, spot},
    graph::{Arg, AttrList, Graph, Layout, Op},
    kernel::*,
};
use crate::{DType, Shape};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

/// What the kernels are made from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub g: &'a Graph,
    pub layouts: &'a [Layout],
    pub groups: &'a Groups,
    pub out: &'a Emitted,
}

impl Source<'_> {
    /// The place of a node as an operand.
    pub fn place(&self, id: u32) -> Place {
        self.place_as(id, &self.g.node(id).shape, &self.layouts[id as usize])
    }

    /// Where a node is stored, if it is.
    pub fn stored(&self, id: u32) -> Option<Place> {
        let shape = &self.g.node(id).shape;
        match self.out.sinks.of(id) {
            Some(layout) => Some(self.place_as(id, shape, layout)),
            None => self.out.buffer_of.contains_key(&id).then(|| self.place(id)),
        }
    }

    /// The place of elements of `id` that lie so.
    pub fn place_as(&self, id: u32, shape: &Shape, layout: &Layout) -> Place {
        let sink = self.out.sinks.of(layout.base);
        debug_assert!(sink.is_none_or(|s| s.is_block(&self.g.node(layout.base).shape)), "what others read is a block where it is stored");
        let (base, first) = sink.map_or((layout.base, 0), |sink| (sink.base, sink.offset));
        Place {
            buffer: self.out.buffer_of[&base],
            dtype: self.g.node(id).dtype,
            offset: first + layout.offset,
            dims: Dims::from_slice(shape),
            strides: Strides::from_slice(&layout.strides),
        }
    }

    /// What an argument of `user` is a view of, where both are in one loop.
    fn inside(&self, user: u32, arg: u32) -> Option<(u32, Role)> {
        let base = self.layouts[arg as usize].base;
        together(self.groups, user, base).then(|| (base, self.groups.roles[base as usize]))
    }
}

/// The kernel of a fused group.
pub(super) fn fused(source: Source<'_>, group: &Group, nest: &Nest) -> Fused {
    let mut l = Loop::new(source, nest);
    // Operands first, so that their registers are never written.
    let mut members = group.members.clone();
    members.sort_by_key(|&id| source.groups.passes[id as usize]);
    for &id in &members {
        l.operands(id);
    }
    l.registers(&members);
    let mut fused = l.body(&members);
    fused.registers = l.count;
    (fused.loads, fused.scalars) = (l.loads, l.scalars);
    if nest.rows {
        let whole = l.whole.iter().map(|id| l.of[id]).collect();
        fused.rows = Some(Box::new(Rows { registers: l.row_count, loads: l.row_loads, scalars: l.row_scalars, whole, ..l.rows }));
    }
    fused
}

/// A kernel being written: the numbers given so far.
struct Loop<'a> {
    s: Source<'a>,
    nest: &'a Nest,
    /// Axes in the order of the loops, how many outer ones, and how many inner ones.
    order: SmallVec<[usize; 8]>,
    outer: usize,
    inner: usize,
    loads: Vec<Load>,
    scalars: Vec<ScalarLoad>,
    load_of: FxHashMap<&'a Layout, Reg>,
    scalar_of: FxHashMap<Arg, Reg>,
    row_loads: Vec<Load>,
    row_scalars: Vec<ScalarLoad>,
    row_load_of: FxHashMap<&'a Layout, Reg>,
    row_scalar_of: FxHashMap<Arg, Reg>,
    /// Spread registers by the node spread.
    spread_of: FxHashMap<u32, Reg>,
    /// Registers of computed values, by node; those of row values are row registers.
    of: FxHashMap<u32, Reg>,
    /// Values written in one pass and read in a later one.
    whole: FxHashSet<u32>,
    rows: Rows,
    count: Reg,
    row_count: Reg,
}

/// The next number.
fn next(count: &mut Reg) -> Reg {
    *count += 1;
    *count - 1
}

impl<'a> Loop<'a> {
    fn new(s: Source<'a>, nest: &'a Nest) -> Loop<'a> {
        let (order, outer, inner) = iteration(nest);
        Loop {
            s,
            nest,
            order,
            outer,
            inner,
            loads: Vec::new(),
            scalars: Vec::new(),
            load_of: FxHashMap::default(),
            scalar_of: FxHashMap::default(),
            row_loads: Vec::new(),
            row_scalars: Vec::new(),
            row_load_of: FxHashMap::default(),
            row_scalar_of: FxHashMap::default(),
            spread_of: FxHashMap::default(),
            of: FxHashMap::default(),
            whole: FxHashSet::default(),
            rows: Rows::default(),
            count: 0,
            row_count: 0,
        }
    }

    fn role(&self, id: u32) -> Role {
        self.s.groups.roles[id as usize]
    }

    fn pass(&self, id: u32) -> usize {
        self.s.groups.passes[id as usize] as usize
    }

    /// A place over the axes in the order of the loops.
    fn turn(&self, p: Place) -> Place {
        let dims = self.order.iter().map(|&a| p.dims[a]).collect();
        let strides = self.order.iter().map(|&a| p.strides[a]).collect();
        Place { dims, strides, ..p }
    }

    /// Pins registers for the arguments that the loop does not compute itself.
    fn operands(&mut self, id: u32) {
        let node = self.s.g.node(id);
        let per_row = self.role(id) == Role::Row || matches!(node.op, Op::Index(..));
        for &a in read(self.s.groups, id as usize, node) {
            match a {
                Arg::Node(n) => self.tensor(id, n, per_row),
                Arg::Scalar(value, dtype) => {
                    let (of, scalars, count) = match per_row {
                        true => (&mut self.row_scalar_of, &mut self.row_scalars, &mut self.row_count),
                        false => (&mut self.scalar_of, &mut self.scalars, &mut self.count),
                    };
                    of.entry(a).or_insert_with(|| {
                        let reg = next(count);
                        scalars.push(ScalarLoad { reg, dtype, from: value.source(dtype) });
                        reg
                    });
                }
            }
        }
    }

    fn tensor(&mut self, user: u32, n: u32, per_row: bool) {
        let layout = &self.s.layouts[n as usize];
        match self.s.inside(user, n) {
            Some((base, Role::Fold | Role::Row)) if !per_row => {
                if !self.spread_of.contains_key(&base) {
                    let reg = next(&mut self.count);
                    self.spread_of.insert(base, reg);
                }
            }
            Some(_) => {}
            None if per_row => {
                if !self.row_load_of.contains_key(layout) {
                    let row = row_layout(self.nest, &self.s.g.node(n).shape, layout).expect("checked when it joined");
                    let dims: SmallVec<[usize; 8]> = self.order[..self.outer].iter().map(|&a| self.nest.dims[a]).collect();
                    let from = self.s.place_as(n, &Shape::new(&dims).expect("part of a shape"), &row);
                    let reg = next(&mut self.row_count);
                    self.row_load_of.insert(layout, reg);
                    self.row_loads.push(Load { reg, from });
                }
            }
            None => {
                if !self.load_of.contains_key(layout) {
                    let reg = next(&mut self.count);
                    self.load_of.insert(layout, reg);
                    self.loads.push(Load { reg, from: self.turn(self.s.place(n)) });
                }
            }
        }
    }

    /// The register of an argument of `user`.
    fn arg(&self, user: u32, a: Arg) -> Reg {
        let per_row = self.role(user) == Role::Row || matches!(self.s.g.node(user).op, Op::Index(..));
        match a {
            Arg::Scalar(..) if per_row => self.row_scalar_of[&a],
            Arg::Scalar(..) => self.scalar_of[&a],
            Arg::Node(n) => match self.s.inside(user, n) {
                Some((base, Role::Fold | Role::Row)) if !per_row => self.spread_of[&base],
                Some((base, _)) => self.of[&base],
                None if per_row => self.row_load_of[&self.s.layouts[n as usize]],
                None => self.load_of[&self.s.layouts[n as usize]],
            },
        }
    }

    /// Numbers for what the loop computes. A block register is used again when its value is dead; row registers are not.
    fn registers(&mut self, members: &[u32]) {
        let g = self.s.g;
        // Stores and folds happen at the end of a block, so what they read lives on; so does what a later pass reads.
        let mut last_use: FxHashMap<u32, usize> = FxHashMap::default();
        for (at, &id) in members.iter().enumerate() {
            for a in read(self.s.groups, id as usize, g.node(id)).iter().filter_map(|a| a.node()) {
                let Some((base, Role::Each)) = self.s.inside(id, a) else { continue };
                let later = self.pass(base) != self.pass(id);
                if later && !matches!(g.node(base).op, Op::Index(..)) {
                    self.whole.insert(base);
                }
                let end = if later || matches!(self.role(id), Role::Fold | Role::Column) { usize::MAX } else { at };
                let last = last_use.entry(base).or_insert(end);
                *last = end.max(*last);
            }
            if self.role(id) == Role::Each && (self.s.out.is_stored(id) || matches!(g.node(id).op, Op::Index(..))) {
                last_use.insert(id, usize::MAX);
            }
        }
        let mut free: Vec<Reg> = Vec::new();
        for (at, &id) in members.iter().enumerate() {
            let reg = match self.role(id) {
                Role::Column => continue,
                Role::Fold if !self.nest.rows => continue,
                Role::Fold | Role::Row => next(&mut self.row_count),
                _ => {
                    // The registers of values that live on are their own.
                    let reuse = if last_use.get(&id) == Some(&usize::MAX) { None } else { free.pop() };
                    reuse.unwrap_or_else(|| next(&mut self.count))
                }
            };
            self.of.insert(id, reg);
            let mut dying: SmallVec<[u32; 3]> = SmallVec::new();
            for a in read(self.s.groups, id as usize, g.node(id)).iter().filter_map(|a| a.node()) {
                if let Some((base, Role::Each)) = self.s.inside(id, a)
                    && last_use[&base] == at
                    && !dying.contains(&base)
                {
                    dying.push(base);
                }
            }
            free.extend(dying.iter().map(|a| self.of[a]));
        }
    }

    /// Instructions, stores and folds, and the passes that they belong to.
    fn body(&mut self, members: &[u32]) -> Fused {
        let mut fused = Fused {
            dims: self.order.iter().map(|&a| self.nest.dims[a]).collect(),
            outer: self.outer,
            inner: self.inner,
            loads: Vec::new(),
            scalars: Vec::new(),
            code: Vec::with_capacity(members.len()),
            stores: Vec::new(),
            folds: Vec::new(),
            registers: 0,
            rows: None,
        };
        let passes = members.last().map_or(0, |&id| self.pass(id)) + 1;
        self.rows.passes.resize_with(passes, Pass::default);
        let mut spread: FxHashSet<u32> = FxHashSet::default();
        for &id in members {
            self.spreads(id, &mut spread);
            self.member(id, &mut fused);
            let pass = self.pass(id);
            self.rows.passes[pass].code.end = fused.code.len();
        }
        for at in 1..passes {
            let start = self.rows.passes[at - 1].code.end;
            let code = &mut self.rows.passes[at].code;
            *code = start..code.end.max(start);
        }
        fused
    }

    /// Spreads the row values that a node reads, in the first pass that reads them.
    fn spreads(&mut self, id: u32, done: &mut FxHashSet<u32>) {
        let node = self.s.g.node(id);
        if self.role(id) == Role::Row || matches!(node.op, Op::Index(..)) {
            return;
        }
        for a in node.args.iter().filter_map(|a| a.node()) {
            let Some((base, Role::Fold | Role::Row)) = self.s.inside(id, a) else { continue };
            if done.insert(base) {
                let spread = Spread { row: self.of[&base], dtype: self.s.g.node(base).dtype, reg: self.spread_of[&base] };
                let pass = self.pass(id);
                self.rows.passes[pass].spreads.push(spread);
            }
        }
    }

    fn member(&mut self, id: u32, fused: &mut Fused) {
        let node = self.s.g.node(id);
        let to = self.s.stored(id);
        let pass = self.pass(id);
        let place = &mut self.rows.passes[pass];
        match &node.op {
            Op::Do(instr, of) => {
                let inst = self.inst(id, *instr, *of);
                let place = &mut self.rows.passes[pass];
                if self.s.groups.roles[id as usize] == Role::Row { &mut place.then } else { &mut fused.code }.push(inst);
            }
            Op::Reduce(fold, _) => {
                let x = node.args[0];
                let dtype = self.s.g.node(x.node().expect("a fold has a tensor operand")).dtype;
                let reg = self.arg(id, x);
                if self.nest.rows && self.role(id) == Role::Fold {
                    let row = self.of[&id];
                    self.rows.passes[pass].folds.push(RowFold { reg, dtype, fold: *fold, row });
                } else {
                    return fused.folds.push(FoldStore { reg, dtype, fold: *fold, to: to.expect("a fold is stored").buffer });
                }
            }
            Op::Index(..) => {
                let (axis, index, value) = spot(self.s.g, node).expect("only spots are fused");
                let (reg, fill) = (self.of[&id], ScalarSource::Literal(node.dtype.bits(0.0)));
                let (index, value) = (self.arg(id, index), self.arg(id, value));
                let place = &mut self.rows.passes[pass];
                place.spots.push(Spot { reg, dtype: node.dtype, fill, index, value, axis, node: node.origin });
            }
            _ => unreachable!("only instructions, folds and spots are fused: {place:p}"),
        }
        let Some(to) = to else { return };
        match self.role(id) {
            Role::Each => fused.stores.push(Store { reg: self.of[&id], to: self.turn(to), over: None }),
            _ => self.rows.stores.push(RowStore { row: self.of[&id], dtype: node.dtype, to: to.buffer }),
        }
    }

    fn inst(&self, id: u32, instr: crate::Instr, of: DType) -> Inst {
        let mut args = [0; 3];
        for (slot, &a) in args.iter_mut().zip(&self.s.g.node(id).args) {
            *slot = self.arg(id, a);
        }
        Inst { instr, of, args, out: self.of[&id] }
    }
}

/// The order of the axes in the loop nest: kept outer, folded, kept inner; and how many the outer and inner ones are. Rows come last.
fn iteration(nest: &Nest) -> (SmallVec<[usize; 8]>, usize, usize) {
    let rank = nest.dims.rank();
    let folded: &AttrList = match &nest.folded {
        Some(f) if !f.is_empty() => f,
        _ => return ((0..rank).collect(), rank, 0),
    };
    let is_folded = |a: &usize| folded.contains(&(*a as i64));
    let last = *folded.last().expect("not empty") as usize;
    let end = if nest.rows { rank } else { last + 1 };
    let mut order: SmallVec<[usize; 8]> = (0..end).filter(|a| !is_folded(a)).collect();
    let outer = order.len();
    order.extend((0..=last).filter(is_folded));
    order.extend(end..rank);
    (order, outer, rank - end)
}
