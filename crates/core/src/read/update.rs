//! How does a training step write its new parameters? Over the old ones, where nothing reads those any more.

use super::{
    EvalError,
    eval::{run, settle, shared},
};
use crate::{
    Array, DType, Shape, Tape, Tensor, Tree,
    plan::{Donations, cache::History},
    record::Value,
};
use smallvec::SmallVec;
use std::panic::Location;

/// What an update writes to: a mutable reference to a tree of arrays, or a tuple of such references.
pub trait Destination {
    /// Calls `f` with every array, in the tree's order.
    fn each<'a>(&'a mut self, f: &mut dyn FnMut(&'a mut Array));
}

impl<T: Tree<Array>> Destination for &mut T {
    fn each<'a>(&'a mut self, f: &mut dyn FnMut(&'a mut Array)) {
        self.visit_mut(|_, _, a| f(a));
    }
}
impl<A: Destination, B: Destination> Destination for (A, B) {
    fn each<'a>(&'a mut self, f: &mut dyn FnMut(&'a mut Array)) {
        self.0.each(f);
        self.1.each(f);
    }
}
impl<A: Destination, B: Destination, C: Destination> Destination for (A, B, C) {
    fn each<'a>(&'a mut self, f: &mut dyn FnMut(&'a mut Array)) {
        self.0.each(f);
        self.1.each(f);
        self.2.each(f);
    }
}

/// An array to be replaced: what is known of it, and the leaf that gives its memory, if it can.
struct Target {
    dtype: DType,
    shape: Shape,
    leaf: Option<u32>,
}

impl Tape {
    /// Replaces the arrays of `to` by the values of `from`: `tape.update((&mut model, &mut state), (next, next_state))`.
    ///
    /// The memory of an array that is bound to this tape and held nowhere else is given to the plan, which writes the new value over
    /// the old one where it can. A later read of something that needs the old value panics, naming both lines. On an error nothing is changed.
    ///
    /// # Panics
    /// At the caller: when the trees differ in number, shapes or dtypes of their leaves, and as [`Tape::eval`].
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let mut w = Array::from([1.0, 2.0]);
    /// let tape = Tape::new();
    /// let x = tape.leaf(&w);
    /// tape.update(&mut w, x * 0.5);
    /// assert_eq!(w, Array::from([0.5, 1.0]));
    /// ```
    #[track_caller]
    pub fn update<'t>(&'t self, to: impl Destination, from: impl Tree<Tensor<'t>>) {
        self.eval_and_update(&(), to, from);
    }

    /// As [`update`](Self::update), returning the values of another tree from the same plan: a loss, say.
    #[track_caller]
    pub fn eval_and_update<'t, R: Tree<Tensor<'t>>>(
        &'t self,
        read: &R,
        to: impl Destination,
        from: impl Tree<Tensor<'t>>,
    ) -> R::With<Array> {
        match self.try_eval_and_update(read, to, from) {
            Ok(values) => values,
            Err(why) => panic!("{why}"),
        }
    }

