//! How does a group of nodes become a kernel over numbered buffers? Those that are no fused loop are written here.

use super::{
    Share,
    cost::operations,
    fuse::{GroupKind, Groups, NONE, Role},
    graph::{Arg, AttrList, Graph, Layout, Node, Op},
    kernel::*,
    layout::{Laid, pieces},
    loops::{self, Source},
    sinks::Sinks,
};
use crate::{DType, Window};
use rustc_hash::FxHashMap;

/// Kernels over buffers that have no place yet.
pub(crate) struct Emitted {
    pub kernels: Vec<Kernel>,
    /// By buffer number, the node stored there; the inputs come first.
    pub stored: Vec<u32>,
    /// By node, its buffer.
    pub buffer_of: FxHashMap<u32, BufferId>,
    /// By kernel, the live node that reports name.
    pub origins: Vec<u32>,
    /// By kernel, the live nodes that it computes.
    pub shares: Vec<Vec<Share>>,
    /// Values that are stored in others' buffers.
    pub sinks: Sinks,
}

impl Emitted {
    /// Whether a node's value goes to memory.
    pub fn is_stored(&self, id: u32) -> bool {
        self.buffer_of.contains_key(&id) || self.sinks.of(id).is_some()
    }
}

/// Writes the kernel of each group.
pub(crate) fn emit(laid: &Laid, groups: &Groups, sinks: Sinks) -> Emitted {
    let mut e = Emit { g: &laid.graph, layouts: &laid.layouts, groups, out: number_buffers(laid, groups, sinks) };
    for group in &groups.list {
        if !group.members.iter().any(|&id| e.out.is_stored(id) && !e.out.sinks.is_filled(id)) {
            continue;
        }
        let kernel = match &group.kind {
            GroupKind::Fused(nest) => Kernel::Fused(loops::fused(e.source(), group, nest)),
            GroupKind::Single => e.single(group.members[0]),
        };
        e.out.kernels.push(kernel);
        // Clones of earlier instructions come first, but have later numbers.
        let first = group.members.iter().min().expect("a group has members");
        e.out.origins.push(e.g.node(*first).origin);
        e.out.shares.push(group.members.iter().map(|&id| Share { live: e.g.node(id).origin, weight: weight(e.g, id) }).collect());
    }
    e.out
}

/// The share of its kernel's time that a node is taken to have: its operations, and one for each element that it touches.
fn weight(g: &Graph, id: u32) -> u64 {
    let node = g.node(id);
    let elements = match (&node.op, node.args.first()) {
        (Op::Reduce(..), Some(Arg::Node(x))) => g.node(*x).shape.size(),
        _ => node.shape.size(),
    };
    let each = match node.op {
        Op::Do(instr, _) => 1 + operations(instr),
        _ => 2,
    };
    each * elements as u64
}

/// Gives a buffer to every input and to every value that is read outside of its group's registers.
fn number_buffers(laid: &Laid, groups: &Groups, sinks: Sinks) -> Emitted {
    let g = &laid.graph;
    let mut in_memory = vec![false; g.nodes.len()];
    for &o in &g.outputs {
        in_memory[laid.layouts[o as usize].base as usize] = true;
    }
    for (id, node) in g.nodes.iter().enumerate() {
        if matches!(node.op, Op::View(..)) {
            continue;
        }
        for a in read(groups, id, node).iter().filter_map(|a| a.node()) {
            let base = laid.layouts[a as usize].base;
            if !together(groups, id as u32, base) {
                in_memory[base as usize] = true;
            }
        }
    }
    let mut out = Emitted {
        kernels: Vec::new(),
        stored: Vec::new(),
        buffer_of: FxHashMap::default(),
        origins: Vec::new(),
        shares: Vec::new(),
        sinks,
    };
    let inputs = (0..g.nodes.len()).filter(|&id| matches!(g.nodes[id].op, Op::Input(_)));
    let computed = (0..g.nodes.len()).filter(|&id| match g.nodes[id].op {
        Op::Input(_) | Op::View(..) => false,
        Op::Reduce(..) => in_memory[id] || groups.roles[id] == Role::Column || !in_rows(groups, id),
        Op::Do(..) => in_memory[id],
        Op::Index(..) => in_memory[id] || groups.roles[id] == Role::Outside,
        _ => true,
    });
    for id in inputs.chain(computed) {
        if out.sinks.of(id as u32).is_some() {
            continue;
        }
        out.buffer_of.insert(id as u32, out.stored.len() as BufferId);
        out.stored.push(id as u32);
    }
    out
}

/// The arguments that a node reads where it is computed: in a loop, a spot's fill is a constant.
pub(super) fn read<'a>(groups: &Groups, id: usize, node: &'a Node) -> &'a [Arg] {
    let spot = matches!(node.op, Op::Index(..)) && groups.roles[id] != Role::Outside;
    &node.args[usize::from(spot)..]
}

