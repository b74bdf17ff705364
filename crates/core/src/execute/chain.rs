//! How does a chain of kernels run? Each part on one thread, through all kernels, over buffers that were moved to it.

use super::{
    frame::{Frame, RawBuffer},
    kernels::{contract, scratch::with_parts},
    run::{Loops, launch},
    threads,
};
use crate::plan::{
    Placed, Plan,
    chains::Chain,
    cut,
    kernel::{BufferId, Kernel},
};
use std::{
    cell::Cell,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// A chain made ready for this processor.
pub(super) struct Loaded {
    kernels: Range<usize>,
    parts: usize,
    /// The first part of each kernel.
    links: Vec<Link>,
    /// The buffers that the links name, which have numbers of their own: that in the plan, and where a part finds it.
    buffers: Vec<(BufferId, Move)>,
    /// Bytes of a part's own buffers.
    own: usize,
}

/// A kernel of a chain, as long as a part.
struct Link {
    kernel: Kernel,
    /// If it is fused.
    loops: Option<Loops>,
}

/// Where a part finds a buffer.
#[derive(Clone, Copy)]
enum Move {
    /// So many bytes behind the part before; 0 if all share it.
    By(usize),
    /// In memory of its thread: the offset, and the bytes of a part.
    Own(usize, usize),
}

impl Loaded {
    pub fn new(plan: &Plan, chain: &Chain) -> Loaded {
        let mut kernels: Vec<Kernel> = plan.kernels[chain.kernels.clone()].iter().map(|k| cut::part(k, chain.parts)).collect();
        let mut named: Vec<BufferId> = kernels.iter_mut().flat_map(cut::buffers).map(|b| *b).collect();
        named.sort_unstable();
        named.dedup();
        let number = |b: BufferId| named.binary_search(&b).expect("it is named") as BufferId;
        kernels.iter_mut().flat_map(cut::buffers).for_each(|b| *b = number(*b));
        let place = |&b: &BufferId| match plan.buffers[b as usize] {
            Placed::Part { offset, bytes } => (b, Move::Own(offset, bytes)),
            _ => (b, Move::By(chain.touched[&b].step)),
        };
        let buffers: Vec<(BufferId, Move)> = named.iter().map(place).collect();
        let end = |&(_, to): &(BufferId, Move)| if let Move::Own(offset, bytes) = to { offset + bytes } else { 0 };
        let own = buffers.iter().map(end).max().unwrap_or(0);
        let links = kernels.into_iter().map(|kernel| Link { loops: Loops::of(&kernel), kernel }).collect();
        Loaded { kernels: chain.kernels.clone(), parts: chain.parts, links, buffers, own }
    }

    /// The number of its first kernel.
    pub fn first(&self) -> usize {
        self.kernels.start
    }

    /// The number of the first kernel behind it.
    pub fn end(&self) -> usize {
        self.kernels.end
    }

    /// Runs all parts. Enters in `times`, by kernel of the plan, the share that each has of the time that all take together.
    pub fn run(&self, frame: &Frame<'_>, times: Option<&mut [Duration]>) {
        let Some(times) = times else {
            return threads::run(self.parts, &|part| self.part(part, frame, |link, frame| link.run(frame)));
        };
        let (began, spent) = (Instant::now(), self.links.iter().map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
        threads::run(self.parts, &|part| {
            let mut spent = spent.iter();
            self.part(part, frame, |link, frame| {
                let began = Instant::now();
                link.run(frame);
                let time = began.elapsed().as_nanos() as u64;
                spent.next().expect("one for each link").fetch_add(time, Ordering::Relaxed);
            });
        });
        let (all, spent) = (began.elapsed(), spent.iter().map(|t| t.load(Ordering::Relaxed)));
        let total = spent.clone().sum::<u64>().max(1) as f64;
        times[self.kernels.clone()].iter_mut().zip(spent).for_each(|(time, spent)| *time = all.mul_f64(spent as f64 / total));
    }

    /// Runs one part of all kernels by `run`.
    fn part(&self, part: usize, frame: &Frame<'_>, mut run: impl FnMut(&Link, &Frame<'_>)) {
        with_parts(self.own, |memory| {
            let mut buffers = TABLE.take();
            buffers.clear();
            buffers.extend(self.buffers.iter().map(|&(b, to)| {
                let buffer = frame.buffer(b);
                match to {
                    Move::By(step) => RawBuffer { ptr: buffer.ptr.wrapping_add(part * step), bytes: buffer.bytes - part * step },
                    Move::Own(offset, bytes) => RawBuffer { ptr: memory.wrapping_add(offset), bytes },
                }
            }));
            let moved = Frame { buffers: &buffers, slots: frame.slots };
            self.links.iter().for_each(|link| run(link, &moved));
            TABLE.set(buffers);
        });
    }
}

impl Link {
    fn run(&self, frame: &Frame<'_>) {
        match &self.kernel {
            Kernel::Contract(k) => contract::run_whole(k, frame),
            kernel => launch(kernel, self.loops.as_ref(), frame).expect("kernels of chains don't fail"),
        }
    }
}

thread_local! {
    /// Buffers of the part that this thread runs, used again by the next.
    static TABLE: Cell<Vec<RawBuffer>> = const { Cell::new(Vec::new()) };
}