    /// As [`eval_and_update`](Self::eval_and_update); on an error nothing is changed.
    #[track_caller]
    pub fn try_eval_and_update<'t, R: Tree<Tensor<'t>>>(
        &'t self,
        read: &R,
        mut to: impl Destination,
        from: impl Tree<Tensor<'t>>,
    ) -> Result<R::With<Array>, EvalError> {
        let at = Location::caller();
        let mut targets: SmallVec<[Target; 32]> = SmallVec::new();
        {
            let mut next = 0;
            to.each(&mut |a| targets.push(Target { dtype: a.dtype(), shape: *a.shape(), leaf: self.giver(a, &mut next) }));
        }
        let mut sources: SmallVec<[Tensor<'t>; 32]> = SmallVec::new();
        from.visit(|_, _, x: &Tensor<'t>| sources.push(if x.id.as_slot().is_some() { x.filled(x.shape()) } else { *x }));
        check(&targets, &sources);
        let ids: SmallVec<[u32; 32]> = sources.iter().map(|x| x.id.as_node().expect("filled") as u32).collect();
        let mut outputs = ids.clone();
        read.visit(|_, _, x: &Tensor<'t>| outputs.extend(x.id.as_node().map(|id| id as u32)));
        outputs.sort_unstable();
        outputs.dedup();
        let donate = donations(&targets, &ids, &outputs);
        settle(self);
        {
            let r = self.record();
            outputs.retain(|id| !crate::plan::live::is_input(&r, *id as usize));
        }
        let donate = donate.into_iter().filter_map(|(id, leaf)| Some((outputs.binary_search(&id).ok()? as u32, leaf))).collect();
        let mut values: SmallVec<[Array; 32]> = SmallVec::new();
        let mut given: SmallVec<[bool; 32]> = SmallVec::from_elem(false, outputs.len());
        if !outputs.is_empty() {
            let ran = run(self, &outputs, donate, at)?;
            let mut reader = self.reader.borrow_mut();
            let r = self.record();
            for (i, given) in given.iter_mut().enumerate() {
                values.push(ran.loaded.result(i, &reader.tables, |input| shared(&r, ran.found.inputs[input as usize] as usize)));
                *given = ran.loaded.is_donated(i);
            }
            reader.tables.release();
        }
        self.hand_over(&outputs, &values, &ids, &targets, &given, at);
        let result = self.try_eval(read)?;
        self.record.borrow_mut().forget_values(&ids);
        self.reader.borrow_mut().history = History::UNKNOWN;
        let mut new: SmallVec<[Array; 32]> = SmallVec::new();
        for (x, id) in sources.iter().zip(&ids) {
            new.push(match outputs.binary_search(id) {
                Ok(i) => values[i].clone(),
                Err(_) => self.try_eval(x)?,
            });
        }
        drop(values);
        let mut new = new.into_iter();
        to.each(&mut |a| *a = new.next().expect("as many as were counted"));
        Ok(result)
    }

    /// The leaf node of this tape that holds the same memory as `a`, if the two are its only holders. Searches from leaf `next` on,
    /// since models are bound and updated in one order.
    fn giver(&self, a: &Array, next: &mut usize) -> Option<u32> {
        let r = self.record();
        let n = r.leaves.len();
        let found = (0..n).map(|i| (*next + i) % n).find(|&i| r.leaves[i].array.buffer().ptr() == a.buffer().ptr())?;
        *next = found + 1;
        (a.size() > 0 && a.buffer().refs() == 2).then(|| r.leaves[found].node)
    }

    /// Enters the results into the tape's table, and marks the leaves whose memory is gone.
    fn hand_over(
        &self,
        outputs: &[u32],
        values: &[Array],
        ids: &[u32],
        targets: &[Target],
        given: &[bool],
        at: &'static Location<'static>,
    ) {
        let (mut r, none) = (self.record.borrow_mut(), Array::zeros(DType::Bool, 0));
        for (i, &id) in outputs.iter().enumerate() {
            r.values.set(id as usize, Value { buffer: values[i].buffer().clone(), offset: 0, whole: true });
            let target = ids.iter().position(|&x| x == id).filter(|_| given[i]);
            if let Some(leaf) = target.and_then(|t| targets[t].leaf) {
                let index = r.nodes[leaf as usize].attrs as usize;
                r.leaves[index].donated = Some(at);
                r.leaves[index].array = none.clone();
            }
        }
    }
}

#[track_caller]
fn check(targets: &[Target], sources: &[Tensor<'_>]) {
    if targets.len() != sources.len() {
        panic!("update: expected as many tensors as arrays, got {} for {}", sources.len(), targets.len());
    }
    for (i, (t, x)) in targets.iter().zip(sources).enumerate() {
        if t.dtype != x.dtype() || t.shape != x.shape() {
            panic!("update: expected {}{:?} for leaf {i}, got {x:?}", t.dtype, t.shape);
        }
    }
}

/// Which node's value may take which leaf's memory, among all that is `wanted`. A node that is wanted twice takes the first; a leaf
/// that is wanted itself, as one model's next value or to be read, gives nothing.
fn donations(targets: &[Target], ids: &[u32], wanted: &[u32]) -> Donations {
    let mut donate = Donations::new();
    for (t, &id) in targets.iter().zip(ids) {
        if let Some(leaf) = t.leaf.filter(|leaf| wanted.binary_search(leaf).is_err())
            && donate.iter().all(|d| d.0 != id)
        {
            donate.push((id, leaf));
        }
    }
    donate
}
