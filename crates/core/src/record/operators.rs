//! What do `a + b`, `2.0 * x` and `x.maximum(0)` record?

use super::Tensor;
use crate::{
    DType, Scalar, Shape,
    ops::{self, OpDef},
};
use std::panic::Location;

/// What may stand as the second operand of an op: a tensor, a reference to one, or a number.
pub trait IntoOperand<'t> {
    /// Which of them it is.
    fn given(self) -> Given<'t>;
}

/// An operand as the user wrote it.
#[derive(Clone, Copy)]
pub enum Given<'t> {
    /// A tensor.
    Tensor(Tensor<'t>),
    /// A number, which is weak: it takes the dtype of the tensor beside it.
    Number {
        /// Its value.
        value: f64,
        /// Whether it is of a float type; then it promotes an integer tensor to `f32`.
        fractional: bool,
    },
}

impl<'t> IntoOperand<'t> for Tensor<'t> {
    fn given(self) -> Given<'t> {
        Given::Tensor(self)
    }
}
impl<'t> IntoOperand<'t> for &Tensor<'t> {
    fn given(self) -> Given<'t> {
        Given::Tensor(*self)
    }
}
impl<'t, S: Scalar> IntoOperand<'t> for S {
    fn given(self) -> Given<'t> {
        Given::Number { value: self.to_f64(), fractional: S::FRACTIONAL }
    }
}

/// `x op other`, where an earlier tape recorded it at this very place: then neither promotion nor broadcasting had anything to do.
#[inline]
fn expected<'t>(op: &'static OpDef, x: Tensor<'t>, other: Tensor<'t>, at: &'static Location<'static>) -> Option<Tensor<'t>> {
    if std::ptr::eq(x.tape, other.tape) { x.tape.expected(op, &[x.id, other.id], at) } else { None }
}

/// Both operands with one dtype, by the table in `docs/conventions.md`; not yet broadcast.
#[track_caller]
pub(crate) fn promote<'t>(op: &OpDef, x: Tensor<'t>, other: Given<'t>) -> (Tensor<'t>, Tensor<'t>) {
    if let Given::Tensor(other) = other
        && alike(x, other)
    {
        return (x, other);
    }
    let a = x.dtype();
    let other = match other {
        Given::Tensor(other) => other,
        Given::Number { value, fractional } => {
            let x = match a {
                DType::F32 | DType::F64 => x,
                _ if fractional => x.cast(DType::F32),
                DType::Bool => x.cast(DType::I64),
                DType::I64 => x,
            };
            return (x, x.scalar_like(value));
        }
    };
    let b = other.dtype();
    match (a, b) {
        _ if a == b => (x, other),
        (DType::F32, DType::F64) | (DType::F64, DType::F32) => {
            panic!(
                "{}: expected operands of one float dtype, got {a} and {b}\n  {x:?}\n  {other:?}\n  hint: cast one of them, x.cast(DType::{b:?})",
                op.name
            )
        }
        _ if a.is_float() || b == DType::Bool => (x, other.cast(a)),
        _ => (x.cast(b), other),
    }
}

/// Whether two tensors have one dtype and one shape, so that neither promotion nor broadcasting changes them.
fn alike(a: Tensor<'_>, b: Tensor<'_>) -> bool {
    let r = a.tape.record();
    std::ptr::eq(a.tape, b.tape) && r.meta(a.id) == r.meta(b.id)
}

/// Records a pointwise op on two operands of one dtype, broadcast against each other.
#[track_caller]
pub(crate) fn record<'t>(op: &'static OpDef, a: Tensor<'t>, b: Tensor<'t>) -> Tensor<'t> {
    let (a, b) = broadcast(op, a, b);
    a.tape.op(op, &[a, b], &[])
}

/// `x op other` with promotion and broadcasting.
#[track_caller]
pub(crate) fn binary<'t>(op: &'static OpDef, x: Tensor<'t>, other: impl IntoOperand<'t>) -> Tensor<'t> {
    match prepare(op, x, other.given(), in_order) {
        Ok(y) => y,
        Err((a, b)) => record(op, a, b),
    }
}

