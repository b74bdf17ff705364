//! Is a slice taken before the arithmetic on the whole? Where all of it is read in slices, these are computed where they are read.
//!
//! The gates of a recurrent network are slices of one sum: computed slice by slice they share a loop with what is done to them.

use super::{
    graph::{Arg, Args, AttrList, DROPPED, Graph, Node, Op},
    products,
    simplify::Builder,
};
use crate::View;
use smallvec::smallvec;

/// Slices go through no more than so many instructions in a row.
const DEEPEST: u32 = 16;
/// Slices of fewer elements, on the average, are not worth loops of their own.
const SMALLEST: usize = 64;

/// The same graph with slices before arithmetic. The values of `kept` nodes stay values.
pub(crate) fn slice_first(mut graph: Graph, kept: &[u32]) -> Graph {
    let depths = depths(&graph, kept);
    if depths.iter().all(|&depth| depth == 0) {
        return graph;
    }
    let mut s = Slices { depths, builder: Builder::with_capacity(graph.nodes.len()), number: Vec::with_capacity(graph.nodes.len()) };
    s.builder.graph.inputs = graph.inputs;
    s.builder.graph.functions = std::mem::take(&mut graph.functions);
    for node in &graph.nodes {
        let new = match (&node.op, node.args.first()) {
            (Op::View(View::Slice, attrs), Some(&Arg::Node(x))) => s.sliced(&graph, x, attrs, node),
            _ => {
                let args = node.args.iter().map(|&a| a.node().map_or(a, |n| Arg::Node(s.number[n as usize]))).collect();
                s.builder.push(node.op.clone(), args, &node.shape, node.dtype, node.origin)
            }
        };
        s.number.push(new);
    }
    let renumber = |ids: &[u32]| ids.iter().map(|&id| if id == DROPPED { id } else { s.number[id as usize] }).collect();
    let (outputs, values) = (renumber(&graph.outputs), renumber(&graph.values));
    s.builder.finish(outputs, values)
}

/// For each instruction: 0 if it is computed whole; 1 if everything that reads it is a slice, and these slices together have no more
/// elements than it has; d + 1 if its only reader is an instruction with d, and it moves along with that one.
fn depths(g: &Graph, kept: &[u32]) -> Vec<u32> {
    let readers = products::readers(g, kept);
    let none = || vec![0usize; g.nodes.len()];
    let (mut slices, mut covered, mut depths) = (none(), none(), vec![0u32; g.nodes.len()]);
    let mut after = vec![0u32; g.nodes.len()];
    for (id, node) in g.nodes.iter().enumerate().rev() {
        let is_slice = matches!(node.op, Op::View(View::Slice, _));
        if matches!(node.op, Op::Do(..)) && node.args.iter().any(|a| a.node().is_some()) {
            let all = readers[id] as usize;
            let in_slices = slices[id] > 0 && slices[id] == all && (SMALLEST * all..=node.shape.size()).contains(&covered[id]);
            if in_slices || (all == 1 && (1..DEEPEST).contains(&after[id])) {
                depths[id] = after[id] + 1;
            }
        }
        for a in node.args.iter().filter_map(|a| a.node()) {
            let a = a as usize;
            slices[a] += usize::from(is_slice);
            covered[a] += if is_slice { node.shape.size() } else { 0 };
            after[a] = depths[id];
        }
    }
    depths
}

struct Slices {
    /// See [`depths`].
    depths: Vec<u32>,
    builder: Builder,
    /// By old node, the new one.
    number: Vec<u32>,
}

impl Slices {
    /// A slice of an old node, like `slice`.
    fn sliced(&mut self, old: &Graph, id: u32, attrs: &AttrList, slice: &Node) -> u32 {
        let node = old.node(id);
        if self.depths[id as usize] == 0 {
            let args = smallvec![Arg::Node(self.number[id as usize])];
            return self.builder.push(Op::View(View::Slice, attrs.clone()), args, &slice.shape, node.dtype, slice.origin);
        }
        let args: Args = node.args.iter().map(|&a| a.node().map_or(a, |n| Arg::Node(self.sliced(old, n, attrs, slice)))).collect();
        self.builder.push(node.op.clone(), args, &slice.shape, node.dtype, node.origin)
    }
}
