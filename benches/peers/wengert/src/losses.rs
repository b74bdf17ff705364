//! What is computed: each workload's loss as a function of its parameters.

use crate::step::{Loss, array};
use bed::{Init, labels, workloads};
use wengert::{
    Array, ConvOptions, DType, Mask, PoolOptions, Tape, Tensor, concat,
    nn::{Reduction, cross_entropy, mse_loss},
};

/// Fully connected layers with an activation between them.
fn mlp<'t>(x: Tensor<'t>, p: &[Tensor<'t>], activation: fn(Tensor<'t>) -> Tensor<'t>) -> Tensor<'t> {
    let layer = |x: Tensor<'t>, p: &[Tensor<'t>]| x.matmul(p[0]) + p[1];
    let (hidden, last) = p.split_at(p.len() - 2);
    layer(hidden.chunks(2).fold(x, |x, p| activation(layer(x, p))), last)
}

/// W1.
pub fn tiny() -> Loss {
    let (x, t) = (array(&Init::new(1500, &[32, 2], 1.0)), array(&Init::new(1501, &[32, 1], 1.0)));
    Box::new(move |tape, p| mse_loss(mlp(tape.constant(&x), p, Tensor::tanh), tape.constant(&t), Reduction::Mean))
}

/// A network with ReLU and the mean cross-entropy of its ten classes.
fn classifier(x: Init, labels: Vec<i64>) -> Loss {
    let (x, t) = (array(&x), Array::new(labels.len(), labels));
    Box::new(move |tape, p| cross_entropy(mlp(tape.constant(&x), p, Tensor::relu), tape.constant(&t), Reduction::Mean))
}

/// W2.
pub fn digits() -> Loss {
    classifier(Init::new(2500, &[64, 64], 1.0), labels(2501, 64, 10))
}

/// W3 and W10.
pub fn mnist() -> Loss {
    classifier(Init::new(3500, &[128, 784], 1.0), labels(3501, 128, 10))
}

/// W4.
pub fn cnn() -> Loss {
    let (x, t) = (array(&Init::new(4500, &[64, 1, 28, 28], 1.0)), Array::new(64, labels(4501, 64, 10)));
    Box::new(move |tape, p| {
        let x = halved(tape.constant(&x), p[0], p[1]);
        let x = halved(x, p[2], p[3]).reshape([64, 3136]);
        cross_entropy(mlp(x, &p[4..], Tensor::relu), tape.constant(&t), Reduction::Mean)
    })
}

/// A convolution, ReLU, and the largest of each four.
fn halved<'t>(x: Tensor<'t>, weight: Tensor<'t>, bias: Tensor<'t>) -> Tensor<'t> {
    let y = x.conv2d(weight, ConvOptions::new().padding(1)) + bias.reshape([bias.size(), 1, 1]);
    y.relu().max_pool2d(PoolOptions::new(2))
}

/// W5.
pub fn lstm() -> Loss {
    let [steps, batch, inputs, units] = workloads::LSTM;
    let x = array(&Init::new(5500, &[steps, batch, inputs], 1.0));
    Box::new(move |tape, p| {
        let x = tape.constant(&x);
        let (mut h, mut c) = (tape.zeros(DType::F32, [batch, units]), tape.zeros(DType::F32, [batch, units]));
        for t in 0..steps {
            let gates = (x.at(t as i64).matmul(p[0]) + h.matmul(p[1]) + p[2]).chunk(4, 1);
            c = gates[1].sigmoid() * c + gates[0].sigmoid() * gates[2].tanh();
            h = gates[3].sigmoid() * c.tanh();
        }
        h.square().mean()
    })
}

fn layer_norm<'t>(x: Tensor<'t>, gain: Tensor<'t>, bias: Tensor<'t>) -> Tensor<'t> {
    let d = x - x.mean_keep(&[-1]);
    d * (d.square().mean_keep(&[-1]) + 1e-5).rsqrt() * gain + bias
}

