//! Where does the time of a plan go? Each kernel is timed, and its time shared out among the ops and source lines that it computes.
//!
//! Kernels are timed by themselves, several times. Within a fused kernel there is no clock: its time is divided by estimated operations
//! (`plan/cost.rs`), so the sums per kernel are measured and the shares inside one are not. A node that a derivative walk recorded counts
//! for the op whose rule recorded it, as backward time.

mod roof;
mod show;

use super::{EvalError, look};
use crate::{
    Cost, Tape, Tensor, Tree,
    plan::{
        Placed, Plan, chains,
        text::{line, lives},
    },
    record::Record,
    threads,
};
pub use roof::Roof;
use rustc_hash::FxHashMap;
use std::{panic::Location, time::Duration};

/// How often the plan is run.
const RUNS: usize = 15;

/// What reading some tensors costs, by kernel, op and source line. `Display` gives tables; see also [`to_json`](Self::to_json) and
/// [`to_chrome_trace`](Self::to_chrome_trace).
#[derive(Clone, Debug)]
pub struct Profile {
    /// In the order in which they run.
    pub kernels: Vec<KernelProfile>,
    /// By name of the op, the dearest first.
    pub ops: Vec<Spent>,
    /// By source line, the dearest first.
    pub lines: Vec<Spent>,
    /// What the machine can do.
    pub roof: Roof,
    /// Time of nodes that the program recorded.
    pub forward: Duration,
    /// Time of nodes that derivative walks recorded.
    pub backward: Duration,
    /// Bytes of values that forward kernels leave in memory for backward ones.
    pub saved_bytes: u64,
    /// Most bytes of intermediates and results that are alive at once.
    pub peak_bytes: u64,
    /// Bytes of the leaves that are read.
    pub input_bytes: u64,
    /// Time of the tape itself so far (recording with the caller's own work, derivative walks, finding plans), per node.
    pub tape_per_node: Duration,
}

/// One kernel.
#[derive(Clone, Debug)]
pub struct KernelProfile {
    /// The ops that it computes.
    pub ops: Vec<&'static str>,
    /// Their source lines.
    pub lines: Vec<String>,
    /// Operations and bytes.
    pub cost: Cost,
    /// Least time of all runs.
    pub min: Duration,
    /// Median time.
    pub median: Duration,
    /// The time that operations or bytes need at the roof, whichever is longer, over the least time. Above 1 when data lies in caches.
    pub of_roof: f64,
    /// What it is made of, with the share of its time.
    pub pieces: Vec<Piece>,
}

/// The share of one op in a kernel.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Name of the recorded op.
    pub op: &'static str,
    /// Where it was recorded.
    pub line: String,
    /// Whether a derivative walk recorded it.
    pub is_backward: bool,
    /// Between 0 and 1.
    pub share: f64,
}

/// What an op, or a source line, costs.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    /// Name of the op, or `file:line`.
    pub name: String,
    /// Median time in values.
    pub forward: Duration,
    /// Median time in derivatives of it.
    pub backward: Duration,
    /// Estimated operations.
    pub flops: f64,
    /// Its share of its kernels' bytes.
    pub bytes: f64,
    /// The share of the roof that its kernels reach while they compute it.
    pub of_roof: f64,
    /// Bytes of its values kept for the backward.
    pub saved_bytes: u64,
    /// Bytes of its values at the moment when most are alive.
    pub peak_bytes: u64,
}

impl Spent {
    /// Forward and backward time.
    pub fn time(&self) -> Duration {
        self.forward + self.backward
    }
}

