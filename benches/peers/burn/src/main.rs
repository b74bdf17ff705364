//! The workloads in burn, on its `flex` backend.

use bed::{
    Init, Job, Worker, labels,
    workloads::{self, BLOCK, CHAIN, LOGITS, LSTM},
};
use burn::{
    module::{Module, Param},
    optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig},
    tensor::{
        Device, Gradients, Int, Tensor, TensorData,
        activation::{gelu_approximate, log_softmax, relu, sigmoid, softmax},
        module::{conv2d, layer_norm, linear, max_pool2d},
        ops::{ConvOptions, MaxPoolOptions},
    },
};

/// The parameters of a workload, by their ranks, in the order of its definition.
#[derive(Module, Debug)]
struct Net {
    kernels: Vec<Param<Tensor<4>>>,
    weights: Vec<Param<Tensor<2>>>,
    vectors: Vec<Param<Tensor<1>>>,
}

impl Net {
    fn new(inits: &[Init], device: &Device) -> Net {
        fn of<const D: usize>(inits: &[Init], device: &Device) -> Vec<Param<Tensor<D>>> {
            let rank = inits.iter().filter(|i| i.shape.len() == D);
            rank.map(|i| Param::from_data(TensorData::new(i.to_f32(), i.shape.clone()), device)).collect()
        }
        Net { kernels: of(inits, device), weights: of(inits, device), vectors: of(inits, device) }
    }

    fn weight(&self, i: usize) -> Tensor<2> {
        self.weights[i].val()
    }

    fn vector(&self, i: usize) -> Tensor<1> {
        self.vectors[i].val()
    }

    /// Fully connected layers from `first` weight matrix on; their biases are the last vectors.
    fn mlp(&self, mut x: Tensor<2>, activation: fn(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        let (n, skip) = (self.weights.len(), self.vectors.len() - self.weights.len());
        for i in 0..n {
            x = linear(x, self.weight(i), Some(self.vector(i + skip)));
            if i + 1 < n {
                x = activation(x);
            }
        }
        x
    }
}

type Loss = Box<dyn Fn(&Net) -> Tensor<1>>;

fn main() {
    bed::main(&Worker {
        peer: "burn",
        version: "0.23.0-pre.1",
        offers: &[
            ("W1", "flex"),
            ("W2", "flex"),
            ("W3", "flex"),
            ("W4", "flex"),
            ("W5", "flex"),
            ("W6", "flex"),
            ("W7", "flex"),
            ("W8", "flex"),
            ("W9", "flex"),
        ],
        missing: &[("W10", "gradients cannot be differentiated again"), ("W11", "not written")],
        prepare: |workload, _| prepare(workload),
    });
}

fn prepare(workload: &str) -> Box<dyn Job> {
    let device = Device::flex().autodiff();
    let put2 = |seed, shape: [usize; 2]| put::<2>(&Init::new(seed, &shape, 1.0), &device);
    match workload {
        "W1" => {
            let (x, t) = (put2(1500, [32, 2]), put2(1501, [32, 1]));
            let loss = move |net: &Net| (net.mlp(x.clone(), Tensor::tanh) - t.clone()).square().mean();
            training(&workloads::mlp(1000, &workloads::TINY), SgdConfig::new().init(), 0.01, Box::new(loss))
        }
        "W2" => {
            let (x, t) = (put2(2500, [64, 64]), classes(2501, 64, 10, &device));
            adam(&workloads::mlp(2000, &workloads::DIGITS), Box::new(move |net| cross_entropy(net.mlp(x.clone(), relu), &t)))
        }
        "W3" => {
            let (x, t) = (put2(3500, [128, 784]), classes(3501, 128, 10, &device));
            adam(&workloads::mlp(3000, &workloads::MNIST), Box::new(move |net| cross_entropy(net.mlp(x.clone(), relu), &t)))
        }
        "W4" => {
            let x = put::<4>(&Init::new(4500, &[64, 1, 28, 28], 1.0), &device);
            let t = classes(4501, 64, 10, &device);
            adam(&workloads::cnn(), Box::new(move |net| cross_entropy(cnn(x.clone(), net), &t)))
        }
        "W5" => {
            let [steps, batch, inputs, _] = LSTM;
            let x = put::<3>(&Init::new(5500, &[steps, batch, inputs], 1.0), &device);
            adam(&workloads::lstm(), Box::new(move |net| lstm(&x, net)))
        }
        "W6" => {
            let [batch, positions, width, ..] = BLOCK;
            let x = put::<3>(&Init::new(6500, &[batch, positions, width], 1.0), &device);
            adam(&workloads::transformer(), Box::new(move |net| transformer(x.clone(), net)))
        }
        "W7" => gradient([put::<1>(&Init::new(7500, &[4_194_304], 3.0), &device)], |[x]| chain(x)),
        "W8" => {
            let t = classes(8501, LOGITS[0], LOGITS[1], &device);
            gradient([put::<2>(&Init::new(8500, &LOGITS, 4.0), &device)], move |[x]| cross_entropy(x, &t))
        }
        "W9" => gradient([0.5, 1.0, 0.0].map(|v: f32| Tensor::<1>::from_floats([v], &device)), scalar_chain),
        _ => unreachable!("not offered: {workload}"),
    }
}

fn put<const D: usize>(init: &Init, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(init.to_f32(), init.shape.clone()), device)
}

