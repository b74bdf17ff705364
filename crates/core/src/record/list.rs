//! What has a tape recorded? A list of nodes, and what they refer to.

use super::{
    leaf::Leaf,
    node::{Node, Operand, Tables},
    trace::{Prefix, Traces},
    values::Values,
};
use crate::{
    DType, Shape,
    differentiate::Scratch,
    ops::{Meta, Mismatch, OpDef, Typed},
};
use std::{panic::Location, rc::Rc, time::Duration};

/// A scalar operand: raw bits of its dtype.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    pub bits: u64,
    pub dtype: DType,
}

/// The nodes pushed by one derivative walk, and the result it started from.
#[derive(Clone)]
pub(crate) struct Walk {
    pub nodes: std::ops::Range<usize>,
    pub result: usize,
    pub time: Duration,
    /// Where a rule's nodes end, and the node whose rule it was, ascending; empty where it is not known.
    pub origins: Rc<[(u32, u32)]>,
}

impl Walk {
    /// The node whose rule recorded node `id`.
    pub fn origin(&self, id: usize) -> Option<usize> {
        let at = self.origins.partition_point(|&(end, _)| end as usize <= id);
        self.origins.get(at).filter(|_| self.nodes.contains(&id)).map(|&(_, origin)| origin as usize)
    }
}

/// What rules have looked at beyond the structure of the tape, while a derivative walk calls them.
#[derive(Default)]
pub(crate) struct Looks {
    /// How many walks are under way.
    pub walks: usize,
    /// Scalar slots whose number was asked for.
    pub slots: Vec<u32>,
    /// How many values of tensors were.
    pub values: usize,
}

/// The list itself.
pub(crate) struct Record {
    pub nodes: Prefix<Node>,
    pub locations: Vec<&'static Location<'static>>,
    pub spill: Prefix<Operand>,
    pub slots: Vec<Slot>,
    pub leaves: Vec<Leaf>,
    pub tables: Tables,
    /// What reads have computed.
    pub values: Values,
    /// What earlier tapes recorded.
    pub traces: Traces,
    /// Set while a rule runs: its nodes count as recorded where the primal was.
    pub inherit: Option<&'static Location<'static>>,
    pub walks: Vec<Walk>,
    pub looks: Looks,
    /// Spare scratch memory of derivative walks.
    pub scratch: Vec<Scratch>,
}

impl Record {
    pub fn new() -> Self {
        Record { tables: Tables::new(), ..Record::hollow() }
    }

    /// What stands in for a record that was taken away; nothing can be recorded in it.
    pub fn hollow() -> Self {
        Record {
            nodes: Prefix::default(),
            locations: Vec::new(),
            spill: Prefix::default(),
            slots: Vec::new(),
            leaves: Vec::new(),
            tables: Tables::hollow(),
            values: Values::default(),
            traces: Traces::default(),
            inherit: None,
            walks: Vec::new(),
            looks: Looks::default(),
            scratch: Vec::new(),
        }
    }

    /// Forgets this tape, keeping memory; what it recorded is expected of the next.
    pub fn clear(&mut self) {
        self.restart();
        self.locations.clear();
        self.slots.clear();
        self.leaves.clear();
        self.values.clear();
        self.walks.clear();
        self.looks.slots.clear();
        self.looks.walks = 0;
        self.inherit = None;
    }

    /// Applies an op's shape rule.
    pub fn infer(&self, op: &OpDef, operands: &[Operand], attrs: &[i64]) -> Result<Typed, Mismatch> {
        let meta = |x: Operand| {
            let (dtype, shape) = self.meta(x);
            Meta { dtype, shape: self.tables.shapes.get(shape), is_scalar: x.as_slot().is_some() }
        };
        // The usual numbers of operands need no vector.
        match *operands {
            [a] => (op.shape)(attrs, &[meta(a)]),
            [a, b] => (op.shape)(attrs, &[meta(a), meta(b)]),
            [a, b, c] => (op.shape)(attrs, &[meta(a), meta(b), meta(c)]),
            _ => (op.shape)(attrs, &operands.iter().map(|&x| meta(x)).collect::<Vec<_>>()),
        }
    }

    #[inline]
    pub fn meta(&self, x: Operand) -> (DType, u32) {
        match x.as_node() {
            Some(id) => (self.nodes[id].dtype, self.nodes[id].shape),
            None => (x.slot_dtype(), 0),
        }
    }
    pub fn shape(&self, x: Operand) -> &Shape {
        self.tables.shapes.get(self.meta(x).1)
    }
    pub fn inputs(&self, id: usize) -> &[Operand] {
        self.nodes[id].inputs(&self.spill)
    }
    pub fn attrs(&self, id: usize) -> &[i64] {
        self.tables.attrs.get(self.nodes[id].attrs)
    }

    /// A new scalar operand.
    #[inline]
    pub fn slot(&mut self, bits: u64, dtype: DType) -> Operand {
        let id = Operand::slot(self.slots.len(), bits, dtype);
        self.slots.push(Slot { bits, dtype });
        id
    }

    /// Whether a node is a leaf whose memory an update has taken.
    pub fn is_donated(&self, id: usize) -> bool {
        let node = &self.nodes[id];
        node.op.0.is_leaf() && self.leaves[node.attrs as usize].donated.is_some()
    }

    /// Lets go of the values of some nodes.
    pub fn forget_values(&mut self, ids: &[u32]) {
        ids.iter().for_each(|&id| self.values.forget(id as usize));
    }

    /// The value kept for a node, if any.
    #[inline]
    pub fn value(&self, id: usize) -> Option<&super::Value> {
        self.values.get(id)
    }
}
