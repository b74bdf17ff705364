//! Does `docs/conventions.md` say what the code does? Every row of its tables is computed here, and every row here stands there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use wengert_core::{Array, DType, PoolOptions, Tape, Tensor};

const DOC: &str = include_str!("../../../docs/conventions.md");
const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// A row: what is asked, what came out.
type Row = (&'static str, String);
/// A function of one tensor.
type F = for<'t> fn(Tensor<'t>) -> Tensor<'t>;
/// A function of two.
type G = for<'t> fn(Tensor<'t>, Tensor<'t>) -> Tensor<'t>;

/// The rows of the table under a heading.
fn table(heading: &str) -> Vec<(String, String)> {
    let body = DOC.split(&format!("## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading:?}"));
    let section = body.split("\n## ").next().unwrap_or(body);
    let cells = |line: &str| -> Vec<String> { line.split('|').map(|c| c.trim().trim_matches('`').to_string()).collect() };
    section.lines().filter(|l| l.starts_with("| `")).map(cells).map(|c| (c[1].clone(), c[2].clone())).collect()
}

fn agree(heading: &str, rows: &[Row]) {
    let rows: Vec<(String, String)> = rows.iter().map(|(name, got)| (name.to_string(), got.clone())).collect();
    let print = |rows: &[(String, String)]| rows.iter().map(|(a, b)| format!("| `{a}` | {b} |\n")).collect::<String>();
    assert_eq!(print(&table(heading)), print(&rows), "docs/conventions.md, {heading}: the document on the left, the code on the right");
}

fn number(v: f64) -> String {
    match v {
        v if v.is_nan() => "NaN".into(),
        INF => "∞".into(),
        v if v == -INF => "−∞".into(),
        v => format!("{}", (v * 1e6).round() / 1e6).replace('-', "−"),
    }
}

fn show(a: &Array) -> String {
    let each: Vec<String> = match a.dtype() {
        DType::Bool => a.to_vec::<bool>().iter().map(bool::to_string).collect(),
        DType::I64 => a.to_vec::<i64>().iter().map(|v| v.to_string().replace('-', "−")).collect(),
        _ => a.to_f64_vec().into_iter().map(number).collect(),
    };
    if a.rank() == 0 { each[0].clone() } else { format!("[{}]", each.join(", ")) }
}

/// What `f` gives; how it panics is said as "panics".
fn guarded(f: impl FnOnce() -> String) -> String {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| "panics".into())
}

fn of(x: impl Into<Array>, f: F) -> String {
    let x = x.into();
    guarded(|| show(&f(Tape::new().leaf(&x)).value()))
}

fn at(x: f64, f: F) -> String {
    of(Array::scalar(x), f)
}

fn slope_of(x: impl Into<Array>, f: F) -> String {
    let tape = Tape::new();
    let x = tape.leaf(&x.into());
    let y = f(x).sum();
    let [g] = y.grad_or_zero([x]);
    forward_agrees(y, x, &g.value());
    show(&g.value())
}

/// The derivative along each axis is the element of the gradient, where there is a gradient.
fn forward_agrees<'t>(y: Tensor<'t>, x: Tensor<'t>, g: &Array) {
    if y.try_grad([x]).is_err() {
        return;
    }
    for i in 0..x.size() {
        let mut along = Array::zeros(x.dtype(), x.shape());
        along.as_mut_slice::<f64>()[i] = 1.0;
        let forward = y.jvp(x, x.tape().constant(&along)).item();
        assert_eq!(number(forward), number(g.to_f64_vec()[i]), "forward and reverse, element {i} of {x:?}");
    }
}

fn slope(x: f64, f: F) -> String {
    slope_of(Array::scalar(x), f)
}

fn curvature(x: f64, f: F) -> String {
    let tape = Tape::new();
    let x = tape.leaf(&Array::scalar(x));
    let [g] = f(x).grad_or_zero([x]);
    let [h] = g.grad_or_zero([x]);
    show(&h.value())
}

fn slopes(a: f64, b: f64, f: G) -> String {
    let tape = Tape::new();
    let (a, b) = (tape.leaf(&Array::scalar(a)), tape.leaf(&Array::scalar(b)));
    let y = f(a, b);
    let [ga, gb] = y.grad_or_zero([a, b]);
    forward_agrees(y, a, &ga.value());
    forward_agrees(y, b, &gb.value());
    format!("{}, {}", show(&ga.value()), show(&gb.value()))
}

fn two(a: f64, b: f64, f: G) -> String {
    let tape = Tape::new();
    show(&f(tape.leaf(&Array::scalar(a)), tape.leaf(&Array::scalar(b))).value())
}

