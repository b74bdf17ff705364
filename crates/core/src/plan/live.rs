//! Which recorded nodes does a result need? From the wanted results back; the rest is never run.

use crate::record::Record;

/// Scratch marks by node, valid where they equal the current round.
#[derive(Default)]
pub(crate) struct Marks {
    round: u32,
    marks: Vec<u32>,
}

impl Marks {
    fn begin(&mut self, nodes: usize) {
        if self.round == u32::MAX {
            self.marks.clear();
            self.round = 0;
        }
        self.round += 1;
        if self.marks.len() < nodes {
            self.marks.resize(nodes, 0);
        }
    }
}

/// Fills `order` with the live nodes, ascending. Leaves and nodes that have a value end the search: they are inputs.
pub(crate) fn live(r: &Record, outputs: &[u32], marks: &mut Marks, order: &mut Vec<u32>) {
    order.clear();
    let Some(&last) = outputs.iter().max() else { return };
    marks.begin(last as usize + 1);
    for &o in outputs {
        marks.marks[o as usize] = marks.round;
    }
    for id in (0..=last as usize).rev() {
        if marks.marks[id] != marks.round {
            continue;
        }
        order.push(id as u32);
        if is_input(r, id) {
            continue;
        }
        for x in r.inputs(id).iter().filter_map(|x| x.as_node()) {
            marks.marks[x] = marks.round;
        }
    }
    order.reverse();
}

/// Whether a plan takes this node's value from outside.
pub(crate) fn is_input(r: &Record, id: usize) -> bool {
    r.nodes[id].op.0.is_leaf() || r.value(id).is_some()
}
