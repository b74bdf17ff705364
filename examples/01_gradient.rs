//! What is a gradient, and how is one had? Record a formula, ask for the derivative, read numbers.

use wengert::{Array, Tape};

/// `f(x) = Σ x² sin(x)`, its gradient, and the gradient of that.
pub fn main() {
    // A tape is where operations are written down. Nothing is computed yet.
    let tape = Tape::new();
    let x = tape.leaf(&Array::from([0.5, 1.0, 2.0]));
    let y = (x * x * x.sin()).sum();

    // The gradient is one more formula on the same tape.
    let [dx] = y.grad([x]);

    // Reading computes what is needed, all of it in one pass over the numbers here.
    let (value, gradient) = tape.eval(&(y, dx));
    println!("f(x)  = {value}\nf'(x) = {gradient}");
    let by_hand = |x: f64| 2.0 * x * x.sin() + x * x * x.cos();
    assert!(gradient.all_close(&Array::from([by_hand(0.5), by_hand(1.0), by_hand(2.0)]), 1e-13, 0.0));

    // Since gradients are tensors, they have gradients. The Hessian of a sum over elements is diagonal, so its rows' sums tell all.
    let [ddx] = dx.sum().grad([x]);
    println!("f''(x) = {ddx}");
    let by_hand = |x: f64| (2.0 - x * x) * x.sin() + 4.0 * x * x.cos();
    assert!(ddx.value().all_close(&Array::from([by_hand(0.5), by_hand(1.0), by_hand(2.0)]), 1e-13, 1e-13));
}
