//! The workloads in candle.

use bed::{
    Init, Job, Worker, labels,
    workloads::{self, BLOCK, CHAIN, DIGITS, LOGITS, LSTM, MIXTURE, MNIST, TINY},
};
use candle_core::{D, DType, Device::Cpu, Result, Tensor, Var, backprop::GradStore};
use candle_nn::{
    AdamW, Optimizer, ParamsAdamW, SGD,
    loss::{cross_entropy, mse},
    ops::{layer_norm_slow, sigmoid, softmax},
};

type Loss = Box<dyn Fn(&[Var]) -> Result<Tensor>>;

fn main() {
    // The walk over the graph recurses: W9 is 10,000 operations deep.
    let work = || {
        bed::main(&Worker {
            peer: "candle",
            version: "0.11.1",
            offers: &[
                ("W1", "eager"),
                ("W2", "eager"),
                ("W3", "eager"),
                ("W4", "eager"),
                ("W5", "eager"),
                ("W6", "eager"),
                ("W7", "eager"),
                ("W8", "eager"),
                ("W9", "eager"),
                ("W11", "eager"),
            ],
            missing: &[("W10", "gradients cannot be differentiated again")],
            prepare: |workload, _| prepare(workload).expect("candle prepares"),
        })
    };
    std::thread::Builder::new().stack_size(1 << 30).spawn(work).expect("a thread").join().expect("a worker that ends well");
}

fn prepare(workload: &str) -> Result<Box<dyn Job>> {
    Ok(match workload {
        "W1" => {
            let (x, t) = (tensor(&Init::new(1500, &[32, 2], 1.0))?, tensor(&Init::new(1501, &[32, 1], 1.0))?);
            let p = vars(&workloads::mlp(1000, &TINY))?;
            let optimizer = SGD::new(p.clone(), 0.01)?;
            training(p, optimizer, Box::new(move |p| mse(&mlp(x.clone(), p, Tensor::tanh)?, &t)))
        }
        "W2" => classifier(Init::new(2500, &[64, 64], 1.0), classes(2501, 64, 10)?, &workloads::mlp(2000, &DIGITS))?,
        "W3" => classifier(Init::new(3500, &[128, 784], 1.0), classes(3501, 128, 10)?, &workloads::mlp(3000, &MNIST))?,
        "W4" => {
            let (x, t) = (tensor(&Init::new(4500, &[64, 1, 28, 28], 1.0))?, classes(4501, 64, 10)?);
            adam(&workloads::cnn(), Box::new(move |p| cnn(&x, &t, p)))?
        }
        "W5" => {
            let [steps, batch, inputs, _] = LSTM;
            let x = tensor(&Init::new(5500, &[steps, batch, inputs], 1.0))?;
            adam(&workloads::lstm(), Box::new(move |p| lstm(&x, p)))?
        }
        "W6" => {
            let [batch, positions, width, ..] = BLOCK;
            let x = tensor(&Init::new(6500, &[batch, positions, width], 1.0))?;
            adam(&workloads::transformer(), Box::new(move |p| transformer(&x, p)))?
        }
        "W7" => gradient(vars(&[Init::new(7500, &[4_194_304], 3.0)])?, Box::new(|p| chain(&p[0]))),
        "W8" => {
            let t = classes(8501, LOGITS[0], LOGITS[1])?;
            gradient(vars(&[Init::new(8500, &LOGITS, 4.0)])?, Box::new(move |p| cross_entropy(&p[0], &t)))
        }
        "W9" => {
            let scalars = [0.5f32, 1.0, 0.0].map(|v| Var::new(v, &Cpu));
            gradient(scalars.into_iter().collect::<Result<_>>()?, Box::new(scalar_chain))
        }
        "W11" => {
            let (parts, x) = workloads::mixture();
            let double = |i: &Init| Tensor::from_vec(i.values().collect::<Vec<f64>>(), &i.shape[..], &Cpu);
            let (x, d) = (double(&x)?, MIXTURE[1]);
            let places = Tensor::from_vec(workloads::triangle(d), d * d, &Cpu)?;
            let parts = parts.iter().map(|i| Var::from_tensor(&double(i)?)).collect::<Result<Vec<_>>>()?;
            gradient(parts, Box::new(move |p| mixture(&x, &places, p)))
        }
        _ => unreachable!("not offered: {workload}"),
    })
}

