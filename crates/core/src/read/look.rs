//! What would a read do, and how long does each of its kernels take? Plans made to be looked at and timed, not to be kept.

use super::{
    EvalError,
    eval::{bound, error},
};
use crate::{
    Tape, Tensor, Tree,
    execute::run::{Loaded, Tables},
    memory::Buffer,
    plan::{self, Plan, text::PlanText},
};
use std::{panic::Location, time::Duration};

impl Tape {
    /// The plan for reading a tree of tensors, to be read: kernels in order with the ops and source lines they compute, their loads,
    /// instructions and stores, operations and bytes, and where buffers lie and how long they live.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0]));
    /// let plan = tape.plan(&(x * 2.0).exp().sum());
    /// assert_eq!(plan.kernels().len(), 1);
    /// assert_eq!(plan.kernels()[0].ops, ["mul", "exp", "sum"]);
    /// assert_eq!(plan.cost().bytes(), 2 * 8 + 8);
    /// assert!(plan.to_string().contains("Exp f64"));
    /// ```
    #[track_caller]
    pub fn plan<'t, T: Tree<Tensor<'t>>>(&'t self, tree: &T) -> PlanText {
        let (plan, order) = self.planned(tree);
        PlanText::of(&plan, &self.record(), &order)
    }

    /// The plan for reading a tree of tensors, made anew, and its live nodes.
    pub(super) fn planned<'t, T: Tree<Tensor<'t>>>(&'t self, tree: &T) -> (Plan, Vec<u32>) {
        let r = self.record();
        let mut outputs: Vec<u32> = Vec::new();
        tree.visit(|_, _, x: &Tensor<'t>| outputs.extend(x.id.as_node().map(|id| id as u32)));
        outputs.sort_unstable();
        outputs.dedup();
        outputs.retain(|&id| !plan::live::is_input(&r, id as usize));
        let mut order = Vec::new();
        plan::live::live(&r, &outputs, &mut plan::live::Marks::default(), &mut order);
        let options = self.reader.borrow().options.clone();
        (plan::plan(&r, &order, &outputs, &options, &[]), order)
    }
}

/// Runs a plan of its own `runs` times, after one run that counts for nothing, and times each kernel. Keeps no values.
pub(super) fn run_timed(
    tape: &Tape,
    plan: Plan,
    order: &[u32],
    runs: usize,
    at: &'static Location<'static>,
) -> Result<(Vec<Vec<Duration>>, Plan), EvalError> {
    let r = tape.record();
    let (inputs, slots) = plan::bindings(&r, order);
    let kernels = plan.kernels.len();
    let (loaded, mut tables) = (Loaded::new(plan, false), Tables::default());
    let (mut times, mut taken) = (vec![Vec::with_capacity(runs); kernels], vec![Duration::ZERO; kernels]);
    tables.inputs.extend(inputs.iter().map(|&id| bound(&r, id as usize, at)));
    tables.slots.extend(slots.iter().map(|&s| r.slots[s as usize].bits));
    let arena = Buffer::new(loaded.plan.arena_bytes);
    loaded.lay_out(&mut tables, &arena, |_, bytes| Buffer::new(bytes));
    for run in 0..=runs {
        if let Some(fault) = loaded.launch_timed(&tables, &mut taken) {
            return Err(error(&r, order, &fault));
        }
        if run > 0 {
            times.iter_mut().zip(&taken).for_each(|(times, &taken)| times.push(taken));
        }
    }
    Ok((times, loaded.plan))
}
