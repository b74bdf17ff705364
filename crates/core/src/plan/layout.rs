//! Where does each value lie? Views become offsets and strides into their base; where strides can't express one, a copy is inserted.

use super::graph::{Arg, AttrList, DROPPED, Graph, Layout, Node, Op};
use crate::{Instr, View};
use smallvec::smallvec;

/// A graph and the layout of each of its nodes.
pub(crate) struct Laid {
    pub graph: Graph,
    pub layouts: Vec<Layout>,
}

/// Resolves views. Afterwards every view has a layout, and every wanted result lies densely from the first element of its base on.
pub(crate) fn lay_out(mut graph: Graph) -> Laid {
    let old = std::mem::take(&mut graph.nodes);
    let mut laid = Laid { graph, layouts: Vec::with_capacity(old.len()) };
    let mut number = vec![DROPPED; old.len()];
    for (id, mut node) in old.into_iter().enumerate() {
        for a in &mut node.args {
            if let Arg::Node(n) = a {
                *n = number[*n as usize];
            }
        }
        number[id] = laid.push(node);
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

impl Laid {
    fn push(&mut self, node: Node) -> u32 {
        let id = self.graph.nodes.len() as u32;
        let layout = match &node.op {
            Op::View(view, attrs) => {
                let x = node.args[0].node().expect("a view has a tensor operand");
                let from = &self.graph.node(x).shape;
                match self.layouts[x as usize].through(*view, attrs, from, &node.shape) {
                    Some(layout) => layout,
                    None => {
                        let dense = self.copy(x);
                        let reshape = Op::View(View::Reshape, AttrList::new());
                        return self.push(Node { op: reshape, args: smallvec![Arg::Node(dense)], ..node });
                    }
                }
            }
            _ => Layout::dense(id, &node.shape),
        };
        self.graph.nodes.push(node);
        self.layouts.push(layout);
        id
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
