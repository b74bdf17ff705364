//! Where are operations recorded?

use super::{
    Array, Tensor,
    leaf::{LEAF, Leaf, LeafKind},
    node::{Node, Operand, Tables},
    report,
};
use crate::{
    DType, Scalar, Shape,
    memory::Buffer,
    ops::{Meta, Mismatch, OpDef, OutShape, Typed},
    read::Reader,
};
use std::{
    cell::{Cell, Ref, RefCell},
    panic::Location,
    time::Duration,
};

/// Where operations are recorded: a growing list of nodes.
///
/// Make one for every step; its memory and its plans are kept by the thread and used again by the next.
///
/// ```
/// # use wengert_core as wengert;
/// use wengert::{Array, Tape};
/// let tape = Tape::new();
/// let x = tape.leaf(&Array::from([1.0, 2.0, 3.0]));
/// let loss = (2.0 * x * x + 1.0).sum();
/// let [gx] = loss.grad([x]);
/// assert_eq!(gx.value().to_vec::<f64>(), [4.0, 8.0, 12.0]);
/// ```
///
/// A handle cannot outlive its tape, so history cannot leak from one step to the next:
///
/// ```compile_fail,E0597
/// # use wengert_core as wengert;
/// use wengert::{Array, Tape, Tensor};
/// let mut running: Option<Tensor> = None;
/// for _ in 0..3 {
///     let tape = Tape::new();
///     running = Some(tape.leaf(&Array::from([1.0])).sum()); // keep `.item()`, not the tensor
/// }
/// println!("{running:?}");
/// ```
///
/// and a tape cannot be cleared under a live handle:
///
/// ```compile_fail,E0502
/// # use wengert_core as wengert;
/// use wengert::{Array, Tape};
/// let mut tape = Tape::new();
/// let x = tape.leaf(&Array::from([1.0]));
/// tape.clear();
/// x.sum();
/// ```
pub struct Tape {
    pub(crate) record: RefCell<Record>,
    pub(crate) reader: RefCell<Reader>,
    /// Called after each push; how the eager switch evaluates at record time.
    pub(crate) on_push: Cell<Option<PushHook>>,
}

/// What runs after each push; an error is reported on the line that recorded.
pub(crate) type PushHook = fn(Tensor<'_>) -> Result<(), String>;

/// A value kept for later reads.
#[derive(Clone)]
pub(crate) struct Value {
    pub buffer: Buffer,
    pub offset: usize,
    /// Whether the buffer holds nothing else; otherwise it is the arena of a run.
    pub whole: bool,
}

/// A scalar operand: raw bits of its dtype.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    pub bits: u64,
    pub dtype: DType,
}

/// The nodes pushed by one derivative walk, and the result it started from.
pub(crate) struct Walk {
    pub nodes: std::ops::Range<usize>,
    pub result: usize,
    pub time: Duration,
}

/// The list itself.
pub(crate) struct Record {
    pub nodes: Vec<Node>,
    pub locations: Vec<&'static Location<'static>>,
    pub spill: Vec<Operand>,
    pub slots: Vec<Slot>,
    pub leaves: Vec<Leaf>,
    pub tables: Tables,
    /// What reads have computed, by node; shorter than `nodes` while nothing after it was read.
    pub values: Vec<Option<Value>>,
    /// Structural hash of all nodes so far.
    pub hash: u64,
    /// Set while a rule runs: its nodes count as recorded where the primal was.
    pub inherit: Option<&'static Location<'static>>,
    pub walks: Vec<Walk>,
    /// Spare scratch memory of derivative walks.
    pub scratch: Vec<crate::differentiate::Scratch>,
}

