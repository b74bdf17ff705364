//! Which loop computes an instruction over a block of elements?
//!
//! One loop for all of them, compiled for each instruction, dtype and instruction set. Truth values are bytes, 0 or 1.

use super::{
    isa::{BlockLoop, Forms, Isa, Step, StepLoop, instance, step},
    maths::Real,
};
use crate::{DType, Instr};
use std::{
    marker::PhantomData,
    mem::{MaybeUninit, transmute_copy},
    slice,
};

/// The loops of an instruction for arguments of dtype `of` (for `Select`, of the branches).
///
/// # Panics
/// When there is no such instruction on that dtype.
pub fn forms(isa: Isa, instr: Instr, of: DType) -> Forms {
    let found = match (instr, of) {
        (Instr::Cast(to), _) => Some(cast(isa, of, to)),
        (_, DType::F32) => float::<f32>(isa, instr),
        (_, DType::F64) => float::<f64>(isa, instr),
        (_, DType::I64) => integer(isa, instr),
        (_, DType::Bool) => truth(isa, instr),
    };
    match found {
        Some(f) => f,
        None => panic!("{instr:?} on {of}: there is no such instruction; cast its arguments to a dtype that has it"),
    }
}

/// Time of an instruction for one element, in tenths of a nanosecond: what decides whether threads pay.
pub fn weight(instr: Instr, of: DType) -> usize {
    use Instr::*;
    let single = match instr {
        Exp | Expm1 | Ln | Ln1p | Tanh | Sigmoid | Sin | Cos | Erf => 5,
        Pow => 15,
        Sqrt | Div => 2,
        _ => 1,
    };
    if of.size() == 8 { 2 * single } else { single }
}

/// One instruction on one element.
trait Map {
    type A: Copy;
    type B: Copy; // `()`, which is read from nowhere, for arguments that it has not
    type C: Copy;
    type Out;
    fn at<const FMA: bool>(a: Self::A, b: Self::B, c: Self::C) -> Self::Out;
    /// For functions that leave rare arguments to the standard library: whether this is one, and its result.
    const HAS_FAR: bool = false;
    fn far(_: Self::A) -> Option<Self::Out> {
        None
    }
    fn is_far(_: Self::A) -> bool {
        false
    }
}

struct Each<M>(PhantomData<M>);

impl<M: Map> BlockLoop for Each<M> {
    #[inline(always)]
    unsafe fn run<const FMA: bool>(args: [*const u8; 3], out: *mut u8, n: usize) {
        debug_assert!(args[0].cast::<M::A>().is_aligned() && args[1].cast::<M::B>().is_aligned() && args[2].cast::<M::C>().is_aligned());
        debug_assert!(out.cast::<M::Out>().is_aligned());
        let apart = |arg: *const u8, size: usize| out.addr() + n * size_of::<M::Out>() <= arg.addr() || arg.addr() + n * size <= out.addr();
        debug_assert!(apart(args[0], size_of::<M::A>()), "a result over the first argument");
        debug_assert!(apart(args[1], size_of::<M::B>()) && apart(args[2], size_of::<M::C>()), "a result over another argument");
        // SAFETY: the caller promises `n` aligned elements behind each pointer, and that the result overlaps no argument.
        let (a, b, c, out) = unsafe {
            (
                slice::from_raw_parts(args[0].cast::<M::A>(), n),
                slice::from_raw_parts(args[1].cast::<M::B>(), n),
                slice::from_raw_parts(args[2].cast::<M::C>(), n),
                slice::from_raw_parts_mut(out.cast::<MaybeUninit<M::Out>>(), n),
            )
        };
        each::<M, FMA>(a, b, c, out);
        if M::HAS_FAR && a.iter().fold(false, |any, &x| any | M::is_far(x)) {
            // Element by element, so that an element's bits do not depend on its neighbours.
            for (o, &x) in out.iter_mut().zip(a) {
                if let Some(y) = M::far(x) {
                    o.write(y);
                }
            }
        }
    }
}

