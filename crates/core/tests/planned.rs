//! Do planned and fused programs give what the plain interpretation gives? Random programs against the reference loops, in `f64`.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use wengert_core::{Array, DType, PoolOptions, Tape, Tensor, set_threads};

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
fn gradients_of_rectified_maxima_are_masked_before_they_are_spread() {
    let windows =
        [(2, 2, 0), (3, 2, 0), (3, 2, 1), (2, 3, 0)].map(|(size, stride, pad)| PoolOptions::new(size).stride(stride).padding(pad));
    for (options, dtype) in windows.into_iter().flat_map(|w| [(w, DType::F32), (w, DType::F64)]) {
        let run = |tape: Tape| {
            // Ties, zeros of both signs, NaN and infinities.
            let mut values = Array::uniform(DType::F64, [2, 3, 9, 10], -3.0, 3.0, 1).to_f64_vec();
            values.iter_mut().for_each(|v| *v = v.round());
            values[..4].copy_from_slice(&[f64::NAN, -0.0, f64::INFINITY, f64::NEG_INFINITY]);
            let x = tape.leaf(&Array::new([2, 3, 9, 10], values).cast(dtype));
            let b = tape.leaf(&Array::new([3, 1, 1], vec![0.0, 1.0, -1.0]).cast(dtype));
            let r = (x + b).relu();
            let y = r.max_pool2d(options);
            let weights = tape.constant(&Array::uniform(DType::F64, y.shape(), -1.0, 1.0, 2).cast(dtype));
            let loss = (y * weights).sum();
            let [dx, db] = loss.grad([x, b]);
            let plan = tape.plan(&(dx, db)).to_string();
            let mut values = tape.eval(&vec![dx, db]);
            // Any comparison of the image will do.
            values.push(r.gt(1.0).select(loss.grad(r), tape.zeros(dtype, r.shape())).value());
            (values, plan)
        };
        let ((fused, plan), (eager, _)) = (run(Tape::new()), run(Tape::eager()));
        let masks: Vec<&str> = plan.split("\nk").filter(|k| k.contains("= Select")).collect();
        assert!(masks.len() == 1 && !masks[0].contains("over [2, 3, 9, 10]"), "what is masked are the windows\n{plan}");
        let bits = |a: &Array| a.to_f64_vec().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!([0, 2].map(|i| bits(&fused[i])), [0, 2].map(|i| bits(&eager[i])), "{options:?}");
        assert!(fused[1].all_close(&eager[1], 1e-5, 1e-5), "{options:?}: {} and {}", fused[1], eager[1]);
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
fn products_are_added_to_what_they_update() {
    // Sums of one piece, in parts and alone; of several; and products of what is updated, which must be read before it is.
    for (rows, inner, cols) in [(3, 4, 5), (96, 300, 200), (6, 1030, 7), (1, 9000, 40), (40, 70, 1), (64, 64, 64)] {
        let [a, b, w] =
            [(rows, inner, 1), (inner, cols, 2), (rows, cols, 3)].map(|(m, n, seed)| Array::uniform(DType::F32, [m, n], -1.0, 1.0, seed));
        let update = |w: &mut Array, itself: bool| {
            let tape = Tape::new();
            let (x, b) = (tape.leaf(&*w), tape.constant(&b));
            let left = if itself { x } else { tape.constant(&a) };
            let next = x - 0.1 * left.matmul(b);
            let plan = tape.plan(&next).to_string();
            assert!(plan.contains("contract") && !plan.contains("fused"), "{plan}");
            tape.update(w, next);
        };
        for itself in [false, true].into_iter().filter(|&itself| !itself || (rows, inner) == (64, cols)) {
            let (mut given, held) = (Array::uniform(DType::F32, [rows, cols], -1.0, 1.0, 3), w.clone());
            let (before, mut new) = (given.as_slice::<f32>().as_ptr(), held.clone());
            update(&mut given, itself);
            update(&mut new, itself);
            assert_eq!(held, w, "what is held elsewhere stays");
            let bits = |a: &Array| a.as_slice::<f32>().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&given), bits(&new), "{rows} {inner} {cols}, itself: {itself}");
            assert_eq!(given.as_slice::<f32>().as_ptr() == before, !itself && inner <= 512, "{rows} {inner} {cols}");
        }
    }
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

#[test]
fn a_trap_finds_no_nan_that_nobody_recorded() {
    let tape = Tape::new();
    tape.nan_trap();
    let mut values = vec![1.0f32; 16];
    values[5] = f32::NAN;
    let x = tape.leaf(&Array::new([1, 1, 4, 4], values));
    let spread = x.max_pool2d(PoolOptions::new(2)).sum().grad(x);
    let masked = x.gt(0.0).select(spread, tape.zeros(DType::F32, [1, 1, 4, 4])).value();
    assert_eq!(masked.to_f64_vec().iter().sum::<f64>(), 3.0);
}

#[test]
fn gradients_at_repeated_indices_have_the_same_bits_on_any_number_of_threads() {
    let (table, rows, wide) = ([40, 16], 3000, [40, 2000]);
    let noise = |shape: &[usize], seed| Array::uniform(DType::F32, shape, -1.0, 1.0, seed);
    let index = |shape: &[usize], n: f64, seed| Array::uniform(DType::F64, shape, 0.0, n, seed).cast(DType::I64);
    let mut first: Option<Vec<Vec<u64>>> = None;
    for threads in [1, 2, 7, 7] {
        set_threads(threads);
        let tape = Tape::new();
        let x = tape.leaf(&noise(&table, 1));
        let selected = x.index_select(0, tape.constant(&index(&[rows], 40.0, 2))) * tape.constant(&noise(&[rows, 16], 3));
        let gathered = x.gather(1, tape.constant(&index(&wide, 16.0, 4))) * tape.constant(&noise(&wide, 5));
        let gradients = [selected.sum().grad(x), gathered.sum().grad(x), (selected.square().sum() + gathered.sin().sum()).grad(x)];
        let bits = tape.eval(&gradients).map(|g| g.to_f64_vec().into_iter().map(f64::to_bits).collect()).to_vec();
        assert_eq!(first.get_or_insert_with(|| bits.clone()), &bits, "{threads} threads\n{}", tape.plan(&gradients));
    }
}
