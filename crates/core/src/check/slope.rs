//! What slope do differences give, and how far can it be trusted? Many steps, extrapolated; the most stable answer counts.
//!
//! L. F. Richardson (1911), doi:10.1098/rsta.1911.0009; choosing the step by the agreement of neighbours follows
//! C. J. F. Ridders (1982), doi:10.1016/S0141-1195(82)80057-0.

/// A slope found by differences.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slope {
    /// The extrapolated slope; NaN where the function has no finite values.
    pub value: f64,
    /// How far the neighbouring steps are from it, rounding included.
    pub spread: f64,
    /// The largest value that the function had at any step.
    pub reach: f64,
}

/// Steps, each a quarter of the one before: from a size at which smooth functions lose no digits to rounding, to one at which few
/// kinks are crossed. Powers of two, so that `x ± h` is exact for `x` of the order of 1.
const STEPS: std::ops::Range<i32> = 5..19;
const FACTOR: i32 = 2;

fn steps() -> impl Iterator<Item = f64> {
    STEPS.step_by(FACTOR as usize).map(|k| 0.5f64.powi(k))
}

/// `f'(0)`, where `f(0) = 0` and the terms that `f` sums are about as large as `magnitude`.
pub(super) fn first(f: &mut dyn FnMut(f64) -> f64, magnitude: f64) -> Slope {
    let mut reach = 0.0f64;
    let found = steps().map(|h| {
        let (right, left) = (f(h), f(-h));
        reach = reach.max(right.abs()).max(left.abs());
        ((right - left) / (2.0 * h), 4.0 * f64::EPSILON * (magnitude + right.abs() + left.abs()) / h)
    });
    let slope = settle(found);
    Slope { reach, ..slope }
}

/// `∂²f/∂s∂t` at `(0, 0)` by values of `f` alone.
pub(super) fn mixed(f: &mut dyn FnMut(f64, f64) -> f64, magnitude: f64) -> Slope {
    let mut reach = 0.0f64;
    let found = steps().map(|h| {
        let corners = [f(h, h), f(-h, -h), -f(h, -h), -f(-h, h)];
        let size = magnitude + corners.iter().map(|c| c.abs()).sum::<f64>();
        reach = reach.max(size);
        (corners.iter().sum::<f64>() / (4.0 * h * h), 4.0 * f64::EPSILON * size / (h * h))
    });
    let slope = settle(found);
    Slope { reach, ..slope }
}

/// `f'` from the left and from the right of 0, where `f(0) = 0`.
pub(super) fn sides(f: &mut dyn FnMut(f64) -> f64) -> (f64, f64) {
    let h = 0.5f64.powi(20);
    // Two steps cancel the curvature.
    let mut side = |h: f64| (4.0 * f(0.5 * h) - f(h)) / h;
    (side(-h), side(h))
}

/// The extrapolation whose neighbour agrees best with it; its reach is not known here. `found` gives a slope and its rounding error for each step.
fn settle(found: impl Iterator<Item = (f64, f64)>) -> Slope {
    let found: Vec<(f64, f64)> = found.collect();
    // The error of a central difference goes with h², that is by 16 from step to step.
    let better: Vec<(f64, f64)> = found.windows(2).map(|w| ((16.0 * w[1].0 - w[0].0) / 15.0, w[1].1)).collect();
    let candidates = better.windows(2).map(|w| Slope { value: w[1].0, spread: (w[0].0 - w[1].0).abs() + w[1].1, reach: 0.0 });
    let best = candidates.filter(|s| s.spread.is_finite()).min_by(|a, b| a.spread.total_cmp(&b.spread));
    best.unwrap_or(Slope { value: f64::NAN, spread: f64::INFINITY, reach: 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smooth_functions_give_ten_digits() {
        for (x, scale) in [(0.3f64, 1.0), (2.0, 1e-3), (1.0, 1e4)] {
            let mut f = |t: f64| scale * ((x + t).sin().exp() - x.sin().exp());
            let s = first(&mut f, 3.0 * scale);
            let exact = scale * x.cos() * x.sin().exp();
            assert!((s.value - exact).abs() <= 1e-9 * exact.abs() && (s.value - exact).abs() <= 4.0 * s.spread, "{s:?} {exact}");
        }
        let mut f = |s: f64, t: f64| ((0.5 + s) * (0.25 + t)).sin();
        let (s, exact) = (mixed(&mut f, 1.0), 0.125f64.cos() - 0.125 * 0.125f64.sin());
        assert!((s.value - exact).abs() < 1e-8 && (s.value - exact).abs() <= 4.0 * s.spread, "{s:?} {exact}");
    }

    #[test]
    fn a_kink_nearby_is_stepped_around() {
        let s = first(&mut |t: f64| (t + 1e-3).abs() - 1e-3, 1e-3);
        assert!((s.value - 1.0).abs() < 1e-9, "{s:?}");
        let s = first(&mut |t: f64| if t < 0.01 { t } else { f64::NAN }, 1.0);
        assert!((s.value - 1.0).abs() < 1e-9, "where the function ends: {s:?}");
    }

    #[test]
    fn a_slope_of_zero_is_zero_but_for_rounding() {
        // Two factors are zero at the point, so nothing that is summed there has a size.
        let s = first(&mut |t: f64| 0.3 * t * (0.7 * t) * (1.1 + 0.9 * t) * (0.8 - 1.3 * t), 0.0);
        assert!(s.value.abs() <= 8.0 * s.spread && s.spread < 1e-10, "{s:?}");
    }

    #[test]
    fn what_has_no_slope_says_so() {
        let s = first(&mut |t: f64| f64::from(t > 0.0), 1.0);
        assert!(s.spread > 1.0, "a jump: {s:?}");
        assert_eq!(sides(&mut |t: f64| t.max(0.0)), (0.0, 1.0));
        assert!(first(&mut |_| f64::NAN, 1.0).value.is_nan());
    }
}
