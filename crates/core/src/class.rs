//! What kind of loop computes an op? All that the planner and the kernels ever learn of it.

use crate::{Array, DType};

/// The attributes of a node: axes, extents, steps. What each number means is said at the [`KernelClass`] or the op.
pub type Attrs = [i64];

/// The kind of loop that computes an op.
#[derive(Clone, Copy)]
pub enum KernelClass {
    /// A value given from outside; only the tape's own leaf op is of this class.
    Leaf,
    /// `y[i] = f(x0[i], x1[i], …)`: inputs of the output's shape, or scalars. The function writes `f` in the closed
    /// instruction set. An op without a tensor input (a fill) has this class too.
    Pointwise(for<'p> fn(&'p crate::program::Pointwise) -> crate::program::Expr<'p>),
    /// Values that depend on a position only. Operand 0 is a scalar.
    Generate(Generator),
    /// One axis or more folded away. Attributes: the folded axes, ascending.
    Reduce(Fold),
    /// The same elements under other indices: nothing is computed.
    View(View),
    /// `[batch.., m, k] @ [batch.., k, n] -> [batch.., m, n]`, equal batch axes. No attributes.
    Contract,
    /// One of the three tensors of `Σ image · weight · output` from the other two; see [`Convolution`]. Attributes: a
    /// [`Window`](crate::Window), the number of groups, then the image's height and width.
    Convolve(Convolution),
    /// Windows of an image and what is taken from each. Attributes: a [`Window`](crate::Window), then the image's height and width.
    Pool(Pool),
    /// Elements picked or added by an index tensor of dtype `I64`. Attributes: `[axis]`.
    Index(Index),
    /// Running totals. Attributes: `[axis, reversed]`.
    Scan(Scan),
    /// Operand 0 is a scalar that fills the output; every further operand is written into it at given places.
    /// Attributes: for each piece in turn, for each axis, `start, step`, a step may be negative, never 0; then the lengths of the output.
    /// Places of different pieces do not overlap.
    Place,
    /// A function over whole arrays, which the planner can't look into. Its error becomes an [`EvalError`](crate::EvalError).
    Opaque(fn(&Attrs, &[Array]) -> Result<Array, String>),
}

/// How [`KernelClass::Reduce`] combines the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fold {
    /// Sum; 0 for no elements. Same dtype.
    Sum,
    /// Product; 1 for no elements. Same dtype.
    Prod,
    /// Largest; NaN if any is NaN. On `Bool`: any. −∞, the least integer or false for no elements.
    Max,
    /// Smallest; NaN if any is NaN. On `Bool`: all. ∞, the largest integer or true for no elements.
    Min,
    /// Position (`I64`, row-major over the folded axes) of the first largest; a NaN counts as largest.
    ArgMax,
    /// Position of the first smallest; a NaN counts as smallest.
    ArgMin,
}

impl Fold {
    /// The dtype of the result for elements of dtype `of`.
    pub const fn result(self, of: DType) -> DType {
        match self {
            Fold::ArgMax | Fold::ArgMin => DType::I64,
            _ => of,
        }
    }
}

/// How [`KernelClass::View`] maps an output index to an input index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// Same elements in row-major order under the node's shape. No attributes.
    Reshape,
    /// Output axis `i` is input axis `attrs[i]`.
    Permute,
    /// Input axis `i` is output axis `attrs[i]` (ascending); input axes of length 1 are repeated, as are all other output axes.
    Expand,
    /// Attributes: `start, step` for every axis, a step may be negative, never 0; then the lengths, which are the node's shape.
    Slice,
}

/// Which tensor [`KernelClass::Convolve`] computes. A convolution is linear in its image and in its weight; with a cotangent of its
/// output as the third, each of `image [n, c, h, w]`, `weight [o, c / groups, kh, kw]` and `output [n, o, oh, ow]` is the derivative
/// of one sum of products by another, so that the three together are closed under differentiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Convolution {
    /// Operands `image, weight`: the convolution itself.
    Output,
    /// Operands `output, weight`: the transposed convolution.
    Image,
    /// Operands `image, output`.
    Weight,
}

