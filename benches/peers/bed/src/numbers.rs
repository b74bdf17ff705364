//! Which numbers does a workload start from? Those of a small hash, the same in every language.

/// A number in `[0, 1)` for each seed and place.
fn u(seed: u64, i: u64) -> f64 {
    let mut z = (seed << 32).wrapping_add(i).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 40) as f64 / (1u64 << 24) as f64
}

/// A tensor to start from: `offset + scale (2 u - 1)`, row by row.
#[derive(Clone, Debug)]
pub struct Init {
    pub shape: Vec<usize>,
    pub seed: u64,
    pub scale: f64,
    pub offset: f64,
}

impl Init {
    /// Numbers between `-scale` and `scale`.
    pub fn new(seed: u64, shape: &[usize], scale: f64) -> Init {
        Init { shape: shape.to_vec(), seed, scale, offset: 0.0 }
    }

    /// The same number everywhere.
    pub fn constant(shape: &[usize], value: f64) -> Init {
        Init { offset: value, ..Init::new(0, shape, 0.0) }
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in double precision.
    pub fn values(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.len() as u64).map(|i| self.offset + self.scale * (2.0 * u(self.seed, i) - 1.0))
    }

    /// The elements in single precision.
    pub fn to_f32(&self) -> Vec<f32> {
        self.values().map(|v| v as f32).collect()
    }
}

/// `n` classes below `classes`.
pub fn labels(seed: u64, n: usize, classes: usize) -> Vec<i64> {
    (0..n as u64).map(|i| (u(seed, i) * classes as f64) as i64).collect()
}

/// `1 / sqrt(k)`, the usual scale of weights that sum over `k` inputs.
pub fn fan(k: usize) -> f64 {
    1.0 / (k as f64).sqrt()
}
