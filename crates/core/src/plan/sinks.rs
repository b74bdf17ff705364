//! Which values are stored straight where they would be copied to? Those that nothing else reads, and blocks of a whole.
//!
//! A copy into another order, and each piece of a whole that is put together, is a loop that only moves what another kernel has just
//! written. Where that kernel can, it writes to the copy's place at once; a copy all of whose pieces do so is no kernel any more. What
//! else reads such a value finds it there, if it lies as densely as it would on its own.

use super::{
    fuse::{Groups, NONE, Role},
    graph::{Graph, Layout, Op},
    layout::{Laid, pieces},
    recompute::{readers, stay},
};
use crate::{Instr, Shape};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

/// Values that are stored in others' buffers.
#[derive(Default)]
pub(crate) struct Sinks {
    /// By node, where its elements lie in the buffer of another, the layout's base.
    to: FxHashMap<u32, Layout>,
    /// Copies, and which of their pieces the pieces' own kernels write.
    written: FxHashSet<(u32, usize)>,
    /// Copies all of whose pieces are written so.
    filled: FxHashSet<u32>,
}

impl Sinks {
    /// Where a node's elements lie, if not in a buffer of their own.
    pub fn of(&self, id: u32) -> Option<&Layout> {
        self.to.get(&id)
    }

    /// Where a node's elements lie, of this shape: there, or densely in its own buffer.
    pub fn layout(&self, id: u32, shape: &Shape) -> Layout {
        self.of(id).cloned().unwrap_or_else(|| Layout::dense(id, shape))
    }

    /// Whether the kernel of piece so and so of a copy writes it there.
    pub fn is_written(&self, copy: u32, piece: usize) -> bool {
        self.written.contains(&(copy, piece))
    }

    /// Whether nothing is left to copy.
    pub fn is_filled(&self, copy: u32) -> bool {
        self.filled.contains(&copy)
    }
}

/// Shorter rows are copied as fast as they are written apart.
const SHORTEST: usize = 16;

/// Finds them; the values of `kept` nodes stay where they are.
pub(crate) fn find(laid: &Laid, groups: &Groups, kept: &[u32]) -> Sinks {
    let (readers, stay) = (readers(laid, groups), stay(laid, kept));
    let g = &laid.graph;
    let mut sinks = Sinks::default();
    // From the end, so that where a copy goes is known before what it copies.
    for id in (0..g.nodes.len() as u32).rev().filter(|&id| groups.of[id as usize] != NONE) {
        let own = sinks.layout(id, &g.node(id).shape);
        let targets = targets(g, groups, id, &own);
        let count = targets.len();
        let mut left = count;
        for (at, (piece, to)) in targets.into_iter().enumerate() {
            let base = laid.layouts[piece as usize].base;
            let alone = || readers[base as usize].iter().filter(|r| groups.of[r.0 as usize] != NONE).count() == 1;
            let seen = Seen { shape: &g.node(piece).shape, layout: &laid.layouts[piece as usize] };
            let free = !stay.contains(&base) && sinks.of(base).is_none() && g.node(base).dtype == g.node(id).dtype;
            if free
                && let Some(layout) = seen.back(&g.node(base).shape, &to)
                && (layout.is_block(&g.node(base).shape) || alone())
                && can_write(g, groups, base, &layout)
            {
                sinks.to.insert(base, layout);
                sinks.written.insert((id, at));
                left -= 1;
            }
        }
        if count > 0 && left == 0 {
            sinks.filled.insert(id);
        }
    }
    sinks
}

/// What node `id` copies, if it does nothing else, and where to.
fn targets(g: &Graph, groups: &Groups, id: u32, own: &Layout) -> Vec<(u32, Layout)> {
    let node = g.node(id);
    match &node.op {
        Op::Place(attrs) => {
            let pieces = pieces(node, attrs, own);
            let size: usize = pieces.iter().map(|(piece, _)| g.node(*piece).shape.size()).sum();
            if size == node.shape.size() { pieces } else { Vec::new() }
        }
        Op::Do(Instr::Copy, _) if groups.list[groups.of[id as usize] as usize].members == [id] => {
            node.args[0].node().map(|x| (x, own.clone())).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Whether the kernel of `id` can write its elements there: rows stay rows.
fn can_write(g: &Graph, groups: &Groups, id: u32, layout: &Layout) -> bool {
    let shape = &g.node(id).shape;
    let row = |axis: usize| shape[axis] >= SHORTEST && layout.strides[axis] == 1;
    match (&g.node(id).op, shape.rank()) {
        (Op::Contract, rank) => shape[rank - 2..].iter().all(|&d| d >= SHORTEST) && (row(rank - 1) || row(rank - 2)),
        (Op::Place(_), _) => !targets(g, groups, id, layout).is_empty(),
        (Op::Do(..), rank @ 1..) => groups.roles[id as usize] == Role::Each && row(rank - 1),
        _ => false,
    }
}

/// A value as a view shows it.
struct Seen<'a> {
    shape: &'a Shape,
    layout: &'a Layout,
}

impl Seen<'_> {
    /// The layout of the whole base, where its elements go to where the view's elements go by `to`.
    fn back(&self, base: &Shape, to: &Layout) -> Option<Layout> {
        let whole = self.shape.size() == base.size() && self.layout.offset == 0 && base.size() > 0;
        if !whole || (0..self.shape.rank()).any(|axis| self.shape[axis] > 1 && self.layout.strides[axis] <= 0) {
            return None;
        }
        let dense = base.strides();
        let stride = |axis: usize| {
            if base[axis] == 1 {
                return Some(0);
            }
            // The axis of the view that steps over this axis of the base, and how often.
            let over = |&j: &usize| {
                let (step, times) = (self.layout.strides[j], dense[axis] / self.layout.strides[j].max(1));
                self.shape[j] > 1 && dense[axis] % step == 0 && times as usize * base[axis] <= self.shape[j]
            };
            let j = (0..self.shape.rank()).find(over)?;
            Some(to.strides[j] * (dense[axis] / self.layout.strides[j]))
        };
        let strides = (0..base.rank()).map(stride).collect::<Option<SmallVec<[isize; 2]>>>()?;
        Some(Layout { base: to.base, offset: to.offset, strides })
    }
}
