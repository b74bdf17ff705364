//! The same steps recorded once and kept as programs: run one by one, or a thousand times inside one call.

use crate::step::{Loss, arrays};
use bed::{Init, Job};
use wengert::{
    Array, Program, Tape, Tensor, Tree,
    nn::{Adam, Bind, Sgd, grads},
};

/// Steps in one call of a loop.
const LOOP: usize = 1000;

type Step<S> = Program<(S, ()), (S, Array)>;

pub fn sgd(model: Vec<Init>, loss: Loss, variant: &str) -> Box<dyn Job> {
    let (model, sgd, tape) = (arrays(model), Sgd::new(0.01), Tape::new());
    let start = (model.clone(), sgd.init(&model));
    let (m, s) = (start.0.on(&tape), start.1.on(&tape));
    let value = loss(&tape, &m);
    let next = sgd.step(&m, &grads(value, &m), &s);
    Kept::job(tape.compile(&((m, s), ()), &(next, value)), start, variant)
}

pub fn adam(model: Vec<Init>, loss: Loss, variant: &str) -> Box<dyn Job> {
    let (model, adam, tape) = (arrays(model), Adam::new(1e-4), Tape::new());
    let start = (model.clone(), adam.init(&model));
    let (m, s) = (start.0.on(&tape), start.1.on(&tape));
    let value = loss(&tape, &m);
    let next = adam.step(&m, &grads(value, &m), &s);
    Kept::job(tape.compile(&((m, s), ()), &(next, value)), start, variant)
}

/// A training step, and what it goes on from.
struct Kept<S> {
    step: Step<S>,
    state: Option<S>,
    rounds: usize,
}

impl<S: Tree<Array, With<Array> = S> + 'static> Kept<S> {
    fn job(step: Step<S>, start: S, variant: &str) -> Box<dyn Job> {
        let rounds = if variant == "program" { 1 } else { LOOP };
        Box::new(Kept { step, state: Some(start), rounds })
    }

    fn run(&mut self, rounds: usize) -> f64 {
        let (next, loss) = self.step.run_loop(rounds, self.state.take().expect("of the last step"), &());
        self.state = Some(next);
        loss.item()
    }
}

impl<S: Tree<Array, With<Array> = S> + 'static> Job for Kept<S> {
    fn step(&mut self) -> f64 {
        self.run(self.rounds)
    }

    fn steps_in_a_call(&self) -> usize {
        self.rounds
    }

    fn first_losses(&mut self) -> [f64; 2] {
        [self.run(1), self.run(10)]
    }
}

/// A value and its gradient, into the same memory every time.
struct Gradient {
    program: Program<Vec<Array>, (Array, Vec<Array>)>,
    inputs: Vec<Array>,
    outputs: (Array, Vec<Array>),
}

pub fn gradient(inputs: Vec<Array>, loss: impl for<'t> Fn(&'t Tape, &[Tensor<'t>]) -> Tensor<'t>) -> Box<dyn Job> {
    let tape = Tape::new();
    let x = inputs.on(&tape);
    let value = loss(&tape, &x);
    let program = tape.compile(&x, &(value, value.grad(&x)));
    let outputs = program.run(&inputs);
    Box::new(Gradient { program, inputs, outputs })
}

impl Job for Gradient {
    fn step(&mut self) -> f64 {
        self.program.try_run_into(&self.inputs, &mut self.outputs).expect("inputs as compiled");
        self.outputs.0.item()
    }

    fn check(&self) -> Option<f64> {
        Some(self.outputs.1.iter().flat_map(Array::to_f64_vec).map(f64::abs).sum())
    }
}
