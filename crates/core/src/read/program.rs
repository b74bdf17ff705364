//! How is a step run again without recording it? A kept program: a plan with what it has captured, for any thread.

use super::EvalError;
use crate::{
    Array, DType, Shape, Tree,
    execute::{
        frame::{Fault, RawBuffer},
        run::{Loaded, Tables},
    },
    memory::Buffer,
    plan::{self, Graph, Options, chains::Wanted},
    record::node::Operand,
};
use smallvec::SmallVec;
use std::{cell::RefCell, fmt, marker::PhantomData, mem, panic::Location, sync::OnceLock};

/// Outputs as a function of inputs, compiled once and run again and again, from any thread, without a tape.
///
/// [`Tape::compile`](crate::Tape::compile) makes one. `I` and `O` are trees of arrays: what goes in and what comes out.
///
/// Fixed when it is compiled are shapes and dtypes, which way every `if` and loop of your code went, and everything that is not among
/// the inputs: leaves, and the numbers of scalar operands.
///
/// ```
/// # use wengert_core as wengert;
/// use wengert::{Array, Program, Tape};
/// let tape = Tape::new();
/// let (x, y) = (tape.leaf(&Array::from(1.0)), tape.leaf(&Array::from(1.0)));
/// let f = (x * y).sin();
/// let [dx, dy] = f.grad([x, y]);
/// let slopes: Program<_, _> = tape.compile(&(x, y), &(f, dx, dy));
/// drop(tape);
///
/// let (f, dx, dy) = slopes.run(&(Array::from(0.5), Array::from(2.0)));
/// assert_eq!([f.item(), dx.item(), dy.item()], [1f64.sin(), 2.0 * 1f64.cos(), 0.5 * 1f64.cos()]);
/// ```
pub struct Program<I, O> {
    pub(super) core: Core,
    /// The tree of outputs; its leaves hold nothing.
    pub(super) outputs: O,
    pub(super) inputs: PhantomData<fn(&I)>,
}

/// Why a [`Program`] has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// The tree of inputs has more or fewer leaves than the program was compiled for.
    #[error("a program of {expected} inputs was given {got}")]
    Count {
        /// How many there were when it was compiled.
        expected: usize,
        /// How many were given.
        got: usize,
    },
    /// An input has another dtype or shape than the program was compiled for.
    #[error("input `{path}` of a program: expected {expected}, got {got}")]
    Input {
        /// Where it is in the tree.
        path: String,
        /// Dtype and shape when it was compiled.
        expected: String,
        /// Those of what was given.
        got: String,
    },
    /// The values make a result impossible: an index out of range, a function of yours that failed.
    #[error(transparent)]
    Eval(#[from] EvalError),
}

/// A program without the types of its trees.
pub(super) struct Core {
    pub loaded: Loaded,
    /// The same with results over the state that it is given, made when it is first run in a loop.
    pub looped: OnceLock<Loaded>,
    /// Which kernels run part by part.
    pub chains: Wanted,
    pub graph: Graph,
    pub order: Vec<u32>,
    /// By live node, its op and line.
    pub names: Vec<(&'static str, &'static Location<'static>)>,
    /// By leaf of the tree.
    pub inputs: Vec<Input>,
    pub outputs: Vec<From>,
    /// By input of the plan.
    pub given: Vec<Given>,
    pub slots: Vec<u64>,
    /// Slots of the plan that are inputs, with the leaf of the tree.
    pub open: Vec<(usize, usize)>,
}

/// An input as compiled.
pub(super) struct Input {
    pub path: String,
    pub dtype: DType,
    pub shape: Shape,
    pub id: Operand,
}

/// Where the plan takes an input from.
pub(super) enum Given {
    /// Leaf so and so of the tree of inputs.
    Tree(usize),
    /// A captured value.
    Captured(Array),
}

/// Where an output comes from.
pub(super) enum From {
    /// Result so and so of the plan.
    Result(usize),
    /// Leaf so and so of the tree of inputs, as it is.
    Input(usize),
    /// A captured value.
    Captured(Array),
}

impl Core {
    /// The plan whose results may lie over the first `carried` inputs, where the first outputs are their next values.
    pub fn looped(&self, carried: usize) -> &Loaded {
        self.looped.get_or_init(|| {
            let mut options = Options { fuse: true, chains: self.chains, ..Options::default() };
            for (input, output) in self.inputs.iter().zip(&self.outputs).take(carried) {
                if let (&From::Result(k), Some(id)) = (output, input.id.as_node())
                    && options.donate.iter().all(|d| d.0 != k as u32)
                {
                    options.donate.push((k as u32, id as u32));
                }
            }
            // An input that is an output as it is must stay.
            let passed = |id: u32| {
                let is = |o: &From| matches!(o, From::Input(i) if self.inputs[*i].id.as_node() == Some(id as usize));
                self.outputs.iter().any(is)
            };
            options.donate.retain(|d| !passed(d.1));
            Loaded::new(plan::plan_graph(self.graph.clone(), &self.order, &options, &[]), false)
        })
    }

    /// Refuses inputs of other dtypes and shapes.
    pub fn check(&self, arrays: &[&Array]) -> Result<(), ProgramError> {
        if arrays.len() != self.inputs.len() {
            return Err(ProgramError::Count { expected: self.inputs.len(), got: arrays.len() });
        }
        for (x, a) in self.inputs.iter().zip(arrays) {
            if x.dtype != a.dtype() || x.shape != *a.shape() {
                let (expected, got) = (format!("{}{:?}", x.dtype, x.shape), format!("{}{:?}", a.dtype(), a.shape()));
                return Err(ProgramError::Input { path: x.path.clone(), expected, got });
            }
        }
        Ok(())
    }

