//! Is what the passes gave well-formed? Checked in debug builds: graphs, groups, and the plan with its memory and chains.

use super::{
    Placed, Plan,
    chains::{self, Chain},
    cut::{self, Span},
    emit::read,
    fuse::{GroupKind, Groups, NONE, Role},
    graph::{Graph, Op},
    kernel::{BufferId, Kernel, Place},
    layout::Laid,
    memory::{once, touches},
    text::lives,
};
use std::ops::Range;

/// Nodes refer to earlier ones, instructions to arguments of their own shape.
pub(crate) fn graph(g: &Graph) {
    if !cfg!(debug_assertions) {
        return;
    }
    for (id, node) in g.nodes.iter().enumerate() {
        for a in node.args.iter().filter_map(|a| a.node()) {
            assert!((a as usize) < id, "plan: node {id} reads the later node {a}");
            if matches!(node.op, Op::Do(..)) {
                assert_eq!(g.node(a).shape, node.shape, "plan: instruction {id} reads node {a} of another shape");
            }
        }
        if let Op::Do(instr, of) = node.op {
            assert_eq!(node.args.len(), instr.arity(), "plan: {instr:?} of node {id}");
            assert_eq!(node.dtype, instr.result(of), "plan: dtype of node {id}");
        }
    }
    assert!(g.outputs.iter().all(|&o| (o as usize) < g.nodes.len()), "plan: a result that is no node");
}

/// Every computed node is in one group, and what a group reads is there before it runs.
pub(crate) fn groups(laid: &Laid, groups: &Groups) {
    if !cfg!(debug_assertions) {
        return;
    }
    let g = &laid.graph;
    for (id, node) in g.nodes.iter().enumerate() {
        let own = groups.of[id];
        assert_eq!(own == NONE, matches!(node.op, Op::Input(_) | Op::View(..)), "plan: node {id} and its group");
        if own == NONE {
            continue;
        }
        for a in read(groups, id, node).iter().filter_map(|a| a.node()) {
            let base = laid.layouts[a as usize].base;
            let from = groups.of[base as usize];
            let fused = matches!(groups.list[own as usize].kind, GroupKind::Fused(_));
            let index = matches!(node.op, Op::Index(..)) && node.args[1].node() == Some(a);
            let register =
                fused && !index && groups.passes[base as usize] <= groups.passes[id] && groups.roles[base as usize] != Role::Column;
            assert!(
                from == NONE || from < own || (from == own && register),
                "plan: node {id} of group {own} reads node {base} of group {from}"
            );
        }
    }
}

/// Every buffer is written before it is read, operands lie within their buffers, and what lives together does not overlap.
pub(crate) fn plan(p: &Plan) {
    if !cfg!(debug_assertions) {
        return;
    }
    let mut written = Written::new(p);
    for (at, kernel) in p.kernels.iter().enumerate() {
        let (reads, writes) = touches(kernel);
        for place in reads {
            assert!(written.covers(place), "plan: kernel {at} reads buffer {} before it is written", place.buffer);
            within(p, at, place);
        }
        let targets: Vec<&Place> = match kernel {
            Kernel::Fused(k) => k.stores.iter().map(|s| &s.to).collect(),
            Kernel::Place(k) => k.pieces.iter().map(|(_, to)| to).collect(),
            Kernel::Contract(k) => vec![&k.out],
            _ => Vec::new(), // the others write all of their buffer
        };
        targets.iter().for_each(|to| within(p, at, to));
        written.add(&targets, once(writes));
        if let Kernel::Fused(k) = kernel {
            assert!(k.code.iter().all(|i| !i.args[..i.instr.arity()].contains(&i.out)), "plan: kernel {at} writes an argument's register");
        }
    }
    assert!(p.outputs.iter().all(|o| written.unwritten[o.buffer as usize] == 0), "plan: a result that nothing writes");
    no_overlaps(p);
    p.chains.iter().for_each(|chain| parts_keep_apart(p, chain));
    own_stay_within(p);
}

/// Parts of a chain may run in any order: where one writes, no other reads or writes.
fn parts_keep_apart(p: &Plan, chain: &Chain) {
    let mut spans: Vec<(usize, Span)> = Vec::new(); // the memory, and where in it
    for kernel in &p.kernels[chain.kernels.clone()] {
        for s in cut::spans(&mut kernel.clone(), chain.parts).expect("a kernel of a chain can be cut") {
            let (memory, offset) = match p.buffers[s.buffer as usize] {
                Placed::Input(input) | Placed::Donated { input } => (1 + input as usize, 0),
                Placed::Arena { offset, .. } => (0, offset),
                Placed::Result { .. } => (1 + p.buffers.len() + s.buffer as usize, 0),
                Placed::Part { bytes, .. } => {
                    assert!(s.first + s.len <= bytes && s.step == bytes, "plan: {s:?} of a part leaves its {bytes} bytes");
                    continue;
                }
            };
            spans.push((memory, Span { first: offset + s.first, ..s }));
        }
    }
    if spans.len() * chain.parts > 4096 {
        return; // quadratic; the rules are the same for any size
    }
    let at = |s: &Span, part: usize| s.first + part * s.step..s.first + part * s.step + s.len;
    for (i, a) in spans.iter().enumerate() {
        for b in spans[..=i].iter().filter(|b| b.0 == a.0 && (a.1.written || b.1.written)) {
            for (x, y) in (0..chain.parts).flat_map(|x| (0..chain.parts).map(move |y| (x, y))).filter(|(x, y)| x != y) {
                let (x, y) = (at(&a.1, x), at(&b.1, y));
                assert!(x.end <= y.start || y.end <= x.start, "plan: parts of {chain:?} meet in {:?} and {:?}", a.1, b.1);
            }
        }
    }
}

