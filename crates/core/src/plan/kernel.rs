//! What does the planner hand to the executor? Kernels over numbered buffers.

use crate::{Array, Convolution, DType, Fold, Generator, Index, Instr, Pool, Scan, Shape, Window};
use smallvec::SmallVec;

pub use super::contract::{Contract, Term};

/// Number of a buffer in a plan: an input, an output or a place in the arena.
pub type BufferId = u32;

/// Number of a block register in a fused kernel.
pub type Reg = u16;

/// Elements between neighbours along each axis.
pub type Strides = SmallVec<[isize; 8]>;

/// Lengths of a loop nest, outermost first.
pub type Dims = SmallVec<[usize; 8]>;

/// One launch: reads buffers, writes buffers, allocates nothing.
// A plan is made once and most of its kernels are fused ones: a box for these would cost more than the room that the others waste.
#[allow(clippy::large_enum_variant)]
#[derive(Clone)]
pub enum Kernel {
    /// A loop nest over a straight program.
    Fused(Fused),
    /// Matrix products.
    Contract(Contract),
    /// Convolutions and their transposes.
    Convolve(ConvolveKernel),
    /// Windows of images.
    Pool(PoolKernel),
    /// Elements by index.
    Index(IndexKernel),
    /// Running totals.
    Scan(ScanKernel),
    /// Pieces copied into a filled output.
    Place(PlaceKernel),
    /// Values from positions.
    Generate(GenerateKernel),
    /// A user's function over arrays.
    Opaque(OpaqueKernel),
}

/// Where an operand's elements lie: `buffer[offset + Σ index[i] * strides[i]]`, in elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Which buffer.
    pub buffer: BufferId,
    /// Its dtype.
    pub dtype: DType,
    /// First element.
    pub offset: isize,
    /// Shape of the operand.
    pub dims: Dims,
    /// Elements between neighbours; 0 repeats, negative runs backwards.
    pub strides: Strides,
}

impl Place {
    /// Whether its elements lie one after the other in row-major order, from the buffer's first on.
    pub fn is_dense(&self) -> bool {
        self.offset == 0 && Shape::new(&self.dims).is_some_and(|s| s.strides()[..s.rank()] == self.strides[..])
    }
}

/// A scalar operand of a kernel: its value is bound at run time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScalarSource {
    /// Raw bits from the run's slot table.
    Slot(u32),
    /// The negative of what is there, which has this dtype.
    Minus(u32, DType),
    /// Raw bits known to the plan.
    Literal(u64),
}

/// A fused loop: for every index of `dims`, load, compute, store, fold.
///
/// With [`Fused::rows`] it goes over each row several times; else once over everything. `dims` is `[kept outer.., folded.., kept inner..]`:
/// the first `outer` axes and the last `inner` axes are kept by the folds, those between are folded away. Without folds `outer == dims.len()`, `inner == 0`.
#[derive(Clone)]
pub struct Fused {
    /// The iteration space.
    pub dims: Dims,
    /// How many leading axes the folds keep.
    pub outer: usize,
    /// How many trailing axes the folds keep.
    pub inner: usize,
    /// Tensor operands, each into a register of its own.
    pub loads: Vec<Load>,
    /// Scalar operands: registers that hold one value everywhere.
    pub scalars: Vec<ScalarLoad>,
    /// The program, in order. An output register is never one of the instruction's own arguments.
    pub code: Vec<Inst>,
    /// Registers written to memory.
    pub stores: Vec<Store>,
    /// Registers folded over the middle axes; in a loop over rows, over the leading axes instead: one result per place in the row.
    pub folds: Vec<FoldStore>,
    /// Number of registers.
    pub registers: Reg,
    /// What is computed once per row, where rows are passed over more than once.
    pub rows: Option<Box<Rows>>,
}

/// Rows in several passes (softmax, layer norm): each folds the row to single values, and the next spreads them over it again.
///
/// The rows are the last axes of `dims`, all but the first `outer`; `inner` is 0. Row registers have numbers of their own.
#[derive(Clone, Default)]
pub struct Rows {
    /// Operands with one element per row; their `dims` are the first `outer` of the kernel's.
    pub loads: Vec<Load>,
    /// Scalar operands of the code that runs once per row.
    pub scalars: Vec<ScalarLoad>,
    /// Number of row registers; each is written once.
    pub registers: Reg,
    /// In order.
    pub passes: Vec<Pass>,
    /// Row registers written to memory, densely.
    pub stores: Vec<RowStore>,
    /// Block registers that are written in one pass and read in a later one.
    pub whole: Vec<Reg>,
}

/// One pass over a row: spread, compute, fold; then compute with what was folded.
#[derive(Clone, Default)]
pub struct Pass {
    /// Row registers that this pass and later ones read at every place of the row.
    pub spreads: Vec<Spread>,
    /// Registers that hold one value at one place of the row; this pass may read them, and so may later ones.
    pub spots: Vec<Spot>,
    /// Which instructions of [`Fused::code`].
    pub code: std::ops::Range<usize>,
    /// Registers folded over the row.
    pub folds: Vec<RowFold>,
    /// Instructions on row registers, when the pass is done.
    pub then: Vec<Inst>,
}

/// A row register repeated along the row.
#[derive(Clone)]
pub struct Spread {
    /// Source, a row register.
    pub row: Reg,
    /// Dtype of both.
    pub dtype: DType,
    /// Destination.
    pub reg: Reg,
}

/// A register that is `fill` everywhere but at one place of each row.
#[derive(Clone)]
pub struct Spot {
    /// Destination.
    pub reg: Reg,
    /// Its dtype.
    pub dtype: DType,
    /// What it holds elsewhere.
    pub fill: ScalarSource,
    /// Row register with the places, `I64`.
    pub index: Reg,
    /// Row register with the values.
    pub value: Reg,
    /// The axis of the space that the places are on.
    pub axis: usize,
    /// The graph node, for the report of an index out of range.
    pub node: u32,
}

