//! Which sums are one product of stacks? Those of products of few terms each, whose operands can lie side by side.
//!
//! The gradient of a matrix that a recurrent network uses in each step is a sum of one short product for each: the steps' operands one
//! below the other are one product with long sums. The gradient of the bias is then one sum over the same stack. `sinks` has the pieces
//! written into their stack as they are computed. Sums are reassociated.

use super::{
    graph::{Arg, Args, AttrList, Graph, Literal, Node, Op},
    products,
    rebuild::{Rebuild, rebuild},
};
use crate::{DType, Fold, Instr, Shape, View};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::smallvec;

/// Products of up to so many terms each are too short to pay for reading and writing the sum.
const SHORT: usize = 128;
/// Fewer columns are not worth it.
const NARROWEST: usize = 32;
/// Nor are fewer multiplications in all.
const FEWEST: usize = 1 << 18;
/// Elements of an operand that may have to be copied.
const MOST: usize = 1 << 20;

/// The same graph with these sums as one. The values of `kept` nodes stay values.
pub(crate) fn stack(graph: Graph, kept: &[u32]) -> Graph {
    let products = short_products(&graph);
    if products.is_empty() {
        return graph;
    }
    let sums = sums(&graph, &products::readers(&graph, kept), products.values().map(|p| p.right.as_slice()).collect());
    rebuild(graph, |r, id| match (products.get(&id), sums.get(&id)) {
        (Some(product), _) => r.product(product, id),
        (_, Some(sum)) => r.sum(sum, id),
        _ => r.same(r.old.node(id)),
    })
}

/// A sum of short products as one.
struct Product {
    /// The left operands.
    left: Vec<u32>,
    /// Whether their transposes are what is put one below the other, as most of them are transposes.
    turned: bool,
    /// The right operands.
    right: Vec<u32>,
}

/// Sums of short products, by node. Those that share right operands have them in the same order, where they can.
fn short_products(g: &Graph) -> FxHashMap<u32, Product> {
    let mut found: Vec<(u32, Product)> = (0..).zip(&g.nodes).filter_map(|(id, node)| Some((id, short_product(g, node)?))).collect();
    // What lies one below the other already gives the order.
    let in_place = |p: &Product| p.turned && lies_in_blocks(g, &p.left);
    found.sort_by_key(|(_, p)| !in_place(p));
    let mut position: FxHashMap<u32, usize> = FxHashMap::default();
    for (_, product) in &mut found {
        let mut terms: Vec<(u32, u32)> = product.left.iter().copied().zip(product.right.iter().copied()).collect();
        if !in_place(product) {
            terms.sort_by_key(|t| position.get(&t.1).copied());
        }
        (product.left, product.right) = terms.into_iter().unzip();
        for &b in &product.right {
            let next = position.len();
            position.entry(b).or_insert(next);
        }
    }
    found.into_iter().collect()
}

fn short_product(g: &Graph, node: &Node) -> Option<Product> {
    let terms = node.args.chunks_exact(3);
    if node.op != Op::Contract || node.shape.rank() != 2 || terms.len() < 2 {
        return None;
    }
    let (m, n) = (node.shape[0], node.shape[1]);
    let operand = |i: usize| terms.clone().map(|t| t[i].node()).collect::<Option<Vec<u32>>>();
    let (mut left, mut right) = (operand(0)?, operand(1)?);
    let length = |&a: &u32| g.node(a).shape[1];
    let all: usize = left.iter().map(length).sum();
    let short = left.iter().all(|a| (1..=SHORT).contains(&length(a))) && terms.clone().all(|t| t[2] == node.args[2]);
    if !short || n < NARROWEST || m * n * all < FEWEST || all * m.max(n) > MOST {
        return None;
    }
    let turned = 2 * left.iter().filter(|&&a| transposed(g, a).is_some()).count() > left.len();
    let offset = |a: u32| g.layout(a).map(|l| l.offset);
    let mut order: Vec<usize> = (0..left.len()).collect();
    order.sort_by_key(|&t| offset(left[t]));
    let sorted = |list: &[u32]| order.iter().map(|&t| list[t]).collect::<Vec<_>>();
    if turned && lies_in_blocks(g, &sorted(&left)) {
        (left, right) = (sorted(&left), sorted(&right));
    }
    Some(Product { left, turned, right })
}

