//! What does a workload need at least? Its arithmetic, and the bytes that have to move whoever computes it.

use crate::probe::Machine;

/// A transcendental function costs about so many operations, a multiply-add being two.
const HARD: f64 = 20.0;

/// Operations and bytes of one step.
pub struct Cost {
    flops: f64,
    bytes: f64,
    /// Bytes per element: `f64` runs at half the rate.
    width: f64,
}

impl Cost {
    /// The least time on two cores in milliseconds: that of the arithmetic at the measured peak or that of the bytes at the measured
    /// bandwidth, whichever is longer.
    pub fn floor_ms(&self, machine: &Machine) -> f64 {
        let arithmetic = self.flops / (machine.flops[1] * 4.0 / self.width);
        let bytes = self.bytes / machine.bandwidth(self.bytes);
        arithmetic.max(bytes) * 1e3
    }

    pub fn gflop(&self) -> f64 {
        self.flops / 1e9
    }

    pub fn megabytes(&self) -> f64 {
        self.bytes / 1e6
    }
}

/// A layer's product `[m, k] @ [k, n]`, and its two products of the backward pass unless there is only one.
fn products(m: usize, k: usize, n: usize, backward: usize) -> f64 {
    (2 * m * k * n * (1 + backward)) as f64
}

/// Forward and backward of fully connected layers; the first one's input has no gradient.
fn mlp(batch: usize, sizes: &[usize]) -> f64 {
    sizes.windows(2).enumerate().map(|(i, pair)| products(batch, pair[0], pair[1], if i == 0 { 1 } else { 2 })).sum()
}

fn parameters(sizes: &[usize]) -> f64 {
    sizes.windows(2).map(|pair| (pair[0] * pair[1] + pair[1]) as f64).sum()
}

/// Adam reads and writes a parameter and two moments, and computes a root and a quotient.
fn adam(parameters: f64, flops: f64, input_bytes: f64) -> Cost {
    Cost { flops: flops + 20.0 * parameters, bytes: 24.0 * parameters + input_bytes, width: 4.0 }
}

/// The cost of a step of a workload; `None` for W9, a chain whose links wait for each other.
pub fn of(workload: &str) -> Option<Cost> {
    let mnist = [784, 512, 512, 10];
    Some(match workload {
        "W1" => {
            let sizes = [2, 16, 16, 1];
            Cost { flops: mlp(32, &sizes) + 32.0 * 32.0 * HARD, bytes: 8.0 * parameters(&sizes), width: 4.0 }
        }
        "W2" => adam(parameters(&[64, 128, 64, 10]), mlp(64, &[64, 128, 64, 10]), 64.0 * 64.0 * 4.0),
        "W3" => adam(parameters(&mnist), mlp(128, &mnist), 128.0 * 784.0 * 4.0),
        "W4" => {
            let convolutions = products(64 * 28 * 28, 9, 32, 1) + products(64 * 14 * 14, 288, 64, 2);
            let linear = products(64, 3136, 128, 2) + products(64, 128, 10, 2);
            adam((320 + 18_496) as f64 + parameters(&[3136, 128, 10]), convolutions + linear, (64 * 28 * 28 * 4) as f64)
        }
        "W5" => {
            let (steps, batch) = (32, 32);
            let gates = products(steps * batch, 64, 512, 1) + products(steps * batch, 128, 512, 2);
            adam((192 * 512 + 512) as f64, gates + (steps * batch * 128 * 5) as f64 * HARD, (steps * batch * 64 * 4) as f64)
        }
        "W6" => {
            let rows = 8 * 128;
            let linear: f64 = [(256, 768), (256, 256), (256, 1024), (1024, 256)].iter().map(|&(k, n)| products(rows, k, n, 2)).sum();
            let attention = 2.0 * products(8 * 4 * 128, 64, 128, 2);
            let hard = (rows * 1024 + 8 * 4 * 128 * 128) as f64 * HARD;
            adam(789_760.0, linear + attention + hard, (rows * 256 * 4) as f64)
        }
        "W7" => Cost { flops: 4_194_304.0 * (4.0 * HARD + 40.0), bytes: 4_194_304.0 * 8.0, width: 4.0 },
        "W8" => Cost { flops: 16_384_000.0 * (2.0 * HARD + 4.0), bytes: 16_384_000.0 * 8.0, width: 4.0 },
        "W10" => {
            // Forward and its tangent, back through the activations and the tangent of all of that.
            let layer = |k: usize, n: usize, products: f64| products * (2 * 128 * k * n) as f64;
            let flops = layer(784, 512, 3.0) + layer(512, 512, 8.0) + layer(512, 10, 8.0);
            Cost { flops, bytes: 12.0 * parameters(&mnist), width: 4.0 }
        }
        "W11" => {
            let (k, d, n) = (25, 20, 1000);
            Cost { flops: k as f64 * products(n, d, d, 2) + (k * n) as f64 * HARD, bytes: (n * d * 8) as f64, width: 8.0 }
        }
        _ => return None,
    })
}
