//! What should weights be before training?
//!
//! Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (AISTATS 2010),
//! <https://proceedings.mlr.press/v9/glorot10a.html>; He, Zhang, Ren and Sun, "Delving deep into rectifiers" (2015), arXiv:1502.01852.

use wengert::{Array, DType, IntoShape, Scalar, Shape};

use crate::Activation;

/// A rule for initial values. With `fan_in` inputs to and `fan_out` outputs of each unit, and a gain for the activation that follows,
/// weights start with the standard deviation that keeps the size of signals or of cotangents from layer to layer.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert::DType;
/// use wengert_nn::{Activation, Init};
/// let w = Init::he_normal(Activation::Relu).array(DType::F32, [256, 128], 7); // weights `[out, in]`
/// let mean_square = w.to_f64_vec().iter().map(|w| w * w).sum::<f64>() / w.size() as f64;
/// assert!((mean_square - 2.0 / 128.0).abs() < 1e-3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// One number everywhere.
    Constant(f64),
    /// Between two bounds, each number equally likely.
    Uniform {
        /// The smallest.
        low: f64,
        /// The largest.
        high: f64,
    },
    /// Normal numbers.
    Normal {
        /// Their mean.
        mean: f64,
        /// Their standard deviation.
        std: f64,
    },
    /// Uniform with standard deviation `gain / √fan`.
    ScaledUniform {
        /// What the deviation is multiplied by.
        gain: f64,
        /// What it is scaled by.
        fan: Fan,
    },
    /// Normal with standard deviation `gain / √fan`.
    ScaledNormal {
        /// What the deviation is multiplied by.
        gain: f64,
        /// What it is scaled by.
        fan: Fan,
    },
}

/// The count of connections that weights are scaled by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fan {
    /// Inputs of a unit: signals keep their size.
    In,
    /// Outputs: cotangents keep their size.
    Out,
    /// The mean of the two, as Glorot and Bengio propose.
    Mean,
}

impl Fan {
    /// Of weights `[out, in, ..]`, where further axes are the window of a convolution; `[in]` is one unit.
    fn of(self, shape: &Shape) -> f64 {
        let (outputs, inputs, window) = match **shape {
            [] => (1, 1, 1),
            [inputs] => (1, inputs, 1),
            [outputs, inputs, ref window @ ..] => (outputs, inputs, window.iter().product()),
        };
        let (inputs, outputs) = ((inputs * window) as f64, (outputs * window) as f64);
        match self {
            Fan::In => inputs,
            Fan::Out => outputs,
            Fan::Mean => (inputs + outputs) / 2.0,
        }
    }
}

impl Init {
    /// Zeros.
    pub const ZEROS: Init = Init::Constant(0.0);
    /// Ones.
    pub const ONES: Init = Init::Constant(1.0);

    /// Uniform within `±gain √(6 / (fan_in + fan_out))`, also called Xavier uniform.
    pub fn glorot_uniform(before: Activation) -> Init {
        Init::ScaledUniform { gain: before.gain(), fan: Fan::Mean }
    }

    /// Normal of standard deviation `gain √(2 / (fan_in + fan_out))`, also called Xavier normal.
    pub fn glorot_normal(before: Activation) -> Init {
        Init::ScaledNormal { gain: before.gain(), fan: Fan::Mean }
    }

    /// Uniform within `±gain √(3 / fan_in)`, also called Kaiming uniform.
    pub fn he_uniform(before: Activation) -> Init {
        Init::ScaledUniform { gain: before.gain(), fan: Fan::In }
    }

    /// Normal of standard deviation `gain / √fan_in`, also called Kaiming normal.
    pub fn he_normal(before: Activation) -> Init {
        Init::ScaledNormal { gain: before.gain(), fan: Fan::In }
    }

    /// The values for weights of a shape `[out, in, ..]`. The same seed gives the same values.
    ///
    /// # Panics
    /// When `dtype` is no float, and when bounds or deviations are not finite.
    #[track_caller]
    pub fn array(self, dtype: DType, shape: impl IntoShape, seed: u64) -> Array {
        let shape = shape.into_shape();
        // A layer without connections has no weights to scale.
        let std = |gain: f64, fan: Fan| gain / fan.of(&shape).max(1.0).sqrt();
        match self {
            Init::Constant(v) => Array::full(shape, v.to_f64()).cast(dtype),
            Init::Uniform { low, high } => Array::uniform(dtype, shape, low, high, seed),
            Init::Normal { mean, std } => Array::normal(dtype, shape, mean, std, seed),
            Init::ScaledUniform { gain, fan } => {
                let bound = 3f64.sqrt() * std(gain, fan);
                Array::uniform(dtype, shape, -bound, bound, seed)
            }
            Init::ScaledNormal { gain, fan } => Array::normal(dtype, shape, 0.0, std(gain, fan), seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean square and largest magnitude of 20 000 weights `[100, 200]`.
    fn moments(init: Init) -> (f64, f64) {
        let v = init.array(DType::F64, [100, 200], 3).to_f64_vec();
        (v.iter().map(|x| x * x).sum::<f64>() / v.len() as f64, v.iter().fold(0.0, |m, x| x.abs().max(m)))
    }

    #[test]
    fn deviations_are_those_of_the_papers() {
        let gain = 2f64.sqrt();
        let cases = [
            (Init::glorot_uniform(Activation::Identity), 2.0 / 300.0, Some((6.0f64 / 300.0).sqrt())),
            (Init::glorot_normal(Activation::Tanh), (5.0 / 3.0) * (5.0 / 3.0) * 2.0 / 300.0, None),
            (Init::he_uniform(Activation::Relu), 2.0 / 200.0, Some((6.0f64 / 200.0).sqrt())),
            (Init::he_normal(Activation::Relu), 2.0 / 200.0, None),
            (Init::ScaledNormal { gain, fan: Fan::Out }, 2.0 / 100.0, None),
            (Init::he_uniform(Activation::LeakyRelu(5f64.sqrt())), 1.0 / 600.0, Some((1.0f64 / 200.0).sqrt())),
        ];
        for (init, variance, bound) in cases {
            let (mean_square, largest) = moments(init);
            // Five standard errors: the fourth moment of a normal number is 3 variances squared, of a uniform one less.
            assert!((mean_square / variance - 1.0).abs() < 5.0 * (2.0f64 / 20_000.0).sqrt(), "{init:?}: {mean_square} for {variance}");
            if let Some(bound) = bound {
                assert!(largest <= bound && largest > 0.99 * bound, "{init:?}: {largest} for {bound}");
            }
        }
    }

    #[test]
    fn windows_count_as_connections() {
        let conv = Shape::new(&[8, 4, 3, 3]).unwrap();
        assert_eq!([Fan::In, Fan::Out, Fan::Mean].map(|f| f.of(&conv)), [36.0, 72.0, 54.0]);
        assert_eq!(Fan::In.of(&Shape::new(&[5]).unwrap()), 5.0);
    }

    #[test]
    fn constants_and_empty_layers() {
        assert_eq!(Init::ONES.array(DType::F32, [2], 0), Array::from([1.0f32, 1.0]));
        assert_eq!(Init::ZEROS.array(DType::F64, (), 0), Array::from(0.0));
        assert_eq!(Init::he_normal(Activation::Relu).array(DType::F32, [3, 0], 0).size(), 0);
    }
}
