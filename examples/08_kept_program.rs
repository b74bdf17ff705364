//! A step that is recorded once and run often: an orbit step by step, a root by Newton's method, one model in several threads.

use std::thread;
use wengert::{
    Array, DType, Tape, Tensor,
    nn::{Bind, Layer, Linear, Pass, Tanh},
};

/// Steps of a planet in one turn round its sun.
const STEPS: usize = 1000;

/// Three uses of one thing.
pub fn main() {
    orbit();
    root();
    inference();
}

/// The pull of a sun of unit mass.
fn force(x: Tensor<'_>) -> Tensor<'_> {
    x.square().sum().sqrt().recip().grad(x)
}

/// Kepler's problem by the leapfrog method. The force is the gradient of the potential, taken once, when the step is compiled.
fn orbit() {
    let (start, speed) = (Array::from([1.0, 0.0]), Array::from([0.0, 1.0]));
    let tape = Tape::new();
    let (x, v, h) = (tape.leaf(&start), tape.leaf(&speed), tape.scalar(DType::F64, std::f64::consts::TAU / STEPS as f64));
    let v_half = v + force(x) * h * 0.5;
    let x_next = x + v_half * h;
    let v_next = v_half + force(x_next) * h * 0.5;
    let energy = v.square().sum() * 0.5 - x.square().sum().sqrt().recip();
    let step = tape.compile(&((x, v), ()), &((x_next, v_next), energy));
    let ((x, _), energy) = step.run_loop(STEPS, (start, speed), &());
    println!("after one turn the planet is at {x}, its energy {:.6}", energy.item());
    assert!(x.all_close(&Array::from([1.0, 0.0]), 1e-3, 1e-3) && (energy.item() + 0.5).abs() < 1e-5);
}

/// The fixed point of the cosine, by a derivative that nobody wrote down.
fn root() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::from(1.0));
    let f = x.cos() - x;
    let newton = tape.compile(&(x, ()), &(x - f / f.grad(x), f));
    let (x, f) = newton.run_loop(6, Array::from(1.0), &());
    println!("cos x = x at {:.15}, where they differ by {:.0e}", x.item(), f.item());
    assert!((x.item() - 0.739_085_133_215_160_6).abs() < 1e-15);
}

/// A program holds the weights and no tape, so that threads can share it.
fn inference() {
    let model = (Linear::new(2, 16, 1), Tanh, Linear::new(16, 1, 2));
    let tape = Tape::new();
    let x = tape.constant(&Array::zeros(DType::F32, [1, 2]));
    let predict = tape.compile(&x, &model.on(&tape).forward(x, &Pass::eval()));
    drop(tape);
    let answers: Vec<f64> = thread::scope(|s| {
        let ask = |i: usize| predict.run(&Array::new([1, 2], [i as f32, 1.0])).item();
        let threads: Vec<_> = (0..4).map(|i| s.spawn(move || ask(i))).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    println!("four threads, four answers: {answers:.3?}");
}
