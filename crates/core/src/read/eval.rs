//! How is a tensor read? Look up or make the plan, bind its inputs, run it, and keep what later reads can start from.

use super::{EvalError, Stats};
use crate::{
    Array, Tape, Tensor, Tree,
    execute::{
        frame::{Fault, RawBuffer},
        run::{Loaded, Tables},
    },
    memory::Buffer,
    plan::{
        self, Donations, Options, Placed,
        cache::{Cache, Found, History, Outcome},
    },
    record::{Record, Value, report},
};
use smallvec::SmallVec;
use std::{fmt, panic::Location, rc::Rc, time::Instant};

/// Intermediates of up to so many bytes in all stay valid after a read, unless the tape says otherwise.
const KEEP_BYTES: usize = 256 << 10;

/// What reading needs, kept between reads and, but for the counts, between tapes.
pub(crate) struct Reader {
    cache: Cache,
    pub tables: Tables,
    pub options: Options,
    pub stats: Stats,
    pub began: Instant,
    /// The runs on this tape, and which of them computed each node (numbered from 1).
    runs: Vec<Past>,
    computed_by: Vec<u32>,
    noted: usize,
    /// How many runs have entered what they left valid into the tape's table.
    entered: usize,
    pub history: History,
}

/// A run that is over.
struct Past {
    found: Rc<Found>,
    loaded: Rc<Loaded>,
    /// Where values lie that stay valid, if some do.
    arena: Option<Buffer>,
}

impl Reader {
    pub fn new() -> Self {
        Reader {
            cache: Cache::default(),
            tables: Tables::default(),
            options: Options::default(),
            stats: Stats::default(),
            began: Instant::now(),
            runs: Vec::new(),
            computed_by: Vec::new(),
            noted: 0,
            entered: 0,
            history: History::NONE,
        }
    }

    /// Forgets what belongs to a tape, not the plans.
    pub fn reset(&mut self) {
        self.options = Options { fuse: true, trap: false, keep_bytes: KEEP_BYTES, ..Options::default() };
        self.stats = Stats::default();
        self.began = Instant::now();
        self.runs.clear();
        self.computed_by.clear();
        self.noted = 0;
        self.entered = 0;
        self.history = History::NONE;
    }

    pub fn cached_plans(&self) -> usize {
        self.cache.len()
    }

    /// Enters what earlier runs left valid in their arenas into the tape's table. Put off until there is another read.
    fn enter(&mut self, r: &mut Record) {
        for past in &self.runs[self.entered..] {
            let (plan, Some(arena)) = (&past.loaded.plan, &past.arena) else { continue };
            for k in &plan.kept {
                let id = past.found.order[k.live as usize] as usize;
                if let Placed::Arena { offset, .. } = plan.buffers[k.buffer as usize]
                    && r.value(id).is_none()
                {
                    r.values.set(id, Value { buffer: arena.clone(), offset, whole: false });
                }
            }
        }
        self.entered = self.runs.len();
    }

    /// Tells the entries of earlier runs which of their nodes this run computes again: those that are read by a node that is new,
    /// or wanted themselves.
    fn learn(&mut self, r: &Record, order: &[u32], outputs: &[u32]) {
        if self.runs.is_empty() {
            return;
        }
        self.computed_by.resize(r.nodes.len(), 0);
        for (number, run) in self.runs.iter().enumerate().skip(self.noted) {
            for &id in &run.found.order {
                self.computed_by[id as usize] = number as u32 + 1;
            }
        }
        self.noted = self.runs.len();
        let again = |id: u32| self.computed_by[id as usize] != 0 && !plan::live::is_input(r, id as usize);
        let tell = |id: u32| {
            let run = &self.runs[self.computed_by[id as usize] as usize - 1].found;
            if let Ok(live) = run.order.binary_search(&id) {
                run.entry.learn(live as u32);
            }
        };
        for &id in order.iter().filter(|&&id| !plan::live::is_input(r, id as usize) && !again(id)) {
            r.inputs(id as usize).iter().filter_map(|x| x.as_node()).filter(|&x| again(x as u32)).for_each(|x| tell(x as u32));
        }
        outputs.iter().copied().filter(|&o| again(o)).for_each(tell);
    }
}

/// A run whose results have not been taken yet.
pub(super) struct Ran {
    pub loaded: Rc<Loaded>,
    pub found: Rc<Found>,
}

