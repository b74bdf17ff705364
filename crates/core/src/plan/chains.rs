//! Which kernels run part by part? Chains of neighbours of which each part reads, of what the others write, only what the same part wrote.
//!
//! A thread takes a part through all kernels of the chain: nobody waits between them, what one has written the next finds in the core's own
//! cache, and what nobody else reads needs room for a part alone. Parts depend on shapes only.

use super::{
    contract::{ENOUGH, worthy_parts},
    cost::flops,
    cut::{Span, Spans, axis, spans},
    kernel::{BufferId, Contract, Kernel},
};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::ops::Range;

/// Which chains are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Those that are worth while.
    #[default]
    Worthy,
    /// All that are possible, for tests.
    All,
}

/// Neighbouring kernels that run part by part.
#[derive(Debug, PartialEq)]
pub(crate) struct Chain {
    pub kernels: Range<usize>,
    pub parts: usize,
    /// By buffer that the kernels touch.
    pub touched: FxHashMap<BufferId, Touched>,
}

/// How the parts of a chain touch a buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Touched {
    /// How many bytes the next part lies behind; 0 if all touch the same.
    pub step: usize,
    pub written: bool,
    /// Whether no part touches what another does.
    pub apart: bool,
}

/// Most parts.
const MOST: usize = 64;
/// Most bytes that a part writes of a result: the next kernel is to find them in the core's own cache.
const RESULT: usize = 1 << 19;
/// Bytes that a part touches: two parts are enough if that is all, else there are more, up to [`ENOUGH`].
const TOUCHED: usize = 1 << 17;
/// Fewest rows of a part of a product.
const ROWS: usize = 16;
/// Multiplications for each byte from which on a product gains nothing from what lies in the cache.
const BUSY: usize = 28;
/// Terms of a sum that is better put together from partial sums.
const TERMS: usize = 1 << 12;
/// Operations of the first kernel of a chain, at least: of smaller ones there is no need to look.
const FIRST: u64 = 1 << 16;
/// Operations, and bytes, that one core works off in a nanosecond, about.
const FLOPS: usize = 40;
const BYTES: usize = 10;
/// Nanoseconds that a chain takes one core at least: to share less among cores does not pay.
const WORTH: usize = 10_000;

/// The chains among kernels; `owner` names the buffer whose memory another may take over.
pub(crate) fn find(kernels: &mut [Kernel], wanted: Wanted, owner: impl Fn(BufferId) -> BufferId) -> Vec<Chain> {
    let (mut chains, mut at) = (Vec::new(), 0);
    while at < kernels.len() {
        let begins = wanted == Wanted::All || flops(&kernels[at]) >= FIRST;
        let length = axis(&kernels[at]).filter(|_| begins).map_or(0, |a| a.1);
        let cuts = (2..=MOST.min(length)).filter(|&parts| length.is_multiple_of(parts));
        // Of those that reach as far the one of fewest parts.
        let longest = cuts.rev().filter_map(|parts| grow(kernels, at, parts, wanted, &owner)).max_by_key(|c| c.kernels.end);
        at = longest.as_ref().map_or(at + 1, |c| c.kernels.end);
        chains.extend(longest);
    }
    chains
}

/// The chain that a kernel belongs to.
pub(crate) fn at(chains: &[Chain], kernel: usize) -> Option<&Chain> {
    chains.get(chains.partition_point(|c| c.kernels.end <= kernel)).filter(|c| c.kernels.contains(&kernel))
}

/// The chain from kernel `at` on, as long as it gets; none if it is not worth while.
fn grow(kernels: &mut [Kernel], at: usize, parts: usize, wanted: Wanted, owner: impl Fn(BufferId) -> BufferId) -> Option<Chain> {
    let all = wanted == Wanted::All;
    let mut chain = Chain { kernels: at..at, parts, touched: FxHashMap::default() };
    let mut time = 0;
    for kernel in &mut kernels[at..] {
        let Some(spans) = spans(kernel, parts).filter(|s| all || suits(kernel, s, parts)) else { break };
        let mut changed = Changed::new();
        let linked =
            chain.kernels.is_empty() || spans.iter().any(|s| !s.written && chain.touched.get(&s.buffer).is_some_and(|t| t.written));
        if !linked || !spans.iter().all(|s| chain.touch(&mut changed, s, owner(s.buffer))) {
            break;
        }
        chain.touched.extend(changed);
        chain.kernels.end += 1;
        time += flops(kernel) as usize / FLOPS + moved(&spans) * parts / BYTES;
    }
    (chain.kernels.len() > 1 && (all || time >= WORTH)).then_some(chain)
}

/// What a kernel changes in the table of a chain; the last entry of a buffer counts.
type Changed = SmallVec<[(BufferId, Touched); 16]>;

impl Chain {
    /// Enters a span of a kernel; false if parts would get in each other's way.
    fn touch(&self, changed: &mut Changed, span: &Span, owner: BufferId) -> bool {
        // Each part lies in its share of one period of the buffer.
        let apart = span.step > 0 && span.first % (span.step * self.parts) + span.len <= span.step;
        let mut all = Touched { step: span.step, written: span.written, apart };
        for buffer in [span.buffer, owner] {
            let before = changed.iter().rev().find(|c| c.0 == buffer).map(|c| &c.1).or_else(|| self.touched.get(&buffer));
            if let Some(before) = before {
                all = Touched { written: all.written || before.written, apart: all.apart && before.apart, step: before.step };
            }
            changed.push((buffer, all));
        }
        all.step == span.step && (all.apart || !all.written)
    }
}

/// Bytes of what is cut that a part touches, each buffer once.
fn moved(spans: &Spans) -> usize {
    let cut = spans.iter().filter(|s| s.step > 0);
    let mut buffers: SmallVec<[(BufferId, usize); 16]> = cut.map(|s| (s.buffer, s.len)).collect();
    buffers.sort_unstable_by_key(|&(buffer, len)| (buffer, std::cmp::Reverse(len)));
    buffers.dedup_by_key(|b| b.0);
    buffers.iter().map(|b| b.1).sum()
}

/// Whether a kernel is as well off in so many parts as alone.
fn suits(kernel: &Kernel, spans: &Spans, parts: usize) -> bool {
    let results = spans.iter().filter(|s| s.written).all(|s| s.len <= RESULT);
    let enough = parts >= (moved(spans) * parts / TOUCHED).clamp(2, ENOUGH);
    results
        && enough
        && match kernel {
            Kernel::Contract(k) => suits_product(k, spans, parts),
            _ => true,
        }
}

/// The same for products: each part packs the right operand for itself, unless it is small and lies row by row.
fn suits_product(k: &Contract, spans: &Spans, parts: usize) -> bool {
    let (size, n, terms) = (k.out.dims.iter().product::<usize>(), k.out.dims[k.out.dims.len() - 1], k.depth());
    if terms >= TERMS {
        return false;
    }
    let shared = k.terms.iter().all(|t| spans.iter().any(|s| s.buffer == t.b.buffer && s.step == 0));
    let (all_rows, rows) = (size / n, size / n / parts);
    let packs = shared && !k.has_small_right() && (rows < 4 * ROWS || all_rows < n);
    let busy = size * terms >= BUSY * parts * moved(spans);
    !packs && !busy && (!shared || rows >= ROWS) && parts >= worthy_parts(size * terms)
}
