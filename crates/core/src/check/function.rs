//! Are the gradients of a function right? Differences of orders one and two, and the two modes against each other.

use super::{
    claim::{Claim, normal},
    report::{Exempt, Fault, Passed, Report},
};
use crate::{
    Array, DType, Dense, Tape, Tensor, Tree,
    differentiate::{pull, push},
    ops::{self, Rule},
    record::report,
};

/// Checks first and second derivatives of a function at a point, in `f64` whatever the inputs are.
///
/// The result of `f` may have any shape: it is weighed with fixed random numbers. Random directions are compared with central
/// differences over a sweep of steps, of which the most stable is believed; on disagreement the worst coordinate is searched and
/// reported with the slopes from both sides. Values of other dtypes than floats are passed on as they are, and not moved.
///
/// Rules that are meant to differ from the derivative (`stop_gradient`, straight-through) are listed; the inputs that reach the
/// result through them are not compared with differences.
///
/// ```
/// use wengert_core::{Array, check::gradcheck};
/// let (a, b) = (Array::from([[1.0, 2.0], [3.0, 4.0]]), Array::from([0.5, -0.5]));
/// let report = gradcheck([&a, &b], |[a, b]| a.matmul(b).tanh()).unwrap();
/// assert!(report.fault.is_none());
/// ```
pub fn gradcheck<const N: usize, F>(x: [&Array; N], f: F) -> Result<Report, Box<Report>>
where
    F: for<'t> Fn([Tensor<'t>; N]) -> Tensor<'t>,
{
    let names = (0..N).map(|i| format!("input {i}")).collect();
    let x = x.iter().map(|a| widened(a)).collect();
    Subject { names, x, run: &|_, x| f(std::array::from_fn(|i| x[i])) }.check()
}

/// As [`gradcheck`], for a loss as a function of a model's leaves, which are named by their paths.
///
/// The model is converted to `f64`; data that the loss puts onto the tape should be, too.
pub fn gradcheck_model<M, F>(model: &M, loss: F) -> Result<Report, Box<Report>>
where
    M: Tree<Array>,
    F: for<'t> Fn(&M::With<Tensor<'t>>, &'t Tape) -> Tensor<'t>,
{
    let x = model.leaves().into_iter().map(widened).collect();
    Subject { names: model.paths(), x, run: &|tape, x| loss(&model.with_leaves(x.iter().copied()), tape) }.check()
}

/// Floats as doubles.
fn widened(a: &Array) -> Array {
    if a.dtype().is_float() { a.cast(DType::F64) } else { a.clone() }
}

type Run<'a> = dyn for<'t> Fn(&'t Tape, &[Tensor<'t>]) -> Tensor<'t> + 'a;

/// A function of arrays, at a point.
struct Subject<'a> {
    names: Vec<String>,
    x: Vec<Array>,
    run: &'a Run<'a>,
}

const FIRST: &str = "gradient against differences";
const SECOND: &str = "second derivative against differences of the gradient";
const MODES: &str = "forward mode against reverse mode";

