//! Does a program that is kept compute what its recording would, in loops and from any thread, and does it refuse what it must?

use smallvec::smallvec;
use std::thread;
use wengert::{
    Array, Attrs, Cx, DType, Function, Key, Meta, Mismatch, OpDef, Program, ProgramError, Sample, Tangents, Tape, Tensor, Tree, Typed,
    nn::{Activation, Adam, Bind, Layer, Linear, Pass, Reduction, Sgd, Tanh, cross_entropy, grads, mse_loss},
};

type Net<P = Array> = (Linear<P>, Activation, Linear<P>);

fn net() -> Net {
    (Linear::new(4, 8, 1), Tanh, Linear::new(8, 3, 2))
}

fn batch(seed: u64) -> (Array, Array) {
    (Array::uniform(DType::F32, [6, 4], -1.0, 1.0, seed), Array::uniform(DType::F32, [6, 3], -1.0, 1.0, seed + 1))
}

fn bits<T: Tree<Array>>(tree: &T) -> Vec<Vec<u64>> {
    tree.leaves().into_iter().map(|a| a.to_f64_vec().into_iter().map(f64::to_bits).collect()).collect()
}

#[test]
fn a_program_is_send_and_sync() {
    fn any_thread<T: Send + Sync>() {}
    any_thread::<Program<(Array, Vec<Array>), Net>>();
}

#[test]
fn runs_from_several_threads_give_the_bits_of_the_tape() {
    let model = net();
    let tape = Tape::new();
    let (x, m) = (tape.leaf(&batch(1).0), model.on(&tape));
    let y = m.forward(x, &Pass::eval());
    y.value(); // what has been read already is no input of the program
    let (slope, infer) = (y.square().sum().grad(x), tape.compile(&x, &y));
    let both = tape.compile(&x, &(y, slope));
    drop(tape);
    let by_tape = |x: &Array| {
        let tape = Tape::new();
        let x = tape.leaf(x);
        let y = model.on(&tape).forward(x, &Pass::eval());
        tape.eval(&(y, y.square().sum().grad(x)))
    };
    thread::scope(|s| {
        for t in 0..4 {
            let (infer, both, by_tape) = (&infer, &both, &by_tape);
            s.spawn(move || {
                let mut again = infer.run(&batch(0).0);
                for i in 0..50 {
                    let x = batch(10 * t + i).0;
                    let expected = by_tape(&x);
                    assert_eq!(bits(&both.run(&x)), bits(&expected));
                    infer.try_run_into(&x, &mut again).unwrap();
                    assert_eq!(bits(&again), bits(&expected.0));
                }
            });
        }
    });
}

#[test]
fn a_loop_trains_as_steps_on_tapes_do() {
    let (x, t) = batch(3);
    let sgd = Sgd { momentum: 0.9.into(), ..Sgd::new(0.05) };
    let (mut model, mut state) = (net(), sgd.init(&net()));
    let tape = Tape::new();
    let (m, s, data) = (model.on(&tape), state.on(&tape), (tape.constant(&x), tape.constant(&t)));
    let loss = mse_loss(m.forward(data.0, &Pass::eval()), data.1, Reduction::Mean);
    let next = sgd.step(&m, &grads(loss, &m), &s);
    let step = tape.compile(&((m, s), data), &(next, loss));
    let mut losses = Vec::new();
    for _ in 0..25 {
        let tape = Tape::new();
        let (m, s) = (model.on(&tape), state.on(&tape));
        let loss = mse_loss(m.forward(tape.constant(&x), &Pass::eval()), tape.constant(&t), Reduction::Mean);
        let next = sgd.step(&m, &grads(loss, &m), &s);
        losses.push(tape.eval_and_update(&loss, (&mut model, &mut state), next));
    }
    for rounds in [1, 2, 3, 25] {
        let start = (net(), sgd.init(&net()));
        let kept = start.clone(); // held elsewhere, so the loop has to leave it alone
        let ((m, s), loss) = step.run_loop(rounds, start, &(x.clone(), t.clone()));
        assert_eq!(loss, losses[rounds - 1], "{rounds} rounds");
        assert_eq!(bits(&kept.0), bits(&net()));
        if rounds == 25 {
            assert_eq!((bits(&m), bits(&s)), (bits(&model), bits(&state)));
        }
    }
    // A loop that goes on where another ended.
    let (middle, _) = step.run_loop(10, (net(), sgd.init(&net())), &(x.clone(), t.clone()));
    let ((m, _), _) = step.run_loop(15, middle, &(x, t));
    assert_eq!(bits(&m), bits(&model));
}

