//! What *is* an operation? One `static OpDef`, with no optional field; built-in ops and yours use the same type.

use super::reference::{Dense, Spec};
use crate::{Array, Attrs, DType, KernelClass, Shape, Tensor, record::node::Operand};
use smallvec::SmallVec;

/// Everything the engine knows about one operation.
///
/// There is no default for any field: an op without a rule, or without inputs to check it at, does not compile.
/// `docs/adding-an-op.md` walks through one.
pub struct OpDef {
    /// Name shown in errors, dumps and profiles.
    pub name: &'static str,
    /// Dtype and shape of the output; the error says what was expected.
    pub shape: fn(&Attrs, &[Meta<'_>]) -> Result<Typed, Mismatch>,
    /// The kind of loop that computes it.
    pub kernel: KernelClass,
    /// What it computes, by the simplest loop in `f64`: the reference that every kernel is compared with.
    pub value: fn(&Spec<'_>, &[Dense]) -> Dense,
    /// Pushes tangents forward.
    pub jvp: Rule,
    /// Pulls cotangents back.
    pub vjp: Rule,
    /// How it maps over a leading axis of its inputs.
    pub batch: Batch,
    /// Inputs at which everything above is checked.
    pub samples: fn() -> Vec<Sample>,
}

/// What a shape rule learns of an operand.
pub struct Meta<'a> {
    /// Type of the elements.
    pub dtype: DType,
    /// Its shape; `[]` for a scalar.
    pub shape: &'a Shape,
    /// Whether it is a scalar operand (`2.0 * x`), which has no node and may stand beside any shape.
    pub is_scalar: bool,
}

/// What a shape rule gives.
pub struct Typed {
    /// Dtype of the output.
    pub dtype: DType,
    /// Shape of the output.
    pub shape: OutShape,
}

/// A shape, said the quick way where it can be.
pub enum OutShape {
    /// That of operand `i`.
    Like(usize),
    /// A shape of its own.
    New(Shape),
}

impl Typed {
    /// Same dtype and shape as operand `i`.
    pub fn like(i: usize, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
        Ok(Typed { dtype: x[i].dtype, shape: OutShape::Like(i) })
    }

    /// A dtype and the lengths of the axes; refuses what is no [`Shape`].
    pub fn new(dtype: DType, dims: &[usize]) -> Result<Typed, Mismatch> {
        match Shape::new(dims) {
            Some(shape) => Ok(Typed { dtype, shape: OutShape::New(shape) }),
            None => Err(Mismatch::new(format!("a result of at most {} axes that fits in memory (here {dims:?})", crate::MAX_RANK))),
        }
    }
}

/// Why a shape rule refuses its operands.
pub struct Mismatch {
    /// Completes "expected …".
    pub expected: String,
    /// Completes "hint: …".
    pub hint: Option<String>,
}

impl Mismatch {
    /// What was expected.
    pub fn new(expected: impl Into<String>) -> Self {
        Mismatch { expected: expected.into(), hint: None }
    }

    /// With what would have fitted.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Mismatch { hint: Some(hint.into()), ..self }
    }
}

/// What rules give back, one per input (of a vjp) or output (of a jvp).
///
/// `None`: zero, not differentiable there, or not needed.
pub type Tangents<'t> = SmallVec<[Option<Tensor<'t>>; 2]>;