/// Nobody but its chain touches a part's own buffer, and two that are alive together lie apart.
fn own_stay_within(p: &Plan) {
    let lives = lives(p);
    let own = |b: usize| match p.buffers[b] {
        Placed::Part { offset, bytes } => Some((lives[b].expect("somebody writes it"), offset..offset + bytes)),
        _ => None,
    };
    let all: Vec<_> = (0..p.buffers.len()).filter_map(own).collect();
    for (i, ((from, to), place)) in all.iter().enumerate() {
        let chain = chains::at(&p.chains, *from);
        assert!(chain.is_some_and(|c| c.kernels.contains(to)), "plan: a part's own buffer is touched from kernel {from} to {to}");
        let meets =
            |((f, t), other): &((usize, usize), Range<usize>)| f <= to && from <= t && other.start < place.end && place.start < other.end;
        assert!(all.len() > 512 || !all[..i].iter().any(meets), "plan: a part's own buffers overlap in {place:?}");
    }
}

/// What has been written so far.
struct Written {
    /// By buffer, how many kernels have yet to write to it.
    unwritten: Vec<usize>,
    /// By buffer, the ranges of elements that some of its writers have written.
    ranges: Vec<Vec<Range<isize>>>,
}

impl Written {
    fn new(p: &Plan) -> Written {
        let mut unwritten = vec![0; p.buffers.len()];
        p.kernels.iter().flat_map(|k| once(touches(k).1)).for_each(|b| unwritten[b as usize] += 1);
        for (left, placed) in unwritten.iter_mut().zip(&p.buffers) {
            if *left == 0 && !matches!(placed, Placed::Input(_)) {
                *left = usize::MAX; // what nobody writes is never there
            }
        }
        Written { unwritten, ranges: vec![Vec::new(); p.buffers.len()] }
    }

    fn add(&mut self, targets: &[&Place], writes: Vec<BufferId>) {
        targets.iter().for_each(|to| self.ranges[to.buffer as usize].extend(range(to)));
        writes.iter().for_each(|&b| self.unwritten[b as usize] -= 1);
    }

    /// Whether the elements from the first to the last of an operand have been written, as far as the first and last of each target tell.
    fn covers(&self, place: &Place) -> bool {
        let Some(wanted) = range(place) else { return true };
        let mut ranges = self.ranges[place.buffer as usize].clone();
        ranges.sort_unstable_by_key(|r| r.start);
        let reached = ranges.iter().fold(wanted.start, |reached, r| if r.start <= reached { reached.max(r.end) } else { reached });
        self.unwritten[place.buffer as usize] == 0 || reached >= wanted.end
    }
}

/// The elements from the first to the last of an operand, if it has any.
fn range(place: &Place) -> Option<Range<isize>> {
    let reach =
        |sign: isize| -> isize { place.dims.iter().zip(&place.strides).map(|(&d, &s)| (sign * s).max(0) * sign * (d as isize - 1)).sum() };
    place.dims.iter().all(|&d| d > 0).then(|| place.offset + reach(-1)..place.offset + reach(1) + 1)
}

/// All elements of an operand of kernel `at` lie in its buffer.
fn within(p: &Plan, at: usize, place: &Place) {
    if let Some(range) = range(place) {
        let bytes = bytes(p, place.buffer);
        let fits = bytes.is_none_or(|b| range.end as usize * place.dtype.size() <= b);
        assert!(range.start >= 0 && fits, "plan: kernel {at} has {place:?} outside of {bytes:?} bytes");
    }
}

fn bytes(p: &Plan, b: BufferId) -> Option<usize> {
    match p.buffers[b as usize] {
        Placed::Input(_) | Placed::Donated { .. } | Placed::Part { .. } => None,
        Placed::Arena { bytes, .. } | Placed::Result { bytes } => Some(bytes),
    }
}

/// Replays the kernels: a read must find what was last written at its offsets by the buffer's own writer.
fn no_overlaps(p: &Plan) {
    if p.kernels.len() > 512 {
        return; // quadratic; the placement is the same code for any size
    }
    let range = |b: BufferId| match p.buffers[b as usize] {
        Placed::Arena { offset, bytes } if bytes > 0 => Some(offset..offset + bytes),
        _ => None,
    };
    let mut held: Vec<BufferId> = Vec::new();
    for (at, kernel) in p.kernels.iter().enumerate() {
        let (reads, writes) = touches(kernel);
        for b in reads.iter().map(|r| r.buffer).filter(|&b| range(b).is_some()) {
            assert!(held.contains(&b), "plan: kernel {at} reads buffer {b}, which was overwritten");
        }
        for b in writes {
            let Some(own) = range(b) else { continue };
            held.retain(|&h| range(h).is_none_or(|r| r.end <= own.start || own.end <= r.start));
            held.push(b);
        }
    }
    for k in &p.kept {
        assert!(range(k.buffer).is_none() || held.contains(&k.buffer), "plan: kept buffer {} was overwritten", k.buffer);
    }
}
