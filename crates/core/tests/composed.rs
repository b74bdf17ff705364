//! Do composed functions, and the folds that pick or multiply, compute what they say, with derivatives of two orders?

use wengert_core::{
    Array, DType, OpDef, Tape, Tensor,
    ops::{self, Dense, composed},
};

type Run<'a> = &'a dyn for<'t> Fn(&[Tensor<'t>]) -> Tensor<'t>;

/// The function, its gradient in one direction, or its second derivative in two, summed with weights: a number to be compared.
#[derive(Clone, Copy)]
enum Order {
    Value,
    First,
}

fn weights(shape: &[usize], seed: u64) -> Array {
    Array::uniform(DType::F64, shape, 0.5, 1.5, seed)
}

fn weighted<'t>(tape: &'t Tape, run: Run<'_>, x: &[Tensor<'t>], order: Order) -> Tensor<'t> {
    let y = run(x);
    let phi = (y * tape.constant(&weights(&y.shape(), 40))).sum();
    match order {
        Order::Value => phi,
        Order::First => {
            let mut sum = tape.scalar(DType::F64, 0);
            for (i, g) in phi.grad_or_zero(x).into_iter().enumerate() {
                sum += (g * tape.constant(&weights(&g.shape(), 41 + i as u64))).sum();
            }
            sum
        }
    }
}

/// The recorded gradient of `order` at `x`, and the same by central differences.
fn compare(name: &str, run: Run<'_>, x: &[Array], order: Order, tolerance: f64) {
    let tape = Tape::new();
    let leaves: Vec<Tensor<'_>> = x.iter().map(|x| tape.leaf(x)).collect();
    let exact = weighted(&tape, run, &leaves, order).grad_or_zero(&leaves);
    for (k, exact) in exact.into_iter().enumerate() {
        let exact = exact.reference().data;
        for (i, &exact) in exact.iter().enumerate() {
            let at = |h: f64| {
                let mut moved = x.to_vec();
                moved[k].as_mut_slice::<f64>()[i] += h;
                let tape = Tape::new();
                let leaves: Vec<Tensor<'_>> = moved.iter().map(|x| tape.leaf(x)).collect();
                weighted(&tape, run, &leaves, order).reference().data[0]
            };
            let h = 1e-5;
            let differences = (at(h) - at(-h)) / (2.0 * h);
            let error = (exact - differences).abs();
            assert!(
                error <= tolerance * (1.0 + differences.abs()),
                "{name} at {x:?}, input {k}[{i}]: rule {exact}, differences {differences}"
            );
        }
    }
}

fn both_orders(name: &str, run: Run<'_>, x: &[Array]) {
    compare(&format!("{name}, order 1"), run, x, Order::Value, 1e-7);
    compare(&format!("{name}, order 2"), run, x, Order::First, 1e-6);
}

fn close(name: &str, got: &Dense, want: &Dense, tolerance: f64) {
    assert_eq!(got.dims, want.dims, "{name}: shape");
    for (i, (a, b)) in got.data.iter().zip(&want.data).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()) || a == b, "{name}[{i}]: {a}, expected {b}");
    }
}

#[test]
fn composed_functions_compute_what_they_say() {
    for c in composed::all() {
        for sample in (c.samples)() {
            let want = (c.value)(&sample.x.iter().map(Dense::of).collect::<Vec<_>>());
            let tape = Tape::new();
            let x: Vec<_> = sample.x.iter().map(|x| tape.leaf(x)).collect();
            close(c.name, &(c.run)(&x).reference(), &want, 1e-12);
            let x: Vec<_> = sample.x.iter().map(|x| tape.leaf(&x.cast(DType::F32))).collect();
            let y = (c.run)(&x);
            assert_eq!(y.dtype(), DType::F32, "{}: f32 stays f32", c.name);
            close(c.name, &Dense::of(&y.value()), &want, 3e-5);
        }
    }
}

#[test]
fn composed_functions_have_the_derivatives_of_their_values() {
    for c in composed::all() {
        for sample in (c.samples)() {
            both_orders(c.name, &c.run, &sample.x);
        }
    }
}

fn of_one(op: &'static OpDef, attrs: Vec<i64>) -> impl for<'t> Fn(&[Tensor<'t>]) -> Tensor<'t> {
    move |x| x[0].op(op, [], &attrs)
}

#[test]
fn folds_that_pick_or_multiply_have_the_derivatives_of_their_values() {
    for op in ops::all().filter(|op| ["max", "min", "prod", "softplus", "erf"].contains(&op.name)) {
        for sample in (op.samples)() {
            both_orders(op.name, &of_one(op, sample.attrs.clone()), &sample.x);
        }
    }
}

#[test]
fn integers_are_averaged_and_normalised_as_floats() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::from([1i64, 2, 6]));
    for (name, y, want) in
        [("mean", x.mean(), 3.0), ("var", x.var(&[0], 1), 7.0), ("norm", x.norm(), 41f64.sqrt()), ("softmax", x.softmax(0).sum(), 1.0)]
    {
        assert_eq!(y.dtype(), DType::F32, "{name}");
        assert!((y.item() - want).abs() < 1e-5, "{name}: {}", y.item());
    }
    assert_eq!(tape.leaf(&Array::from([true, false])).mean().item(), 0.5);
}

#[test]
fn rows_without_elements_or_of_minus_infinity_alone_are_told_apart_from_errors() {
    let tape = Tape::new();
    let none = tape.leaf(&Array::zeros(DType::F64, [2, 0]));
    assert_eq!(none.softmax(1).shape(), [2, 0]);
    assert_eq!(none.logsumexp(&[1]).value().to_f64_vec(), [f64::NEG_INFINITY; 2]);
    let low = tape.leaf(&Array::full([2], f64::NEG_INFINITY));
    let y = low.logsumexp(&[0]);
    assert_eq!(y.item(), f64::NEG_INFINITY);
    let [g] = y.grad([low]);
    assert_eq!(g.value().to_f64_vec(), [0.0, 0.0]);
    let high = tape.leaf(&Array::from([f64::INFINITY, 1.0]));
    assert_eq!(high.logsumexp(&[0]).item(), f64::INFINITY);
}

#[test]
fn the_last_bits_of_a_small_probability_survive_its_logarithm() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::from([0.0, -2000.0]));
    assert_eq!(x.log_softmax(0).value().to_f64_vec(), [0.0, -2000.0]);
    assert_eq!(x.log_sigmoid().value().to_f64_vec()[1], -2000.0);
    assert_eq!((-x).softplus().value().to_f64_vec()[1], 2000.0);
}
