//! Are values right where the planner stores them in others' places, writes over them, computes them again, or folds them in parts?

use wengert_core::{Array, DType, Tape, Tensor, concat};

/// A value against the reference loops.
fn assert_close(x: Tensor<'_>, value: &Array, context: &str) {
    let round = if x.dtype() == DType::F32 { 1e-4 } else { 1e-12 };
    for (i, (e, v)) in x.reference().data.iter().zip(value.to_f64_vec()).enumerate() {
        assert!((e - v).abs() <= round * (1.0 + e.abs()), "{context}: {x:?} at {i}: expected {e}, got {v}\n{}", x.tape().plan(&x));
    }
}

#[test]
fn what_is_computed_again_is_what_would_have_been_stored() {
    // Large enough to be worth a logistic function; a fold and an operand of a product need what can not all be repeated.
    let u = |shape: &[usize], seed| Array::uniform(DType::F32, shape, -2.0, 2.0, seed);
    let (x, w) = (u(&[300, 260], 1), u(&[260, 3], 2));
    let gradients = |tape: &Tape| {
        let (x, w) = (tape.leaf(&x), tape.leaf(&w));
        let h = (x * 0.7 + x.mean_keep(&[-1])).tanh();
        let y = (h * h.sigmoid() - x).matmul(w);
        let loss = (y.square().sum() + h.max_over(&[-1]).sum()) * 1e-3;
        let [a, b] = loss.grad([x, w]);
        let plan = tape.plan(&(loss, a, b)).to_string();
        (tape.eval(&(loss, a, b)), plan)
    };
    let ((loss, a, b), plan) = gradients(&Tape::new());
    assert!(plan.lines().filter(|l| l.contains("= Sigmoid f32")).count() > 1, "nothing is computed again:\n{plan}");
    let ((eager_loss, eager_a, eager_b), _) = gradients(&Tape::eager());
    assert!(a.all_close(&eager_a, 1e-4, 1e-5) && b.all_close(&eager_b, 1e-4, 1e-5), "{plan}");
    assert!(loss.all_close(&eager_loss, 1e-5, 0.0));
}

#[test]
fn folds_around_axes_that_stay_go_row_by_row() {
    let tape = Tape::new();
    for (dtype, round) in [(DType::F32, 1e-5), (DType::F64, 1e-12), (DType::I64, 0.0)] {
        let x = tape.leaf(&Array::uniform(DType::F64, [4, 3, 2, 40], -3.0, 3.0, 9).cast(dtype));
        for axes in [&[0, 3][..], &[0, 2, 3], &[1, 3], &[0, -2, -1]] {
            let folds = [x.sum_over(axes), x.max_keep(axes), x.min_keep(axes), (x * x).sum_over(axes)];
            for (y, value) in folds.iter().zip(tape.eval(&folds)) {
                let expected = y.reference();
                assert_eq!(expected.dims, value.shape().to_vec());
                for (e, v) in expected.data.iter().zip(value.to_f64_vec()) {
                    assert!((e - v).abs() <= round * (1.0 + e.abs()), "{dtype:?} {axes:?}: expected {e}, got {v}");
                }
            }
        }
    }
}

/// Two heads' queries, keys and values of one product: slices, permuted both ways; the gradient is put together from three pieces.
fn heads<'t>(x: Tensor<'t>, w: Tensor<'t>) -> Tensor<'t> {
    let (n, width) = (x.shape()[1], w.shape()[1] / 3);
    let all = x.matmul(w);
    let [q, k, v] = [0, 1, 2].map(|i| all.narrow(-1, i * width, width).reshape([2, n, 2, width / 2]).transpose(1, 2));
    (q.matmul(k.transpose(-1, -2)).matmul(v) * 0.1).transpose(1, 2).reshape([2, n, width])
}

