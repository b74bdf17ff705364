//! How does an op write down what it computes for one element?

use crate::{DType, Instr};
use smallvec::SmallVec;
use std::{
    cell::RefCell,
    ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub},
};

/// One step of a [`Pointwise`] program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Operand number so and so of the op.
    Input(u8),
    /// A number written in the op itself, in the given dtype.
    Constant(u64, DType),
    /// An instruction on earlier steps; `of` is the dtype of its arguments (for `Select`, of the branches).
    Do {
        /// What.
        instr: Instr,
        /// Dtype of the arguments.
        of: DType,
        /// Steps it reads; only the first `instr.arity()` count.
        args: [u8; 3],
    },
}

/// The program of a pointwise op, being written: what its function receives.
pub struct Pointwise {
    inputs: SmallVec<[DType; 4]>,
    output: DType,
    steps: RefCell<SmallVec<[Step; 8]>>,
}

impl Pointwise {
    /// Runs `write` for operands of these dtypes; gives the steps and the number of the result's step.
    ///
    /// `output` is the dtype that the op's shape rule gave.
    pub fn record(inputs: &[DType], output: DType, write: for<'p> fn(&'p Pointwise) -> Expr<'p>) -> (SmallVec<[Step; 8]>, u8) {
        let p = Pointwise { inputs: inputs.into(), output, steps: RefCell::default() };
        let result = write(&p).step;
        (p.steps.into_inner(), result)
    }

    /// Operand `i`.
    pub fn x(&self, i: usize) -> Expr<'_> {
        self.push(Step::Input(i as u8), self.inputs[i])
    }

    /// The op's output dtype.
    pub fn output(&self) -> DType {
        self.output
    }

    fn push(&self, step: Step, dtype: DType) -> Expr<'_> {
        let mut steps = self.steps.borrow_mut();
        let at = steps.iter().position(|s| *s == step).unwrap_or_else(|| {
            steps.push(step);
            steps.len() - 1
        });
        Expr { program: self, step: u8::try_from(at).expect("a pointwise op has at most 256 steps"), dtype }
    }
}

/// A value inside a pointwise program. `Copy`; operators and methods record instructions.
#[derive(Clone, Copy)]
pub struct Expr<'p> {
    program: &'p Pointwise,
    step: u8,
    dtype: DType,
}

impl<'p> Expr<'p> {
    /// A number of this value's dtype.
    pub fn constant(self, v: f64) -> Expr<'p> {
        self.program.push(Step::Constant(self.dtype.bits(v), self.dtype), self.dtype)
    }

    fn apply(self, instr: Instr, of: DType, args: &[Expr<'p>]) -> Expr<'p> {
        let mut steps = [0; 3];
        for (slot, a) in steps.iter_mut().zip(args) {
            *slot = a.step;
        }
        self.program.push(Step::Do { instr, of, args: steps }, instr.result(of))
    }
    fn unary(self, instr: Instr) -> Expr<'p> {
        self.apply(instr, self.dtype, &[self])
    }
    fn binary(self, instr: Instr, other: Expr<'p>) -> Expr<'p> {
        assert_eq!(self.dtype, other.dtype, "{instr:?} in a pointwise program: both arguments need one dtype");
        self.apply(instr, self.dtype, &[self, other])
    }

    /// `self` where `condition` holds, else `other`.
    pub fn select(self, condition: Expr<'p>, other: Expr<'p>) -> Expr<'p> {
        assert_eq!(condition.dtype, DType::Bool, "select in a pointwise program: the condition is a bool");
        assert_eq!(self.dtype, other.dtype, "select in a pointwise program: both branches need one dtype");
        self.apply(Instr::Select, self.dtype, &[condition, self, other])
    }
    /// `self * b + c`.
    pub fn mul_add(self, b: Expr<'p>, c: Expr<'p>) -> Expr<'p> {
        self.apply(Instr::MulAdd, self.dtype, &[self, b, c])
    }
    /// To another dtype, as `as` converts.
    pub fn cast(self, to: DType) -> Expr<'p> {
        if to == self.dtype { self } else { self.unary(Instr::Cast(to)) }
    }
}

/// One method per instruction of one or two arguments.
macro_rules! methods {
    (unary: $($(#[$d:meta])* $name:ident $instr:ident),*; binary: $($(#[$e:meta])* $two:ident $instr2:ident),*) => {
        impl<'p> Expr<'p> {
            $(#[doc = concat!("[`Instr::", stringify!($instr), "`].")] pub fn $name(self) -> Expr<'p> { self.unary(Instr::$instr) })*
            $(#[doc = concat!("[`Instr::", stringify!($instr2), "`].")] pub fn $two(self, other: Expr<'p>) -> Expr<'p> { self.binary(Instr::$instr2, other) })*
        }
    };
}
methods! {
    unary: copy Copy, abs Abs, sign Sign, exp Exp, expm1 Expm1, ln Ln, ln_1p Ln1p, sqrt Sqrt, sin Sin, cos Cos, tanh Tanh, sigmoid Sigmoid,
        erf Erf, floor Floor, is_nan IsNan;
    binary: pow Pow, maximum Max, minimum Min, eq Eq, ne Ne, lt Lt, le Le, xor Xor
}

/// Operators between two values, and with a number on the right.
macro_rules! operators {
    ($($tr:ident $f:ident $instr:ident),*) => {
        $(impl<'p> $tr for Expr<'p> {
            type Output = Expr<'p>;
            fn $f(self, other: Expr<'p>) -> Expr<'p> { self.binary(Instr::$instr, other) }
        }
        impl<'p> $tr<f64> for Expr<'p> {
            type Output = Expr<'p>;
            fn $f(self, other: f64) -> Expr<'p> { self.binary(Instr::$instr, self.constant(other)) }
        }
        impl<'p> $tr<Expr<'p>> for f64 {
            type Output = Expr<'p>;
            fn $f(self, other: Expr<'p>) -> Expr<'p> { other.constant(self).binary(Instr::$instr, other) }
        })*
    };
}
operators! { Add add Add, Sub sub Sub, Mul mul Mul, Div div Div }

impl<'p> BitAnd for Expr<'p> {
    type Output = Expr<'p>;
    fn bitand(self, other: Expr<'p>) -> Expr<'p> {
        self.binary(Instr::And, other)
    }
}
impl<'p> BitOr for Expr<'p> {
    type Output = Expr<'p>;
    fn bitor(self, other: Expr<'p>) -> Expr<'p> {
        self.binary(Instr::Or, other)
    }
}
impl<'p> Neg for Expr<'p> {
    type Output = Expr<'p>;
    fn neg(self) -> Expr<'p> {
        self.unary(Instr::Neg)
    }
}
impl<'p> Not for Expr<'p> {
    type Output = Expr<'p>;
    fn not(self) -> Expr<'p> {
        self.unary(Instr::Not)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_steps_are_written_once() {
        let (steps, result) = Pointwise::record(&[DType::F64], DType::F64, |p| {
            let x = p.x(0);
            x.exp() / (x.exp() + 1.0)
        });
        assert_eq!(steps.len(), 5, "{steps:?}"); // x, exp, 1, +, /
        assert_eq!(usize::from(result), 4);
    }
}
