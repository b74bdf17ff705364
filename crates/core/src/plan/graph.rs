//! What does the planner work on? The live nodes as single instructions and kernel classes, with no access to values.

use super::kernel::ScalarSource;
use crate::{Array, Convolution, DType, Fold, Generator, Index, Instr, Pool, Scan, Shape, View};
use smallvec::SmallVec;
use std::sync::Arc;

/// Attributes as kept by the planner. Most nodes have few or none, and there are many nodes.
pub type AttrList = SmallVec<[i64; 2]>;

/// Arguments; those of most instructions are one or two.
pub type Args = SmallVec<[Arg; 2]>;

/// A user's function over arrays.
pub type OpaqueFn = fn(&[i64], &[Array]) -> Result<Array, String>;

/// Nodes in the order of computation, and which of them are wanted.
#[derive(Clone, Default)]
pub struct Graph {
    /// Each refers to earlier ones only.
    pub nodes: Vec<Node>,
    /// The wanted results.
    pub outputs: Vec<u32>,
    /// Number of inputs.
    pub inputs: usize,
    /// For each live node of the tape, the node that has its value; [`DROPPED`] where no result needs it.
    pub values: Vec<u32>,
    /// Functions of opaque nodes.
    pub functions: Vec<OpaqueFn>,
}

/// No node.
pub const DROPPED: u32 = u32::MAX;

/// One value.
#[derive(Clone)]
pub struct Node {
    /// How it comes about.
    pub op: Op,
    /// From what.
    pub args: Args,
    /// Shape, which it shares with all nodes that have it.
    pub shape: Arc<Shape>,
    /// Dtype.
    pub dtype: DType,
    /// Which live node of the tape asked for it, for reports.
    pub origin: u32,
}

/// An argument.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Arg {
    /// An earlier node.
    Node(u32),
    /// A scalar: a slot of the run or a literal.
    Scalar(Literal, DType),
}

/// [`ScalarSource`], comparable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Literal {
    /// Slot of the run.
    Slot(u32),
    /// The negative of one.
    Minus(u32),
    /// Known bits.
    Bits(u64),
}

impl Literal {
    /// As kernels take it, for this dtype.
    pub fn source(self, dtype: DType) -> ScalarSource {
        match self {
            Literal::Slot(i) => ScalarSource::Slot(i),
            Literal::Minus(i) => ScalarSource::Minus(i, dtype),
            Literal::Bits(b) => ScalarSource::Literal(b),
        }
    }
}

impl Arg {
    /// The node, if it is one.
    pub fn node(self) -> Option<u32> {
        match self {
            Arg::Node(n) => Some(n),
            Arg::Scalar(..) => None,
        }
    }
}

/// How a value comes about.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// Given from outside; the number of the input.
    Input(u32),
    /// One pointwise instruction on arguments of this dtype.
    Do(Instr, DType),
    /// The same elements under other indices.
    View(View, AttrList),
    /// Axes folded away.
    Reduce(Fold, AttrList),
    /// Sums of matrix products. Arguments: two matrices and the scalar that multiplies their product, for each; then, if their number
    /// leaves one over, what is added.
    Contract,
    /// Convolutions and their transposes.
    Convolve(Convolution, AttrList),
    /// Windows of images.
    Pool(Pool, AttrList),
    /// Elements by index, along an axis.
    Index(Index, usize),
    /// Running totals: axis, reversed.
    Scan(Scan, usize, bool),
    /// Fill and pieces.
    Place(AttrList),
    /// Values from positions; the axis for `Iota`.
    Generate(Generator, usize),
    /// A user's function, by its number in [`Graph::functions`], and its attributes.
    Opaque(u32, AttrList),
}

impl Node {
    /// Turns the arguments to the new numbers of their nodes.
    pub fn renumber(&mut self, number: &[u32]) {
        for a in &mut self.args {
            if let Arg::Node(n) = a {
                *n = number[*n as usize];
            }
        }
    }
}

impl Graph {
    /// A node.
    pub fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize]
    }

    /// Where a value lies in what it is a view of, if strides can say it.
    pub fn layout(&self, id: u32) -> Option<Layout> {
        let (mut views, mut base) = (Vec::new(), id);
        while let (Op::View(view, attrs), Some(&Arg::Node(x))) = (&self.node(base).op, self.node(base).args.first()) {
            views.push((*view, attrs, base));
            base = x;
        }
        let mut layout = Layout::dense(base, &self.node(base).shape);
        for (view, attrs, to) in views.into_iter().rev() {
            layout = layout.through(view, attrs, &self.node(base).shape, &self.node(to).shape)?;
            base = to;
        }
        Some(layout)
    }
}

