//! Is a tape that follows an earlier one the tape that it would have been by itself? Nodes, lines, gradients and values.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use smallvec::smallvec;
use std::sync::atomic::{AtomicUsize, Ordering};
use wengert_core::{Array, Attrs, Cx, DType, Function, Meta, Mismatch, OpDef, Sample, Tangents, Tape, Tensor, Typed};

/// Runs `f` on a thread that has recorded nothing yet.
fn alone<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|s| s.spawn(f).join().expect("no panic"))
}

/// What a program left behind: its length, the nodes by walks, each tensor as it is described (op, type, line), and all values' bits.
type Trail = (usize, usize, Vec<String>, Vec<Vec<u64>>);

/// Records something: what, by `shape`; with which numbers, by `values`. Both are seeds.
fn program(shape: u64, values: u64) -> Trail {
    let (mut s, mut v) = (StdRng::seed_from_u64(shape), StdRng::seed_from_u64(values));
    let tape = Tape::new();
    let mut all: Vec<Tensor<'_>> = Vec::new();
    for i in 0..3 {
        let dims: &[usize] = if s.random_range(0..3) == 0 { &[] } else { &[3] };
        all.push(tape.leaf(&Array::uniform(DType::F64, dims, 0.5, 1.5, values + i)));
    }
    let mut bits = Vec::new();
    for _ in 0..s.random_range(4..30) {
        let (a, b) = (all[s.random_range(0..all.len())], all[s.random_range(0..all.len())]);
        let number = [0.5, 1.0, 2.0, -1.0, 0.0, v.random_range(0.5..1.5)][v.random_range(0..6)];
        all.push(match s.random_range(0..13) {
            0 => a + b,
            1 => a * b,
            2 => a * number,
            3 => number - a,
            4 => a.tanh(),
            5 => (a.abs() + 0.5).pow(number),
            6 => a.sum().broadcast_to([3]),
            7 => tape.scalar(DType::F64, number) * tape.scalar(DType::F64, 3),
            8 => tape.scalar([DType::F32, DType::F64][v.random_range(0..2)], number).cast(DType::F64) + a,
            9 => (a.tanh() * b).sum().grad_or_zero(a),
            10 => {
                let targets = &all[..s.random_range(1..=3)];
                a.sin().sum().grad_or_zero(targets)[0]
            }
            11 => a.exp().sum().grad_or_zero(a).sum().grad_or_zero(b),
            _ => {
                bits.push(a.value().to_f64_vec().into_iter().map(f64::to_bits).collect());
                a
            }
        });
    }
    bits.extend(tape.eval(&all).into_iter().map(|a| a.to_f64_vec().into_iter().map(f64::to_bits).collect::<Vec<_>>()));
    let stats = tape.stats();
    (tape.len(), stats.derivative_nodes, all.iter().map(|x| format!("{x:?}")).collect(), bits)
}

#[test]
fn what_went_before_on_a_thread_leaves_no_trace_in_what_comes_after() {
    let mut order = StdRng::seed_from_u64(1);
    for _ in 0..600 {
        // Few shapes, so that they come again, with other numbers and with the same.
        let (shape, values) = (order.random_range(0..24), order.random_range(0..6));
        assert_eq!(program(shape, values), alone(|| program(shape, values)), "program {shape} with values {values}");
    }
}

#[test]
fn more_shapes_than_are_remembered() {
    let mut order = StdRng::seed_from_u64(2);
    for _ in 0..300 {
        let (shape, values) = (order.next_u64() % 100, order.next_u64() % 2);
        assert_eq!(program(shape, values), alone(|| program(shape, values)), "program {shape} with values {values}");
    }
}

#[test]
fn a_rule_that_looks_at_a_number_is_asked_again_when_it_differs() {
    for exponent in [3.0, 2.5, 3.0, 2.0, 0.0, 2.5] {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([2.0, 3.0]));
        let slope = x.pow(exponent).sum().grad(x).value();
        let expected = Array::from([2.0f64, 3.0].map(|x| exponent * x.powf(exponent - 1.0)));
        assert!(slope.all_close(&expected, 1e-14, 0.0), "{exponent}: {slope} {expected}");
    }
}

