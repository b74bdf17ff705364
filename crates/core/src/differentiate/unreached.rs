//! Why did no gradient arrive?

use crate::{
    Tensor,
    ops::Rule,
    record::{Record, Walk, node::Operand, report},
};

/// A target that a result's gradient does not reach, and what cut it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("grad: the result does not reach the target {target}\n  {cut}\n  hint: grad_or_zero gives zeros where that is meant")]
pub struct Unreached {
    /// The target: op, dtype, shape, where it was made.
    pub target: String,
    /// What stood in the way.
    pub cut: Cut,
}

/// What stands between a result and a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The result was not computed from the target at all.
    Independent {
        /// The result: op and line.
        result: String,
    },
    /// An op's rule lets nothing pass.
    ByRule {
        /// The op and the line where it was recorded.
        op: String,
        /// The reason that the rule gives.
        why: String,
    },
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cut::Independent { result } => write!(f, "the result ({result}) was not computed from it"),
            Cut::ByRule { op, why } => write!(f, "cut by {op}: {why}"),
        }
    }
}

/// `Ok` where a missing gradient is a true zero: `result` was itself derived from something that depends on the target,
/// as the second derivative of a linear function is.
pub(crate) fn explain<'t>(result: Tensor<'t>, target: Tensor<'t>) -> Result<(), Unreached> {
    let r = result.tape.record();
    let describe = |t: Tensor<'t>| match t.id.as_node() {
        Some(id) => format!("{} made by {}", report::describe(t.id, &r), report::made(id, &r)),
        None => report::describe(t.id, &r),
    };
    let error = |cut| Err(Unreached { target: describe(target), cut });
    let independent = || Cut::Independent { result: describe(result) };
    let (Some(from), Some(to)) = (target.id.as_node(), result.id.as_node()) else { return error(independent()) };
    let ancestors = ancestors(&r, to);
    let depends = dependents(&r, from);
    if let Some(cut) = nearest_cut(&r, &ancestors, &depends) {
        return error(cut);
    }
    let derived = |w: &Walk| w.nodes.clone().any(|id| ancestors.get(id).is_some_and(|&a| a)) && depends[w.result];
    if r.walks.iter().any(derived) { Ok(()) } else { error(independent()) }
}

/// By node, whether `to` is computed from it.
fn ancestors(r: &Record, to: usize) -> Vec<bool> {
    let mut reached = vec![false; to + 1];
    reached[to] = true;
    for id in (0..=to).rev() {
        if reached[id] {
            for x in r.inputs(id).iter().filter_map(|x| x.as_node()) {
                reached[x] = true;
            }
        }
    }
    reached
}

/// By node, whether it is computed from `from`.
fn dependents(r: &Record, from: usize) -> Vec<bool> {
    let mut depends = vec![false; r.nodes.len()];
    depends[from] = true;
    for id in from + 1..r.nodes.len() {
        let on = |x: &Operand| x.as_node().is_some_and(|x| depends[x]);
        depends[id] = r.inputs(id).iter().any(on);
    }
    depends
}

/// The last op that the user recorded on a path from target to result and whose rule lets nothing pass.
fn nearest_cut(r: &Record, ancestors: &[bool], depends: &[bool]) -> Option<Cut> {
    let on_path = |id: &usize| ancestors[*id] && depends[*id] && r.inputs(*id).iter().any(|x| x.as_node().is_some_and(|x| depends[x]));
    // What a derivative walk recorded is a derivative already: where that is flat, the zero is the truth.
    let by_user = |id: &usize| !r.walks.iter().any(|w| w.nodes.contains(id));
    let why = |id: usize| match r.nodes[id].op.0.vjp {
        Rule::Zero(why) | Rule::Stop(why) => Some(why.to_string()),
        _ if !r.nodes[id].dtype.is_float() => Some("its values are not floats".to_string()),
        _ => None,
    };
    let (id, why) = (0..ancestors.len()).rev().filter(on_path).filter(by_user).find_map(|id| Some((id, why(id)?)))?;
    Some(Cut::ByRule { op: report::made(id, r), why })
}