impl<M: Map> StepLoop for Each<M> {
    #[inline(always)]
    unsafe fn step<const FMA: bool>(slots: *mut u64, step: &Step) {
        let [a, b, c] = step.args.map(|slot| slots.wrapping_add(slot as usize));
        // SAFETY: the caller promises that the slots exist and hold elements of these types; a word has room for each, aligned.
        unsafe {
            let a = a.cast::<M::A>().read();
            let y = M::at::<FMA>(a, b.cast::<M::B>().read(), c.cast::<M::C>().read());
            let y = if M::HAS_FAR && M::is_far(a) { M::far(a).unwrap_or(y) } else { y };
            slots.wrapping_add(step.out as usize).cast::<M::Out>().write(y);
        }
    }
}

/// The loop itself, with references, which tell the compiler that nothing overlaps.
#[inline(always)]
fn each<M: Map, const FMA: bool>(a: &[M::A], b: &[M::B], c: &[M::C], out: &mut [MaybeUninit<M::Out>]) {
    for (((o, &a), &b), &c) in out.iter_mut().zip(a).zip(b).zip(c) {
        o.write(M::at::<FMA>(a, b, c));
    }
}

/// The loop whose result takes the place of argument `ARG`, which has its type.
struct Over<M, const ARG: usize>(PhantomData<M>);

impl<M: Map, const ARG: usize> BlockLoop for Over<M, ARG> {
    #[inline(always)]
    unsafe fn run<const FMA: bool>(args: [*const u8; 3], out: *mut u8, n: usize) {
        debug_assert!(args[ARG] == out && !M::HAS_FAR);
        let length = |arg: usize| if arg == ARG { 0 } else { n };
        // SAFETY: the caller promises `n` aligned elements behind each pointer, and that the result overlaps no other argument; that
        // one is read through the result alone.
        let (a, b, c, out) = unsafe {
            (
                slice::from_raw_parts(args[0].cast::<M::A>(), length(0)),
                slice::from_raw_parts(args[1].cast::<M::B>(), length(1)),
                slice::from_raw_parts(args[2].cast::<M::C>(), length(2)),
                slice::from_raw_parts_mut(out.cast::<M::Out>(), n),
            )
        };
        over_each::<M, FMA, ARG>(a, b, c, out);
    }
}

/// The loop of [`Over`], with references as in [`each`].
#[inline(always)]
fn over_each<M: Map, const FMA: bool, const ARG: usize>(a: &[M::A], b: &[M::B], c: &[M::C], out: &mut [M::Out]) {
    // SAFETY: an element of the argument's type.
    unsafe {
        match ARG {
            0 => {
                for ((out, &b), &c) in out.iter_mut().zip(b).zip(c) {
                    *out = M::at::<FMA>(transmute_copy(out), b, c);
                }
            }
            1 => {
                for ((out, &a), &c) in out.iter_mut().zip(a).zip(c) {
                    *out = M::at::<FMA>(a, transmute_copy(out), c);
                }
            }
            _ => {
                for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                    *out = M::at::<FMA>(a, b, transmute_copy(out));
                }
            }
        }
    }
}

/// Arithmetic that floats and integers share; integers wrap.
trait Number: Copy + PartialOrd {
    fn negate(self) -> Self;
    fn size(self) -> Self;
    fn signum(self) -> Self;
    fn plus(self, b: Self) -> Self;
    fn minus(self, b: Self) -> Self;
    fn times(self, b: Self) -> Self;
    fn power<const FMA: bool>(self, b: Self) -> Self;
    fn times_plus<const FMA: bool>(self, b: Self, c: Self) -> Self;
    fn larger(self, b: Self) -> Self;
    fn smaller(self, b: Self) -> Self;
}

/// What only floats have, beyond [`Real`].
trait Float: Number + Real {
    fn root(self) -> Self;
    fn over(self, b: Self) -> Self;
}

