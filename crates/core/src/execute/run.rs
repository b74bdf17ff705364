//! How does a plan run? Memory is taken from the pool, the kernels run in order, and the results are handed out.

use super::{
    chain,
    frame::{Fault, Frame, RawBuffer},
    kernels::{contract, convolve, fused, generate, index, opaque, place, pool, prepare, scan, straight},
};
use crate::{
    Array, DType,
    memory::Buffer,
    plan::{
        Placed, Plan, chains,
        kernel::{BufferId, Kernel},
    },
};
use std::time::{Duration, Instant};

/// A plan made ready for this processor.
pub(crate) struct Loaded {
    pub plan: Plan,
    /// By kernel, its loops, where it is fused and in no chain.
    loops: Vec<Option<Loops>>,
    /// By chain of the plan.
    chains: Vec<chain::Loaded>,
    /// Whether each kernel's results are searched for NaN.
    trap: bool,
}

/// A fused kernel made ready.
pub(super) enum Loops {
    /// Over blocks of many elements.
    Blocks(Box<prepare::Prepared>),
    /// Over a single element.
    Straight(straight::Prepared),
}

impl Loops {
    /// The loops of a kernel that is fused.
    pub fn of(kernel: &Kernel) -> Option<Loops> {
        match kernel {
            Kernel::Fused(f) if straight::fits(f) => Some(Loops::Straight(straight::prepare(f))),
            Kernel::Fused(f) => Some(Loops::Blocks(Box::new(prepare::prepare(f)))),
            _ => None,
        }
    }
}

/// Tables of a run, used again by the next.
#[derive(Default)]
pub(crate) struct Tables {
    /// The inputs, in the order of the plan; filled by the caller.
    pub inputs: Vec<RawBuffer>,
    /// The bits of the scalar slots; filled by the caller.
    pub slots: Vec<u64>,
    buffers: Vec<RawBuffer>,
    results: Vec<(BufferId, Buffer)>,
}

/// What a run leaves behind.
pub(crate) struct Finished {
    pub arena: Buffer,
    pub faults: Vec<Fault>,
}

impl Loaded {
    /// Prepares the loops; with `trap`, every kernel's results are searched for NaN.
    pub fn new(plan: Plan, trap: bool) -> Loaded {
        debug_assert!(!trap || plan.chains.is_empty(), "every kernel's results are searched when it has run");
        let alone = |at: usize| chains::at(&plan.chains, at).is_none();
        let loops = plan.kernels.iter().enumerate().map(|(at, k)| alone(at).then(|| Loops::of(k)).flatten()).collect();
        let chains = plan.chains.iter().map(|c| chain::Loaded::new(&plan, c)).collect();
        Loaded { plan, loops, chains, trap }
    }

    /// Runs the kernels on the inputs and slots of `tables`. On faults the results that depend on them mean nothing.
    pub fn run(&self, tables: &mut Tables) -> Finished {
        let arena = Buffer::new(self.plan.arena_bytes);
        self.lay_out(tables, &arena, |_, bytes| Buffer::new(bytes));
        let faults = self.launch_all(tables).into_iter().collect();
        Finished { arena, faults }
    }

    /// Gives every buffer of the plan its memory; `result(number, bytes)` gives that of results.
    pub fn lay_out(&self, tables: &mut Tables, arena: &Buffer, mut result: impl FnMut(BufferId, usize) -> Buffer) {
        tables.buffers.clear();
        tables.results.clear();
        for (number, placed) in self.plan.buffers.iter().enumerate() {
            let raw = match *placed {
                Placed::Input(i) | Placed::Donated { input: i } => tables.inputs[i as usize],
                Placed::Arena { offset, bytes } => slice(arena, offset, bytes),
                Placed::Part { .. } => RawBuffer { ptr: std::ptr::null_mut(), bytes: 0 }, // each part finds its own
                Placed::Result { bytes } => {
                    let buffer = result(number as BufferId, bytes);
                    let raw = slice(&buffer, 0, bytes);
                    tables.results.push((number as BufferId, buffer));
                    raw
                }
            };
            tables.buffers.push(raw);
        }
    }

    /// Runs the kernels over memory that has been laid out, up to the first fault: before a later kernel writes over an input that was
    /// donated.
    pub fn launch_all(&self, tables: &Tables) -> Option<Fault> {
        self.launch(tables, None)
    }

