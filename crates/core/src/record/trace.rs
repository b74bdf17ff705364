//! Has this been recorded before? A tape is compared with earlier ones as it grows, node by node, and goes on where they went.
//!
//! A *trace* is a list of nodes that some tape recorded. A new tape on the same storage expects the trace of the one before: a node that
//! is the expected one need not be written, its shape need not be inferred again, and what was found out about the trace up to
//! there holds for the tape: derivative walks (`differentiate/replay.rs`) and plans (`plan/cache.rs`), which go by a trace's number and
//! a length. Where a tape parts from its trace it goes over to another that begins alike, or begins one of its own. Traces only grow, so
//! that number and length always mean the same nodes. Docs: `docs/why/0005-traces.md`.

use super::{
    list::{Record, Slot, Walk},
    node::{Node, Operand},
};
use crate::{DType, Shape, ops::OpDef};
use smallvec::SmallVec;
use std::{
    ops::Deref,
    panic::Location,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
};

/// So many traces, and nodes in all of them, are kept beside the one in use; the least recently used go first.
const MOST_TRACES: usize = 16;
const MOST_NODES: usize = 1 << 20;

/// A list of which the first part holds now, and the rest is what an earlier tape had there.
pub(crate) struct Prefix<T> {
    all: Vec<T>,
    len: usize,
}

impl<T> Default for Prefix<T> {
    fn default() -> Self {
        Prefix { all: Vec::new(), len: 0 }
    }
}

impl<T> Deref for Prefix<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        &self.all[..self.len]
    }
}

impl<T: Copy> Prefix<T> {
    #[inline]
    fn expected(&self) -> Option<&T> {
        self.all.get(self.len)
    }

    /// Takes `n` more of what is expected.
    #[inline]
    fn advance(&mut self, n: usize) {
        self.len += n;
        debug_assert!(self.len <= self.all.len());
    }

    /// Adds what nobody expected, at the end.
    fn extend(&mut self, more: &[T]) {
        debug_assert_eq!(self.len, self.all.len());
        self.all.extend_from_slice(more);
        self.len = self.all.len();
    }

    /// Whether nothing more is expected.
    fn is_whole(&self) -> bool {
        self.len == self.all.len()
    }
}

/// What a derivative walk was asked, and what it did to the tape. [`Record::repeat`] does it again.
pub(crate) struct Pullback {
    /// The nodes that it recorded.
    pub nodes: std::ops::Range<usize>,
    /// The cotangent of each result it started from.
    pub results: SmallVec<[(Operand, Operand); 2]>,
    pub targets: SmallVec<[Operand; 4]>,
    /// What arrived at each target.
    pub pulled: SmallVec<[Option<Operand>; 4]>,
    /// Whose locations its nodes inherited: up to which node, and the one they were recorded for.
    pub origins: Rc<[(u32, u32)]>,
    /// How many scalar slots there were, and those that it made.
    pub slots_before: usize,
    pub slots: Vec<Slot>,
    /// Slots of before whose numbers its rules looked at, with these.
    pub looked_at: Vec<(u32, u64)>,
    /// Length of the spill list afterwards.
    pub spill: usize,
    /// The walks that its rules took, and itself.
    pub walks: Vec<Walk>,
}

/// The traces of a tape storage.
#[derive(Default)]
pub(crate) struct Traces {
    /// Number of the trace that the record is on.
    id: u64,
    /// Its derivative walks, by ascending first node.
    pulled: Vec<Rc<Pullback>>,
    /// The first node at which this tape went its own way.
    parted: Option<usize>,
    others: Vec<Trace>,
    clock: u64,
}

/// A trace that is not in use.
struct Trace {
    id: u64,
    nodes: Vec<Node>,
    spill: Vec<Operand>,
    pulled: Vec<Rc<Pullback>>,
    used: u64,
}

