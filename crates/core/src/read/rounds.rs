//! How does a kept program run many times over, its results going in again? In one call, over the memory of its state.

use super::{
    Program, ProgramError,
    program::{Core, From, Given, Leaves, with_tables},
};
use crate::{
    Array, DType, Tree,
    execute::run::{Loaded, Tables},
    memory::Buffer,
    plan::{Placed, kernel::BufferId},
};
use smallvec::SmallVec;
use std::mem;

/// How a leaf of the state comes by its next value, after a round.
#[derive(Clone, Copy)]
enum Advance {
    /// It lies there already.
    Stay,
    /// It changes places with a result buffer.
    Swap(BufferId),
    /// It is copied from elsewhere.
    Copy,
}

/// The state of a loop under way.
struct Rounds<'a> {
    core: &'a Core,
    loaded: &'a Loaded,
    /// The memory of each leaf of the state.
    state: SmallVec<[Buffer; 32]>,
    data: Leaves<'a>,
    advance: SmallVec<[Advance; 32]>,
    /// By leaf of the state, the input of the plan that it is.
    input: SmallVec<[Option<BufferId>; 32]>,
}

impl<S, D, R> Program<(S, D), (S, R)>
where
    S: Tree<Array, With<Array> = S>,
    D: Tree<Array>,
    R: Tree<Array, With<Array> = R>,
{
    /// Runs a program of `(state, data)` that gives `(next state, result)` so many times, each time with the state that the time before
    /// gave. Gives the last state and the last result.
    ///
    /// Nothing is looked up, recorded or allocated between rounds. The state's memory is taken: new values are written over the old ones,
    /// or into a second buffer that changes places with the first.
    ///
    /// # Panics
    /// At the caller: without a round, when the next state is not like the state, and where [`try_run_loop`](Self::try_run_loop) gives an
    /// error.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let (x, a) = (tape.leaf(&Array::from(1.0)), tape.leaf(&Array::from(2.0)));
    /// let newton = tape.compile(&(x, a), &((x + a / x) / 2, x * x - a)); // the square root of a
    /// let (root, error) = newton.run_loop(8, Array::from(1.0), &Array::from(2.0));
    /// assert!((root.item() - 2f64.sqrt()).abs() < 1e-15 && error.item().abs() < 1e-15);
    /// ```
    #[track_caller]
    pub fn run_loop(&self, rounds: usize, state: S, data: &D) -> (S, R) {
        match self.try_run_loop(rounds, state, data) {
            Ok(outputs) => outputs,
            Err(why) => panic!("{why}"),
        }
    }

    /// As [`run_loop`](Self::run_loop), or why there is no result. The state is lost then.
    ///
    /// # Panics
    /// At the caller: without a round, and when the next state is not like the state.
    #[track_caller]
    pub fn try_run_loop(&self, rounds: usize, mut state: S, data: &D) -> Result<(S, R), ProgramError> {
        if rounds == 0 {
            panic!("run_loop: expected at least one round");
        }
        let none = Array::zeros(DType::Bool, 0);
        let mut held: SmallVec<[Array; 32]> = SmallVec::new();
        state.visit_mut(|_, _, a| held.push(mem::replace(a, none.clone())));
        let mut leaves = Leaves::new();
        data.visit(|_, _, a| leaves.push(a));
        self.core.check(&held.iter().chain(leaves.iter().copied()).collect::<Leaves<'_>>())?;
        if let Some(i) = (0..held.len()).find(|&i| !self.core.goes_round(i)) {
            panic!(
                "run_loop: expected leaf {i} of the next state to have the dtype and shape of the state's, {}{:?}",
                held[i].dtype(),
                held[i].shape()
            );
        }
        with_tables(|tables| {
            let mut r = Rounds::new(&self.core, held, leaves, tables);
            let arena = Buffer::new(r.loaded.plan.arena_bytes);
            r.loaded.lay_out(tables, &arena, |_, bytes| Buffer::new(bytes));
            for round in 0..rounds {
                if round > 0 {
                    r.advance(tables);
                }
                if let Some(fault) = r.loaded.launch_all(tables) {
                    return Err(self.core.error(fault).into());
                }
            }
            let mut outputs = self.core.outputs.iter();
            Ok(self.outputs.map(|_| r.output(outputs.next().expect("as many as were compiled"), tables)))
        })
    }
}

impl Core {
    /// Whether output `i` can be input `i` of the next round.
    fn goes_round(&self, i: usize) -> bool {
        let wanted = &self.inputs[i];
        let (dtype, shape) = match &self.outputs[i] {
            From::Result(k) => (self.loaded.plan.outputs[*k].dtype, self.loaded.plan.outputs[*k].shape),
            From::Input(j) => (self.inputs[*j].dtype, self.inputs[*j].shape),
            From::Captured(a) => (a.dtype(), *a.shape()),
        };
        (dtype, shape) == (wanted.dtype, wanted.shape)
    }
}

impl<'a> Rounds<'a> {
    fn new(core: &'a Core, held: SmallVec<[Array; 32]>, data: Leaves<'a>, tables: &mut Tables) -> Self {
        let loaded = core.looped(held.len());
        // What somebody else holds is not written over.
        let own = |a: Array| if a.buffer().is_unique() { a } else { a.copied_whole() };
        let held: SmallVec<[Array; 32]> = held.into_iter().map(own).collect();
        let all: Leaves<'_> = held.iter().chain(data.iter().copied()).collect();
        core.bind(&all, tables);
        drop(all);
        let is_leaf = |g: &Given, i: usize| matches!(g, Given::Tree(j) if *j == i);
        let input = (0..held.len()).map(|i| core.given.iter().position(|g| is_leaf(g, i)).map(|n| n as BufferId)).collect();
        let mut r = Rounds { core, loaded, state: SmallVec::new(), data, advance: SmallVec::new(), input };
        for i in 0..held.len() {
            let next = r.way(i);
            r.advance.push(next);
        }
        r.state.extend(held.iter().map(|a| a.buffer().clone()));
        r
    }

    fn way(&self, i: usize) -> Advance {
        match self.core.outputs[i] {
            From::Input(j) if i == j => Advance::Stay,
            From::Result(k) => {
                let buffer = self.loaded.plan.outputs[k].buffer;
                let taken = self.advance.iter().any(|a| matches!(a, Advance::Swap(b) if *b == buffer));
                match self.loaded.plan.buffers[buffer as usize] {
                    Placed::Donated { input } if self.input[i] == Some(input) => Advance::Stay,
                    Placed::Result { .. } if !taken => Advance::Swap(buffer),
                    _ => Advance::Copy,
                }
            }
            _ => Advance::Copy,
        }
    }

    /// Makes the next state the state.
    fn advance(&mut self, tables: &mut Tables) {
        // First what is copied, while everything lies where it was.
        let mut copies: SmallVec<[(usize, Buffer); 4]> = SmallVec::new();
        for i in 0..self.state.len() {
            if let Advance::Copy = self.advance[i] {
                copies.push((i, self.output(&self.core.outputs[i], tables).copied_whole().buffer().clone()));
            }
        }
        for i in 0..self.state.len() {
            if let Advance::Swap(buffer) = self.advance[i] {
                let result = tables.result(buffer).expect("a result has memory of its own");
                mem::swap(&mut self.state[i], result);
                let result = result.clone();
                tables.replace(buffer, &result);
                self.rebind(i, tables);
            }
        }
        for (i, copy) in copies {
            self.state[i] = copy;
            self.rebind(i, tables);
        }
        for &(slot, i) in self.core.open.iter().filter(|o| o.1 < self.state.len()) {
            let leaf = &self.core.inputs[i];
            tables.slots[slot] = Array::from_buffer(self.state[i].clone(), leaf.dtype, leaf.shape).bits();
        }
    }

    fn rebind(&self, i: usize, tables: &mut Tables) {
        if let Some(input) = self.input[i] {
            tables.replace(input, &self.state[i]);
        }
    }

    /// An output after a round.
    fn output(&self, from: &From, tables: &Tables) -> Array {
        let leaf = |i: usize| match i.checked_sub(self.state.len()) {
            None => Array::from_buffer(self.state[i].clone(), self.core.inputs[i].dtype, self.core.inputs[i].shape),
            Some(i) => self.data[i].clone(),
        };
        match from {
            From::Result(k) => self.loaded.result(*k, tables, |input| match &self.core.given[input as usize] {
                Given::Tree(i) => leaf(*i).buffer().clone(),
                Given::Captured(array) => array.buffer().clone(),
            }),
            From::Input(i) => leaf(*i),
            From::Captured(array) => array.clone(),
        }
    }
}
