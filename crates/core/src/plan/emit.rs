//! How does a group of nodes become a kernel? Registers, loads, stores and folds are numbered here.

use super::{
    fuse::{Group, GroupKind, Groups},
    graph::{Arg, AttrList, Graph, Layout, Node, Op},
    kernel::*,
    layout::Laid,
};
use crate::{DType, Shape, Window};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// Kernels over buffers that have no place yet.
pub(crate) struct Emitted {
    pub kernels: Vec<Kernel>,
    /// By buffer number, the node stored there; the inputs come first.
    pub stored: Vec<u32>,
    /// By node, its buffer.
    pub buffer_of: FxHashMap<u32, BufferId>,
    /// By kernel, the live node that reports name.
    pub origins: Vec<u32>,
}

/// Writes the kernel of each group.
pub(crate) fn emit(laid: &Laid, groups: &Groups) -> Emitted {
    let mut e = Emit { g: &laid.graph, layouts: &laid.layouts, groups, out: number_buffers(laid, groups) };
    for number in 0..groups.list.len() {
        let group = &groups.list[number];
        let kernel = match &group.kind {
            GroupKind::Fused { dims, folded } => Kernel::Fused(e.fused(number as u32, group, dims, folded.as_ref())),
            GroupKind::Single => e.single(group.members[0]),
        };
        e.out.kernels.push(kernel);
        e.out.origins.push(e.g.node(group.members[0]).origin);
    }
    e.out
}

/// Gives a buffer to every input and to every value that is read outside of its group's registers.
fn number_buffers(laid: &Laid, groups: &Groups) -> Emitted {
    let g = &laid.graph;
    let mut in_memory = vec![false; g.nodes.len()];
    for &o in &g.outputs {
        in_memory[laid.layouts[o as usize].base as usize] = true;
    }
    for (id, node) in g.nodes.iter().enumerate() {
        if matches!(node.op, Op::View(..)) {
            continue;
        }
        for a in node.args.iter().filter_map(|a| a.node()) {
            if !is_register(g, groups, id as u32, a) {
                in_memory[laid.layouts[a as usize].base as usize] = true;
            }
        }
    }
    let mut out = Emitted { kernels: Vec::new(), stored: Vec::new(), buffer_of: FxHashMap::default(), origins: Vec::new() };
    let inputs = (0..g.nodes.len()).filter(|&id| matches!(g.nodes[id].op, Op::Input(_)));
    let computed = (0..g.nodes.len()).filter(|&id| match g.nodes[id].op {
        Op::Input(_) | Op::View(..) => false,
        Op::Do(..) => in_memory[id],
        _ => true,
    });
    for id in inputs.chain(computed) {
        out.buffer_of.insert(id as u32, out.stored.len() as BufferId);
        out.stored.push(id as u32);
    }
    out
}

/// Whether `user` reads `arg` from a register of their common group.
fn is_register(g: &Graph, groups: &Groups, user: u32, arg: u32) -> bool {
    let fused = matches!(g.node(user).op, Op::Do(..) | Op::Reduce(..)) && matches!(g.node(arg).op, Op::Do(..));
    fused && groups.of[user as usize] == groups.of[arg as usize]
}

struct Emit<'a> {
    g: &'a Graph,
    layouts: &'a [Layout],
    groups: &'a Groups,
    out: Emitted,
}

/// A virtual register of a loop: pinned ones hold operands, the others are shared once their numbers are assigned.
#[derive(Default)]
struct Loop {
    loads: Vec<Load>,
    scalars: Vec<ScalarLoad>,
    load_of: FxHashMap<(u32, isize, SmallVec<[isize; 8]>), Reg>,
    scalar_of: FxHashMap<Arg, Reg>,
    pinned: Reg,
}

