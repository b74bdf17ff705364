//! How does a pass over the graph make a new one? Node by node, each from the new numbers of what it reads.

use super::{
    graph::{Arg, Args, DROPPED, Graph, Node},
    simplify::Builder,
};

/// A graph being made from another.
pub(super) struct Rebuild<'a> {
    pub old: &'a Graph,
    pub builder: Builder,
    /// By old node, the new one.
    pub number: Vec<u32>,
}

/// The graph that has for each node what `each` makes of it.
pub(super) fn rebuild(mut old: Graph, mut each: impl FnMut(&mut Rebuild, u32) -> u32) -> Graph {
    let mut builder = Builder::with_capacity(old.nodes.len());
    builder.graph.inputs = old.inputs;
    builder.graph.functions = std::mem::take(&mut old.functions);
    let mut r = Rebuild { number: Vec::with_capacity(old.nodes.len()), old: &old, builder };
    for id in 0..old.nodes.len() as u32 {
        let new = each(&mut r, id);
        r.number.push(new);
    }
    let renumber = |ids: &[u32]| ids.iter().map(|&id| if id == DROPPED { id } else { r.number[id as usize] }).collect();
    let (outputs, values) = (renumber(&old.outputs), renumber(&old.values));
    r.builder.finish(outputs, values)
}

impl Rebuild<'_> {
    /// An argument of an old node, as one of a new node.
    pub fn moved(&self, a: Arg) -> Arg {
        a.node().map_or(a, |n| Arg::Node(self.number[n as usize]))
    }

    /// The arguments of an old node, as those of a new one.
    pub fn args(&self, old: &Node) -> Args {
        old.args.iter().map(|&a| self.moved(a)).collect()
    }

    /// The same node on the new ones.
    pub fn same(&mut self, old: &Node) -> u32 {
        let args = self.args(old);
        self.builder.push(old.op.clone(), args, &old.shape, old.dtype, old.origin)
    }
}