    /// Fills the tables of a run; the arrays have been checked.
    pub fn bind(&self, arrays: &[&Array], tables: &mut Tables) {
        tables.inputs.clear();
        for given in &self.given {
            let array = match given {
                Given::Tree(i) => arrays[*i],
                Given::Captured(array) => array,
            };
            tables.inputs.push(RawBuffer { ptr: array.buffer().ptr(), bytes: array.size() * array.dtype().size() });
        }
        tables.slots.clone_from(&self.slots);
        for &(slot, i) in &self.open {
            tables.slots[slot] = arrays[i].bits();
        }
    }

    pub fn error(&self, fault: Fault) -> EvalError {
        let (op, location) = self.names[fault.node as usize];
        EvalError { op, location: location.to_string(), reason: fault.reason }
    }
}

thread_local! {
    /// Tables that runs on this thread use again.
    static TABLES: RefCell<Vec<Tables>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with tables of this thread; a run within a run has its own.
pub(super) fn with_tables<R>(f: impl FnOnce(&mut Tables) -> R) -> R {
    let mut tables = TABLES.with(|t| t.borrow_mut().pop()).unwrap_or_default();
    let result = f(&mut tables);
    tables.release();
    TABLES.with(|t| t.borrow_mut().push(tables));
    result
}

/// The leaves of a tree of arrays, in order.
pub(super) type Leaves<'a> = SmallVec<[&'a Array; 32]>;

impl<I: Tree<Array>, O: Tree<Array, With<Array> = O>> Program<I, O> {
    /// The outputs for some inputs.
    ///
    /// # Panics
    /// At the caller, where [`try_run`](Self::try_run) gives an error.
    #[track_caller]
    pub fn run(&self, inputs: &I) -> O {
        match self.try_run(inputs) {
            Ok(outputs) => outputs,
            Err(why) => panic!("{why}"),
        }
    }

    /// The outputs for some inputs, or why there are none: inputs that the program was not compiled for, or data that it cannot
    /// compute with.
    pub fn try_run(&self, inputs: &I) -> Result<O, ProgramError> {
        self.run_in(inputs, |_, bytes| Buffer::new(bytes), |next| self.outputs.map(|_| next()))
    }

    /// As [`try_run`](Self::try_run), into arrays of an earlier run: memory that is held nowhere else is used again. After an error
    /// they hold anything.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0]));
    /// let double = tape.compile(&x, &(x + x));
    /// let mut y = double.run(&Array::from([1.0, 2.0]));
    /// double.try_run_into(&Array::from([3.0, 4.0]), &mut y)?;
    /// assert_eq!(y, Array::from([6.0, 8.0]));
    /// # Ok::<(), wengert::ProgramError>(())
    /// ```
    pub fn try_run_into(&self, inputs: &I, outputs: &mut O) -> Result<(), ProgramError> {
        let none = Array::zeros(DType::Bool, 0);
        let mut spare: SmallVec<[Array; 32]> = SmallVec::new();
        outputs.visit_mut(|_, _, a| spare.push(mem::replace(a, none.clone())));
        let plan = &self.core.loaded.plan;
        let recycled = |number, bytes: usize| {
            let writes = |i: &usize| matches!(self.core.outputs.get(*i), Some(&From::Result(k)) if plan.outputs[k].buffer == number);
            let fit = (0..spare.len()).filter(writes).map(|i| spare[i].buffer()).find(|b| b.is_unique() && b.len() == bytes);
            fit.cloned().unwrap_or_else(|| Buffer::new(bytes))
        };
        let done = self.run_in(inputs, recycled, |next| outputs.visit_mut(|_, _, a| *a = next()));
        if done.is_err() {
            let mut before = spare.into_iter();
            outputs.visit_mut(|_, _, a| *a = before.next().expect("as many as were taken"));
        }
        done
    }

    fn run_in<R>(
        &self,
        inputs: &I,
        result: impl FnMut(u32, usize) -> Buffer,
        deliver: impl FnOnce(&mut dyn FnMut() -> Array) -> R,
    ) -> Result<R, ProgramError> {
        let core = &self.core;
        let mut arrays = Leaves::new();
        inputs.visit(|_, _, a| arrays.push(a));
        core.check(&arrays)?;
        with_tables(|tables| {
            core.bind(&arrays, tables);
            let arena = Buffer::new(core.loaded.plan.arena_bytes);
            core.loaded.lay_out(tables, &arena, result);
            if let Some(fault) = core.loaded.launch_all(tables) {
                return Err(core.error(fault).into());
            }
            let mut next = core.outputs.iter();
            Ok(deliver(&mut || core.output(next.next().expect("as many as were compiled"), &arrays, tables)))
        })
    }
}

impl Core {
    /// An output after a run.
    fn output(&self, from: &From, arrays: &[&Array], tables: &Tables) -> Array {
        match from {
            From::Result(k) => self.loaded.result(*k, tables, |input| match &self.given[input as usize] {
                Given::Tree(i) => arrays[*i].buffer().clone(),
                Given::Captured(array) => array.buffer().clone(),
            }),
            From::Input(i) => arrays[*i].clone(),
            From::Captured(array) => array.clone(),
        }
    }
}

impl<I, O> fmt::Debug for Program<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Program of {} inputs, {} outputs, {} kernels",
            self.core.inputs.len(),
            self.core.outputs.len(),
            self.core.loaded.plan.kernels.len()
        )
    }
}

/// The plan: kernels in order, and where their buffers lie.
impl<I, O> fmt::Display for Program<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.loaded.plan.fmt(f)
    }
}
