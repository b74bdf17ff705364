//! Which programs are planned? What training is made of, small.

use super::Program;
use wengert::{
    Array, DType, Mask, Tape, Tensor, Tree,
    nn::{Adam, Bind, Layer, Linear, Reduction, Sgd, cross_entropy, grads},
};

pub const ALL: &[(&str, Program)] = &[
    ("softmax", |tape| vec![leaf(tape, &[4, 10]).softmax(-1)]),
    ("cross_entropy", |tape| {
        let (x, labels) = (leaf(tape, &[4, 10]), labels(tape, 4));
        let loss = cross_entropy(x, labels, Reduction::Mean);
        let [g] = loss.grad([x]);
        vec![loss, g]
    }),
    ("layer_norm", |tape| {
        let (x, weight, bias) = (leaf(tape, &[4, 16]), leaf(tape, &[16]), leaf(tape, &[16]));
        let centred = x - x.mean_keep(&[-1]);
        let y = centred * (centred.square().mean_keep(&[-1]) + 1e-5).rsqrt() * weight + bias;
        let mut wanted = vec![y];
        wanted.extend((y * leaf(tape, &[4, 16])).sum().grad([x, weight, bias]));
        wanted
    }),
    ("adam", |tape| {
        let model = Linear::new(3, 2, 1);
        let adam = Adam::new(1e-3);
        let state = adam.init(&model);
        let (m, s) = (model.on(tape), state.on(tape));
        let g = m.map(|x| x * 0.5);
        leaves(&adam.step(&m, &g, &s))
    }),
    ("mlp_step", |tape| {
        let model = (Linear::new(8, 16, 1), wengert::nn::Relu, Linear::new(16, 4, 2));
        let m = model.on(tape);
        let logits = m.forward(leaf(tape, &[5, 8]), &wengert::nn::Pass::eval());
        let loss = cross_entropy(logits, labels(tape, 5), Reduction::Mean);
        let mut wanted = vec![loss];
        wanted.extend(leaves(&grads(loss, &m)));
        wanted
    }),
    ("sgd_step", |tape| {
        let model = [Linear::new(8, 8, 1), Linear::new(8, 8, 2), Linear::new(8, 8, 3)].map(|l| l.weight).to_vec();
        let m = model.on(tape);
        let y = m.iter().fold(leaf(tape, &[4, 8]), |x, &w| x.matmul(w).tanh());
        let sgd = Sgd::new(0.1);
        leaves(&sgd.step(&m, &grads(y.square().mean(), &m), &sgd.init(&model).on(tape)))
    }),
    ("lstm_step", |tape| {
        let (x, h, c) = (leaf(tape, &[2, 3]), leaf(tape, &[2, 4]), leaf(tape, &[2, 4]));
        let gates = x.matmul(leaf(tape, &[3, 16])) + h.matmul(leaf(tape, &[4, 16])) + leaf(tape, &[16]);
        let gate = |i: usize| gates.narrow(-1, 4 * i, 4);
        let next = gate(1).sigmoid() * c + gate(0).sigmoid() * gate(2).tanh();
        vec![gate(3).sigmoid() * next.tanh(), next]
    }),
    ("recurrent", |tape| {
        let (x, mut h) = (leaf(tape, &[3, 2, 4]), leaf(tape, &[2, 5]));
        let (w, u) = (leaf(tape, &[4, 5]), leaf(tape, &[5, 5]));
        for t in 0..3 {
            h = (x.at(t).matmul(w) + h.matmul(u)).tanh();
        }
        vec![h]
    }),
    ("batch_of_rows", |tape| {
        let (x, w) = (leaf(tape, &[3, 2, 4]), leaf(tape, &[4, 5]));
        let [g] = x.matmul(w).square().sum().grad([w]);
        vec![g]
    }),
    ("gelu_gradient", |tape| {
        let (x, w) = (leaf(tape, &[256, 256]), leaf(tape, &[256, 1]));
        let y = (x + leaf(tape, &[256])).gelu();
        let loss = y.matmul(w).square().sum();
        let [g] = loss.grad([x]);
        vec![loss, g]
    }),
    ("attention", |tape| {
        let [q, k, v] = [0; 3].map(|_| leaf(tape, &[2, 6, 4]));
        vec![(q.matmul(k.transpose(-1, -2)) * 0.5).softmax(-1).matmul(v)]
    }),
    ("logsumexp", |tape| vec![leaf(tape, &[3, 700]).logsumexp(&[-1])]),
    ("scalar_chain", |tape| {
        let mut x = leaf(tape, &[]);
        for _ in 0..4 {
            x = x - 0.1 * (x * x - 2.0) / x;
        }
        vec![x]
    }),
    ("gather_scatter", |tape| {
        let (table, at) = (leaf(tape, &[7, 3]), tape.constant(&Array::from([1i64, 4, 4])));
        let loss = table.index_select(0, at).square().sum();
        let [g] = loss.grad([table]);
        vec![loss, g]
    }),
    ("transposed_copy", |tape| vec![leaf(tape, &[6, 5]).t().reshape([30])]),
    ("column_sums", |tape| {
        let y = leaf(tape, &[6, 5]).tanh();
        vec![y, y.sum_over(&[0]), y.sum_over(&[1])]
    }),
    ("heads", |tape| {
        let (x, w) = (leaf(tape, &[2, 20, 24]), leaf(tape, &[24, 96]));
        let all = x.matmul(w);
        let [q, k, v] = [0, 1, 2].map(|i| all.narrow(-1, 32 * i, 32).reshape([2, 20, 2, 16]).transpose(1, 2));
        let y = q.scaled_dot_product_attention(k, v, Mask::None).transpose(1, 2).reshape([2, 20, 32]);
        vec![y.sum().grad(w)]
    }),
    ("written_over", |tape| {
        let (x, w) = (leaf(tape, &[260, 260]), leaf(tape, &[260, 260]));
        vec![(x.matmul(w).tanh() * 2.0).matmul(x)]
    }),
    ("channel_sums", |tape| vec![leaf(tape, &[8, 3, 6, 6]).tanh().sum_over(&[0, 2, 3])]),
    ("stacks", |tape| {
        let (x, mut h) = (leaf(tape, &[3, 32, 64]), leaf(tape, &[32, 64]));
        let (w, u, b) = (leaf(tape, &[64, 64]), leaf(tape, &[64, 64]), leaf(tape, &[64]));
        for t in 0..3 {
            h = (x.at(t).matmul(w) + h.matmul(u) + b).tanh();
        }
        h.square().sum().grad([w, u, b]).to_vec()
    }),
];

fn leaf<'t>(tape: &'t Tape, shape: &[usize]) -> Tensor<'t> {
    tape.leaf(&Array::uniform(DType::F32, shape, 0.5, 1.0, 1))
}

fn labels(tape: &Tape, n: usize) -> Tensor<'_> {
    tape.constant(&Array::zeros(DType::I64, n))
}

/// The tensors of a tree, in order.
fn leaves<'t>(tree: &impl Tree<Tensor<'t>>) -> Vec<Tensor<'t>> {
    let mut all = Vec::new();
    tree.visit(|_, _, x| all.push(*x));
    all
}