/// The second operand if it is a tensor, or a number that takes the dtype of a float tensor beside it.
#[inline]
fn weak<'t>(x: Tensor<'t>, other: Given<'t>) -> Given<'t> {
    match other {
        Given::Number { value, .. } => {
            let mut r = x.tape.record.borrow_mut();
            let dtype = r.meta(x.id).0;
            if !dtype.is_float() {
                return other;
            }
            Given::Tensor(Tensor { tape: x.tape, id: r.slot(dtype.bits(value), dtype) })
        }
        Given::Tensor(_) => other,
    }
}

/// How the operands of `x op other` are turned round for `other op x`.
type Turn<'t> = fn(Tensor<'t>, Tensor<'t>) -> (Tensor<'t>, Tensor<'t>);

fn in_order<'t>(x: Tensor<'t>, other: Tensor<'t>) -> (Tensor<'t>, Tensor<'t>) {
    (x, other)
}
fn exchanged<'t>(x: Tensor<'t>, other: Tensor<'t>) -> (Tensor<'t>, Tensor<'t>) {
    (other, x)
}

/// The result, where it is what is expected at this place; else both operands with one dtype, to be recorded.
#[inline]
#[track_caller]
fn prepare<'t>(op: &'static OpDef, x: Tensor<'t>, other: Given<'t>, turn: Turn<'t>) -> Result<Tensor<'t>, (Tensor<'t>, Tensor<'t>)> {
    let other = weak(x, other);
    if let Given::Tensor(other) = other {
        let (a, b) = turn(x, other);
        if let Some(y) = expected(op, a, b, Location::caller()) {
            return Ok(y);
        }
    }
    let (x, other) = promote(op, x, other);
    Err(turn(x, other))
}

/// Expands whichever of the two is smaller; scalars stay scalars, and shapes that do not fit are left to the op to refuse.
#[track_caller]
pub(crate) fn broadcast<'t>(op: &'static OpDef, a: Tensor<'t>, b: Tensor<'t>) -> (Tensor<'t>, Tensor<'t>) {
    let target: Option<Shape> = {
        let r = a.tape.record();
        let same_tape = std::ptr::eq(a.tape, b.tape);
        if !same_tape {
            panic!("{}: operands come from two tapes", op.name);
        }
        let ((_, sa), (_, sb)) = (r.meta(a.id), r.meta(b.id));
        let both_nodes = a.id.as_node().is_some() && b.id.as_node().is_some();
        if sa == sb || !both_nodes { None } else { r.shape(a.id).broadcast(r.shape(b.id)) }
    };
    match target {
        Some(shape) => (a.broadcast_to(shape), b.broadcast_to(shape)),
        None => (a, b),
    }
}

/// As `record`, for a quotient: integers are divided truly, giving `f32`.
#[track_caller]
fn divide<'t>(op: &'static OpDef, a: Tensor<'t>, b: Tensor<'t>) -> Tensor<'t> {
    if a.dtype().is_float() { record(op, a, b) } else { record(op, a.cast(DType::F32), b.cast(DType::F32)) }
}

