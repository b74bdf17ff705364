//! Are rows passed over several times in one kernel, and right? Softmax, cross-entropy and layer norm with their gradients, in rows that
//! fit a block and rows that do not, against the reference loops.

use wengert_core::{Array, DType, Tape, Tensor};

/// Values of `results` as planned, held against their ops' meaning; gives the number of kernels.
fn kernels<'t>(tape: &'t Tape, results: &[Tensor<'t>]) -> usize {
    let plan = tape.plan(&results.to_vec());
    for (i, (x, value)) in results.iter().zip(tape.eval(&results.to_vec())).enumerate() {
        let expected = x.reference();
        assert_eq!(expected.dims, value.shape().to_vec());
        for (at, (e, v)) in expected.data.iter().zip(value.to_f64_vec()).enumerate() {
            assert!((e - v).abs() <= 1e-9 * (1.0 + e.abs()), "result {i} at {at}: expected {e}, got {v}\n{plan}");
        }
    }
    plan.lines().filter(|l| l.starts_with('k')).count()
}

fn uniform(shape: &[usize], seed: u64) -> Array {
    Array::uniform(DType::F64, shape, -2.0, 2.0, seed)
}

/// Shapes whose last axis is a row: short ones, ones that end within a block, long ones, and more axes.
const SHAPES: [&[usize]; 6] = [&[40, 10], &[17, 1], &[20, 300], &[18, 1300], &[3, 7, 33], &[2, 9, 2, 513]];

#[test]
fn softmax_and_its_gradient_are_one_kernel() {
    for shape in SHAPES {
        let tape = Tape::new();
        let x = tape.leaf(&uniform(shape, 1));
        for y in [x.softmax(-1), x.log_softmax(-1)] {
            let [g] = y.tanh().sum().grad([x]);
            let plan = tape.plan(&[y, g]);
            let n = kernels(&tape, &[y, g]);
            assert!(n == 1 || shape.ends_with(&[1]), "{shape:?}: {n} kernels\n{plan}");
        }
    }
}

#[test]
fn rows_as_long_as_a_vocabulary_are_one_kernel() {
    let tape = Tape::new();
    let x = tape.leaf(&uniform(&[16, 70_000], 1));
    let [g] = x.softmax(-1).square().sum().grad([x]);
    assert_eq!(kernels(&tape, &[g]), 1);
}

#[test]
fn layer_norm_and_its_gradients_are_one_kernel() {
    for shape in SHAPES {
        let tape = Tape::new();
        let length = shape[shape.len() - 1];
        let x = tape.leaf(&uniform(shape, 1));
        let (gain, bias) = (tape.leaf(&uniform(&[length], 2)), tape.leaf(&uniform(&[length], 3)));
        let d = x - x.mean_keep(&[-1]);
        let y = d / ((d * d).mean_keep(&[-1]) + 0.1).sqrt() * gain + bias;
        let all = y.tanh().sum().grad([x, gain, bias]);
        let n = kernels(&tape, &[y, all[0], all[1], all[2]]);
        assert!(n <= 3, "{shape:?}: {n} kernels"); // the axes before the last are folded for the parameters: one or two kernels more
    }
}

#[test]
fn cross_entropy_and_its_gradient_pass_over_the_logits_once() {
    for shape in [[40usize, 10], [20, 300], [18, 1300]] {
        let tape = Tape::new();
        let x = tape.leaf(&uniform(&shape, 1));
        let labels: Vec<i64> = (0..shape[0] as i64).map(|i| i * 7 % shape[1] as i64).collect();
        let labels = tape.constant(&Array::new([shape[0], 1], labels));
        let loss = -x.log_softmax(-1).gather(-1, labels).mean();
        let [g] = loss.grad([x]);
        let plan = tape.plan(&[loss, g]);
        kernels(&tape, &[loss, g]);
        let over = format!("fused over {shape:?}");
        assert_eq!(plan.matches(&over).count(), 1, "{plan}");
        assert!(!plan.contains("ScatterAdd"), "{plan}");
    }
}

#[test]
fn a_label_out_of_range_is_reported_by_the_loop_over_rows() {
    let tape = Tape::new();
    let x = tape.leaf(&uniform(&[30, 10], 1));
    let mut labels = vec![3i64; 30];
    labels[20] = 10;
    labels[25] = -1;
    let labels = tape.constant(&Array::new([30, 1], labels));
    let spots = tape.zeros(DType::F64, [30, 10]).scatter_add(-1, labels, tape.leaf(&uniform(&[30, 1], 2)));
    let y = x.softmax(-1) + spots;
    let plan = tape.plan(&y);
    let error = tape.try_eval(&y).unwrap_err().to_string();
    assert!(error.contains("index 10 at [20, 0] is out of range for axis 1 of length 10"), "{error}");
    assert!(!plan.contains("ScatterAdd"), "{plan}");
}

#[test]
fn bits_do_not_depend_on_threads() {
    let shape = [70, 900];
    let run = |threads: usize| {
        wengert_core::set_threads(threads);
        let tape = Tape::new();
        let x = tape.leaf(&Array::uniform(DType::F32, shape, -2.0, 2.0, 1));
        let gain = tape.leaf(&Array::uniform(DType::F32, [shape[1]], -2.0, 2.0, 2));
        let y = (x.softmax(-1) * gain).tanh();
        let [gx, gg] = y.sum().grad([x, gain]);
        tape.eval(&[y, gx, gg])
    };
    let one = run(1);
    for threads in [2, 3, 7] {
        let several = run(threads);
        for (a, b) in one.iter().zip(&several) {
            assert_eq!(a, b, "{threads} threads");
        }
    }
    wengert_core::set_threads(2);
}

#[test]
fn rows_of_a_transposed_operand_are_whole() {
    // So large that a loop without rows would read it by tiles.
    let tape = Tape::new();
    let x = tape.leaf(&uniform(&[240, 160], 1));
    let y = x.t().softmax(-1);
    let [g] = y.tanh().sum().grad([x]);
    kernels(&tape, &[y, g]);
}

#[test]
fn an_index_that_is_found_in_a_row_is_written_before_it_is_read() {
    for shape in SHAPES {
        let tape = Tape::new();
        let x = tape.leaf(&uniform(shape, 1));
        let last = shape.len() as isize - 1;
        let at = x.argmax_axis(last).unsqueeze(last);
        let value = x.max_over(&[last]).unsqueeze(last);
        let ones = tape.constant(&Array::ones(DType::F64, at.shape()));
        let hot = tape.zeros(DType::F64, shape).scatter_add(last, at, ones);
        kernels(&tape, &[hot]);
        let most = x.zeros_like().scatter_add(last, at, value);
        kernels(&tape, &[most]);
        kernels(&tape, &[most + x, (most * x).sum_over(&[last])]);
    }
}