/// What [`KernelClass::Pool`] does with the windows of `image [n, c, h, w]`; the other tensors are `output [n, c, oh, ow]`.
///
/// Padding never takes part in a maximum, and a window's maximum is its first largest element in row-major order, or its first NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pool {
    /// Operand `image`: the largest element of each window.
    Max,
    /// Operands `image, values` of its shape: for each window, the value where the image has the window's maximum.
    MaxPick,
    /// Operands `image, output`: each output added where the image has its window's maximum; elsewhere 0.
    MaxSpread,
    /// Operand `image`: the mean of each window, padding counted as zeros.
    Mean,
    /// Operand `output`: each divided among all of its window.
    MeanSpread,
}

/// What [`KernelClass::Index`] does along its axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Index {
    /// Operands `x, index`, equal shapes but for the axis: `y[..i..] = x[..index[..i..]..]`, shape of `index`.
    Gather,
    /// Operands `x, index, src`: a copy of `x` with `y[..index[..i..]..] += src[..i..]`, in ascending row-major order of `src`.
    ScatterAdd,
    /// Operands `x, index` with `index` of one axis: whole slices, `y[.., i, ..] = x[.., index[i], ..]`.
    Select,
    /// Operands `x, index, src`: a copy of `x` with `y[.., index[i], ..] += src[.., i, ..]`, in ascending order of `i`.
    SelectAdd,
}

/// What [`KernelClass::Scan`] accumulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scan {
    /// Sum of this element and all before it.
    Sum,
}

/// What [`KernelClass::Generate`] writes, from operand 0 and the element's row-major position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Generator {
    /// `start + step * position` along axis `attrs[0]`; `start` is operand 0, `step` operand 1. The other attributes are the lengths.
    Iota,
    /// Uniform in `[0, 1)`; operand 0 is the key (`I64` bits). Attributes: the dtype's number, then the lengths.
    Uniform,
    /// Standard normal; operand 0 is the key. Attributes as for `Uniform`.
    Normal,
}

/// One instruction of a pointwise program: a closed set. Each gives the same bits in bulk, tail and strided form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Instr {
    /// `a`.
    Copy,
    /// `-a`.
    Neg,
    /// `|a|`.
    Abs,
    /// −1, 0 or 1; keeps signed zeros and NaN.
    Sign,
    /// `e^a`.
    Exp,
    /// `e^a - 1` without cancellation.
    Expm1,
    /// Natural logarithm.
    Ln,
    /// `ln(1 + a)` without cancellation.
    Ln1p,
    /// Square root.
    Sqrt,
    /// Sine, radians.
    Sin,
    /// Cosine, radians.
    Cos,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^-a)`.
    Sigmoid,
    /// Error function.
    Erf,
    /// Largest integer not above.
    Floor,
    /// Truth negated (`Bool`).
    Not,
    /// Whether it is NaN.
    IsNan,
    /// To another dtype as `as` converts (to `Bool`: whether not zero).
    Cast(DType),
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b` (floats).
    Div,
    /// `a` to the power `b`, as C's `pow`; integers wrap, and a negative exponent truncates towards 0.
    Pow,
    /// Larger; NaN if either is.
    Max,
    /// Smaller; NaN if either is.
    Min,
    /// `a == b`.
    Eq,
    /// `a != b`.
    Ne,
    /// `a < b`.
    Lt,
    /// `a <= b`.
    Le,
    /// Both (`Bool`).
    And,
    /// Either (`Bool`).
    Or,
    /// One of two (`Bool`).
    Xor,
    /// `c ? a : b`; arguments in the order `c` (`Bool`), `a`, `b`.
    Select,
    /// `a * b + c`, rounded once where the instruction set can, else twice.
    MulAdd,
}

impl Instr {
    /// Number of arguments.
    pub const fn arity(self) -> usize {
        use Instr::*;
        match self {
            Add | Sub | Mul | Div | Pow | Max | Min | Eq | Ne | Lt | Le | And | Or | Xor => 2,
            Select | MulAdd => 3,
            _ => 1,
        }
    }

    /// The dtype of the result for arguments of dtype `of` (for `Select`, the dtype of the branches).
    pub const fn result(self, of: DType) -> DType {
        use Instr::*;
        match self {
            Cast(to) => to,
            Eq | Ne | Lt | Le | Not | IsNan => DType::Bool,
            _ => of,
        }
    }

    /// Whether `f(a, b) == f(b, a)` bit for bit (NaN payloads aside).
    pub const fn commutes(self) -> bool {
        use Instr::*;
        matches!(self, Add | Mul | Max | Min | Eq | Ne | And | Or | Xor)
    }
}
