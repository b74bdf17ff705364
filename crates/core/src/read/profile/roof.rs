//! How fast can this machine be at all? A product and an addition, measured once.

use super::timed;
use crate::{Array, Cost, DType, Tape, Tensor};
use std::{sync::OnceLock, time::Duration};

/// The machine's limits, with the number of threads that was set when they were measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roof {
    /// Operations per second in a product of `f32` matrices of 384 rows and columns.
    pub flops_per_second: f64,
    /// Bytes per second read and written while two arrays of 16 MB are added.
    pub bytes_per_second: f64,
}

impl Roof {
    /// Measured the first time, in some tens of milliseconds.
    pub fn of_this_machine() -> Roof {
        static ROOF: OnceLock<Roof> = OnceLock::new();
        *ROOF.get_or_init(|| {
            let square = |n: usize| Array::uniform(DType::F32, [n, n], -1.0, 1.0, 1);
            let (small, large) = (square(384), square(2048));
            let product = fastest(|tape| tape.leaf(&small).matmul(tape.leaf(&small)));
            let sum = fastest(|tape| tape.leaf(&large) + tape.constant(&large.clone()));
            Roof {
                flops_per_second: 2.0 * 384f64.powi(3) / product.as_secs_f64(),
                bytes_per_second: 3.0 * 4.0 * 2048f64.powi(2) / sum.as_secs_f64(),
            }
        })
    }

    /// Seconds that operations or bytes need at least, whichever take longer.
    pub fn time(&self, cost: Cost) -> f64 {
        (cost.flops as f64 / self.flops_per_second).max(cost.bytes() as f64 / self.bytes_per_second)
    }
}

/// Least time of what `record` records.
fn fastest(record: impl for<'t> Fn(&'t Tape) -> Tensor<'t>) -> Duration {
    let tape = Tape::new();
    let ran = timed(&tape, &record(&tape), 7).unwrap_or_else(|why| panic!("{why}"));
    ran.kernels.iter().map(|t| t.0).sum::<Duration>().max(Duration::from_nanos(1))
}