/// Whether these are the transposes of neighbouring blocks of rows.
fn lies_in_blocks(g: &Graph, left: &[u32]) -> bool {
    let pieces: Option<Vec<u32>> = left.iter().map(|&a| transposed(g, a)).collect();
    pieces.is_some_and(|p| blocks(g, &p).is_some())
}

/// What a node is the transpose of.
fn transposed(g: &Graph, id: u32) -> Option<u32> {
    let node = g.node(id);
    (node.op == Op::View(View::Permute, smallvec![1, 0])).then(|| node.args[0].node()).flatten()
}

/// The base that neighbouring blocks of rows lie in, and the first row, if they do.
fn blocks(g: &Graph, pieces: &[u32]) -> Option<(u32, usize)> {
    let first = g.layout(pieces[0])?;
    let cols = g.node(pieces[0]).shape[1];
    let mut next = first.offset;
    for &piece in pieces {
        let (layout, shape) = (g.layout(piece)?, &g.node(piece).shape);
        if layout.base != first.base || layout.offset != next || !layout.is_block(shape) || shape[1] != cols {
            return None;
        }
        next += shape.size() as isize;
    }
    let rows = usize::try_from(first.offset).ok().filter(|o| o.is_multiple_of(cols)).map(|o| o / cols);
    let fits = g.node(first.base).shape.size().is_multiple_of(cols) && first.base != pieces[0];
    rows.filter(|_| fits).map(|rows| (first.base, rows))
}

/// A sum of sums over the rows of matrices.
struct Sum {
    /// The matrices, which are the right operands of a product.
    matrices: Vec<u32>,
    /// What else is added.
    others: Vec<u32>,
}

/// Sums of sums over the rows of just the matrices that some product has as its right operands, by node.
fn sums(g: &Graph, readers: &[u32], stacks: FxHashSet<&[u32]>) -> FxHashMap<u32, Sum> {
    let (mut found, mut inside) = (FxHashMap::default(), FxHashSet::default());
    let is_sum = |id: u32| matches!(g.node(id).op, Op::Do(Instr::Add, DType::F32 | DType::F64 | DType::I64));
    for root in (0..g.nodes.len() as u32).rev().filter(|&id| is_sum(id)) {
        if inside.contains(&root) {
            continue;
        }
        let (mut open, mut sum) = (vec![root], Sum { matrices: Vec::new(), others: Vec::new() });
        while let Some(id) = open.pop() {
            let node = g.node(id);
            let args = || node.args.iter().filter_map(|a| a.node());
            if id != root && readers[id as usize] != 1 {
                sum.others.push(id);
            } else if is_sum(id) && args().count() == 2 {
                inside.insert(id);
                open.extend(args().rev());
            } else {
                let rows = matches!(&node.op, Op::Reduce(Fold::Sum, axes) if axes[..] == [0]) && node.shape.rank() == 1;
                if rows { sum.matrices.extend(args()) } else { sum.others.push(id) }
            }
        }
        if sum.matrices.len() > 1
            && let Some(stack) = stacks.iter().find(|s| same_set(s, &sum.matrices))
        {
            found.insert(root, Sum { matrices: stack.to_vec(), ..sum });
        }
    }
    found
}

/// Whether two lists have the same elements, each as often.
fn same_set(a: &[u32], b: &[u32]) -> bool {
    let sorted = |list: &[u32]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    a.len() == b.len() && sorted(a) == sorted(b)
}