fn classes(seed: u64, n: usize, classes: usize, device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(labels(seed, n, classes), [n, 1]), device)
}

struct Training {
    net: Option<Net>,
    optimizer: ModuleOptimizer,
    rate: f64,
    loss: Loss,
}

fn training(inits: &[Init], optimizer: ModuleOptimizer, rate: f64, loss: Loss) -> Box<dyn Job> {
    let net = Some(Net::new(inits, &Device::flex().autodiff()));
    Box::new(Training { net, optimizer, rate, loss })
}

fn adam(inits: &[Init], loss: Loss) -> Box<dyn Job> {
    training(inits, AdamConfig::new().with_epsilon(1e-8).init(), 1e-4, loss)
}

impl Job for Training {
    fn step(&mut self) -> f64 {
        let net = self.net.take().expect("of the last step");
        let loss = (self.loss)(&net);
        let grads = GradientsParams::from_grads(loss.backward(), &net);
        self.net = Some(self.optimizer.step(self.rate, net, grads));
        loss.into_scalar()
    }
}

struct Gradient<const D: usize, const N: usize, F> {
    inputs: [Tensor<D>; N],
    last: Option<([Tensor<D>; N], Gradients)>,
    loss: F,
}

fn gradient<const D: usize, const N: usize>(inputs: [Tensor<D>; N], loss: impl Fn([Tensor<D>; N]) -> Tensor<1> + 'static) -> Box<dyn Job> {
    Box::new(Gradient { inputs, last: None, loss })
}

impl<const D: usize, const N: usize, F: Fn([Tensor<D>; N]) -> Tensor<1>> Job for Gradient<D, N, F> {
    fn step(&mut self) -> f64 {
        self.last = None;
        let inputs = self.inputs.clone().map(|x| x.detach().require_grad());
        let loss = (self.loss)(inputs.clone());
        self.last = Some((inputs, loss.backward()));
        loss.into_scalar()
    }

    fn check(&self) -> Option<f64> {
        let (inputs, grads) = self.last.as_ref()?;
        let total = |x: &Tensor<D>| Some(x.grad(grads)?.into_data().iter::<f64>().map(f64::abs).sum::<f64>());
        inputs.iter().map(total).sum()
    }
}

fn cross_entropy(logits: Tensor<2>, t: &Tensor<2, Int>) -> Tensor<1> {
    log_softmax(logits, 1).gather(1, t.clone()).mean().neg()
}

fn cnn(x: Tensor<4>, net: &Net) -> Tensor<2> {
    let halved = |x, i: usize| {
        let y = conv2d(x, net.kernels[i].val(), Some(net.vector(i)), ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
        max_pool2d(relu(y), MaxPoolOptions::new([2, 2]))
    };
    net.mlp(halved(halved(x, 0), 1).flatten(1, 3), relu)
}

fn lstm(x: &Tensor<3>, net: &Net) -> Tensor<1> {
    let [steps, batch, inputs, units] = LSTM;
    let mut h = Tensor::<2>::zeros([batch, units], &x.device());
    let mut c = h.clone();
    for t in 0..steps {
        let x = x.clone().narrow(0, t, 1).reshape([batch, inputs]);
        let gates = x.matmul(net.weight(0)) + h.matmul(net.weight(1)) + net.vector(0).unsqueeze();
        let [i, f, g, o] = <[Tensor<2>; 4]>::try_from(gates.chunk(4, 1)).expect("four gates");
        c = sigmoid(f) * c + sigmoid(i) * g.tanh();
        h = sigmoid(o) * c.clone().tanh();
    }
    h.square().mean()
}

fn transformer(x: Tensor<3>, net: &Net) -> Tensor<1> {
    let [batch, positions, width, heads, _] = BLOCK;
    let apart = |x: Tensor<3>| x.reshape([batch, positions, heads, width / heads]).swap_dims(1, 2);
    let norm = |x, i| layer_norm(x, net.vector(i), Some(net.vector(i + 1)), 1e-5);
    let qkv = linear(norm(x.clone(), 0), net.weight(0), Some(net.vector(2))).chunk(3, 2);
    let [q, k, v] = <[Tensor<3>; 3]>::try_from(qkv).expect("three parts").map(apart);
    let weights = softmax(q.matmul(k.swap_dims(2, 3)) / ((width / heads) as f64).sqrt(), 3);
    let attended = weights.matmul(v).swap_dims(1, 2).reshape([batch, positions, width]);
    let x = x + linear(attended, net.weight(1), Some(net.vector(3)));
    let hidden = gelu_approximate(linear(norm(x.clone(), 4), net.weight(2), Some(net.vector(6))));
    (x + linear(hidden, net.weight(3), Some(net.vector(7)))).square().mean()
}

fn chain(x: Tensor<1>) -> Tensor<1> {
    let softplus = (x.clone().neg().exp() + 1.0).log();
    let y = x.clone() * sigmoid(x.clone()) + x.square().tanh() * 0.5 - softplus;
    y.square().mean()
}

fn scalar_chain([x, a, b]: [Tensor<1>; 3]) -> Tensor<1> {
    (0..CHAIN).fold(x, |v, k| match k % 3 {
        0 => v * a.clone(),
        1 => v + b.clone(),
        _ => v.tanh(),
    })
}