#[test]
fn adam_goes_round_with_its_counter() {
    let x = Array::uniform(DType::F32, [5, 4], -1.0, 1.0, 1);
    let labels = Array::new([5], vec![0i64, 2, 1, 1, 0]);
    let adam = Adam::new(0.01);
    let tape = Tape::new();
    let start = (net(), adam.init(&net()));
    let ((m, s), data) = ((start.0.on(&tape), start.1.on(&tape)), (tape.constant(&x), tape.constant(&labels)));
    let loss = cross_entropy(m.forward(data.0, &Pass::eval()), data.1, Reduction::Mean);
    let next = adam.step(&m, &grads(loss, &m), &s);
    let step = tape.compile(&((m, s), data), &(next, loss));
    let data = (x, labels);
    let mut one_by_one = (net(), adam.init(&net()));
    for _ in 0..7 {
        one_by_one = step.run(&(one_by_one, data.clone())).0;
    }
    let (at_once, _) = step.run_loop(7, start, &data);
    assert_eq!((bits(&at_once.0), bits(&at_once.1)), (bits(&one_by_one.0), bits(&one_by_one.1)));
}

#[test]
fn states_that_change_places_and_pass_through() {
    let tape = Tape::new();
    let v = |v: f64| Array::from([v, v + 0.5]);
    let [a, b, c, d] = [1.0, 2.0, 3.0, 4.0].map(|x| tape.leaf(&v(x)));
    let fixed = tape.constant(&v(9.0));
    // b and its predecessor, a sum twice, a constant, an input as it is, and a view of another.
    let next = (b, a + b, [c + d, c + d], (fixed, d.flip(&[0])));
    let program = tape.compile(&((a, b, [c, d], (tape.leaf(&v(0.0)), tape.leaf(&v(0.0)))), ()), &(next, (a, b.reshape([2, 1]))));
    let start = || (v(1.0), v(2.0), [v(3.0), v(4.0)], (v(5.0), v(6.0)));
    let (mut state, mut last) = (start(), None);
    for rounds in 1..6 {
        let (next, seen) = program.run(&(state, ()));
        (state, last) = (next, Some(seen).or(last));
        let (at_once, seen) = program.run_loop(rounds, start(), &());
        assert_eq!((bits(&at_once), Some(bits(&seen))), (bits(&state), last.as_ref().map(bits)), "{rounds} rounds");
    }
}

#[test]
fn scalars_and_keys_are_inputs_where_they_are_named() {
    let tape = Tape::new();
    let (x, rate, key) = (tape.leaf(&Array::from([1.0, 2.0])), tape.scalar(DType::F64, 1), tape.key(Key::new(1)));
    let noise = tape.uniform(DType::F64, 2, key);
    let free = tape.compile(&((x, rate), key), &((x * rate + noise, rate * 2.0), noise));
    let held = tape.compile(&x, &(x * rate + noise));
    for seed in 0..3 {
        let drawn = Tape::new().uniform(DType::F64, 2, Key::new(seed)).value();
        let (one, rate) = (Array::from([1.0, 1.0]), Array::from(0.5 + seed as f64));
        let ((y, twice), noise) = free.run(&((one.clone(), rate.clone()), Array::key(Key::new(seed))));
        assert_eq!((noise, twice.item()), (drawn.clone(), 2.0 * rate.item()));
        assert_eq!(y.to_vec::<f64>(), [0, 1].map(|i| rate.item() + drawn.get(&[i])));
        assert_eq!(held.run(&one), held.run(&one.clone()));
        // The scalar goes round, doubled each time.
        let ((_, after), _) = free.run_loop(4, (one, rate.clone()), &Array::key(Key::new(seed)));
        assert_eq!(after.item(), 16.0 * rate.item());
    }
}

