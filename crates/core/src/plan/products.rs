//! Which sums, factors and signs does a matrix product compute on its own? Trees of them become one node per sum of products.
//! Sums of pieces that lie apart, in zeros, become one node likewise: the gradients of slices of one tensor.
//!
//! A product writes `add + Σ alpha * a @ b`, so what is added to a product, or multiplies it, need not pass through memory again: the
//! gradients of a weight used many times are one sum, a bias is where the sum begins. Sums may be reassociated; nothing else about their
//! values changes, with two exceptions: a known factor of moderate size leaves an operand, so overflow may come earlier or later, and
//! a piece keeps its negative zeros, which the zeros around other pieces would have made positive.

use super::graph::{Arg, Args, AttrList, DROPPED, Graph, Literal, Node, Op};
use crate::{DType, Instr};
use smallvec::{SmallVec, smallvec};
use std::collections::BTreeMap;

/// Factors leave an operand if they lie between this and its inverse: a power of two.
const MODERATE: f64 = (1 << 20) as f64;

/// The graph with its sums of products folded. The values of `kept` nodes stay values.
pub(crate) fn fold(graph: Graph, kept: &[u32]) -> Graph {
    if !graph.nodes.iter().any(|n| matches!(n.op, Op::Contract | Op::Place(_))) {
        return graph;
    }
    let readers = Readers::of(&graph, kept);
    let roots = roots(&graph, &readers);
    rebuild(graph, &readers, &roots)
}

/// How each node's value is read.
struct Readers {
    /// How often in all; results and what is kept count as read.
    all: Vec<u32>,
    /// How often by loops over elements, in step.
    loops: Vec<u32>,
    /// How often as an operand of a product.
    products: Vec<u32>,
}

impl Readers {
    fn of(g: &Graph, kept: &[u32]) -> Readers {
        let none = || vec![0; g.nodes.len()];
        let mut r = Readers { all: none(), loops: none(), products: none() };
        for node in &g.nodes {
            for a in node.args.iter().filter_map(|a| a.node()) {
                r.all[a as usize] += 1;
                match node.op {
                    Op::Do(..) | Op::Reduce(..) => r.loops[a as usize] += 1,
                    Op::Contract => r.products[a as usize] += 1,
                    _ => {}
                }
            }
        }
        let kept = kept.iter().map(|&k| g.values[k as usize]).filter(|&n| n != DROPPED);
        for o in g.outputs.iter().copied().chain(kept) {
            r.all[o as usize] += 1;
        }
        r
    }
}

/// How often each node's value is read; results and what is kept count as read.
pub(super) fn readers(g: &Graph, kept: &[u32]) -> Vec<u32> {
    Readers::of(g, kept).all
}

/// A product's factor: a scalar of the run, or a number.
#[derive(Clone, Copy, PartialEq)]
enum Factor {
    Number(f64),
    Slot(u32),
    Minus(u32),
}

impl Factor {
    const ONE: Factor = Factor::Number(1.0);
    const MINUS_ONE: Factor = Factor::Number(-1.0);

    /// The product of two, if it is a factor again.
    fn times(self, other: Factor) -> Option<Factor> {
        match (self, other) {
            (Factor::Number(x), Factor::Number(y)) => Some(Factor::Number(x * y)),
            (Factor::ONE, f) | (f, Factor::ONE) => Some(f),
            (Factor::MINUS_ONE, f) | (f, Factor::MINUS_ONE) => Some(f.negative()),
            _ => None,
        }
    }

    fn negative(self) -> Factor {
        match self {
            Factor::Number(x) => Factor::Number(-x),
            Factor::Slot(s) => Factor::Minus(s),
            Factor::Minus(s) => Factor::Slot(s),
        }
    }

    fn arg(self, dtype: DType) -> Arg {
        match self {
            Factor::Number(x) => Arg::Scalar(Literal::Bits(dtype.bits(x)), dtype),
            Factor::Slot(s) => Arg::Scalar(Literal::Slot(s), dtype),
            Factor::Minus(s) => Arg::Scalar(Literal::Minus(s), dtype),
        }
    }
}