impl Record {
    fn new() -> Self {
        Record {
            nodes: Vec::new(),
            locations: Vec::new(),
            spill: Vec::new(),
            slots: Vec::new(),
            leaves: Vec::new(),
            tables: Tables::new(),
            values: Vec::new(),
            hash: 0,
            inherit: None,
            walks: Vec::new(),
            scratch: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.nodes.clear();
        self.locations.clear();
        self.spill.clear();
        self.slots.clear();
        self.leaves.clear();
        self.values.clear();
        self.walks.clear();
        self.hash = 0;
        self.inherit = None;
    }

    pub fn push(&mut self, node: Node, at: &'static Location<'static>) -> usize {
        self.hash = node.mix(self.hash);
        self.nodes.push(node);
        self.locations.push(self.inherit.unwrap_or(at));
        self.nodes.len() - 1
    }

    /// Applies an op's shape rule.
    fn infer(&self, op: &OpDef, operands: &[Operand], attrs: &[i64]) -> Result<Typed, Mismatch> {
        let meta = |x: Operand| {
            let (dtype, shape) = self.meta(x);
            Meta { dtype, shape: self.tables.shapes.get(shape), is_scalar: x.as_slot().is_some() }
        };
        // The usual numbers of operands need no vector.
        match *operands {
            [a] => (op.shape)(attrs, &[meta(a)]),
            [a, b] => (op.shape)(attrs, &[meta(a), meta(b)]),
            [a, b, c] => (op.shape)(attrs, &[meta(a), meta(b), meta(c)]),
            _ => (op.shape)(attrs, &operands.iter().map(|&x| meta(x)).collect::<Vec<_>>()),
        }
    }

    #[inline]
    pub fn meta(&self, x: Operand) -> (DType, u32) {
        match x.as_node() {
            Some(id) => (self.nodes[id].dtype, self.nodes[id].shape),
            None => (self.slots[x.as_slot().expect("an operand is a node or a slot")].dtype, 0),
        }
    }
    pub fn shape(&self, x: Operand) -> &Shape {
        self.tables.shapes.get(self.meta(x).1)
    }
    pub fn inputs(&self, id: usize) -> &[Operand] {
        self.nodes[id].inputs(&self.spill)
    }
    pub fn attrs(&self, id: usize) -> &[i64] {
        self.tables.attrs.get(self.nodes[id].attrs)
    }

    /// Whether a node is a leaf whose memory an update has taken.
    pub fn is_donated(&self, id: usize) -> bool {
        let node = &self.nodes[id];
        node.op.0.is_leaf() && self.leaves[node.attrs as usize].donated.is_some()
    }

    /// Lets go of the values of some nodes.
    pub fn forget_values(&mut self, ids: &[u32]) {
        for &id in ids {
            if let Some(v) = self.values.get_mut(id as usize) {
                *v = None;
            }
        }
    }

    /// The value kept for a node, if any.
    pub fn value(&self, id: usize) -> Option<&Value> {
        self.values.get(id).and_then(Option::as_ref)
    }
}

/// Tape storage that threads keep between steps.
struct Spare {
    record: Record,
    reader: Reader,
}

/// More nodes than this are not kept for the next tape, and so many distinct shapes start afresh.
const KEEP_NODES: usize = 1 << 20;
const KEEP_TABLES: usize = 1 << 14;
const SPARES: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Spare>> = const { RefCell::new(Vec::new()) };
}

impl Default for Tape {
    fn default() -> Self {
        Self::new()
    }
}

impl Tape {
    /// An empty tape. Evaluates eagerly if the environment variable `WENGERT_EAGER` is `1`.
    pub fn new() -> Self {
        let spare = SPARE.try_with(|s| s.borrow_mut().pop()).ok().flatten();
        let Spare { record, reader } = spare.unwrap_or_else(|| Spare { record: Record::new(), reader: Reader::new() });
        let tape = Tape { record: RefCell::new(record), reader: RefCell::new(reader), on_push: Cell::new(None) };
        tape.reader.borrow_mut().reset();
        crate::read::configure(&tape);
        tape
    }

    /// Forgets every node, keeping memory and plans.
    pub fn clear(&mut self) {
        self.record.get_mut().clear();
        self.reader.get_mut().reset();
    }

    /// Number of recorded nodes.
    pub fn len(&self) -> usize {
        self.record.borrow().nodes.len()
    }

