//! Has this structure been planned before? Looked up by hash, compared in full, so that a collision can never return a wrong plan.
//!
//! First by the trace that the tape is on (`record/trace.rs`), where nodes have been compared already as they were recorded, and by the
//! reads that went before; failing that, by the live nodes alone, renumbered. Values of leaves and variable scalars are in neither key.

use super::{
    Options,
    live::{Marks, is_input, live},
};
use crate::{
    execute::run::Loaded,
    record::{
        LEAF, Record,
        node::{Node, Operand},
    },
};
use rustc_hash::FxHashMap;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// Cached plans are evicted, least recently used first, above this many plans or nodes.
const MOST_PLANS: usize = 256;
const MOST_NODES: usize = 1 << 22;

/// A plan and the structure it is for.
pub(crate) struct Entry {
    key: Key,
    loaded: RefCell<Option<Rc<Loaded>>>,
    /// Live nodes that a later read had to compute again.
    learned: RefCell<Vec<u32>>,
    /// How often something was learned: plans of one version keep the same values.
    version: Cell<u32>,
    used: Cell<u64>,
}

/// Live nodes, renumbered from 0 in recorded order; inputs without what they hold.
#[derive(Default, PartialEq)]
struct Key {
    nodes: Vec<Node>,
    spill: Vec<Operand>,
    outputs: Vec<u32>,
    options: Options,
}

/// A read of a tape, and what it resolved to.
struct Known {
    question: Question,
    found: Rc<Found>,
    used: Cell<u64>,
}

/// What determines a read: the tape's nodes, which of them have values, the results, the options.
#[derive(Clone, Default, PartialEq)]
struct Question {
    /// Number of a trace, and how much of it.
    identity: (u64, usize),
    history: u64,
    outputs: Vec<u32>,
    options: Options,
}

/// A plan bound to the nodes of a tape.
pub(crate) struct Found {
    pub entry: Rc<Entry>,
    /// The live nodes, ascending.
    pub order: Vec<u32>,
    /// The tape's node for each input of the plan.
    pub inputs: Vec<u32>,
    /// The tape's slot for each slot of the plan.
    pub slots: Vec<u32>,
    /// What the history is called after this read: by version of the plan.
    after: Cell<(u32, u64)>,
}

/// What stands for the reads that a tape has seen, since they determine which of its nodes have values. 0 is none at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct History(Option<u64>);

impl History {
    /// Before the first read.
    pub const NONE: History = History(Some(0));
    /// Values have come or gone otherwise.
    pub const UNKNOWN: History = History(None);
}

/// All plans of a thread's tape storage.
#[derive(Default)]
pub(crate) struct Cache {
    known: FxHashMap<u64, Vec<Known>>,
    structural: FxHashMap<u64, Vec<Rc<Entry>>>,
    clock: u64,
    plans: usize,
    nodes: usize,
    histories: u64,
    marks: Marks,
    question: Question,
    scratch: Scratch,
}

/// Memory that look-ups use again.
#[derive(Default)]
struct Scratch {
    key: Key,
    order: Vec<u32>,
    inputs: Vec<u32>,
    slots: Vec<u32>,
    number: Vec<u32>,
    slot_round: Vec<(u32, u32)>,
    round: u32,
}

/// How a look-up ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The same read of the same tape was seen before.
    Verbatim,
    /// The live nodes were seen before.
    Structural,
    /// Nothing like it: the entry has no plan yet.
    Miss,
}

impl Cache {
    /// The entry for reading `outputs` from this tape.
    pub fn find(&mut self, r: &Record, history: History, outputs: &[u32], options: &Options) -> (Rc<Found>, Outcome) {
        self.clock += 1;
        let Some(history) = history.0 else {
            let (found, outcome) = self.find_structural(r, outputs, options);
            return (Rc::new(found), outcome);
        };
        let (identity, q) = (r.identity(), &mut self.question);
        (q.identity, q.history) = (identity, history);
        q.outputs.clear();
        q.outputs.extend_from_slice(outputs);
        q.options.clone_from(options);
        let hash = q.hash();
        if let Some(k) = self.known.get(&hash).and_then(|all| all.iter().find(|k| k.question == *q)) {
            k.used.set(self.clock);
            k.found.entry.used.set(self.clock);
            return (k.found.clone(), Outcome::Verbatim);
        }
        let (found, outcome) = self.find_structural(r, outputs, options);
        let found = Rc::new(found);
        self.nodes += found.order.len();
        let known = Known { question: self.question.clone(), found: found.clone(), used: Cell::new(self.clock) };
        self.known.entry(hash).or_default().push(known);
        self.evict();
        (found, outcome)
    }

