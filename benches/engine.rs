//! What do recording, differentiating, planning and finding a plan cost per operation, and a whole step of a small network?
//!
//! `cargo bench --bench engine`. The first group reports time per element, an element being one operation of the forward pass.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use wengert::{
    Array, DType, Tape, Tensor,
    nn::{Bind, Layer, Linear, Pass, Reduction, Sgd, Tanh, grads, mse_loss},
};

/// In turn a product, a sum and a `tanh` of vectors: `n` operations.
fn chain<'t>(x: Tensor<'t>, w: Tensor<'t>, n: usize) -> Tensor<'t> {
    (0..n).fold(x, |v, k| match k % 3 {
        0 => v * w,
        1 => v + w,
        _ => v.tanh(),
    })
}

/// Adds up what `measure` finds on fresh tapes, given a chain of `n` operations and when its recording began.
fn per_chain(n: usize, iterations: u64, measure: impl Fn(&Tape, Tensor<'_>, Tensor<'_>, Instant) -> Duration) -> Duration {
    let data = Array::uniform(DType::F32, [8], 0.5, 1.0, 1);
    let mut total = Duration::ZERO;
    for _ in 0..iterations {
        let tape = Tape::new();
        let (x, w) = (tape.leaf(&data), tape.leaf(&data));
        let start = Instant::now();
        let y = black_box(chain(x, w, n));
        total += measure(&tape, x, y, start);
    }
    total
}

fn operations(c: &mut Criterion) {
    let mut group = c.benchmark_group("per operation");
    let n = 10_000;
    group.throughput(Throughput::Elements(n as u64));
    group.bench_function("record", |b| b.iter_custom(|i| per_chain(n, i, |_, _, _, start| start.elapsed())));
    group.bench_function("differentiate", |b| {
        b.iter_custom(|i| {
            per_chain(n, i, |_, x, y, _| {
                let start = Instant::now();
                black_box(y.vjp(y, [x]));
                start.elapsed()
            })
        })
    });
    group.bench_function("record, differentiate and look up", |b| {
        b.iter_custom(|i| {
            per_chain(n, i, |tape, x, y, start| {
                let [g] = y.vjp(y, [x]);
                let recorded = start.elapsed();
                tape.eval(&g);
                recorded + tape.stats().look_up
            })
        })
    });
    group.finish();
}

fn look_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("look up a cached plan");
    for n in [100, 10_000] {
        group.throughput(Throughput::Elements(n as u64));
        group.bench_with_input(BenchmarkId::new("whole tape", n), &n, |b, &n| {
            b.iter_custom(|i| {
                per_chain(n, i, |tape, _, y, _| {
                    tape.eval(&y);
                    tape.stats().look_up
                })
            })
        });
        group.bench_with_input(BenchmarkId::new("second read", n), &n, |b, &n| {
            b.iter_custom(|i| {
                per_chain(n, i, |tape, x, y, _| {
                    tape.eval(&x.sum()); // which reads went before is part of the question
                    let before = tape.stats().look_up;
                    tape.eval(&y);
                    tape.stats().look_up - before
                })
            })
        });
    }
    group.finish();
}

/// A step of a 2-16-16-1 network with tanh: forward, backward, gradient descent, at batch 32.
fn small_step(c: &mut Criterion) {
    let mut model = (Linear::new(2, 16, 1), Tanh, Linear::new(16, 16, 2), Tanh, Linear::new(16, 1, 3));
    let (x, t) = (Array::uniform(DType::F32, [32, 2], -1.0, 1.0, 4), Array::uniform(DType::F32, [32, 1], -1.0, 1.0, 5));
    let sgd = Sgd::new(0.01);
    let mut state = sgd.init(&model);
    c.bench_function("step of 2-16-16-1 at batch 32", |b| {
        b.iter(|| {
            let tape = Tape::new();
            let (m, s) = (model.on(&tape), state.on(&tape));
            let loss = mse_loss(m.forward(tape.constant(&x), &Pass::eval()), tape.constant(&t), Reduction::Mean);
            let next = sgd.step(&m, &grads(loss, &m), &s);
            tape.eval_and_update(&loss, (&mut model, &mut state), next)
        })
    });
}

/// A plan made anew, with what is needed to print it: per operation of the forward pass, whose gradient is planned as well.
fn plan(c: &mut Criterion) {
    let mut group = c.benchmark_group("make a plan");
    for (name, size, n) in [("of vectors", 8, 1_000), ("of single numbers", 1, 10_000)] {
        let (tape, data) = (Tape::new(), Array::uniform(DType::F32, [size], 0.5, 1.0, 1));
        let (x, w) = (tape.leaf(&data), tape.leaf(&data));
        let y = chain(x, w, n).sum();
        let [gx, gw] = y.grad([x, w]);
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::new(name, n), |b| b.iter(|| black_box(tape.plan(&(y, gx, gw)))));
    }
    group.finish();
}

/// The chain of [`chain`] over single numbers, and its gradient in both operands: recorded anew, and kept.
fn scalars(c: &mut Criterion) {
    let mut group = c.benchmark_group("per operation on single numbers");
    let n = 10_000;
    group.throughput(Throughput::Elements(n as u64));
    let inputs = (Array::scalar(0.5f32), Array::scalar(1f32));
    let on = |tape: &Tape| {
        let (x, w) = (tape.leaf(&inputs.0), tape.leaf(&inputs.1));
        let y = chain(x, w, n);
        let [gx, gw] = y.grad([x, w]);
        tape.eval(&(y, gx, gw))
    };
    group.bench_function("record, differentiate and run", |b| b.iter(|| on(&Tape::new())));
    let tape = Tape::new();
    let (x, w) = (tape.leaf(&inputs.0), tape.leaf(&inputs.1));
    let y = chain(x, w, n);
    let [gx, gw] = y.grad([x, w]);
    let kept = tape.compile(&(x, w), &(y, gx, gw));
    group.bench_function("run a kept program", |b| b.iter(|| kept.run(&inputs)));
    group.finish();
}

/// The step of [`small_step`] a thousand times in one call.
fn kept_step(c: &mut Criterion) {
    let model = (Linear::new(2, 16, 1), Tanh, Linear::new(16, 16, 2), Tanh, Linear::new(16, 1, 3));
    let data = (Array::uniform(DType::F32, [32, 2], -1.0, 1.0, 4), Array::uniform(DType::F32, [32, 1], -1.0, 1.0, 5));
    let sgd = Sgd::new(0.01);
    let tape = Tape::new();
    let (m, s, (x, t)) = (model.on(&tape), sgd.init(&model).on(&tape), (tape.constant(&data.0), tape.constant(&data.1)));
    let loss = mse_loss(m.forward(x, &Pass::eval()), t, Reduction::Mean);
    let next = sgd.step(&m, &grads(loss, &m), &s);
    let step = tape.compile(&((m, s), (x, t)), &(next, loss));
    let mut state = Some((model.clone(), sgd.init(&model)));
    let mut group = c.benchmark_group("step of 2-16-16-1 at batch 32, kept");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("in a loop", |b| {
        b.iter(|| {
            let (next, loss) = step.run_loop(1000, state.take().expect("the last round's"), &data);
            state = Some(next);
            loss
        })
    });
    group.finish();
}

criterion_group!(benches, operations, look_up, plan, scalars, small_step, kept_step);
criterion_main!(benches);