/// Runs what `outputs` (ascending, none of them an input) need. The results lie in the reader's tables until they are taken.
pub(super) fn run(tape: &Tape, outputs: &[u32], donate: Donations, at: &'static Location<'static>) -> Result<Ran, EvalError> {
    let mut reader = tape.reader.borrow_mut();
    let reader = &mut *reader;
    let r = tape.record();
    let options = Options { donate, ..reader.options.clone() };
    let start = Instant::now();
    let (found, outcome) = reader.cache.find(&r, reader.history, outputs, &options);
    let looked_up = Instant::now();
    match outcome {
        Outcome::Verbatim => reader.stats.verbatim_hits += 1,
        Outcome::Structural => reader.stats.structural_hits += 1,
        Outcome::Miss => {
            reader.stats.misses += 1;
            reader.stats.first_difference = r.parted().map(|id| report::made(id, &r));
        }
    }
    if outcome != Outcome::Verbatim {
        reader.learn(&r, &found.order, outputs); // the same read has told them before
    }
    reader.stats.replans += usize::from(!found.entry.is_planned() && outcome != Outcome::Miss);
    let loaded = found.entry.loaded(|keep| Loaded::new(plan::plan(&r, &found.order, outputs, &options, keep), options.trap));
    let planned = Instant::now();
    reader.tables.release();
    for &id in &found.inputs {
        let raw = bound(&r, id as usize, at);
        reader.tables.inputs.push(raw);
    }
    reader.tables.slots.clear();
    reader.tables.slots.extend(found.slots.iter().map(|&s| r.slots[s as usize].bits));
    let finished = loaded.run(&mut reader.tables);
    reader.stats.runs += 1;
    reader.stats.kernels += loaded.plan.kernels.len();
    reader.stats.look_up += looked_up - start;
    reader.stats.plan += planned - looked_up;
    reader.stats.execute += planned.elapsed();
    if let Some(fault) = finished.faults.first() {
        let error = error(&r, &found.order, fault);
        reader.tables.release();
        return Err(error);
    }
    if reader.history != History::UNKNOWN {
        reader.history = reader.cache.after(&found);
    }
    let arena = (!loaded.plan.kept.is_empty()).then_some(finished.arena);
    reader.runs.push(Past { found: found.clone(), loaded: loaded.clone(), arena });
    Ok(Ran { loaded, found })
}

/// The memory of an input; a panic if an update has taken it.
pub(super) fn bound(r: &Record, id: usize, at: &'static Location<'static>) -> RawBuffer {
    let node = &r.nodes[id];
    let bytes = r.tables.shapes.get(node.shape).size() * node.dtype.size();
    if let Some(v) = r.value(id) {
        return RawBuffer { ptr: v.buffer.ptr().wrapping_add(v.offset), bytes };
    }
    let leaf = &r.leaves[node.attrs as usize];
    if let Some(taken) = leaf.donated {
        panic!(
            "read at {at}: expected the value of a leaf bound at {}, got one whose memory an update at {taken} has overwritten\n  hint: read it before the update, or in it (eval_and_update)",
            r.locations[id]
        );
    }
    RawBuffer { ptr: leaf.array.buffer().ptr(), bytes }
}

pub(super) fn error(r: &Record, order: &[u32], fault: &Fault) -> EvalError {
    let id = order[fault.node as usize] as usize;
    EvalError { op: r.nodes[id].op.0.name, location: r.locations[id].to_string(), reason: fault.reason.clone() }
}

/// The buffer of an input, for results that are the same elements.
pub(super) fn shared(r: &Record, id: usize) -> Buffer {
    match r.value(id) {
        Some(v) if v.whole => v.buffer.clone(),
        Some(_) => array_of(r, id).expect("it has a value").buffer().clone(),
        None => r.leaves[r.nodes[id].attrs as usize].array.buffer().clone(),
    }
}

/// The value of a node that has one, without computing anything.
fn array_of(r: &Record, id: usize) -> Option<Array> {
    let node = &r.nodes[id];
    let shape = *r.tables.shapes.get(node.shape);
    let Some(v) = r.value(id) else {
        let leaf = node.op.0.is_leaf().then(|| &r.leaves[node.attrs as usize])?;
        return leaf.donated.is_none().then(|| leaf.array.clone());
    };
    if v.whole {
        return Some(Array::from_buffer(v.buffer.clone(), node.dtype, shape));
    }
    Some(Array::from_buffer(v.buffer.copy_part(v.offset, shape.size() * node.dtype.size()), node.dtype, shape))
}

/// The tensors among `ids` that have no value yet, or whose memory is gone.
fn unread(r: &Record, ids: &mut SmallVec<[u32; 32]>) {
    ids.retain(|id| !plan::live::is_input(r, *id as usize) || r.value(*id as usize).is_none() && r.is_donated(*id as usize));
}

/// Sees to it that the tape's table holds what earlier reads have computed.
pub(super) fn settle(tape: &Tape) {
    tape.reader.borrow_mut().enter(&mut tape.record.borrow_mut());
}