/// The dtype of a sum of ones.
fn dtype(a: DType, b: DType, f: G) -> String {
    guarded(|| {
        let tape = Tape::new();
        f(tape.leaf(&Array::ones(a, [2])), tape.leaf(&Array::ones(b, [2]))).dtype().to_string()
    })
}

fn dtype_of(a: DType, f: F) -> String {
    guarded(|| f(Tape::new().leaf(&Array::ones(a, [2]))).dtype().to_string())
}

#[test]
fn promotion() {
    use DType::{Bool, F32, F64, I64};
    agree(
        "Promotion",
        &[
            ("f32 + f32", dtype(F32, F32, |a, b| a + b)),
            ("f32 + f64", dtype(F32, F64, |a, b| a + b)),
            ("f32 + i64", dtype(F32, I64, |a, b| a + b)),
            ("f32 + bool", dtype(F32, Bool, |a, b| a + b)),
            ("f64 + f64", dtype(F64, F64, |a, b| a + b)),
            ("f64 + i64", dtype(F64, I64, |a, b| a + b)),
            ("f64 + bool", dtype(F64, Bool, |a, b| a + b)),
            ("i64 + i64", dtype(I64, I64, |a, b| a + b)),
            ("i64 + bool", dtype(I64, Bool, |a, b| a + b)),
            ("bool + bool", dtype(Bool, Bool, |a, b| a + b)),
            ("bool & bool", dtype(Bool, Bool, |a, b| a & b)),
            ("f32 + 2", dtype_of(F32, |a| a + 2)),
            ("f32 + 2.5", dtype_of(F32, |a| a + 2.5)),
            ("f64 + 2.5", dtype_of(F64, |a| a + 2.5)),
            ("i64 + 2", dtype_of(I64, |a| a + 2)),
            ("i64 + 2.5", dtype_of(I64, |a| a + 2.5)),
            ("bool + 2", dtype_of(Bool, |a| a + 2)),
            ("bool + 2.5", dtype_of(Bool, |a| a + 2.5)),
            ("i64 / i64", dtype(I64, I64, |a, b| a / b)),
            ("i64 / 2", dtype_of(I64, |a| a / 2)),
            ("bool / bool", dtype(Bool, Bool, |a, b| a / b)),
            ("f32 < i64", dtype(F32, I64, |a, b| a.lt(b))),
            ("-bool", dtype_of(Bool, |a| -a)),
            ("exp of i64", dtype_of(I64, |a| a.exp())),
            ("sum of bool", dtype_of(Bool, |a| a.sum())),
            ("mean of i64", dtype_of(I64, |a| a.mean())),
            ("argmax of f32", dtype_of(F32, |a| a.argmax())),
            ("bool.select(1, 2)", dtype_of(Bool, |a| a.select(1, 2))),
            ("bool.select(1.0, 2)", dtype_of(Bool, |a| a.select(1.0, 2))),
        ],
    );
}

#[test]
fn casts() {
    use DType::{Bool, F32, F64, I64};
    agree(
        "Casts",
        &[
            ("2.7 to i64", at(2.7, |x| x.cast(I64))),
            ("−2.7 to i64", at(-2.7, |x| x.cast(I64))),
            ("NaN to i64", at(NAN, |x| x.cast(I64))),
            ("∞ to i64", at(INF, |x| x.cast(I64))),
            ("−1e300 to i64", at(-1e300, |x| x.cast(I64))),
            ("1e300 to f32", at(1e300, |x| x.cast(F32))),
            ("0.5 to bool", at(0.5, |x| x.cast(Bool))),
            ("−0.0 to bool", at(-0.0, |x| x.cast(Bool))),
            ("NaN to bool", at(NAN, |x| x.cast(Bool))),
            ("true to f64", of(Array::scalar(true), |x| x.cast(F64))),
            ("slope of f64 to f32 to f64", slope(1.0, |x| x.cast(F32).cast(F64))),
            ("slope of f64 to i64 to f64", slope(1.0, |x| x.cast(I64).cast(F64))),
        ],
    );
}