/// Declares `Number` and `Float` for a float.
macro_rules! float_numbers {
    ($($t:ty),*) => {$(
        impl Number for $t {
            #[inline(always)]
            fn negate(self) -> Self { -self }
            #[inline(always)]
            fn size(self) -> Self { self.abs() }
            #[inline(always)]
            fn signum(self) -> Self { Real::sign(self) }
            #[inline(always)]
            fn plus(self, b: Self) -> Self { self + b }
            #[inline(always)]
            fn minus(self, b: Self) -> Self { self - b }
            #[inline(always)]
            fn times(self, b: Self) -> Self { self * b }
            #[inline(always)]
            fn power<const FMA: bool>(self, b: Self) -> Self { Real::pow::<FMA>(self, b) }
            #[inline(always)]
            fn times_plus<const FMA: bool>(self, b: Self, c: Self) -> Self { Real::mul_add::<FMA>(self, b, c) }
            #[inline(always)]
            fn larger(self, b: Self) -> Self { Real::larger(self, b) }
            #[inline(always)]
            fn smaller(self, b: Self) -> Self { Real::smaller(self, b) }
        }
        impl Float for $t {
            #[inline(always)]
            fn root(self) -> Self { self.sqrt() }
            #[inline(always)]
            fn over(self, b: Self) -> Self { self / b }
        }
    )*};
}
float_numbers! { f32, f64 }

impl Number for i64 {
    #[inline(always)]
    fn negate(self) -> Self {
        self.wrapping_neg()
    }
    #[inline(always)]
    fn size(self) -> Self {
        self.wrapping_abs()
    }
    #[inline(always)]
    fn signum(self) -> Self {
        i64::from(self > 0) - i64::from(self < 0)
    }
    #[inline(always)]
    fn plus(self, b: Self) -> Self {
        self.wrapping_add(b)
    }
    #[inline(always)]
    fn minus(self, b: Self) -> Self {
        self.wrapping_sub(b)
    }
    #[inline(always)]
    fn times(self, b: Self) -> Self {
        self.wrapping_mul(b)
    }
    /// A negative exponent truncates towards 0, so that only ±1 give anything; 0 to a negative power is 0 as well.
    fn power<const FMA: bool>(self, b: Self) -> Self {
        match (self, b) {
            (1, _) => 1,
            (-1, _) => 1 - 2 * (b & 1),
            (_, b) if b < 0 => 0,
            _ => {
                let (mut base, mut exponent, mut y) = (self, b, 1i64);
                while exponent > 0 {
                    if exponent & 1 == 1 {
                        y = y.wrapping_mul(base);
                    }
                    base = base.wrapping_mul(base);
                    exponent >>= 1;
                }
                y
            }
        }
    }
    #[inline(always)]
    fn times_plus<const FMA: bool>(self, b: Self, c: Self) -> Self {
        self.wrapping_mul(b).wrapping_add(c)
    }
    #[inline(always)]
    fn larger(self, b: Self) -> Self {
        self.max(b)
    }
    #[inline(always)]
    fn smaller(self, b: Self) -> Self {
        self.min(b)
    }
}

