//! What are the elementary functions of an `f32`?

// Coefficients stand in nine digits, which name an f32 uniquely.
#![allow(clippy::excessive_precision)]

super::shared! { f32 }

/// Adding it rounds to an integer, which then stands in the low bits.
const ROUND: f32 = 12582912.0; // 1.5 * 2^23
/// Below it `e^x` is 0.
const LOWEST: f32 = -104.0;
/// From here on it is ∞.
const HIGHEST: f32 = 89.0;
const LN2_HI: f32 = 0.693359375; // 9 bits: times an exponent it is exact
const LN2_LO: f32 = -0.00021219444;

/// `2^n` for an integer `n` of the exponents of normal numbers.
#[inline(always)]
fn power_of_two(n: f32) -> f32 {
    f32::from_bits(((n + ROUND).to_bits() << 23).wrapping_add(127 << 23))
}

/// `x = n ln 2 + r`, `|r| <= ln 2 / 2`; gives `n` and `e^r - 1`.
#[inline(always)]
fn reduced_expm1<const FMA: bool>(x: f32) -> (f32, f32) {
    let n = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND) - ROUND;
    let r = fma::<FMA>(n, -LN2_LO, fma::<FMA>(n, -LN2_HI, x));
    let p = poly::<FMA, 5>(r, [0.5, 0.166665345, 0.0416666046, 0.00836763531, 0.00139200373]);
    (n, fma::<FMA>(r * r, p, r))
}

#[inline(always)]
pub(super) fn expm1<const FMA: bool>(x: f32) -> f32 {
    let c = if x < -18.0 { -18.0 } else { x };
    let c = if c > HIGHEST { HIGHEST } else { c };
    let (n, q) = reduced_expm1::<FMA>(c);
    let s = power_of_two(n - 1.0); // halved, since 2^128 is no number
    let y = 2.0 * fma::<FMA>(q, s, s - 0.5);
    if x.abs() < f32::EPSILON / 4.0 { x } else { y }
}

/// `u = 2^k m`, `m` in `[√½, √2)`, for a normal `u > 0`: gives `k`, `m` and `2^-k`.
#[inline(always)]
fn split(u: f32) -> (f32, f32, f32) {
    let bits = u.to_bits();
    let k = (bits.wrapping_sub(0x3f3504f3) as i32) >> 23;
    let shift = (k as u32) << 23;
    (k as f32, f32::from_bits(bits.wrapping_sub(shift)), f32::from_bits((127u32 << 23).wrapping_sub(shift)))
}

/// `k ln 2 + ln(1 + f)`.
#[inline(always)]
fn ln_of<const FMA: bool>(k: f32, f: f32) -> f32 {
    let p = poly::<FMA, 8>(f, [0.333333164, -0.250008106, 0.200022846, -0.166245669, 0.14181225, -0.131286711, 0.12881428, -0.0785958767]);
    let curve = (f * f) * fma::<FMA>(f, p, -0.5);
    fma::<FMA>(k, LN2_HI, f + fma::<FMA>(k, LN2_LO, curve))
}

#[inline(always)]
pub(super) fn ln<const FMA: bool>(x: f32) -> f32 {
    let small = x < f32::MIN_POSITIVE;
    let u = if small { x * 16777216.0 } else { x }; // 2^24
    let (k, m, _) = split(u);
    let k = if small { k - 24.0 } else { k };
    let y = ln_of::<FMA>(k, m - 1.0);
    let y = if x < f32::INFINITY { y } else { x };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x < 0.0 { f32::NAN } else { y }
}

#[inline(always)]
pub(super) fn ln_1p<const FMA: bool>(x: f32) -> f32 {
    let u = 1.0 + x;
    let lost = if x < 1.0 { x - (u - 1.0) } else { 1.0 - (u - x) };
    let (k, m, down) = split(u);
    let f = (m - 1.0) + if x < 16777216.0 { lost * down } else { 0.0 };
    let y = ln_of::<FMA>(k, f);
    let y = if x < f32::INFINITY { y } else { x };
    let y = if x == -1.0 { f32::NEG_INFINITY } else { y };
    let y = if x < -1.0 { f32::NAN } else { y };
    if x == 0.0 { x } else { y }
}

