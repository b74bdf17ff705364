//! Is what is given for windows masked before it is spread over the image, and summed?
//!
//! The gradient of a maximum is spread to the largest element of each window, and the gradient of what the maximum was taken of, a ReLU
//! mostly, then masks it by a comparison of that very image: of the maxima it is the same comparison, and there are fewer. Each window
//! has its one element in the image, so the sum over the image is the sum of what was given.

use super::{
    graph::{Arg, AttrList, Graph, Literal, Node, Op},
    products,
    rebuild::{Rebuild, rebuild},
};
use crate::{Fold, Instr, Pool};
use smallvec::smallvec;

/// The same graph with masks and sums before spreading. The values of `kept` nodes stay values.
pub(crate) fn mask_first(graph: Graph, kept: &[u32]) -> Graph {
    if !graph.nodes.iter().any(|n| spread(n).is_some()) {
        return graph;
    }
    let readers = products::readers(&graph, kept);
    rebuild(graph, |r, id| {
        let node = r.old.node(id);
        let found = match &node.op {
            Op::Do(Instr::Select, _) => r.masked(&readers, node),
            Op::Reduce(Fold::Sum, axes) => r.summed(axes, node),
            _ => None,
        };
        found.unwrap_or_else(|| r.same(node))
    })
}

/// The image and what is given for its windows, and how these slide, where it is spread to their largest elements.
fn spread(node: &Node) -> Option<(Arg, Arg, &AttrList)> {
    match &node.op {
        Op::Pool(Pool::MaxSpread, attrs) => Some((node.args[0], node.args[1], attrs)),
        _ => None,
    }
}

impl Rebuild<'_> {
    /// A selection from what is spread, or else zero, by a comparison of the image, if nobody else reads what is spread.
    fn masked(&mut self, readers: &[u32], select: &Node) -> Option<u32> {
        let (mask, from, zero) = (select.args[0].node()?, select.args[1].node()?, select.args[2]);
        let (mask, whole) = (self.old.node(mask), self.old.node(from));
        let (Op::Do(instr, of), (image, given, attrs)) = (&mask.op, spread(whole)?) else { return None };
        let of_image = mask.args.iter().all(|a| matches!(a, Arg::Scalar(..)) || *a == image);
        let is_zero = zero == Arg::Scalar(Literal::Bits(select.dtype.bits(0.0)), select.dtype);
        if readers[from as usize] != 1 || !is_zero || !of_image || *instr == Instr::Copy {
            return None;
        }
        let shape = &self.old.node(given.node()?).shape;
        let [image_now, given] = [image, given].map(|a| self.moved(a));
        let largest = self.builder.push(Op::Pool(Pool::Max, attrs.clone()), smallvec![image_now], shape, whole.dtype, whole.origin);
        let args = mask.args.iter().map(|&a| if a == image { Arg::Node(largest) } else { a }).collect();
        let mask = self.builder.push(Op::Do(*instr, *of), args, shape, mask.dtype, mask.origin);
        let args = smallvec![Arg::Node(mask), given, zero];
        let given = self.builder.push(select.op.clone(), args, shape, select.dtype, select.origin);
        Some(self.builder.push(whole.op.clone(), smallvec![image_now, Arg::Node(given)], &whole.shape, whole.dtype, whole.origin))
    }

    /// A sum over whole images of what is spread.
    fn summed(&mut self, axes: &AttrList, sum: &Node) -> Option<u32> {
        let from = self.moved(sum.args[0]).node()?;
        let (_, given, _) = spread(self.builder.graph.node(from))?;
        let whole = axes.contains(&2) && axes.contains(&3);
        whole.then(|| self.builder.push(sum.op.clone(), smallvec![given], &sum.shape, sum.dtype, sum.origin))
    }
}
