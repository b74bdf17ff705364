//! Which nodes are the same, or nothing at all? Rewrites and common subexpressions while the graph is built.
//!
//! Rules match instructions, never ops; each holds for every IEEE value, or says for which dtype it does. Slots are merged by identity
//! only, since their values change from run to run.

use super::graph::{Arg, Args, AttrList, DROPPED, Graph, Literal, Node, Op};
use crate::{DType, Fold, Instr, Shape, View};
use hashbrown::{HashTable, hash_table::Entry};
use rustc_hash::{FxBuildHasher, FxHashSet};
use smallvec::{SmallVec, smallvec};
use std::{hash::BuildHasher, sync::Arc};

/// Rows that are folded on their own have at least so many elements.
const SHORTEST_ROW: usize = 32;

/// A graph under construction.
#[derive(Default)]
pub(crate) struct Builder {
    pub graph: Graph,
    /// The nodes so far by their [`identity`], which is looked up in the graph: nodes are too many to be kept twice.
    seen: HashTable<u32>,
    shapes: FxHashSet<Arc<Shape>>,
}

/// What makes two nodes the same value.
fn identity(node: &Node) -> (&Op, &[Arg], &Shape, DType) {
    (&node.op, &node.args, &node.shape, node.dtype)
}

impl Builder {
    /// A builder with room for so many nodes.
    pub fn with_capacity(nodes: usize) -> Builder {
        let graph = Graph { nodes: Vec::with_capacity(nodes), ..Graph::default() };
        Builder { graph, seen: HashTable::with_capacity(nodes), shapes: FxHashSet::default() }
    }

    /// A node, or an earlier one that has the same value.
    pub fn push(&mut self, op: Op, mut args: Args, shape: &Shape, dtype: DType, origin: u32) -> u32 {
        if let Op::Do(instr, of) = op {
            for a in &mut args {
                *a = self.seen_through(*a);
            }
            if let Some(node) = self.rewrite(instr, of, &args, shape, origin) {
                return node;
            }
            if let Some(node) = self.uniform(instr, of, &args, shape, origin) {
                return node;
            }
            if instr.commutes() && rank_of(args[1]) < rank_of(args[0]) {
                args.swap(0, 1);
            }
        }
        if let Op::View(view, attrs) = &op
            && let Some(node) = self.rewrite_view(*view, attrs, args[0].node(), shape, origin)
        {
            return node;
        }
        if let Op::Reduce(fold, axes) = &op
            && axes.is_empty()
            && fold.result(dtype) == self.graph.node(args[0].node().expect("a fold has a tensor operand")).dtype
        {
            return args[0].node().expect("as above");
        }
        if let Op::Reduce(fold, axes) = &op
            && let Some([rows, rest]) = self.rows_apart(*fold, axes, args[0].node().expect("a fold has a tensor operand"))
        {
            let x = self.graph.node(args[0].node().expect("as above"));
            let dims: SmallVec<[usize; 8]> = (0..x.shape.rank()).filter(|&a| !rows.contains(&(a as i64))).map(|a| x.shape[a]).collect();
            let each = self.intern(Op::Reduce(*fold, rows), args, &Shape::new(&dims).expect("part of a shape"), dtype, origin);
            return self.push(Op::Reduce(*fold, rest), smallvec![Arg::Node(each)], shape, dtype, origin);
        }
        self.intern(op, args, shape, dtype, origin)
    }

    /// Where a fold drops the last axes and, before axes that stay, others (the gradient of a convolution's bias): the two, so that rows
    /// over the last axes are folded first, and memory is read in its order.
    fn rows_apart(&self, fold: Fold, axes: &[i64], x: u32) -> Option<[AttrList; 2]> {
        let shape = &self.graph.node(x).shape;
        let folded = |axis: &usize| axes.contains(&(*axis as i64)) || shape[*axis] == 1;
        let left = (0..shape.rank()).rev().find(|axis| !folded(axis))? + 1;
        let long = shape[left..].iter().product::<usize>() >= SHORTEST_ROW;
        let others = (0..left).any(|axis| folded(&axis) && shape[axis] > 1);
        let (rest, rows): (AttrList, AttrList) = axes.iter().copied().partition(|&axis| axis < left as i64);
        (long && others && matches!(fold, Fold::Sum | Fold::Prod | Fold::Max | Fold::Min)).then_some([rows, rest])
    }

