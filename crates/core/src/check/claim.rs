//! Is a claimed gradient the slope of the function? Random directions first; where they disagree, the coordinate at fault is searched.

use super::slope::{self, Slope};
use crate::{Array, DType, Dense};

/// A function of several arrays at a point, and what is claimed to be its gradient there.
pub(super) struct Claim<'a> {
    /// The point.
    pub x: &'a [Dense],
    /// Which of the arrays may be moved.
    pub moves: &'a [bool],
    /// The claimed gradient, as long as `x`; empty for arrays that are not moved.
    pub gradient: &'a [Vec<f64>],
    /// `f(x') - f(x)`.
    pub change: &'a dyn Fn(&[Dense]) -> f64,
    /// How large the terms are that `f` sums.
    pub magnitude: f64,
    /// The relative difference that is allowed.
    pub tolerance: f64,
    /// Coordinates that are not moved: input, row-major position.
    pub held: Vec<Coordinate>,
}

/// A coordinate whose slope is not the claimed one.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub input: usize,
    pub position: usize,
    pub index: Vec<usize>,
    pub claimed: f64,
    pub found: f64,
    pub left: f64,
    pub right: f64,
    pub rule: String,
}

/// What differences say along a direction.
struct Verdict {
    claimed: f64,
    found: Slope,
    /// Difference over what is allowed: above 1 is a fault.
    excess: f64,
    rule: String,
}

/// An input and a row-major position in it.
pub(super) type Coordinate = (usize, usize);
/// More coordinates than these are searched by halves.
const ONE_BY_ONE: usize = 64;

impl Claim<'_> {
    /// Checks `directions` random directions; gives the largest difference seen in units of what is allowed, or the worst coordinate.
    pub fn examine(&self, directions: u64, seed: u64) -> Result<f64, Located> {
        let all: Vec<Coordinate> = self.coordinates();
        if all.is_empty() {
            return Ok(0.0);
        }
        let mut worst = 0.0f64;
        for k in 0..directions {
            let v = self.direction(seed.wrapping_mul(1000) + k);
            let verdict = self.along(&v);
            if verdict.excess <= 1.0 {
                worst = worst.max(verdict.excess);
            } else if !self.holds_nearby(&v) {
                return Err(self.locate(&v, all));
            }
        }
        Ok(worst)
    }

    /// Whether the direction agrees at steps so small that a kink beside the point is not crossed: of the thousands of units of a
    /// network one is often that near to its kink, and at larger steps gives the mean of both sides, very stably.
    fn holds_nearby(&self, v: &[Vec<f64>]) -> bool {
        const CLOSER: f64 = 1.0 / (1 << 18) as f64;
        let near: Vec<Vec<f64>> = v.iter().map(|v| v.iter().map(|v| v * CLOSER).collect()).collect();
        self.along(&near).excess <= 1.0
    }

    fn coordinates(&self) -> Vec<Coordinate> {
        let moved = (0..self.x.len()).filter(|&i| self.moves[i]);
        moved.flat_map(|i| (0..self.x[i].data.len()).map(move |c| (i, c))).filter(|at| !self.held.contains(at)).collect()
    }

    /// How far an input may be moved: its typical size, so that large and small parameters are treated alike.
    fn scale(&self, i: usize) -> f64 {
        typical(&self.x[i].data)
    }

    /// A random direction in all inputs that move.
    fn direction(&self, seed: u64) -> Vec<Vec<f64>> {
        let each = self.x.iter().enumerate().map(|(i, x)| {
            let scale = if self.moves[i] { self.scale(i) } else { 0.0 };
            normal(x.data.len(), seed ^ (i as u64) << 40).into_iter().map(|v| scale * v).collect()
        });
        let mut each: Vec<Vec<f64>> = each.collect();
        self.held.iter().for_each(|&(i, c)| each[i][c] = 0.0);
        each
    }

    /// One coordinate's direction.
    fn unit(&self, (input, at): Coordinate) -> Vec<Vec<f64>> {
        let mut v: Vec<Vec<f64>> = self.x.iter().map(|x| vec![0.0; x.data.len()]).collect();
        v[input][at] = self.scale(input);
        v
    }

    fn moved(&self, v: &[Vec<f64>], t: f64) -> f64 {
        let mut to = self.x.to_vec();
        for (x, v) in to.iter_mut().zip(v) {
            x.data.iter_mut().zip(v).filter(|(_, v)| **v != 0.0).for_each(|(x, v)| *x += t * v);
        }
        (self.change)(&to)
    }

    fn along(&self, v: &[Vec<f64>]) -> Verdict {
        let terms = || self.gradient.iter().zip(v).flat_map(|(g, v)| g.iter().zip(v).map(|(g, v)| g * v));
        let claimed: f64 = terms().sum();
        let found = slope::first(&mut |t| self.moved(v, t), self.magnitude);
        // Terms of random signs add up to about the root of the sum of their squares.
        let scale = terms().map(|t| t * t).sum::<f64>().sqrt().max(found.value.abs());
        let allowed = self.tolerance * scale + 8.0 * found.spread;
        let difference = (claimed - found.value).abs();
        let unstable = found.spread > 1e-3 * scale + 1e-7 * (self.magnitude + found.reach);
        let (excess, rule) = if unstable || !difference.is_finite() {
            (f64::INFINITY, format!("differences do not settle: neighbouring steps are {:.1e} apart", found.spread))
        } else {
            let rule = format!(
                "|claimed - found| = {difference:.2e} exceeds {allowed:.2e} = {:.0e} × {scale:.2e} + 8 × {:.1e} (spread of the steps)",
                self.tolerance, found.spread
            );
            (difference / allowed.max(f64::MIN_POSITIVE), rule)
        };
        Verdict { claimed, found, excess, rule }
    }

    /// The coordinate that is most at fault in a direction that is.
    fn locate(&self, v: &[Vec<f64>], mut among: Vec<Coordinate>) -> Located {
        let within = |part: &[Coordinate]| {
            let mut masked: Vec<Vec<f64>> = v.iter().map(|v| vec![0.0; v.len()]).collect();
            part.iter().for_each(|&(i, c)| masked[i][c] = v[i][c]);
            self.along(&masked).excess
        };
        while among.len() > ONE_BY_ONE {
            let right = among.split_off(among.len() / 2);
            if within(&right) > within(&among) {
                among = right;
            }
        }
        let verdicts = among.iter().map(|&c| (c, self.along(&self.unit(c))));
        let (at, verdict) = verdicts.max_by(|(_, a), (_, b)| a.excess.total_cmp(&b.excess)).expect("there are coordinates");
        self.report(at, &verdict)
    }

    fn report(&self, (input, at): Coordinate, verdict: &Verdict) -> Located {
        let (v, scale) = (self.unit((input, at)), self.scale(input));
        let (left, right) = slope::sides(&mut |t| self.moved(&v, t));
        let rule = if verdict.excess > 1.0 {
            verdict.rule.clone()
        } else {
            "only a direction of several coordinates disagrees; this one does most".into()
        };
        Located {
            input,
            position: at,
            index: unravel(at, &self.x[input].dims),
            claimed: verdict.claimed / scale,
            found: verdict.found.value / scale,
            left: left / scale,
            right: right / scale,
            rule,
        }
    }
}