/// A derivative rule as a function. A vjp takes one cotangent per output, a jvp one tangent per input.
pub type RuleFn = for<'t> fn(&Cx<'t>, &[Option<Tensor<'t>>]) -> Tangents<'t>;

/// A derivative rule, or the reason why there is none.
#[derive(Clone, Copy)]
pub enum Rule {
    /// The rule, written in tensor algebra, so it can itself be differentiated. Checked against differences.
    By(RuleFn),
    /// The derivative is zero almost everywhere; the string says why. A claim that is checked numerically.
    Zero(&'static str),
    /// A rule that is meant to differ from the derivative; the string says why. Exempt from differences, held to `⟨u, Jv⟩ = ⟨Jᵀu, v⟩`.
    Declared(RuleFn, &'static str),
    /// No derivative passes, by intent; the string says why.
    Stop(&'static str),
    /// Only as a jvp: derived from the vjp by transposing it twice.
    Transposed,
}

/// How an op maps over a leading axis.
#[derive(Clone, Copy)]
pub enum Batch {
    /// Pointwise ops: the same op on the longer shape.
    Pointwise,
    /// The rule: inputs marked as batched carry the axis in front, and so must the output.
    By(for<'t> fn(&BatchCx<'t>) -> Tensor<'t>),
}

/// What a batch rule may look at.
pub struct BatchCx<'t> {
    /// The op itself.
    pub op: &'static OpDef,
    /// Inputs; those that `batched` marks have an extra leading axis of length `size`.
    pub x: Vec<Tensor<'t>>,
    /// Which inputs carry the axis; at least one does.
    pub batched: Vec<bool>,
    /// Length of the axis.
    pub size: usize,
    /// Attributes of the unbatched op.
    pub attrs: Vec<i64>,
    /// Shape of the unbatched output.
    pub shape: Shape,
    /// Dtype of the output.
    pub dtype: DType,
}

impl<'t> BatchCx<'t> {
    /// Input `i` with the leading axis: repeated if it has none.
    pub fn with_axis(&self, i: usize) -> Tensor<'t> {
        let x = self.x[i];
        if self.batched[i] {
            return x;
        }
        let mut dims = vec![self.size];
        dims.extend_from_slice(&x.shape());
        x.broadcast_to(dims)
    }
}

/// What a rule may look at: inputs, output and attributes of the node.
pub struct Cx<'t> {
    pub(crate) y: Tensor<'t>,
    pub(crate) op: &'static OpDef,
    pub(crate) inputs: SmallVec<[Operand; 4]>,
    pub(crate) needs: SmallVec<[bool; 4]>,
    pub(crate) attrs: u32,
}

impl<'t> Cx<'t> {
    /// Input `i`.
    pub fn x(&self, i: usize) -> Tensor<'t> {
        Tensor { tape: self.y.tape, id: self.inputs[i] }
    }

    /// Number of inputs.
    pub fn arity(&self) -> usize {
        self.inputs.len()
    }

    /// The output.
    pub fn y(&self) -> Tensor<'t> {
        self.y
    }

    /// Whether a cotangent for input `i` is of any use.
    pub fn needs(&self, i: usize) -> bool {
        self.needs[i]
    }

    /// The attributes.
    pub fn attrs(&self) -> SmallVec<[i64; 8]> {
        self.y.tape.record().tables.attrs.get(self.attrs).clone()
    }

    /// The same op with the same attributes on other inputs: the rule of a linear op.
    pub fn again(&self, inputs: &[Tensor<'t>]) -> Tensor<'t> {
        let attrs = self.attrs();
        self.y.tape.op(self.op, inputs, &attrs)
    }

    /// `make()` where a cotangent for input `i` is needed.
    pub fn when_needed(&self, i: usize, make: impl FnOnce() -> Tensor<'t>) -> Option<Tensor<'t>> {
        if self.needs[i] { Some(make()) } else { None }
    }
}

/// The jvp of an op that is linear in its first input, the others (indices, fills) held fixed.
pub fn linear_jvp<'t>(cx: &Cx<'t>, t: &[Option<Tensor<'t>>]) -> Tangents<'t> {
    let Some(t) = t[0] else { return smallvec::smallvec![None] };
    let mut inputs: SmallVec<[Tensor<'t>; 4]> = (0..cx.arity()).map(|i| cx.x(i)).collect();
    inputs[0] = t;
    smallvec::smallvec![Some(cx.again(&inputs))]
}

/// One set of inputs at which an op is checked.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Inputs, in `F64` where the op is differentiable in them; the tests cast.
    pub x: Vec<Array>,
    /// Which inputs are scalar operands (0-d values given as [`Tape::scalar`](crate::Tape::scalar)).
    pub scalars: Vec<bool>,
    /// Attributes.
    pub attrs: Vec<i64>,
    /// Largest relative error of second derivatives by differences, where the default (1e-5) is too strict.
    pub tolerance: Option<f64>,
}

impl Sample {
    /// Tensor inputs, no attributes.
    pub fn new(x: impl IntoIterator<Item = Array>) -> Self {
        let x: Vec<_> = x.into_iter().collect();
        Sample { scalars: vec![false; x.len()], x, attrs: Vec::new(), tolerance: None }
    }

    /// With attributes.
    pub fn attrs(self, attrs: impl Into<Vec<i64>>) -> Self {
        Sample { attrs: attrs.into(), ..self }
    }

    /// With input `i` (0-d) given as a scalar operand.
    pub fn scalar(mut self, i: usize) -> Self {
        self.scalars[i] = true;
        self
    }

    /// With a tolerance of its own for second derivatives.
    pub fn tolerance(self, tolerance: f64) -> Self {
        Sample { tolerance: Some(tolerance), ..self }
    }
}

impl OpDef {
    /// Whether this is the op of values from outside.
    pub(crate) fn is_leaf(&self) -> bool {
        matches!(self.kernel, KernelClass::Leaf)
    }
}
