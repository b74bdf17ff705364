//! What are the elementary functions of an `f64`?
//!
//! The form of the logarithm and of sine and cosine on a reduced, two-part argument follows K. C. Ng's analysis in FDLIBM
//! (Sun Microsystems, 1993); the angle is reduced by W. J. Cody and W. Waite's method, here in four parts.

super::shared! { f64 }

/// Adding it rounds to an integer, which then stands in the low bits.
const ROUND: f64 = 6755399441055744.0; // 1.5 * 2^52
/// Below it `e^x` is 0.
const LOWEST: f64 = -746.0;
/// From here on it is ∞.
const HIGHEST: f64 = 710.0;
const LN2_HI: f64 = 0.6931471803691238; // 32 bits: times an exponent it is exact
const LN2_LO: f64 = 1.9082149292705877e-10;

/// From here on tanh and the sigmoid are 1.
const FLAT: f64 = 40.0;
/// An exponent whose power of two times `e^-LOWEST` is a normal number.
const DOWN: i32 = -100;
const LOG2_E: f64 = std::f64::consts::LOG2_E;

/// `2^(n + more)` of `t = n + ROUND`, where that is a normal number.
#[inline(always)]
fn power_of_two(t: f64, more: i32) -> f64 {
    f64::from_bits((t.to_bits() << 52).wrapping_add(((1023 + more) as u64) << 52))
}

/// Two powers of two whose product is `2^n`, `t = n + ROUND`: normal numbers for all results of `e^x`.
#[inline(always)]
fn halves(t: f64) -> (f64, f64) {
    let (half, whole) = ((t.to_bits() >> 1) << 52, t.to_bits() << 52);
    (f64::from_bits(half.wrapping_add(1023 << 52)), f64::from_bits(whole.wrapping_sub(half).wrapping_add(1023 << 52)))
}

/// `(e^r - 1 - r) / r^2`.
#[inline(always)]
fn curve<const FMA: bool>(r: f64) -> f64 {
    poly::<FMA, 10>(
        r,
        [
            0.5000000000000006,
            0.16666666666666685,
            0.04166666666657114,
            0.008333333333315008,
            0.001388888893371016,
            0.0001984126990261827,
            2.4801502425358094e-05,
            2.7557227912037274e-06,
            2.762725486005744e-07,
            2.5114605675583566e-08,
        ],
    )
}

/// `(tanh x - x) / x^3` of `z = x^2`, `|x| < 0.28`.
#[inline(always)]
fn near_tanh<const FMA: bool>(z: f64) -> f64 {
    poly::<FMA, 8>(
        z,
        [
            -0.3333333333333333,
            0.1333333333333182,
            -0.05396825396420012,
            0.021869488122006536,
            -0.008863214718001455,
            0.003591558574494776,
            -0.0014471573214076682,
            0.0005202979504165152,
        ],
    )
}

#[inline(always)]
pub(super) fn expm1<const FMA: bool>(x: f64) -> f64 {
    let c = if x < -40.0 { -40.0 } else { x };
    let c = if c > HIGHEST { HIGHEST } else { c };
    let (t, r) = reduced::<FMA>(c);
    let s = power_of_two(t, -1); // halved, since 2^1024 is no number
    let y = 2.0 * fma::<FMA>(reduced_expm1::<FMA>(r), s, s - 0.5);
    if x.abs() < f64::EPSILON / 4.0 { x } else { y }
}

/// `u = 2^k m`, `m` in `[√½, √2)`, for a normal `u > 0`: gives `k`, `m` and `2^-k`.
#[inline(always)]
fn split(u: f64) -> (f64, f64, f64) {
    let bits = u.to_bits();
    // Kept positive, since a 64-bit arithmetic shift is slow before AVX-512.
    let k = bits.wrapping_sub(0x3fe6a09e667f3bcd).wrapping_add(1024 << 52) >> 52;
    let shift = k.wrapping_sub(1024) << 52;
    let number = f64::from_bits(k | 0x4330000000000000) - 4503599627371520.0; // 2^52 + 1024
    (number, f64::from_bits(bits.wrapping_sub(shift)), f64::from_bits((1023u64 << 52).wrapping_sub(shift)))
}

/// `k ln 2 + ln(1 + f)`.
#[inline(always)]
fn ln_of<const FMA: bool>(k: f64, f: f64) -> f64 {
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z * poly::<FMA, 7>(
        z,
        [
            0.6666666666666735,
            0.39999999999413266,
            0.2857142874272844,
            0.2222219853556825,
            0.18183566413955993,
            0.1531399383524547,
            0.14796549387344152,
        ],
    );
    let h = 0.5 * f * f;
    fma::<FMA>(k, LN2_HI, f - (h - fma::<FMA>(s, h + r, k * LN2_LO)))
}

#[inline(always)]
pub(super) fn ln<const FMA: bool>(x: f64) -> f64 {
    // Subnormal numbers are scaled up. By masks: of two branches the compiler makes two computations.
    let small = u64::from(x < f64::MIN_POSITIVE).wrapping_neg();
    let u = x * f64::from_bits(1f64.to_bits() + (small & (54 << 52)));
    let (k, m, _) = split(u);
    let y = ln_of::<FMA>(k - f64::from_bits(small & 54f64.to_bits()), m - 1.0);
    let y = if u < f64::INFINITY { y } else { u };
    let y = if x == 0.0 { f64::NEG_INFINITY } else { y };
    if x < 0.0 { f64::NAN } else { y }
}