/// `[batch, positions, width] -> [batch, heads, positions, width / heads]`.
fn heads_apart(x: Tensor<'_>) -> Tensor<'_> {
    let [batch, positions, width, heads, _] = workloads::BLOCK;
    x.reshape([batch, positions, heads, width / heads]).transpose(1, 2)
}

/// W6.
pub fn transformer() -> Loss {
    let [batch, positions, width, ..] = workloads::BLOCK;
    let x = array(&Init::new(6500, &[batch, positions, width], 1.0));
    Box::new(move |tape, p| {
        let x = tape.constant(&x);
        let qkv = layer_norm(x, p[0], p[1]).matmul(p[2]) + p[3];
        let [q, k, v] = [0, 1, 2].map(|i| heads_apart(qkv.narrow(-1, i * width, width)));
        let attended = q.scaled_dot_product_attention(k, v, Mask::None).transpose(1, 2).reshape([batch, positions, width]);
        let x = x + attended.matmul(p[4]) + p[5];
        let hidden = (layer_norm(x, p[6], p[7]).matmul(p[8]) + p[9]).gelu();
        (x + hidden.matmul(p[10]) + p[11]).square().mean()
    })
}

/// W7.
pub fn chain_input() -> Vec<Array> {
    vec![array(&Init::new(7500, &[4_194_304], 3.0))]
}

pub fn chain<'t>(_: &'t Tape, x: &[Tensor<'t>]) -> Tensor<'t> {
    let x = x[0];
    let y = x * x.sigmoid() + 0.5 * (x * x).tanh() - (1.0 + (-x).exp()).ln();
    (y * y).mean()
}

/// W8.
pub fn logits_input() -> Vec<Array> {
    vec![array(&Init::new(8500, &workloads::LOGITS, 4.0))]
}

pub fn logits() -> impl for<'t> Fn(&'t Tape, &[Tensor<'t>]) -> Tensor<'t> {
    let [rows, classes] = workloads::LOGITS;
    let t = Array::new(rows, labels(8501, rows, classes));
    move |tape, x| cross_entropy(x[0], tape.constant(&t), Reduction::Mean)
}

/// W9.
pub fn scalars() -> Vec<Array> {
    [0.5f32, 1.0, 0.0].map(Array::scalar).to_vec()
}

pub fn scalar_chain<'t>(_: &'t Tape, x: &[Tensor<'t>]) -> Tensor<'t> {
    (0..workloads::CHAIN).fold(x[0], |v, k| match k % 3 {
        0 => v * x[1],
        1 => v + x[2],
        _ => v.tanh(),
    })
}

/// W11.
pub fn mixture_input() -> Vec<Array> {
    workloads::mixture().0.iter().map(double).collect()
}

fn double(init: &Init) -> Array {
    Array::new(&init.shape[..], init.values().collect::<Vec<f64>>())
}

pub fn mixture() -> impl for<'t> Fn(&'t Tape, &[Tensor<'t>]) -> Tensor<'t> {
    let [k, d, n] = workloads::MIXTURE;
    let x = double(&workloads::mixture().1);
    let places = Array::new(d * d, workloads::triangle(d));
    move |tape, p| {
        let [alphas, means, icf] = [p[0], p[1], p[2]];
        let (logs, lower) = (icf.narrow(1, 0, d), icf.narrow(1, d, d * (d - 1) / 2));
        let scales = logs.exp();
        let factors =
            concat(&[scales, lower, tape.zeros(DType::F64, [k, 1])], 1).index_select(1, tape.constant(&places)).reshape([k, d, d]);
        let centred = tape.constant(&x).reshape([1, n, d]) - means.reshape([k, 1, d]);
        let z = centred.matmul(factors.transpose(1, 2));
        let inner = (alphas + logs.sum_over(&[1])).reshape([k, 1]) - 0.5 * z.square().sum_over(&[2]);
        let prior = 0.5 * (scales.square().sum() + lower.square().sum());
        inner.logsumexp(&[0]).sum() - n as f64 * alphas.logsumexp(&[0]) + prior + workloads::mixture_constant()
    }
}
