//! Does every optimizer do what its paper says, resume exactly, leave alone what is not trained, and pass derivatives?
//! The numbers are those of `tests/reference/worked/worked.py`.

extern crate wengert_core as wengert;

mod numbers;

use numbers::{assert_close, number, panic_of};
use wengert::{Array, DType, Tape, Tensor, Tree};
use wengert_derive::Tree;
use wengert_nn::{
    Adam, AdamW, Bind, Hyper, Layer, Linear, Pass, Reduction, Sgd, Tanh, clip_by_norm, from_bytes, global_norm, grads, mse_loss, to_bytes,
};

/// A model whose parameter is optimized while the rest stays.
#[derive(Clone, Debug, PartialEq, Tree)]
struct Net<P = Array> {
    p: P,
    #[tree(frozen)]
    a: P,
    #[tree(state)]
    count: P,
}

fn net() -> Net {
    Net { p: number("optim.start"), a: number("optim.a"), count: Array::from(3) }
}

/// `Σ a p²/2 + p³/10`.
fn height<'t>(m: &Net<Tensor<'t>>) -> Tensor<'t> {
    (m.a * m.p * m.p / 2.0 + m.p * m.p * m.p / 10.0).sum()
}

/// Runs steps of an optimizer given as two functions, saving and loading everything in between.
fn run<S: Tree<Array> + Clone + PartialEq + std::fmt::Debug>(
    start: Net,
    state: S,
    steps: usize,
    step: impl for<'t> Fn(&Net<Tensor<'t>>, &Net<Tensor<'t>>, &S::With<Tensor<'t>>) -> (Net<Tensor<'t>>, S::With<Tensor<'t>>),
) -> (Net, S) {
    let (mut model, mut state) = (start, state);
    for _ in 0..steps {
        let tape = Tape::new();
        let (m, s) = (model.on(&tape), state.on(&tape));
        let next = step(&m, &grads(height(&m), &m), &s);
        tape.update((&mut model, &mut state), next);
        let bytes = to_bytes(&Both { model: model.clone(), state: state.clone() }).unwrap();
        let mut resumed = Both { model: net().cast(model.p.dtype()), state: state.clone() };
        resumed.state.visit_mut(|_, _, a: &mut Array| *a = Array::zeros(a.dtype(), *a.shape()));
        from_bytes(&mut resumed, &bytes).unwrap();
        (model, state) = (resumed.model, resumed.state);
    }
    (model, state)
}

#[derive(Clone, Debug, PartialEq, Tree)]
struct Both<M, S> {
    model: M,
    state: S,
}

/// All of an optimizer's checks that need no derivatives.
macro_rules! check {
    ($name:literal, $optimizer:expr) => {{
        let optimizer = $optimizer;
        let state = optimizer.init(&net());
        let (end, _) = run(net(), state, 5, |m, g, s| optimizer.step(m, g, s));
        assert_close(&end.p, &number(concat!("optim.", $name)), 1e-12);
        assert_eq!((&end.a, &end.count), (&net().a, &net().count), "what is not trained stays");
        let narrow = net().cast(DType::F32);
        let (end, _) = run(narrow.clone(), optimizer.init(&narrow), 5, |m, g, s| optimizer.step(m, g, s));
        assert_eq!(end.p.dtype(), DType::F32);
        assert_close(&end.p.cast(DType::F64), &number(concat!("optim.", $name)), 3e-6);
    }};
}

#[test]
fn five_steps_are_those_of_the_papers() {
    check!("sgd", Sgd::new(0.1));
    check!("sgd_decay", Sgd { weight_decay: 0.05.into(), ..Sgd::new(0.1) });
    check!("momentum", Sgd { momentum: 0.9.into(), ..Sgd::new(0.1) });
    check!("nesterov", Sgd { momentum: 0.9.into(), nesterov: true, weight_decay: 0.05.into(), ..Sgd::new(0.1) });
    check!("adam", Adam::new(0.01));
    check!("adam_decay", Adam { weight_decay: 0.05.into(), ..Adam::new(0.01) });
    let settings = Adam { beta1: 0.5.into(), beta2: 0.9.into(), eps: 1e-3.into(), eps_root: 1e-4.into(), ..Adam::new(0.05) };
    check!("adam_settings", settings);
    check!("adamw", AdamW { weight_decay: 0.1.into(), ..AdamW::new(0.01) });
}

#[test]
fn state_has_the_paths_of_the_model_and_room_for_parameters_only() {
    let (end, state) = run(net(), Adam::new(0.01).init(&net()), 2, |m, g, s| Adam::new(0.01).step(m, g, s));
    assert_eq!(state.paths(), ["step", "m.p", "m.a", "m.count", "v.p", "v.a", "v.count"]);
    assert_eq!((state.step.item(), state.step.dtype()), (2.0, DType::I64));
    assert_eq!((state.m.a.size(), state.m.p.size(), end.count), (1, 4, Array::from(3)));
    assert!(Tree::<Array>::paths(&Sgd::new(0.1).init(&net())).is_empty());
}

#[test]
fn a_state_of_another_optimizer_is_refused() {
    let heavy = Sgd { momentum: 0.9.into(), ..Sgd::new(0.1) };
    let tape = Tape::new();
    let m = net().on(&tape);
    let state = Sgd::new(0.1).init(&net()).on(&tape);
    let text = panic_of(|| heavy.step(&m, &m, &state));
    assert!(text.contains("made without momentum"), "{text}");
}