impl Emit<'_> {
    /// The place of a node as an operand.
    fn place(&self, id: u32) -> Place {
        let (node, layout) = (self.g.node(id), &self.layouts[id as usize]);
        Place {
            buffer: self.out.buffer_of[&layout.base],
            dtype: node.dtype,
            offset: layout.offset,
            dims: Dims::from_slice(&node.shape),
            strides: layout.strides.clone(),
        }
    }

    fn fused(&self, number: u32, group: &Group, dims: &Shape, folded: Option<&AttrList>) -> Fused {
        let (order, outer, inner) = iteration(dims.rank(), folded);
        let turn = |p: Place| Place {
            dims: order.iter().map(|&a| p.dims[a]).collect(),
            strides: order.iter().map(|&a| p.strides[a]).collect(),
            ..p
        };
        // Operands first, so that their registers are never written.
        let mut l = Loop::default();
        for &id in &group.members {
            for &a in &self.g.node(id).args {
                self.operand(&mut l, number, id, a, &turn);
            }
        }
        let members: Vec<u32> = group.members.iter().copied().filter(|&id| matches!(self.g.node(id).op, Op::Do(..))).collect();
        let registers = Registers::assign(self.g, group, &members, &self.out, l.pinned, |id, a| is_register(self.g, self.groups, id, a));
        let reg = |id: u32, a: Arg| match a {
            Arg::Node(n) if is_register(self.g, self.groups, id, n) => registers.of[&n],
            Arg::Node(n) => l.load_of[&self.load_key(n)],
            Arg::Scalar(..) => l.scalar_of[&a],
        };
        let mut fused = Fused {
            dims: order.iter().map(|&a| dims[a]).collect(),
            outer,
            inner,
            loads: Vec::new(),
            scalars: Vec::new(),
            code: Vec::with_capacity(members.len()),
            stores: Vec::new(),
            folds: Vec::new(),
            registers: registers.count,
        };
        for &id in &group.members {
            let node = self.g.node(id);
            match node.op {
                Op::Do(instr, of) => {
                    let mut args = [0; 3];
                    for (slot, &a) in args.iter_mut().zip(&node.args) {
                        *slot = reg(id, a);
                    }
                    fused.code.push(Inst { instr, of, args, out: registers.of[&id] });
                    if self.out.buffer_of.contains_key(&id) {
                        fused.stores.push(Store { reg: registers.of[&id], to: turn(self.place(id)), in_place: false });
                    }
                }
                Op::Reduce(fold, _) => {
                    let x = node.args[0].node().expect("a fold has a tensor operand");
                    let to = self.out.buffer_of[&id];
                    fused.folds.push(FoldStore { reg: reg(id, Arg::Node(x)), dtype: self.g.node(x).dtype, fold, to });
                }
                _ => unreachable!("only instructions and folds are fused"),
            }
        }
        (fused.loads, fused.scalars) = (l.loads, l.scalars);
        fused
    }

    fn load_key(&self, n: u32) -> (u32, isize, SmallVec<[isize; 8]>) {
        let l = &self.layouts[n as usize];
        (l.base, l.offset, l.strides.clone())
    }

    /// Pins a register for an argument that is not computed by the loop itself.
    fn operand(&self, l: &mut Loop, number: u32, id: u32, a: Arg, turn: &impl Fn(Place) -> Place) {
        debug_assert_eq!(self.groups.of[id as usize], number);
        match a {
            Arg::Node(n) if is_register(self.g, self.groups, id, n) => {}
            Arg::Node(n) => {
                let reg = l.pinned;
                let key = self.load_key(n);
                if let std::collections::hash_map::Entry::Vacant(e) = l.load_of.entry(key) {
                    e.insert(reg);
                    l.loads.push(Load { reg, from: turn(self.place(n)) });
                    l.pinned += 1;
                }
            }
            Arg::Scalar(value, dtype) => {
                let reg = l.pinned;
                if let std::collections::hash_map::Entry::Vacant(e) = l.scalar_of.entry(a) {
                    e.insert(reg);
                    l.scalars.push(ScalarLoad { reg, dtype, from: value.source() });
                    l.pinned += 1;
                }
            }
        }
    }

    fn single(&self, id: u32) -> Kernel {
        let node = self.g.node(id);
        let out = self.out.buffer_of[&id];
        let operand = |i: usize| self.place(node.args[i].node().expect("a tensor operand"));
        match &node.op {
            Op::Contract => {
                let term = |i: usize| Term { a: operand(i), b: operand(i + 1), alpha: scalar(node.args[i + 2]).0 };
                let (terms, add) = (node.args.len() / 3, (node.args.len() % 3 == 1).then(|| operand(node.args.len() - 1)));
                Kernel::Contract(Contract { terms: (0..terms).map(|t| term(3 * t)).collect(), add, out })
            }
            Op::Convolve(kind, attrs) => Kernel::Convolve(ConvolveKernel {
                kind: *kind,
                a: operand(0),
                b: operand(1),
                out,
                dims: Dims::from_slice(&node.shape),
                window: window(attrs),
                groups: attrs[Window::ATTRS] as usize,
            }),
            Op::Pool(kind, attrs) => Kernel::Pool(PoolKernel {
                kind: *kind,
                x: operand(0),
                with: (node.args.len() > 1).then(|| operand(1)),
                out,
                dims: Dims::from_slice(&node.shape),
                window: window(attrs),
            }),
            Op::Index(kind, axis) => Kernel::Index(IndexKernel {
                kind: *kind,
                axis: *axis,
                x: operand(0),
                index: operand(1),
                src: (node.args.len() > 2).then(|| operand(2)),
                out,
                shape: node.shape,
                node: node.origin,
            }),
            Op::Scan(kind, axis, reversed) => {
                Kernel::Scan(ScanKernel { kind: *kind, axis: *axis, reversed: *reversed, x: operand(0), out })
            }
            Op::Place(attrs) => Kernel::Place(self.pieces(node, attrs, out)),
            Op::Generate(kind, axis) => {
                let args = node.args.iter().map(|&a| scalar(a)).collect();
                Kernel::Generate(GenerateKernel { kind: *kind, dtype: node.dtype, args, shape: node.shape, axis: *axis, out })
            }
            Op::Opaque(f, attrs) => Kernel::Opaque(OpaqueKernel {
                run: self.g.functions[*f as usize],
                attrs: attrs.clone(),
                inputs: (0..node.args.len()).map(operand).collect(),
                out,
                dtype: node.dtype,
                shape: node.shape,
                node: node.origin,
            }),
            Op::Input(_) | Op::View(..) | Op::Do(..) | Op::Reduce(..) => unreachable!("not a kernel of its own"),
        }
    }

    fn pieces(&self, node: &Node, attrs: &AttrList, out: BufferId) -> PlaceKernel {
        let rank = node.shape.rank();
        let dense = node.shape.strides();
        let piece = |(i, a): (usize, &Arg)| {
            let from = self.place(a.node().expect("a piece is a tensor"));
            let at = attrs[2 * rank * i..2 * rank * (i + 1)].chunks_exact(2);
            let mut to = Place { buffer: out, dtype: node.dtype, offset: 0, dims: from.dims.clone(), strides: Strides::new() };
            for (axis, at) in at.enumerate() {
                to.offset += at[0] as isize * dense[axis];
                to.strides.push(at[1] as isize * dense[axis]);
            }
            (from, to)
        };
        let pieces: Vec<(Place, Place)> = node.args[1..].iter().enumerate().map(piece).collect();
        let covered = pieces.iter().map(|(from, _)| from.dims.iter().product::<usize>()).sum::<usize>() == node.shape.size();
        PlaceKernel { dtype: node.dtype, fill: scalar(node.args[0]).0, covered, pieces, out, size: node.shape.size() }
    }
}

