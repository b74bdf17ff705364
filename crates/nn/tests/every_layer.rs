//! Does every layer pass what must hold of any: derivatives against differences, both modes, saving, single precision?

extern crate wengert_core as wengert;

mod numbers;

use numbers::assert_close;
use wengert::{Array, ConvOptions, DType, Key, PoolOptions, Tape, Tensor, Tree};
use wengert_nn::{
    Activation, Apply, AvgPool2d, Bind, Conv2d, Dropout, Elu, Embedding, Flatten, Gelu, Identity, Layer, LayerNorm, LeakyRelu, Linear,
    Lstm, MaxPool2d, MultiHeadAttention, Neuron, Pass, Relu, Residual, Sigmoid, Softmax, Softplus, Step, Tanh, TransformerBlock,
    from_bytes, grads_or_zero, to_bytes,
};

/// The loss `Σ r forward(x)` with fixed random `r`: a plain sum would hide much.
fn loss<'t, L: Layer<'t>>(layer: &L, x: Tensor<'t>, pass: &Pass<'t>) -> Tensor<'t> {
    let y = layer.forward(x, pass);
    let r = Array::uniform(y.dtype(), y.shape(), -1.0, 1.0, 77);
    (y * y.tape().constant(&r)).sum()
}

fn pass<'t>(train: bool) -> Pass<'t> {
    if train { Pass::train(Key::new(5)) } else { Pass::eval() }
}

fn check<M>(name: &str, model: M, x: &[usize])
where
    M: Tree<Array> + Clone,
    for<'t> M::With<Tensor<'t>>: Layer<'t>,
{
    let x = Array::uniform(DType::F64, x, -2.0, 2.0, 11);
    for train in [false, true] {
        against_differences(name, &model.cast(DType::F64), &x, train);
    }
    let forward = |model: &M, x: &Array, train| {
        let tape = Tape::new();
        model.on(&tape).forward(tape.constant(x), &pass(train)).value()
    };
    let wide = model.cast(DType::F64);
    for train in [false, true] {
        let y = forward(&wide, &x, train);
        assert_eq!(y, forward(&wide, &x, train), "{name}: the same key, the same bits");
        let narrow = forward(&model.cast(DType::F32), &x.cast(DType::F32), train);
        assert_eq!(narrow.dtype(), DType::F32, "{name}");
        assert_close(&narrow.cast(DType::F64), &y, 1e-5);
    }
    let mut back = model.clone();
    back.visit_mut(|_, _, a: &mut Array| *a = Array::zeros(a.dtype(), *a.shape()));
    from_bytes(&mut back, &to_bytes(&model).unwrap()).unwrap();
    assert_eq!(back.leaves(), model.leaves(), "{name}");
}

fn against_differences<M>(name: &str, model: &M, x: &Array, train: bool)
where
    M: Tree<Array> + Clone,
    for<'t> M::With<Tensor<'t>>: Layer<'t>,
{
    let tape = Tape::new();
    let (m, at) = (model.on(&tape), tape.leaf(x));
    let g = grads_or_zero(loss(&m, at, &pass(train)), &(m, at));
    let (g, gx) = tape.eval(&g);
    let value = |model: &M, x: &Array| {
        let tape = Tape::new();
        loss(&model.on(&tape), tape.leaf(x), &pass(train)).item()
    };
    let difference = |change: &mut dyn FnMut(f64) -> f64| {
        let h = 1e-6;
        (change(h) - change(-h)) / (2.0 * h)
    };
    let mut found = gx.to_f64_vec();
    let mut expected: Vec<f64> = (0..x.size()).map(|i| difference(&mut |h| value(model, &moved(x, i, h)))).collect();
    for (leaf, g) in g.leaves().iter().enumerate() {
        found.extend(g.to_f64_vec());
        for i in 0..g.size() {
            expected.push(difference(&mut |h| {
                let mut model = model.clone();
                let mut leaves = model.leaves_mut();
                *leaves[leaf] = moved(leaves[leaf], i, h);
                value(&model, x)
            }));
        }
    }
    assert!(found.len() >= x.size());
    for (i, (g, d)) in found.iter().zip(&expected).enumerate() {
        assert!((g - d).abs() < 1e-7 * (1.0 + d.abs()), "{name}: coordinate {i}: {g}, by differences {d}");
    }
}

/// With one element moved by `h`.
fn moved(a: &Array, i: usize, h: f64) -> Array {
    let mut a = a.clone();
    a.as_mut_slice::<f64>()[i] += h;
    a
}