/// Whether a node is in a loop over rows.
fn in_rows(groups: &Groups, id: usize) -> bool {
    matches!(&groups.list[groups.of[id] as usize].kind, GroupKind::Fused(nest) if nest.rows)
}

/// Whether two nodes are in one fused loop, so that what one gives the other does not go through memory.
pub(super) fn together(groups: &Groups, a: u32, b: u32) -> bool {
    let group = groups.of[a as usize];
    group != NONE && group == groups.of[b as usize] && matches!(groups.list[group as usize].kind, GroupKind::Fused(_))
}

struct Emit<'a> {
    g: &'a Graph,
    layouts: &'a [Layout],
    groups: &'a Groups,
    out: Emitted,
}

impl Emit<'_> {
    fn source(&self) -> Source<'_> {
        Source { g: self.g, layouts: self.layouts, groups: self.groups, out: &self.out }
    }

    fn place(&self, id: u32) -> Place {
        self.source().place(id)
    }

    fn single(&self, id: u32) -> Kernel {
        let node = self.g.node(id);
        match &node.op {
            Op::Contract => return Kernel::Contract(self.contract(id)),
            Op::Place(attrs) => return Kernel::Place(self.whole(id, attrs)),
            _ => {}
        }
        let out = self.out.buffer_of[&id];
        let operand = |i: usize| self.place(node.args[i].node().expect("a tensor operand"));
        match &node.op {
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
                shape: *node.shape,
                node: node.origin,
            }),
            Op::Scan(kind, axis, reversed) => {
                Kernel::Scan(ScanKernel { kind: *kind, axis: *axis, reversed: *reversed, x: operand(0), out })
            }
            Op::Generate(kind, axis) => {
                let args = node.args.iter().map(|&a| scalar(a)).collect();
                Kernel::Generate(GenerateKernel { kind: *kind, dtype: node.dtype, args, shape: *node.shape, axis: *axis, out })
            }
            Op::Opaque(f, attrs) => Kernel::Opaque(OpaqueKernel {
                run: self.g.functions[*f as usize],
                attrs: attrs.iter().copied().collect(),
                inputs: (0..node.args.len()).map(operand).collect(),
                out,
                dtype: node.dtype,
                shape: *node.shape,
                node: node.origin,
            }),
            Op::Contract | Op::Place(_) | Op::Input(_) | Op::View(..) | Op::Do(..) | Op::Reduce(..) => {
                unreachable!("no kernel of its own, or written before")
            }
        }
    }

    /// A product; of the transposes, where the result goes to columns.
    fn contract(&self, id: u32) -> Contract {
        let node = self.g.node(id);
        let out = self.source().stored(id).expect("a product is stored");
        let last = out.dims.len() - 1;
        let turned = out.strides[last] != 1 && out.dims[last] > 1;
        let turn = |mut p: Place| {
            if turned {
                p.dims.swap(last - 1, last);
                p.strides.swap(last - 1, last);
            }
            p
        };
        let operand = |i: usize| turn(self.place(node.args[i].node().expect("a tensor operand")));
        let term = |t: usize| {
            let (a, b) = (operand(3 * t), operand(3 * t + 1));
            let (a, b) = if turned { (b, a) } else { (a, b) };
            Term { a, b, alpha: scalar(node.args[3 * t + 2]).0 }
        };
        let add = (node.args.len() % 3 == 1).then(|| operand(node.args.len() - 1));
        Contract { terms: (0..node.args.len() / 3).map(term).collect(), add, out: turn(out) }
    }

    /// A whole, put together from those pieces that are not stored in it at once.
    fn whole(&self, id: u32, attrs: &AttrList) -> PlaceKernel {
        let node = self.g.node(id);
        let own = self.out.sinks.layout(id, &node.shape);
        let (out, mut size, mut copied) = (self.out.buffer_of[&own.base], 0, Vec::new());
        for (at, (piece, to)) in pieces(node, attrs, &own).into_iter().enumerate() {
            let shape = &self.g.node(piece).shape;
            size += shape.size();
            if !self.out.sinks.is_written(id, at) {
                copied.push((self.place(piece), self.source().place_as(id, shape, &to)));
            }
        }
        let covered = size == node.shape.size();
        PlaceKernel { dtype: node.dtype, fill: scalar(node.args[0]).0, covered, pieces: copied, out, size: node.shape.size() }
    }
}

fn window(attrs: &[i64]) -> Window {
    Window::of(attrs).expect("the shape rule has accepted the window")
}

fn scalar(a: Arg) -> (ScalarSource, DType) {
    match a {
        Arg::Scalar(value, dtype) => (value.source(dtype), dtype),
        Arg::Node(_) => panic!("expected a scalar operand"),
    }
}
