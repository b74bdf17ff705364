//! Do models get onto a tape by their roles, and do missing gradients and running state say what is wrong?

extern crate wengert_core as wengert;

mod numbers;

use numbers::panic_of;
use wengert::{Array, DType, Key, Tape, Tensor};
use wengert_derive::Tree;
use wengert_nn::{Bind, Dropout, Layer, Linear, Neuron, Pass, Relu, Sgd, Step, accuracy, grads, grads_or_zero, predictions, try_grads};

/// Subtracts a running mean, then scales.
#[derive(Clone, Debug, PartialEq, Tree)]
struct Centre<P = Array> {
    weight: P,
    #[tree(frozen)]
    scale: P,
    #[tree(state)]
    mean: P,
    #[tree(state)]
    seen: P,
}

impl<'t> Layer<'t> for Centre<Tensor<'t>> {
    fn forward(&self, x: Tensor<'t>, pass: &Pass<'t>) -> Tensor<'t> {
        if pass.is_train() {
            pass.assign(self.mean, 0.5 * self.mean + 0.5 * x.mean_over(&[0]));
            pass.assign(self.seen, self.seen + 1);
        }
        (x - self.mean) * self.weight * self.scale
    }
}

fn centre() -> Centre {
    Centre { weight: Array::from([1.0, 2.0]), scale: Array::from(3.0), mean: Array::from([0.0, 4.0]), seen: Array::from(7) }
}

#[test]
fn gradients_come_in_the_shape_of_the_model() {
    let tape = Tape::new();
    let m = centre().on(&tape);
    let x = tape.constant(&Array::from([[1.0, 2.0], [3.0, 4.0]]));
    let loss = m.forward(x, &Pass::eval()).sum();
    let g = tape.eval(&grads(loss, &m));
    let expected =
        Centre { weight: Array::from([12.0, -6.0]), scale: Array::from(0.0), mean: Array::from([0.0, 0.0]), seen: Array::from(0) };
    assert_eq!(g, expected);
    // `backward` knows the parameters by the same rule.
    let found: Vec<_> = loss.backward().iter().collect();
    assert_eq!(found.len(), 1);
    assert!(found[0].0.is(m.weight) && found[0].1.value() == g.weight);
}

#[test]
fn running_state_is_handed_on() {
    let mut model = (centre(), Relu);
    let x = Array::from([[1.0, 2.0], [3.0, 4.0]]);
    for _ in 0..2 {
        let tape = Tape::new();
        let (m, pass) = (model.on(&tape), Pass::train(Key::new(0)));
        let loss = m.forward(tape.constant(&x), &pass).sum();
        let sgd = Sgd::new(0.5);
        let (next, _) = sgd.step(&m, &grads_or_zero(loss, &m), &sgd.init(&model).on(&tape));
        tape.update(&mut model, pass.apply(&next));
    }
    assert_eq!((model.0.mean, model.0.seen, model.0.scale), (Array::from([1.5, 3.25]), Array::from(9), Array::from(3.0)));
    assert_ne!(model.0.weight, centre().weight);
}

#[test]
fn two_next_values_are_refused() {
    let tape = Tape::new();
    let (m, pass) = (centre().on(&tape), Pass::train(Key::new(0)));
    let x = tape.constant(&Array::from([[1.0, 2.0]]));
    m.forward(x, &pass);
    let text = panic_of(|| m.forward(x, &pass));
    assert!(text.starts_with("assign: expected one next value for"), "{text}");
    let text = panic_of(|| pass.assign(m.scale, x));
    assert!(text.starts_with("assign: expected the next value of"), "{text}");
}

#[test]
fn a_threshold_unit_is_named_as_what_cuts_the_gradient() {
    let unit = Neuron { weight: Array::from([1.0, -2.0]), bias: Array::from(0.5), activation: Step };
    let tape = Tape::new();
    let m = unit.on(&tape);
    let y = m.forward(tape.constant(&Array::from([[1.0, 1.0], [1.0, 0.0]])), &Pass::eval());
    assert_eq!(y.value(), Array::from([-1.0, 1.0]));
    let text = panic_of(|| grads(y.sum(), &m));
    assert!(text.starts_with("grads: no gradient reaches the parameter `weight`"), "{text}");
    assert!(text.contains("cut by step") && text.contains("a threshold unit is flat almost everywhere"), "{text}");
    let text = panic_of(|| y.sum().grad([m.bias]));
    assert!(text.contains("cut by step"), "{text}");
    let zero = tape.eval(&grads_or_zero(y.sum(), &m));
    assert_eq!((zero.weight, zero.bias), (Array::from([0.0, 0.0]), Array::from(0.0)));
}

#[test]
fn a_parameter_that_takes_no_part_is_named_by_its_path() {
    let model = (Linear::new(2, 2, 1), vec![Linear::new(2, 2, 2), Linear::new(2, 2, 3)]);
    let tape = Tape::new();
    let m = model.on(&tape);
    let x = tape.constant(&Array::from([1.0f32, 2.0]));
    let loss = m.1[0].forward(m.0.forward(x, &Pass::eval()), &Pass::eval()).sum();
    let why = try_grads(loss, &m).unwrap_err();
    assert_eq!(why.path, "1.1.weight");
    assert!(why.to_string().contains("was not computed from it"), "{why}");
}

#[test]
fn dropout_keeps_the_mean_and_takes_another_key_for_each_layer() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::ones(DType::F32, [100, 100]));
    let drop = Dropout::new(0.25);
    let pass = Pass::train(Key::new(3));
    let (a, b) = (drop.forward(x, &pass), drop.forward(x, &pass));
    let (a, b, g) = tape.eval(&(a, b, a.sum().grad([x])[0]));
    assert_ne!(a, b);
    assert_eq!(a, g, "what is left out gets no gradient, the rest is scaled");
    let values = a.to_f64_vec();
    let scale = f64::from((1.0f64 / 0.75) as f32);
    assert!(values.iter().all(|&v| v == 0.0 || v == scale));
    // Five standard errors of a mean of 10 000.
    let mean = values.iter().sum::<f64>() / 1e4;
    assert!((mean - 1.0).abs() < 5.0 * (0.25f64 / 0.75 / 1e4).sqrt(), "{mean}");
    assert_eq!(Dropout::new(0.0).forward(x, &pass).value(), x.value());
    for p in [1.0, -0.1, f64::NAN] {
        assert!(panic_of(|| Dropout::new(p)).starts_with("Dropout::new: expected a probability in [0, 1)"));
    }
}

#[test]
fn casts_leave_counters_alone() {
    let narrow = centre().cast(DType::F32);
    assert_eq!((narrow.weight.dtype(), narrow.seen.dtype()), (DType::F32, DType::I64));
    assert_eq!(narrow.cast(DType::F64), centre());
    assert!(panic_of(|| centre().cast(DType::I64)).starts_with("cast: expected a float dtype"));
}

#[test]
fn guesses_are_counted() {
    let tape = Tape::new();
    let y = tape.constant(&Array::from([[0.0, 1.0, 1.0], [2.0, 1.0, 0.0]]));
    assert_eq!(predictions(y).value(), Array::from([1, 0]));
    assert_eq!(accuracy(y, tape.constant(&Array::from([1, 2]))).item(), 0.5);
    assert!(panic_of(|| accuracy(y, y)).starts_with("accuracy: expected a label for each row"));
}
