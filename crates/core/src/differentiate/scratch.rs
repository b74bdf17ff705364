//! What does a derivative walk remember of the nodes it passes, without clearing memory for each walk?

use crate::record::node::Operand;

#[cfg(test)]
thread_local! {
    /// Nodes that walks on this thread have gone over, so that tests can tell linear work from quadratic.
    pub(crate) static VISITED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Marks and cotangents by node, valid where their stamp is the current walk's number.
#[derive(Default)]
pub(crate) struct Scratch {
    epoch: u32,
    first: usize,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    active: u32,
    stamp: u32,
    value: Operand,
}

impl Scratch {
    /// Starts a walk over the nodes `first..=last`.
    pub fn begin(&mut self, first: usize, last: usize) {
        if self.epoch == u32::MAX {
            self.entries.clear();
            self.epoch = 0;
        }
        self.epoch += 1;
        self.first = first;
        let n = last + 1 - first;
        #[cfg(test)]
        VISITED.with(|v| v.set(v.get() + n));
        if self.entries.len() < n {
            self.entries.resize(n, Entry { active: 0, stamp: 0, value: Operand::NONE });
        }
    }

    fn entry(&self, x: Operand) -> Option<&Entry> {
        self.entries.get(x.as_node()?.checked_sub(self.first)?)
    }

    /// Marks a node as one that the walk is to visit; nodes before the walk's first are none.
    pub fn activate(&mut self, id: usize) {
        if let Some(at) = id.checked_sub(self.first) {
            self.entries[at].active = self.epoch;
        }
    }
    /// Whether an operand was marked.
    pub fn is_active(&self, x: Operand) -> bool {
        self.entry(x).is_some_and(|e| e.active == self.epoch)
    }
    /// The tangent or cotangent held for a node.
    pub fn get(&self, id: usize) -> Option<Operand> {
        self.entry(Operand::node(id)).filter(|e| e.stamp == self.epoch).map(|e| e.value)
    }
    /// Replaces what is held.
    pub fn set(&mut self, id: usize, value: Operand) {
        let e = &mut self.entries[id - self.first];
        (e.stamp, e.value) = (self.epoch, value);
    }
}

#[cfg(test)]
mod tests {
    use super::VISITED;
    use crate::{Array, Tape};

    /// Nodes recorded and nodes visited by `n` steps of descent on one tape and by the gradient through all of them.
    fn descend(n: usize) -> (usize, usize) {
        VISITED.set(0);
        let tape = Tape::new();
        let start = tape.leaf(&Array::from([1.0, 2.0]));
        let rate = tape.leaf(&Array::scalar(0.01));
        let mut w = start;
        for _ in 0..n {
            let [g] = (w * w * w).sum().grad([w]);
            w -= rate * g;
        }
        let _ = w.sum().grad([start, rate]);
        (tape.len(), VISITED.get())
    }

    #[test]
    fn gradients_within_a_loop_cost_as_much_as_the_steps_they_look_at() {
        let ((nodes, visited), (twice_nodes, twice_visited)) = (descend(200), descend(400));
        assert!(twice_nodes <= 2 * nodes && twice_nodes > nodes * 19 / 10, "{nodes} {twice_nodes}");
        assert!(twice_visited <= 2 * visited, "{visited} {twice_visited}");
        assert!(twice_visited < 2 * twice_nodes, "no node is visited often: {twice_visited} of {twice_nodes}");
    }
}