#[test]
fn special_values() {
    agree(
        "Special values",
        &[
            ("1 / 0", two(1.0, 0.0, |a, b| a / b)),
            ("0 / 0", two(0.0, 0.0, |a, b| a / b)),
            ("ln(0)", at(0.0, |x| x.ln())),
            ("ln(−1)", at(-1.0, |x| x.ln())),
            ("ln_1p(−1)", at(-1.0, |x| x.ln_1p())),
            ("sqrt(−1)", at(-1.0, |x| x.sqrt())),
            ("rsqrt(0)", at(0.0, |x| x.rsqrt())),
            ("exp(1000)", at(1000.0, |x| x.exp())),
            ("expm1(−1000)", at(-1000.0, |x| x.expm1())),
            ("sigmoid(−1000)", at(-1000.0, |x| x.sigmoid())),
            ("softplus(1000)", at(1000.0, |x| x.softplus())),
            ("softplus(−1000)", at(-1000.0, |x| x.softplus())),
            ("log_sigmoid(−1000)", at(-1000.0, |x| x.log_sigmoid())),
            ("tanh(∞)", at(INF, |x| x.tanh())),
            ("erf(−∞)", at(-INF, |x| x.erf())),
            ("sin(∞)", at(INF, |x| x.sin())),
            ("sign(−0.0)", at(-0.0, |x| x.sign())),
            ("sign(NaN)", at(NAN, |x| x.sign())),
            ("step(0)", at(0.0, |x| x.step())),
            ("floor(−0.5)", at(-0.5, |x| x.floor())),
            ("ceil(−1.5)", at(-1.5, |x| x.ceil())),
            ("round of [0.5, 1.5, 2.5, −0.5, −1.5]", of([0.5, 1.5, 2.5, -0.5, -1.5], |x| x.round())),
            ("round of [0.49999999999999994, ∞, NaN]", of([0.49999999999999994, INF, NAN], |x| x.round())),
            ("relu(NaN)", at(NAN, |x| x.relu())),
            ("clamp(NaN, 0, 1)", at(NAN, |x| x.clamp(0, 1))),
            ("maximum(NaN, 1)", two(NAN, 1.0, |a, b| a.maximum(b))),
            ("minimum(1, NaN)", two(1.0, NAN, |a, b| a.minimum(b))),
            ("NaN == NaN", two(NAN, NAN, |a, b| a.eq(b))),
            ("NaN != NaN", two(NAN, NAN, |a, b| a.ne(b))),
            ("NaN >= 1", two(NAN, 1.0, |a, b| a.ge(b))),
            ("pow(0, 0)", two(0.0, 0.0, |a, b| a.pow(b))),
            ("pow(NaN, 0)", two(NAN, 0.0, |a, b| a.pow(b))),
            ("pow(0, −1)", two(0.0, -1.0, |a, b| a.pow(b))),
            ("pow(−8, 1 / 3)", at(-8.0, |x| x.pow(1.0 / 3.0))),
            ("pow of the integers 2 and −1", of(Array::scalar(2i64), |x| x.pow(-1))),
            ("the integers 9223372036854775807 + 1", of(Array::scalar(i64::MAX), |x| x + 1)),
            ("the integers −7 / 2", of(Array::scalar(-7i64), |x| x / 2)),
        ],
    );
}

#[test]
fn folds() {
    let none = || Array::zeros(DType::F64, [0]);
    let rows = || Array::zeros(DType::F64, [0, 3]);
    let low = || Array::full([2], -INF);
    agree(
        "Folds",
        &[
            ("sum of []", of(none(), |x| x.sum())),
            ("prod of []", of(none(), |x| x.prod())),
            ("mean of []", of(none(), |x| x.mean())),
            ("max of []", of(none(), |x| x.max())),
            ("argmin of []", of(none(), |x| x.argmin())),
            ("any of []", of(none(), |x| x.any())),
            ("all of []", of(none(), |x| x.all())),
            ("norm of []", of(none(), |x| x.norm())),
            ("logsumexp of []", of(none(), |x| x.logsumexp(&[0]))),
            ("max along axis 1 of shape [0, 3]", of(rows(), |x| x.max_over(&[1]))),
            ("max along axis 0 of shape [0, 3]", of(rows(), |x| x.max_over(&[0]))),
            ("var of [5], correction 0", of([5.0], |x| x.var(&[0], 0))),
            ("var of [5], correction 1", of([5.0], |x| x.var(&[0], 1))),
            ("var of [5, 7], correction 3", of([5.0, 7.0], |x| x.var(&[0], 3))),
            ("max of [1, NaN, 2]", of([1.0, NAN, 2.0], |x| x.max())),
            ("min of [1, NaN, 2]", of([1.0, NAN, 2.0], |x| x.min())),
            ("argmax of [1, 3, 3]", of([1.0, 3.0, 3.0], |x| x.argmax())),
            ("argmax of [1, NaN, 3, NaN]", of([1.0, NAN, 3.0, NAN], |x| x.argmax())),
            ("argmin of [1, NaN, −∞]", of([1.0, NAN, -INF], |x| x.argmin())),
            ("argmax of [[0, 1], [5, 2]]", of([[0.0, 1.0], [5.0, 2.0]], |x| x.argmax())),
            ("softmax of [−∞, 0]", of([-INF, 0.0], |x| x.softmax(0))),
            ("softmax of [−∞, −∞]", of(low(), |x| x.softmax(0))),
            ("logsumexp of [−∞, −∞]", of(low(), |x| x.logsumexp(&[0]))),
            ("logsumexp of [∞, 1]", of([INF, 1.0], |x| x.logsumexp(&[0]))),
        ],
    );
}

