//! Where does a training step spend its time? The profile says it by op and by source line, forward and backward.

use wengert::{
    Array, DType, Tape,
    nn::{Bind, Layer, Linear, Pass, Reduction, Tanh, cross_entropy, grads},
};

/// Profiles the gradient of a small network. With a file name, writes a trace there, to be opened in chrome://tracing or Perfetto.
pub fn main() {
    let model = (Linear::new(64, 128, 1), Tanh, Linear::new(128, 10, 2));
    let x = Array::uniform(DType::F32, [256, 64], -1.0, 1.0, 3);
    let labels = Array::new([256], (0..256).map(|i| i64::from(i % 10)).collect::<Vec<_>>());

    let tape = Tape::new();
    let m = model.on(&tape);
    let logits = m.forward(tape.constant(&x), &Pass::eval());
    let loss = cross_entropy(logits, tape.constant(&labels), Reduction::Mean);
    let g = grads(loss, &m);

    let profile = tape.profile(&(loss, g));
    println!("{profile}");

    let tanh = profile.ops.iter().find(|op| op.name == "tanh").expect("the network has one");
    assert!(!tanh.forward.is_zero() && !tanh.backward.is_zero());
    assert!(profile.saved_bytes > 0, "the backward reads what the forward computed");
    if let Some(file) = std::env::args().nth(1).filter(|name| name.ends_with(".json")) {
        std::fs::write(file, profile.to_chrome_trace()).expect("the file can be written");
    }
}
