//! What are W1 to W11? Their parameters and inputs; the README tells what is computed of them.

use crate::numbers::{Init, fan};

/// Layer sizes of the networks of W1, W2 and W3 (whose loss W10 differentiates twice).
pub const TINY: [usize; 4] = [2, 16, 16, 1];
pub const DIGITS: [usize; 4] = [64, 128, 64, 10];
pub const MNIST: [usize; 4] = [784, 512, 512, 10];

/// Number of operations in the chain of W9.
pub const CHAIN: usize = 10_000;

/// W5: steps in time, batch, inputs, hidden units.
pub const LSTM: [usize; 4] = [32, 32, 64, 128];

/// W6: batch, positions, width, heads, width of the hidden layer.
pub const BLOCK: [usize; 5] = [8, 128, 256, 4, 1024];

/// W8: rows and classes.
pub const LOGITS: [usize; 2] = [512, 32_000];

/// W11: components, dimensions, points.
pub const MIXTURE: [usize; 3] = [25, 20, 1000];

/// Weights `[in, out]` and biases of fully connected layers, in turn.
pub fn mlp(seed: u64, sizes: &[usize]) -> Vec<Init> {
    let layer = |(k, pair): (usize, &[usize])| linear(seed + 2 * k as u64, pair[0], pair[1]);
    sizes.windows(2).enumerate().flat_map(layer).collect()
}

fn linear(seed: u64, inputs: usize, outputs: usize) -> [Init; 2] {
    [Init::new(seed, &[inputs, outputs], fan(inputs)), Init::new(seed + 1, &[outputs], fan(inputs))]
}

/// W4: two convolutions and two linear layers, weights and biases in turn.
pub fn cnn() -> Vec<Init> {
    let mut all = vec![
        Init::new(4000, &[32, 1, 3, 3], fan(9)),
        Init::new(4001, &[32], fan(9)),
        Init::new(4002, &[64, 32, 3, 3], fan(288)),
        Init::new(4003, &[64], fan(288)),
    ];
    all.extend(linear(4004, 3136, 128));
    all.extend(linear(4006, 128, 10));
    all
}

/// W5: weights of the inputs and of the hidden state, bias.
pub fn lstm() -> Vec<Init> {
    vec![Init::new(5000, &[64, 512], fan(128)), Init::new(5001, &[128, 512], fan(128)), Init::new(5002, &[512], fan(128))]
}

/// W6: gain and bias of the first norm, four of attention, gain and bias of the second norm, four of the hidden layer.
pub fn transformer() -> Vec<Init> {
    let norm = || [Init::constant(&[256], 1.0), Init::constant(&[256], 0.0)];
    let mut all = Vec::from(norm());
    all.extend(linear(6002, 256, 768));
    all.extend(linear(6004, 256, 256));
    all.extend(norm());
    all.extend(linear(6008, 256, 1024));
    all.extend(linear(6010, 1024, 256));
    all
}

/// W10: the vectors that the Hessian is multiplied by, in the shapes of the parameters.
pub fn directions() -> Vec<Init> {
    mlp(0, &MNIST).iter().enumerate().map(|(k, p)| Init::new(3100 + k as u64, &p.shape, 1.0)).collect()
}

/// W11: logarithms of weights, means, factors of the inverse covariances; and the points.
pub fn mixture() -> ([Init; 3], Init) {
    let [k, d, n] = MIXTURE;
    let parts = [Init::new(11_000, &[k], 1.0), Init::new(11_001, &[k, d], 1.0), Init::new(11_002, &[k, d * (d + 1) / 2], 0.5)];
    (parts, Init::new(11_500, &[n, d], 2.0))
}

/// W11: where element `(row, column)` of the triangular factor stands in `[exp(l), strict lower part by columns, 0]`.
pub fn triangle(d: usize) -> Vec<i64> {
    let zero = d * (d + 1) / 2;
    let below = |row: usize, column: usize| d + (0..column).map(|c| d - 1 - c).sum::<usize>() + row - column - 1;
    let place = |row: usize, column: usize| match row.cmp(&column) {
        std::cmp::Ordering::Equal => row,
        std::cmp::Ordering::Greater => below(row, column),
        std::cmp::Ordering::Less => zero,
    };
    (0..d * d).map(|i| place(i / d, i % d) as i64).collect()
}

/// W11: the terms of the objective that no parameter changes, for a prior of one pseudo-observation (`gamma = 1`, `m = 0`).
pub fn mixture_constant() -> f64 {
    let [k, d, n] = MIXTURE;
    let (kf, df, nf) = (k as f64, d as f64, n as f64);
    let freedom = df + 1.0;
    let ln_pi = std::f64::consts::PI.ln();
    let ln_gamma: f64 = df * (df - 1.0) / 4.0 * ln_pi + (0..d).map(|j| ln_gamma_of_half(d + 1 - j)).sum::<f64>();
    -nf * df / 2.0 * (2.0 * std::f64::consts::PI).ln() - kf * (freedom * df * -(2f64.sqrt().ln()) - ln_gamma)
}

/// `ln Γ(m / 2)`, by the recurrence from `Γ(1/2)` or `Γ(1)`.
fn ln_gamma_of_half(m: usize) -> f64 {
    let first = if m % 2 == 0 { 0.0 } else { std::f64::consts::PI.ln() / 2.0 };
    first + (1..m).filter(|j| j % 2 == m % 2).map(|j| (j as f64 / 2.0).ln()).sum::<f64>()
}