#[test]
fn values_are_stored_where_they_would_be_copied_to() {
    for dtype in [DType::F32, DType::F64] {
        let tape = Tape::new();
        let leaf = |shape: &[usize], seed| tape.leaf(&Array::uniform(DType::F64, shape, -0.5, 0.5, seed).cast(dtype));
        let (x, w, u) = (leaf(&[2, 20, 24], 1), leaf(&[24, 96], 2), leaf(&[18, 20], 3));
        let y = heads(x, w);
        let [dx, dw] = (y * y).sum().grad([x, w]);
        let joined = concat(&[u.tanh(), (u * u).matmul(w.narrow(0, 0, 20).narrow(1, 0, 20)), u * 2.0], 0);
        let all = [y, dx, dw, joined.matmul(u.t()), (joined * joined.tanh()).sum_over(&[1])];
        let plan = tape.plan(&all).to_string();
        assert!(!plan.contains("place ->") && !plan.contains("Copy"), "{plan}");
        for (at, (y, value)) in all.iter().zip(tape.eval(&all)).enumerate() {
            assert_close(*y, &value, &format!("{at}"));
        }
    }
}

/// A recurrent network over `x`, given step by step, and the gradients of what it is made from.
fn recurrent<'t>(tape: &'t Tape, dtype: DType, steps: &[Tensor<'t>], x: Tensor<'t>) -> (Vec<Tensor<'t>>, Vec<Tensor<'t>>) {
    let leaf = |shape: &[usize], seed| tape.leaf(&Array::uniform(DType::F64, shape, -0.5, 0.5, seed).cast(dtype));
    let (w, u, b) = (leaf(&[48, 128], 2), leaf(&[64, 128], 3), leaf(&[128], 4));
    let mut states = vec![tape.zeros(dtype, [16, 64])];
    for x in steps {
        let gates = (x.matmul(w) + states[states.len() - 1].matmul(u) + b).chunk(2, 1);
        states.push(gates[0].sigmoid() * gates[1].tanh());
    }
    // The bias is read elsewhere, too.
    let loss = states[states.len() - 1].square().sum() + (b * b * b).sum();
    let mut gradients = loss.grad([w, u, b]).to_vec();
    gradients.push(loss.grad(x));
    (states, gradients)
}

#[test]
fn gradients_of_what_is_used_in_each_step_are_one_product_of_stacks() {
    for dtype in [DType::F32, DType::F64] {
        let tape = Tape::new();
        let x = tape.leaf(&Array::uniform(DType::F64, [5, 16, 48], -0.5, 0.5, 1).cast(dtype));
        let near: Vec<Tensor<'_>> = (0..5).map(|t| x.at(t)).collect();
        let apart: Vec<Tensor<'_>> = (0..5).map(|t| x.reshape([16, 5, 48]).narrow(1, t, 1).reshape([16, 48])).collect();
        // Backwards, and one step twice; steps that come from elsewhere; states that are wanted themselves.
        let mixed: Vec<Tensor<'_>> = [4, 3, 1, 1].into_iter().map(|t| x.at(t)).chain([near[0].tanh(), near[2] * 2.0]).collect();
        for (case, steps) in [near, apart, mixed].iter().enumerate() {
            let (states, gradients) = recurrent(&tape, dtype, steps, x);
            let mut all = gradients;
            all.extend((case > 0).then_some(states[2]));
            let plan = tape.plan(&all).to_string();
            let terms = plan.lines().find(|l| l.contains(&format!("[64, {}]", 16 * steps.len())));
            assert!(terms.is_some(), "one product with all steps' terms\n{plan}");
            assert!(case > 0 || !plan.contains("place ->"), "nothing is put together\n{plan}");
            for (at, (y, value)) in all.iter().zip(tape.eval(&all)).enumerate() {
                assert_close(*y, &value, &format!("{case}, {at}"));
            }
        }
    }
}

#[test]
fn large_values_are_written_over_by_their_last_reader() {
    let tape = Tape::new();
    let leaf = |shape: &[usize], seed| tape.leaf(&Array::uniform(DType::F64, shape, -0.5, 0.5, seed));
    let (x, y, w) = (leaf(&[260, 40], 1), leaf(&[260, 40], 2), leaf(&[40, 130], 3));
    let [a, b] = [x.matmul(w), y.matmul(w)];
    // Two die in one loop, which also folds them; a fold of what is written over; a dying value that is read in another order, or twice.
    let both = (a * b, a - 2.0 * b.sin(), a.sum_over(&[0]));
    let [c, d] = [both.0.matmul(w.t()).matmul(w) + 1.0, both.1.matmul(w.t())];
    let e = leaf(&[200, 20], 4).matmul(leaf(&[20, 200], 5));
    let f = (e + e.t()).tanh().matmul(leaf(&[200, 3], 6));
    let g = leaf(&[2, 40], 7).matmul(leaf(&[40, 20_000], 8));
    let h = (g * g.flip(&[0])).narrow(1, 5, 300).matmul(leaf(&[300, 2], 9));
    let all = [c.tanh().sum_over(&[1]), d, both.2, f, h];
    let plan = tape.plan(&all).to_string();
    assert!(plan.matches("in place").count() >= 2, "{plan}");
    for (y, value) in all.iter().zip(tape.eval(&all)) {
        assert_close(*y, &value, "written over");
    }
}