/// A new activation does not compile here until it is in the list below.
fn listed(activation: Activation) -> usize {
    match activation {
        Identity => 0,
        Relu => 1,
        LeakyRelu(_) => 2,
        Elu(_) => 3,
        Gelu => 4,
        Softplus => 5,
        Tanh => 6,
        Sigmoid => 7,
        Softmax(_) => 8,
        Step => 9,
    }
}

#[test]
fn activations() {
    let all = [Identity, Relu, LeakyRelu(0.1), Elu(0.7), Gelu, Softplus, Tanh, Sigmoid, Softmax(-1), Step];
    for (i, activation) in all.into_iter().enumerate() {
        assert_eq!(listed(activation), i);
        check(&format!("{activation:?}"), activation, &[3, 4]);
        let before = Linear::new(2, 3, 8).weights(wengert_nn::Init::he_normal(activation), 9);
        check(&format!("{activation:?} after linear"), (before, activation), &[2, 2]);
    }
}

#[test]
fn linear_layers() {
    check("linear", Linear::new(3, 2, 1), &[4, 3]);
    check("linear of a vector", Linear::new(3, 2, 1), &[3]);
    check("linear of a batch of batches", Linear::new(3, 2, 1), &[2, 2, 3]);
    check("linear without bias", Linear::new(3, 2, 1).without_bias(), &[4, 3]);
    check("neuron", Neuron::new(3, Tanh, 1), &[4, 3]);
    check("neuron of a vector", Neuron::new(3, Sigmoid, 1), &[3]);
}

#[test]
fn layers_of_images() {
    check("conv2d", Conv2d::new(2, 3, 2, 1), &[2, 2, 3, 4]);
    let options = ConvOptions::new().stride(2).padding(1).groups(2);
    check("conv2d in groups", Conv2d::with_options(4, 2, [3, 2], options, 1), &[1, 4, 3, 4]);
    check("conv2d of one image without bias", Conv2d::new(1, 2, 3, 1).without_bias(), &[1, 4, 3]);
    check("max_pool2d", MaxPool2d::new(2), &[1, 2, 4, 4]);
    check("avg_pool2d", AvgPool2d(PoolOptions::new(3).stride(2).padding(1)), &[1, 1, 5, 4]);
    check("flatten", (Flatten, Linear::new(6, 2, 1)), &[2, 3, 2]);
}

#[test]
fn layers_of_sequences() {
    check("layer_norm", LayerNorm::new(4), &[2, 3, 4]);
    check("layer_norm of two axes", LayerNorm::new([3, 2]).eps(0.1), &[2, 3, 2]);
    check("attention", MultiHeadAttention::new(4, 2, 1), &[2, 3, 4]);
    check("attention to what came before", MultiHeadAttention::new(4, 1, 1).causal(), &[3, 4]);
    check("transformer block", TransformerBlock::new(MultiHeadAttention::new(4, 2, 1), 5, 2), &[2, 3, 4]);
    check("lstm", Lstm::new(3, 2, 1), &[3, 2, 3]);
    check("lstm with one bias", Lstm::new(2, 3, 1).with_one_bias(), &[2, 1, 2]);
}

#[test]
fn embeddings() {
    let table = Embedding::new(3, 2, 1).cast(DType::F64);
    let tape = Tape::new();
    let (m, words) = (table.on(&tape), tape.constant(&Array::from([[0i64, 2], [2, 2]])));
    let y = m.forward(words, &Pass::eval());
    assert_eq!(y.at((0, 1)).value(), tape.constant(&table.weight).at(2).value());
    let g = grads_or_zero(y.sum(), &m);
    assert_eq!(g.weight.value(), Array::from([[1.0, 1.0], [0.0, 0.0], [3.0, 3.0]]));
}

#[test]
fn compositions() {
    check("vector", vec![Linear::new(3, 3, 1), Linear::new(3, 3, 2)], &[2, 3]);
    check("array", [Neuron::new(3, Tanh, 1)], &[2, 3]);
    check("none", None::<Linear>, &[2, 3]);
    check("residual", Residual { inner: (Linear::new(3, 3, 1), Tanh) }, &[2, 3]);
    check("function", (Linear::new(3, 2, 1), Apply(|x| x.sin() * x)), &[2, 3]);
    check("dropout", (Linear::new(3, 4, 1), Dropout::new(0.5), Linear::new(4, 2, 2)), &[3, 3]);
    let many = (Linear::new(2, 2, 1), Tanh, Tanh, Tanh, Tanh, Tanh, Identity, Tanh, Tanh, Tanh, Tanh, Linear::new(2, 2, 2));
    check("twelve", many, &[2, 2]);
}
