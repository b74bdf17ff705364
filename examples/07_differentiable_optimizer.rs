//! Can a learning rate be learned? An optimizer's steps are recorded like any function, so they have gradients too.

use wengert::{
    Array, Tape, Tensor,
    nn::{Bind, Sgd, SgdState},
};

const STEPS: usize = 10;

/// A bowl that is four times as steep along one axis as along the other.
fn bowl(p: Tensor<'_>) -> Tensor<'_> {
    (p.square() * p.tape().constant(&Array::from([0.5, 2.0]))).sum()
}

/// The height after some steps of gradient descent with momentum, as a function of the learning rate and the momentum.
fn trained<'t>(tape: &'t Tape, lr: Tensor<'t>, momentum: Tensor<'t>) -> Tensor<'t> {
    let start = Array::from([1.0, 1.0]);
    let sgd = Sgd { momentum: momentum.into(), ..Sgd::new(lr) };
    let (mut p, mut state): (Tensor<'t>, SgdState<Tensor<'t>>) = (start.on(tape), sgd.init(&start).on(tape));
    for _ in 0..STEPS {
        let [g] = bowl(p).grad([p]);
        (p, state) = sgd.step(&p, &g, &state);
    }
    bowl(p)
}

/// Tunes learning rate and momentum by gradient descent through ten steps of gradient descent.
pub fn main() {
    let at = |lr: f64, momentum: f64| {
        let tape = Tape::new();
        let (lr, momentum) = (tape.leaf(&Array::from(lr)), tape.leaf(&Array::from(momentum)));
        let height = trained(&tape, lr, momentum);
        let [by_lr, by_momentum] = height.grad([lr, momentum]);
        let (h, a, b) = tape.eval(&(height, by_lr, by_momentum));
        (h.item(), a.item(), b.item())
    };

    // The derivative through all ten steps is the slope of the result.
    let (lr, momentum, h) = (0.05, 0.1, 1e-5);
    let (start, by_lr, by_momentum) = at(lr, momentum);
    let slopes =
        ((at(lr + h, momentum).0 - at(lr - h, momentum).0) / (2.0 * h), (at(lr, momentum + h).0 - at(lr, momentum - h).0) / (2.0 * h));
    println!("height {start:.4}, by learning rate {by_lr:.4} ({:.4}), by momentum {by_momentum:.4} ({:.4})", slopes.0, slopes.1);
    assert!((by_lr - slopes.0).abs() < 1e-6 && (by_momentum - slopes.1).abs() < 1e-6);

    // Downhill in both. The result falls at every step, by a factor of some hundred in all.
    let (mut lr, mut momentum, mut last) = (lr, momentum, start);
    for step in 0..=100 {
        let (height, by_lr, by_momentum) = at(lr, momentum);
        if step % 25 == 0 {
            println!("step {step:3}: learning rate {lr:.4}, momentum {momentum:.4}, height {height:.3e}");
        }
        assert!(height <= last, "{height} after {last}");
        (lr, momentum, last) = (lr - 0.03 * by_lr, momentum - 0.03 * by_momentum, height);
    }
    assert!(last < 1e-2 * start, "{last}");
}