    /// What the history is called when `found` has been run with its present plan.
    pub fn after(&mut self, found: &Found) -> History {
        let version = found.entry.version.get() + 1;
        if found.after.get().0 != version {
            self.histories += 1;
            found.after.set((version, self.histories));
        }
        History(Some(found.after.get().1))
    }

    fn find_structural(&mut self, r: &Record, outputs: &[u32], options: &Options) -> (Found, Outcome) {
        let s = &mut self.scratch;
        live(r, outputs, &mut self.marks, &mut s.order);
        s.write_key(r, outputs, options);
        let hash = s.key.nodes.iter().fold(options.hash(), |h, n| n.mix(h));
        let bind = |entry: Rc<Entry>, s: &Scratch| Found {
            entry,
            order: s.order.clone(),
            inputs: s.inputs.clone(),
            slots: s.slots.clone(),
            after: Cell::new((0, 0)),
        };
        let bucket = self.structural.entry(hash).or_default();
        if let Some(entry) = bucket.iter().find(|e| e.key == s.key) {
            entry.used.set(self.clock);
            return (bind(entry.clone(), s), Outcome::Structural);
        }
        self.plans += 1;
        self.nodes += s.key.nodes.len();
        let key = std::mem::take(&mut s.key);
        let used = Cell::new(self.clock);
        let entry = Rc::new(Entry { key, loaded: RefCell::new(None), learned: RefCell::default(), version: Cell::new(0), used });
        bucket.push(entry.clone());
        let found = bind(entry, s);
        self.evict();
        (found, Outcome::Miss)
    }

    fn evict(&mut self) {
        while self.nodes > MOST_NODES || self.plans > MOST_PLANS {
            let oldest = |used: &mut dyn Iterator<Item = u64>| used.min().unwrap_or(u64::MAX);
            let v = oldest(&mut self.known.values().flatten().map(|v| v.used.get()));
            let e = oldest(&mut self.structural.values().flatten().map(|e| e.used.get()));
            if v.min(e) == self.clock || v.min(e) == u64::MAX {
                return; // what is in use stays, however large
            }
            let (nodes, plans) = (&mut self.nodes, &mut self.plans);
            if v <= e {
                self.known.retain(|_, bucket| {
                    bucket.retain(|x| {
                        x.used.get() != v || {
                            *nodes -= x.found.order.len();
                            false
                        }
                    });
                    !bucket.is_empty()
                });
            } else {
                self.structural.retain(|_, bucket| {
                    bucket.retain(|x| {
                        x.used.get() != e || {
                            *nodes -= x.key.nodes.len();
                            *plans -= 1;
                            false
                        }
                    });
                    !bucket.is_empty()
                });
            }
        }
    }

    /// Number of plans held.
    pub fn len(&self) -> usize {
        self.plans
    }
}

