//! Where does each buffer lie? Lifetimes become offsets in one arena.

use super::{
    Kept, Options, Output, Placed, Plan,
    chains::{self, Chain},
    emit::Emitted,
    graph::{DROPPED, Op},
    kernel::{BufferId, Fused, Kernel, Place},
    layout::Laid,
    order,
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeMap, BTreeSet};

/// Every buffer starts at a multiple of this: a cache line, and the widest vector.
const ALIGN: usize = 64;

/// First and last kernel that touch a buffer.
#[derive(Clone, Copy)]
pub(super) struct Life {
    pub from: usize,
    pub to: usize,
}

/// Places the buffers of `emitted`.
pub(crate) fn place(laid: &Laid, emitted: Emitted, options: &Options, keep_also: &[u32], live: &[u32]) -> Plan {
    let g = &laid.graph;
    let Emitted { mut kernels, stored, buffer_of, origins, shares, .. } = emitted;
    let bytes = |b: usize| g.node(stored[b]).shape.size() * g.node(stored[b]).dtype.size();
    let outputs: Vec<Output> = (g.outputs.iter())
        .map(|&o| Output { buffer: buffer_of[&laid.layouts[o as usize].base], shape: *g.node(o).shape, dtype: g.node(o).dtype })
        .collect();
    let results: FxHashSet<BufferId> = outputs.iter().map(|o| o.buffer).filter(|&b| b as usize >= g.inputs).collect();
    let mut lives = lifetimes(&kernels, stored.len());
    let candidates = kept_candidates(laid, &buffer_of, &results);
    let kept = choose_kept(candidates, options.keep_bytes, keep_also, &bytes);
    for k in &kept {
        lives[k.buffer as usize].to = kernels.len();
    }
    let mut buffers: Vec<Placed> = (0..g.inputs).map(|i| Placed::Input(i as u32)).collect();
    let mut temporary: Vec<usize> = (g.inputs..stored.len()).filter(|&b| !results.contains(&(b as BufferId))).collect();
    let donations = order::donations(laid, options, live, |output| outputs[output as usize].buffer);
    let given: FxHashMap<BufferId, BufferId> = donations.iter().copied().collect();
    let owner = |b: BufferId| given.get(&b).copied().unwrap_or(b);
    let chains = if options.fuse { chains::find(&mut kernels, options.chains, owner) } else { Vec::new() };
    let mut offsets = vec![0; stored.len()];
    let own: Own = temporary.iter().filter_map(|&b| Some((b, part_of(&chains, lives[b], b, bytes(b))?))).collect();
    chains.iter().for_each(|c| place_parts(c, &own, &lives, &mut offsets));
    temporary.retain(|b| !own.contains_key(b));
    let over = write_over(&mut kernels, &chains, &lives, &temporary, &bytes);
    let mut last: Vec<usize> = lives.iter().map(|l| l.to).collect();
    temporary.iter().for_each(|&b| last[over[b]] = last[over[b]].max(lives[b].to));
    let owners = temporary.iter().copied().filter(|&b| over[b] == b);
    let life = |b: usize| widened(&chains, Life { to: last[b], ..lives[b] });
    let wanted = owners.map(|b| (b, bytes(b).next_multiple_of(ALIGN), life(b))).collect();
    let arena_bytes = place_all(wanted, &mut offsets);
    temporary.iter().for_each(|&b| offsets[b] = offsets[over[b]]);
    for (b, &offset) in offsets.iter().enumerate().skip(g.inputs) {
        let bytes = bytes(b);
        buffers.push(match own.get(&b) {
            Some(&bytes) => Placed::Part { offset, bytes },
            None if results.contains(&(b as BufferId)) => Placed::Result { bytes },
            None => Placed::Arena { offset, bytes },
        });
    }
    donate(g, &stored, &donations, &outputs, &lives, &mut kernels, &mut buffers);
    let held = stored.iter().map(|&id| g.node(id).origin).collect();
    Plan { kernels, chains, buffers, arena_bytes, outputs, kept, nodes: live.len(), origins, shares, held }
}

/// By buffer that lives within a chain, the bytes that a part needs of it.
type Own = FxHashMap<usize, usize>;

/// Bytes that a part needs of a buffer, if that lives within a chain and no part sees another's.
fn part_of(chains: &[Chain], life: Life, b: usize, bytes: usize) -> Option<usize> {
    let chain = chains::at(chains, life.from).filter(|c| c.kernels.contains(&life.to))?;
    let step = chain.touched.get(&(b as BufferId))?.step;
    (step * chain.parts == bytes).then_some(step)
}

