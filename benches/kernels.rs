//! How fast is each kind of kernel, over sizes, and how long does a plan take? Time in kernels only; recording and look-up are in `engine`.
//!
//! `cargo bench --bench kernels`, or `cargo bench --bench kernels -- rows` for a part. Rates are of elements read, and of operations in
//! products and convolutions, a multiply-add being two.

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use std::{cell::Cell, time::Duration};
use wengert::{Array, ConvOptions, DType, PoolOptions, Tape, Tensor};

fn random(shape: &[usize]) -> Array {
    Array::uniform(DType::F32, shape, -1.0, 1.0, 1)
}

/// Times the kernels of what `record` makes of `inputs`; `work` is what the rate counts.
fn kernels(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    work: usize,
    inputs: &[Array],
    record: impl for<'t> Fn(&[Tensor<'t>]) -> Tensor<'t>,
) {
    let shape = |x: &Array| x.shape().iter().map(usize::to_string).collect::<Vec<_>>().join("x");
    let id = BenchmarkId::new(name, inputs.iter().map(shape).collect::<Vec<_>>().join(","));
    group.throughput(Throughput::Elements(work as u64));
    group.bench_function(id, |b| {
        b.iter_custom(|iterations| {
            let mut total = Duration::ZERO;
            for _ in 0..iterations {
                let tape = Tape::new();
                let x: Vec<Tensor<'_>> = inputs.iter().map(|x| tape.leaf(x)).collect();
                tape.eval(&record(&x));
                total += tape.stats().execute;
            }
            total
        })
    });
}

fn pointwise(c: &mut Criterion) {
    let mut group = c.benchmark_group("pointwise");
    for n in [1 << 10, 1 << 16, 1 << 22] {
        let x = [random(&[n])];
        kernels(&mut group, "cheap", n, &x, |x| ((x[0] * x[0] + x[0]) * 0.5 + x[0]).relu());
        kernels(&mut group, "heavy", n, &x, |x| x[0] * x[0].sigmoid() + 0.5 * x[0].square().tanh() - (1.0 + (-x[0]).exp()).ln());
    }
    group.finish();
}

fn rows(c: &mut Criterion) {
    let mut group = c.benchmark_group("rows");
    for [m, n] in [[64, 64], [1024, 256], [512, 32_000]] {
        let x = [random(&[m, n])];
        kernels(&mut group, "sum over rows", m * n, &x, |x| x[0].sum_over(&[1]));
        kernels(&mut group, "sum over columns", m * n, &x, |x| x[0].sum_over(&[0]));
        kernels(&mut group, "softmax", m * n, &x, |x| x[0].softmax(1));
        kernels(&mut group, "transposed copy", m * n, &x, |x| x[0].t().reshape([x[0].size()]));
    }
    group.finish();
}

fn index(c: &mut Criterion) {
    let mut group = c.benchmark_group("index");
    for [m, n] in [[1024, 64], [65_536, 64]] {
        let (table, order) = (random(&[m, n]), Array::from_fn([m], |i| ((i[0] * 7919) % m) as i64));
        kernels(&mut group, "rows picked", m * n, &[table.clone(), order.clone()], |x| x[0].index_select(0, x[1].detach()));
        kernels(&mut group, "rows added", m * n, &[table.clone(), order], |x| x[0].zeros_like().index_add(0, x[1].detach(), x[0]));
        let columns = Array::from_fn([m, 1], |i| (i[0] % n) as i64);
        kernels(&mut group, "elements gathered", m, &[table.clone(), columns.clone()], |x| x[0].gather(1, x[1].detach()));
        kernels(&mut group, "elements scattered", m * n, &[table, columns], |x| {
            x[0].zeros_like().scatter_add(1, x[1].detach(), x[0].narrow(1, 0, 1))
        });
    }
    group.finish();
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("products");
    for [m, k, n] in [[16, 16, 16], [64, 64, 64], [64, 64, 128], [128, 784, 512], [128, 512, 512], [128, 512, 10], [1024, 256, 1024]] {
        let work = 2 * m * k * n;
        kernels(&mut group, "plain", work, &[random(&[m, k]), random(&[k, n])], |x| x[0].matmul(x[1]));
        kernels(&mut group, "left transposed", work, &[random(&[k, m]), random(&[k, n])], |x| x[0].t().matmul(x[1]));
        kernels(&mut group, "right transposed", work, &[random(&[m, k]), random(&[n, k])], |x| x[0].matmul(x[1].t()));
    }
    kernels(&mut group, "32 at once", 32 * 2 * 128 * 64 * 128, &[random(&[32, 128, 64]), random(&[32, 64, 128])], |x| x[0].matmul(x[1]));
    group.finish();
}

fn images(c: &mut Criterion) {
    let mut group = c.benchmark_group("images");
    let near = ConvOptions::new().padding(1);
    for [channels, outputs, side] in [[1, 32, 28], [32, 64, 14], [64, 64, 32]] {
        let inputs = [random(&[64, channels, side, side]), random(&[outputs, channels, 3, 3]), random(&[64, outputs, side, side])];
        let work = 2 * 64 * outputs * side * side * channels * 9;
        kernels(&mut group, "convolution", work, &inputs[..2], |x| x[0].conv2d(x[1], near));
        kernels(&mut group, "gradient by image", work, &inputs, |x| x[0].conv2d(x[1], near).vjp(x[2], x[0]));
        kernels(&mut group, "gradient by weight", work, &inputs, |x| x[0].conv2d(x[1], near).vjp(x[2], x[1]));
    }
    let image = [random(&[64, 32, 28, 28]), random(&[64, 32, 14, 14])];
    let work = image[0].size();
    kernels(&mut group, "largest of 2x2", work, &image[..1], |x| x[0].max_pool2d(PoolOptions::new(2)));
    kernels(&mut group, "its gradient", work, &image, |x| x[0].max_pool2d(PoolOptions::new(2)).vjp(x[1], x[0]));
    group.finish();
}

fn chain(x: Tensor<'_>) -> Tensor<'_> {
    (0..1000).fold(x, |v, k| if k % 4 == 3 { v.softmax(0) } else { v * x + 1.0 })
}

/// A plan for a tape unlike any before: time per node of the tape.
fn planning(c: &mut Criterion) {
    let mut group = c.benchmark_group("planning");
    let length = Cell::new(2);
    for name in ["chain", "chain and gradient"] {
        let made = |tape: &Tape| {
            length.set(length.get() + 1);
            let x = tape.leaf(&random(&[length.get()]));
            let y = chain(x);
            tape.eval(&if name == "chain" { y } else { y.vjp(y, x) });
            tape.stats()
        };
        group.throughput(Throughput::Elements(made(&Tape::new()).nodes as u64));
        group.bench_function(name, |b| b.iter_custom(|iterations| (0..iterations).map(|_| made(&Tape::new()).plan).sum()));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = pointwise, rows, index, products, images, planning
}
criterion_main!(benches);