#[test]
fn derivatives() {
    agree(
        "Derivatives at kinks and edges",
        &[
            ("abs at 0", slope(0.0, |x| x.abs())),
            ("relu at 0", slope(0.0, |x| x.relu())),
            ("relu at NaN", slope(NAN, |x| x.relu())),
            ("leaky_relu(0.1) at 0", slope(0.0, |x| x.leaky_relu(0.1))),
            ("elu(1.5) at 0", slope(0.0, |x| x.elu(1.5))),
            ("elu(1.5) at 1000", slope(1000.0, |x| x.elu(1.5))),
            ("softplus at 0", slope(0.0, |x| x.softplus())),
            ("softplus at 0, second", curvature(0.0, |x| x.softplus())),
            ("sign, step, floor, ceil, round at 0", slope(0.0, |x| x.sign() + x.step() + x.floor() + x.ceil() + x.round())),
            ("sqrt at 0", slope(0.0, |x| x.sqrt())),
            ("ln at 0", slope(0.0, |x| x.ln())),
            ("norm of [0, 0]", slope_of([0.0, 0.0], |x| x.norm())),
            ("std of [2, 2], correction 1", slope_of([2.0, 2.0], |x| x.std(&[0], 1))),
            ("maximum(a, b) at (1, 1)", slopes(1.0, 1.0, |a, b| a.maximum(b))),
            ("minimum(a, b) at (NaN, 1)", slopes(NAN, 1.0, |a, b| a.minimum(b))),
            ("clamp(0, 1) at 0", slope(0.0, |x| x.clamp(0, 1))),
            ("max of [3, 1, 3]", slope_of([3.0, 1.0, 3.0], |x| x.max())),
            ("max of [NaN, 1]", slope_of([NAN, 1.0], |x| x.max())),
            ("max_pool2d of [3, 1, 3]", slope_of([3.0, 1.0, 3.0], |x| x.reshape([1, 1, 3]).max_pool2d(PoolOptions::new([1, 3])).sum())),
            ("prod of [0, 2, 3]", slope_of([0.0, 2.0, 3.0], |x| x.prod())),
            ("prod of [0, 2, 0]", slope_of([0.0, 2.0, 0.0], |x| x.prod())),
            ("pow(a, b) at (0, 0)", slopes(0.0, 0.0, |a, b| a.pow(b))),
            ("pow(a, b) at (0, 1)", slopes(0.0, 1.0, |a, b| a.pow(b))),
            ("pow(a, b) at (0, 2)", slopes(0.0, 2.0, |a, b| a.pow(b))),
            ("pow(a, b) at (−2, 2)", slopes(-2.0, 2.0, |a, b| a.pow(b))),
            ("x.pow(0) at 0", slope(0.0, |x| x.pow(0))),
            ("x.pow(0.5) at 0", slope(0.0, |x| x.pow(0.5))),
            ("x.pow(2) at 0, second", curvature(0.0, |x| x.pow(2))),
            ("logsumexp of [−∞, −∞]", slope_of([-INF, -INF], |x| x.logsumexp(&[0]))),
            ("logsumexp of [−∞, 0]", slope_of([-INF, 0.0], |x| x.logsumexp(&[0]))),
        ],
    );
}

#[test]
fn positions() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::from([[1.0, 2.0], [3.0, 4.0]]));
    assert_eq!(x.sum_over(&[-1]).value(), x.sum_over(&[1]).value());
    assert_eq!(guarded(|| x.sum_over(&[2]).dtype().to_string()), "panics");
    assert_eq!(guarded(|| x.max_over(&[1, -1]).dtype().to_string()), "panics");
    for bad in [-1i64, 2] {
        let index = tape.constant(&Array::from([0, bad]));
        let y = x.index_select(0, index);
        let error = y.try_value().expect_err("out of range").to_string();
        let line = format!(":{}:", line!() - 2);
        for part in ["index_select", line.as_str(), &format!("index {bad}"), "axis 0 of length 2"] {
            assert!(error.contains(part), "{error:?} names {part:?}");
        }
        assert_eq!(guarded(|| show(&y.value())), "panics");
    }
}