impl Rebuild<'_> {
    fn product(&mut self, product: &Product, id: u32) -> u32 {
        let node = self.old.node(id);
        let operand = |r: &mut Self, a: u32| if product.turned { r.transpose(a) } else { r.number[a as usize] };
        let left: Vec<u32> = product.left.iter().map(|&a| operand(self, a)).collect();
        let mut a = self.stacked(&left, usize::from(!product.turned), node.origin);
        if product.turned {
            a = self.permuted(a, node.origin);
        }
        let b = self.stack(&product.right, node.origin);
        let mut args: Args = smallvec![Arg::Node(a), Arg::Node(b), node.args[2]];
        args.extend((node.args.len() % 3 == 1).then(|| self.moved(node.args[node.args.len() - 1])));
        self.builder.push(Op::Contract, args, &node.shape, node.dtype, node.origin)
    }

    fn sum(&mut self, sum: &Sum, id: u32) -> u32 {
        let node = self.old.node(id);
        let stack = smallvec![Arg::Node(self.stack(&sum.matrices, node.origin))];
        let mut made = self.builder.push(Op::Reduce(Fold::Sum, smallvec![0]), stack, &node.shape, node.dtype, node.origin);
        for &other in &sum.others {
            let args = smallvec![Arg::Node(made), Arg::Node(self.number[other as usize])];
            made = self.builder.push(Op::Do(Instr::Add, node.dtype), args, &node.shape, node.dtype, node.origin);
        }
        made
    }

    /// The transpose of an old node.
    fn transpose(&mut self, a: u32) -> u32 {
        match transposed(self.old, a) {
            Some(x) => self.number[x as usize],
            None => self.permuted(self.number[a as usize], self.old.node(a).origin),
        }
    }

    fn permuted(&mut self, x: u32, origin: u32) -> u32 {
        let from = self.builder.graph.node(x);
        let (dtype, shape) = (from.dtype, Shape::new(&[from.shape[1], from.shape[0]]).expect("no larger than before"));
        self.builder.push(Op::View(View::Permute, smallvec![1, 0]), smallvec![Arg::Node(x)], &shape, dtype, origin)
    }

    /// Old nodes, one below the other.
    fn stack(&mut self, pieces: &[u32], origin: u32) -> u32 {
        let pieces: Vec<u32> = pieces.iter().map(|&p| self.number[p as usize]).collect();
        self.stacked(&pieces, 0, origin)
    }

    /// Matrices side by side along an axis: a view of what they are blocks of, or put together.
    fn stacked(&mut self, pieces: &[u32], axis: usize, origin: u32) -> u32 {
        let g = &self.builder.graph;
        let first = g.node(pieces[0]);
        let (dtype, dims) = (first.dtype, [first.shape[0], first.shape[1]]);
        let length = |p: &u32| g.node(*p).shape[axis];
        let total: usize = pieces.iter().map(length).sum();
        let shape = |length: usize| {
            let mut dims = dims;
            dims[axis] = length;
            Shape::new(&dims).expect("no larger than the operands of a product")
        };
        if let Some((base, first)) = (axis == 0).then(|| blocks(g, pieces)).flatten() {
            let rows = g.node(base).shape.size() / dims[1];
            let reshape = Op::View(View::Reshape, AttrList::new());
            let all = self.builder.push(reshape, smallvec![Arg::Node(base)], &shape(rows), dtype, origin);
            let range = smallvec![first as i64, 1, 0, 1, total as i64, dims[1] as i64];
            return self.builder.push(Op::View(View::Slice, range), smallvec![Arg::Node(all)], &shape(total), dtype, origin);
        }
        let (mut attrs, mut start) = (AttrList::new(), 0);
        for piece in pieces {
            let mut at = [0, 1, 0, 1];
            at[2 * axis] = start as i64;
            attrs.extend(at);
            start += length(piece);
        }
        attrs.extend(shape(total).iter().map(|&d| d as i64)); // as recorded: the lengths of the whole
        let fill = Arg::Scalar(Literal::Bits(0), dtype);
        let args = [fill].into_iter().chain(pieces.iter().map(|&p| Arg::Node(p))).collect();
        self.builder.push(Op::Place(attrs), args, &shape(total), dtype, origin)
    }
}
