//! The workloads in dfdx.

use bed::{
    Init, Job, Worker, labels,
    workloads::{self, CHAIN},
};
use dfdx::{
    nn::modules::Linear as Layer,
    optim::{Adam, AdamConfig, Sgd, SgdConfig},
    prelude::*,
};

type Loss = Tensor<Rank0, f32, Cpu, OwnedTape<f32, Cpu>>;
type Vector = Tensor<Rank1<4_194_304>, f32, Cpu>;
type Logits = Tensor<Rank2<512, 32_000>, f32, Cpu>;
type Scalar = Tensor<Rank0, f32, Cpu>;

type Tiny = ((Linear<2, 16>, Tanh), (Linear<16, 16>, Tanh), Linear<16, 1>);
type Digits = ((Linear<64, 128>, ReLU), (Linear<128, 64>, ReLU), Linear<64, 10>);
type Mnist = ((Linear<784, 512>, ReLU), (Linear<512, 512>, ReLU), Linear<512, 10>);

fn main() {
    bed::main(&Worker {
        peer: "dfdx",
        version: "0.13.0",
        offers: &[("W1", "eager"), ("W2", "eager"), ("W3", "eager"), ("W7", "eager"), ("W8", "eager"), ("W9", "eager")],
        missing: &[
            ("W4", "convolutions need a nightly compiler"),
            ("W5", "not written"),
            ("W6", "not written"),
            ("W10", "gradients cannot be differentiated again"),
            ("W11", "not written"),
        ],
        prepare: |workload, _| prepare(workload),
    });
}

fn prepare(workload: &str) -> Box<dyn Job> {
    let dev = Cpu::default();
    match workload {
        "W1" => {
            let mut net = dev.build_module::<Tiny, f32>();
            let p = workloads::mlp(1000, &workloads::TINY);
            (set(&mut net.0.0, &p[..2]), set(&mut net.1.0, &p[2..4]), set(&mut net.2, &p[4..]));
            let (x, t): (Tensor<Rank2<32, 2>, f32, _>, Tensor<Rank2<32, 1>, f32, _>) = (dev.zeros(), dev.zeros());
            let (x, t) = (fill(x, &Init::new(1500, &[32, 2], 1.0)), fill(t, &Init::new(1501, &[32, 1], 1.0)));
            let sgd = Sgd::new(&net, SgdConfig { lr: 0.01, momentum: None, weight_decay: None });
            Training::prepare(net, sgd, move |net, grads| mse_loss(net.forward(x.trace(grads)), t.clone()))
        }
        "W2" => {
            let mut net = dev.build_module::<Digits, f32>();
            let p = workloads::mlp(2000, &workloads::DIGITS);
            (set(&mut net.0.0, &p[..2]), set(&mut net.1.0, &p[2..4]), set(&mut net.2, &p[4..]));
            let x: Tensor<Rank2<64, 64>, f32, _> = fill(dev.zeros(), &Init::new(2500, &[64, 64], 1.0));
            let t = classes::<64>(2501, 10);
            let adam = Adam::new(&net, settings());
            Training::prepare(net, adam, move |net, grads| cross_entropy(net.forward(x.trace(grads)), &t))
        }
        "W3" => {
            let mut net = dev.build_module::<Mnist, f32>();
            let p = workloads::mlp(3000, &workloads::MNIST);
            (set(&mut net.0.0, &p[..2]), set(&mut net.1.0, &p[2..4]), set(&mut net.2, &p[4..]));
            let x: Tensor<Rank2<128, 784>, f32, _> = fill(dev.zeros(), &Init::new(3500, &[128, 784], 1.0));
            let t = classes::<128>(3501, 10);
            let adam = Adam::new(&net, settings());
            Training::prepare(net, adam, move |net, grads| cross_entropy(net.forward(x.trace(grads)), &t))
        }
        "W7" => {
            let x: Vector = fill(dev.zeros(), &Init::new(7500, &[4_194_304], 3.0));
            let inputs = x.clone();
            Gradient::prepare(move || chain(&x), move |grads| absolute(&grads.get(&inputs).as_vec()))
        }
        "W8" => {
            let x: Logits = fill(dev.zeros(), &Init::new(8500, &workloads::LOGITS, 4.0));
            let (t, inputs) = (classes::<512>(8501, 32_000), x.clone());
            Gradient::prepare(move || cross_entropy(x.leaky_trace(), &t), move |grads| absolute(&grads.get(&inputs).as_vec()))
        }
        "W9" => {
            let s: [Scalar; 3] = [0.5, 1.0, 0.0].map(|v| dev.tensor(v));
            let inputs = s.clone();
            Gradient::prepare(move || scalar_chain(&s), move |grads| inputs.iter().map(|x| absolute(&grads.get(x).as_vec())).sum())
        }
        _ => unreachable!("not offered: {workload}"),
    }
}