/// While a chain runs, some parts of a buffer may not yet be written, and others not be read any more.
fn widened(chains: &[Chain], life: Life) -> Life {
    let from = chains::at(chains, life.from).map_or(life.from, |c| c.kernels.start);
    Life { from, to: chains::at(chains, life.to).map_or(life.to, |c| c.kernels.end - 1) }
}

/// Places a part's own buffers in memory of its thread.
fn place_parts(chain: &Chain, own: &Own, lives: &[Life], offsets: &mut [usize]) {
    let own = chain.touched.keys().filter_map(|&b| own.get_key_value(&(b as usize)));
    place_all(own.map(|(&b, bytes)| (b, bytes.next_multiple_of(ALIGN), lives[b])).collect(), offsets);
}

/// All places that a kernel reads, and the buffers it writes.
pub(crate) fn touches(kernel: &Kernel) -> (Vec<&Place>, Vec<BufferId>) {
    match kernel {
        Kernel::Fused(k) => {
            let rows = k.rows.iter().flat_map(|r| &r.loads);
            let written = k.stores.iter().map(|s| s.to.buffer).chain(k.folds.iter().map(|f| f.to));
            let written = written.chain(k.rows.iter().flat_map(|r| &r.stores).map(|s| s.to));
            (k.loads.iter().chain(rows).map(|l| &l.from).collect(), written.collect())
        }
        Kernel::Contract(k) => (k.operands().collect(), vec![k.out.buffer]),
        Kernel::Convolve(k) => (vec![&k.a, &k.b], vec![k.out]),
        Kernel::Pool(k) => ([&k.x].into_iter().chain(&k.with).collect(), vec![k.out]),
        Kernel::Index(k) => ([&k.x, &k.index].into_iter().chain(&k.src).collect(), vec![k.out]),
        Kernel::Scan(k) => (vec![&k.x], vec![k.out]),
        Kernel::Place(k) => (k.pieces.iter().map(|p| &p.0).collect(), vec![k.out]),
        Kernel::Generate(k) => (Vec::new(), vec![k.out]),
        Kernel::Opaque(k) => (k.inputs.iter().collect(), vec![k.out]),
    }
}

/// The same buffers, each once.
pub(super) fn once(mut buffers: Vec<BufferId>) -> Vec<BufferId> {
    buffers.sort_unstable();
    buffers.dedup();
    buffers
}

/// By buffer, from which kernel to which it is touched; none has `from` above `to`.
pub(super) fn lifetimes(kernels: &[Kernel], buffers: usize) -> Vec<Life> {
    let mut lives = vec![Life { from: usize::MAX, to: 0 }; buffers];
    for (at, kernel) in kernels.iter().enumerate() {
        let (reads, writes) = touches(kernel);
        for b in reads.iter().map(|p| p.buffer).chain(writes) {
            let life = &mut lives[b as usize];
            *life = Life { from: life.from.min(at), to: life.to.max(at) };
        }
    }
    lives
}

/// By buffer, the one whose memory it takes over: a loop that is the last to read a large one, element by element, writes over it.
fn write_over(
    kernels: &mut [Kernel],
    chains: &[Chain],
    lives: &[Life],
    temporary: &[usize],
    bytes: &impl Fn(usize) -> usize,
) -> Vec<usize> {
    let mut over: Vec<usize> = (0..lives.len()).collect();
    let large: FxHashSet<usize> = temporary.iter().copied().filter(|&b| bytes(b) >= LARGE).collect();
    if large.is_empty() {
        return over;
    }
    for (at, kernel) in kernels.iter_mut().enumerate() {
        let Kernel::Fused(k) = &*kernel else { continue };
        let mut dying: Vec<usize> = k.loads.iter().map(|l| l.from.buffer as usize).collect();
        let apart = |b: usize| chains::at(chains, at).is_none_or(|c| c.touched[&(b as BufferId)].apart);
        dying.retain(|&b| large.contains(&b) && lives[b].to == at && apart(b));
        // Born here. Where others write parts of it later, they write over what nobody reads any more, as well.
        let fresh: Vec<usize> =
            k.stores.iter().map(|s| s.to.buffer as usize).filter(|b| large.contains(b) && lives[*b].from == at).collect();
        for out in fresh {
            let mut whole = |b: usize| bytes(b) == bytes(out) && in_step(kernel, b as BufferId, out as BufferId);
            if over[out] == out
                && let Some(found) = dying.iter().position(|&b| whole(b))
            {
                over[out] = over[dying.swap_remove(found)];
            }
        }
    }
    over
}