/// `tensor op tensor` by value and by reference, and with a number on either side.
macro_rules! operator {
    ($tr:ident $f:ident $op:path, $record:ident) => {
        impl<'t> std::ops::$tr for Tensor<'t> {
            type Output = Tensor<'t>;
            #[track_caller]
            fn $f(self, b: Tensor<'t>) -> Tensor<'t> { operator!(@do $op, $record, self, b.given(), in_order) }
        }
        impl<'t> std::ops::$tr<&Tensor<'t>> for Tensor<'t> {
            type Output = Tensor<'t>;
            #[track_caller]
            fn $f(self, b: &Tensor<'t>) -> Tensor<'t> { operator!(@do $op, $record, self, b.given(), in_order) }
        }
        impl<'t> std::ops::$tr<Tensor<'t>> for &Tensor<'t> {
            type Output = Tensor<'t>;
            #[track_caller]
            fn $f(self, b: Tensor<'t>) -> Tensor<'t> { operator!(@do $op, $record, *self, b.given(), in_order) }
        }
        impl<'t> std::ops::$tr<&Tensor<'t>> for &Tensor<'t> {
            type Output = Tensor<'t>;
            #[track_caller]
            fn $f(self, b: &Tensor<'t>) -> Tensor<'t> { operator!(@do $op, $record, *self, b.given(), in_order) }
        }
        impl<'t, S: Scalar> std::ops::$tr<S> for Tensor<'t> {
            type Output = Tensor<'t>;
            #[track_caller]
            fn $f(self, b: S) -> Tensor<'t> { operator!(@do $op, $record, self, b.given(), in_order) }
        }
        impl<'t, S: Scalar> std::ops::$tr<S> for &Tensor<'t> {
            type Output = Tensor<'t>;
            #[track_caller]
            fn $f(self, b: S) -> Tensor<'t> { operator!(@do $op, $record, *self, b.given(), in_order) }
        }
        // On the left exactly one float and one integer type: with two floats `(2.0 * x).sum()` is E0282.
        operator!(@left $tr $f $op, $record, f64);
        operator!(@left $tr $f $op, $record, i32);
    };
    (@do $op:path, $record:ident, $x:expr, $other:expr, $turn:ident) => {
        match prepare(&$op, $x, $other, $turn) {
            Ok(y) => y,
            Err((a, b)) => $record(&$op, a, b),
        }
    };
    (@left $tr:ident $f:ident $op:path, $record:ident, $s:ty) => {
        impl<'t> std::ops::$tr<Tensor<'t>> for $s {
            type Output = Tensor<'t>;
            #[track_caller]
            fn $f(self, b: Tensor<'t>) -> Tensor<'t> {
                operator!(@do $op, $record, b, self.given(), exchanged)
            }
        }
        impl<'t> std::ops::$tr<&Tensor<'t>> for $s {
            type Output = Tensor<'t>;
            #[track_caller]
            fn $f(self, b: &Tensor<'t>) -> Tensor<'t> { std::ops::$tr::$f(self, *b) }
        }
    };
}
operator!(Add add ops::add::OP, record);
operator!(Sub sub ops::sub::OP, record);
operator!(Mul mul ops::mul::OP, record);
operator!(Div div ops::div::OP, divide);
operator!(BitAnd bitand ops::logic::AND, record);
operator!(BitOr bitor ops::logic::OR, record);
operator!(BitXor bitxor ops::logic::XOR, record);

/// `a op= b`, for an accumulator that is a variable of the caller.
macro_rules! assign {
    ($($tr:ident $f:ident $base:ident $g:ident),*) => {
        $(impl<'t, B> std::ops::$tr<B> for Tensor<'t>
        where
            Tensor<'t>: std::ops::$base<B, Output = Tensor<'t>>,
        {
            #[track_caller]
            fn $f(&mut self, b: B) { *self = std::ops::$base::$g(*self, b); }
        })*
    };
}
assign! { AddAssign add_assign Add add, SubAssign sub_assign Sub sub, MulAssign mul_assign Mul mul, DivAssign div_assign Div div }

impl<'t> std::ops::Neg for Tensor<'t> {
    type Output = Tensor<'t>;
    #[track_caller]
    fn neg(self) -> Tensor<'t> {
        self.tape.op(&ops::elementwise::neg::OP, &[self], &[])
    }
}
impl<'t> std::ops::Neg for &Tensor<'t> {
    type Output = Tensor<'t>;
    #[track_caller]
    fn neg(self) -> Tensor<'t> {
        -*self
    }
}
impl<'t> std::ops::Not for Tensor<'t> {
    type Output = Tensor<'t>;
    #[track_caller]
    fn not(self) -> Tensor<'t> {
        self.logical_not()
    }
}