/// The scalar as a factor of values of this dtype. Numbers of integers are small ones, which a double holds.
fn factor(a: Arg, dtype: DType) -> Option<Factor> {
    match a {
        Arg::Scalar(literal, of) if of == dtype => match literal {
            Literal::Slot(s) => Some(Factor::Slot(s)),
            Literal::Minus(s) => Some(Factor::Minus(s)),
            Literal::Bits(b) => Some(Factor::Number(dtype.number(b))).filter(|f| dtype.is_float() || *f == Factor::ONE),
        },
        _ => None,
    }
}

/// What a node is, times a factor: another node times another.
fn scaled(node: &Node) -> Option<(u32, Factor)> {
    let Op::Do(instr, of) = node.op else { return None };
    let x = node.args[0].node()?;
    match instr {
        Instr::Neg => Some((x, Factor::MINUS_ONE)),
        Instr::Mul => Some((x, factor(*node.args.get(1)?, of)?)),
        Instr::Div => match factor(*node.args.get(1)?, of)? {
            Factor::Number(d) if is_power_of_two(d) => Some((x, Factor::Number(1.0 / d))),
            _ => None,
        },
        _ => None,
    }
}

/// Whether dividing by a number is multiplying by its inverse, to the bit.
fn is_power_of_two(d: f64) -> bool {
    d.abs().to_bits().trailing_zeros() >= 52 && (1.0 / MODERATE..=MODERATE).contains(&d.abs())
}

/// A sum that is computed at once.
#[derive(Default)]
struct Sum {
    /// Products and their factors.
    products: Vec<(u32, Factor)>,
    /// What else is added, and whether it is subtracted.
    others: Vec<(u32, bool)>,
    /// What lies between the root and these.
    inside: Vec<u32>,
    /// Whether the one other node is where the sum begins.
    begun: bool,
    /// Pieces in zeros, each of a node that nobody else reads, that lie apart.
    pieces: Vec<u32>,
}

/// The sums that hold products, by their root.
fn roots(g: &Graph, readers: &Readers) -> BTreeMap<u32, Sum> {
    let (mut found, mut inside) = (BTreeMap::new(), vec![false; g.nodes.len()]);
    for root in (0..g.nodes.len() as u32).rev() {
        if inside[root as usize] || !matches!(g.node(root).op, Op::Do(..)) {
            continue;
        }
        let mut sum = expand(g, readers, root);
        for &id in sum.inside.iter().filter(|&&id| matches!(g.node(id).op, Op::Do(..))) {
            inside[id as usize] = true;
        }
        apart(g, readers, &mut sum);
        // Loops that read the root would add as well at no cost.
        sum.begun = matches!(sum.others.as_slice(), [(_, false)]) && readers.loops[root as usize] == 0;
        sum.begun &= !sum.products.is_empty() && sum.pieces.is_empty();
        let by_products = !sum.products.is_empty() && (sum.begun || sum.others.is_empty() || sum.products.len() > 1);
        if by_products || !sum.pieces.is_empty() {
            found.insert(root, sum);
        }
    }
    found
}

/// The sum below a root: through additions, subtractions and signs that nobody else reads.
fn expand(g: &Graph, readers: &Readers, root: u32) -> Sum {
    let mut sum = Sum::default();
    let mut open = vec![(root, false)];
    while let Some((id, negative)) = open.pop() {
        let node = g.node(id);
        if id != root && readers.all[id as usize] != 1 {
            sum.others.push((id, negative));
            continue;
        }
        let sign = if negative { Factor::MINUS_ONE } else { Factor::ONE };
        if let Some((product, f, between)) = product(g, readers, id).and_then(|(p, f, between)| Some((p, f.times(sign)?, between))) {
            sum.products.push((product, f));
            sum.inside.extend(between);
            continue;
        }
        match (&node.op, node.args.as_slice()) {
            (Op::Do(instr @ (Instr::Add | Instr::Sub), DType::F32 | DType::F64 | DType::I64), &[Arg::Node(x), Arg::Node(y)]) => {
                sum.inside.push(id);
                open.push((y, negative != (*instr == Instr::Sub)));
                open.push((x, negative));
            }
            (Op::Do(Instr::Neg, _), &[Arg::Node(x)]) if id != root => {
                sum.inside.push(id);
                open.push((x, !negative));
            }
            _ => sum.others.push((id, negative)),
        }
    }
    sum
}

