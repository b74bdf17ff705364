//! What should a tensor's value be? The plain interpretation: every op by its reference loop in `f64`, nothing planned or fused.

use crate::{
    DType, Tensor,
    ops::{Dense, Spec},
    record::{Record, node::Operand},
};

impl<'t> Tensor<'t> {
    /// The value by the ops' reference loops in `f64`: slow, unfused, the oracle that plans and kernels are compared with.
    pub fn reference(self) -> Dense {
        self.tape.record.borrow_mut().looks.values += 1;
        let r = self.tape.record();
        let Some(last) = self.id.as_node() else { return scalar(&r, self.id) };
        let mut values: Vec<Option<Dense>> = vec![None; last + 1];
        for id in needed_nodes(&r, last) {
            values[id] = Some(interpret(&r, &values, id));
        }
        values[last].take().expect("the last needed node")
    }
}

/// The nodes that `last` is computed from, and itself, ascending.
fn needed_nodes(r: &Record, last: usize) -> Vec<usize> {
    let mut needed = vec![false; last + 1];
    needed[last] = true;
    for id in (0..=last).rev() {
        if needed[id] {
            for x in r.inputs(id).iter().filter_map(|x| x.as_node()) {
                needed[x] = true;
            }
        }
    }
    (0..=last).filter(|&id| needed[id]).collect()
}

fn scalar(r: &Record, x: Operand) -> Dense {
    let slot = r.slots[x.as_slot().expect("an operand is a node or a slot")];
    Dense { dims: Vec::new(), data: vec![slot.dtype.number(slot.bits)] }
}

fn interpret(r: &Record, values: &[Option<Dense>], id: usize) -> Dense {
    let node = &r.nodes[id];
    if node.op.0.is_leaf() {
        return Dense::of(&r.leaves[node.attrs as usize].array);
    }
    let inputs = r.inputs(id);
    let x: Vec<Dense> = inputs
        .iter()
        .map(|&x| match x.as_node() {
            Some(x) => values[x].clone().expect("inputs come first"),
            None => scalar(r, x),
        })
        .collect();
    let dtypes: Vec<DType> = inputs.iter().map(|&x| r.meta(x).0).collect();
    let spec = Spec { attrs: r.attrs(id), shape: r.tables.shapes.get(node.shape), dtype: node.dtype, inputs: &dtypes };
    (node.op.0.value)(&spec, &x)
}