/// Declares instructions: a type and its [`Map`] for each line.
macro_rules! maps {
    ($($name:ident<$t:ident: $bound:ident>($($a:pat => $at:ty),*) -> $out:ty $body:block)*) => {$(
        struct $name<$t>(PhantomData<$t>);
        impl<$t: $bound> Map for $name<$t> {
            maps! { args $($at),* }
            type Out = $out;
            #[inline(always)]
            fn at<const FMA: bool>($($a: $at),*) -> $out $body
        }
    )*};
    (args $a:ty, $b:ty, $c:ty) => { type A = $a; type B = $b; type C = $c; };
}
maps! {
    Copied<T: Copy>(a => T, _ => (), _ => ()) -> T { a }
    Neg<T: Number>(a => T, _ => (), _ => ()) -> T { a.negate() }
    Abs<T: Number>(a => T, _ => (), _ => ()) -> T { a.size() }
    Sign<T: Number>(a => T, _ => (), _ => ()) -> T { a.signum() }
    Exp<T: Real>(a => T, _ => (), _ => ()) -> T { a.exp::<FMA>() }
    Expm1<T: Real>(a => T, _ => (), _ => ()) -> T { a.expm1::<FMA>() }
    Ln<T: Real>(a => T, _ => (), _ => ()) -> T { a.ln::<FMA>() }
    Ln1p<T: Real>(a => T, _ => (), _ => ()) -> T { a.ln_1p::<FMA>() }
    Tanh<T: Real>(a => T, _ => (), _ => ()) -> T { a.tanh::<FMA>() }
    Sigmoid<T: Real>(a => T, _ => (), _ => ()) -> T { a.sigmoid::<FMA>() }
    Erf<T: Real>(a => T, _ => (), _ => ()) -> T { a.erf::<FMA>() }
    Floor<T: Real>(a => T, _ => (), _ => ()) -> T { a.floor::<FMA>() }
    Sqrt<T: Float>(a => T, _ => (), _ => ()) -> T { a.root() }
    IsNan<T: Real>(a => T, _ => (), _ => ()) -> u8 { u8::from(a.partial_cmp(&a).is_none()) }
    Add<T: Number>(a => T, b => T, _ => ()) -> T { a.plus(b) }
    Sub<T: Number>(a => T, b => T, _ => ()) -> T { a.minus(b) }
    Mul<T: Number>(a => T, b => T, _ => ()) -> T { a.times(b) }
    Div<T: Float>(a => T, b => T, _ => ()) -> T { a.over(b) }
    Pow<T: Number>(a => T, b => T, _ => ()) -> T { a.power::<FMA>(b) }
    Max<T: Number>(a => T, b => T, _ => ()) -> T { a.larger(b) }
    Min<T: Number>(a => T, b => T, _ => ()) -> T { a.smaller(b) }
    Eq<T: Comparable>(a => T, b => T, _ => ()) -> u8 { u8::from(a == b) }
    Ne<T: Comparable>(a => T, b => T, _ => ()) -> u8 { u8::from(a != b) }
    Lt<T: Comparable>(a => T, b => T, _ => ()) -> u8 { u8::from(a < b) }
    Le<T: Comparable>(a => T, b => T, _ => ()) -> u8 { u8::from(a <= b) }
    Select<T: Copy>(c => u8, a => T, b => T) -> T { if c != 0 { a } else { b } }
    MulAdd<T: Number>(a => T, b => T, c => T) -> T { a.times_plus::<FMA>(b, c) }
    // On bytes; for each the type is `u8`.
    Not<T: Bits>(a => T, _ => (), _ => ()) -> T { a.flipped() }
    And<T: Bits>(a => T, b => T, _ => ()) -> T { a.and(b) }
    Or<T: Bits>(a => T, b => T, _ => ()) -> T { a.or(b) }
    Xor<T: Bits>(a => T, b => T, _ => ()) -> T { a.xor(b) }
}

/// `Q(P(a, b), c)` in one pass, each rounded on its own: the same bits as two passes.
struct Then<P, Q>(PhantomData<(P, Q)>);

impl<T: Copy, P: Map<A = T, B = T, C = (), Out = T>, Q: Map<A = T, B = T, C = (), Out = T>> Map for Then<P, Q> {
    type A = T;
    type B = T;
    type C = T;
    type Out = T;
    #[inline(always)]
    fn at<const FMA: bool>(a: T, b: T, c: T) -> T {
        Q::at::<FMA>(P::at::<FMA>(a, b, ()), c, ())
    }
}

/// `M` with its arguments exchanged.
struct Flipped<M>(PhantomData<M>);

impl<T: Copy, M: Map<A = T, B = T, C = (), Out = T>> Map for Flipped<M> {
    type A = T;
    type B = T;
    type C = ();
    type Out = T;
    #[inline(always)]
    fn at<const FMA: bool>(a: T, b: T, _: ()) -> T {
        M::at::<FMA>(b, a, ())
    }
}

/// One loop for `first` on arguments 0 and 1, then `second` on its result and argument 2 (exchanged if `flipped`), if there is one.
///
/// For chains of cheap instructions, which are bound by loads and stores.
pub fn pair(isa: Isa, [first, second]: [Instr; 2], flipped: bool, of: DType) -> Option<Forms> {
    match of {
        DType::F32 => pair_of::<f32>(isa, first, second, flipped),
        DType::F64 => pair_of::<f64>(isa, first, second, flipped),
        _ => None,
    }
}