fn window(attrs: &[i64]) -> Window {
    Window::of(attrs).expect("the shape rule has accepted the window")
}

fn scalar(a: Arg) -> (ScalarSource, DType) {
    match a {
        Arg::Scalar(value, dtype) => (value.source(), dtype),
        Arg::Node(_) => panic!("expected a scalar operand"),
    }
}

/// The order of the axes in the loop nest: kept outer, folded, kept inner; and how many the outer and inner ones are.
fn iteration(rank: usize, folded: Option<&AttrList>) -> (SmallVec<[usize; 8]>, usize, usize) {
    let folded = match folded {
        Some(f) if !f.is_empty() => f,
        _ => return ((0..rank).collect(), rank, 0),
    };
    let is_folded = |a: &usize| folded.contains(&(*a as i64));
    let last = *folded.last().expect("not empty") as usize;
    let mut order: SmallVec<[usize; 8]> = (0..last).filter(|a| !is_folded(a)).collect();
    let outer = order.len();
    order.extend((0..=last).filter(is_folded));
    order.extend(last + 1..rank);
    (order, outer, rank - last - 1)
}

/// Numbers for the values that a loop computes; a number is used again when its value is dead.
struct Registers {
    of: FxHashMap<u32, Reg>,
    count: Reg,
}

impl Registers {
    fn assign(g: &Graph, group: &Group, members: &[u32], out: &Emitted, pinned: Reg, is_register: impl Fn(u32, u32) -> bool) -> Registers {
        // Stores and folds happen at the end of a block, so what they read lives on.
        let mut last_use: FxHashMap<u32, usize> = FxHashMap::default();
        for (at, &id) in group.members.iter().enumerate() {
            let end = if matches!(g.node(id).op, Op::Reduce(..)) { usize::MAX } else { at };
            for a in g.node(id).args.iter().filter_map(|a| a.node()).filter(|&a| is_register(id, a)) {
                let last = last_use.entry(a).or_insert(end);
                *last = end.max(*last);
            }
            if out.buffer_of.contains_key(&id) && matches!(g.node(id).op, Op::Do(..)) {
                last_use.insert(id, usize::MAX);
            }
        }
        let mut r = Registers { of: FxHashMap::default(), count: pinned };
        let mut free: Vec<Reg> = Vec::new();
        let position: FxHashMap<u32, usize> = group.members.iter().enumerate().map(|(at, &id)| (id, at)).collect();
        for &id in members {
            let reg = free.pop().unwrap_or_else(|| {
                r.count += 1;
                r.count - 1
            });
            r.of.insert(id, reg);
            let mut dying: SmallVec<[u32; 3]> = SmallVec::new();
            for a in g.node(id).args.iter().filter_map(|a| a.node()).filter(|&a| is_register(id, a)) {
                if last_use[&a] == position[&id] && !dying.contains(&a) {
                    dying.push(a);
                }
            }
            free.extend(dying.iter().map(|a| r.of[a]));
        }
        r
    }
}
