//! How far from the truth is each function, on every kind of argument?

use super::Real;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

/// `|a - b|` in units of the last place of `b`; 0 for two NaN, huge for one.
fn ulps32(a: f32, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        return if a.is_nan() && b.is_nan() { 0.0 } else { 1e9 };
    }
    let near = b as f32;
    if f64::from(a) == b || a == near {
        return 0.0;
    }
    if a.is_infinite() || near.is_infinite() {
        return if (f64::from(a) - f64::from(near)).abs() == 0.0 { 0.0 } else { 1e9 };
    }
    let unit = f64::from(f32::from_bits((near.abs().to_bits() & 0x7f80_0000).max(24 << 23))) * f64::from(f32::EPSILON);
    let unit = if near.abs() < f32::MIN_POSITIVE * 2.0 { f64::from(f32::from_bits(1)) } else { unit };
    (f64::from(a) - b).abs() / unit
}

fn ulps64(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        return if a.is_nan() && b.is_nan() { 0.0 } else { 1e9 };
    }
    if a.is_sign_negative() != b.is_sign_negative() {
        return 1e9; // zeros too
    }
    a.abs().to_bits().abs_diff(b.abs().to_bits()) as f64
}

/// A function: name, with fused multiply-add, without, reference.
type Function<T, F> = (&'static str, fn(T) -> T, fn(T) -> T, F);

/// `1 / (1 + e^-x)`, in pairs of doubles.
fn sigmoid(x: f64) -> f64 {
    if x.is_nan() || x < -700.0 {
        return x.exp(); // the sum with 1 is lost
    }
    let e = pair_exp((-x).max(-100.0));
    let (y, low) = pair_over((1.0, 0.0), pair_add((1.0, 0.0), e));
    y + low
}

/// `(e^2x - 1) / (e^2x + 1)` in pairs of doubles; near 0 its Taylor series, whose next term is lost.
fn tanh(x: f64) -> f64 {
    if x.is_nan() || x.abs() < 1e-5 {
        return x * (1.0 - x * x / 3.0);
    }
    let e = pair_exp((2.0 * x.abs()).min(100.0));
    let (y, low) = pair_over(pair_add(e, (-1.0, 0.0)), pair_add(e, (1.0, 0.0)));
    (y + low).copysign(x)
}

/// `e^x` by the Taylor series at `x / 2^10`, squared ten times; 27 digits.
fn pair_exp(x: f64) -> (f64, f64) {
    let r = x / 1024.0;
    let (mut term, mut sum) = ((1.0, 0.0), (0.0, 0.0)); // of e^r - 1, which keeps its digits when doubled
    for k in 1..=18 {
        term = pair_div(pair_mul(term, (r, 0.0)), f64::from(k));
        sum = pair_add(sum, term);
    }
    for _ in 0..10 {
        sum = pair_add(pair_mul(sum, sum), (2.0 * sum.0, 2.0 * sum.1));
    }
    pair_add(sum, (1.0, 0.0))
}

/// Each function: with fused multiply-add, without, and the reference.
fn functions<T: Real, F>(reference: [F; 10]) -> [Function<T, F>; 10] {
    let [a, b, c, d, e, f, g, h, i, j] = reference;
    [
        ("exp", T::exp::<true>, T::exp::<false>, a),
        ("expm1", T::expm1::<true>, T::expm1::<false>, b),
        ("ln", T::ln::<true>, T::ln::<false>, c),
        ("ln_1p", T::ln_1p::<true>, T::ln_1p::<false>, d),
        ("tanh", T::tanh::<true>, T::tanh::<false>, e),
        ("sigmoid", T::sigmoid::<true>, T::sigmoid::<false>, f),
        ("sin", T::sin::<true>, T::sin::<false>, g),
        ("cos", T::cos::<true>, T::cos::<false>, h),
        ("floor", T::floor::<true>, T::floor::<false>, i),
        ("erf", T::erf::<true>, T::erf::<false>, j),
    ]
}

const REFERENCE: [fn(f64) -> f64; 10] = [f64::exp, f64::exp_m1, f64::ln, f64::ln_1p, tanh, sigmoid, f64::sin, f64::cos, f64::floor, erf];

/// The error function by its Taylor series, in pairs of doubles: 32 digits less what cancels.
fn erf(x: f64) -> f64 {
    if x.is_nan() || x.abs() >= 6.0 {
        return if x.is_nan() { x } else { 1f64.copysign(x) };
    }
    let two_over_root_pi = (std::f64::consts::FRAC_2_SQRT_PI, 1.533545961316588e-17);
    let square = pair_mul((x, 0.0), (x, 0.0));
    let (mut power, mut sum, mut k) = ((x, 0.0), (x, 0.0), 0.0);
    while k < 150.0 {
        k += 1.0;
        let p = pair_mul(power, square);
        power = pair_div((-p.0, -p.1), k);
        sum = pair_add(sum, pair_div(power, 2.0 * k + 1.0));
    }
    let y = pair_mul(sum, two_over_root_pi);
    if x == 0.0 { x } else { y.0 + y.1 }
}
fn pair_add(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let s = a.0 + b.0;
    let v = s - a.0;
    let e = (a.0 - (s - v)) + (b.0 - v) + (a.1 + b.1);
    (s + e, e - ((s + e) - s))
}
fn pair_mul(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let p = a.0 * b.0;
    let e = a.0.mul_add(b.0, -p) + (a.0 * b.1 + a.1 * b.0);
    (p + e, e - ((p + e) - p))
}
fn pair_over(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let q = a.0 / b.0;
    let p = pair_mul((q, 0.0), b);
    let rest = pair_add(a, (-p.0, -p.1));
    let e = rest.0 / b.0;
    (q + e, e - ((q + e) - q))
}
fn pair_div(a: (f64, f64), b: f64) -> (f64, f64) {
    let q = a.0 / b;
    let r = (-q).mul_add(b, a.0) + a.1;
    let e = r / b;
    (q + e, e - ((q + e) - q))
}

/// `x^y` as C's `pow` has it, by logarithm and exponential in pairs of doubles.
fn pow(x: f64, y: f64) -> f64 {
    if x == 1.0 || y == 0.0 || x == -1.0 && y.is_infinite() {
        return 1.0;
    }
    let (whole, odd) = (y.floor() == y, (y * 0.5).floor() != y * 0.5 && y.is_finite());
    if x.is_nan() || y.is_nan() || x < 0.0 && x.is_finite() && !whole {
        return f64::NAN;
    }
    let size = pair_pow(x.abs(), y);
    if x.is_sign_negative() && whole && odd { -size } else { size }
}

/// `x^y` of `x >= 0`, none of both NaN, not `1^∞` or `0^0`.
fn pair_pow(x: f64, y: f64) -> f64 {
    if x == 0.0 || x.is_infinite() || (x.ln() * y).abs() > 800.0 {
        return if (x > 1.0) == (y > 0.0) { f64::INFINITY } else { 0.0 };
    }
    const LN2: (f64, f64) = (std::f64::consts::LN_2, 2.3190468138462996e-17);
    let t = pair_mul(pair_ln(x, LN2), (y, 0.0));
    let n = (t.0 / LN2.0).round();
    let r = pair_add(t, pair_mul(LN2, (-n, 0.0)));
    let e = pair_mul(pair_exp(r.0), (1.0, r.1));
    let half = (n / 2.0).floor();
    (e.0 + e.1) * half.exp2() * (n - half).exp2()
}

/// `ln x` of `2^k m` as `k ln 2 + 2 artanh((m - 1) / (m + 1))`, by its series: no digits are lost next to 1.
fn pair_ln(x: f64, ln2: (f64, f64)) -> (f64, f64) {
    let (x, less) = if x < f64::MIN_POSITIVE { (x * 2f64.powi(54), 54.0) } else { (x, 0.0) };
    let exponent = ((x.to_bits() >> 52) as f64) - 1023.0;
    let m = f64::from_bits((x.to_bits() & (u64::MAX >> 12)) | 1f64.to_bits());
    let (m, k) = if m > std::f64::consts::SQRT_2 { (m / 2.0, exponent + 1.0 - less) } else { (m, exponent - less) };
    let s = pair_over((m - 1.0, 0.0), pair_add((m, 0.0), (1.0, 0.0)));
    let square = pair_mul(s, s);
    let (mut power, mut sum) = (s, s);
    for i in 1..24 {
        power = pair_mul(power, square);
        sum = pair_add(sum, pair_div(power, f64::from(2 * i + 1)));
    }
    pair_add(pair_mul(ln2, (k, 0.0)), (2.0 * sum.0, 2.0 * sum.1))
}

/// Bases and exponents: any at all; those whose power is a number, most of `2^low..2^high`; the same of negative bases to whole powers.
fn powers(any: impl Fn(u64) -> f64, [low, high]: [f64; 2]) -> impl Iterator<Item = (f64, f64)> {
    let mut rng = StdRng::seed_from_u64(4);
    (0..if cfg!(debug_assertions) { 200_000 } else { 4_000_000 }).map(move |i| {
        let x = any(rng.next_u64());
        let near = 1.0 + any(rng.next_u64()) % 1.0 * 2f64.powi(-rng.random_range(1..50));
        let base = if i % 2 == 0 { x } else { near };
        let y = rng.random_range(low..high) / base.abs().log2();
        match i % 5 {
            0 => (base, any(rng.next_u64())),
            1..4 => (base.abs(), y),
            _ => (-base.abs(), y.round()),
        }
    })
}

/// Floats of every exponent, and a fine comb over the interesting range.
fn singles() -> impl Iterator<Item = f32> {
    let all = (0..u32::MAX).step_by(if cfg!(debug_assertions) { 20_011 } else { 1009 }).map(f32::from_bits);
    let comb = (-400_000..400_000).map(|i| i as f32 * 2.7e-4);
    all.chain(comb).chain(SPECIAL.iter().map(|&x| x as f32))
}
fn doubles() -> impl Iterator<Item = f64> {
    let all = (0..200_000u64).map(|i| f64::from_bits(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let comb = (-200_000..200_000).map(|i| f64::from(i) * 3.717e-3);
    let fine = (-100_000..100_000).map(|i| f64::from(i) * 7.3e-5);
    all.chain(comb).chain(fine).chain(SPECIAL)
}
const SPECIAL: [f64; 22] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    1e-45,
    -1e-45,
    5e-324,
    -5e-324,
    1e-40,
    f64::MIN_POSITIVE,
    88.72,
    89.0,
    -87.4,
    -103.9,
    709.78,
    709.79,
    -745.1,
    -744.0,
    1e6,
];

#[test]
fn singles_are_within_two_units() {
    for (name, fused, plain, reference) in functions::<f32, _>(REFERENCE) {
        let far = ["sin", "cos"].contains(&name);
        let mut worst = [(0.0, 0.0); 2];
        for x in singles().filter(|x| !far || !x.is_far()) {
            let want = reference(f64::from(x));
            for (form, y) in [fused(x), plain(x)].into_iter().enumerate() {
                let e = ulps32(y, want);
                if e >= worst[form].0 {
                    worst[form] = (e, x);
                }
                assert!(want != 0.0 || y.is_sign_negative() == want.is_sign_negative(), "{name}({x:e}): sign of zero");
            }
        }
        println!("f32 {name}: fused {:?} plain {:?}", worst[0], worst[1]);
        assert!(worst.iter().all(|w| w.0 <= 2.0), "{name}: {worst:?}");
    }
}

#[test]
fn doubles_are_within_two_units() {
    for (name, fused, plain, reference) in functions::<f64, _>(REFERENCE) {
        let far = ["sin", "cos"].contains(&name);
        let mut worst = [(0.0, 0.0); 2];
        for x in doubles().filter(|x| !far || !x.is_far()) {
            let want = reference(x);
            for (form, y) in [fused(x), plain(x)].into_iter().enumerate() {
                let e = ulps64(y, want);
                if e >= worst[form].0 {
                    worst[form] = (e, x);
                }
            }
        }
        println!("f64 {name}: fused {:?} plain {:?}", worst[0], worst[1]);
        assert!(worst.iter().all(|w| w.0 <= 2.0), "{name}: {worst:?}");
    }
}

#[test]
fn angles_next_to_multiples_of_pi_keep_their_digits() {
    // 411557987 π/2-like angles come closest to a multiple; here the nearest doubles to n π/2.
    for n in 1..600_000 {
        let x = f64::from(n) * std::f64::consts::FRAC_PI_2;
        for (y, want) in [(x.sin(), Real::sin::<true>(x)), (x.sin(), Real::sin::<false>(x)), (x.cos(), Real::cos::<false>(x))] {
            assert!(ulps64(want, y) <= 2.0, "{x}: {want} for {y}");
        }
    }
}

#[test]
fn powers_are_within_a_unit() {
    let mut worst = [(0.0, (0.0, 0.0)); 4];
    let mut enter = |form: usize, e: f64, xy: (f64, f64)| {
        if e >= worst[form].0 {
            worst[form] = (e, xy);
        }
    };
    let singles = powers(|bits| f64::from(f32::from_bits(bits as u32)), [-152.0, 130.0]);
    for (x, y) in singles.map(|(x, y)| (x as f32, y as f32)) {
        let want = f64::from(x).powf(f64::from(y));
        for (form, got) in [Real::pow::<true>(x, y), Real::pow::<false>(x, y)].into_iter().enumerate() {
            enter(form, ulps32(got, want), (x.into(), y.into()));
            assert!(want != 0.0 || got.is_sign_negative() == want.is_sign_negative(), "{x:e}^{y:e}: sign of zero");
        }
    }
    let special = SPECIAL.iter().flat_map(|&x| SPECIAL.map(|y| (x, y)));
    // Libraries differ in what 1 to the power of a signaling NaN is.
    let quiet = |bits| Some(f64::from_bits(bits)).filter(|x| !x.is_nan()).unwrap_or(f64::NAN);
    for (x, y) in powers(quiet, [-1080.0, 1026.0]).chain(special) {
        let want = pow(x, y);
        enter(2, ulps64(Real::pow::<true>(x, y), want), (x, y));
        enter(3, ulps64(Real::pow::<false>(x, y), want), (x, y));
    }
    println!("pow: f32 fused {:?} plain {:?}, f64 fused {:?} plain {:?}", worst[0], worst[1], worst[2], worst[3]);
    assert!(worst[..2].iter().all(|w| w.0 <= 0.51) && worst[2..].iter().all(|w| w.0 <= 1.0), "{worst:?}");
}

#[test]
fn powers_follow_c() {
    let values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        2.0,
        -2.0,
        3.0,
        -3.0,
        2.5,
        -2.5,
        1e-3,
        1e10,
        -1e10,
        16777215.0,
        16777216.0,
        -16777217.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        1e-45,
        3e38,
        -7.0,
        0.99999,
        1.0001,
    ];
    for x in values {
        for y in values {
            for got in [Real::pow::<true>(x, y), Real::pow::<false>(x, y)] {
                let want = f64::from(x).powf(f64::from(y));
                assert!(ulps32(got, want) <= 1.0, "{x}^{y} = {got}, expected {want}");
                assert!(want != 0.0 || got.is_sign_negative() == want.is_sign_negative(), "{x}^{y}: sign of zero");
            }
        }
    }
}

#[test]
fn extrema_and_signs() {
    assert!(f32::NAN.larger(1.0).is_nan() && 1f32.larger(f32::NAN).is_nan());
    assert!(f64::NAN.smaller(1.0).is_nan() && 1f64.smaller(f64::NAN).is_nan());
    for (a, b) in [(0.0f32, -0.0), (-0.0, 0.0)] {
        assert!(a.larger(b).is_sign_positive() && a.smaller(b).is_sign_negative());
    }
    assert_eq!((Real::sign(-3f64), Real::sign(2f64)), (-1.0, 1.0));
    assert!(Real::sign(-0.0f32).is_sign_negative() && Real::sign(f32::NAN).is_nan());
}
