//! Plan: the nodes that a result needs become kernels over one arena.
//!
//! The passes, in order: `live` and `build` take the needed nodes off the tape as single instructions, `simplify` merges and rewrites them on
//! the way, `picks` moves picked elements before the arithmetic on them, `spreads` masks before the gradients of maxima are spread,
//! `batches` joins products that are parts of one, `products` folds sums and factors into matrix products, `stacks` joins sums of short
//! products, `slices` takes slices before arithmetic, `layout` turns views into strides, `fuse` groups what shares a loop, `recompute`
//! repeats cheap arithmetic instead of storing it, `sinks` stores values where they would be copied to, `emit` writes the kernels and `loops`
//! the fused ones, `order` runs early what frees memory, `chains` finds kernels that run part by part as `cut` cuts them, `memory` places the buffers. What makes
//! a graph anew does so by `rebuild`.
//! `verify` checks each step in debug builds, `cache` finds a plan again, `dump` prints one,
//! `text` says with the tape what it computes and where, and `cost` what that takes.

mod batches;
mod build;
pub(crate) mod cache;
pub(crate) mod chains;
pub mod contract;
pub(crate) mod cost;
pub(crate) mod cut;
mod dump;
mod emit;
mod fuse;
mod graph;
pub mod kernel;
mod layout;
pub(crate) mod live;
mod loops;
mod memory;
mod order;
mod picks;
mod products;
mod rebuild;
mod recompute;
mod simplify;
mod sinks;
mod slices;
mod spreads;
mod stacks;
pub(crate) mod text;
mod verify;

use crate::{DType, Shape, record::Record};
pub(crate) use build::bindings;
use chains::Chain;
pub(crate) use graph::Graph;
use kernel::{BufferId, Kernel};
use smallvec::SmallVec;

/// Kernels in order, and where their buffers lie.
pub(crate) struct Plan {
    pub kernels: Vec<Kernel>,
    /// Which of them run part by part.
    pub chains: Vec<Chain>,
    /// By buffer number; the inputs come first.
    pub buffers: Vec<Placed>,
    pub arena_bytes: usize,
    /// The wanted results, in order.
    pub outputs: Vec<Output>,
    /// Values in the arena that stay valid after the run.
    pub kept: Vec<Kept>,
    /// Number of live nodes.
    pub nodes: usize,
    /// For each kernel, the live node that it is named after in reports.
    pub origins: Vec<u32>,
    /// For each kernel, the live nodes that it computes, one entry for each instruction or loop.
    pub shares: Vec<Vec<Share>>,
    /// For each buffer, the live node whose value it holds.
    pub held: Vec<u32>,
}

/// What a kernel does for one live node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share {
    pub live: u32,
    /// How much of the kernel's time it is taken to have, beside the others.
    pub weight: u64,
}

/// Where a buffer lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Placed {
    /// Input so and so of the run.
    Input(u32),
    /// Bytes of the arena from an offset on.
    Arena { offset: usize, bytes: usize },
    /// A part's own, in memory of its thread: bytes of a part from an offset on.
    Part { offset: usize, bytes: usize },
    /// Memory of its own, handed out as a result.
    Result { bytes: usize },
    /// The memory of an input whose last reader is done.
    Donated { input: u32 },
}

/// A wanted result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Output {
    pub buffer: BufferId,
    pub shape: Shape,
    pub dtype: DType,
}

/// A value that stays valid in the arena.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kept {
    /// Which live node.
    pub live: u32,
    pub buffer: BufferId,
}

/// Results and the leaves whose memory they may take.
pub(crate) type Donations = SmallVec<[(u32, u32); 32]>;

/// What a plan is made for, besides the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Whether every result is searched for NaN.
    pub trap: bool,
    /// Whether loops are fused; off for the eager switch and the NaN trap.
    pub fuse: bool,
    /// Bytes of intermediates that stay valid for later reads.
    pub keep_bytes: usize,
    /// Results that may take over an input's memory: (number of the result, the input's node).
    pub donate: Donations,
    /// Which kernels run part by part.
    pub chains: chains::Wanted,
    /// Scalar slots of the tape whose numbers stay open, also where they are literals now.
    pub open: Vec<u32>,
}

