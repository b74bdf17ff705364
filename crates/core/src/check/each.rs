//! Which recorded op has a wrong derivative? Each node of a computation is checked alone, at the inputs it really had.

use super::{
    claim::{Claim, normal},
    report::Fault,
};
use crate::{
    Array, DType, Dense, Rule, Spec, Tape, Tensor,
    differentiate::pull,
    record::{node::Operand, report},
};

/// The first node whose vjp disagrees with differences of its reference.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{node}: {fault}")]
pub struct NodeFault {
    /// Op and line.
    pub node: String,
    /// Where and by how much.
    pub fault: Box<Fault>,
}

/// How many coordinates at a kink are passed over before a node is left alone.
const KINKS: usize = 32;

/// Checks the vjp of every node that `loss` is computed from, at the values that its inputs have, in the order of recording.
/// Gives the number of nodes checked.
///
/// Differences are taken of each op's reference loop in `f64`, so this is slow: use a small batch. Where a function has a kink within
/// reach of the differences, a slope between those of its two sides passes. Rules that are meant to differ from the derivative are
/// left out.
///
/// ```
/// use wengert_core::{Array, Tape, check::check_each_op};
/// let tape = Tape::new();
/// let x = tape.leaf(&Array::from([1.0, 2.0]));
/// assert_eq!(check_each_op((x * x.exp()).sum()).unwrap(), 3);
/// ```
pub fn check_each_op(loss: Tensor<'_>) -> Result<usize, NodeFault> {
    let mut checked = 0;
    for id in ancestors(loss) {
        let node = Tensor { tape: loss.tape, id: Operand::node(id) };
        if let Some(result) = check(node) {
            result.map_err(|fault| NodeFault { node: report::made(id, &loss.tape.record()), fault })?;
            checked += 1;
        }
    }
    Ok(checked)
}

/// The nodes that a tensor is computed from, and itself, ascending.
fn ancestors(y: Tensor<'_>) -> Vec<usize> {
    let r = y.tape.record();
    let Some(last) = y.id.as_node() else { return Vec::new() };
    let mut needed = vec![false; last + 1];
    needed[last] = true;
    for id in (0..=last).rev().filter(|&id| !r.nodes[id].op.0.is_leaf()) {
        if needed[id] {
            r.inputs(id).iter().filter_map(|x| x.as_node()).for_each(|x| needed[x] = true);
        }
    }
    (0..=last).filter(|&id| needed[id] && !r.nodes[id].op.0.is_leaf()).collect()
}

/// `None` where there is nothing to check.
fn check(node: Tensor<'_>) -> Option<Result<(), Box<Fault>>> {
    let (op, operands, attrs, shape, float) = {
        let r = node.tape.record();
        let id = node.id.as_node()?;
        (r.nodes[id].op.0, r.inputs(id).to_vec(), r.attrs(id).to_vec(), *r.shape(node.id), r.nodes[id].dtype.is_float())
    };
    let inputs: Vec<Tensor<'_>> = operands.iter().map(|&id| Tensor { tape: node.tape, id }).collect();
    let moves: Vec<bool> = inputs.iter().map(|x| x.id.as_node().is_some() && x.dtype().is_float()).collect();
    if !float || !moves.contains(&true) || !matches!(op.vjp, Rule::By(_) | Rule::Zero(_)) {
        return None;
    }
    let x: Vec<Dense> = inputs.iter().map(|x| x.scalar_value().map_or_else(|| Dense::of(&x.value()), scalar)).collect();
    let dtypes: Vec<DType> = inputs.iter().map(|x| if x.dtype().is_float() { DType::F64 } else { x.dtype() }).collect();
    let tape = Tape::new();
    let own: Vec<Tensor<'_>> = (0..x.len())
        .map(|i| match inputs[i].id.as_slot() {
            Some(_) => tape.scalar(dtypes[i], x[i].data[0]),
            None => tape.leaf(&x[i].to_array(dtypes[i])),
        })
        .collect();
    // A cast names its dtype in the attributes and may narrow; then what is checked is the narrowing op itself.
    let y = tape.op(op, &own, &attrs);
    let w = normal(shape.size(), 1);
    let pulled = pull(&[(y, tape.constant(&Array::new(shape, &w).cast(y.dtype())))], &own);
    let gradient: Vec<Vec<f64>> =
        pulled.into_iter().zip(&own).map(|(g, x)| g.map_or_else(|| vec![0.0; x.size()], |g| g.reference().data)).collect();
    let value = |x: &[Dense]| (op.value)(&Spec { attrs: &attrs, shape: &shape, dtype: DType::F64, inputs: &dtypes }, x).data;
    let at = value(&x);
    let change = |to: &[Dense]| value(to).iter().zip(&at).zip(&w).map(|((to, from), w)| w * (to - from)).sum();
    let magnitude = at.iter().zip(&w).map(|(y, w)| (y * w).abs()).filter(|t| t.is_finite()).sum();
    // Cotangents of an f32 cast are rounded to f32.
    let tolerance = if y.dtype() == DType::F32 { 1e-5 } else { 1e-6 };
    let claim = Claim { x: &x, moves: &moves, gradient: &gradient, change: &change, magnitude, tolerance, held: Vec::new() };
    Some(settle(claim))
}

fn settle(mut claim: Claim<'_>) -> Result<(), Box<Fault>> {
    for _ in 0..KINKS {
        match claim.examine(2, 5) {
            Ok(_) => return Ok(()),
            Err(at) if at.within_kink() => claim.held.push((at.input, at.position)),
            Err(at) => return Err(Box::new(Fault::at("vjp against differences", format!("input {}", at.input), at))),
        }
    }
    Ok(())
}

fn scalar(v: f64) -> Dense {
    Dense { dims: Vec::new(), data: vec![v] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::OpDef;

    static WRONG: OpDef = OpDef {
        name: "wrong",
        shape: |_, x| crate::Typed::like(0, x),
        kernel: KernelClass::Pointwise(|p| p.x(0).sin()),
        value: |s, x| Dense::map(s, x, |v| v[0].sin()),
        jvp: Rule::Transposed,
        vjp: Rule::By(|_, g| smallvec::smallvec![g[0]]),
        batch: crate::Batch::Pointwise,
        samples: Vec::new,
    };
    use crate::KernelClass;

    #[test]
    fn the_wrong_node_is_named_with_its_line() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::uniform(DType::F32, [3, 4], -2.0, 2.0, 1));
        let w = tape.leaf(&Array::uniform(DType::F32, [4, 2], -2.0, 2.0, 2));
        let h = x.matmul(w).relu();
        check_each_op((h * 2.0).sum()).unwrap();
        let (y, line) = (h.op(&WRONG, [], &[]), line!());
        let fault = check_each_op(y.tanh().sum()).unwrap_err();
        assert!(fault.node.starts_with("wrong at ") && fault.node.contains(&format!(":{line}:")), "{fault}");
        assert_eq!(fault.fault.input, "input 0");
    }

    #[test]
    fn kinks_at_the_actual_inputs_are_no_faults() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([0.0, 1.0, -1.0, 0.0]));
        check_each_op(x.relu().sum() + x.abs().sum()).unwrap();
    }
}
