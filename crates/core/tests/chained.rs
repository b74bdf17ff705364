//! Are values right where kernels run part by part, and do parts wait where one needs what another writes?

use wengert_core::{Array, DType, Tape, Tensor, set_threads};

fn uniform(shape: &[usize], seed: u64) -> Array {
    Array::uniform(DType::F32, shape, -1.0, 1.0, seed)
}

/// The parts that the chains of a plan run in, in order.
fn parts(plan: &str) -> Vec<usize> {
    let count = |l: &str| l.strip_suffix(" parts, each on one thread:")?.rsplit(' ').next()?.parse().ok();
    plan.lines().filter_map(count).collect()
}

/// Reads a program on several numbers of threads, op by op, and with all chains that are possible; gives the plan.
fn same_everywhere(program: &dyn for<'t> Fn(&'t Tape) -> Vec<Tensor<'t>>) -> String {
    let read = |tape: Tape| {
        let x = program(&tape);
        let plan = tape.plan(&x).to_string();
        (tape.eval(&x), plan)
    };
    let (eager, _) = read(Tape::eager());
    let mut first: Option<Vec<Array>> = None;
    let mut shown = String::new();
    for threads in [1, 2, 7] {
        set_threads(threads);
        let (values, plan) = read(Tape::new());
        for (i, (value, expected)) in values.iter().zip(&eager).enumerate() {
            assert!(value.all_close(expected, 1e-4, 1e-4), "result {i} on {threads} threads\n{plan}");
        }
        if let Some(first) = &first {
            assert!(values.iter().zip(first).all(|(a, b)| a.to_f64_vec() == b.to_f64_vec()), "{threads} threads give other bits\n{plan}");
        }
        (first, shown) = (Some(values), plan);
        let everywhere = Tape::new();
        everywhere.chain_everywhere();
        let (values, plan) = read(everywhere);
        assert!(values.iter().zip(&eager).all(|(v, e)| v.all_close(e, 1e-4, 1e-4)), "with all chains\n{plan}");
    }
    shown
}

#[test]
fn steps_of_a_recurrent_network_go_from_product_to_gates_without_waiting() {
    let (x, w, u) = (uniform(&[6, 32, 128], 1), uniform(&[128, 256], 2), uniform(&[128, 256], 3));
    let plan = same_everywhere(&|tape| {
        let (x, w, u) = (tape.leaf(&x), tape.leaf(&w), tape.leaf(&u));
        let mut h = tape.constant(&uniform(&[32, 128], 4));
        for t in 0..6 {
            let gates = (x.narrow(0, t, 1).reshape([32, 128]).matmul(w) * 0.1 + h.matmul(u) * 0.1).tanh();
            h = gates.narrow(-1, 0, 128) * h + gates.narrow(-1, 128, 128);
        }
        let loss = h.square().mean();
        let [dw, du] = loss.grad([w, u]);
        vec![loss, h, dw, du]
    });
    assert!(parts(&plan).contains(&2), "rows of two parts of sixteen:\n{plan}");
}

#[test]
fn a_value_that_lives_within_a_chain_needs_room_for_a_part_alone() {
    let (x, q) = (uniform(&[16, 500, 20], 1), uniform(&[16, 20, 20], 2));
    let plan = same_everywhere(&|tape| {
        let (x, q) = (tape.leaf(&x), tape.leaf(&q));
        vec![(x.exp().matmul(q)).square().sum_over(&[-1])]
    });
    assert_eq!(parts(&plan), [8], "{plan}");
    assert!(plan.contains("0..80000 of a part"), "{plan}");
    assert!(plan.contains("arena of 0 bytes"), "{plan}");
}

#[test]
fn parts_wait_where_one_reads_what_another_writes() {
    let (x, w) = (uniform(&[64, 64], 1), uniform(&[64, 64], 2));
    same_everywhere(&|tape| {
        let (x, w) = (tape.leaf(&x), tape.leaf(&w));
        let y = (x.matmul(w) * 0.1).tanh();
        // Whole as a right operand, by columns, the other way round, and beside itself.
        let whole = w.matmul(y);
        let turned = y.transpose(0, 1) * 0.5 + y;
        let flipped = y.flip(&[0]) + y * 2.0;
        let columns = y.sum_over(&[0]);
        vec![whole, turned, flipped, y + columns]
    });
}

