//! Where does a step of a workload spend its time? `wengert-worker profile W3` shows its profile and its plan.

use crate::{
    losses,
    step::{Loss, arrays},
};
use bed::{Init, workloads};
use wengert::{
    Array, Tape,
    nn::{Adam, Bind, Sgd, grads},
};

/// Prints the profile of a step of this workload, then the plan. False if there is no such workload.
pub fn show(workload: &str) -> bool {
    match workload {
        "W1" => training(workloads::mlp(1000, &workloads::TINY), losses::tiny(), false),
        "W2" => training(workloads::mlp(2000, &workloads::DIGITS), losses::digits(), true),
        "W3" => training(workloads::mlp(3000, &workloads::MNIST), losses::mnist(), true),
        "W4" => training(workloads::cnn(), losses::cnn(), true),
        "W5" => training(workloads::lstm(), losses::lstm(), true),
        "W6" => training(workloads::transformer(), losses::transformer(), true),
        "W7" => gradient(&losses::chain_input(), Box::new(losses::chain)),
        "W8" => gradient(&losses::logits_input(), Box::new(losses::logits())),
        "W11" => gradient(&losses::mixture_input(), Box::new(losses::mixture())),
        _ => return false,
    }
    true
}

fn training(model: Vec<Init>, loss: Loss, adam: bool) {
    let (model, tape) = (arrays(model), Tape::new());
    let m = model.on(&tape);
    let value = loss(&tape, &m);
    let gradients = grads(value, &m);
    if adam {
        let next = Adam::new(1e-4).step(&m, &gradients, &Adam::new(1e-4).init(&model).on(&tape));
        println!("{}\n{}", tape.profile(&(value, next.clone())), tape.plan(&(value, next)));
    } else {
        let next = Sgd::new(0.01).step(&m, &gradients, &Sgd::new(0.01).init(&model).on(&tape));
        println!("{}\n{}", tape.profile(&(value, next.clone())), tape.plan(&(value, next)));
    }
}

fn gradient(inputs: &Vec<Array>, loss: Loss) {
    let tape = Tape::new();
    let x = inputs.on(&tape);
    let value = loss(&tape, &x);
    let result = (value, value.grad(&x));
    println!("{}\n{}", tape.profile(&result), tape.plan(&result));
}
