//! Where does each value lie? Views become offsets and strides into their base; where strides can't express one, a copy is inserted, and
//! where many products would each turn the same matrix.

use super::graph::{Arg, AttrList, DROPPED, Graph, Layout, Node, Op};
use crate::{Instr, View};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::smallvec;

/// Products of so few rows spend much of their time on turning a transposed right operand.
const FEW_ROWS: usize = 64;
/// So many products pay for a copy.
const OFTEN: usize = 8;

/// A graph and the layout of each of its nodes.
pub(crate) struct Laid {
    pub graph: Graph,
    pub layouts: Vec<Layout>,
}

/// Resolves views. Afterwards every view has a layout, and every wanted result lies densely from the first element of its base on.
pub(crate) fn lay_out(graph: Graph) -> Laid {
    let turned = often_turned(&graph);
    let mut laid = Laid { layouts: Vec::with_capacity(graph.nodes.len()), graph };
    // Nodes stay where they are, up to the first that wants a copy before it.
    while let Some(node) = laid.graph.nodes.get(laid.layouts.len())
        && !turned.contains(&(laid.layouts.len() as u32))
        && let Some(layout) = laid.layout(node)
    {
        laid.layouts.push(layout);
    }
    let mut number: Vec<u32> = (0..laid.layouts.len() as u32).collect();
    for mut node in laid.graph.nodes.split_off(number.len()) {
        node.renumber(&number);
        let view = laid.push(node);
        number.push(if turned.contains(&(number.len() as u32)) { laid.copy(view) } else { view });
    }
    for i in 0..laid.graph.outputs.len() {
        let o = number[laid.graph.outputs[i] as usize];
        laid.graph.outputs[i] = laid.densely(o);
    }
    for v in laid.graph.values.iter_mut().filter(|v| **v != DROPPED) {
        *v = number[*v as usize];
    }
    laid
}

/// Transposed matrices that are the right operand of many products of few rows, as the weights of a recurrent layer are in the backward.
fn often_turned(g: &Graph) -> FxHashSet<u32> {
    let mut products: FxHashMap<u32, usize> = FxHashMap::default();
    for node in g.nodes.iter().filter(|n| n.op == Op::Contract && n.shape.rank() == 2 && n.shape[0] <= FEW_ROWS) {
        for b in node.args.chunks_exact(3).filter_map(|term| term[1].node()) {
            *products.entry(b).or_default() += 1;
        }
    }
    let is_transpose = |id: &u32| g.node(*id).op == Op::View(View::Permute, smallvec![1, 0]);
    products.retain(|id, &mut n| n >= OFTEN && is_transpose(id));
    products.into_keys().collect()
}

impl Laid {
    /// The layout of the next node, unless it is a view that strides cannot express.
    fn layout(&self, next: &Node) -> Option<Layout> {
        match &next.op {
            Op::View(view, attrs) => {
                let x = viewed(next);
                self.layouts[x as usize].through(*view, attrs, &self.graph.node(x).shape, &next.shape)
            }
            _ => Some(Layout::dense(self.layouts.len() as u32, &next.shape)),
        }
    }

    fn push(&mut self, node: Node) -> u32 {
        let Some(layout) = self.layout(&node) else {
            let dense = self.copy(viewed(&node));
            let reshape = Op::View(View::Reshape, AttrList::new());
            return self.push(Node { op: reshape, args: smallvec![Arg::Node(dense)], ..node });
        };
        self.graph.nodes.push(node);
        self.layouts.push(layout);
        self.layouts.len() as u32 - 1
    }

    fn copy(&mut self, x: u32) -> u32 {
        let node = self.graph.node(x).clone();
        self.push(Node { op: Op::Do(Instr::Copy, node.dtype), args: smallvec![Arg::Node(x)], ..node })
    }

    /// The same value, lying densely over the whole of its base.
    fn densely(&mut self, id: u32) -> u32 {
        let layout = &self.layouts[id as usize];
        let whole = self.graph.node(layout.base).shape.size() == self.graph.node(id).shape.size();
        if whole && layout.is_dense(&self.graph.node(id).shape) { id } else { self.copy(id) }
    }
}

/// The pieces that a whole is put together from, and where each lies if the whole lies as `own` says.
pub(super) fn pieces(whole: &Node, attrs: &AttrList, own: &Layout) -> Vec<(u32, Layout)> {
    let rank = whole.shape.rank();
    let piece = |(i, a): (usize, &Arg)| {
        let mut to = Layout { strides: own.strides.clone(), ..*own };
        for (axis, at) in attrs[2 * rank * i..2 * rank * (i + 1)].chunks_exact(2).enumerate() {
            to.offset += at[0] as isize * own.strides[axis];
            to.strides[axis] *= at[1] as isize;
        }
        (a.node().expect("a piece is a tensor"), to)
    };
    whole.args[1..].iter().enumerate().map(piece).collect()
}

/// The node that a view shows.
fn viewed(view: &Node) -> u32 {
    view.args[0].node().expect("a view has a tensor operand")
}
