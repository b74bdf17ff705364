//! Does a long chain of ops need a deep stack?

use wengert_core::{Array, Tape};

#[test]
fn a_million_nodes_are_recorded_differentiated_and_dropped_on_a_small_stack() {
    let run = || {
        let tape = Tape::new();
        let x = tape.leaf(&Array::scalar(1.0));
        let mut y = x;
        for _ in 0..1_000_000 {
            y *= 0.999_999;
        }
        let forward = tape.len();
        let [g] = y.grad([x]);
        let t = y.jvp(x, x);
        assert!(forward > 1_000_000 && g.shape() == [0; 0] && t.shape() == [0; 0]);
        assert!(tape.len() < 4 * forward);
        let [h] = g.grad([x]);
        assert_eq!(h.item(), 0.0);
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(run).expect("a thread starts").join().expect("the stack suffices");
}