/// Live nodes whose value lies densely in a buffer of the arena.
fn kept_candidates(laid: &Laid, buffer_of: &FxHashMap<u32, BufferId>, results: &FxHashSet<BufferId>) -> Vec<Kept> {
    let g = &laid.graph;
    let mut candidates = Vec::new();
    for (live, &node) in g.values.iter().enumerate() {
        if node == DROPPED || matches!(g.node(node).op, Op::Input(_)) {
            continue;
        }
        let layout = &laid.layouts[node as usize];
        let whole = g.node(layout.base).shape.size() == g.node(node).shape.size() && layout.is_dense(&g.node(node).shape);
        let Some(&buffer) = buffer_of.get(&layout.base).filter(|_| whole) else { continue };
        if buffer as usize >= g.inputs && !results.contains(&buffer) {
            candidates.push(Kept { live: live as u32, buffer });
        }
    }
    candidates
}

/// The smallest first, up to the budget, and whatever was asked for by name.
fn choose_kept(mut candidates: Vec<Kept>, budget: usize, keep_also: &[u32], bytes: &impl Fn(usize) -> usize) -> Vec<Kept> {
    candidates.sort_by_key(|k| (bytes(k.buffer as usize), k.live));
    let mut total = 0;
    let mut counted: FxHashSet<BufferId> = FxHashSet::default();
    candidates.retain(|k| {
        if !counted.contains(&k.buffer) {
            total += bytes(k.buffer as usize);
        }
        let keep = total <= budget || keep_also.contains(&k.live) || counted.contains(&k.buffer);
        if keep {
            counted.insert(k.buffer);
        }
        keep
    });
    candidates
}

/// Buffers of so many bytes are written over where they die. Smaller ones stay in a cache, and a copy less is worth more.
const LARGE: usize = 1 << 18;
/// Placing by size compares all pairs of buffers; beyond so many they are placed in the order of time.
const MOST_BY_SIZE: usize = 1024;

/// Gives every buffer an offset at which nothing else lies while it lives. Gives the bytes that this takes.
fn place_all(wanted: Vec<(usize, usize, Life)>, offsets: &mut [usize]) -> usize {
    if wanted.len() <= MOST_BY_SIZE { by_size(wanted, offsets) } else { by_time(wanted, offsets) }
}

/// Places large buffers first, each at the lowest offset that is free while it lives: the tightest packing. Gives the arena's size.
fn by_size(mut wanted: Vec<(usize, usize, Life)>, offsets: &mut [usize]) -> usize {
    wanted.sort_by_key(|&(b, size, _)| (std::cmp::Reverse(size), b));
    let mut total = 0;
    let mut taken: Vec<(usize, usize, Life)> = Vec::new(); // offset, end, life; ascending offsets
    for (b, size, life) in wanted {
        let mut offset = 0;
        for &(start, end, other) in &taken {
            let together = other.from <= life.to && life.from <= other.to;
            if together && start < offset + size && offset < end {
                offset = end;
            }
        }
        let at = taken.partition_point(|t| t.0 <= offset);
        taken.insert(at, (offset, offset + size, life));
        offsets[b] = offset;
        total = total.max(offset + size);
    }
    total
}

/// Places buffers as they are born, each into the smallest gap that holds it; gaps join when buffers die. Gives the arena's size.
fn by_time(mut wanted: Vec<(usize, usize, Life)>, offsets: &mut [usize]) -> usize {
    wanted.sort_by_key(|&(b, _, life)| (life.from, b));
    let mut total = 0;
    let mut gaps: BTreeMap<usize, usize> = BTreeMap::new(); // size by offset
    let mut dying: BTreeSet<(usize, usize, usize)> = BTreeSet::new(); // last use, offset, size
    for (b, size, life) in wanted {
        while let Some(&(to, offset, size)) = dying.first().filter(|d| d.0 < life.from) {
            dying.remove(&(to, offset, size));
            release(&mut gaps, offset, size);
        }
        let gap = gaps.iter().filter(|g| *g.1 >= size).min_by_key(|g| *g.1).map(|(&at, &have)| (at, have));
        offsets[b] = match gap {
            Some((at, have)) => {
                gaps.remove(&at);
                if have > size {
                    gaps.insert(at + size, have - size);
                }
                at
            }
            None => {
                total += size;
                total - size
            }
        };
        if size > 0 {
            dying.insert((life.to, offsets[b], size));
        }
    }
    total
}

/// Adds a gap, joined with its neighbours.
fn release(gaps: &mut BTreeMap<usize, usize>, mut offset: usize, mut size: usize) {
    if let Some((&before, &have)) = gaps.range(..offset).next_back().filter(|g| g.0 + g.1 == offset) {
        gaps.remove(&before);
        (offset, size) = (before, size + have);
    }
    if let Some(have) = gaps.remove(&(offset + size)) {
        size += have;
    }
    gaps.insert(offset, size);
}