    /// As [`launch_all`](Self::launch_all), and enters the time that each kernel takes.
    pub fn launch_timed(&self, tables: &Tables, times: &mut [Duration]) -> Option<Fault> {
        self.launch(tables, Some(times))
    }

    fn launch(&self, tables: &Tables, mut times: Option<&mut [Duration]>) -> Option<Fault> {
        let frame = Frame { buffers: &tables.buffers, slots: &tables.slots };
        let (mut at, mut chains) = (0, self.chains.iter());
        while at < self.plan.kernels.len() {
            let end = chains.as_slice().first().map_or(self.plan.kernels.len(), |c| c.first());
            for at in at..end {
                let began = times.is_some().then(Instant::now);
                let fault = launch(&self.plan.kernels[at], self.loops[at].as_ref(), &frame).err();
                if let (Some(times), Some(began)) = (&mut times, began) {
                    times[at] = began.elapsed();
                }
                let fault = if self.trap { fault.or_else(|| self.nan(at, &frame)) } else { fault };
                if fault.is_some() {
                    return fault;
                }
            }
            at = chains.next().map_or(end, |chain| {
                chain.run(&frame, times.as_deref_mut());
                chain.end()
            });
        }
        None
    }

    /// A fault if a kernel wrote a NaN.
    fn nan(&self, at: usize, frame: &Frame<'_>) -> Option<Fault> {
        let written = self.plan.written(at);
        let found = written.iter().any(|&(b, dtype, size)| dtype.is_float() && contains_nan(frame.buffer(b), dtype, size));
        found.then(|| Fault { node: self.plan.origins[at], reason: "it gives a NaN".to_string() })
    }

    /// Whether result `i` lies in the memory of an input.
    pub fn is_donated(&self, i: usize) -> bool {
        matches!(self.plan.buffers[self.plan.outputs[i].buffer as usize], Placed::Donated { .. })
    }

    /// Result `i` as an array. Call after a run without faults.
    pub fn result(&self, i: usize, tables: &Tables, input: impl Fn(u32) -> Buffer) -> Array {
        let out = &self.plan.outputs[i];
        let buffer = match self.plan.buffers[out.buffer as usize] {
            Placed::Input(i) | Placed::Donated { input: i } => input(i),
            _ => tables.results.iter().find(|r| r.0 == out.buffer).expect("a result has memory of its own").1.clone(),
        };
        Array::from_buffer(buffer, out.dtype, out.shape)
    }
}

impl Tables {
    /// The memory that holds result buffer `number`, if it is one of its own.
    pub fn result(&mut self, number: BufferId) -> Option<&mut Buffer> {
        self.results.iter_mut().find(|r| r.0 == number).map(|r| &mut r.1)
    }

    /// Puts other memory under a buffer's number.
    pub fn replace(&mut self, number: BufferId, by: &Buffer) {
        let raw = &mut self.buffers[number as usize];
        *raw = RawBuffer { ptr: by.ptr(), bytes: raw.bytes };
    }

    /// Lets go of the run's memory.
    pub fn release(&mut self) {
        self.results.clear();
        self.inputs.clear();
        self.buffers.clear();
    }
}

/// Runs a kernel, with its loops if it is fused.
pub(super) fn launch(kernel: &Kernel, loops: Option<&Loops>, frame: &Frame<'_>) -> Result<(), Fault> {
    match kernel {
        Kernel::Fused(_) => match loops.expect("prepared when loaded") {
            Loops::Blocks(loops) => return fused::run(loops, frame),
            Loops::Straight(code) => straight::run(code, frame),
        },
        Kernel::Contract(k) => contract::run(k, frame),
        Kernel::Convolve(k) => convolve::run(k, frame),
        Kernel::Pool(k) => pool::run(k, frame),
        Kernel::Index(k) => return index::run(k, frame),
        Kernel::Scan(k) => scan::run(k, frame),
        Kernel::Place(k) => place::run(k, frame),
        Kernel::Generate(k) => generate::run(k, frame),
        Kernel::Opaque(k) => return opaque::run(k, frame),
    }
    Ok(())
}

/// `bytes` of a buffer from `offset` on.
fn slice(buffer: &Buffer, offset: usize, bytes: usize) -> RawBuffer {
    assert!(offset + bytes <= buffer.len(), "a part within its buffer");
    RawBuffer { ptr: buffer.ptr().wrapping_add(offset), bytes }
}

fn contains_nan(buffer: RawBuffer, dtype: DType, size: usize) -> bool {
    super::kernels::scan_nan::contains_nan(buffer, dtype, size)
}
