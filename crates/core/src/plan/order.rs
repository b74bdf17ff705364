//! In which order do kernels run? As they were recorded, but for those that free memory: they run as soon as they may.
//!
//! A parameter's update reads its gradient, which nobody wants afterwards: right behind the product that computes the gradient it finds
//! this in the cache, and the memory serves the next one. An update that takes over its parameter's memory waits for all who read that.
//! What may fail keeps its place, and so do users' functions.

use super::{
    Options,
    emit::Emitted,
    graph::{DROPPED, Op},
    kernel::{BufferId, Kernel},
    layout::Laid,
    memory::{once, touches},
};
use rustc_hash::FxHashSet;

/// The same kernels in the order in which they are to run.
pub(crate) fn order(laid: &Laid, mut emitted: Emitted, options: &Options, live: &[u32]) -> Emitted {
    let mut o = Order::new(laid, &emitted, options, live);
    for at in 0..emitted.kernels.len() {
        o.run(at);
    }
    let mut position = vec![0; o.order.len()];
    o.order.iter().enumerate().for_each(|(to, &from)| position[from] = to);
    arrange(&mut emitted.kernels, &position);
    arrange(&mut emitted.origins, &position);
    arrange(&mut emitted.shares, &position);
    emitted
}

/// Moves each element to its position.
fn arrange<T>(list: &mut Vec<T>, position: &[usize]) {
    let mut places: Vec<Option<T>> = position.iter().map(|_| None).collect();
    list.drain(..).zip(position).for_each(|(element, &to)| places[to] = Some(element));
    list.extend(places.into_iter().map(|p| p.expect("every position is taken once")));
}

/// Whether a kernel may find an index out of range, or be a user's function.
pub(super) fn is_fallible(kernel: &Kernel) -> bool {
    match kernel {
        Kernel::Index(_) | Kernel::Opaque(_) => true,
        Kernel::Fused(k) => k.rows.iter().flat_map(|r| &r.passes).any(|p| !p.spots.is_empty()),
        _ => false,
    }
}

/// The input whose memory each result may take over: `(result, input)`.
pub(super) fn donations(laid: &Laid, options: &Options, live: &[u32], result: impl Fn(u32) -> BufferId) -> Vec<(BufferId, BufferId)> {
    if options.trap {
        return Vec::new(); // every kernel may fail
    }
    // Inputs have the first buffers, in their order.
    let input = |leaf: u32| {
        let node = laid.graph.values[live.binary_search(&leaf).ok()?];
        match (node != DROPPED).then(|| &laid.graph.node(node).op) {
            Some(Op::Input(input)) => Some(*input),
            _ => None,
        }
    };
    // Equal results share a buffer: it takes over one input at most.
    let mut seen = FxHashSet::default();
    let pairs = options.donate.iter().filter_map(|&(output, leaf)| Some((result(output), input(leaf)?)));
    pairs.filter(|pair| seen.insert(pair.0)).collect()
}

struct Order {
    /// By kernel, the buffers that it reads and writes, each once.
    reads: Vec<Vec<BufferId>>,
    writes: Vec<Vec<BufferId>>,
    fallible: Vec<bool>,
    /// By buffer: bytes in the arena, the kernels that read it, how many of these have yet to run, and how many that write it.
    bytes: Vec<usize>,
    readers: Vec<Vec<usize>>,
    unread: Vec<usize>,
    unwritten: Vec<usize>,
    /// By buffer, the input that it may take over, and the other way round.
    takes: Vec<Option<BufferId>>,
    taken_by: Vec<Option<usize>>,
    /// How many kernels that may fail have yet to run.
    may_fail: usize,
    done: Vec<bool>,
    order: Vec<usize>,
}

