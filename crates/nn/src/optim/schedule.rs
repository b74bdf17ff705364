//! How does a learning rate change from step to step?
//!
//! The cosine: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2016), arXiv:1608.03983.

use std::f64::consts::PI;

/// A factor for the learning rate as a function of the step's number, counted from 0.
///
/// ```
/// use wengert_nn::Schedule;
/// let lr = |step| 0.1 * Schedule::Cosine { steps: 100, end: 0.0 }.at(step);
/// assert_eq!((lr(0), lr(100), lr(500)), (0.1, 0.0, 0.0));
/// assert!((lr(50) - 0.05).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// Always 1.
    Constant,
    /// Times `factor` after every `every` steps.
    Step {
        /// How many steps it stays.
        every: u64,
        /// What it is multiplied by.
        factor: f64,
    },
    /// From 1 down to `end` along half a cosine, then `end`.
    Cosine {
        /// How many steps that takes.
        steps: u64,
        /// The last factor.
        end: f64,
    },
    /// From `1 / steps` up to 1 in equal steps, then 1. Multiply with another schedule to have both.
    Warmup {
        /// How many steps that takes.
        steps: u64,
    },
}

impl Schedule {
    /// The factor at a step.
    pub fn at(self, step: u64) -> f64 {
        match self {
            Schedule::Constant => 1.0,
            Schedule::Step { every, factor } => factor.powf((step / every.max(1)) as f64),
            Schedule::Cosine { steps, end } if step < steps => end + (1.0 - end) * (1.0 + (PI * step as f64 / steps as f64).cos()) / 2.0,
            Schedule::Cosine { end, .. } => end,
            Schedule::Warmup { steps } if step < steps => (step + 1) as f64 / steps as f64,
            Schedule::Warmup { .. } => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors() {
        let step = Schedule::Step { every: 10, factor: 0.5 };
        assert_eq!([0, 9, 10, 25].map(|t| step.at(t)), [1.0, 1.0, 0.5, 0.25]);
        let warm = Schedule::Warmup { steps: 4 };
        assert_eq!([0, 1, 3, 4].map(|t| warm.at(t)), [0.25, 0.5, 1.0, 1.0]);
        let cosine = Schedule::Cosine { steps: 4, end: 0.2 };
        assert_eq!(cosine.at(0), 1.0);
        assert!((cosine.at(2) - 0.6).abs() < 1e-15 && cosine.at(3) > 0.2);
        assert_eq!((cosine.at(4), Schedule::Constant.at(7)), (0.2, 1.0));
    }

    #[test]
    fn schedules_of_no_length_are_over() {
        assert_eq!(Schedule::Cosine { steps: 0, end: 0.1 }.at(0), 0.1);
        assert_eq!(Schedule::Warmup { steps: 0 }.at(0), 1.0);
        assert_eq!(Schedule::Step { every: 0, factor: 0.5 }.at(2), 0.25);
    }
}