/// `x`, if none of it is negative.
struct Refusing;

impl Function for Refusing {
    const NAME: &'static str = "refusing";
    fn shape(_: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
        Typed::like(0, x)
    }
    fn value(_: &Attrs, x: &[Array]) -> Result<Array, String> {
        if x[0].to_f64_vec().iter().any(|&v| v < 0.0) { Err("a negative element".into()) } else { Ok(x[0].clone()) }
    }
    fn vjp<'t>(_: &Cx<'t>, g: Tensor<'t>) -> Tangents<'t> {
        smallvec![Some(g)]
    }
    fn samples() -> Vec<Sample> {
        vec![Sample::new([Array::from([1.0, 2.0])])]
    }
}

static REFUSING: OpDef = OpDef::function::<Refusing>();

#[test]
fn errors_say_what_is_wrong() {
    let tape = Tape::new();
    let (x, index) = (tape.leaf(&Array::from([1.0, 2.0, 3.0])), tape.leaf(&Array::from([0i64, 1])));
    let pick = tape.compile(&vec![x, index], &x.index_select(0, index));
    let (good, index) = (Array::from([1.0, 2.0, 3.0]), Array::from([2i64, 0]));
    assert_eq!(pick.run(&vec![good.clone(), index.clone()]), Array::from([3.0, 1.0]));
    let error = |inputs: Vec<Array>| pick.try_run(&inputs).unwrap_err();
    assert_eq!(error(vec![good.clone()]), ProgramError::Count { expected: 2, got: 1 });
    let wrong = error(vec![Array::from([1.0, 2.0]), index.clone()]).to_string();
    assert_eq!(wrong, "input `0` of a program: expected f64[3], got f64[2]");
    let wrong = error(vec![good.clone(), Array::from([2.0, 0.0])]).to_string();
    assert_eq!(wrong, "input `1` of a program: expected i64[2], got f64[2]");
    let ProgramError::Eval(fault) = error(vec![good.clone(), Array::from([2i64, 3])]) else { panic!("expected a fault") };
    assert!(fault.location.contains("kept_programs.rs") && fault.reason.contains('3'), "{fault}");
    assert_eq!(pick.run(&vec![good.clone(), index]), Array::from([3.0, 1.0]), "it runs on");

    let tape = Tape::new();
    let x = tape.leaf(&good);
    let minus = tape.compile(&(x, ()), &(x.op(&REFUSING, [], &[]) - 1.0, ()));
    assert_eq!(minus.run_loop(2, good.clone(), &()).0, Array::from([-1.0, 0.0, 1.0]));
    let fault = minus.try_run_loop(3, good, &()).unwrap_err();
    assert!(fault.to_string().contains("a negative element"), "{fault}");
}

#[test]
fn an_intermediate_result_can_be_an_input() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::from([1.0, 2.0]));
    let h = x.exp();
    let y = (h * h).sum();
    assert_eq!(tape.compile(&h, &y).run(&Array::from([3.0, 4.0])).item(), 25.0);
    assert_eq!(tape.compile(&x, &y).run(&Array::from([0.0, 0.0])).item(), 2.0);
    assert!((y.item() - (2f64.exp() + 4f64.exp())).abs() < 1e-12, "the tape's own values are as they were");
}

#[test]
#[should_panic(expected = "compile: expected each input once")]
fn an_input_is_named_once() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::from([1.0]));
    tape.compile(&(x, x), &(x + x));
}

#[test]
#[should_panic(expected = "expected leaf 0 of the next state")]
fn a_state_keeps_its_shape() {
    let tape = Tape::new();
    let x = tape.leaf(&Array::from([1.0, 2.0]));
    tape.compile(&(x, ()), &(x.sum(), ())).run_loop(2, Array::from([1.0, 2.0]), &());
}
