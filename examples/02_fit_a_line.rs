//! How does a training loop look? A line through noisy points, by gradient descent, without any model library.

use wengert::{Array, DType, Tape};

/// Fits `y = slope x + intercept`, and compares with the closed formula.
pub fn main() {
    let n = 200;
    let x = Array::uniform(DType::F64, [n], -1.0, 1.0, 1);
    let noise = Array::normal(DType::F64, [n], 0.0, 0.1, 2);
    let y = Array::from_fn([n], |i| 2.0 * x.get(i) + 1.0 + noise.get(i));

    // What is trained are plain arrays, here a pair of numbers. They outlive every tape.
    let mut line = (Array::from(0.0), Array::from(0.0));
    for step in 0..100 {
        // Each step records from scratch, so it is ordinary Rust: loops, branches, functions.
        let tape = Tape::new();
        let (slope, intercept) = (tape.leaf(&line.0), tape.leaf(&line.1));
        let error = slope * tape.constant(&x) + intercept - tape.constant(&y);
        let loss = error.square().mean();
        let [ds, di] = loss.grad([slope, intercept]);
        // The new parameters are tensors too. Loss and update are computed together, by a plan that was made in the first step.
        let next = (slope - 0.5 * ds, intercept - 0.5 * di);
        let loss = tape.eval_and_update(&loss, &mut line, next);
        if step % 20 == 0 {
            println!("step {step:3}: loss {:.6}", loss.item());
        }
    }

    let (slope, intercept) = (line.0.item(), line.1.item());
    println!("y = {slope:.4} x + {intercept:.4}");
    let (best_slope, best_intercept) = least_squares(&x.to_f64_vec(), &y.to_f64_vec());
    assert!((slope - best_slope).abs() < 1e-9 && (intercept - best_intercept).abs() < 1e-9, "{best_slope} {best_intercept}");
    assert!((slope - 2.0).abs() < 0.05 && (intercept - 1.0).abs() < 0.05);
}

/// The line that gradient descent approaches.
fn least_squares(x: &[f64], y: &[f64]) -> (f64, f64) {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (mx, my) = (mean(x), mean(y));
    let covariance: f64 = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum();
    let slope = covariance / x.iter().map(|x| (x - mx) * (x - mx)).sum::<f64>();
    (slope, my - slope * mx)
}
