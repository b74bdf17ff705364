//! How fast is each kind of kernel, over sizes, and how long does a plan take? Time in kernels only; recording and look-up are in `engine`.
//!
//! `cargo bench --bench kernels`, or `cargo bench --bench kernels -- rows` for a part. Rates are of elements read if not said
//! otherwise, and of operations in products and convolutions, a multiply-add being two.

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use std::{cell::Cell, slice::from_ref, time::Duration};
use wengert::{Array, By, ConvOptions, DType, Key, PoolOptions, Tape, Tensor, concat};

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

fn reductions(c: &mut Criterion) {
    let mut group = c.benchmark_group("reductions");
    for n in [1 << 10, 1 << 16, 1 << 22] {
        let x = [random(&[n])];
        kernels(&mut group, "sum of all", n, &x, |x| x[0].sum());
        kernels(&mut group, "largest of all", n, &x, |x| x[0].max());
        kernels(&mut group, "product of all", n, &x, |x| x[0].prod());
    }
    for [a, b, c] in [[16, 64, 16], [64, 128, 256], [8, 32_000, 8]] {
        let x = [random(&[a, b, c])];
        kernels(&mut group, "sum over the middle", a * b * c, &x, |x| x[0].sum_over(&[1]));
        kernels(&mut group, "largest over the middle", a * b * c, &x, |x| x[0].max_over(&[1]));
        kernels(&mut group, "sum over the outer two", a * b * c, &x, |x| x[0].sum_over(&[0, 2]));
    }
    group.finish();
}

fn scans(c: &mut Criterion) {
    let mut group = c.benchmark_group("scans");
    for [m, n] in [[1, 1 << 20], [64, 64], [1024, 256], [512, 32_000]] {
        let x = [random(&[m, n])];
        kernels(&mut group, "sums along rows", m * n, &x, |x| x[0].cumsum(1));
        kernels(&mut group, "sums along columns", m * n, &x, |x| x[0].cumsum(0));
        kernels(&mut group, "gradient along rows", m * n, &x, |x| x[0].cumsum(1).vjp(x[0], x[0]));
    }
    group.finish();
}

/// Rates are of numbers drawn.
fn draws(c: &mut Criterion) {
    let mut group = c.benchmark_group("draws");
    let key = Key::new(1);
    for n in [1 << 10, 1 << 16, 1 << 22] {
        let x = [random(&[n])];
        kernels(&mut group, "uniform", n, &x, |x| x[0].tape().uniform(DType::F32, n, key));
        kernels(&mut group, "normal", n, &x, |x| x[0].tape().normal(DType::F32, n, key));
        kernels(&mut group, "dropout", n, &x, |x| x[0].tape().bernoulli(0.9, n, key).select(x[0] / 0.9, 0.0));
    }
    group.finish();
}

/// Rates are of elements written.
fn placing(c: &mut Criterion) {
    let mut group = c.benchmark_group("placing");
    for [m, n] in [[64, 64], [1024, 256], [4096, 1024]] {
        let x = [random(&[m, n]), random(&[m, n])];
        kernels(&mut group, "one below the other", 2 * m * n, &x, |x| concat(x, 0));
        kernels(&mut group, "side by side", 2 * m * n, &x, |x| concat(x, 1));
        kernels(&mut group, "border of zeros", (m + 2) * (n + 2), &x[..1], |x| x[0].pad(&[(1, 1), (1, 1)], 0.0));
        kernels(&mut group, "rolled", m * n, &x[..1], |x| x[0].roll(1, 1));
    }
    group.finish();
}

/// What lies otherwise than the loop runs. Rates are of elements written.
fn layouts(c: &mut Criterion) {
    let mut group = c.benchmark_group("layouts");
    for [m, n] in [[64, 64], [1024, 256], [2048, 2048]] {
        let x = random(&[m, n]);
        kernels(&mut group, "transpose added", m * n, &[x.clone(), random(&[n, m])], |x| x[0] + x[1].t());
        kernels(&mut group, "row added", m * n, &[x.clone(), random(&[n])], |x| x[0] + x[1]);
        kernels(&mut group, "column added", m * n, &[x.clone(), random(&[m, 1])], |x| x[0] + x[1]);
        kernels(&mut group, "column and row added", m * n, &[random(&[m, 1]), random(&[n])], |x| x[0] + x[1]);
        kernels(&mut group, "every second column doubled", m * n / 2, from_ref(&x), |x| x[0].at((.., (..).by(2))) * 2.0);
        kernels(&mut group, "rows backwards doubled", m * n, &[x], |x| x[0].flip(&[1]) * 2.0);
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
    for (name, channels, groups, stride) in [("strided", 64, 1, 2), ("grouped", 64, 4, 1), ("each channel alone", 64, 64, 1)] {
        let (side, options) = (32, near.stride(stride).groups(groups));
        let out = side / stride;
        let inputs = [random(&[64, channels, side, side]), random(&[channels, channels / groups, 3, 3]), random(&[64, channels, out, out])];
        let work = 2 * 64 * channels * out * out * channels / groups * 9;
        kernels(&mut group, &format!("convolution, {name}"), work, &inputs[..2], |x| x[0].conv2d(x[1], options));
        kernels(&mut group, &format!("gradient by image, {name}"), work, &inputs, |x| x[0].conv2d(x[1], options).vjp(x[2], x[0]));
        kernels(&mut group, &format!("gradient by weight, {name}"), work, &inputs, |x| x[0].conv2d(x[1], options).vjp(x[2], x[1]));
    }
    let image = [random(&[64, 32, 28, 28]), random(&[64, 32, 14, 14])];
    let work = image[0].size();
    kernels(&mut group, "largest of 2x2", work, &image[..1], |x| x[0].max_pool2d(PoolOptions::new(2)));
    kernels(&mut group, "gradient of the largest", work, &image, |x| x[0].max_pool2d(PoolOptions::new(2)).vjp(x[1], x[0]));
    kernels(&mut group, "mean of 2x2", work, &image[..1], |x| x[0].avg_pool2d(PoolOptions::new(2)));
    kernels(&mut group, "gradient of the mean", work, &image, |x| x[0].avg_pool2d(PoolOptions::new(2)).vjp(x[1], x[0]));
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
    targets = pointwise, rows, reductions, scans, draws, placing, layouts, index, products, images, planning
}
criterion_main!(benches);