impl Question {
    fn hash(&self) -> u64 {
        let start = self.options.hash() ^ self.identity.0.rotate_left(32) ^ self.identity.1 as u64 ^ self.history.rotate_left(48);
        self.outputs.iter().fold(start, |h, &o| (h.rotate_left(7) ^ u64::from(o)).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

impl Scratch {
    /// Writes the renumbered key of `order`, and what its inputs and slots are on the tape.
    fn write_key(&mut self, r: &Record, outputs: &[u32], options: &Options) {
        let s = self;
        s.round = s.round.wrapping_add(1);
        if s.round == 0 {
            s.slot_round.clear();
            s.round = 1;
        }
        s.key.nodes.clear();
        s.key.spill.clear();
        s.inputs.clear();
        s.slots.clear();
        s.number.resize(s.number.len().max(r.nodes.len()), 0);
        s.slot_round.resize(s.slot_round.len().max(r.slots.len()), (0, 0));
        let mut renumbered: smallvec::SmallVec<[Operand; 8]> = smallvec::SmallVec::new();
        for (live, &id) in s.order.iter().enumerate() {
            s.number[id as usize] = live as u32;
            let node = &r.nodes[id as usize];
            if is_input(r, id as usize) {
                s.inputs.push(id);
                s.key.nodes.push(Node::new(&LEAF, &[], 0, 0, node.shape, node.dtype));
                continue;
            }
            renumbered.clear();
            for &x in r.inputs(id as usize) {
                renumbered.push(match (x.as_node(), x.as_slot()) {
                    (Some(n), _) => Operand::node(s.number[n] as usize),
                    (None, slot) => {
                        let slot = slot.expect("an operand is a node or a slot");
                        let known = &mut s.slot_round[slot];
                        if known.0 != s.round {
                            *known = (s.round, s.slots.len() as u32);
                            s.slots.push(slot as u32);
                        }
                        x.renumbered(known.1 as usize)
                    }
                });
            }
            s.key.nodes.push(Node::new(node.op.0, &renumbered, s.key.spill.len(), node.attrs, node.shape, node.dtype));
            if Node::spills(&renumbered) {
                s.key.spill.extend_from_slice(&renumbered);
            }
        }
        s.key.outputs.clear();
        s.key.outputs.extend(outputs.iter().map(|&o| s.number[o as usize]));
        s.key.options.clone_from(options);
    }
}

impl Entry {
    /// The plan; made by `plan` the first time, and again when something was learned since.
    pub fn loaded(&self, plan: impl FnOnce(&[u32]) -> Loaded) -> Rc<Loaded> {
        let mut loaded = self.loaded.borrow_mut();
        loaded.get_or_insert_with(|| Rc::new(plan(&self.learned.borrow()))).clone()
    }

    /// Whether there is a plan.
    pub fn is_planned(&self) -> bool {
        self.loaded.borrow().is_some()
    }

    /// Remembers that a live node was computed again by a later read; the next plan keeps it.
    pub fn learn(&self, live: u32) {
        let mut learned = self.learned.borrow_mut();
        if !learned.contains(&live) {
            learned.push(live);
            self.version.set(self.version.get() + 1);
            *self.loaded.borrow_mut() = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MOST_PLANS;
    use crate::{Array, Tape};

    /// Reads a program whose shape is `n`, after something that it does not need; gives how many plans it made, and how many the thread
    /// holds.
    fn read_after(unused: usize, n: usize) -> (usize, usize) {
        let tape = Tape::new();
        for _ in 0..unused {
            _ = tape.leaf(&Array::full([n], 2.0)).exp();
        }
        let x = tape.leaf(&Array::full([n], 1.0));
        assert_eq!((x * 2.0).sum().item(), 2.0 * n as f64);
        let stats = tape.stats();
        (stats.misses, stats.cached_plans)
    }

    fn read(n: usize) -> (usize, usize) {
        read_after(0, n)
    }

    #[test]
    fn above_the_bound_the_plan_that_was_not_read_for_longest_goes() {
        // On a thread that has planned nothing yet.
        let all = || {
            for n in 1..=MOST_PLANS {
                assert_eq!(read(n), (1, n));
            }
            assert_eq!(read(1), (0, MOST_PLANS), "all of them are kept");
            assert_eq!(read(MOST_PLANS + 1), (1, MOST_PLANS), "one for another");
            for kept in [1, 3, MOST_PLANS, MOST_PLANS + 1] {
                assert_eq!(read(kept), (0, MOST_PLANS), "the plan of {kept}");
            }
            assert_eq!(read(2), (1, MOST_PLANS), "it went when the last one came");
            assert_eq!(read(4), (1, MOST_PLANS), "it went for that");
            for n in 1000..1000 + 2 * MOST_PLANS {
                assert_eq!((read(n), read(1)), ((1, MOST_PLANS), (0, MOST_PLANS)));
            }
            assert_eq!(read_after(1, 1), (0, MOST_PLANS), "it is found by its nodes too");
        };
        std::thread::scope(|s| s.spawn(all).join().expect("no panic"));
    }
}
