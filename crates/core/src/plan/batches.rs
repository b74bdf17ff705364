//! Which products are parts of one larger product? Those of one matrix with slices of one tensor, and those that a sum adds up.
//!
//! A recurrent network multiplies each step of its input by the same weights: that is one product, of which each step takes its rows. The
//! gradient of a matrix that a batch shares is a sum over the batch: that is one product with longer sums, if rows run on into each other.
//! What is summed is the same, in the order of the longer product.

use super::{
    graph::{Arg, Args, AttrList, Graph, Node, Op},
    products,
    rebuild::{Rebuild, rebuild},
};
use crate::{Fold, Shape, View};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::{SmallVec, smallvec};

/// The same graph with these products joined. The values of `kept` nodes stay values.
pub(crate) fn join(graph: Graph, kept: &[u32]) -> Graph {
    let Some(readers) = graph.nodes.iter().any(|n| n.op == Op::Contract).then(|| products::readers(&graph, kept)) else { return graph };
    let (shared, summed) = (shared(&graph, kept), summed(&graph, &readers));
    if shared.is_empty() && summed.is_empty() {
        return graph;
    }
    let mut whole = FxHashMap::default();
    rebuild(graph, |r, id| match (shared.get(&id), summed.get(&id)) {
        (Some(part), _) => Join { r, whole: &mut whole }.part(part, id),
        (_, Some(sum)) => Join { r, whole: &mut whole }.sum(sum, id),
        _ => r.same(r.old.node(id)),
    })
}

/// A product that is some rows of a larger one.
#[derive(Clone, Copy)]
struct Part {
    /// Whose rows all parts multiply.
    base: u32,
    /// The first of the larger product's blocks of rows, and how many there are, in blocks of the base.
    first: usize,
    count: usize,
    /// Which of them this is.
    at: usize,
}

/// What products that are joined have in common: the base of their left operands, the matrix, the factor, and the number of their rows.
type Common = (u32, Arg, Arg, usize);

/// Products of one matrix with neighbouring dense blocks of rows of one tensor, by node.
fn shared(g: &Graph, kept: &[u32]) -> FxHashMap<u32, Part> {
    // What is wanted, or kept for later, needs memory of its own.
    let own: FxHashSet<u32> = g.outputs.iter().copied().chain(kept.iter().map(|&k| g.values[k as usize])).collect();
    let mut groups: FxHashMap<Common, Vec<(usize, u32)>> = FxHashMap::default();
    let plain = |node: &Node| node.op == Op::Contract && node.args.len() == 3 && node.shape.rank() == 2;
    for (id, node) in (0..).zip(&g.nodes).filter(|(id, n)| plain(n) && !own.contains(id)) {
        let a = node.args[0].node().expect("a product has tensor operands");
        let (shape, layout) = (&g.node(a).shape, g.layout(a));
        let Some(layout) = layout.filter(|l| l.base != a && shape.size() > 0) else { continue };
        let dense = layout.is_block(shape);
        let in_blocks = |elements: usize| elements.is_multiple_of(shape.size());
        if dense && layout.offset >= 0 && in_blocks(layout.offset as usize) && in_blocks(g.node(layout.base).shape.size()) {
            let key = (layout.base, node.args[1], node.args[2], shape[0]);
            groups.entry(key).or_default().push((layout.offset as usize / shape.size(), id));
        }
    }
    let mut parts = FxHashMap::default();
    for ((base, ..), mut members) in groups {
        members.sort_unstable();
        let first = members[0].0;
        let together = members.len() > 1 && members.iter().enumerate().all(|(at, m)| m.0 == first + at);
        for (at, &(_, id)) in members.iter().enumerate().filter(|_| together) {
            parts.insert(id, Part { base, first, count: members.len(), at });
        }
    }
    parts
}

/// A sum of products over axes of their batch.
struct Sum {
    /// The product.
    args: Args,
    /// Each operand's axes with those summed beside the inner one, and then as one.
    turned: [(AttrList, Shape); 2],
}

/// Sums of products over batch axes that nobody else reads and that no operand is copied for, by node.
fn summed(g: &Graph, readers: &[u32]) -> FxHashMap<u32, Sum> {
    let sum_of = |node: &Node| match &node.op {
        Op::Reduce(Fold::Sum, axes) => node.args[0].node().filter(|&x| g.node(x).op == Op::Contract).map(|x| (x, axes.clone())),
        _ => None,
    };
    let mut found = FxHashMap::default();
    for (id, node) in g.nodes.iter().enumerate() {
        let Some((x, axes)) = sum_of(node).filter(|(x, _)| readers[*x as usize] == 1) else { continue };
        let product = g.node(x);
        let batch = product.shape.rank() - 2;
        if product.args.len() == 3 && axes.iter().all(|&a| (a as usize) < batch) {
            let turned = [(0, true), (1, false)].map(|(i, left)| turn(g, product.args[i].node()?, &axes, left));
            if let [Some(a), Some(b)] = turned {
                found.insert(id as u32, Sum { args: product.args.clone(), turned: [a, b] });
            }
        }
    }
    found
}