type Mlp<P = Array> = (Linear<P>, wengert_nn::Activation, Linear<P>);

fn mlp() -> Mlp {
    (Linear::new(3, 4, 1).cast(DType::F64), Tanh, Linear::new(4, 1, 2).cast(DType::F64))
}

/// The error of a small network on fixed data.
fn error<'t>(m: &Mlp<Tensor<'t>>, tape: &'t Tape) -> Tensor<'t> {
    let x = tape.constant(&Array::uniform(DType::F64, [5, 3], -1.0, 1.0, 3));
    let y = tape.constant(&Array::uniform(DType::F64, [5, 1], -1.0, 1.0, 4));
    mse_loss(m.forward(x, &Pass::eval()), y, Reduction::Mean)
}

/// What an optimizer does of three steps, for some setting.
type Run = for<'t> fn(Mlp<Tensor<'t>>, Hyper<'t>, &'t Tape) -> Mlp<Tensor<'t>>;

/// Three steps on one tape with an optimizer made from the setting.
macro_rules! three_steps {
    (|$h:ident| $optimizer:expr) => {
        |m, $h, tape| {
            let optimizer = $optimizer;
            let (mut m, mut s) = (m, optimizer.init(&mlp()).on(tape));
            for _ in 0..3 {
                (m, s) = optimizer.step(&m, &grads(error(&m, tape), &m), &s);
            }
            m
        }
    };
}

#[test]
fn steps_are_differentiable_in_settings_and_initial_weights() {
    let smooth = |h: f64| Adam { eps_root: 1e-3.into(), ..Adam::new(h) };
    assert!(!matches!(smooth(0.1).eps_root, Hyper::Tensor(_)));
    let cases: [(&str, f64, Run); 8] = [
        ("adam lr", 0.05, three_steps!(|h| Adam { eps_root: 1e-3.into(), ..Adam::new(h) })),
        ("adam beta1", 0.8, three_steps!(|h| Adam { eps_root: 1e-3.into(), beta1: h, ..Adam::new(0.05) })),
        ("adam beta2", 0.9, three_steps!(|h| Adam { eps_root: 1e-3.into(), beta2: h, ..Adam::new(0.05) })),
        ("adam eps", 0.1, three_steps!(|h| Adam { eps_root: 1e-3.into(), eps: h, ..Adam::new(0.05) })),
        ("adam eps_root", 0.01, three_steps!(|h| Adam { eps_root: h, ..Adam::new(0.05) })),
        ("adamw decay", 0.1, three_steps!(|h| AdamW { weight_decay: h, adam: Adam { eps_root: 1e-3.into(), ..Adam::new(0.05) } })),
        ("sgd momentum", 0.9, three_steps!(|h| Sgd { momentum: h, ..Sgd::new(0.1) })),
        ("nesterov decay", 0.1, three_steps!(|h| Sgd { momentum: 0.9.into(), nesterov: true, weight_decay: h, ..Sgd::new(0.1) })),
    ];
    for (name, setting, run) in cases {
        let end = |model: &Mlp, setting: f64| {
            let tape = Tape::new();
            let h = tape.leaf(&Array::from(setting));
            error(&run(model.on(&tape), h.into(), &tape), &tape).item()
        };
        let tape = Tape::new();
        let (m, h) = (mlp().on(&tape), tape.leaf(&Array::from(setting)));
        let last = error(&run(m.clone(), h.into(), &tape), &tape);
        let (gm, gh) = tape.eval(&grads(last, &(m, h)));
        let step = 1e-5;
        let by_setting = (end(&mlp(), setting + step) - end(&mlp(), setting - step)) / (2.0 * step);
        assert!((gh.item() - by_setting).abs() < 1e-7 * (1.0 + by_setting.abs()), "{name}: {} and {by_setting}", gh.item());
        assert!(by_setting.abs() > 1e-7, "{name}: {by_setting} is no test");
        for (leaf, i) in [(0, 0), (0, 7), (1, 2), (2, 1), (3, 0)] {
            let at = |h: f64| {
                let mut model = mlp();
                model.leaves_mut()[leaf].as_mut_slice::<f64>()[i] += h;
                end(&model, setting)
            };
            let (g, d) = (gm.leaves()[leaf].to_f64_vec()[i], (at(step) - at(-step)) / (2.0 * step));
            assert!((g - d).abs() < 1e-7 * (1.0 + d.abs()), "{name}: leaf {leaf}, element {i}: {g} and {d}");
        }
    }
}

#[test]
fn clipping_shortens_what_is_too_long() {
    let tape = Tape::new();
    let g = Net { p: Array::from([3.0, 4.0]), a: Array::from([100.0]), count: Array::from(0) }.on(&tape);
    assert_eq!(global_norm(&g).item(), 5.0);
    let (short, same) = tape.eval(&(clip_by_norm(&g, 1.0), clip_by_norm(&g, 5.0)));
    assert_close(&short.p, &Array::from([0.6, 0.8]), 1e-15);
    assert_eq!((same.p, short.a), (Array::from([3.0, 4.0]), Array::from([100.0])));
    let zero = tape.leaf(&Array::from([0.0, 0.0]));
    assert_eq!(clip_by_norm(&zero, 1.0).value(), Array::from([0.0, 0.0]));
    let [slope] = global_norm(&zero).grad([zero]);
    assert_eq!(slope.value(), Array::from([0.0, 0.0]));
    assert!(panic_of(|| clip_by_norm(&zero, 0.0)).contains("expected a positive length"));
}
