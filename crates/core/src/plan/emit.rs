//! How does a group of nodes become a kernel over numbered buffers? Those that are no fused loop are written here.

use super::{
    Part,
    cost::operations,
    fuse::{GroupKind, Groups, NONE, Role},
    graph::{Arg, AttrList, Graph, Layout, Node, Op},
    kernel::*,
    layout::Laid,
    loops::{self, Source},
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
    pub parts: Vec<Vec<Part>>,
}

/// Writes the kernel of each group.
pub(crate) fn emit(laid: &Laid, groups: &Groups) -> Emitted {
    let mut e = Emit { g: &laid.graph, layouts: &laid.layouts, groups, out: number_buffers(laid, groups) };
    for group in groups.list.iter().filter(|group| group.members.iter().any(|id| e.out.buffer_of.contains_key(id))) {
        let kernel = match &group.kind {
            GroupKind::Fused(nest) => Kernel::Fused(loops::fused(e.source(), group, nest)),
            GroupKind::Single => e.single(group.members[0]),
        };
        e.out.kernels.push(kernel);
        // Clones of earlier instructions come first, but have later numbers.
        let first = group.members.iter().min().expect("a group has members");
        e.out.origins.push(e.g.node(*first).origin);
        e.out.parts.push(group.members.iter().map(|&id| Part { live: e.g.node(id).origin, weight: weight(e.g, id) }).collect());
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
        for a in read(groups, id, node).iter().filter_map(|a| a.node()) {
            let base = laid.layouts[a as usize].base;
            if !together(groups, id as u32, base) {
                in_memory[base as usize] = true;
            }
        }
    }
    let mut out =
        Emitted { kernels: Vec::new(), stored: Vec::new(), buffer_of: FxHashMap::default(), origins: Vec::new(), parts: Vec::new() };
    let inputs = (0..g.nodes.len()).filter(|&id| matches!(g.nodes[id].op, Op::Input(_)));
    let computed = (0..g.nodes.len()).filter(|&id| match g.nodes[id].op {
        Op::Input(_) | Op::View(..) => false,
        Op::Reduce(..) => in_memory[id] || groups.roles[id] == Role::Column || !in_rows(groups, id),
        Op::Do(..) => in_memory[id],
        Op::Index(..) => in_memory[id] || groups.roles[id] == Role::Outside,
        _ => true,
    });
    for id in inputs.chain(computed) {
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
        let out = self.out.buffer_of[&id];
        let operand = |i: usize| self.place(node.args[i].node().expect("a tensor operand"));
        match &node.op {
            Op::Contract => {
                let term = |i: usize| Term { a: operand(i), b: operand(i + 1), alpha: scalar(node.args[i + 2]).0 };
                let (terms, add) = (node.args.len() / 3, (node.args.len() % 3 == 1).then(|| operand(node.args.len() - 1)));
                Kernel::Contract(Contract { terms: (0..terms).map(|t| term(3 * t)).collect(), add, out: self.place(id) })
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
                shape: *node.shape,
                node: node.origin,
            }),
            Op::Scan(kind, axis, reversed) => {
                Kernel::Scan(ScanKernel { kind: *kind, axis: *axis, reversed: *reversed, x: operand(0), out })
            }
            Op::Place(attrs) => Kernel::Place(self.pieces(node, attrs, out)),
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