/// A number that no trace has had.
fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Record {
    /// What determines all nodes so far: the number of a trace, and how much of it.
    pub fn identity(&self) -> (u64, usize) {
        (self.traces.id, self.nodes.len())
    }

    /// The first node that earlier tapes did not have there, if they had another.
    pub fn parted(&self) -> Option<usize> {
        self.traces.parted
    }

    /// Nodes that wait for later tapes.
    pub fn held(&self) -> usize {
        self.nodes.all.len()
    }

    /// Begins anew, expecting the same again.
    pub(super) fn restart(&mut self) {
        self.nodes.len = 0;
        self.spill.len = 0;
        self.traces.parted = None;
        self.traces.clock += 1;
    }

    #[inline]
    fn locate(&mut self, at: &'static Location<'static>) -> usize {
        self.locations.push(self.inherit.unwrap_or(at));
        self.nodes.len() - 1
    }

    /// The node of `op`, if that is what is expected: the operands are the same, so nothing else can differ.
    #[inline]
    pub fn follow(&mut self, op: &'static OpDef, operands: &[Operand], attrs: &[i64], at: &'static Location<'static>) -> Option<usize> {
        let next = self.nodes.expected()?;
        let same_attrs = |known: u32| if attrs.is_empty() { known == 0 } else { self.tables.attrs.get(known)[..] == *attrs };
        if !std::ptr::eq(next.op.0, op) || next.inputs(&self.spill.all) != operands || !same_attrs(next.attrs) {
            return None;
        }
        if Node::spills(operands) {
            self.spill.advance(operands.len());
        }
        self.nodes.advance(1);
        Some(self.locate(at))
    }

    /// The next leaf, if one of this dtype and shape is expected.
    pub fn follow_leaf(&mut self, dtype: DType, shape: &Shape, at: &'static Location<'static>) -> Option<usize> {
        let next = self.nodes.expected()?;
        if !next.op.0.is_leaf() || next.dtype != dtype || self.tables.shapes.get(next.shape) != shape {
            return None;
        }
        self.nodes.advance(1);
        Some(self.locate(at))
    }

    /// Adds a node; `attrs` and `shape` are numbers of the tables.
    pub fn push(
        &mut self,
        op: &'static OpDef,
        operands: &[Operand],
        [attrs, shape]: [u32; 2],
        dtype: DType,
        at: &'static Location<'static>,
    ) -> usize {
        let node = Node::new(op, operands, self.spill.len(), attrs, shape, dtype);
        let spilled: &[Operand] = if Node::spills(operands) { operands } else { &[] };
        if self.traces.id == 0 {
            self.traces.id = fresh();
        }
        if !self.nodes.is_whole() && self.part(&node, spilled) {
            self.nodes.advance(1);
            self.spill.advance(spilled.len());
        } else {
            self.nodes.extend(&[node]);
            self.spill.extend(spilled);
        }
        self.locate(at)
    }

    /// Leaves the trace, for one that is alike so far and has `node` next, if there is one; else for a new one.
    #[cold]
    fn part(&mut self, node: &Node, spilled: &[Operand]) -> bool {
        let (n, s) = (self.nodes.len(), self.spill.len());
        self.traces.parted.get_or_insert(n);
        let fits = |t: &Trace| {
            t.nodes.get(n) == Some(node)
                && t.spill.get(s..s + spilled.len()) == Some(spilled)
                && t.nodes[..n] == self.nodes[..]
                && t.spill[..s] == self.spill[..]
        };
        let found = self.traces.others.iter().position(fits);
        let next = match found {
            Some(i) => self.traces.others.swap_remove(i),
            None => Trace {
                id: fresh(),
                nodes: self.nodes.to_vec(),
                spill: self.spill.to_vec(),
                pulled: self.traces.pulled.iter().filter(|p| p.nodes.end <= n).cloned().collect(),
                used: 0,
            },
        };
        let before = Trace {
            id: std::mem::replace(&mut self.traces.id, next.id),
            nodes: std::mem::replace(&mut self.nodes.all, next.nodes),
            spill: std::mem::replace(&mut self.spill.all, next.spill),
            pulled: std::mem::replace(&mut self.traces.pulled, next.pulled),
            used: self.traces.clock,
        };
        self.traces.others.push(before);
        self.traces.evict();
        found.is_some()
    }

    /// Remembers what a derivative walk did.
    pub fn remember(&mut self, pullback: Pullback) {
        let at = self.traces.pulled.partition_point(|p| p.nodes.start <= pullback.nodes.start);
        self.traces.pulled.insert(at, Rc::new(pullback));
    }

    /// What a derivative walk with this question did at this place of the trace before.
    pub fn pulled_before(&self, results: &[(Operand, Operand)], targets: &[Operand]) -> Option<Rc<Pullback>> {
        let n = self.nodes.len();
        let known = &self.traces.pulled;
        let from = known.partition_point(|p| p.nodes.start < n);
        let here = known[from..].iter().take_while(|p| p.nodes.start == n);
        let same = |p: &&Rc<Pullback>| {
            p.slots_before == self.slots.len()
                && p.results[..] == *results
                && p.targets[..] == *targets
                && p.looked_at.iter().all(|&(slot, bits)| self.slots[slot as usize].bits == bits)
        };
        here.into_iter().find(same).cloned()
    }

    /// Records what a derivative walk recorded before, without calling a rule.
    pub fn repeat(&mut self, p: &Pullback) {
        debug_assert_eq!((self.nodes.len(), self.slots.len()), (p.nodes.start, p.slots_before));
        self.nodes.advance(p.nodes.len());
        self.spill.advance(p.spill - self.spill.len());
        self.slots.extend_from_slice(&p.slots);
        self.locations.reserve(p.nodes.len());
        for &(end, origin) in p.origins.iter() {
            let at = self.locations[origin as usize];
            self.locations.resize(end as usize, at);
        }
        self.walks.extend_from_slice(&p.walks);
        if self.looks.walks > 0 {
            self.looks.slots.extend(p.looked_at.iter().map(|l| l.0));
        }
    }
}

impl Traces {
    fn evict(&mut self) {
        while self.others.len() > MOST_TRACES
            || self.others.len() > 1 && self.others.iter().map(|t| t.nodes.len()).sum::<usize>() > MOST_NODES
        {
            let oldest = (0..self.others.len()).min_by_key(|&i| self.others[i].used).expect("there are some");
            self.others.swap_remove(oldest);
        }
    }
}
