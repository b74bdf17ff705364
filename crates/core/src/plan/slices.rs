//! Is a slice taken before the arithmetic on the whole? Where all of it is read in slices, these are computed where they are read.
//!
//! The gates of a recurrent network are slices of one sum: computed slice by slice they share a loop with what is done to them.

use super::{
    graph::{Arg, Args, AttrList, Graph, Node, Op},
    products,
    rebuild::{Rebuild, rebuild},
};
use crate::View;
use smallvec::smallvec;

/// Slices go through no more than so many instructions in a row.
const DEEPEST: u32 = 16;
/// Slices of fewer elements, on the average, are not worth loops of their own.
const SMALLEST: usize = 64;

/// The same graph with slices before arithmetic. The values of `kept` nodes stay values.
pub(crate) fn slice_first(graph: Graph, kept: &[u32]) -> Graph {
    let depths = depths(&graph, kept);
    if depths.iter().all(|&depth| depth == 0) {
        return graph;
    }
    rebuild(graph, |r, id| match (&r.old.node(id).op, r.old.node(id).args.first()) {
        (Op::View(View::Slice, attrs), Some(&Arg::Node(x))) => sliced(r, &depths, x, attrs, r.old.node(id)),
        _ => r.same(r.old.node(id)),
    })
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

/// A slice of an old node, like `slice`.
fn sliced(r: &mut Rebuild, depths: &[u32], id: u32, attrs: &AttrList, slice: &Node) -> u32 {
    let node = r.old.node(id);
    if depths[id as usize] == 0 {
        let args = smallvec![Arg::Node(r.number[id as usize])];
        return r.builder.push(Op::View(View::Slice, attrs.clone()), args, &slice.shape, node.dtype, slice.origin);
    }
    let args: Args = node.args.iter().map(|&a| a.node().map_or(a, |n| Arg::Node(sliced(r, depths, n, attrs, slice)))).collect();
    r.builder.push(node.op.clone(), args, &slice.shape, node.dtype, slice.origin)
}
