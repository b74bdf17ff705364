//! Do sums and factors of matrix products become one kernel where they should, with the values that they should have?

use wengert_core::{Array, DType, Tape, Tensor, set_threads};

/// How often a word begins a line of a plan, kernels' numbers aside.
fn count(plan: &str, word: &str) -> usize {
    plan.lines().filter(|l| l.trim_start_matches(|c: char| c == 'k' || c.is_ascii_digit()).trim_start().starts_with(word)).count()
}

fn uniform<'t>(tape: &'t Tape, shape: &[usize], seed: u64) -> Tensor<'t> {
    tape.leaf(&Array::uniform(DType::F64, shape, -1.0, 1.0, seed))
}

/// The value is that of the reference, and the plan has so many products and other loops. Gives the plan.
#[track_caller]
fn check(y: Tensor<'_>, products: usize, loops: usize) -> String {
    let plan = y.tape().plan(&y).to_string();
    let (expected, value) = (y.reference(), y.value());
    for (e, v) in expected.data.iter().zip(value.to_f64_vec()) {
        assert!((e - v).abs() <= 1e-12 * (1.0 + e.abs()), "expected {e}, got {v}\n{plan}");
    }
    assert_eq!((count(&plan, "contract"), count(&plan, "fused")), (products, loops), "{plan}");
    plan
}

#[test]
fn factors_and_signs_go_into_the_product() {
    let tape = Tape::new();
    let (a, b) = (uniform(&tape, &[5, 7], 1), uniform(&tape, &[7, 3], 2));
    check(a.matmul(b) * 2.0, 1, 0);
    check(-(a.matmul(b)), 1, 0);
    check(-(a.matmul(b) * 2.0) / 2.0, 1, 0);
    check((a * 2.0).matmul(-b), 1, 0);
    check((a.matmul(b) * 2.0).t().matmul(-a), 2, 0);
    // Other numbers may change from step to step, so the plan knows them by their slot: good for a result, but it could be zero.
    let slot = check(a.matmul(b) * 1.7, 1, 0);
    assert!(slot.contains("slot 0 * f64"), "{slot}");
    check((a * 1.7).matmul(b), 1, 1);
    check(a.matmul(b) / 1.7, 1, 1);
    // Not where somebody reads the plain product, or the operand, too.
    let p = a.matmul(b);
    check(p * 2.0 + p.sin(), 1, 1);
    check((-a).matmul(b) + (-a).sum(), 1, 1);
}

#[test]
fn sums_of_products_are_one_kernel_without_temporaries() {
    let tape = Tape::new();
    let u = |shape: &[usize], seed| uniform(&tape, shape, seed);
    let (a, b, c, d) = (u(&[5, 7], 1), u(&[7, 3], 2), u(&[5, 2], 3), u(&[2, 3], 4));
    let (bias, other) = (u(&[3], 5), u(&[5, 3], 6));
    let plan = check(a.matmul(b) + c.matmul(d), 1, 0);
    assert!(plan.contains("arena of 0 bytes"), "{plan}");
    check(a.matmul(b) - 2.0 * c.matmul(d) + other, 1, 0);
    check(a.matmul(b) + bias, 1, 0);
    check(other - a.matmul(b), 1, 0);
    // What loops read is added by them.
    check((a.matmul(b) + bias).tanh(), 1, 1);
    check((a.matmul(b) + c.matmul(d) + bias).tanh(), 1, 1);
    check(a.matmul(b) - other, 1, 1);
    // Slices are copies to come: the sum has to lie in memory, so the bias is where it begins.
    let gates = a.matmul(b) + c.matmul(d) + bias;
    let plan = check(gates.narrow(1, 0, 1).tanh() * gates.narrow(1, 2, 1), 1, 1);
    assert!(plan.contains("+ f64"), "{plan}");
}

#[test]
fn gradients_of_a_weight_used_many_times_are_one_sum() {
    let tape = Tape::new();
    let (w, x) = (uniform(&tape, &[4, 4], 1), uniform(&tape, &[6, 3, 4], 2));
    let mut h = tape.constant(&Array::zeros(DType::F64, [3, 4]));
    for t in 0..6 {
        h = (h.matmul(w) + x.narrow(0, t, 1).squeeze(0)).tanh();
    }
    let [g] = h.square().sum().grad([w]);
    let plan = tape.plan(&g).to_string();
    assert_eq!(count(&plan, "contract"), 6 + 5 + 1, "{plan}");
    for (e, v) in g.reference().data.iter().zip(g.value().to_f64_vec()) {
        assert!((e - v).abs() <= 1e-12, "expected {e}, got {v}\n{plan}");
    }
}

