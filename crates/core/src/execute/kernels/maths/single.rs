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

/// From here on tanh and the sigmoid are 1.
const FLAT: f32 = 40.0;
/// An exponent whose power of two times `e^-LOWEST` is a normal number.
const DOWN: i32 = -32;
const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// `2^(n + more)` of `t = n + ROUND`, where that is a normal number.
#[inline(always)]
fn power_of_two(t: f32, more: i32) -> f32 {
    f32::from_bits((t.to_bits() << 23).wrapping_add(((127 + more) as u32) << 23))
}

/// Two powers of two whose product is `2^n`, `t = n + ROUND`: normal numbers for all results of `e^x`.
#[inline(always)]
fn halves(t: f32) -> (f32, f32) {
    let (half, whole) = ((t.to_bits() >> 1) << 23, t.to_bits() << 23);
    (f32::from_bits(half.wrapping_add(127 << 23)), f32::from_bits(whole.wrapping_sub(half).wrapping_add(127 << 23)))
}

/// `(e^r - 1 - r) / r^2`. In pairs, which do not wait for each other.
#[inline(always)]
fn curve<const FMA: bool>(r: f32) -> f32 {
    let (low, high) = (fma::<FMA>(r, 0.166665345, 0.5), fma::<FMA>(r, 0.00836763531, 0.0416666046));
    fma::<FMA>(r * r, fma::<FMA>(r * r, 0.00139200373, high), low)
}

/// `(tanh x - x) / x^3` of `z = x^2`, `|x| < 0.28`.
#[inline(always)]
fn near_tanh<const FMA: bool>(z: f32) -> f32 {
    poly::<FMA, 3>(z, [-0.333333015, 0.133260891, -0.0514823906])
}

#[inline(always)]
pub(super) fn expm1<const FMA: bool>(x: f32) -> f32 {
    let c = if x < -18.0 { -18.0 } else { x };
    let c = if c > HIGHEST { HIGHEST } else { c };
    let (t, r) = reduced::<FMA>(c);
    let s = power_of_two(t, -1); // halved, since 2^128 is no number
    let y = 2.0 * fma::<FMA>(reduced_expm1::<FMA>(r), s, s - 0.5);
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
    let pair = |high: f32, low: f32| fma::<FMA>(f, high, low);
    let z = f * f;
    let low = fma::<FMA>(z, pair(-0.166245669, 0.200022846), pair(-0.250008106, 0.333333164));
    let high = fma::<FMA>(z, pair(-0.0785958767, 0.12881428), pair(-0.131286711, 0.14181225));
    let p = fma::<FMA>(z * z, high, low);
    let curve = z * fma::<FMA>(f, p, -0.5);
    fma::<FMA>(k, LN2_HI, f + fma::<FMA>(k, LN2_LO, curve))
}

#[inline(always)]
pub(super) fn ln<const FMA: bool>(x: f32) -> f32 {
    // Subnormal numbers are scaled up. By masks: of two branches the compiler makes two computations.
    let small = u32::from(x < f32::MIN_POSITIVE).wrapping_neg();
    let u = x * f32::from_bits(1f32.to_bits() + (small & (24 << 23)));
    let (k, m, _) = split(u);
    let y = ln_of::<FMA>(k - f32::from_bits(small & 24f32.to_bits()), m - 1.0);
    let y = if u < f32::INFINITY { y } else { u };
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

/// `x = n π/2 + r`; gives sine and cosine of `r`, and `n` in the low bits.
#[inline(always)]
fn quarter_turns<const FMA: bool>(x: f32) -> (f32, f32, u32) {
    let (r, n) = if FMA { reduced_angle(x) } else { reduced_angle_in_double(x) };
    let z = r * r;
    let s = poly::<FMA, 3>(z, [-0.166666546, 0.00833215491, -0.000195140732]);
    let c = poly::<FMA, 3>(z, [0.0416666463, -0.00138873374, 2.44348637e-05]);
    (fma::<FMA>(z * r, s, r), fma::<FMA>(z, fma::<FMA>(z, c, -0.5), 1.0), n)
}

/// The products are never rounded, and the first difference is exact.
#[inline(always)]
fn reduced_angle(x: f32) -> (f32, u32) {
    let t = fma::<true>(x, std::f32::consts::FRAC_2_PI, ROUND);
    let n = t - ROUND;
    let r = fma::<true>(n, -1.57079637, x);
    (fma::<true>(n, 1.71512451e-15, fma::<true>(n, 4.37113883e-08, r)), t.to_bits())
}

#[inline(always)]
fn reduced_angle_in_double(x: f32) -> (f32, u32) {
    const ROUND: f64 = 6755399441055744.0; // 1.5 * 2^52
    let x = f64::from(x);
    let t = x * std::f64::consts::FRAC_2_PI + ROUND;
    let n = t - ROUND;
    // The first product is exact: 33 bits times 20.
    (((x - n * 1.5707963267341256) - n * 6.077100506506192e-11) as f32, t.to_bits() as u32)
}

/// `a` or `b` by the lowest bit of `n`, negated by the next.
#[inline(always)]
fn turned(a: f32, b: f32, n: u32) -> f32 {
    let odd = (n << 31).cast_signed() >> 31;
    let y = (a.to_bits() & !odd as u32) | (b.to_bits() & odd as u32);
    f32::from_bits(y ^ (n >> 1 << 31))
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
    let near = fma::<FMA>(a, p, a);
    // Further out as 1 - e^-q, q = -ln erfc.
    let u = if a > 4.0 { 4.0 } else { a };
    let q = poly::<FMA, 8>(
        u,
        [-0.000174700181, 1.12951505, 0.633346558, 0.108280599, -0.0251198448, 0.00417125551, -0.00043450878, 2.10994694e-05],
    );
    let (t, r) = reduced::<FMA>(-q);
    let s = power_of_two(t, 0);
    let far = fma::<FMA>(-s, reduced_expm1::<FMA>(r), 1.0 - s);
    (if a < 0.925 { near } else { far }).copysign(x)
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