/// Lets a result take over the memory of a donated input, where the kernel that writes it is the input's last reader or comes later.
fn donate(
    g: &super::graph::Graph,
    stored: &[u32],
    donations: &[(BufferId, BufferId)],
    outputs: &[Output],
    lives: &[Life],
    kernels: &mut [Kernel],
    buffers: &mut [Placed],
) {
    let fallible = kernels.iter().rposition(order::is_fallible);
    for &(result, input) in donations {
        let out = outputs.iter().find(|o| o.buffer == result).expect("a donation is for a result");
        let given = g.node(stored[input as usize]);
        let fits = given.dtype == out.dtype && given.shape.size() == out.shape.size();
        let fresh = matches!(buffers[out.buffer as usize], Placed::Result { .. });
        let taken = buffers.contains(&Placed::Donated { input });
        let is_result = outputs.iter().any(|o| o.buffer == input);
        if !fits || !fresh || taken || is_result {
            continue;
        }
        let writer = lives[out.buffer as usize].from;
        // Nothing may fail once an input is overwritten.
        if fallible.is_some_and(|f| f >= writer) {
            continue;
        }
        let last_read = lives[input as usize];
        let read_later = last_read.from != usize::MAX && last_read.to > writer;
        let read_there = last_read.from != usize::MAX && last_read.to == writer;
        if read_later || (read_there && !in_step(&mut kernels[writer], input, out.buffer)) {
            continue;
        }
        buffers[out.buffer as usize] = Placed::Donated { input };
    }
}

/// Whether a kernel reads `input` just where it writes `out`: a loop, or a product that is added to it. Marks a loop's store as in place.
fn in_step(kernel: &mut Kernel, input: BufferId, out: BufferId) -> bool {
    let k = match kernel {
        Kernel::Fused(k @ Fused { rows: None, .. }) => k,
        Kernel::Contract(k) => {
            let to = &k.out;
            let apart = k.terms.iter().all(|t| t.a.buffer != input && t.b.buffer != input);
            return apart && k.adds_once() && k.add.as_ref().is_some_and(|add| same(add, to));
        }
        _ => return false,
    };
    let Some(store) = k.stores.iter_mut().find(|s| s.to.buffer == out) else { return false };
    let aligned = k.loads.iter().filter(|l| l.from.buffer == input).all(|l| same(&l.from, &store.to));
    if aligned {
        store.over = Some(input);
    }
    aligned
}

/// Whether the elements of two operands lie at the same places of their buffers.
fn same(a: &Place, b: &Place) -> bool {
    (a.dtype, a.offset, &a.strides) == (b.dtype, b.offset, &b.strides)
}

#[cfg(test)]
mod tests {
    use super::{super::chains::Touched, *};

    #[test]
    fn a_part_has_memory_of_its_own_for_what_lives_within_its_chain_and_has_one_share_for_each_part() {
        let touched = Touched { step: 64, written: true, apart: true };
        let chains = [Chain { kernels: 2..5, parts: 2, touched: [(7, touched)].into_iter().collect() }];
        let part = |from, to, bytes| part_of(&chains, Life { from, to }, 7, bytes);
        assert_eq!(part(2, 4, 128), Some(64));
        assert_eq!(part(2, 4, 256), None, "one of two periods");
        assert_eq!((part(1, 4, 128), part(3, 5, 128)), (None, None), "others write or read it");
        let wide = |from, to| widened(&chains, Life { from, to });
        assert_eq!([wide(3, 3), wide(0, 3), wide(3, 9), wide(5, 6)].map(|l| (l.from, l.to)), [(2, 4), (0, 4), (2, 9), (5, 6)]);
    }

    #[test]
    fn both_ways_of_placing_keep_what_lives_together_apart() {
        let mut state = 7u64;
        let mut random = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % n
        };
        let wanted: Vec<(usize, usize, Life)> = (0..300)
            .map(|b| {
                let from = random(200) as usize;
                (b, random(8) as usize * ALIGN, Life { from, to: from + random(20) as usize })
            })
            .collect();
        let peak = (0..220).map(|t| wanted.iter().filter(|w| w.2.from <= t && t <= w.2.to).map(|w| w.1).sum::<usize>()).max().unwrap();
        for place in [by_size, by_time] {
            let mut offsets = vec![0; wanted.len()];
            let total = place(wanted.clone(), &mut offsets);
            assert!(total >= peak && total <= 2 * peak, "{total} bytes for a peak of {peak}");
            for (i, a) in wanted.iter().enumerate() {
                assert!(offsets[i] + a.1 <= total);
                for (j, b) in wanted.iter().enumerate().skip(i + 1) {
                    let together = a.2.from <= b.2.to && b.2.from <= a.2.to;
                    let overlap = offsets[i].max(offsets[j]) < (offsets[i] + a.1).min(offsets[j] + b.1);
                    assert!(!(together && overlap), "{i} and {j}");
                }
            }
        }
    }
}