fn pair_of<T: Number>(isa: Isa, first: Instr, second: Instr, flipped: bool) -> Option<Forms> {
    match first {
        Instr::Add => then::<Add<T>, T>(isa, second, flipped),
        Instr::Sub => then::<Sub<T>, T>(isa, second, flipped),
        Instr::Mul => then::<Mul<T>, T>(isa, second, flipped),
        _ => None,
    }
}

fn then<P: Map<A = T, B = T, C = (), Out = T>, T: Number>(isa: Isa, second: Instr, flipped: bool) -> Option<Forms> {
    match second {
        Instr::Add => over::<Then<P, Add<T>>, 0, 2>(isa),
        Instr::Mul => over::<Then<P, Mul<T>>, 0, 2>(isa),
        Instr::Max => over::<Then<P, Max<T>>, 0, 2>(isa),
        Instr::Sub if flipped => over::<Then<P, Flipped<Sub<T>>>, 0, 2>(isa),
        Instr::Sub => over::<Then<P, Sub<T>>, 0, 2>(isa),
        _ => None,
    }
}

trait Comparable: Copy + PartialOrd {}
impl<T: Copy + PartialOrd> Comparable for T {}

trait Bits: Copy {
    fn flipped(self) -> Self;
    fn and(self, b: Self) -> Self;
    fn or(self, b: Self) -> Self;
    fn xor(self, b: Self) -> Self;
}
impl Bits for u8 {
    #[inline(always)]
    fn flipped(self) -> u8 {
        self ^ 1
    }
    #[inline(always)]
    fn and(self, b: u8) -> u8 {
        self & b
    }
    #[inline(always)]
    fn or(self, b: u8) -> u8 {
        self | b
    }
    #[inline(always)]
    fn xor(self, b: u8) -> u8 {
        self ^ b
    }
}

/// Sine and cosine: large angles go to the standard library.
macro_rules! circular {
    ($($name:ident $near:ident $far:ident),*) => {$(
        struct $name<T>(PhantomData<T>);
        impl<T: Real> Map for $name<T> {
            type A = T;
            type B = ();
            type C = ();
            type Out = T;
            #[inline(always)]
            fn at<const FMA: bool>(a: T, _: (), _: ()) -> T {
                a.$near::<FMA>()
            }
            const HAS_FAR: bool = true;
            #[inline(always)]
            fn is_far(a: T) -> bool {
                a.is_far()
            }
            fn far(a: T) -> Option<T> {
                a.is_far().then(|| a.$far())
            }
        }
    )*};
}
circular! { Sin sin far_sin, Cos cos far_cos }

struct Cast<A, B>(PhantomData<(A, B)>);

/// Casts as `as` converts; to a truth value, whether not zero.
macro_rules! casts {
    ($($a:ty: $($b:ty)*;)*) => {$(
        $(impl Map for Cast<$a, $b> {
            type A = $a;
            type B = ();
            type C = ();
            type Out = $b;
            #[inline(always)]
            fn at<const FMA: bool>(a: $a, _: (), _: ()) -> $b { a as $b }
        })*
        impl Map for Cast<$a, bool> {
            type A = $a;
            type B = ();
            type C = ();
            type Out = u8;
            #[inline(always)]
            fn at<const FMA: bool>(a: $a, _: (), _: ()) -> u8 { u8::from(a != 0 as $a) }
        }
    )*};
}
casts! { f32: f64 i64; f64: f32 i64; i64: f32 f64; u8: f32 f64 i64; }

fn of<M: Map>(isa: Isa) -> Option<Forms> {
    Some(Forms { block: instance::<Each<M>>(isa), over: [None; 3], step: step::<Each<M>>(isa) })
}

/// As [`of`], for an instruction that often writes over its arguments `X` and `Y`.
fn over<M: Map, const X: usize, const Y: usize>(isa: Isa) -> Option<Forms> {
    let mut forms = of::<M>(isa)?;
    forms.over[X] = Some(instance::<Over<M, X>>(isa));
    forms.over[Y] = Some(instance::<Over<M, Y>>(isa));
    Some(forms)
}

