//! What are the elementary functions, written so that a compiler turns a loop over them into vector code?
//!
//! No branches, no tables, no library calls (but for powers of `f64`): range reduction, a polynomial (coefficients by Remez' exchange algorithm at 45
//! digits), selects for the special values. Within 2 units in the last place everywhere, on every instruction set.
//! `FMA` says whether the machine multiplies and adds in one instruction; without it `mul_add` would be a library call.

mod double;
mod single;
#[cfg(test)]
mod tests;

/// A float with the functions that the kernels need.
pub trait Real: Copy + PartialOrd {
    /// `e^x`.
    fn exp<const FMA: bool>(self) -> Self;
    /// `e^x - 1`, precise near 0; keeps −0.
    fn expm1<const FMA: bool>(self) -> Self;
    /// Natural logarithm: −∞ at 0, NaN below.
    fn ln<const FMA: bool>(self) -> Self;
    /// `ln(1 + x)`, precise near 0; keeps −0.
    fn ln_1p<const FMA: bool>(self) -> Self;
    /// Hyperbolic tangent; keeps −0.
    fn tanh<const FMA: bool>(self) -> Self;
    /// `1 / (1 + e^-x)`, precise in the far negative too.
    fn sigmoid<const FMA: bool>(self) -> Self;
    /// Sine, for `|x|` up to [`Real::TURNS`] only.
    fn sin<const FMA: bool>(self) -> Self;
    /// Cosine, for `|x|` up to [`Real::TURNS`] only.
    fn cos<const FMA: bool>(self) -> Self;
    /// Error function; keeps −0.
    fn erf<const FMA: bool>(self) -> Self;
    /// `x` to the power `y`, with the special cases of C's `pow`. For `f32` rounded once but for rare near-ties, within 0.51 units in
    /// the last place; for `f64` the standard library's, found within 1.
    fn pow<const FMA: bool>(self, y: Self) -> Self;
    /// Largest integer not above; keeps −0.
    fn floor<const FMA: bool>(self) -> Self;
    /// `x * b + c`, rounded once with `FMA`, else twice.
    fn mul_add<const FMA: bool>(self, b: Self, c: Self) -> Self;
    /// Larger; NaN if either is; +0 is larger than −0.
    fn larger(self, other: Self) -> Self;
    /// Smaller; NaN if either is; −0 is smaller than +0.
    fn smaller(self, other: Self) -> Self;
    /// −1, 0 or 1; keeps signed zeros and NaN.
    fn sign(self) -> Self;

    /// Largest `|x|` for which the vector forms of sine and cosine reduce the angle exactly enough.
    const TURNS: Self;
    /// Whether the angle is finite and beyond [`Real::TURNS`].
    fn is_far(self) -> bool;
    /// Sine of any angle, one at a time.
    fn far_sin(self) -> Self;
    /// Cosine of any angle, one at a time.
    fn far_cos(self) -> Self;
}