    fn intern(&mut self, op: Op, args: Args, shape: &Shape, dtype: DType, origin: u32) -> u32 {
        let node = Node { op, args, shape: self.shared(shape), dtype, origin };
        let nodes = &mut self.graph.nodes;
        let next = nodes.len() as u32;
        // Inputs are told apart by their number; a user's function may look at the clock, so it is not merged.
        if !matches!(node.op, Op::Opaque(..)) {
            let hash = |node| FxBuildHasher.hash_one(identity(node));
            let is_same = |&id: &u32| identity(&nodes[id as usize]) == identity(&node);
            match self.seen.entry(hash(&node), is_same, |&id| hash(&nodes[id as usize])) {
                Entry::Occupied(same) => return *same.get(),
                Entry::Vacant(free) => free.insert(next),
            };
        }
        nodes.push(node);
        next
    }

    fn shared(&mut self, shape: &Shape) -> Arc<Shape> {
        if let Some(known) = self.shapes.get(shape) {
            return known.clone();
        }
        let new = Arc::new(*shape);
        self.shapes.insert(new.clone());
        new
    }

    /// The scalar that fills an argument, where it is nothing else.
    fn seen_through(&self, a: Arg) -> Arg {
        match a {
            Arg::Node(n) => match (&self.graph.node(n).op, self.graph.node(n).args.as_slice()) {
                (Op::Do(Instr::Copy, _), [scalar @ Arg::Scalar(..)]) => *scalar,
                _ => a,
            },
            Arg::Scalar(..) => a,
        }
    }

    fn do_of(&self, a: Arg, instr: Instr) -> Option<Arg> {
        let n = self.graph.node(a.node()?);
        match n.op {
            Op::Do(i, _) if i == instr => n.args.first().copied(),
            _ => None,
        }
    }

    /// `a` as a node of this shape.
    fn as_node(&mut self, a: Arg, shape: &Shape, origin: u32) -> u32 {
        match a {
            Arg::Node(n) => n,
            Arg::Scalar(_, dtype) => self.intern(Op::Do(Instr::Copy, dtype), smallvec![a], shape, dtype, origin),
        }
    }

    fn rewrite(&mut self, instr: Instr, of: DType, args: &[Arg], shape: &Shape, origin: u32) -> Option<u32> {
        use Instr::*;
        let is = |a: Arg, v: f64| matches!(a, Arg::Scalar(Literal::Bits(b), d) if b == d.bits(v));
        let same = |b: &mut Self, a: Arg| Some(b.as_node(a, shape, origin));
        match (instr, args) {
            (Copy, [a @ Arg::Node(_)]) => same(self, *a),
            (Cast(to), [a]) if to == of => same(self, *a),
            (Neg | Not, [a]) => {
                let inner = self.do_of(*a, instr)?;
                same(self, inner)
            }
            (Mul, [a, b]) if is(*b, 1.0) => same(self, *a),
            (Mul, [a, b]) if is(*a, 1.0) => same(self, *b),
            (Mul, [a, b]) if is(*b, -1.0) => Some(self.push(Op::Do(Neg, of), smallvec![*a], shape, of, origin)),
            (Mul, [a, b]) if is(*a, -1.0) => Some(self.push(Op::Do(Neg, of), smallvec![*b], shape, of, origin)),
            (Div, [a, b]) if is(*b, 1.0) => same(self, *a),
            // x - 0 is x for every x; x + 0 is not for -0.0, but is for integers.
            (Sub, [a, b]) if is(*b, 0.0) => same(self, *a),
            (Add, [a, b]) if is(*b, 0.0) && of == DType::I64 => same(self, *a),
            (Add, [a, b]) if is(*a, 0.0) && of == DType::I64 => same(self, *b),
            (Pow, [a, b]) if is(*b, 1.0) => same(self, *a),
            (Pow, [a, b]) if is(*b, 2.0) => Some(self.push(Op::Do(Mul, of), smallvec![*a, *a], shape, of, origin)),
            (Select, [_, a, b]) if a == b => same(self, *a),
            _ => None,
        }
    }