fn tensor(init: &Init) -> Result<Tensor> {
    Tensor::from_vec(init.to_f32(), &init.shape[..], &Cpu)
}

fn vars(inits: &[Init]) -> Result<Vec<Var>> {
    inits.iter().map(|i| Var::from_tensor(&tensor(i)?)).collect()
}

fn classes(seed: u64, n: usize, classes: usize) -> Result<Tensor> {
    Tensor::from_vec(labels(seed, n, classes), n, &Cpu)
}

struct Training<O> {
    params: Vec<Var>,
    optimizer: O,
    loss: Loss,
}

fn training<O: Optimizer + 'static>(params: Vec<Var>, optimizer: O, loss: Loss) -> Box<dyn Job> {
    Box::new(Training { params, optimizer, loss })
}

fn adam(params: &[Init], loss: Loss) -> Result<Box<dyn Job>> {
    let params = vars(params)?;
    let settings = ParamsAdamW { lr: 1e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    Ok(training(params.clone(), AdamW::new(params, settings)?, loss))
}

impl<O: Optimizer> Job for Training<O> {
    fn step(&mut self) -> f64 {
        let mut step = || {
            let loss = (self.loss)(&self.params)?;
            self.optimizer.backward_step(&loss)?;
            number(&loss)
        };
        step().expect("candle trains")
    }
}

struct Gradient {
    inputs: Vec<Var>,
    last: Option<GradStore>,
    loss: Loss,
}

fn gradient(inputs: Vec<Var>, loss: Loss) -> Box<dyn Job> {
    Box::new(Gradient { inputs, last: None, loss })
}

impl Job for Gradient {
    fn step(&mut self) -> f64 {
        self.last = None;
        let mut step = || {
            let loss = (self.loss)(&self.inputs)?;
            self.last = Some(loss.backward()?);
            number(&loss)
        };
        step().expect("candle differentiates")
    }

    fn check(&self) -> Option<f64> {
        let total = |x: &Var| number(&self.last.as_ref()?.get(x)?.to_dtype(DType::F64).ok()?.abs().ok()?.sum_all().ok()?).ok();
        self.inputs.iter().map(total).sum()
    }
}

fn number(x: &Tensor) -> Result<f64> {
    x.to_dtype(DType::F64)?.to_scalar()
}

fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.broadcast_matmul(weight)?.broadcast_add(bias)
}

fn mlp(mut x: Tensor, p: &[Var], activation: fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let (hidden, last) = p.split_at(p.len() - 2);
    for layer in hidden.chunks(2) {
        x = activation(&linear(&x, &layer[0], &layer[1])?)?;
    }
    linear(&x, &last[0], &last[1])
}

fn classifier(x: Init, t: Tensor, params: &[Init]) -> Result<Box<dyn Job>> {
    let x = tensor(&x)?;
    adam(params, Box::new(move |p| cross_entropy(&mlp(x.clone(), p, Tensor::relu)?, &t)))
}

fn cnn(x: &Tensor, t: &Tensor, p: &[Var]) -> Result<Tensor> {
    // The gradient of `max_pool2d` is a quarter of what it should be, so the maximum is taken along axes.
    let halved = |x: &Tensor, weight: &Var, bias: &Var| {
        let y = x.conv2d(weight, 1, 1, 1, 1)?.broadcast_add(&bias.reshape((1, (), 1, 1))?)?.relu()?;
        let (n, c, h, w) = y.dims4()?;
        y.reshape((n, c, h / 2, 2, w / 2, 2))?.max(5)?.max(3)
    };
    let x = halved(&halved(x, &p[0], &p[1])?, &p[2], &p[3])?;
    cross_entropy(&mlp(x.flatten_from(1)?, &p[4..], Tensor::relu)?, t)
}