impl Tape {
    /// Runs the plan for reading a tree of tensors several times, and says where its time and memory go.
    ///
    /// # Panics
    /// As [`Tape::eval`].
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::full([200, 100], 0.5f32));
    /// let loss = x.tanh().square().mean();
    /// let [g] = loss.grad([x]);
    /// let profile = tape.profile(&(loss, g));
    /// assert!(profile.backward > std::time::Duration::ZERO);
    /// assert!(profile.ops.iter().any(|op| op.name == "tanh"));
    /// println!("{profile}");
    /// ```
    #[track_caller]
    pub fn profile<'t, T: Tree<Tensor<'t>>>(&'t self, tree: &T) -> Profile {
        match self.try_profile(tree) {
            Ok(profile) => profile,
            Err(why) => panic!("{why}"),
        }
    }

    /// As [`profile`](Self::profile); data that makes a value impossible is an error.
    #[track_caller]
    pub fn try_profile<'t, T: Tree<Tensor<'t>>>(&'t self, tree: &T) -> Result<Profile, EvalError> {
        let stats = self.stats();
        let roof = Roof::of_this_machine();
        let Timed { plan, order, kernels } = timed(self, tree, RUNS)?;
        let spent = stats.elsewhere + stats.differentiate + stats.look_up;
        let tape_per_node = spent / stats.nodes.max(1) as u32;
        Ok(Gathered { r: &self.record(), plan: &plan, order: &order, roof, timed: &kernels }.profile(tape_per_node))
    }
}

/// A plan that was run.
struct Timed {
    plan: Plan,
    order: Vec<u32>,
    /// Least and median time of each kernel.
    kernels: Vec<(Duration, Duration)>,
}

/// Runs the plan for a tree.
#[track_caller]
fn timed<'t, T: Tree<Tensor<'t>>>(tape: &'t Tape, tree: &T, runs: usize) -> Result<Timed, EvalError> {
    let (plan, order) = tape.planned(tree);
    let (mut times, plan) = look::run_timed(tape, plan, &order, runs, Location::caller())?;
    let least_and_median = |t: &mut Vec<Duration>| {
        t.sort_unstable();
        (t[0], t[t.len() / 2])
    };
    Ok(Timed { plan, order, kernels: times.iter_mut().map(least_and_median).collect() })
}

/// What a profile is made from.
struct Gathered<'a> {
    r: &'a Record,
    plan: &'a Plan,
    order: &'a [u32],
    roof: Roof,
    timed: &'a [(Duration, Duration)],
}