#[test]
fn gradients_of_slices_are_put_together_once() {
    let tape = Tape::new();
    let x = uniform(&tape, &[6, 4], 1);
    let parts: Vec<_> = (0..3).map(|i| x.narrow(0, 2 * i, 2)).collect();
    let [g] = (parts[0].exp() * parts[1].sin() + parts[2].tanh()).sum().grad([x]);
    let plan = check(g, 0, 1);
    assert_eq!(count(&plan, "place"), 1, "{plan}");
    assert!(!plan.contains("fill"), "{plan}");
    // Slices that overlap are added: the first two and the last two of them lie apart from each other.
    let [g] = (0..4).map(|i| (x.narrow(0, i, 2) * x.narrow(0, i + 1, 2)).sum()).reduce(|a, b| a + b).unwrap().grad([x]);
    let plan = tape.plan(&g).to_string();
    assert!(count(&plan, "place") < 8 && plan.contains("over a fill"), "{plan}");
    for (e, v) in g.reference().data.iter().zip(g.value().to_f64_vec()) {
        assert!((e - v).abs() <= 1e-12, "expected {e}, got {v}\n{plan}");
    }
}

#[test]
fn a_factor_of_zero_keeps_what_is_no_number() {
    let tape = Tape::new();
    let a = tape.leaf(&Array::from([[f64::INFINITY, 1.0], [2.0, 3.0]]));
    let b = tape.leaf(&Array::from([[1.0, 2.0], [3.0, 4.0]]));
    let zero = 0.25 - 0.25;
    let y = (a.matmul(b) * zero).value();
    assert!(y.to_f64_vec()[..2].iter().all(|v| v.is_nan()) && y.to_f64_vec()[2..] == [0.0; 2], "{y:?}");
    // Large operands that a small factor keeps finite stay so.
    let large = tape.leaf(&Array::from([[1e200, 1e200]]));
    let y = (large * 1e-200).matmul(large.t());
    assert_eq!(y.value(), Array::from([[2e200]]));
}

#[test]
fn integers_and_batches_are_summed_alike() {
    let tape = Tape::new();
    let a = tape.leaf(&Array::from_fn([3, 2, 4], |i| (i[0] * 7 + i[1] * 3 + i[2]) as i64));
    let b = tape.leaf(&Array::from_fn([3, 4, 5], |i| (i[0] + i[1] * 5 + i[2]) as i64 - 9));
    let c = tape.leaf(&Array::from_fn([3, 4, 5], |i| (i[0] * 4 + i[1] + i[2] * 2) as i64 - 5));
    check(a.matmul(c) - (a.matmul(-b) + a.matmul(b)), 1, 0);
}

#[test]
fn sums_over_a_batch_are_one_longer_product() {
    let tape = Tape::new();
    let u = |shape: &[usize], seed| uniform(&tape, shape, seed);
    let (x, g) = (u(&[3, 2, 4], 1), u(&[3, 2, 5], 2));
    let plan = check(x.transpose(-1, -2).matmul(g).sum_over(&[0]), 1, 0);
    assert!(plan.contains("b0[4, 6]+0 by [1, 4] @ f64 b1"), "{plan}");
    // Some of several batch axes: those that run on into the rows.
    let (x, g) = (u(&[2, 3, 2, 4], 3), u(&[2, 3, 2, 5], 4));
    check(x.transpose(-1, -2).matmul(g).sum_over(&[1]), 1, 0);
    check(x.transpose(-1, -2).matmul(g).sum_over(&[0, 1]), 1, 0);
    // Rows that do not run on would be copied; and where the products are wanted too, they are summed.
    check(x.transpose(-1, -2).matmul(g).sum_over(&[0]), 1, 1);
    check(u(&[3, 4, 2], 5).matmul(u(&[3, 2, 5], 6)).sum_over(&[0]), 1, 1);
    let all = u(&[3, 2, 4], 7).transpose(-1, -2).matmul(u(&[3, 2, 5], 8));
    check(all.sum_over(&[0]) + all.narrow(0, 1, 1).squeeze(0), 1, 1);
}

#[test]
fn products_of_one_matrix_with_neighbouring_slices_are_one() {
    let tape = Tape::new();
    let u = |shape: &[usize], seed| uniform(&tape, shape, seed);
    let (x, w) = (u(&[4, 2, 3], 1), u(&[3, 5], 2));
    let at = |t: usize| x.at(t as i64).matmul(w);
    check((1..4).fold(at(0), |sum, t| (sum * at(t)).tanh()), 1, 1);
    check((at(1) * at(2)).tanh(), 1, 1);
    // Gaps, other matrices, and the same slice twice are left as they are.
    check((at(0) * at(2)).tanh(), 2, 1);
    check((at(0) * x.at(1).matmul(u(&[3, 5], 3))).tanh(), 2, 1);
    check((at(0) * at(0)).tanh(), 1, 1);
}