/// The order of an operand's axes that puts the summed ones before the inner one, and its shape with these as one; `None` if that needs
/// a copy.
fn turn(g: &Graph, x: u32, summed: &[i64], left: bool) -> Option<(AttrList, Shape)> {
    let from = &g.node(x).shape;
    let batch = from.rank() as i64 - 2;
    let kept = (0..batch).filter(|a| !summed.contains(a));
    let inner = if left { batch + 1 } else { batch };
    let run = summed.iter().copied().chain([inner]);
    let length: usize = run.clone().map(|a| from[a as usize]).product();
    let order: AttrList = if left { kept.chain([batch]).chain(run).collect() } else { kept.chain(run).chain([batch + 1]).collect() };
    let mut lengths: SmallVec<[usize; 8]> = order.iter().map(|&a| from[a as usize]).collect();
    let at = lengths.len() - summed.len() - if left { 1 } else { 2 };
    lengths.drain(at..=at + summed.len());
    lengths.insert(at, length);
    let turned: SmallVec<[usize; 8]> = order.iter().map(|&a| from[a as usize]).collect();
    let (turned, to) = (Shape::new(&turned)?, Shape::new(&lengths)?);
    let layout = g.layout(x)?.through(View::Permute, &order, from, &turned)?;
    layout.through(View::Reshape, &[], &turned, &to).map(|_| (order, to))
}

struct Join<'a, 'g> {
    r: &'a mut Rebuild<'g>,
    /// The larger products made so far.
    whole: &'a mut FxHashMap<Common, u32>,
}

impl Join<'_, '_> {
    fn view(&mut self, view: View, attrs: AttrList, x: u32, shape: &Shape, node: &Node) -> u32 {
        self.r.builder.push(Op::View(view, attrs), smallvec![Arg::Node(x)], shape, node.dtype, node.origin)
    }

    fn part(&mut self, part: &Part, id: u32) -> u32 {
        let (g, node) = (self.r.old, self.r.old.node(id));
        let (rows, inner) = (node.shape[0], g.node(node.args[0].node().expect("a tensor operand")).shape[1]);
        let key = (part.base, node.args[1], node.args[2], rows);
        let shape = |rows: usize, cols: usize| Shape::new(&[rows, cols]).expect("no larger than the base");
        let range = |[first, rows, cols]: [usize; 3]| AttrList::from_slice(&[first as i64, 1, 0, 1, rows as i64, cols as i64]);
        let whole = match self.whole.get(&key) {
            Some(&whole) => whole,
            None => {
                let all = self.r.number[part.base as usize];
                let total = g.node(part.base).shape.size() / inner;
                let all = self.view(View::Reshape, AttrList::new(), all, &shape(total, inner), node);
                let (first, count) = (part.first * rows, part.count * rows);
                let a = self.view(View::Slice, range([first, count, inner]), all, &shape(count, inner), node);
                let args = smallvec![Arg::Node(a), self.r.moved(node.args[1]), node.args[2]];
                let whole = self.r.builder.push(Op::Contract, args, &shape(count, node.shape[1]), node.dtype, node.origin);
                self.whole.insert(key, whole);
                whole
            }
        };
        self.view(View::Slice, range([part.at * rows, rows, node.shape[1]]), whole, &node.shape, node)
    }

    fn sum(&mut self, sum: &Sum, id: u32) -> u32 {
        let (node, mut args) = (self.r.old.node(id), sum.args.clone());
        for (i, (order, to)) in sum.turned.iter().enumerate() {
            let Arg::Node(x) = self.r.moved(sum.args[i]) else { unreachable!("a product has tensor operands") };
            let from = self.r.builder.graph.node(x).shape.clone();
            let turned: SmallVec<[usize; 8]> = order.iter().map(|&a| from[a as usize]).collect();
            let turned = Shape::new(&turned).expect("as many elements as before");
            let x = self.view(View::Permute, order.clone(), x, &turned, node);
            args[i] = Arg::Node(self.view(View::Reshape, AttrList::new(), x, to, node));
        }
        self.r.builder.push(Op::Contract, args, &node.shape, node.dtype, node.origin)
    }
}
