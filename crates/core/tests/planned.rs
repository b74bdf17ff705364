//! Do planned and fused programs give what the plain interpretation gives? Random programs against the reference loops, in `f64`.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use wengert_core::{Array, DType, Tape, Tensor, concat};

/// A random program of `n` steps over a few leaves: pointwise ops, broadcasts, folds, views and products of small shapes.
fn program<'t>(tape: &'t Tape, rng: &mut ChaCha8Rng, n: usize) -> Vec<Tensor<'t>> {
    let u = |shape: &[usize], seed| tape.leaf(&Array::uniform(DType::F64, shape, -1.5, 1.5, seed));
    let mut pool = vec![u(&[3, 4], 1), u(&[4], 2), u(&[3, 1], 3), u(&[], 4), u(&[2, 3, 4], 5), u(&[4, 3], 6)];
    for _ in 0..n {
        let a = pool[rng.random_range(0..pool.len())];
        let b = pool[rng.random_range(0..pool.len())];
        let axis = if a.rank() == 0 { 0 } else { rng.random_range(0..a.rank()) as isize };
        let y = match rng.random_range(0..14) {
            0 if fits(a, b) => a + b,
            1 if fits(a, b) => a * b,
            2 if fits(a, b) => a - 0.5 * b,
            3 if fits(a, b) => a / (b * b + 1.0),
            4 => a.tanh(),
            5 => (a * a + 1.0).sqrt(),
            6 if fits(a, b) => a.gt(b).select(a, b),
            7 if a.rank() > 0 => a.sum_over(&[axis]),
            8 if a.rank() > 0 => a.sum_keep(&[axis]) * 0.25,
            9 if a.rank() > 1 => a.transpose(0, -1),
            10 => a.flatten(),
            11 if a.rank() == 2 && b.rank() == 2 && a.shape()[1] == b.shape()[0] => a.matmul(b) * 0.5,
            12 => 2.0 - a.sigmoid(),
            13 if a.rank() < 3 => a.unsqueeze(axis),
            _ => a.sin(),
        };
        if y.size() <= 64 {
            pool.push(y);
        }
    }
    pool
}

fn fits(a: Tensor<'_>, b: Tensor<'_>) -> bool {
    a.shape().broadcast(&b.shape()).is_some_and(|s| s.rank() <= 4)
}

fn assert_close(x: Tensor<'_>, value: &Array, context: &str) {
    let expected = x.reference();
    assert_eq!(expected.dims, value.shape().to_vec(), "{context}: {x:?}");
    for (i, (e, v)) in expected.data.iter().zip(value.to_f64_vec()).enumerate() {
        assert!((e - v).abs() <= 1e-9 * (1.0 + e.abs()), "{context}: {x:?} at {i}: expected {e}, got {v}\n{}", x.tape().plan(&x));
    }
}

#[test]
fn random_programs_give_what_their_references_give() {
    for seed in 0..150 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let tape = Tape::new();
        let pool = program(&tape, &mut rng, 30);
        let some: Vec<Tensor<'_>> = pool.iter().copied().filter(|_| rng.random_bool(0.3)).collect();
        let values = tape.eval(&some);
        for (x, v) in some.iter().zip(&values) {
            assert_close(*x, v, &format!("seed {seed}, together"));
        }
        for &x in &pool {
            assert_close(x, &x.value(), &format!("seed {seed}, alone"));
        }
    }
}

#[test]
fn gradients_of_random_programs_give_what_their_references_give() {
    for seed in 0..60 {
        let mut rng = ChaCha8Rng::seed_from_u64(1000 + seed);
        let tape = Tape::new();
        let pool = program(&tape, &mut rng, 20);
        let loss = pool.iter().skip(6).map(|x| (*x * *x).sum()).reduce(|a, b| a + b).expect("steps");
        let g = loss.grad_or_zero(&pool[..6].to_vec());
        let values = tape.eval(&(loss, g.clone()));
        assert_close(loss, &values.0, "loss");
        for (x, v) in g.iter().zip(&values.1) {
            assert_close(*x, v, &format!("seed {seed}, gradient"));
        }
    }
}

#[test]
fn eager_and_fused_agree() {
    for seed in 0..20 {
        let run = |tape: Tape| {
            let mut rng = ChaCha8Rng::seed_from_u64(2000 + seed);
            let pool = program(&tape, &mut rng, 25);
            tape.eval(&pool)
        };
        for (i, (a, b)) in run(Tape::new()).iter().zip(run(Tape::eager())).enumerate() {
            assert!(a.all_close(&b, 1e-12, 1e-12), "seed {seed}, value {i}: {a} and {b}");
        }
    }
}

#[test]
fn a_plan_is_found_again_although_values_change() {
    let step = |lr: f64, data: [f64; 3]| {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from(data));
        let loss = (x * x * lr).sum();
        let [g] = loss.grad([x]);
        let values = tape.eval(&(loss, x - lr * g));
        (values.0.item(), values.1.to_f64_vec(), tape.stats())
    };
    let first = step(0.5, [1.0, 2.0, 3.0]);
    let second = step(0.25, [1.0, 1.0, 1.0]);
    assert_eq!((first.0, second.0), (7.0, 0.75));
    assert_eq!(second.1, [0.875, 0.875, 0.875]);
    assert_eq!((second.2.verbatim_hits, second.2.misses), (1, 0), "{}", second.2);
}

