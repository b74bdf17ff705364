//! What does a plan say about the tape? Kernels with the ops and lines they come from, what they cost, and buffers with their lifetimes.

use super::{
    Placed, Plan, chains,
    cost::{Cost, cost},
    memory::{Life, lifetimes},
};
use crate::record::Record;
use std::fmt::{self, Write};

/// A plan, to be read: `println!("{}", tape.plan(&loss))`.
///
/// Nothing in the text depends on the machine.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanText {
    text: String,
    kernels: Vec<PlannedKernel>,
    arena_bytes: usize,
}

/// One kernel of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedKernel {
    /// Names of the recorded ops that it computes, in order.
    pub ops: Vec<&'static str>,
    /// The source lines on which they were recorded, `file:line`.
    pub lines: Vec<String>,
    /// Operations and bytes.
    pub cost: Cost,
}

impl PlanText {
    /// The kernels, in the order in which they run.
    pub fn kernels(&self) -> &[PlannedKernel] {
        &self.kernels
    }

    /// Operations and bytes of all kernels.
    pub fn cost(&self) -> Cost {
        let mut total = Cost::default();
        self.kernels.iter().for_each(|k| total += k.cost);
        total
    }

    /// Bytes of the memory that intermediates share.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// The text of a plan for the live nodes `order` of a tape.
    pub(crate) fn of(plan: &Plan, r: &Record, order: &[u32]) -> PlanText {
        let kernels = (0..plan.kernels.len()).map(|at| kernel(plan, at, r, order)).collect();
        let mut shown = PlanText { text: String::new(), kernels, arena_bytes: plan.arena_bytes };
        shown.text = write(plan, &shown, r, order).expect("a string takes any text");
        shown
    }
}

/// The text itself, to be searched.
impl std::ops::Deref for PlanText {
    type Target = str;
    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for PlanText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `file:line` of a node.
pub(crate) fn line(r: &Record, id: usize) -> String {
    let at = r.locations[id];
    format!("{}:{}", at.file().replace('\\', "/"), at.line())
}

/// One kernel, as shown.
pub(crate) fn kernel(plan: &Plan, at: usize, r: &Record, order: &[u32]) -> PlannedKernel {
    let (mut ops, mut lines, mut last) = (Vec::new(), Vec::new(), None);
    for share in &plan.shares[at] {
        if last.replace(share.live) == Some(share.live) {
            continue; // another instruction of the same op
        }
        let id = order[share.live as usize] as usize;
        ops.push(r.nodes[id].op.0.name);
        let line = line(r, id);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    PlannedKernel { ops, lines, cost: cost(plan, at) }
}

fn write(plan: &Plan, shown: &PlanText, r: &Record, order: &[u32]) -> Result<String, fmt::Error> {
    let mut f = String::new();
    let (total, kernels) = (shown.cost(), plan.kernels.len());
    writeln!(f, "{kernels} kernels for {} nodes, {}, arena of {} bytes", plan.nodes, Shown(total), plan.arena_bytes)?;
    for (at, kernel) in plan.kernels.iter().enumerate() {
        let k = &shown.kernels[at];
        if let Some(chain) = chains::at(&plan.chains, at).filter(|c| c.kernels.start == at) {
            writeln!(f, "{chain}, each on one thread:")?;
        }
        writeln!(f, "k{at}: {}; {}", k.ops.join(" "), Shown(k.cost))?;
        writeln!(f, "  at {}", k.lines.join(", "))?;
        write!(f, "  {kernel}")?;
    }
    let lives = lives(plan);
    for (b, placed) in plan.buffers.iter().enumerate() {
        let node = order[plan.held[b] as usize] as usize;
        let life = lives[b].map_or("unused".to_string(), |(from, to)| format!("k{from}..k{to}"));
        write!(f, "b{b}: {} {}{:?}, {life}, ", r.nodes[node].op.0.name, r.nodes[node].dtype, r.tables.shapes.get(r.nodes[node].shape))?;
        match *placed {
            Placed::Input(_) => writeln!(f, "given at {}", line(r, node))?,
            Placed::Arena { offset, bytes } => writeln!(f, "arena {offset}..{}", offset + bytes)?,
            Placed::Part { offset, bytes } => writeln!(f, "{offset}..{} of a part", offset + bytes)?,
            Placed::Result { bytes } => writeln!(f, "{bytes} bytes of its own")?,
            Placed::Donated { input } => writeln!(f, "over b{input}")?,
        }
    }
    for (i, o) in plan.outputs.iter().enumerate() {
        writeln!(f, "result {i}: b{} as {}{:?}", o.buffer, o.dtype, o.shape)?;
    }
    Ok(f)
}

/// Operations and bytes in words.
struct Shown(Cost);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} FLOP, {} bytes read, {} written", self.0.flops, self.0.read, self.0.written)
    }
}

/// By buffer, the first and the last kernel that touch it.
pub(crate) fn lives(plan: &Plan) -> Vec<Option<(usize, usize)>> {
    let touched = |life: &Life| (life.from <= life.to).then_some((life.from, life.to));
    lifetimes(&plan.kernels, plan.buffers.len()).iter().map(touched).collect()
}
