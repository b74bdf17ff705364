//! Trains a network on handwritten digits: real data, a gradient checked before it is trusted, a progress bar.
//!
//! `cargo run --release --example 03_digits -- --help` lists the settings.

use indicatif::{ProgressBar, ProgressStyle};
use lexopt::{Arg, ValueExt};
use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};
use wengert::{
    Array, DType, Tape, Tensor, Tree,
    check::gradcheck_model,
    data::{Batches, Dataset, Last, Standardize, Stratify, digits, train_test_split},
    nn::{Activation, Adam, Bind, Init, Layer, Linear, Pass, Reduction, accuracy, cross_entropy, grads, save},
};

const HELP: &str = "\
Trains a multilayer perceptron on 1,797 handwritten digits of 8x8 pixels, a fifth of them held out.

  --epochs N      passes over the training part   [30]
  --batch N       images per step                 [32]
  --hidden N,..   units of each hidden layer      [128]
  --lr X          Adam's learning rate            [0.01]
  --seed N        split, weights and order        [0]
  --dtype D       f32 or f64                      [f32]
  --save FILE     write the trained model there";

/// The settings of a run.
pub struct Settings {
    epochs: u64,
    batch: usize,
    hidden: Vec<usize>,
    lr: f64,
    seed: u64,
    dtype: DType,
    save: Option<PathBuf>,
}

/// What a run ends with.
pub struct Outcome {
    /// Share of the held-out images that are recognised.
    pub accuracy: f64,
    /// The line that is printed last.
    pub line: String,
}

/// Linear layers with ReLU between them: `[batch, 64] -> [batch, 10]`.
#[derive(Clone, Tree)]
struct Mlp<P = Array> {
    layers: Vec<Linear<P>>,
}

impl Mlp {
    fn new(hidden: &[usize], dtype: DType, seed: u64) -> Self {
        let sizes: Vec<usize> = [64].iter().chain(hidden).chain(&[10]).copied().collect();
        let layer = |(i, pair): (usize, &[usize])| {
            let seed = seed.wrapping_mul(1000).wrapping_add(i as u64);
            Linear::new(pair[0], pair[1], seed).weights(Init::he_normal(Activation::Relu), seed).biases(Init::ZEROS, seed)
        };
        Mlp { layers: sizes.windows(2).enumerate().map(layer).collect() }.cast(dtype)
    }
}

impl<'t> Mlp<Tensor<'t>> {
    fn forward(&self, x: Tensor<'t>) -> Tensor<'t> {
        let (last, hidden) = self.layers.split_last().expect("at least the output layer");
        let pass = Pass::eval();
        last.forward(hidden.iter().fold(x, |x, layer| layer.forward(x, &pass).relu()), &pass)
    }

    fn loss(&self, x: Tensor<'t>, y: Tensor<'t>) -> Tensor<'t> {
        cross_entropy(self.forward(x), y, Reduction::Mean)
    }
}