fn cast(isa: Isa, from: DType, to: DType) -> Forms {
    use DType::*;
    let found = match (from, to) {
        (F32, F32) => of::<Copied<f32>>(isa),
        (F32, F64) => of::<Cast<f32, f64>>(isa),
        (F32, I64) => of::<Cast<f32, i64>>(isa),
        (F32, Bool) => of::<Cast<f32, bool>>(isa),
        (F64, F32) => of::<Cast<f64, f32>>(isa),
        (F64, I64) => of::<Cast<f64, i64>>(isa),
        (F64, Bool) => of::<Cast<f64, bool>>(isa),
        (I64, F32) => of::<Cast<i64, f32>>(isa),
        (I64, F64) => of::<Cast<i64, f64>>(isa),
        (I64, Bool) => of::<Cast<i64, bool>>(isa),
        (F64, F64) | (I64, I64) => of::<Copied<u64>>(isa),
        (Bool, F32) => of::<Cast<u8, f32>>(isa),
        (Bool, F64) => of::<Cast<u8, f64>>(isa),
        (Bool, I64) => of::<Cast<u8, i64>>(isa),
        (Bool, Bool) => of::<Copied<u8>>(isa),
    };
    found.expect("every dtype converts to every other")
}

fn float<T: Float>(isa: Isa, instr: Instr) -> Option<Forms> {
    match instr {
        Instr::Exp => of::<Exp<T>>(isa),
        Instr::Expm1 => of::<Expm1<T>>(isa),
        Instr::Ln => of::<Ln<T>>(isa),
        Instr::Ln1p => of::<Ln1p<T>>(isa),
        Instr::Sqrt => of::<Sqrt<T>>(isa),
        Instr::Sin => of::<Sin<T>>(isa),
        Instr::Cos => of::<Cos<T>>(isa),
        Instr::Tanh => of::<Tanh<T>>(isa),
        Instr::Sigmoid => of::<Sigmoid<T>>(isa),
        Instr::Erf => of::<Erf<T>>(isa),
        Instr::Floor => of::<Floor<T>>(isa),
        Instr::IsNan => of::<IsNan<T>>(isa),
        Instr::Div => of::<Div<T>>(isa),
        _ => number::<T>(isa, instr),
    }
}

fn integer(isa: Isa, instr: Instr) -> Option<Forms> {
    number::<i64>(isa, instr)
}

fn number<T: Number>(isa: Isa, instr: Instr) -> Option<Forms> {
    match instr {
        Instr::Copy => of::<Copied<T>>(isa),
        Instr::Neg => of::<Neg<T>>(isa),
        Instr::Abs => of::<Abs<T>>(isa),
        Instr::Sign => of::<Sign<T>>(isa),
        Instr::Add => over::<Add<T>, 0, 1>(isa),
        Instr::Sub => over::<Sub<T>, 0, 1>(isa),
        Instr::Mul => over::<Mul<T>, 0, 1>(isa),
        Instr::Pow => of::<Pow<T>>(isa),
        Instr::Max => of::<Max<T>>(isa),
        Instr::Min => of::<Min<T>>(isa),
        Instr::MulAdd => of::<MulAdd<T>>(isa),
        Instr::Select => over::<Select<T>, 1, 2>(isa),
        _ => compare::<T>(isa, instr),
    }
}

fn compare<T: Comparable>(isa: Isa, instr: Instr) -> Option<Forms> {
    match instr {
        Instr::Eq => of::<Eq<T>>(isa),
        Instr::Ne => of::<Ne<T>>(isa),
        Instr::Lt => of::<Lt<T>>(isa),
        Instr::Le => of::<Le<T>>(isa),
        _ => None,
    }
}

fn truth(isa: Isa, instr: Instr) -> Option<Forms> {
    match instr {
        Instr::Copy => of::<Copied<u8>>(isa),
        Instr::Not => of::<Not<u8>>(isa),
        Instr::And | Instr::Min => of::<And<u8>>(isa),
        Instr::Or | Instr::Max => of::<Or<u8>>(isa),
        Instr::Xor => of::<Xor<u8>>(isa),
        Instr::Select => of::<Select<u8>>(isa),
        _ => compare::<u8>(isa, instr),
    }
}