impl Gathered<'_> {
    /// The node that the program recorded, from which `live` derives, and whether it is a derivative.
    fn source(&self, live: u32) -> (usize, bool) {
        let (mut id, mut is_backward) = (self.order[live as usize] as usize, false);
        while let Some(walk) = self.r.walks.iter().find(|w| w.nodes.contains(&id)) {
            is_backward = true;
            match walk.origin(id) {
                Some(origin) if origin < id => id = origin,
                _ => break,
            }
        }
        (id, is_backward)
    }

    fn name(&self, id: usize) -> &'static str {
        self.r.nodes[id].op.0.name
    }

    fn kernel(&self, at: usize) -> KernelProfile {
        let shown = crate::plan::text::kernel(self.plan, at, self.r, self.order);
        let (min, median) = self.timed[at];
        let total = self.plan.shares[at].iter().map(|p| p.weight).sum::<u64>().max(1) as f64;
        let mut pieces: Vec<Piece> = Vec::new();
        for share in &self.plan.shares[at] {
            let (id, is_backward) = self.source(share.live);
            let (op, line, share) = (self.name(id), line(self.r, id), share.weight as f64 / total);
            match pieces.iter_mut().find(|p| p.op == op && p.line == line && p.is_backward == is_backward) {
                Some(same) => same.share += share,
                None => pieces.push(Piece { op, line, is_backward, share }),
            }
        }
        let of_roof = self.roof.time(shown.cost) / min.as_secs_f64().max(1e-9);
        KernelProfile { ops: shown.ops, lines: shown.lines, cost: shown.cost, min, median, of_roof, pieces }
    }

    fn profile(&self, tape_per_node: Duration) -> Profile {
        let kernels: Vec<KernelProfile> = (0..self.plan.kernels.len()).map(|at| self.kernel(at)).collect();
        let (mut ops, mut lines) = (Table::default(), Table::default());
        let (mut forward, mut backward) = (Duration::ZERO, Duration::ZERO);
        for k in &kernels {
            for p in &k.pieces {
                let time = k.median.mul_f64(p.share);
                *(if p.is_backward { &mut backward } else { &mut forward }) += time;
                for spent in [ops.entry(p.op), lines.entry(&p.line)] {
                    *(if p.is_backward { &mut spent.backward } else { &mut spent.forward }) += time;
                    spent.flops += k.cost.flops as f64 * p.share;
                    spent.bytes += k.cost.bytes() as f64 * p.share;
                    spent.of_roof += k.of_roof * time.as_secs_f64(); // a sum so far
                }
            }
        }
        let saved_bytes = self.saved(&mut ops, &mut lines);
        let peak_bytes = self.peak(&mut ops, &mut lines);
        let inputs = self.plan.buffers.iter().enumerate().filter(|(_, b)| matches!(b, Placed::Input(_)));
        let input_bytes = inputs.map(|(b, _)| self.bytes(b)).sum();
        let (ops, lines) = (ops.sorted(), lines.sorted());
        Profile { kernels, ops, lines, roof: self.roof, forward, backward, saved_bytes, peak_bytes, input_bytes, tape_per_node }
    }

    fn bytes(&self, b: usize) -> u64 {
        let node = &self.r.nodes[self.order[self.plan.held[b] as usize] as usize];
        match self.plan.buffers[b] {
            Placed::Arena { bytes, .. } | Placed::Part { bytes, .. } | Placed::Result { bytes } => bytes as u64,
            Placed::Input(_) | Placed::Donated { .. } => (self.r.tables.shapes.get(node.shape).size() * node.dtype.size()) as u64,
        }
    }

    /// Enters the values that only the backward still reads.
    fn saved(&self, ops: &mut Table, lines: &mut Table) -> u64 {
        let is_backward = |at: usize| self.plan.shares[at].iter().any(|p| self.source(p.live).1);
        let mut total = 0;
        for (b, life) in lives(self.plan).iter().enumerate() {
            let Some((from, to)) = *life else { continue };
            let (id, derived) = self.source(self.plan.held[b]);
            if derived || matches!(self.plan.buffers[b], Placed::Input(_)) || from == to || !is_backward(to) {
                continue;
            }
            total += self.bytes(b);
            ops.entry(self.name(id)).saved_bytes += self.bytes(b);
            lines.entry(&line(self.r, id)).saved_bytes += self.bytes(b);
        }
        total
    }

    /// Enters who holds what when most is held.
    fn peak(&self, ops: &mut Table, lines: &mut Table) -> u64 {
        let end = self.plan.kernels.len();
        let lives = lives(self.plan);
        // A part's own memory is there for each part that runs at a time.
        let at_once = |at: usize| chains::at(&self.plan.chains, at).map_or(1, |c| c.parts.min(threads()));
        let held = |b: usize, at: usize| match (self.plan.buffers[b], lives[b]) {
            (Placed::Arena { .. }, Some((from, to))) if (from..=to).contains(&at) => self.bytes(b),
            (Placed::Part { .. }, Some((from, to))) if (from..=to).contains(&at) => self.bytes(b) * at_once(at) as u64,
            (Placed::Result { .. }, Some((from, _))) if (from..=end).contains(&at) => self.bytes(b),
            _ => 0,
        };
        let all = 0..self.plan.buffers.len();
        let total = |at: usize| all.clone().map(|b| held(b, at)).sum::<u64>();
        let Some(at) = (0..end).max_by_key(|&at| (total(at), std::cmp::Reverse(at))) else { return 0 };
        for (b, bytes) in all.clone().map(|b| (b, held(b, at))).filter(|h| h.1 > 0) {
            let (id, _) = self.source(self.plan.held[b]);
            ops.entry(self.name(id)).peak_bytes += bytes;
            lines.entry(&line(self.r, id)).peak_bytes += bytes;
        }
        total(at)
    }
}

/// Rows by name.
#[derive(Default)]
struct Table(FxHashMap<String, Spent>);

impl Table {
    fn entry(&mut self, name: &str) -> &mut Spent {
        self.0.entry(name.to_string()).or_insert_with(|| Spent { name: name.to_string(), ..Spent::default() })
    }

    /// The dearest first.
    fn sorted(self) -> Vec<Spent> {
        let mut rows: Vec<Spent> = self.0.into_values().collect();
        for row in &mut rows {
            row.of_roof /= row.time().as_secs_f64().max(1e-12);
        }
        rows.sort_by(|a, b| b.time().cmp(&a.time()).then_with(|| a.name.cmp(&b.name)));
        rows
    }
}
