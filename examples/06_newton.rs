//! What are second derivatives good for? Newton's method: a few steps where gradient descent takes thousands.

use wengert::{Array, Tape, Tensor};

/// Rosenbrock's valley, `(1 - x)² + 100 (y - x²)²`, whose lowest point is at (1, 1); doi:10.1093/comjnl/3.3.175.
fn valley(p: Tensor<'_>) -> Tensor<'_> {
    let (x, y) = (p.at(0), p.at(1));
    (1.0 - x).square() + 100.0 * (y - x * x).square()
}

/// `H d = g` for two unknowns, by Cramer's rule, recorded like everything else.
fn solve<'t>(h: Tensor<'t>, g: Tensor<'t>) -> Tensor<'t> {
    let (a, b, c, d) = (h.at((0, 0)), h.at((0, 1)), h.at((1, 0)), h.at((1, 1)));
    let determinant = a * d - b * c;
    wengert::stack(&[d * g.at(0) - b * g.at(1), a * g.at(1) - c * g.at(0)], 0) / determinant
}

/// Walks down the valley.
pub fn main() {
    let mut p = Array::from([-1.2, 1.0]);
    let mut steps = 0;
    loop {
        let tape = Tape::new();
        let x = tape.leaf(&p);
        let y = valley(x);
        let [g] = y.grad([x]);
        let h = y.hessian(x);
        let (height, slope) = tape.eval(&(y, g.norm()));
        println!("step {steps}: at {p}, height {:.3e}, slope {:.3e}", height.item(), slope.item());
        if slope.item() < 1e-10 {
            break;
        }
        // A product with the Hessian needs no Hessian: one walk back and one forward.
        assert!(y.hvp(x, g).value().all_close(&h.matmul(g).value(), 1e-12, 1e-12));
        tape.update(&mut p, x - solve(h, g));
        steps += 1;
        assert!(steps < 20, "Newton's method settles in a few steps");
    }
    assert!(p.all_close(&Array::from([1.0, 1.0]), 1e-9, 0.0), "{p}");
}