#[test]
fn what_looks_like_a_walk_but_was_recorded_by_hand_does_not_spoil_it() {
    let half = |by_hand: Option<f64>| {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([4.0, 9.0]));
        let y = x.pow(3.5);
        let sum = y.sum();
        let g = match by_hand {
            None => sum.grad(x),
            Some(number) => tape.ones(DType::F64, [2]) * (x.pow(2.5) * number),
        };
        (tape.len(), g.value())
    };
    let (length, expected) = alone(|| half(None));
    for by_hand in [None, Some(0.7), None, Some(3.5), None] {
        let (n, got) = half(by_hand);
        assert_eq!(n, length, "the same nodes");
        if by_hand != Some(0.7) {
            assert_eq!(got, expected);
        }
    }
}

static CALLS: AtomicUsize = AtomicUsize::new(0);

/// `x`, with a gradient that grows with every call of the rule.
struct Counted;

impl Function for Counted {
    const NAME: &'static str = "counted";
    fn shape(_: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
        Typed::like(0, x)
    }
    fn value(_: &Attrs, x: &[Array]) -> Result<Array, String> {
        Ok(x[0].clone())
    }
    fn vjp<'t>(_: &Cx<'t>, g: Tensor<'t>) -> Tangents<'t> {
        smallvec![Some(g * (CALLS.fetch_add(1, Ordering::Relaxed) + 1) as f64)]
    }
    fn samples() -> Vec<Sample> {
        vec![Sample::new([Array::from([1.0, 2.0])])]
    }
}

static COUNTED: OpDef = OpDef::function::<Counted>();

#[test]
fn rules_of_your_own_are_called_for_every_walk() {
    for call in 1..4 {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([1.0, 2.0]));
        let y = x.op(&COUNTED, [], &[]);
        assert_eq!((y * y).sum().grad(x).value(), Array::from([2.0 * f64::from(call), 4.0 * f64::from(call)]));
    }
}

#[test]
fn a_plan_is_not_taken_for_one_with_scalars_of_another_dtype() {
    for dtype in [DType::F64, DType::F32, DType::I64, DType::F64] {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([1.0, 2.0]));
        let y = x * tape.scalar(dtype, 3).cast(DType::F64);
        assert_eq!(y.value(), Array::from([3.0, 6.0]), "{dtype}");
    }
}

#[test]
fn a_walk_on_another_line_is_reported_there() {
    fn here(x: Tensor<'_>) -> Tensor<'_> {
        x.exp()
    }
    fn there(x: Tensor<'_>) -> Tensor<'_> {
        x.exp()
    }
    let line = |f: for<'t> fn(Tensor<'t>) -> Tensor<'t>| {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([1.0, 2.0]));
        let y = f(x);
        let g = y.sum().grad(x);
        assert_eq!(g.value(), y.value());
        format!("{g:?}")
    };
    let lines = [here, there, here, there].map(line);
    assert_eq!((&lines[0], &lines[1]), (&lines[2], &lines[3]));
    assert_ne!(lines[0], lines[1]);
}

#[test]
fn reads_are_found_again_by_those_that_went_before() {
    let read = |skip: bool| {
        let tape = Tape::new();
        let mut x = tape.leaf(&Array::from([1.0, 2.0]));
        let mut found = Vec::new();
        for i in 0..5 {
            x = (x * 1.5).tanh();
            if !(skip && i == 1) {
                found.push(x.sum().item());
            }
        }
        (found, tape.stats())
    };
    let (first, skipped) = (read(false), read(true));
    for round in 0..6 {
        let (again, others) = (read(false), read(true));
        assert_eq!((&again.0, &others.0), (&first.0, &skipped.0));
        assert!(again.1.kernels <= first.1.kernels, "as incremental as the first time");
        if round >= 3 {
            // By then each of the two has been seen after the other, with plans that keep what it needs.
            assert_eq!((again.1.verbatim_hits, again.1.runs), (5, 5), "{}", again.1);
            assert_eq!((others.1.verbatim_hits, others.1.runs), (4, 4), "{}", others.1);
        }
    }
}