#[test]
fn half_of_a_value_of_half_the_width_is_not_written_over() {
    let tape = Tape::new();
    let leaf = |shape: &[usize], seed| tape.leaf(&Array::uniform(DType::F32, shape, -0.5, 0.5, seed));
    let half = leaf(&[512, 3], 1).matmul(leaf(&[3, 260], 2)).narrow(0, 0, 256).cast(DType::F64);
    let w = tape.leaf(&Array::uniform(DType::F64, [260, 2], -0.5, 0.5, 3));
    let y = (half * 2.0).matmul(w);
    for (e, v) in y.reference().data.iter().zip(y.value().to_f64_vec()) {
        assert!((e - v).abs() <= 1e-5 * (1.0 + e.abs()), "expected {e}, got {v}\n{}", tape.plan(&y));
    }
}

#[test]
fn a_fold_of_a_single_row_may_be_folded_again_along_it() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::uniform(DType::F64, [1, 40], -0.5, 0.5, 1)).exp();
    for y in [x.min_keep(&[0]).max_keep(&[1]), x.sum_keep(&[0]).sum_keep(&[1]), x.min_keep(&[0]).max_keep(&[1]) * x.sum_over(&[0])] {
        assert_close(y, &y.value(), "a single row");
    }
}

/// A block of rows ends where an operand that repeats for each of a few long stretches of rows ends.
#[test]
fn short_rows_in_long_stretches_read_what_repeats() {
    let tape = Tape::new();
    let leaf = |shape: &[usize], seed| tape.leaf(&Array::uniform(DType::F64, shape, -0.5, 0.5, seed));
    for length in [1, 2] {
        let (a, b, c) = (leaf(&[3, 2188, length], 1), leaf(&[2188, 1], 2), leaf(&[2188], 3));
        let y = (a * 2.0 + b).sum_over(&[2]) + leaf(&[3, 2188], 4);
        let z = ((a - b).sum_over(&[2]) * c).exp();
        for y in [y, z] {
            assert_close(y, &y.value(), "repeated");
        }
    }
}

/// Results of more than 32 MB are written past the caches; rows that begin anywhere on a line.
#[test]
fn results_larger_than_the_caches_are_whole() {
    let tape = Tape::new();
    let (rows, length) = (300, 28_001);
    let x = Array::from_fn([rows, length], |i| ((i[0] * 7919 + i[1] * 104_729) % 1013) as f32 * 0.01 - 5.0);
    let t = tape.leaf(&x);
    let [line, soft] = [t * 2.0 + 1.0, t.softmax(-1)].map(|y| y.value().to_vec::<f32>());
    let x = x.to_vec::<f32>();
    assert!(x.iter().zip(&line).all(|(x, y)| x * 2.0 + 1.0 == *y));
    for (x, soft) in x.chunks(length).zip(soft.chunks(length)) {
        let sum: f64 = x.iter().map(|&v| f64::from(v).exp()).sum();
        for (x, y) in x.iter().zip(soft) {
            let expected = f64::from(*x).exp() / sum;
            assert!((expected - f64::from(*y)).abs() <= 1e-5 * expected, "{expected} {y}");
        }
    }
}

#[test]
fn a_value_that_is_wanted_itself_keeps_its_own_place() {
    let tape = Tape::new();
    let u = tape.leaf(&Array::uniform(DType::F64, [18, 20], -0.5, 0.5, 3));
    let piece = u.tanh();
    let other = u * 2.0;
    let all = [piece, concat(&[piece, other], 1).matmul(tape.leaf(&Array::ones(DType::F64, [40, 2])))];
    for (y, value) in all.iter().zip(tape.eval(&all)) {
        assert_close(*y, &value, "wanted piece");
    }
    // Stored in the whole, so that it has to be computed again.
    assert_close(other, &other.value(), "read later");
}
