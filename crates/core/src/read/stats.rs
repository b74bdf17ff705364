//! What did a tape cost? Counts and times since it was made.

use crate::Tape;
use std::{fmt, time::Duration};

/// Counts and times of one tape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Nodes on the tape.
    pub nodes: usize,
    /// Of those, nodes that derivative walks recorded.
    pub derivative_nodes: usize,
    /// Runs.
    pub runs: usize,
    /// Look-ups that found the whole tape as recorded before.
    pub verbatim_hits: usize,
    /// Look-ups that found the live nodes.
    pub structural_hits: usize,
    /// Look-ups that had to plan.
    pub misses: usize,
    /// Plans made again because a node was computed twice.
    pub replans: usize,
    /// Plans that the thread holds.
    pub cached_plans: usize,
    /// Kernels run.
    pub kernels: usize,
    /// Time in derivative walks.
    pub differentiate: Duration,
    /// Time to find plans.
    pub look_up: Duration,
    /// Time to make plans.
    pub plan: Duration,
    /// Time in kernels.
    pub execute: Duration,
    /// Time since the tape was made that is none of the above: recording, and the caller's own work.
    pub elsewhere: Duration,
    /// After a miss, the op and line at which this tape first differs from the last one.
    pub first_difference: Option<String>,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hits = self.verbatim_hits + self.structural_hits;
        writeln!(f, "{} nodes ({} by derivative walks), {} runs, {} kernels", self.nodes, self.derivative_nodes, self.runs, self.kernels)?;
        writeln!(
            f,
            "plans: {hits} found ({} verbatim), {} made, {} made again, {} cached",
            self.verbatim_hits, self.misses, self.replans, self.cached_plans
        )?;
        write!(
            f,
            "time: differentiate {:?}, look-up {:?}, plan {:?}, execute {:?}, elsewhere {:?}",
            self.differentiate, self.look_up, self.plan, self.execute, self.elsewhere
        )?;
        match &self.first_difference {
            Some(at) => write!(f, "\nfirst node unlike the last tape: {at}"),
            None => Ok(()),
        }
    }
}

impl Tape {
    /// Counts and times since the tape was made.
    pub fn stats(&self) -> Stats {
        let reader = self.reader.borrow();
        let r = self.record();
        let mut s = reader.stats.clone();
        s.nodes = r.nodes.len();
        s.derivative_nodes = r.walks.iter().map(|w| w.nodes.len()).sum();
        s.differentiate = r.walks.iter().map(|w| w.time).sum();
        s.cached_plans = reader.cached_plans();
        let known = s.differentiate + s.look_up + s.plan + s.execute;
        s.elsewhere = reader.began.elapsed().saturating_sub(known);
        s
    }
}