/// `x = n π/2 + r`; gives sine and cosine of `r`, and `n` in the low bits. In double, where the reduction is short.
#[inline(always)]
fn quarter_turns<const FMA: bool>(x: f32) -> (f64, f64, u64) {
    const ROUND: f64 = 6755399441055744.0; // 1.5 * 2^52
    let x = f64::from(x);
    let k = x * std::f64::consts::FRAC_2_PI + ROUND;
    let n = k - ROUND;
    // The first product is exact: 33 bits times 20.
    let r = (x - n * 1.5707963267341256) - n * 6.077100506506192e-11;
    let z = r * r;
    let s = ((-0.00019514073051008402 * z + 0.008332154927540544) * z - 0.166666545871705) * (z * r) + r;
    let c = ((2.443486373719186e-05 * z - 0.0013887337272884207) * z + 0.04166664627387395) * (z * z) + (1.0 - 0.5 * z);
    (s, c, k.to_bits())
}

/// `a` or `b` by the lowest bit of `n`, negated by the next.
#[inline(always)]
fn turned(a: f64, b: f64, n: u64) -> f32 {
    let y = if n & 1 == 0 { a } else { b };
    f64::from_bits(y.to_bits() ^ ((n >> 1) << 63)) as f32
}

#[inline(always)]
pub(super) fn sin<const FMA: bool>(x: f32) -> f32 {
    let (s, c, n) = quarter_turns::<FMA>(x);
    if x == 0.0 { x } else { turned(s, c, n) }
}

#[inline(always)]
pub(super) fn cos<const FMA: bool>(x: f32) -> f32 {
    let (s, c, n) = quarter_turns::<FMA>(x);
    turned(s, c, n.wrapping_add(1)) // a quarter turn ahead
}

#[inline(always)]
pub(super) fn erf<const FMA: bool>(x: f32) -> f32 {
    let a = x.abs();
    let p = poly::<FMA, 7>(x * x, [0.128379166, -0.376126289, 0.112836257, -0.0268557314, 0.00519240461, -0.000804975687, 7.99656191e-05]);
    let near = fma::<FMA>(x, p, x);
    // Further out as 1 - e^-q, q = -ln erfc.
    let t = if a > 4.0 { 4.0 } else { a };
    let q = poly::<FMA, 8>(
        t,
        [-0.000174700181, 1.12951505, 0.633346558, 0.108280599, -0.0251198448, 0.00417125551, -0.00043450878, 2.10994694e-05],
    );
    let far = (1.0 - exp::<FMA>(-q)).copysign(x);
    if a < 0.925 { near } else { far }
}

/// Through double logarithm and exponential, whose errors vanish in the rounding to single.
#[inline(always)]
pub(super) fn pow<const FMA: bool>(x: f32, y: f32) -> f32 {
    const ROUND: f64 = 6755399441055744.0; // 1.5 * 2^52
    let (x64, y64) = (f64::from(x), f64::from(y));
    let size = super::double::exp::<FMA>(super::double::ln::<FMA>(x64.abs()) * y64) as f32;
    let rounded = y64 + ROUND;
    let huge = y.abs() >= 16777216.0; // all of these are even
    let whole = huge | (rounded - ROUND == y64);
    let odd = !huge & whole & (rounded.to_bits() & 1 == 1);
    let r = if odd { size.copysign(x) } else { size };
    let r = if (x < 0.0) & (x > f32::NEG_INFINITY) & !whole { f32::NAN } else { r };
    let one = (x == 1.0) | (y == 0.0) | ((x == -1.0) & (y.abs() == f32::INFINITY));
    if one { 1.0 } else { r }
}