/// Makes sure that all of `ids` (any order, repeats allowed) have values.
fn evaluate(tape: &Tape, mut ids: SmallVec<[u32; 32]>, at: &'static Location<'static>) -> Result<(), EvalError> {
    unread(&tape.record(), &mut ids);
    if ids.is_empty() {
        return Ok(());
    }
    settle(tape);
    unread(&tape.record(), &mut ids);
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(());
    }
    let ran = run(tape, &ids, Donations::new(), at)?;
    let mut reader = tape.reader.borrow_mut();
    let mut r = tape.record.borrow_mut();
    for (i, &id) in ids.iter().enumerate() {
        let array = ran.loaded.result(i, &reader.tables, |input| shared(&r, ran.found.inputs[input as usize] as usize));
        r.values.set(id as usize, Value { buffer: array.buffer().clone(), offset: 0, whole: true });
    }
    reader.tables.release();
    Ok(())
}

/// The eager switch: evaluates a node as soon as it is recorded.
pub(super) fn evaluate_now(y: Tensor<'_>) -> Result<(), String> {
    let Some(id) = y.id.as_node() else { return Ok(()) };
    let at = y.tape.record().locations[id];
    evaluate(y.tape, smallvec::smallvec![id as u32], at).map_err(|e| e.to_string())
}

impl Tape {
    /// Values of all tensors of a tree (a tensor, a tuple, a model, an optimizer's state …), computed together in one plan.
    ///
    /// # Panics
    /// At the caller, with the op and its line, when the data makes a value impossible (an index out of range);
    /// [`try_eval`](Self::try_eval) returns that.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0]));
    /// let (sum, square) = tape.eval(&(x.sum(), x * x));
    /// assert_eq!((sum.item(), square), (3.0, Array::from([1.0, 4.0])));
    /// ```
    #[track_caller]
    pub fn eval<'t, T: Tree<Tensor<'t>>>(&'t self, tree: &T) -> T::With<Array> {
        match self.try_eval(tree) {
            Ok(values) => values,
            Err(why) => panic!("{why}"),
        }
    }

    /// As [`eval`](Self::eval); data that makes a value impossible is an error.
    #[track_caller]
    pub fn try_eval<'t, T: Tree<Tensor<'t>>>(&'t self, tree: &T) -> Result<T::With<Array>, EvalError> {
        let at = Location::caller();
        self.record.borrow_mut().looks.values += 1;
        let mut ids = SmallVec::new();
        let mut foreign = None;
        tree.visit(|_, _, x: &Tensor<'t>| {
            if !std::ptr::eq(x.tape, self) {
                foreign = Some(*x);
            }
            ids.extend(x.id.as_node().map(|id| id as u32));
        });
        if let Some(x) = foreign {
            panic!("eval: expected tensors of this tape, got {x:?} of another");
        }
        evaluate(self, ids, at)?;
        let r = self.record();
        Ok(tree.map(|x| match (x.id.as_node(), x.id.as_slot()) {
            (Some(id), _) => array_of(&r, id).expect("evaluated"),
            (None, slot) => {
                let slot = r.slots[slot.expect("an operand is a node or a slot")];
                Array::scalar(slot.dtype.number(slot.bits)).cast(slot.dtype)
            }
        }))
    }

    /// How many bytes of intermediates, smallest first, stay valid after a read, so that later reads need not compute them again.
    ///
    /// The default is 256 KiB. What a later read had to compute twice is kept from then on, whatever its size.
    pub fn keep_bytes(&self, bytes: usize) {
        self.reader.borrow_mut().options.keep_bytes = bytes;
    }

    /// Lets kernels run part by part wherever they may, also where it doesn't pay: for tests of the planner.
    #[doc(hidden)]
    pub fn chain_everywhere(&self) {
        self.reader.borrow_mut().options.chains = plan::chains::Wanted::All;
    }
}

impl<'t> Tensor<'t> {
    /// The value.
    ///
    /// # Panics
    /// As [`Tape::eval`].
    #[track_caller]
    pub fn value(self) -> Array {
        self.tape.eval(&self)
    }

    /// The value, or what made it impossible.
    #[track_caller]
    pub fn try_value(self) -> Result<Array, EvalError> {
        self.tape.try_eval(&self)
    }

    /// The one element, as a double.
    ///
    /// # Panics
    /// As [`Tape::eval`], and when there is not exactly one element.
    #[track_caller]
    pub fn item(self) -> f64 {
        self.value().item()
    }

    /// The one element, or what made it impossible.
    #[track_caller]
    pub fn try_item(self) -> Result<f64, EvalError> {
        Ok(self.try_value()?.item())
    }
}

/// The value as NumPy prints it; reads it.
impl fmt::Display for Tensor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_value() {
            Ok(value) => fmt::Display::fmt(&value, f),
            Err(why) => write!(f, "<{why}>"),
        }
    }
}