impl Subject<'_> {
    fn check(&self) -> Result<Report, Box<Report>> {
        let mut report = Report::default();
        match self.compare(&mut report) {
            Ok(()) => Ok(report),
            Err(fault) => Err(Box::new(Report { fault: Some(*fault), ..report })),
        }
    }

    fn compare(&self, report: &mut Report) -> Result<(), Box<Fault>> {
        let tape = Tape::new();
        let x = self.leaves(&tape, |i| self.x[i].clone());
        let y = (self.run)(&tape, &x);
        if !y.dtype().is_float() {
            panic!("gradcheck: expected a function with a float result, got {y:?}");
        }
        let cut = exempt(y, &x, report);
        let moves: Vec<bool> = x.iter().zip(&cut).map(|(x, cut)| x.dtype().is_float() && !cut).collect();
        report.left_out = (0..x.len()).filter(|&i| cut[i]).map(|i| self.names[i].clone()).collect();
        let w = Array::new(y.shape(), normal(y.size(), 1)).cast(y.dtype());
        let gradient = vjp(y, &w, &x);
        report.passed.push(modes(y, &w, &x, &gradient)?);
        let point: Vec<Dense> = self.x.iter().map(Dense::of).collect();
        self.first_order(report, &point, &moves, &y.value(), &w, &gradient)?;
        self.second_order(report, &point, &moves, (y, &x), &w, &gradient)
    }

    fn first_order(
        &self,
        report: &mut Report,
        point: &[Dense],
        moves: &[bool],
        y: &Array,
        w: &Array,
        gradient: &[Array],
    ) -> Result<(), Box<Fault>> {
        let (y, w, shape) = (y.to_f64_vec(), w.to_f64_vec(), *y.shape());
        let change = |to: &[Dense]| {
            let tape = Tape::new();
            let x = self.leaves(&tape, |i| to[i].to_array(self.x[i].dtype()));
            let moved = (self.run)(&tape, &x).value();
            assert_eq!(*moved.shape(), shape, "gradcheck: the function's result has another shape at a point nearby");
            moved.to_f64_vec().iter().zip(&y).zip(&w).map(|((to, from), w)| w * (to - from)).sum()
        };
        let magnitude = y.iter().zip(&w).map(|(y, w)| (y * w).abs()).sum();
        self.hold(report, FIRST, (point, moves, gradient, &change, magnitude, 1e-6))
    }

    fn second_order(
        &self,
        report: &mut Report,
        point: &[Dense],
        moves: &[bool],
        (y, x): (Tensor<'_>, &[Tensor<'_>]),
        w: &Array,
        first: &[Array],
    ) -> Result<(), Box<Fault>> {
        let u: Vec<Vec<f64>> = first.iter().enumerate().map(|(i, g)| normal(g.size(), 50 + i as u64)).collect();
        let weigh = |g: &[Array], from: Option<&[Array]>| -> f64 {
            let each = g.iter().enumerate().filter(|(i, _)| moves[*i]).map(|(i, g)| {
                let from = from.map(|f| f[i].to_f64_vec());
                let change = |(c, g): (usize, f64)| (g - from.as_ref().map_or(0.0, |f| f[c])) * u[i][c];
                g.to_f64_vec().into_iter().enumerate().map(change).sum::<f64>()
            });
            each.sum()
        };
        let change = |to: &[Dense]| {
            let tape = Tape::new();
            let x = self.leaves(&tape, |i| to[i].to_array(self.x[i].dtype()));
            weigh(&vjp((self.run)(&tape, &x), w, &x), Some(first))
        };
        // The gradient's own gradient: `Σ g·u` pulled back, by giving `u` as the cotangent of the gradients.
        let seed = y.tape.constant(w);
        let g = pull(&[(y, seed)], x);
        let us = |i: usize| y.tape.constant(&Array::new(x[i].shape(), &u[i]).cast(x[i].dtype()));
        let pairs: Vec<_> = (0..x.len()).filter(|&i| moves[i]).filter_map(|i| Some((g[i]?, us(i)))).collect();
        let second: Vec<Array> = pull(&pairs, x).into_iter().zip(x).map(|(g, x)| value_or_zero(g, *x)).collect();
        let terms = first.iter().zip(&u).flat_map(|(g, u)| g.to_f64_vec().into_iter().zip(u).map(|(g, u)| (g * u).abs()));
        self.hold(report, SECOND, (point, moves, &second, &change, terms.sum(), 1e-5))
    }

    fn hold(&self, report: &mut Report, check: &'static str, claim: Parts<'_>) -> Result<(), Box<Fault>> {
        let (x, moves, gradient, change, magnitude, tolerance) = claim;
        let gradient: Vec<Vec<f64>> = gradient.iter().map(Array::to_f64_vec).collect();
        match (Claim { x, moves, gradient: &gradient, change, magnitude, tolerance, held: Vec::new() }).examine(3, 3) {
            Ok(excess) => report.passed.push(Passed { check, excess }),
            Err(at) => return Err(Box::new(Fault::at(check, self.names[at.input].clone(), at))),
        }
        Ok(())
    }

    fn leaves<'t>(&self, tape: &'t Tape, value: impl Fn(usize) -> Array) -> Vec<Tensor<'t>> {
        (0..self.x.len()).map(|i| tape.leaf(&value(i))).collect()
    }
}