#[inline(always)]
pub(super) fn ln_1p<const FMA: bool>(x: f64) -> f64 {
    let u = 1.0 + x;
    let lost = if x < 1.0 { x - (u - 1.0) } else { 1.0 - (u - x) };
    let (k, m, down) = split(u);
    let f = (m - 1.0) + if x < 9007199254740992.0 { lost * down } else { 0.0 };
    let y = ln_of::<FMA>(k, f);
    let y = if x < f64::INFINITY { y } else { x };
    let y = if x == -1.0 { f64::NEG_INFINITY } else { y };
    let y = if x < -1.0 { f64::NAN } else { y };
    if x == 0.0 { x } else { y }
}

/// `x = n π/2 + (r + e)`; gives sine and cosine of `r + e`, and `n` in the low bits.
#[inline(always)]
fn quarter_turns<const FMA: bool>(x: f64) -> (f64, f64, u64) {
    let k = fma::<FMA>(x, std::f64::consts::FRAC_2_PI, ROUND);
    let n = k - ROUND;
    // Products of the first three parts with n are exact; the differences are carried in two parts.
    let t = x - n * 1.5707963267341256;
    let (t, e2) = minus(t, n * 6.077100506303966e-11);
    let (t, e3) = minus(t, n * 2.0222662487111665e-21);
    let tail = (e2 + e3) - n * 8.47842766036889e-32;
    let r = t + tail;
    let e = (t - r) + tail;
    let z = r * r;
    let s = poly::<FMA, 6>(
        z,
        [
            -0.1666666666666663,
            0.008333333333321868,
            -0.00019841269829352432,
            2.7557313527986313e-06,
            -2.5050731594409074e-08,
            1.5895212723595135e-10,
        ],
    );
    let c = poly::<FMA, 6>(
        z,
        [
            0.041666666666666595,
            -0.0013888888888873387,
            2.4801587289001497e-05,
            -2.755731420794552e-07,
            2.0875702954993626e-09,
            -1.135856259917951e-11,
        ],
    );
    let sin = r + fma::<FMA>(z * r, s, fma::<FMA>(-0.5 * z, e, e));
    let h = 0.5 * z;
    let w = 1.0 - h;
    let cos = w + (((1.0 - w) - h) + fma::<FMA>(z * z, c, -(r * e)));
    (sin, cos, k.to_bits())
}

/// `a - b` and what rounding lost.
#[inline(always)]
fn minus(a: f64, b: f64) -> (f64, f64) {
    let d = a - b;
    let v = d - a;
    (d, (a - (d - v)) - (b + v))
}

/// `a` or `b` by the lowest bit of `n`, negated by the next.
#[inline(always)]
fn turned(a: f64, b: f64, n: u64) -> f64 {
    let y = if n & 1 == 0 { a } else { b };
    f64::from_bits(y.to_bits() ^ ((n >> 1) << 63))
}

#[inline(always)]
pub(super) fn sin<const FMA: bool>(x: f64) -> f64 {
    let (s, c, n) = quarter_turns::<FMA>(x);
    if x == 0.0 { x } else { turned(s, c, n) }
}

#[inline(always)]
pub(super) fn cos<const FMA: bool>(x: f64) -> f64 {
    let (s, c, n) = quarter_turns::<FMA>(x);
    turned(s, c, n.wrapping_add(1)) // a quarter turn ahead
}

#[inline(always)]
pub(super) fn erf<const FMA: bool>(x: f64) -> f64 {
    let a = x.abs();
    let p = poly::<FMA, 12>(
        x * x,
        [
            0.12837916709551256,
            -0.3761263890318352,
            0.11283791670944185,
            -0.026866170643111496,
            0.005223977606118918,
            -0.0008548325929336147,
            0.00012055293577451869,
            -1.4924712310119742e-05,
            1.644713164068369e-06,
            -1.6206314079481301e-07,
            1.3710981018612424e-08,
            -7.779468490863641e-10,
        ],
    );
    let near = fma::<FMA>(x, p, x);
    // Beyond 1 as 1 - e^-q, q = -ln erfc.
    let t = if a > 6.0 { 6.0 } else { a } - 2.5;
    let q = poly::<FMA, 18>(
        t,
        [
            7.806815272727254,
            5.3526807509865355,
            0.9438937335257908,
            0.01085807273976035,
            -0.00216547691910548,
            0.00042093251521907536,
            -7.703077169574454e-05,
            1.2756032444598106e-05,
            -1.7688738626349363e-06,
            1.557322178584548e-07,
            1.231612326865351e-08,
            -1.0882015845298984e-08,
            3.7349548469600125e-09,
            -7.779754026982409e-10,
            1.0076182936144525e-10,
            -5.70109242630719e-11,
            5.615061801376113e-12,
            5.108156967656467e-12,
        ],
    );
    let far = (1.0 - exp::<FMA>(-q)).copysign(x);
    if a < 1.0 { near } else { far }
}

#[inline(always)]
pub(super) fn pow<const FMA: bool>(x: f64, y: f64) -> f64 {
    x.powf(y)
}
