//! Where one element per row is picked, is it picked before the arithmetic? And what is the sum of a row with one element?
//!
//! A cross-entropy picks one logarithm of a probability per row, and its gradient puts one element into each row of zeros. Picked first,
//! the arithmetic is done on the picked elements alone; and the sum over a row that is zero but at one place is the element there.

use super::{
    fuse::spot,
    graph::{Arg, AttrList, Graph, Node, Op},
    rebuild::{Rebuild, rebuild},
    simplify::Builder,
};
use crate::{Fold, Index, Instr, Shape, View};
use smallvec::smallvec;

/// Arithmetic is done on picked elements if these come from no more tensors than so many.
const MOST_PICKS: usize = 3;
/// And if no element is the result of more than so many instructions in a row.
const DEEPEST: usize = 8;

/// The same graph with picks first.
pub(crate) fn pick_first(graph: Graph) -> Graph {
    let picks = |node: &Node| matches!(node.op, Op::Index(Index::Gather | Index::ScatterAdd, _));
    if !graph.nodes.iter().any(picks) {
        return graph;
    }
    let used = used_whole(&graph);
    rebuild(graph, |r, id| picked(r, &used, id))
}

/// By node, whether something other than a sum of it, or of its negative, reads it: then an index out of range is reported there.
fn used_whole(g: &Graph) -> Vec<bool> {
    let mut used = vec![false; g.nodes.len()];
    g.outputs.iter().for_each(|&o| used[o as usize] = true);
    for (id, node) in g.nodes.iter().enumerate().rev() {
        let counts = match node.op {
            Op::Reduce(..) => false,
            Op::Do(Instr::Neg, _) => used[id],
            _ => true,
        };
        if counts {
            node.args.iter().filter_map(|a| a.node()).for_each(|a| used[a as usize] = true);
        }
    }
    used
}

fn picked(r: &mut Rebuild, used: &[bool], id: u32) -> u32 {
    let (old, number) = (r.old, &r.number);
    let node = old.node(id);
    let args = r.args(node);
    let mut picks = Picks { builder: &mut r.builder, number };
    let found = match &node.op {
        Op::Index(Index::Gather, axis) => picks.gather(*axis, &args, node),
        Op::Reduce(Fold::Sum, axes) => picks.sum(old, used, axes, node),
        _ => None,
    };
    found.unwrap_or_else(|| r.same(node))
}

struct Picks<'a> {
    builder: &'a mut Builder,
    /// By old node, the new one.
    number: &'a [u32],
}

impl Picks<'_> {
    /// The arithmetic of operand 0 on what is picked from its own operands.
    fn gather(&mut self, axis: usize, args: &[Arg], node: &Node) -> Option<u32> {
        let (x, index) = (args[0].node()?, args[1].node()?);
        if node.shape[axis] != 1 || !matches!(self.builder.graph.node(x).op, Op::Do(..)) {
            return None;
        }
        let mut pick = Pick { axis, index, shape: *node.shape, origin: node.origin, picks: 0 };
        let picked = self.picked(args[0], &mut pick, DEEPEST)?.node()?;
        (1..=MOST_PICKS).contains(&pick.picks).then_some(picked)
    }

    fn picked(&mut self, x: Arg, pick: &mut Pick, depth: usize) -> Option<Arg> {
        let Arg::Node(n) = x else { return Some(x) };
        let node = self.builder.graph.node(n).clone();
        let made = match &node.op {
            Op::Do(..) if depth == 0 => return None,
            Op::Do(Instr::Copy, _) if node.args[0].node().is_none() => node.args[0],
            Op::Do(instr, of) => {
                let args = node.args.iter().map(|&a| self.picked(a, pick, depth - 1)).collect::<Option<_>>()?;
                Arg::Node(self.builder.push(Op::Do(*instr, *of), args, &pick.shape, node.dtype, pick.origin))
            }
            Op::View(View::Expand, attrs) if self.repeats(&node, attrs, pick.axis) => {
                let rank = attrs.len() - node.shape.rank();
                let attrs: AttrList = attrs[..rank].iter().copied().chain(pick.shape.iter().map(|&d| d as i64)).collect();
                Arg::Node(self.builder.push(Op::View(View::Expand, attrs), node.args.clone(), &pick.shape, node.dtype, pick.origin))
            }
            _ => {
                pick.picks += 1;
                let op = Op::Index(Index::Gather, pick.axis);
                Arg::Node(self.builder.push(op, smallvec![x, Arg::Node(pick.index)], &pick.shape, node.dtype, pick.origin))
            }
        };
        Some(made)
    }

    /// Whether a broadcast repeats its operand along an axis.
    fn repeats(&self, expand: &Node, attrs: &[i64], axis: usize) -> bool {
        let from = self.builder.graph.node(expand.args[0].node().expect("a view has a tensor operand"));
        let source = attrs[..from.shape.rank()].iter().position(|&at| at as usize == axis);
        source.is_none_or(|s| from.shape[s] == 1) && expand.shape[axis] != 1
    }

    /// The sum over rows that are zero but at one place, or over their negatives: the same but for the sign of a zero.
    fn sum(&mut self, old: &Graph, used: &[bool], axes: &AttrList, node: &Node) -> Option<u32> {
        let mut x = node.args[0].node()?;
        let negated = matches!(old.node(x).op, Op::Do(Instr::Neg, _));
        if negated {
            x = old.node(x).args[0].node()?;
        }
        let (axis, _, value) = spot(old, old.node(x))?;
        if axes[..] != [axis as i64] || !used[x as usize] {
            return None;
        }
        let value = self.number[value.node()? as usize];
        let reshape = Op::View(View::Reshape, AttrList::new());
        let sum = self.builder.push(reshape, smallvec![Arg::Node(value)], &node.shape, node.dtype, node.origin);
        let negative = Op::Do(Instr::Neg, node.dtype);
        Some(if negated { self.builder.push(negative, smallvec![Arg::Node(sum)], &node.shape, node.dtype, node.origin) } else { sum })
    }
}

/// What is picked.
struct Pick {
    axis: usize,
    index: u32,
    shape: Shape,
    origin: u32,
    /// How many tensors it is picked from.
    picks: usize,
}