/// Point, which inputs move, claimed gradient, change of the function, magnitude, tolerance.
type Parts<'a> = (&'a [Dense], &'a [bool], &'a [Array], &'a dyn Fn(&[Dense]) -> f64, f64, f64);

fn value_or_zero(g: Option<Tensor<'_>>, x: Tensor<'_>) -> Array {
    g.map_or_else(|| Array::zeros(x.dtype(), x.shape()), Tensor::value)
}

fn vjp<'t>(y: Tensor<'t>, w: &Array, x: &[Tensor<'t>]) -> Vec<Array> {
    let g = pull(&[(y, y.tape.constant(w))], x);
    g.into_iter().zip(x).map(|(g, x)| value_or_zero(g, *x)).collect()
}

/// `⟨w, J v⟩ = ⟨Jᵀ w, v⟩`, the products taken off the tape.
fn modes<'t>(y: Tensor<'t>, w: &Array, x: &[Tensor<'t>], gradient: &[Array]) -> Result<Passed, Box<Fault>> {
    let floats: Vec<usize> = (0..x.len()).filter(|&i| x[i].dtype().is_float()).collect();
    let v = |i: usize| Array::new(x[i].shape(), normal(x[i].size(), 20 + i as u64)).cast(x[i].dtype());
    let seeds: Vec<_> = floats.iter().map(|&i| (x[i], y.tape.constant(&v(i)))).collect();
    let pushed = value_or_zero(push(&[y], &seeds)[0], y);
    let product = |a: &Array, b: &Array| a.to_f64_vec().iter().zip(b.to_f64_vec()).map(|(a, b)| a * b).collect::<Vec<f64>>();
    let forward = product(w, &pushed);
    let reverse: Vec<f64> = floats.iter().flat_map(|&i| product(&gradient[i], &v(i))).collect();
    let (f, r): (f64, f64) = (forward.iter().sum(), reverse.iter().sum());
    let allowed = 1e-9 * forward.iter().chain(&reverse).map(|t| t.abs()).sum::<f64>();
    let excess = (f - r).abs() / allowed.max(f64::MIN_POSITIVE);
    if excess <= 1.0 {
        return Ok(Passed { check: MODES, excess });
    }
    Err(Box::new(Fault::overall(MODES, f, r, format!("⟨w, J v⟩ and ⟨Jᵀ w, v⟩ may differ by {allowed:.1e}"))))
}