impl Options {
    /// A number that differs, very likely, between different options.
    fn hash(&self) -> u64 {
        let start = self.keep_bytes as u64 ^ u64::from(self.fuse) << 63 ^ u64::from(self.trap) << 62 ^ (self.chains as u64) << 60;
        self.donate
            .iter()
            .fold(start, |h, &(a, b)| (h.rotate_left(9) ^ u64::from(a) << 32 ^ u64::from(b)).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

/// Plans the live nodes `order` of a tape for the results `outputs`.
///
/// `keep_also`: numbers in `order` of nodes that stay valid whatever their size, since a later read had to compute them twice.
pub(crate) fn plan(r: &Record, order: &[u32], outputs: &[u32], options: &Options, keep_also: &[u32]) -> Plan {
    plan_graph(graph(r, order, outputs, options), order, options, keep_also)
}

/// The graph of the live nodes `order`, which no longer needs the tape.
pub(crate) fn graph(r: &Record, order: &[u32], outputs: &[u32], options: &Options) -> Graph {
    let graph = build::build(r, order, outputs, &options.open);
    verify::graph(&graph);
    graph
}

/// As [`plan`], from a graph.
pub(crate) fn plan_graph(graph: Graph, order: &[u32], options: &Options, keep_also: &[u32]) -> Plan {
    let graph = if options.fuse { picks::pick_first(graph) } else { graph };
    verify::graph(&graph);
    let graph = if options.fuse { spreads::mask_first(graph, keep_also) } else { graph };
    verify::graph(&graph);
    let graph = if options.fuse { batches::join(graph, keep_also) } else { graph };
    verify::graph(&graph);
    let graph = if options.fuse { products::fold(graph, keep_also) } else { graph };
    verify::graph(&graph);
    let graph = if options.fuse { stacks::stack(graph, keep_also) } else { graph };
    verify::graph(&graph);
    let graph = if options.fuse { slices::slice_first(graph, keep_also) } else { graph };
    verify::graph(&graph);
    let mut laid = layout::lay_out(graph);
    verify::graph(&laid.graph);
    let mut groups = fuse::fuse(&laid, options.fuse);
    if options.fuse {
        recompute::recompute(&mut laid, &mut groups, keep_also);
    }
    verify::groups(&laid, &groups);
    let sinks = if options.fuse { sinks::find(&laid, &groups, keep_also) } else { Default::default() };
    let emitted = emit::emit(&laid, &groups, sinks);
    let emitted = if options.fuse { order::order(&laid, emitted, options, order) } else { emitted };
    let plan = memory::place(&laid, emitted, options, keep_also, order);
    verify::plan(&plan);
    plan
}

impl Plan {
    /// The buffers that kernel `at` writes, with dtype and number of elements.
    pub fn written(&self, at: usize) -> Vec<(BufferId, DType, usize)> {
        let size = |dims: &[usize]| dims.iter().product();
        match &self.kernels[at] {
            Kernel::Fused(k) => {
                let stores = k.stores.iter().map(|s| (s.to.buffer, s.to.dtype, size(&s.to.dims)));
                let rows = size(&k.dims[..k.outer]);
                let kept = match k.rows {
                    Some(_) => size(&k.dims[k.outer..]),
                    None => rows * size(&k.dims[k.dims.len() - k.inner..]),
                };
                let folds = k.folds.iter().map(|f| (f.to, f.fold.result(f.dtype), kept));
                let per_row = k.rows.iter().flat_map(|r| &r.stores).map(|s| (s.to, s.dtype, rows));
                stores.chain(folds).chain(per_row).collect()
            }
            Kernel::Contract(k) => vec![(k.out.buffer, k.dtype(), size(&k.out.dims))],
            Kernel::Convolve(k) => vec![(k.out, k.a.dtype, size(&k.dims))],
            Kernel::Pool(k) => vec![(k.out, k.x.dtype, size(&k.dims))],
            Kernel::Index(k) => vec![(k.out, k.x.dtype, k.shape.size())],
            Kernel::Scan(k) => vec![(k.out, k.x.dtype, size(&k.x.dims))],
            Kernel::Place(k) if k.covered => vec![(k.out, k.dtype, k.pieces.iter().map(|(from, _)| size(&from.dims)).sum())],
            Kernel::Place(k) => vec![(k.out, k.dtype, k.size)],
            Kernel::Generate(k) => vec![(k.out, k.dtype, k.shape.size())],
            Kernel::Opaque(k) => vec![(k.out, k.dtype, k.shape.size())],
        }
    }
}