impl Order {
    fn new(laid: &Laid, emitted: &Emitted, options: &Options, live: &[u32]) -> Order {
        let (kernels, buffers) = (&emitted.kernels, emitted.stored.len());
        let (reads, writes): (Vec<_>, Vec<_>) =
            (kernels.iter().map(touches)).map(|(reads, writes)| (once(reads.iter().map(|p| p.buffer).collect()), once(writes))).unzip();
        let (mut readers, mut taken_by) = (vec![Vec::new(); buffers], vec![None; buffers]);
        for (at, reads) in reads.iter().enumerate() {
            reads.iter().for_each(|&b| readers[b as usize].push(at));
        }
        let g = &laid.graph;
        let result = |output: u32| emitted.buffer_of[&laid.layouts[g.outputs[output as usize] as usize].base];
        let mut takes = vec![None; buffers];
        for (result, input) in donations(laid, options, live, result) {
            takes[result as usize] = Some(input);
            taken_by[input as usize] = writes.iter().position(|w| w.contains(&result));
        }
        let mut bytes: Vec<usize> = emitted.stored.iter().map(|&id| g.node(id).shape.size() * g.node(id).dtype.size()).collect();
        bytes[..g.inputs].fill(0);
        g.outputs.iter().for_each(|&o| bytes[emitted.buffer_of[&laid.layouts[o as usize].base] as usize] = 0);
        let mut unwritten = vec![0; buffers];
        writes.iter().flatten().for_each(|&b| unwritten[b as usize] += 1);
        let fallible: Vec<bool> = kernels.iter().map(is_fallible).collect();
        Order {
            unread: readers.iter().map(Vec::len).collect(),
            unwritten,
            may_fail: fallible.iter().filter(|f| **f).count(),
            done: vec![false; kernels.len()],
            order: Vec::with_capacity(kernels.len()),
            reads,
            writes,
            fallible,
            bytes,
            readers,
            takes,
            taken_by,
        }
    }

    /// Runs a kernel, unless it has run, and then those that may run at last and free memory.
    fn run(&mut self, at: usize) {
        let mut next = vec![at];
        while let Some(at) = next.pop() {
            if self.done[at] {
                continue;
            }
            self.done[at] = true;
            self.order.push(at);
            self.may_fail -= usize::from(self.fallible[at]);
            self.writes[at].iter().for_each(|&b| self.unwritten[b as usize] -= 1);
            self.reads[at].iter().for_each(|&b| self.unread[b as usize] -= 1);
            // What is there now has readers that may run; what one kernel alone has yet to read may be freed, or written over.
            let there = self.writes[at].iter().flat_map(|&b| &self.readers[b as usize]);
            let last = self.reads[at].iter().filter(|&&b| self.unread[b as usize] == 1).flat_map(|&b| &self.readers[b as usize]);
            let over = self.reads[at].iter().filter(|&&b| self.unread[b as usize] <= 1).filter_map(|&b| self.taken_by[b as usize].as_ref());
            let may = |k: &usize| !self.done[*k] && !self.fallible[*k] && self.may_run(*k) && self.frees(*k);
            next.extend(there.chain(last).chain(over).copied().filter(may));
        }
    }

    /// Whether what a kernel reads is there, and nobody else wants the inputs that it writes over; nothing may fail after that.
    fn may_run(&self, at: usize) -> bool {
        let there = self.reads[at].iter().all(|&b| self.unwritten[b as usize] == 0);
        let mut taken = self.writes[at].iter().filter_map(|&b| self.takes[b as usize]);
        there
            && taken.all(|input| {
                let others = self.unread[input as usize] - usize::from(self.reads[at].contains(&input));
                others == 0 && self.may_fail == 0
            })
    }

    /// Whether a kernel is the last to read more bytes than it writes.
    fn frees(&self, at: usize) -> bool {
        let size = |b: &BufferId| self.bytes[*b as usize];
        let freed: usize = self.reads[at].iter().filter(|&&b| self.unread[b as usize] == 1).map(size).sum();
        freed > 0 && freed >= self.writes[at].iter().map(size).sum()
    }
}
