//! Has this walk been taken before? Then its nodes are recorded again without calling a rule.
//!
//! The engine's rules look at structure only: ops, shapes, attributes, which inputs need a cotangent. So where a tape is the same as an
//! earlier one node by node (`record/trace.rs`), the same walk records the same nodes. What may make a difference is part of the
//! question or ends the matter: the numbers of scalars that a rule looked at are compared; a walk is not remembered if it passed an op
//! that is not the engine's own, whose rule may look at anything, if it read a value or bound a leaf, or if each node is evaluated as it
//! is recorded. Docs: `docs/why/0005-traces.md`.

use super::vjp::Pulled;
use crate::{
    Tape, Tensor,
    ops::{self, OpDef},
    record::{Pullback, Record, Walk, node::Operand},
};
use rustc_hash::FxHashSet;
use smallvec::SmallVec;
use std::{
    rc::Rc,
    sync::OnceLock,
    time::{Duration, Instant},
};

/// A walk's question: the cotangents of results, and targets.
pub(super) struct Question {
    results: SmallVec<[(Operand, Operand); 2]>,
    targets: SmallVec<[Operand; 4]>,
}

/// What is noted of a walk while it is taken.
pub(super) struct Notes {
    question: Question,
    nodes: usize,
    slots: usize,
    leaves: usize,
    walks: usize,
    looks: (usize, usize),
    origins: Vec<(u32, u32)>,
    repeats: bool,
}

impl Question {
    pub fn new(results: &[(Tensor<'_>, Tensor<'_>)], targets: &[Tensor<'_>]) -> Self {
        Question { results: results.iter().map(|(y, g)| (y.id, g.id)).collect(), targets: targets.iter().map(|t| t.id).collect() }
    }

    /// The answer that an earlier walk gave, with its nodes recorded anew.
    pub fn answered<'t>(&self, tape: &'t Tape, start: Instant) -> Option<Pulled<'t>> {
        if tape.on_push.get().is_some() {
            return None;
        }
        let mut r = tape.record.borrow_mut();
        let known = r.pulled_before(&self.results, &self.targets)?;
        r.repeat(&known);
        r.walks.last_mut().expect("a walk notes itself").time = start.elapsed();
        Some(known.pulled.iter().map(|g| Some(Tensor { tape, id: (*g)? })).collect())
    }

    /// Begins to take notes.
    pub fn notes(self, tape: &Tape) -> Notes {
        let mut r = tape.record.borrow_mut();
        r.looks.walks += 1;
        Notes {
            question: self,
            nodes: r.nodes.len(),
            slots: r.slots.len(),
            leaves: r.leaves.len(),
            walks: r.walks.len(),
            looks: (r.looks.slots.len(), r.looks.values),
            origins: Vec::new(),
            repeats: tape.on_push.get().is_none(),
        }
    }
}

impl Notes {
    /// Notes that the rule of `op`, recorded as node `origin`, has been called, and what it gave has been added up.
    pub fn visited(&mut self, r: &Record, origin: usize, op: &'static OpDef) {
        self.repeats &= is_own(op);
        self.origins.push((r.nodes.len() as u32, origin as u32));
    }

    /// Ends the walk, which began at `start` from a result `last`.
    pub fn end(self, r: &mut Record, pulled: &Pulled<'_>, last: usize, start: Instant) {
        let nodes = self.nodes..r.nodes.len();
        let mut origins = self.origins;
        origins.push((nodes.end as u32, last as u32)); // what filled the last cotangents in
        let origins: Rc<[(u32, u32)]> = origins.into();
        r.walks.push(Walk { nodes: nodes.clone(), result: last, time: start.elapsed(), origins: origins.clone() });
        r.looks.walks -= 1;
        if self.repeats && r.leaves.len() == self.leaves && r.looks.values == self.looks.1 {
            let mut seen: Vec<u32> = r.looks.slots[self.looks.0..].iter().copied().filter(|&s| (s as usize) < self.slots).collect();
            seen.sort_unstable();
            seen.dedup();
            r.remember(Pullback {
                results: self.question.results,
                targets: self.question.targets,
                pulled: pulled.iter().map(|g| g.map(|g| g.id)).collect(),
                origins,
                slots_before: self.slots,
                slots: r.slots[self.slots..].to_vec(),
                looked_at: seen.into_iter().map(|s| (s, r.slots[s as usize].bits)).collect(),
                spill: r.spill.len(),
                walks: r.walks[self.walks..].iter().map(|w| Walk { time: Duration::ZERO, ..w.clone() }).collect(),
                nodes,
            });
        }
        if r.looks.walks == 0 {
            r.looks.slots.clear();
        }
    }
}

/// Whether an op is one of the engine's own, whose rules look at nothing but structure.
fn is_own(op: &'static OpDef) -> bool {
    static OWN: OnceLock<FxHashSet<usize>> = OnceLock::new();
    let address = |op: &'static OpDef| std::ptr::from_ref(op).addr();
    OWN.get_or_init(|| ops::all().map(address).collect()).contains(&address(op))
}
