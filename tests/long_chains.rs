//! Does a tape of a million nodes in one chain record, differentiate, run and drop on a small stack?

use wengert::{Array, Tape};

#[test]
fn a_million_nodes_need_no_stack() {
    let run = || {
        let tape = Tape::new();
        let x = tape.leaf(&Array::scalar(0.5));
        let y = (0..1_000_000).fold(x, |y, _| y * 1.000_000_1);
        let [g] = y.grad([x]);
        let (y, g) = tape.eval(&(y, g));
        let expected = 1.000_000_1f64.powi(1_000_000);
        assert!((g.item() - expected).abs() < 1e-9 * expected, "{} and {expected}", g.item());
        assert!((y.item() - 0.5 * expected).abs() < 1e-9 * expected);
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
}

#[test]
fn a_chain_of_small_arrays_need_no_stack_either() {
    let run = || {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([[1.0, 0.0], [0.0, 1.0]]));
        let y = (0..20_000).fold(x, |y, _| y.matmul(x).tanh() + x);
        let [g] = y.sum().grad([x]);
        assert!(g.value().to_f64_vec().iter().all(|v| v.is_finite()));
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
}