/// Where the elements of a value lie within another value's dense storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// The node whose storage it is.
    pub base: u32,
    /// First element.
    pub offset: isize,
    /// Elements between neighbours, one per axis of the value.
    pub strides: Steps,
}

/// Elements between neighbours, one per axis.
type Steps = SmallVec<[isize; 2]>;

impl Layout {
    /// Dense storage of its own.
    pub fn dense(base: u32, shape: &Shape) -> Layout {
        Layout { base, offset: 0, strides: Steps::from_slice(&shape.strides()[..shape.rank()]) }
    }

    /// Whether elements lie one after the other in row-major order, from the first on.
    pub fn is_dense(&self, shape: &Shape) -> bool {
        self.offset == 0 && self.is_block(shape)
    }

    /// Whether elements lie one after the other in row-major order, wherever the first is.
    pub fn is_block(&self, shape: &Shape) -> bool {
        let dense = shape.strides();
        shape.size() <= 1 || (0..shape.rank()).all(|a| shape[a] == 1 || self.strides[a] == dense[a])
    }

    /// This layout (of a value of shape `from`) seen through a view; `None` where strides cannot express it.
    pub fn through(&self, view: View, attrs: &[i64], from: &Shape, to: &Shape) -> Option<Layout> {
        let mut offset = self.offset;
        let strides = match view {
            View::Reshape => reshaped(from, &self.strides, to)?,
            View::Permute => attrs.iter().map(|&a| self.strides[a as usize]).collect(),
            View::Expand => {
                let mut strides = Steps::from_elem(0, to.rank());
                for (axis, &at) in attrs[..from.rank()].iter().enumerate() {
                    strides[at as usize] = if from[axis] == 1 { 0 } else { self.strides[axis] };
                }
                strides
            }
            View::Slice => {
                let per_axis = attrs[..2 * from.rank()].chunks_exact(2).zip(&self.strides);
                per_axis
                    .map(|(at, &stride)| {
                        offset += at[0] as isize * stride;
                        at[1] as isize * stride
                    })
                    .collect()
            }
        };
        Some(Layout { base: self.base, offset, strides })
    }
}

/// Strides for the same elements in row-major order under another shape, if there are any.
fn reshaped(from: &Shape, strides: &[isize], to: &Shape) -> Option<Steps> {
    let mut out = Steps::from_elem(0, to.rank());
    if from.size() == 0 {
        return Some(out);
    }
    // Axes of length 1 carry no position; the others are matched in runs of equal size.
    let old: SmallVec<[(usize, isize); 8]> = from.iter().copied().zip(strides.iter().copied()).filter(|&(d, _)| d != 1).collect();
    let new: SmallVec<[usize; 8]> = (0..to.rank()).filter(|&a| to[a] != 1).collect();
    let (mut i, mut j) = (0, 0);
    while i < old.len() {
        let (start_i, start_j) = (i, j);
        let (mut size_old, mut size_new) = (old[i].0, to[new[j]]);
        while size_old != size_new {
            if size_old < size_new {
                i += 1;
                size_old *= old[i].0;
            } else {
                j += 1;
                size_new *= to[new[j]];
            }
        }
        let evenly = old[start_i..=i].windows(2).all(|w| w[0].1 == w[1].1 * w[1].0 as isize);
        if !evenly {
            return None;
        }
        let mut stride = old[i].1;
        for &axis in new[start_j..=j].iter().rev() {
            out[axis] = stride;
            stride *= to[axis] as isize;
        }
        i += 1;
        j += 1;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(d: &[usize]) -> Shape {
        Shape::new(d).unwrap()
    }

    #[test]
    fn a_reshape_is_a_view_where_strides_allow() {
        let dense = Layout::dense(0, &shape(&[2, 3, 4]));
        let to =
            |l: &Layout, from: &[usize], to: &[usize]| l.through(View::Reshape, &[], &shape(from), &shape(to)).map(|l| l.strides.to_vec());
        assert_eq!(to(&dense, &[2, 3, 4], &[6, 4]), Some(vec![4, 1]));
        assert_eq!(to(&dense, &[2, 3, 4], &[2, 1, 12]), Some(vec![12, 0, 1]));
        let turned = dense.through(View::Permute, &[1, 0, 2], &shape(&[2, 3, 4]), &shape(&[3, 2, 4])).unwrap();
        assert_eq!(to(&turned, &[3, 2, 4], &[6, 4]), None);
        assert_eq!(to(&turned, &[3, 2, 4], &[3, 2, 2, 2]), Some(vec![4, 12, 2, 1]));
        let row = Layout::dense(0, &shape(&[4])).through(View::Expand, &[1, 3, 4], &shape(&[4]), &shape(&[3, 4])).unwrap();
        assert_eq!((row.strides.to_vec(), to(&row, &[3, 4], &[12])), (vec![0, 1], None));
    }
}