impl Located {
    /// Whether the slopes from the two sides differ.
    pub fn at_kink(&self) -> bool {
        (self.left - self.right).abs() > 1e-3 * self.left.abs().max(self.right.abs())
    }

    /// Whether what is claimed lies between the slopes from the two sides of a kink.
    pub fn within_kink(&self) -> bool {
        let (low, high) = (self.left.min(self.right), self.left.max(self.right));
        let slack = 1e-6 * low.abs().max(high.abs());
        self.at_kink() && (low - slack..=high + slack).contains(&self.claimed)
    }
}

/// Normal numbers that depend on the seed alone.
pub(super) fn normal(n: usize, seed: u64) -> Vec<f64> {
    Array::normal(DType::F64, n, 0.0, 1.0, seed).to_vec()
}

/// The typical size of some numbers; 1 if they are all zero.
pub(super) fn typical(x: &[f64]) -> f64 {
    let rms = (x.iter().map(|v| v * v).sum::<f64>() / x.len().max(1) as f64).sqrt();
    if rms > 0.0 && rms.is_finite() { rms } else { 1.0 }
}

/// The index of a row-major position.
pub(super) fn unravel(mut at: usize, dims: &[usize]) -> Vec<usize> {
    let mut index = vec![0; dims.len()];
    for (i, d) in index.iter_mut().zip(dims).rev() {
        (*i, at) = (at % d, at / d);
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examine(gradient: &[Vec<f64>]) -> Result<f64, Located> {
        // f = Σ x³ over 200 numbers, and the product of the two of another array
        let x = [Dense { dims: vec![10, 20], data: normal(200, 1) }, Dense { dims: vec![2], data: vec![3.0, -2.0] }];
        let f = |x: &[Dense]| x[0].data.iter().map(|v| v.powi(3)).sum::<f64>() + x[1].data[0] * x[1].data[1];
        let f0 = f(&x);
        let change = |to: &[Dense]| f(to) - f0;
        Claim { x: &x, moves: &[true, true], gradient, change: &change, magnitude: 500.0, tolerance: 1e-6, held: Vec::new() }.examine(3, 7)
    }

    #[test]
    fn a_wrong_coordinate_is_found_by_halves() {
        let mut g = vec![normal(200, 1).iter().map(|v| 3.0 * v * v).collect::<Vec<f64>>(), vec![-2.0, 3.0]];
        assert!(examine(&g).unwrap() < 1.0);
        g[0][137] += 0.01;
        let at = examine(&g).unwrap_err();
        assert_eq!((at.input, at.index.as_slice()), (0, &[6, 17][..]), "{at:?}");
        assert!((at.claimed - at.found - 0.01).abs() < 1e-6 && !at.at_kink(), "{at:?}");
    }
}