/// Moves the pieces of a sum that lie apart from the others to their own list, if there are several.
fn apart(g: &Graph, readers: &Readers, sum: &mut Sum) {
    let is_piece = |&&(id, negative): &&(u32, bool)| {
        let node = g.node(id);
        let zero = Arg::Scalar(Literal::Bits(0), node.dtype);
        !negative && matches!(node.op, Op::Place(_)) && node.args[0] == zero && readers.all[id as usize] == 1
    };
    let mut boxes: Vec<Extent> = Vec::new();
    for &(id, _) in sum.others.iter().filter(is_piece) {
        let new = extents(g, id);
        if new.iter().all(|a| boxes.iter().all(|b| a.iter().zip(b).any(|(a, b)| a.1 < b.0 || b.1 < a.0))) {
            boxes.extend(new);
            sum.pieces.push(id);
        }
    }
    if sum.pieces.len() < 2 {
        return sum.pieces.clear();
    }
    sum.others.retain(|o| !sum.pieces.contains(&o.0));
    sum.inside.extend(&sum.pieces);
}

/// First and last index along each axis.
type Extent = SmallVec<[(i64, i64); 8]>;

/// Where the pieces of a node lie in it. Those without elements lie nowhere.
fn extents(g: &Graph, id: u32) -> Vec<Extent> {
    let node = g.node(id);
    let Op::Place(attrs) = &node.op else { return Vec::new() };
    let pieces = node.args[1..].iter().map(|a| &g.node(a.node().expect("a piece is a tensor")).shape);
    let rank = node.shape.rank();
    (pieces.enumerate().filter(|(_, p)| p.size() > 0))
        .map(|(i, piece)| {
            let at = attrs[2 * rank * i..2 * rank * (i + 1)].chunks_exact(2);
            let ends = at.zip(piece.iter()).map(|(at, &len)| (at[0], at[0] + at[1] * (len as i64 - 1)));
            ends.map(|(a, b)| (a.min(b), a.max(b))).collect()
        })
        .collect()
}

/// A product that a node is, up to a factor, and the nodes that are only read for it.
fn product(g: &Graph, readers: &Readers, id: u32) -> Option<(u32, Factor, SmallVec<[u32; 2]>)> {
    let (mut at, mut f, mut between) = (id, Factor::ONE, smallvec![id]);
    while g.node(at).op != Op::Contract {
        let (x, by) = scaled(g.node(at))?;
        f = f.times(by)?;
        at = x;
        if readers.all[x as usize] != 1 {
            return None;
        }
        between.push(x);
    }
    Some((at, f, between))
}

/// The graph with each root and what is inside it replaced.
fn rebuild(mut graph: Graph, readers: &Readers, roots: &BTreeMap<u32, Sum>) -> Graph {
    let mut skipped = vec![false; graph.nodes.len()];
    for (root, sum) in roots {
        sum.inside.iter().filter(|id| *id != root).for_each(|&id| skipped[id as usize] = true);
    }
    let old = std::mem::take(&mut graph.nodes);
    let mut new = Rebuild { old: &old, readers, nodes: Vec::with_capacity(old.len()), number: vec![DROPPED; old.len()] };
    for (id, node) in old.iter().enumerate().filter(|&(id, _)| !skipped[id]) {
        let id = id as u32;
        let made = match roots.get(&id) {
            Some(sum) => new.sum(sum, node),
            None if node.op == Op::Contract => {
                let args = new.term(node, Factor::ONE);
                new.push(Node { args, ..node.clone() })
            }
            None => {
                let args = node.args.iter().map(|&a| new.moved(a)).collect();
                new.push(Node { args, ..node.clone() })
            }
        };
        new.number[id as usize] = made;
    }
    let Rebuild { nodes, number, .. } = new;
    let renumber = |ids: &[u32]| ids.iter().map(|&id| if id == DROPPED { id } else { number[id as usize] }).collect();
    let (outputs, values) = (renumber(&graph.outputs), renumber(&graph.values));
    super::simplify::prune(Graph { nodes, outputs, values, ..graph })
}