    /// Whether nothing has been recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a value onto the tape as something to differentiate with respect to; the buffer is shared, not copied.
    ///
    /// [`Tensor::backward`] gives a gradient for every float leaf made here.
    #[track_caller]
    pub fn leaf(&self, value: &Array) -> Tensor<'_> {
        self.bind(value, LeafKind::Param)
    }

    /// Puts a value onto the tape as data: [`Tensor::backward`] leaves it out, [`Tensor::grad`] may still name it.
    #[track_caller]
    pub fn constant(&self, value: &Array) -> Tensor<'_> {
        self.bind(value, LeafKind::Constant)
    }

    #[track_caller]
    pub(crate) fn bind(&self, value: &Array, kind: LeafKind) -> Tensor<'_> {
        let at = Location::caller();
        let mut r = self.record.borrow_mut();
        let r = &mut *r;
        let shape = r.tables.shapes.intern(*value.shape());
        // A leaf has no attributes: the field holds its number.
        let index = r.leaves.len() as u32;
        let id = r.nodes.len() as u32;
        r.leaves.push(Leaf { array: value.clone(), kind, node: id, donated: None });
        let node = Node::new(&LEAF, &[], &mut r.spill, index, shape, value.dtype());
        let id = r.push(node, at);
        Tensor { tape: self, id: Operand::node(id) }
    }

    /// A 0-d scalar of a dtype. Its value is no part of a plan's key, so it may change every step.
    pub fn scalar(&self, dtype: DType, value: impl Scalar) -> Tensor<'_> {
        self.slot(dtype.bits(value.to_f64()), dtype)
    }

    pub(crate) fn slot(&self, bits: u64, dtype: DType) -> Tensor<'_> {
        let mut r = self.record.borrow_mut();
        let id = Operand::slot(r.slots.len(), bits, dtype);
        r.slots.push(Slot { bits, dtype });
        Tensor { tape: self, id }
    }

    /// Records `op` on `inputs`: the only door onto the tape, for built-in ops and yours.
    ///
    /// # Panics
    /// At the caller: when an input lives on another tape, and when the op's shape rule refuses, with what it
    /// expected, what it got, and where each operand was made.
    #[track_caller]
    pub fn op<'t>(&'t self, op: &'static OpDef, inputs: &[Tensor<'t>], attrs: &[i64]) -> Tensor<'t> {
        let at = Location::caller();
        if inputs.iter().any(|x| !std::ptr::eq(x.tape, self)) {
            panic!("{}: operands come from two tapes", op.name);
        }
        let mut record = self.record.borrow_mut();
        let r = &mut *record;
        let mut few = [Operand::NONE; 4];
        let many: Vec<Operand>;
        let operands = if inputs.len() <= few.len() {
            few.iter_mut().zip(inputs).for_each(|(o, x)| *o = x.id);
            &few[..inputs.len()]
        } else {
            many = inputs.iter().map(|x| x.id).collect();
            &many
        };
        let typed = match r.infer(op, operands, attrs) {
            Ok(typed) => typed,
            Err(mismatch) => {
                let text = report::mismatch(op, &mismatch, operands, r);
                drop(record);
                panic!("{text}");
            }
        };
        let shape = match typed.shape {
            OutShape::Like(i) => r.meta(operands[i]).1,
            OutShape::New(shape) => r.tables.shapes.intern(shape),
        };
        let attrs = r.tables.attrs.intern_slice(attrs);
        let node = Node::new(op, operands, &mut r.spill, attrs, shape, typed.dtype);
        let id = Operand::node(r.push(node, at));
        drop(record);
        let y = Tensor { tape: self, id };
        if let Some(hook) = self.on_push.get()
            && let Err(why) = hook(y)
        {
            panic!("{why}");
        }
        y
    }

    pub(crate) fn record(&self) -> Ref<'_, Record> {
        self.record.borrow()
    }

    /// While it lives, nodes count as recorded where [`Locations::set`] said last.
    pub(crate) fn locations(&self) -> Locations<'_> {
        Locations { tape: self, before: self.record.borrow().inherit }
    }

    /// Runs `f` with every node it pushes counted as recorded at `at`.
    pub(crate) fn located_at<R>(&self, at: &'static Location<'static>, f: impl FnOnce() -> R) -> R {
        let locations = self.locations();
        locations.set(at);
        f()
    }
}

/// Where rules' nodes count as recorded; dropping it restores what held before.
pub(crate) struct Locations<'a> {
    tape: &'a Tape,
    before: Option<&'static Location<'static>>,
}

impl Locations<'_> {
    pub fn set(&self, at: &'static Location<'static>) {
        self.tape.record.borrow_mut().inherit = Some(at);
    }
}

impl Drop for Locations<'_> {
    fn drop(&mut self) {
        // A rule that panics may do so while the list is borrowed; then the tape is not used again.
        if let Ok(mut r) = self.tape.record.try_borrow_mut() {
            r.inherit = self.before;
        }
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        let mut record = std::mem::replace(self.record.get_mut(), Record::new());
        record.clear();
        if record.nodes.capacity() > KEEP_NODES {
            record = Record { tables: record.tables, ..Record::new() };
        }
        let mut reader = std::mem::replace(self.reader.get_mut(), Reader::new());
        reader.reset(); // lets go of what the runs held
        let tables = &record.tables;
        if tables.shapes.len() > KEEP_TABLES || tables.attrs.len() > KEEP_TABLES {
            return; // plans hold numbers of these tables, so both go
        }
        // While the thread ends its storage may be gone; then this tape's goes too.
        let _ = SPARE.try_with(|s| {
            let mut spares = s.borrow_mut();
            if spares.len() < SPARES {
                spares.push(Spare { record, reader });
            }
        });
    }
}
