//! Do worked examples come out as computed by hand? The numbers are those of `tests/reference/worked/worked.py`.

extern crate wengert_core as wengert;

mod numbers;

use numbers::{assert_close, number};
use wengert::{Array, Key, Tape};
use wengert_nn::{
    Bind, Layer, Linear, Neuron, Pass, Reduction, Relu, Sgd, Sigmoid, binary_cross_entropy_with_logits, cross_entropy,
    cross_entropy_with_probabilities, grads, huber_loss, kl_div, l1_loss, mse_loss, nll_loss, smooth_l1_loss,
};

const EXACT: f64 = 1e-12;

#[test]
fn one_neuron() {
    let unit = Neuron { weight: Array::from([0.1, 0.3, 0.5]), bias: Array::from(0.1), activation: Relu };
    let tape = Tape::new();
    let x = tape.constant(&Array::from([0.5, 0.1, 0.2]));
    assert_close(&unit.on(&tape).forward(x, &Pass::eval()).value(), &number("neuron"), EXACT);
    assert_close(&number("neuron"), &Array::from(0.28), EXACT);
}

fn two_layers() -> (Linear, wengert_nn::Activation, Linear) {
    let hidden = Linear { weight: Array::from([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]), bias: Some(Array::from([0.1, 0.2])) };
    let out = Linear { weight: Array::from([[0.3, 0.7], [0.4, 0.8]]), bias: Some(Array::from([0.1, 0.2])) };
    (hidden, Relu, out)
}

#[test]
fn two_layers_forward_backward_and_one_step() {
    let mut model = two_layers();
    let sgd = Sgd::new(0.1);
    let mut state = sgd.init(&model);
    let tape = Tape::new();
    let (m, s) = (model.on(&tape), state.on(&tape));
    let x = tape.leaf(&Array::from([[0.5, 0.1, 0.2]]));
    let target = tape.constant(&Array::from([[0.7, 0.3]]));
    let hidden = (&m.0, &m.1);
    let hidden = hidden.1.forward(hidden.0.forward(x, &Pass::eval()), &Pass::eval());
    let out = m.forward(x, &Pass::eval());
    let loss = 0.5 * mse_loss(out, target, Reduction::Sum);
    let g = grads(loss, &m);
    let [gx] = loss.grad([x]);
    let bias = |l: &Linear<wengert::Tensor<'_>>| l.bias.unwrap().value();
    for (name, value) in [
        ("hidden", hidden.value()),
        ("out", out.value()),
        ("loss", loss.value()),
        ("g_w1", g.0.weight.value()),
        ("g_b1", bias(&g.0)),
        ("g_w2", g.2.weight.value()),
        ("g_b2", bias(&g.2)),
        ("g_x", gx.value()),
    ] {
        assert_close(&value, &number(&format!("two_layers.{name}")), EXACT);
    }
    tape.update((&mut model, &mut state), sgd.step(&m, &g, &s));
    for (name, value) in
        [("w1", &model.0.weight), ("b1", model.0.bias.as_ref().unwrap()), ("w2", &model.2.weight), ("b2", model.2.bias.as_ref().unwrap())]
    {
        assert_close(value, &number(&format!("two_layers.next_{name}")), EXACT);
    }
}

