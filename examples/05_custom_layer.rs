//! How do I write a layer of my own, and train a model that contains it? A struct of parts, and what it computes.

use wengert::{
    Array, Tape, Tensor, Tree,
    nn::{Adam, Bind, Layer, Linear, Pass, Reduction, grads, mse_loss},
};

/// A gated unit, `a(x) · sigmoid(b(x))` (Dauphin, Fan, Auli and Grangier 2017, arXiv:1612.08083).
///
/// The leaf type `P` is the only parameter: arrays at rest, tensors on a tape. `Tree` gives names, updates, saving and loading.
#[derive(Clone, Debug, Tree)]
struct Gated<P = Array> {
    signal: Linear<P>,
    gate: Linear<P>,
}

impl Gated {
    fn new(inputs: usize, outputs: usize, seed: u64) -> Self {
        Gated { signal: Linear::new(inputs, outputs, seed), gate: Linear::new(inputs, outputs, seed + 1) }
    }
}

impl<'t> Layer<'t> for Gated<Tensor<'t>> {
    fn forward(&self, x: Tensor<'t>, pass: &Pass<'t>) -> Tensor<'t> {
        self.signal.forward(x, pass) * self.gate.forward(x, pass).sigmoid()
    }
}

/// Learns "exclusive or", which no single linear layer can.
pub fn main() {
    let x = Array::from([[0.0f32, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
    let y = Array::from([[0.0f32], [1.0], [1.0], [0.0]]);

    // Layers follow each other in tuples, yours like the built-in ones.
    let mut model = (Gated::new(2, 8, 1), Linear::new(8, 1, 3));
    assert_eq!(model.paths()[..2], ["0.signal.weight", "0.signal.bias"]);
    let adam = Adam::new(0.03);
    let mut state = adam.init(&model);

    let mut last = f64::INFINITY;
    for step in 0..300 {
        let tape = Tape::new();
        let (m, s) = (model.on(&tape), state.on(&tape));
        let output = m.forward(tape.constant(&x), &Pass::eval());
        let loss = mse_loss(output, tape.constant(&y), Reduction::Mean);
        let next = adam.step(&m, &grads(loss, &m), &s);
        last = tape.eval_and_update(&loss, (&mut model, &mut state), next).item();
        if step % 100 == 0 {
            println!("step {step:3}: loss {last:.6}");
        }
    }

    let tape = Tape::new();
    let output = model.on(&tape).forward(tape.constant(&x), &Pass::eval());
    println!("outputs {}", output.flatten());
    assert!(last < 1e-3, "{last}");
    assert_eq!(output.gt(0.5).value(), tape.constant(&y).gt(0.5).value());
}