#[test]
fn what_all_parts_read_is_not_written_over_while_they_run() {
    for everywhere in [false, true] {
        set_threads(7);
        let x = uniform(&[128, 128], 1);
        let step = |tape: &Tape, w: &mut [Array; 1]| {
            let (x, old) = (tape.leaf(&x), tape.leaf(&w[0]));
            let product = x.matmul(old);
            tape.eval_and_update(&product, w, [product.tanh()])
        };
        // Nobody else holds them: they may be written over.
        let (mut plain, mut updated) = ([uniform(&[128, 128], 2)], [uniform(&[128, 128], 2)]);
        let expected = step(&Tape::eager(), &mut plain);
        let tape = Tape::new();
        if everywhere {
            tape.chain_everywhere();
        }
        let product = step(&tape, &mut updated);
        assert!(product.all_close(&expected, 1e-4, 1e-4) && updated[0].all_close(&plain[0], 1e-5, 1e-5), "everywhere: {everywhere}");
    }
}

#[test]
fn equal_updates_of_two_inputs_write_over_one_of_them_at_most() {
    set_threads(7);
    let x = uniform(&[128, 128], 1);
    let fresh = || [uniform(&[128, 128], 2), uniform(&[128, 128], 3)];
    for which in [0, 1] {
        let step = |tape: &Tape, w: &mut [Array; 2]| {
            let (x, leaves) = (tape.leaf(&x), [tape.leaf(&w[0]), tape.leaf(&w[1])]);
            let new = [(); 2].map(|()| x.matmul(leaves[which]).tanh());
            tape.eval_and_update(&x.matmul(leaves[1 - which]), w, new)
        };
        let (mut plain, mut updated) = (fresh(), fresh());
        let expected = step(&Tape::eager(), &mut plain);
        let tape = Tape::new();
        tape.chain_everywhere();
        let product = step(&tape, &mut updated);
        assert!(product.all_close(&expected, 1e-4, 1e-4));
        assert!(updated.iter().zip(&plain).all(|(u, p)| u.all_close(p, 1e-5, 1e-5)), "from {which}");
    }
}

#[test]
fn a_kept_program_with_chains_runs_from_several_threads_and_in_a_loop() {
    let (x, start) = (uniform(&[128, 64], 1), uniform(&[64, 64], 2));
    fn step<'t>(tape: &'t Tape, x: &Array, w: &Array) -> [Tensor<'t>; 4] {
        let (x, w) = (tape.leaf(x), tape.leaf(w));
        let h = (x.matmul(w) * 0.1).tanh();
        let next = w - (x.transpose(0, 1).matmul(h) * 0.01).tanh();
        [x, w, next, h.square().sum_over(&[-1])]
    }
    let mut expected = (start.clone(), Array::from(0.0));
    for _ in 0..3 {
        let tape = Tape::eager();
        let [_, _, next, y] = step(&tape, &x, &expected.0);
        expected = tape.eval(&(next, y));
    }
    for (threads, everywhere) in [1, 2, 7].into_iter().flat_map(|threads| [(threads, false), (threads, true)]) {
        set_threads(threads);
        let tape = Tape::new();
        if everywhere {
            tape.chain_everywhere();
        }
        let [x_in, w, next, y] = step(&tape, &x, &start);
        let plan = tape.plan(&(next, y)).to_string();
        assert!(!parts(&plan).is_empty(), "{plan}");
        let program = tape.compile(&(w, x_in), &(next, y));
        let one_by_one = || (0..3).fold((start.clone(), Array::from(0.0)), |(w, _), _| program.run(&(w, x.clone())));
        let first = one_by_one();
        assert!(first.0.all_close(&expected.0, 1e-4, 1e-4) && first.1.all_close(&expected.1, 1e-4, 1e-4), "{threads} threads");
        let bits = |(w, y): &(Array, Array)| (w.to_f64_vec(), y.to_f64_vec());
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..4).map(|_| scope.spawn(one_by_one)).collect();
            runs.into_iter().for_each(|run| assert_eq!(bits(&run.join().expect("no panic")), bits(&first)));
        });
        assert_eq!(bits(&program.run_loop(3, start.clone(), &x)), bits(&first), "in a loop on {threads} threads");
    }
}

#[test]
fn a_profile_tells_the_kernels_of_a_chain_apart() {
    let tape = Tape::new();
    let (x, q) = (tape.leaf(&uniform(&[16, 500, 20], 1)), tape.leaf(&uniform(&[16, 20, 20], 2)));
    let y = x.exp().matmul(q).square().sum_over(&[-1]);
    let profile = tape.profile(&y);
    assert_eq!(profile.kernels.len(), 3, "{profile}");
    assert!(profile.kernels.iter().all(|k| k.median > std::time::Duration::ZERO), "{profile}");
    // What lives within the chain has room for a part on each thread, of which other tests change the number.
    let part = 2 * 500 * 20 * 4;
    assert!((1..=8).any(|threads| profile.peak_bytes == 2 * threads * part), "{profile}");
}