#[test]
fn losses_and_their_slopes() {
    let tape = Tape::new();
    let y = tape.leaf(&number("loss.y"));
    let [t, p] = ["loss.t", "loss.p"].map(|name| tape.constant(&number(name)));
    let labels = tape.constant(&Array::from([2, 0]));
    let mean = Reduction::Mean;
    let q = t.abs() / 2.0;
    for (name, loss) in [
        ("mse", mse_loss(y, t, mean)),
        ("l1", l1_loss(y, t, mean)),
        ("huber", huber_loss(y, t, 0.75, mean)),
        ("cross_entropy", cross_entropy(y, labels, mean)),
        ("cross_entropy", nll_loss(y.log_softmax(-1), labels, mean)),
        ("cross_entropy_with_probabilities", cross_entropy_with_probabilities(y, p, mean)),
        ("bce", binary_cross_entropy_with_logits(y, q, mean)),
    ] {
        assert_close(&loss.value(), &number(&format!("loss.{name}")), EXACT);
        let [slope] = loss.grad([y]);
        assert_close(&slope.value(), &number(&format!("loss.{name}.slope")), EXACT);
    }
    assert_close(&smooth_l1_loss(y, t, 0.75, mean).value(), &number("loss.smooth_l1"), EXACT);
    assert_close(&cross_entropy(y, labels, Reduction::None).value(), &number("loss.cross_entropy.each"), EXACT);
    let log_q = y.log_softmax(-1);
    let kl = kl_div(log_q, p, Reduction::BatchMean);
    assert_close(&kl.value(), &number("loss.kl"), EXACT);
    assert_close(&kl.grad([log_q])[0].value(), &number("loss.kl.slope"), EXACT);
}

#[test]
fn losses_stay_finite_far_out() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::from([[1e4, -1e4], [-1e4, 1e4]]));
    let loss = cross_entropy(x, tape.constant(&Array::from([0, 0])), Reduction::None);
    assert_eq!(loss.value(), Array::from([0.0, 2e4]));
    let t = tape.constant(&Array::from([[1.0, 1.0], [0.0, 0.0]]));
    let bce = binary_cross_entropy_with_logits(x, t, Reduction::None);
    assert_eq!(bce.value(), Array::from([[0.0, 1e4], [0.0, 1e4]]));
    let impossible = tape.leaf(&Array::from([0.0, f64::NEG_INFINITY]));
    let p = tape.leaf(&Array::from([1.0, 0.0]));
    let kl = kl_div(impossible, p, Reduction::Sum);
    let [by_input, by_target] = kl.grad([impossible, p]);
    assert_eq!((kl.item(), by_input.value(), by_target.value()), (0.0, Array::from([-1.0, 0.0]), Array::from([1.0, 0.0])));
}

#[test]
fn mistaken_shapes_are_named() {
    let tape = Tape::new();
    let (column, row) = (tape.leaf(&Array::from([[1.0], [2.0]])), tape.leaf(&Array::from([1.0, 2.0])));
    let text = numbers::panic_of(|| mse_loss(column, row, Reduction::Mean));
    assert!(text.starts_with("mse_loss: expected output and target of one shape"), "{text}");
    let text = numbers::panic_of(|| cross_entropy(column, row, Reduction::Mean));
    assert!(text.starts_with("cross_entropy: expected outputs [.., classes] and an i64 class"), "{text}");
    let labels = tape.constant(&Array::from([0, 1]));
    let text = numbers::panic_of(|| cross_entropy(column, labels, Reduction::Mean).item());
    assert!(text.contains("out of range"), "{text}");
}

#[test]
fn exclusive_or_is_learned() {
    let mut model = (Linear::new(2, 2, 3).cast(wengert::DType::F64), Sigmoid, Linear::new(2, 1, 4).cast(wengert::DType::F64), Sigmoid);
    let x = Array::from([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
    let t = Array::from([[0.0], [1.0], [1.0], [0.0]]);
    let sgd = Sgd { momentum: 0.9.into(), ..Sgd::new(1.0) };
    let mut state = sgd.init(&model);
    let mut last = f64::NAN;
    for step in 0..2000 {
        let tape = Tape::new();
        let (m, s) = (model.on(&tape), state.on(&tape));
        let loss = mse_loss(m.forward(tape.constant(&x), &Pass::train(Key::new(step))), tape.constant(&t), Reduction::Mean);
        let next = sgd.step(&m, &grads(loss, &m), &s);
        last = tape.eval_and_update(&loss, (&mut model, &mut state), next).item();
    }
    assert!(last < 1e-2, "{last}");
    let tape = Tape::new();
    let y = model.on(&tape).forward(tape.constant(&x), &Pass::eval());
    assert_eq!(y.ge(0.5).value(), Array::from([[false], [true], [true], [false]]));
}