#[test]
fn what_a_read_computed_is_not_computed_again() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::from([1.0, 2.0]));
    let mut y = x;
    for i in 0..20 {
        y = (y * 0.5).matmul(tape.constant(&Array::from([[1.0, 0.5], [0.0, 1.0]])));
        assert!(y.sum().item() < 10.0);
        let kernels = tape.stats().kernels;
        assert!(kernels <= 3 * (i + 1), "{kernels} kernels after {} reads", i + 1);
    }
}

#[test]
fn a_node_that_was_computed_twice_is_kept_from_then_on() {
    let kernels = |_: usize| {
        let tape = Tape::new();
        tape.keep_bytes(0);
        let x = tape.leaf(&Array::full([64, 64], 0.5));
        let a = x.matmul(x); // large, not asked for by the first read
        let first = a.sum().item();
        let b = a.matmul(x);
        (first, b.sum().item(), tape.stats().kernels)
    };
    let (first, again, third) = (kernels(0), kernels(1), kernels(2));
    assert_eq!((first.0, first.1), (again.0, again.1));
    assert!(third.2 < first.2, "{first:?} then {third:?}");
}

#[test]
fn updates_write_over_what_nobody_holds() {
    let mut w = Array::from([1.0, 2.0]);
    let before = w.as_slice::<f64>().as_ptr();
    for _ in 0..3 {
        let tape = Tape::new();
        let x = tape.leaf(&w);
        let loss = (x * x).sum();
        let [g] = loss.grad([x]);
        let value = tape.eval_and_update(&loss, &mut w, x - 0.25 * g);
        assert!(value.item() > 0.0);
    }
    assert_eq!(w, Array::from([0.125, 0.25]));
    assert_eq!(w.as_slice::<f64>().as_ptr(), before, "the memory stayed");
    let held = w.clone();
    let tape = Tape::new();
    let x = tape.leaf(&w);
    tape.update(&mut w, x * 2.0);
    assert_eq!((held, w), (Array::from([0.125, 0.25]), Array::from([0.25, 0.5])));
}

#[test]
fn what_is_read_beside_an_update_is_of_the_old_values() {
    let mut w = Array::from([[1.0, 2.0], [3.0, 4.0]]);
    let tape = Tape::new();
    let x = tape.leaf(&w);
    let sums = tape.eval_and_update(&x.sum_over(&[1]), &mut w, x * 0.5); // one loop reads the memory, folds it and writes it
    assert_eq!((sums, w), (Array::from([3.0, 7.0]), Array::from([[0.5, 1.0], [1.5, 2.0]])));
}

#[test]
fn a_value_that_moves_to_another_model_is_not_written_over() {
    let (mut slow, mut fast) = (Array::from([0.0, 0.0]), Array::from([1.0, 2.0]));
    let tape = Tape::new();
    let (_, f) = (tape.leaf(&slow), tape.leaf(&fast));
    let before = tape.eval_and_update(&f, (&mut slow, &mut fast), (f, f * 3.0));
    assert_eq!((before, slow, fast), (Array::from([1.0, 2.0]), Array::from([1.0, 2.0]), Array::from([3.0, 6.0])));
}

#[test]
#[should_panic(expected = "has overwritten")]
fn reading_what_an_update_took_names_both_lines() {
    let mut w = Array::from([1.0, 2.0]);
    let tape = Tape::new();
    let x = tape.leaf(&w);
    let late = x.exp();
    tape.update(&mut w, x * 2.0);
    late.value();
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
            for (e, v) in y.reference().data.iter().zip(value.to_f64_vec()) {
                let round = if dtype == DType::F32 { 1e-4 } else { 1e-12 };
                assert!((e - v).abs() <= round * (1.0 + e.abs()), "{at}: expected {e}, got {v}\n{plan}");
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
        for (e, v) in y.reference().data.iter().zip(value.to_f64_vec()) {
            assert!((e - v).abs() <= 1e-9 * (1.0 + e.abs()), "{y:?}: expected {e}, got {v}\n{plan}");
        }
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

#[test]
fn a_trapped_nan_changes_nothing_and_is_the_first_that_was_recorded() {
    // Buffers of their own: one that is shared would not be donated.
    let fresh = || (Array::from([1.0, 2.0]), Array::from([1.0, -1.0]));
    let (mut pair, before) = (fresh(), fresh());
    let tape = Tape::new();
    tape.nan_trap();
    let (a, b) = (tape.leaf(&pair.0), tape.leaf(&pair.1));
    let error = tape.try_eval_and_update(&(), &mut pair, (a * 2.0, b.ln())).unwrap_err();
    assert!(error.to_string().contains("ln"), "{error}");
    assert_eq!(pair, before);
    // The second of these would free what it reads, and run first.
    let (freed, c) = (tape.leaf(&before.1) * 2.0, tape.leaf(&before.1).ln());
    let error = tape.try_eval(&(c, freed.sqrt())).unwrap_err();
    assert!(error.to_string().contains("ln"), "{error}");
}
