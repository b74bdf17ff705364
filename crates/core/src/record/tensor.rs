//! What does a user hold of a recorded value?

use super::{node::Operand, report, tape::Tape};
use crate::{DType, Scalar, Shape, ops::OpDef};
use std::fmt;

/// A handle to a recorded value: two words, `Copy`, never a reference into the node list.
///
/// Operators and methods record; nothing is computed until a value is read (see [`Tensor::value`], [`Tensor::item`], [`Tape::eval`]).
#[derive(Clone, Copy)]
pub struct Tensor<'t> {
    pub(crate) tape: &'t Tape,
    pub(crate) id: Operand,
}

impl<'t> Tensor<'t> {
    /// The tape this tensor lives on.
    pub fn tape(self) -> &'t Tape {
        self.tape
    }

    /// Shape; `[]` for a scalar.
    pub fn shape(self) -> Shape {
        *self.tape.record().shape(self.id)
    }

    /// Number of axes.
    pub fn rank(self) -> usize {
        self.tape.record().shape(self.id).rank()
    }

    /// Number of elements.
    pub fn size(self) -> usize {
        self.tape.record().shape(self.id).size()
    }

    /// Type of the elements.
    pub fn dtype(self) -> DType {
        self.tape.record().meta(self.id).0
    }

    /// Whether both are handles to one recorded value; equal values recorded twice are not.
    pub fn is(self, other: Tensor<'_>) -> bool {
        std::ptr::eq(self.tape, other.tape) && self.id == other.id
    }

    /// Records `op` with `self` as the first input.
    ///
    /// # Panics
    /// As [`Tape::op`].
    #[track_caller]
    pub fn op<const N: usize>(self, op: &'static OpDef, rest: [Tensor<'t>; N], attrs: &[i64]) -> Tensor<'t> {
        let mut all: smallvec::SmallVec<[Tensor<'t>; 4]> = smallvec::smallvec![self];
        all.extend_from_slice(&rest);
        self.tape.op(op, &all, attrs)
    }

    /// A scalar of this tensor's dtype.
    pub fn scalar_like(self, value: impl Scalar) -> Tensor<'t> {
        self.tape.scalar(self.dtype(), value)
    }

    /// Resolves an axis counted from the end when negative.
    ///
    /// # Panics
    /// At the caller when there is no such axis.
    #[track_caller]
    pub(crate) fn axis(self, op: &str, axis: isize) -> usize {
        let shape = self.shape();
        match shape.axis(axis) {
            Some(a) => a,
            None => panic!("{op}: expected an axis within {} axes, got axis {axis} of {self:?}", shape.rank()),
        }
    }
}

/// `%12 mul f32[2, 3] made at src/main.rs:3:5`. Prints no values, since it computes nothing; `Display` does.
impl fmt::Debug for Tensor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.tape.record();
        match self.id.as_node() {
            Some(id) => {
                let n = &r.nodes[id];
                write!(f, "%{id} {} {} made at {}", n.op.0.name, report::describe(self.id, &r), r.locations[id])
            }
            None => f.write_str(&report::describe(self.id, &r)),
        }
    }
}