fn lstm(x: &Tensor, p: &[Var]) -> Result<Tensor> {
    let [steps, batch, _, units] = LSTM;
    let mut h = Tensor::zeros((batch, units), DType::F32, &Cpu)?;
    let mut c = h.clone();
    for t in 0..steps {
        let gates = (x.get(t)?.matmul(&p[0])? + h.matmul(&p[1])?)?.broadcast_add(&p[2])?.chunk(4, 1)?;
        c = ((sigmoid(&gates[1])? * c)? + (sigmoid(&gates[0])? * gates[2].tanh()?)?)?;
        h = (sigmoid(&gates[3])? * c.tanh()?)?;
    }
    h.sqr()?.mean_all()
}

fn transformer(x: &Tensor, p: &[Var]) -> Result<Tensor> {
    let [batch, positions, width, heads, _] = BLOCK;
    let apart = |x: &Tensor| x.reshape((batch, positions, heads, width / heads))?.transpose(1, 2)?.contiguous();
    let qkv = linear(&layer_norm_slow(x, &p[0], &p[1], 1e-5)?, &p[2], &p[3])?.chunk(3, D::Minus1)?;
    let (q, k, v) = (apart(&qkv[0])?, apart(&qkv[1])?, apart(&qkv[2])?);
    let weights = softmax(&(q.matmul(&k.t()?)? / ((width / heads) as f64).sqrt())?, D::Minus1)?;
    let attended = weights.matmul(&v)?.transpose(1, 2)?.reshape((batch, positions, width))?;
    let x = (x + linear(&attended, &p[4], &p[5])?)?;
    let hidden = linear(&layer_norm_slow(&x, &p[6], &p[7], 1e-5)?, &p[8], &p[9])?.gelu()?;
    (x + linear(&hidden, &p[10], &p[11])?)?.sqr()?.mean_all()
}

fn chain(x: &Tensor) -> Result<Tensor> {
    let softplus = (x.neg()?.exp()? + 1.0)?.log()?;
    let y = (((x * sigmoid(x)?)? + (x.sqr()?.tanh()? * 0.5)?)? - softplus)?;
    y.sqr()?.mean_all()
}

fn scalar_chain(p: &[Var]) -> Result<Tensor> {
    (0..CHAIN).try_fold(p[0].as_tensor().clone(), |v, k| match k % 3 {
        0 => v * p[1].as_tensor(),
        1 => v + p[2].as_tensor(),
        _ => v.tanh(),
    })
}

fn mixture(x: &Tensor, places: &Tensor, p: &[Var]) -> Result<Tensor> {
    let [k, d, n] = MIXTURE;
    let (alphas, means, icf) = (&p[0], &p[1], &p[2]);
    let (logs, lower) = (icf.narrow(1, 0, d)?, icf.narrow(1, d, d * (d - 1) / 2)?);
    let scales = logs.exp()?;
    let all = Tensor::cat(&[&scales, &lower, &Tensor::zeros((k, 1), DType::F64, &Cpu)?], 1)?;
    let factors = all.index_select(places, 1)?.reshape((k, d, d))?;
    let z = x.unsqueeze(0)?.broadcast_sub(&means.unsqueeze(1)?)?.matmul(&factors.t()?)?;
    let inner = alphas.add(&logs.sum(1)?)?.unsqueeze(1)?.broadcast_sub(&(z.sqr()?.sum(2)? * 0.5)?)?;
    let prior = ((scales.sqr()?.sum_all()? + lower.sqr()?.sum_all()?)? * 0.5)?;
    ((inner.log_sum_exp(0)?.sum_all()? - (alphas.log_sum_exp(0)? * n as f64)?)? + prior)? + workloads::mixture_constant()
}