/// A register folded over the row.
#[derive(Clone)]
pub struct RowFold {
    /// Source.
    pub reg: Reg,
    /// Dtype of the source.
    pub dtype: DType,
    /// How.
    pub fold: Fold,
    /// Destination, a row register.
    pub row: Reg,
}

/// A row register written to memory, one element per row.
#[derive(Clone)]
pub struct RowStore {
    /// Source, a row register.
    pub row: Reg,
    /// Its dtype.
    pub dtype: DType,
    /// Destination, dense.
    pub to: BufferId,
}

/// A tensor operand of a fused loop.
#[derive(Clone)]
pub struct Load {
    /// Destination.
    pub reg: Reg,
    /// Source; its `dims` equal the kernel's `dims`.
    pub from: Place,
}

/// A scalar operand of a fused loop.
#[derive(Clone)]
pub struct ScalarLoad {
    /// Destination.
    pub reg: Reg,
    /// Its dtype.
    pub dtype: DType,
    /// Its value.
    pub from: ScalarSource,
}

/// One instruction on registers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inst {
    /// What to compute.
    pub instr: Instr,
    /// Dtype of the arguments (for `Select`, of the branches).
    pub of: DType,
    /// Registers read; the first `instr.arity()` count.
    pub args: [Reg; 3],
    /// Register written.
    pub out: Reg,
}

/// A register written to memory.
#[derive(Clone)]
pub struct Store {
    /// Source.
    pub reg: Reg,
    /// Destination; its `dims` equal the kernel's `dims`.
    pub to: Place,
    /// The buffer in whose memory the destination lies, if this kernel reads that as well (then at the very same indices).
    pub over: Option<BufferId>,
}

/// A register folded over the middle axes, written densely: row-major over the kept axes (outer, then inner).
#[derive(Clone)]
pub struct FoldStore {
    /// Source.
    pub reg: Reg,
    /// Dtype of the source.
    pub dtype: DType,
    /// How.
    pub fold: Fold,
    /// Destination, dense; dtype `fold.result(dtype)`.
    pub to: BufferId,
}

/// See [`Convolution`]; `out` is dense.
#[derive(Clone)]
pub struct ConvolveKernel {
    /// Which of the three tensors is computed.
    pub kind: Convolution,
    /// First operand.
    pub a: Place,
    /// Second operand.
    pub b: Place,
    /// Dense result.
    pub out: BufferId,
    /// Its shape.
    pub dims: Dims,
    /// How the weight slides over the image.
    pub window: Window,
    /// Channels are convolved within so many groups.
    pub groups: usize,
}

/// See [`Pool`]; `out` is dense.
#[derive(Clone)]
pub struct PoolKernel {
    /// What is done.
    pub kind: Pool,
    /// First operand.
    pub x: Place,
    /// Second operand, for the kinds that have one.
    pub with: Option<Place>,
    /// Dense result.
    pub out: BufferId,
    /// Its shape.
    pub dims: Dims,
    /// How the window slides over the image.
    pub window: Window,
}

/// See [`Index`]; `out` is dense.
#[derive(Clone)]
pub struct IndexKernel {
    /// Which.
    pub kind: Index,
    /// Along which axis.
    pub axis: usize,
    /// Data.
    pub x: Place,
    /// Positions, `I64`.
    pub index: Place,
    /// What is added, for the adding kinds.
    pub src: Option<Place>,
    /// Dense result.
    pub out: BufferId,
    /// Shape of the result.
    pub shape: Shape,
    /// The graph node, for the report of an index out of range.
    pub node: u32,
}

/// See [`Scan`]; `out` is dense, same shape as `x`.
#[derive(Clone)]
pub struct ScanKernel {
    /// Which.
    pub kind: Scan,
    /// Along which axis.
    pub axis: usize,
    /// From the end to the beginning.
    pub reversed: bool,
    /// Data.
    pub x: Place,
    /// Dense result.
    pub out: BufferId,
}

/// Fill, then copy pieces.
#[derive(Clone)]
pub struct PlaceKernel {
    /// Dtype of everything.
    pub dtype: DType,
    /// What fills the output.
    pub fill: ScalarSource,
    /// Whether the pieces cover the output, so that nothing needs filling.
    pub covered: bool,
    /// Each piece, and where its elements go (same `dims`).
    pub pieces: Vec<(Place, Place)>,
    /// Dense result.
    pub out: BufferId,
    /// Number of its elements.
    pub size: usize,
}

/// See [`Generator`]; `out` is dense.
#[derive(Clone)]
pub struct GenerateKernel {
    /// Which.
    pub kind: Generator,
    /// Dtype of the result.
    pub dtype: DType,
    /// Operands: the key, or start and step.
    pub args: SmallVec<[(ScalarSource, DType); 2]>,
    /// Shape of the result.
    pub shape: Shape,
    /// The axis along which `Iota` counts.
    pub axis: usize,
    /// Dense result.
    pub out: BufferId,
}

/// A user's function over arrays: the only kernel that may allocate.
#[derive(Clone)]
pub struct OpaqueKernel {
    /// The function.
    pub run: fn(&[i64], &[Array]) -> Result<Array, String>,
    /// Its attributes.
    pub attrs: SmallVec<[i64; 8]>,
    /// Its operands.
    pub inputs: Vec<Place>,
    /// Dense result.
    pub out: BufferId,
    /// What the result must be.
    pub dtype: DType,
    /// What the result must be.
    pub shape: Shape,
    /// The graph node, for reports.
    pub node: u32,
}