/// Lists the rules on the way from `x` to `y` that are no derivatives; says for each `x` whether it passes through one.
fn exempt(y: Tensor<'_>, x: &[Tensor<'_>], list: &mut Report) -> Vec<bool> {
    let r = y.tape.record();
    let Some(last) = y.id.as_node() else { return vec![false; x.len()] };
    let mut reaches = vec![false; last + 1];
    let mut cut = vec![false; last + 1];
    reaches[last] = true;
    for id in (0..=last).rev().filter(|&id| r.nodes[id].dtype.is_float()) {
        if !reaches[id] {
            continue;
        }
        let why = match r.nodes[id].op.0.vjp {
            // What is claimed to cancel out is held to differences like any other.
            _ if std::ptr::eq(r.nodes[id].op.0, &ops::shift::OP) => None,
            Rule::Declared(_, why) | Rule::Stop(why) => Some(why),
            _ => None,
        };
        if let Some(why) = why {
            list.exempt.push(Exempt { op: report::made(id, &r), why: why.into() });
        }
        for input in r.inputs(id).iter().filter_map(|x| x.as_node()) {
            reaches[input] = true;
            cut[input] |= cut[id] || why.is_some();
        }
    }
    x.iter().map(|x| x.id.as_node().is_some_and(|id| cut.get(id) == Some(&true))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{OpDef, Tangents};

    fn smooth() -> Array {
        Array::uniform(DType::F64, [2, 3], 0.5, 2.0, 1)
    }

    #[test]
    fn a_network_with_cross_entropy_is_compared_in_all_its_leaves() {
        let (a, b) = (Array::uniform(DType::F64, [4, 3], -1.0, 1.0, 1), Array::uniform(DType::F64, [3, 5], -1.0, 1.0, 2));
        let report = gradcheck([&a, &b], |[a, b]| a.matmul(b).log_softmax(-1)).unwrap();
        assert!(report.left_out.is_empty() && report.exempt.is_empty(), "{report}");
        assert!(report.passed.iter().all(|p| p.excess > 0.0), "numbers that differ by nothing were not compared: {report}");
    }

    #[test]
    fn a_kink_beside_the_point_is_no_fault() {
        let x = Array::from([1e-6, 0.5, -0.7]);
        gradcheck([&x], |[x]| (x.relu() * x.exp()).sum() + x.sin().sum()).unwrap();
    }

    #[test]
    fn right_gradients_pass() {
        let a = smooth();
        let report = gradcheck([&a, &a.cast(DType::F32)], |[a, b]| (a * b.exp()).sum_over(&[0]) / a.sum()).unwrap();
        assert_eq!(report.passed.len(), 3);
        assert!(report.to_string().contains("no fault found"), "{report}");
        gradcheck([&a], |[a]| a * 3.0).expect("linear");
        gradcheck([&Array::zeros(DType::F64, [0])], |[a]| a.exp()).expect("empty");
    }

    #[test]
    fn a_kink_is_shown_by_the_slopes_of_its_sides() {
        let x = Array::from([[0.5, -1.0], [0.0, 2.0]]);
        let report = gradcheck([&x], |[x]| x.relu().sum()).unwrap_err();
        let fault = report.fault.as_ref().unwrap();
        assert_eq!((fault.input.as_str(), fault.index.as_slice(), fault.analytic), ("input 0", &[1, 0][..], 0.0));
        assert!(fault.rule.contains("a kink") && fault.left.abs() < fault.right.abs(), "{report}");
        assert!(report.to_json().contains(r#""input":"input 0","index":[1,0]"#), "{}", report.to_json());
    }

    fn pass<'t>(_: &crate::Cx<'t>, g: &[Option<Tensor<'t>>]) -> Tangents<'t> {
        smallvec::smallvec![g[0]]
    }
    static ROUND: OpDef = OpDef {
        jvp: Rule::Declared(pass, "straight through"),
        vjp: Rule::Declared(pass, "straight through"),
        name: "round_through",
        shape: |_, x| crate::Typed::like(0, x),
        kernel: crate::KernelClass::Pointwise(|p| p.x(0).floor()),
        value: |s, x| Dense::map(s, x, |v| v[0].floor()),
        batch: crate::Batch::Pointwise,
        samples: Vec::new,
    };
    static WRONG: OpDef = OpDef {
        jvp: Rule::By(pass),
        vjp: Rule::By(pass),
        name: "wrong",
        shape: |_, x| crate::Typed::like(0, x),
        kernel: crate::KernelClass::Pointwise(|p| p.x(0).sin()),
        value: |s, x| Dense::map(s, x, |v| v[0].sin()),
        batch: crate::Batch::Pointwise,
        samples: Vec::new,
    };

    #[test]
    fn declared_rules_are_listed_and_not_compared() {
        let a = smooth();
        let report = gradcheck([&a, &a], |[a, b]| a.op(&ROUND, [], &[]) * b * b).unwrap();
        assert_eq!((report.exempt.len(), report.left_out.as_slice()), (1, &["input 0".to_string()][..]), "{report}");
        assert!(report.exempt[0].op.contains("round_through at "));
    }

    #[test]
    fn wrong_rules_are_caught_in_models_by_path() {
        let model = (smooth(), vec![Array::from([0.1]), Array::from([0.2, 0.3])]);
        gradcheck_model(&model, |m, _| m.0.sum() * m.1[1].sin().sum() * m.1[0]).unwrap();
        let report = gradcheck_model(&model, |m, _| m.0.sum() * m.1[1].op(&WRONG, [], &[]).sum() * m.1[0]).unwrap_err();
        assert_eq!(report.fault.unwrap().input, "1.1");
    }
}