    /// An instruction on values that are the same everywhere: done once, and the result repeated.
    fn uniform(&mut self, instr: Instr, of: DType, args: &[Arg], shape: &Shape, origin: u32) -> Option<u32> {
        if shape.size() <= 1 || instr == Instr::Copy || !args.iter().all(|&a| self.source_of_uniform(a).is_some()) {
            return None;
        }
        let single = &Shape::scalar();
        let mut once = Args::new();
        for &a in args {
            once.push(match self.source_of_uniform(a)? {
                Arg::Node(n) => {
                    let dtype = self.graph.node(n).dtype;
                    Arg::Node(self.push(Op::View(View::Reshape, AttrList::new()), smallvec![Arg::Node(n)], single, dtype, origin))
                }
                scalar => scalar,
            });
        }
        let dtype = instr.result(of);
        let once = self.push(Op::Do(instr, of), once, single, dtype, origin);
        let lengths: AttrList = shape.iter().map(|&d| d as i64).collect();
        Some(self.push(Op::View(View::Expand, lengths), smallvec![Arg::Node(once)], shape, dtype, origin))
    }

    /// The single element that an argument repeats, through any views.
    fn source_of_uniform(&self, a: Arg) -> Option<Arg> {
        let Arg::Node(mut n) = a else { return Some(a) };
        while self.graph.node(n).shape.size() != 1 {
            let node = self.graph.node(n);
            n = node.args.first()?.node().filter(|_| matches!(node.op, Op::View(..)))?;
        }
        Some(Arg::Node(n))
    }

    fn rewrite_view(&mut self, view: View, attrs: &AttrList, x: Option<u32>, shape: &Shape, origin: u32) -> Option<u32> {
        let x = x?;
        let from = self.graph.node(x).clone();
        let identity = match view {
            View::Reshape => *from.shape == *shape,
            View::Permute => attrs.iter().enumerate().all(|(i, &a)| i as i64 == a),
            View::Expand => *from.shape == *shape,
            View::Slice => *from.shape == *shape && attrs[..2 * shape.rank()].chunks_exact(2).all(|a| a == [0, 1]),
        };
        if identity {
            return Some(x);
        }
        match &from.op {
            // A view of a scalar's copies is that scalar's copies in another shape.
            Op::Do(Instr::Copy, of) if matches!(from.args[0], Arg::Scalar(..)) => {
                Some(self.push(Op::Do(Instr::Copy, *of), from.args.clone(), shape, from.dtype, origin))
            }
            Op::View(View::Reshape, _) if view == View::Reshape => {
                Some(self.push(Op::View(View::Reshape, AttrList::new()), from.args.clone(), shape, from.dtype, origin))
            }
            Op::View(View::Permute, inner) if view == View::Permute => {
                let both: AttrList = attrs.iter().map(|&a| inner[a as usize]).collect();
                Some(self.push(Op::View(View::Permute, both), from.args.clone(), shape, from.dtype, origin))
            }
            _ => None,
        }
    }

    /// The graph without what the wanted results do not need.
    pub fn finish(self, outputs: Vec<u32>, values: Vec<u32>) -> Graph {
        prune(Graph { outputs, values, ..self.graph })
    }
}

/// An order among arguments, so that `a + b` and `b + a` are one node.
fn rank_of(a: Arg) -> (u8, u64) {
    match a {
        Arg::Node(n) => (0, u64::from(n)),
        Arg::Scalar(Literal::Slot(s), _) => (1, u64::from(s)),
        Arg::Scalar(Literal::Minus(s), _) => (2, u64::from(s)),
        Arg::Scalar(Literal::Bits(b), _) => (3, b),
    }
}

/// Drops nodes that no result needs. Inputs stay, since the run binds them by number.
pub(super) fn prune(mut graph: Graph) -> Graph {
    let mut needed = vec![false; graph.nodes.len()];
    for &o in &graph.outputs {
        needed[o as usize] = true;
    }
    for id in (0..graph.nodes.len()).rev() {
        needed[id] |= matches!(graph.nodes[id].op, Op::Input(_));
        if needed[id] {
            for a in graph.nodes[id].args.iter().filter_map(|a| a.node()) {
                needed[a as usize] = true;
            }
        }
    }
    let mut number = Vec::with_capacity(needed.len());
    let mut next = 0;
    graph.nodes.retain_mut(|node| {
        let stays = needed[number.len()];
        if stays {
            node.renumber(&number);
        }
        number.push(if stays { next } else { DROPPED });
        next += u32::from(stays);
        stays
    });
    for id in graph.outputs.iter_mut().chain(&mut graph.values).filter(|id| **id != DROPPED) {
        *id = number[*id as usize];
    }
    graph
}