/// What both widths have in common; one invocation for each inside its file.
macro_rules! shared {
    ($t:ty) => {
        /// `a * b + c`.
        #[inline(always)]
        fn fma<const FMA: bool>(a: $t, b: $t, c: $t) -> $t {
            if FMA { a.mul_add(b, c) } else { a * b + c }
        }

        /// Polynomial, coefficients from the constant term up.
        #[inline(always)]
        fn poly<const FMA: bool, const N: usize>(x: $t, c: [$t; N]) -> $t {
            let mut y = c[N - 1];
            let mut i = N - 1;
            while i > 0 {
                i -= 1;
                y = fma::<FMA>(y, x, c[i]);
            }
            y
        }

        /// `x = n ln 2 + r`, `|r|` little more than half of `ln 2`; gives `n + ROUND` and `r`.
        #[inline(always)]
        fn reduced<const FMA: bool>(x: $t) -> ($t, $t) {
            let t = fma::<FMA>(x, LOG2_E, ROUND);
            let n = t - ROUND;
            (t, fma::<FMA>(n, -LN2_LO, fma::<FMA>(n, -LN2_HI, x)))
        }

        /// `e^r - 1` of a reduced argument.
        #[inline(always)]
        fn reduced_expm1<const FMA: bool>(r: $t) -> $t {
            fma::<FMA>(r * r, curve::<FMA>(r), r)
        }

        #[inline(always)]
        pub(super) fn exp<const FMA: bool>(x: $t) -> $t {
            let x = if x < LOWEST { LOWEST } else { x };
            let x = if x > HIGHEST { HIGHEST } else { x };
            let (t, r) = reduced::<FMA>(x);
            let p = fma::<FMA>(r, fma::<FMA>(r, curve::<FMA>(r), 1.0), 1.0);
            // In two steps: the first is exact, the second overflows or rounds to a subnormal, once.
            let (half, rest) = halves(t);
            p * half * rest
        }

        /// As `e / (e + 2)` of `e = e^2|x| - 1`; near 0, where the roundings would show, by a polynomial.
        #[inline(always)]
        pub(super) fn tanh<const FMA: bool>(x: $t) -> $t {
            let z = x.abs() + x.abs();
            let (t, r) = reduced::<FMA>(if z > FLAT { FLAT } else { z });
            let (q, s) = (reduced_expm1::<FMA>(r), power_of_two(t, 0));
            let e = fma::<FMA>(q, s, s - 1.0);
            let near = fma::<FMA>(x * (x * x), near_tanh::<FMA>(x * x), x);
            (if x.abs() < 0.28 { near } else { e / (e + 2.0) }).copysign(x)
        }

        /// As `c / (c + c e^-x)`, where `c` is so small that nothing overflows: the far negative end keeps its digits.
        #[inline(always)]
        pub(super) fn sigmoid<const FMA: bool>(x: $t) -> $t {
            let x = if x < LOWEST { LOWEST } else { x };
            let x = if x > FLAT { FLAT } else { x };
            let (t, r) = reduced::<FMA>(-x);
            let c = power_of_two(ROUND, DOWN);
            let s = power_of_two(t, DOWN);
            c / (fma::<FMA>(reduced_expm1::<FMA>(r), s, c) + s)
        }

        #[inline(always)]
        pub(super) fn floor<const FMA: bool>(x: $t) -> $t {
            if FMA {
                return x.floor(); // such machines round in one instruction
            }
            const WHOLE: $t = 1.0 / <$t>::EPSILON; // from here on all are integers
            let r = ((x.abs() + WHOLE) - WHOLE).copysign(x);
            let r = if r > x { r - 1.0 } else { r };
            if x.abs() < WHOLE { r.copysign(x) } else { x }
        }

        #[inline(always)]
        fn larger(a: $t, b: $t) -> $t {
            let r = if a > b { a } else { b };
            // Equal numbers have equal bits, except for the zeros.
            let r = if a == b { <$t>::from_bits(a.to_bits() & b.to_bits()) } else { r };
            if a.is_nan() { a } else { r }
        }

        #[inline(always)]
        fn smaller(a: $t, b: $t) -> $t {
            let r = if a < b { a } else { b };
            let r = if a == b { <$t>::from_bits(a.to_bits() | b.to_bits()) } else { r };
            if a.is_nan() { a } else { r }
        }

        #[inline(always)]
        fn sign(x: $t) -> $t {
            if x.abs() > 0.0 { (1.0 as $t).copysign(x) } else { x }
        }

        impl super::Real for $t {
            super::shared! { $t: exp expm1 ln ln_1p tanh sigmoid sin cos erf floor }
            #[inline(always)]
            fn pow<const FMA: bool>(self, y: $t) -> $t {
                pow::<FMA>(self, y)
            }
            #[inline(always)]
            fn mul_add<const FMA: bool>(self, b: $t, c: $t) -> $t {
                fma::<FMA>(self, b, c)
            }
            #[inline(always)]
            fn larger(self, other: $t) -> $t {
                larger(self, other)
            }
            #[inline(always)]
            fn smaller(self, other: $t) -> $t {
                smaller(self, other)
            }
            #[inline(always)]
            fn sign(self) -> $t {
                sign(self)
            }
            const TURNS: $t = 1e6;
            #[inline(always)]
            fn is_far(self) -> bool {
                self.abs() > Self::TURNS
            }
            fn far_sin(self) -> $t {
                self.sin()
            }
            fn far_cos(self) -> $t {
                self.cos()
            }
        }
    };
    ($t:ty: $($f:ident)*) => {
        $(#[inline(always)]
        fn $f<const FMA: bool>(self) -> $t {
            $f::<FMA>(self)
        })*
    };
}
use shared;