fn settings() -> AdamConfig {
    AdamConfig { lr: 1e-4, betas: [0.9, 0.999], eps: 1e-8, weight_decay: None }
}

fn fill<S: Shape>(mut x: Tensor<S, f32, Cpu>, init: &Init) -> Tensor<S, f32, Cpu> {
    x.copy_from(&init.to_f32());
    x
}

/// Weights are kept as `[out, in]`.
fn set<const I: usize, const O: usize>(layer: &mut Layer<I, O, f32, Cpu>, init: &[Init]) {
    let values = init[0].to_f32();
    let turned: Vec<f32> = (0..O * I).map(|at| values[at % I * O + at / I]).collect();
    layer.weight.copy_from(&turned);
    layer.bias.copy_from(&init[1].to_f32());
}

fn classes<const N: usize>(seed: u64, classes: usize) -> Tensor<Rank1<N>, usize, Cpu> {
    let all: Vec<usize> = labels(seed, N, classes).into_iter().map(|c| c as usize).collect();
    Cpu::default().tensor(<[usize; N]>::try_from(all).expect("as many labels"))
}

fn cross_entropy<const N: usize, const C: usize>(
    logits: Tensor<Rank2<N, C>, f32, Cpu, OwnedTape<f32, Cpu>>,
    t: &Tensor<Rank1<N>, usize, Cpu>,
) -> Loss {
    logits.log_softmax::<Axis<1>>().select(t.clone()).mean().negate()
}

fn chain(x: &Vector) -> Loss {
    let gated = x.leaky_trace().sigmoid() * x.clone();
    let y = gated + x.leaky_trace().square().tanh() * 0.5 - (x.leaky_trace().negate().exp() + 1.0).ln();
    y.square().mean()
}

fn scalar_chain(s: &[Scalar; 3]) -> Loss {
    (0..CHAIN).fold(s[0].leaky_trace(), |v, k| match k % 3 {
        0 => v * s[1].clone(),
        1 => v + s[2].clone(),
        _ => v.tanh(),
    })
}

fn absolute(x: &[f32]) -> f64 {
    x.iter().map(|&v| f64::from(v).abs()).sum()
}

struct Training<M, O, F> {
    net: M,
    optimizer: O,
    loss: F,
    grads: Option<Gradients<f32, Cpu>>,
}

impl<M, O, F> Training<M, O, F>
where
    M: ZeroGrads<f32, Cpu> + 'static,
    O: Optimizer<M, Cpu, f32> + 'static,
    F: Fn(&M, Gradients<f32, Cpu>) -> Loss + 'static,
{
    fn prepare(net: M, optimizer: O, loss: F) -> Box<dyn Job> {
        let grads = Some(net.alloc_grads());
        Box::new(Training { net, optimizer, loss, grads })
    }
}

impl<M, O, F> Job for Training<M, O, F>
where
    M: ZeroGrads<f32, Cpu>,
    O: Optimizer<M, Cpu, f32>,
    F: Fn(&M, Gradients<f32, Cpu>) -> Loss,
{
    fn step(&mut self) -> f64 {
        let loss = (self.loss)(&self.net, self.grads.take().expect("of the last step"));
        let value = loss.array();
        let mut grads = loss.backward();
        self.optimizer.update(&mut self.net, &grads).expect("every parameter is used");
        self.net.zero_grads(&mut grads);
        self.grads = Some(grads);
        f64::from(value)
    }
}

struct Gradient<F, C> {
    loss: F,
    total: C,
    grads: Option<Gradients<f32, Cpu>>,
}

impl<F: Fn() -> Loss + 'static, C: Fn(&Gradients<f32, Cpu>) -> f64 + 'static> Gradient<F, C> {
    fn prepare(loss: F, total: C) -> Box<dyn Job> {
        Box::new(Gradient { loss, total, grads: None })
    }
}

impl<F: Fn() -> Loss, C: Fn(&Gradients<f32, Cpu>) -> f64> Job for Gradient<F, C> {
    fn step(&mut self) -> f64 {
        self.grads = None;
        let loss = (self.loss)();
        let value = loss.array();
        self.grads = Some(loss.backward());
        f64::from(value)
    }

    fn check(&self) -> Option<f64> {
        self.grads.as_ref().map(&self.total)
    }
}