struct Rebuild<'a> {
    old: &'a [Node],
    readers: &'a Readers,
    nodes: Vec<Node>,
    /// By old node, the new one.
    number: Vec<u32>,
}

impl Rebuild<'_> {
    fn push(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    fn moved(&self, a: Arg) -> Arg {
        match a {
            Arg::Node(n) => Arg::Node(self.number[n as usize]),
            scalar => scalar,
        }
    }

    /// The arguments of a product that is multiplied by `f`, without the factors of its operands.
    fn term(&self, node: &Node, f: Factor) -> Args {
        let own = factor(node.args[2], node.dtype).expect("a factor is a scalar of the product's dtype");
        let mut f = f.times(own).expect("a recorded product has the factor one");
        let mut operand = |a: Arg| {
            let id = a.node().expect("a product has tensor operands");
            let only_products = self.readers.all[id as usize] == self.readers.products[id as usize];
            match scaled(&self.old[id as usize]) {
                Some((x, by @ Factor::Number(v))) if only_products && (1.0 / MODERATE..=MODERATE).contains(&v.abs()) => match f.times(by) {
                    // A product that its factor went into already is no node any more.
                    Some(both) if self.number[x as usize] != DROPPED => {
                        f = both;
                        Arg::Node(self.number[x as usize])
                    }
                    _ => self.moved(a),
                },
                _ => self.moved(a),
            }
        };
        let (a, b) = (operand(node.args[0]), operand(node.args[1]));
        smallvec![a, b, f.arg(node.dtype)]
    }

    /// A sum as one product of several terms and one node of several pieces; what neither takes is added by loops.
    fn sum(&mut self, sum: &Sum, root: &Node) -> u32 {
        let mut args = Args::new();
        for &(product, f) in &sum.products {
            args.extend(self.term(&self.old[product as usize], f));
        }
        if sum.begun {
            args.push(Arg::Node(self.number[sum.others[0].0 as usize]));
        }
        let mut made = (!args.is_empty()).then(|| self.push(Node { op: Op::Contract, args, ..root.clone() }));
        let placed = (!sum.pieces.is_empty()).then(|| (self.pieces(&sum.pieces, root), false));
        let others = sum.others.iter().filter(|_| !sum.begun).map(|&(other, subtracted)| (self.number[other as usize], subtracted));
        // One that is not subtracted comes first, where there is one.
        let mut added: Vec<(u32, bool)> = placed.into_iter().chain(others).collect();
        added.sort_by_key(|a| a.1);
        for (x, subtracted) in added {
            made = Some(match (made, subtracted) {
                (None, false) => x,
                (None, true) => unreachable!("a sum without products holds pieces"),
                (Some(sum), _) => {
                    let instr = if subtracted { Instr::Sub } else { Instr::Add };
                    self.push(Node { op: Op::Do(instr, root.dtype), args: smallvec![Arg::Node(sum), Arg::Node(x)], ..root.clone() })
                }
            });
        }
        made.expect("a sum is of something")
    }

    /// All pieces of these nodes in one.
    fn pieces(&mut self, from: &[u32], root: &Node) -> u32 {
        let (mut attrs, mut args) = (AttrList::new(), smallvec![self.old[from[0] as usize].args[0]]);
        for &id in from {
            let node = &self.old[id as usize];
            if let Op::Place(at) = &node.op {
                attrs.extend_from_slice(&at[..at.len() - root.shape.rank()]);
                args.extend(node.args[1..].iter().map(|&a| self.moved(a)));
            }
        }
        attrs.extend(root.shape.iter().map(|&d| d as i64)); // as recorded: the lengths of the whole
        self.push(Node { op: Op::Place(attrs), args, ..root.clone() })
    }
}
