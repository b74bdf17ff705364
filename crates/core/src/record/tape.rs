//! Where are operations recorded?

use super::{
    Array, Tensor,
    leaf::{LEAF, Leaf, LeafKind},
    list::Record,
    node::Operand,
    report,
};
use crate::{
    DType, Scalar,
    ops::{OpDef, OutShape},
    read::Reader,
};
use std::{
    cell::{Cell, Ref, RefCell},
    panic::Location,
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
        let id = r.nodes.len() as u32;
        // A leaf has no attributes: the field holds its number.
        let index = r.leaves.len() as u32;
        r.leaves.push(Leaf { array: value.clone(), kind, node: id, donated: None });
        let id = r.follow_leaf(value.dtype(), value.shape(), at).unwrap_or_else(|| {
            let shape = r.tables.shapes.intern(*value.shape());
            r.push(&LEAF, &[], [index, shape], value.dtype(), at)
        });
        Tensor { tape: self, id: Operand::node(id) }
    }

    /// A 0-d scalar of a dtype. Its value is no part of a plan's key, so it may change every step.
    pub fn scalar(&self, dtype: DType, value: impl Scalar) -> Tensor<'_> {
        self.slot(dtype.bits(value.to_f64()), dtype)
    }

    pub(crate) fn slot(&self, bits: u64, dtype: DType) -> Tensor<'_> {
        Tensor { tape: self, id: self.record.borrow_mut().slot(bits, dtype) }
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
        let mut few = [Operand::NONE; 4];
        let many: Vec<Operand>;
        let operands = if inputs.len() <= few.len() {
            few.iter_mut().zip(inputs).for_each(|(o, x)| *o = x.id);
            &few[..inputs.len()]
        } else {
            many = inputs.iter().map(|x| x.id).collect();
            &many
        };
        let mut record = self.record.borrow_mut();
        let r = &mut *record;
        let id = match r.follow(op, operands, attrs, at) {
            Some(id) => id,
            None => match r.infer(op, operands, attrs) {
                Ok(typed) => {
                    let shape = match typed.shape {
                        OutShape::Like(i) => r.meta(operands[i]).1,
                        OutShape::New(shape) => r.tables.shapes.intern(shape),
                    };
                    let attrs = r.tables.attrs.intern_slice(attrs);
                    r.push(op, operands, [attrs, shape], typed.dtype, at)
                }
                Err(mismatch) => {
                    let text = report::mismatch(op, &mismatch, operands, r);
                    drop(record);
                    panic!("{text}");
                }
            },
        };
        drop(record);
        let y = Tensor { tape: self, id: Operand::node(id) };
        self.pushed(y);
        y
    }

    /// The node of `op`, where an earlier tape recorded it at this very place: quick, since there is nothing to check.
    #[inline]
    pub(crate) fn expected<'t>(&'t self, op: &'static OpDef, operands: &[Operand], at: &'static Location<'static>) -> Option<Tensor<'t>> {
        let id = self.record.borrow_mut().follow(op, operands, &[], at)?;
        let y = Tensor { tape: self, id: Operand::node(id) };
        self.pushed(y);
        Some(y)
    }

    #[inline]
    #[track_caller]
    fn pushed(&self, y: Tensor<'_>) {
        if let Some(hook) = self.on_push.get()
            && let Err(why) = hook(y)
        {
            panic!("{why}");
        }
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
        let mut record = std::mem::replace(self.record.get_mut(), Record::hollow());
        record.clear();
        if record.held() > KEEP_NODES {
            record = Record { tables: record.tables, ..Record::hollow() };
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