#[test]
fn slices_of_arithmetic_are_computed_where_they_are_read() {
    let tape = Tape::new();
    let u = |shape: &[usize], seed| uniform(&tape, shape, seed);
    let (a, b) = (u(&[20, 16], 1), u(&[16], 2));
    let y = (a + b) * 0.5;
    let parts = y.chunk(2, 1);
    let plan = check(parts[0].sigmoid() * parts[1].tanh(), 0, 1);
    assert!(plan.contains("arena of 0 bytes"), "{plan}");
    // Not where the whole is read as well.
    let z = (a - b).exp();
    let parts = z.chunk(2, 1);
    check(parts[0] * parts[1] + z.sum(), 0, 2);
    // Nor in slices so small that one loop over the whole is better.
    let rows = a.tanh().chunk(20, 0);
    check(rows.iter().fold(rows[0], |sum, &row| sum + row), 0, 2);
}

#[test]
fn a_matrix_that_many_thin_products_turn_is_turned_once() {
    for dtype in [DType::F32, DType::F64] {
        let tape = Tape::new();
        let leaf = |shape: &[usize], seed| tape.leaf(&Array::uniform(DType::F64, shape, -0.4, 0.4, seed).cast(dtype));
        let (x, w) = (leaf(&[3, 8], 1), leaf(&[8, 8], 2));
        let y = (0..10).fold(x, |y, _| y.matmul(w.t()).tanh());
        let plan = tape.plan(&y).to_string();
        assert_eq!(plan.matches("permute;").count(), 1, "{plan}");
        let (expected, value) = (y.reference(), y.value());
        for (e, v) in expected.data.iter().zip(value.to_f64_vec()) {
            assert!((e - v).abs() < 1e-6, "expected {e}, got {v}\n{plan}");
        }
    }
}

#[test]
fn large_products_have_the_same_bits_on_any_number_of_threads() {
    // Cut into two parts for each of two threads, and into eight for more; by rows and by columns.
    for [m, k, n] in [[700, 400, 512], [400, 600, 640]] {
        let [a, b] = [([m, k], 1), ([k, n], 2)].map(|(shape, seed)| Array::uniform(DType::F32, shape, -1.0, 1.0, seed));
        let read = |threads| {
            set_threads(threads);
            let tape = Tape::new();
            tape.leaf(&a).matmul(tape.leaf(&b)).value().to_f64_vec()
        };
        let one = read(1);
        for threads in [2, 3, 7] {
            assert!(read(threads) == one, "{m} {k} {n}: {threads} threads give other bits than one");
        }
    }
}

#[test]
fn factors_that_may_change_are_taken_with_either_sign() {
    for factor in [5.2f64, -3.3, 13.0] {
        for dtype in [DType::F32, DType::F64, DType::I64] {
            let tape = Tape::new();
            let leaf = |shape: &[usize], seed| (tape.leaf(&Array::uniform(DType::F64, shape, -4.0, 4.0, seed)) * 1.0).cast(dtype);
            let (a, b, x) = (leaf(&[3, 4], 1), leaf(&[4, 5], 2), leaf(&[3, 5], 3));
            let factor = tape.scalar(dtype, factor);
            let (product, square) = (a.matmul(b), a.matmul(a.t()).matmul(x));
            let all = [x - factor * product, factor * product - square * factor, -(factor * product) + x, x - -(product * factor)];
            let plan = tape.plan(&all[0]).to_string();
            for (at, (y, value)) in all.iter().zip(tape.eval(&all)).enumerate() {
                for (e, v) in y.reference().data.iter().zip(value.to_f64_vec()) {
                    assert!((e - v).abs() <= 1e-4 * (1.0 + e.abs()), "{dtype}, {at}: expected {e}, got {v}");
                }
            }
            assert!(plan.contains("contract -slot"), "the sign goes with the factor\n{plan}");
        }
    }
}

#[test]
fn sums_of_empty_products_are_empty() {
    for (m, n) in [(0, 3), (3, 0), (0, 0)] {
        let tape = Tape::new();
        let leaf = |shape: &[usize], seed| tape.leaf(&Array::uniform(DType::F64, shape, -1.0, 1.0, seed));
        let (a, b, c, d, e, z) =
            (leaf(&[m, 4], 1), leaf(&[4, n], 2), leaf(&[m, 5], 3), leaf(&[5, n], 4), leaf(&[m, n], 5), leaf(&[n, 2], 6));
        let y = (a.matmul(b) + c.matmul(d) + e.cumsum(0)).matmul(z);
        assert_eq!(y.value().to_f64_vec(), vec![0.0; 2 * m], "{m} {n}");
    }
}
