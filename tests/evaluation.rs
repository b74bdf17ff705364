//! Does reading keep its promises? The same bits for any number of threads, errors for data that cannot be computed with, memory that returns.

use wengert::{
    Array, DType, Key, Tape, memory,
    nn::{Adam, Bind, Dropout, Layer, Linear, Pass, Reduction, Relu, cross_entropy, grads},
    set_threads,
};

/// Three training steps with dropout on 300 rows; gives the bytes of the model.
fn trained(threads: usize) -> Vec<u8> {
    set_threads(threads);
    let mut model = (Linear::new(200, 150, 1), Relu, Dropout::new(0.2), Linear::new(150, 30, 2));
    let adam = Adam::new(1e-2);
    let mut state = adam.init(&model);
    let x = Array::uniform(DType::F32, [300, 200], -1.0, 1.0, 3);
    let y = Array::new([300], (0..300).map(|i| i64::from(i % 30)).collect::<Vec<_>>());
    for step in 0..3 {
        let tape = Tape::new();
        let (m, s) = (model.on(&tape), state.on(&tape));
        let noise = tape.normal(DType::F32, [300, 200], Key::new(7).fold(step)) * 0.1;
        let logits = m.forward(tape.constant(&x) + noise, &Pass::train(Key::new(step)));
        let loss = cross_entropy(logits, tape.constant(&y), Reduction::Mean);
        let next = adam.step(&m, &grads(loss, &m), &s);
        tape.update((&mut model, &mut state), next);
    }
    wengert::nn::to_bytes(&model).unwrap()
}

// One test, since the number of threads and the counters of memory belong to the process.
#[test]
fn threads_errors_and_memory() {
    let one = trained(1);
    assert!(trained(2) == one, "two threads give other bits than one");
    assert!(trained(7) == one, "seven threads give other bits than one");
    an_index_out_of_range_is_an_error();
    the_counter_of_live_bytes_returns();
}

fn an_index_out_of_range_is_an_error() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::from([1.0, 2.0, 3.0]));
    let picked = x.index_select(0, tape.constant(&Array::from([0i64, 7])));
    let line = line!() - 1;
    let fine = x * 2.0;
    let error = tape.try_eval(&(fine, picked)).unwrap_err();
    assert_eq!(error.op, "index_select");
    assert!(error.location.contains(&format!("evaluation.rs:{line}:")), "{error}");
    assert!(error.reason.contains('7') && error.reason.contains('3'), "{error}");
    assert_eq!(fine.value(), Array::from([2.0, 4.0, 6.0]), "what does not depend on it stays valid");
    assert!(picked.sum().try_item().is_err(), "and what does, does not");
    let mut w = Array::from([1.0, 2.0, 3.0]);
    let bound = tape.leaf(&w);
    let bad = bound + picked.sum();
    assert!(tape.try_eval_and_update(&(), &mut w, bad).is_err());
    assert_eq!(w, Array::from([1.0, 2.0, 3.0]), "on an error nothing is changed");
    assert_eq!(bound.value(), w, "nor given away");
}

fn the_counter_of_live_bytes_returns() {
    let data = Array::full([256, 256], 0.5f32);
    let base = memory::live_bytes();
    for _ in 0..3 {
        let tape = Tape::new();
        let x = tape.leaf(&data);
        let y = x.matmul(x).tanh();
        let [g] = y.sum().grad([x]);
        assert!(tape.eval(&(y, g)).0.get(&[0, 0]).is_finite());
        assert!(memory::live_bytes() > base);
        drop(tape);
        assert_eq!(memory::live_bytes(), base);
    }
}