fn main() -> ExitCode {
    let result = match settings(lexopt::Parser::from_env()) {
        Ok(Some(settings)) => run(&settings).map(|outcome| println!("{}", outcome.line)),
        Ok(None) => {
            println!("{HELP}");
            Ok(())
        }
        Err(why) => Err(format!("{why}; --help lists the settings").into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("03_digits: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the settings; `None` asks for help.
pub fn settings(mut args: lexopt::Parser) -> Result<Option<Settings>, lexopt::Error> {
    let mut s = Settings { epochs: 30, batch: 32, hidden: vec![128], lr: 0.01, seed: 0, dtype: DType::F32, save: None };
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("epochs") => s.epochs = within("--epochs", args.value()?.parse()?, 1, 100_000)?,
            Arg::Long("batch") => s.batch = within("--batch", args.value()?.parse()?, 1, 1437)?,
            Arg::Long("hidden") => {
                let sizes = args.value()?.string()?;
                let size = |n: &str| {
                    within("--hidden", n.parse().map_err(|_| format!("--hidden: expected sizes such as 128,64, got {sizes:?}"))?, 1, 4096)
                };
                s.hidden = sizes.split(',').map(size).collect::<Result<_, lexopt::Error>>()?;
            }
            Arg::Long("lr") => {
                s.lr = args.value()?.parse()?;
                if !(s.lr > 0.0 && s.lr.is_finite()) {
                    return Err(format!("--lr: expected a positive number, got {}", s.lr).into());
                }
            }
            Arg::Long("seed") => s.seed = args.value()?.parse()?,
            Arg::Long("dtype") => {
                s.dtype = match args.value()?.string()?.as_str() {
                    "f32" => DType::F32,
                    "f64" => DType::F64,
                    other => return Err(format!("--dtype: expected f32 or f64, got {other:?}").into()),
                }
            }
            Arg::Long("save") => s.save = Some(args.value()?.into()),
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(s))
}

fn within<T: PartialOrd + std::fmt::Display>(name: &str, value: T, low: T, high: T) -> Result<T, lexopt::Error> {
    if value < low || value > high { Err(format!("{name}: expected {low} to {high}, got {value}").into()) } else { Ok(value) }
}

/// Trains, and tells how well and how fast.
pub fn run(s: &Settings) -> Result<Outcome, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let data = digits();
    let data = data.with_x(data.x.cast(s.dtype))?;
    let (train, test) = train_test_split(&data, 0.2, s.seed, Stratify::ByLabel)?;
    let scale = Standardize::fit(&train.x)?;
    let (train, test) = (train.with_x(scale.transform(&train.x)?)?, test.with_x(scale.transform(&test.x)?)?);
    println!("{} images to train on, {} held out", train.len(), test.len());

    let mut model = Mlp::new(&s.hidden, s.dtype, s.seed);
    check(&model, &train)?;
    train_model(s, &mut model, &train, &test)?;
    if let Some(path) = &s.save {
        save(&model, path)?;
        println!("saved to {}", path.display());
    }
    let accuracy = evaluate(&model, &test).1;
    let seconds = start.elapsed().as_secs_f64();
    let ratio = gradient_over_function(&model, &train, s.batch);
    let line = format!("test accuracy {:.2} %, {seconds:.1} s, gradient/function {ratio:.1}", 100.0 * accuracy);
    Ok(Outcome { accuracy, line })
}

/// Compares the gradient of the whole model with differences in `f64`, on a few images.
fn check(model: &Mlp, data: &Dataset) -> Result<(), Box<dyn std::error::Error>> {
    let few = data.select(&[0, 1, 2, 3, 4, 5, 6, 7]);
    let x = few.x.cast(DType::F64);
    let report = gradcheck_model(model, |m, tape| m.loss(tape.constant(&x), tape.constant(&few.y)))?;
    assert!(report.left_out.is_empty(), "every parameter is compared");
    println!("{report}");
    Ok(())
}

fn train_model(s: &Settings, model: &mut Mlp, train: &Dataset, test: &Dataset) -> Result<(), Box<dyn std::error::Error>> {
    let mut batches = Batches::new(train, s.batch, Last::Keep, s.seed)?;
    let mut state = Adam::new(s.lr).init(model);
    let steps = s.epochs * batches.len() as u64;
    let bar = ProgressBar::new(steps).with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} steps, {eta} left")?);
    let mut step = 0;
    for epoch in 0..s.epochs {
        let mut total = 0.0;
        for (x, y) in batches.epoch(epoch) {
            // A cosine from the given rate down to zero. Its value is no part of the plan's key, so every step finds the first one's plan.
            let adam = Adam::new(s.lr * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos()));
            let tape = Tape::new();
            let (m, st) = (model.on(&tape), state.on(&tape));
            let loss = m.loss(tape.constant(&x), tape.constant(&y));
            let next = adam.step(&m, &grads(loss, &m), &st);
            total += tape.eval_and_update(&loss, (&mut *model, &mut state), next).item() * y.size() as f64;
            step += 1;
            bar.inc(1);
        }
        let (loss, accuracy) = evaluate(model, test);
        let line = format!(
            "epoch {:3}: training loss {:.4}, test loss {loss:.4}, test accuracy {:.2} %",
            epoch + 1,
            total / train.len() as f64,
            100.0 * accuracy
        );
        // A hidden bar (no terminal) prints nothing by itself.
        if bar.is_hidden() { println!("{line}") } else { bar.println(line) }
    }
    bar.finish_and_clear();
    Ok(())
}

/// Loss and accuracy on a data set.
fn evaluate(model: &Mlp, data: &Dataset) -> (f64, f64) {
    let tape = Tape::new();
    let (m, x, y) = (model.on(&tape), tape.constant(&data.x), tape.constant(&data.y));
    let logits = m.forward(x);
    let (loss, right) = tape.eval(&(cross_entropy(logits, y, Reduction::Mean), accuracy(logits, y)));
    (loss.item(), right.item())
}

/// How many times as long as the loss alone the loss and its gradient take: medians over alternating runs.
fn gradient_over_function(model: &Mlp, data: &Dataset, batch: usize) -> f64 {
    let some = data.select(&(0..batch.min(data.len())).collect::<Vec<_>>());
    let time = |with_gradient: bool| -> Duration {
        let start = Instant::now();
        let tape = Tape::new();
        let m = model.on(&tape);
        let loss = m.loss(tape.constant(&some.x), tape.constant(&some.y));
        if with_gradient {
            tape.eval(&(loss, grads(loss, &m)));
        } else {
            tape.eval(&loss);
        }
        start.elapsed()
    };
    let (mut function, mut gradient): (Vec<_>, Vec<_>) = (0..201).map(|_| (time(false), time(true))).unzip();
    function.sort();
    gradient.sort();
    gradient[100].as_secs_f64() / function[100].as_secs_f64()
}
