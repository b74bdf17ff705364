//! Which instructions share a loop? Pointwise chains and the folds over them are grouped over one iteration space; what is computed from
//! a fold of each row and spread over the row again joins them in a later pass.
//!
//! Groups run in the order of their numbers. A node may join a group only if all that it reads is in that very group or in
//! memory written by an earlier one, so the order is right by construction.

use super::{
    graph::{Arg, AttrList, Graph, Layout, Node, Op},
    kernel::Reg,
    layout::Laid,
};
use crate::{DType, Index, Instr, Shape};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// Nodes that run as one kernel.
pub(crate) struct Group {
    /// In order of computation.
    pub members: Vec<u32>,
    /// A loop nest with registers, or one kernel of another class.
    pub kind: GroupKind,
}

/// What a group is.
pub(crate) enum GroupKind {
    /// A fused loop.
    Fused(Nest),
    /// One node of another class.
    Single,
}

/// The loops of a fused group.
#[derive(Clone)]
pub(crate) struct Nest {
    /// The iteration space.
    pub dims: Shape,
    /// The axes that its folds drop, if it has folds.
    pub folded: Option<AttrList>,
    /// Whether something is computed per row, or over columns besides rows.
    pub rows: bool,
}

/// What a node is to its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// In no fused loop.
    Outside,
    /// Computed at every place.
    Each,
    /// Folded over each row.
    Fold,
    /// Computed once per row.
    Row,
    /// Folded over all rows, for each place in the row.
    Column,
}

/// Which group each node is in.
pub(crate) struct Groups {
    pub list: Vec<Group>,
    /// By node; `NONE` for inputs and views.
    pub of: Vec<u32>,
    /// By node.
    pub roles: Vec<Role>,
    /// By node, in which pass over the row it is computed.
    pub passes: Vec<u32>,
}

/// The group of what is computed from scalars alone.
const PROLOGUE: u32 = 0;

/// In no group.
pub(crate) const NONE: u32 = u32::MAX;

/// A fused loop of arrays takes no more than so many instructions: its registers should stay in the first-level cache.
pub(super) const MOST_MEMBERS: usize = 128;
/// Straight code on single elements has registers of a few bytes; so many instructions can have no more registers than there are numbers.
const MOST_SCALAR_MEMBERS: usize = Reg::MAX as usize / 8;
/// Values that live from one pass over a row to the next should stay in the second-level cache; beyond the largest vocabularies they don't.
const LONGEST_ROW: usize = 1 << 18;
/// Columns beside rows have an accumulator for each place in the row.
const LONGEST_COLUMNS: usize = 1 << 12;
/// Rows of a loop in passes are what threads share; a space with fewer than [`FEW_ROWS`] should be so small that one thread will do.
const SMALL: usize = 1 << 14;
/// Rows that don't lie together are gathered element by element, which is worth a kernel less only for so many.
const TINY: usize = 1 << 7;
const FEW_ROWS: usize = 16;

/// Groups the nodes; with `fuse` off, each node is on its own.
pub(crate) fn fuse(laid: &Laid, fuse: bool) -> Groups {
    let g = &laid.graph;
    let n = g.nodes.len();
    let groups = Groups { list: Vec::new(), of: vec![NONE; n], roles: vec![Role::Outside; n], passes: vec![0; n] };
    let mut f =
        Fuse { g, layouts: &laid.layouts, fuse, groups, scalars: None, readers: FxHashMap::default(), latest: FxHashMap::default() };
    f.prologue();
    for id in (0..n as u32).filter(|&id| !matches!(g.node(id).op, Op::Input(_) | Op::View(..))) {
        f.node(id);
    }
    f.groups
}

/// The index and the value of a node that is zero but at one place of each row: `(axis, index, value)`.
pub(crate) fn spot(g: &Graph, node: &Node) -> Option<(usize, Arg, Arg)> {
    let Op::Index(Index::ScatterAdd, axis) = node.op else { return None };
    let filled = matches!(node.args[0], Arg::Node(n) if is_fill(g.node(n)));
    let once = node.args[1].node().is_some_and(|i| g.node(i).shape[axis] == 1);
    (filled && once && node.dtype != DType::Bool).then(|| (axis, node.args[1], node.args[2]))
}

/// Whether a node is the literal 0 everywhere.
fn is_fill(node: &Node) -> bool {
    let zero = |a: &Arg| matches!(*a, Arg::Scalar(super::graph::Literal::Bits(b), d) if b == d.bits(0.0));
    matches!(node.op, Op::Do(Instr::Copy, _)) && node.args.iter().all(zero)
}

/// A node's place in a group: its role and pass, and the nest that it makes of the group's.
struct Seat {
    role: Role,
    pass: u32,
    nest: Option<Nest>,
}

struct Fuse<'a> {
    g: &'a Graph,
    layouts: &'a [Layout],
    fuse: bool,
    groups: Groups,
    /// The last group over a single element: scalar code is kept together.
    scalars: Option<u32>,
    /// The last fused group that reads a value from memory.
    readers: FxHashMap<u32, u32>,
    /// The last fused group over each space.
    latest: FxHashMap<Shape, u32>,
}

impl Fuse<'_> {
    fn base(&self, a: u32) -> u32 {
        self.layouts[a as usize].base
    }

    /// The first group that may read an argument from memory.
    fn after(&self, a: u32) -> u32 {
        match self.groups.of[self.base(a) as usize] {
            NONE => 0,
            group => group + 1,
        }
    }

    /// The first group holds what is computed from scalars alone, since every other may want it.
    fn prologue(&mut self) {
        let dims = Shape::new(&[]).expect("no axes");
        let kind = GroupKind::Fused(Nest { dims, folded: None, rows: false });
        self.groups.list.push(Group { members: Vec::new(), kind });
        self.scalars = Some(PROLOGUE);
    }

    fn node(&mut self, id: u32) {
        let node = self.g.node(id);
        // A spot's fill is a constant, where it is fused.
        let read = &node.args[usize::from(spot(self.g, node).is_some())..];
        let args: SmallVec<[u32; 3]> = read.iter().filter_map(|a: &Arg| a.node()).collect();
        let found = if self.fuse { self.choose(id, &args) } else { None };
        let group = match found {
            Some((group, seat)) => {
                self.sit(id, group, seat);
                group
            }
            None => self.open(id),
        };
        if let GroupKind::Fused(nest) = &self.groups.list[group as usize].kind {
            if nest.dims.size() == 1 {
                self.scalars = Some(group);
            }
            if !is_fill(node) {
                self.latest.insert(nest.dims, group);
            }
            for a in args {
                self.readers.insert(self.base(a), group);
            }
        }
    }

    fn open(&mut self, id: u32) -> u32 {
        let node = self.g.node(id);
        let number = self.groups.list.len() as u32;
        let (kind, role) = match &node.op {
            Op::Do(..) => (GroupKind::Fused(Nest { dims: *node.shape, folded: None, rows: false }), Role::Each),
            Op::Reduce(_, axes) => {
                let dims = *self.g.node(node.args[0].node().expect("a fold has a tensor operand")).shape;
                (GroupKind::Fused(Nest { dims, folded: Some(axes.clone()), rows: false }), Role::Fold)
            }
            _ => match self.spot_seat(number, &Nest { dims: *node.shape, folded: None, rows: true }, node).filter(|_| self.fuse) {
                Some(Seat { role, nest: Some(nest), .. }) => (GroupKind::Fused(nest), role),
                _ => (GroupKind::Single, Role::Outside),
            },
        };
        self.groups.list.push(Group { members: vec![id], kind });
        self.groups.of[id as usize] = number;
        self.groups.roles[id as usize] = role;
        number
    }

    fn sit(&mut self, id: u32, group: u32, seat: Seat) {
        let g = &mut self.groups.list[group as usize];
        if let Some(nest) = seat.nest {
            let turned = matches!(&g.kind, GroupKind::Fused(old) if old.folded.is_some() && old.folded != nest.folded);
            if turned {
                for &m in &g.members {
                    let role = &mut self.groups.roles[m as usize];
                    *role = if *role == Role::Fold { Role::Column } else { *role };
                }
            }
            g.kind = GroupKind::Fused(nest);
        }
        g.members.push(id);
        self.groups.of[id as usize] = group;
        self.groups.roles[id as usize] = seat.role;
        self.groups.passes[id as usize] = seat.pass;
    }

    /// The latest group that has an argument or reads one too, and takes the node.
    fn choose(&self, id: u32, args: &[u32]) -> Option<(u32, Seat)> {
        let own = args.iter().map(|&a| self.groups.of[self.base(a) as usize]);
        let siblings = args.iter().filter_map(|&a| self.readers.get(&self.base(a)).copied());
        let shape = &*self.g.node(id).shape;
        let scalars = self.scalars.filter(|_| shape.size() == 1);
        // A spot need not share anything with the loop over its rows.
        let spot = self.latest.get(shape).copied().filter(|_| matches!(self.g.node(id).op, Op::Index(..)));
        let mut candidates: SmallVec<[u32; 8]> = own.chain(siblings).chain(scalars).chain(spot).filter(|&group| group != NONE).collect();
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        candidates.dedup();
        if shape.size() == 1 && args.iter().all(|&a| self.groups.of[self.base(a) as usize] == PROLOGUE) {
            candidates.insert(0, PROLOGUE);
        }
        candidates.into_iter().find_map(|group| Some((group, self.seat(group, id)?)))
    }

    /// What the node would be in a group; `None` where it can't be.
    fn seat(&self, group: u32, id: u32) -> Option<Seat> {
        let g = &self.groups.list[group as usize];
        let GroupKind::Fused(nest) = &g.kind else { return None };
        let most = if nest.dims.size() == 1 { MOST_SCALAR_MEMBERS } else { MOST_MEMBERS };
        if g.members.len() >= most {
            return None;
        }
        let node = self.g.node(id);
        match &node.op {
            Op::Do(..) if *node.shape == nest.dims => {
                let pass = self.latest(node, |a| self.pass_at_each(group, nest, a))?;
                self.in_rows(nest, Role::Each, pass, nest.folded.as_ref())
            }
            Op::Do(..) => self.row_seat(group, nest, node),
            Op::Reduce(_, axes) => {
                let x = node.args[0].node().expect("a fold has a tensor operand");
                if *self.g.node(x).shape != nest.dims {
                    return None;
                }
                self.fold_seat(nest, axes, self.pass_at_each(group, nest, x)?)
            }
            Op::Index(..) => self.spot_seat(group, nest, node),
            _ => None,
        }
    }

    /// The latest pass in which an argument is there, if all are.
    fn latest(&self, node: &Node, of: impl Fn(u32) -> Option<u32>) -> Option<u32> {
        node.args.iter().filter_map(|a| a.node()).try_fold(0, |latest, a| Some(latest.max(of(a)?)))
    }

    /// From which pass on a loop over the whole space may read an argument.
    fn pass_at_each(&self, group: u32, nest: &Nest, a: u32) -> Option<u32> {
        let base = self.base(a);
        if self.groups.of[base as usize] != group {
            return (self.after(a) <= group).then_some(0);
        }
        match self.groups.roles[base as usize] {
            Role::Each => (a == base).then(|| self.groups.passes[a as usize]),
            Role::Fold | Role::Row => self.is_spread(nest, a).then(|| self.groups.passes[base as usize] + 1),
            Role::Column | Role::Outside => None,
        }
    }

    /// At the end of which pass code that runs once per row may read an argument.
    fn pass_per_row(&self, group: u32, nest: &Nest, a: u32) -> Option<u32> {
        let base = self.base(a);
        let shape = &self.g.node(a).shape;
        if self.groups.of[base as usize] != group {
            return (self.after(a) <= group && self.row_layout(nest, a).is_some()).then_some(0);
        }
        let per_row = matches!(self.groups.roles[base as usize], Role::Fold | Role::Row);
        (per_row && self.layouts[a as usize].is_dense(shape)).then(|| self.groups.passes[base as usize])
    }

    /// An argument of code that runs once per row, over the axes that the folds keep.
    fn row_layout(&self, nest: &Nest, a: u32) -> Option<Layout> {
        row_layout(nest, &self.g.node(a).shape, &self.layouts[a as usize])
    }

    /// Whether an argument is one value per row, repeated along the row.
    fn is_spread(&self, nest: &Nest, a: u32) -> bool {
        let (layout, dims) = (&self.layouts[a as usize], &nest.dims);
        let Some(folded) = &nest.folded else { return false };
        let mut stride = 1;
        let fits = (0..dims.rank()).rev().all(|axis| {
            if folded.contains(&(axis as i64)) {
                return dims[axis] == 1 || layout.strides[axis] == 0;
            }
            let fits = dims[axis] == 1 || layout.strides[axis] == stride;
            stride *= dims[axis] as isize;
            fits
        });
        fits && layout.offset == 0 && *self.g.node(a).shape == *dims
    }

    /// A seat in a loop over `nest`, which then folds `folded`: refused where rows would be gone over again but should not be.
    fn in_rows(&self, nest: &Nest, role: Role, pass: u32, folded: Option<&AttrList>) -> Option<Seat> {
        let rows = nest.rows || pass > 0 || matches!(role, Role::Row | Role::Column);
        let changed = rows != nest.rows || folded != nest.folded.as_ref();
        if rows && changed && !may_pass_again(&nest.dims, folded?) {
            return None;
        }
        let nest = changed.then(|| Nest { dims: nest.dims, folded: folded.cloned(), rows });
        Some(Seat { role, pass, nest })
    }

    fn row_seat(&self, group: u32, nest: &Nest, node: &Node) -> Option<Seat> {
        let folded = nest.folded.as_ref()?;
        let rows = nest.dims.size() / row_length(&nest.dims, folded).max(1);
        let own = node.args.iter().filter_map(|a| a.node()).any(|a| self.groups.of[self.base(a) as usize] == group);
        if node.shape.size() != rows || !own {
            return None;
        }
        let pass = self.latest(node, |a| self.pass_per_row(group, nest, a))?;
        self.in_rows(nest, Role::Row, pass, Some(folded))
    }

    fn fold_seat(&self, nest: &Nest, axes: &AttrList, pass: u32) -> Option<Seat> {
        let complement = |of: &AttrList| -> AttrList { (0..nest.dims.rank() as i64).filter(|a| !of.contains(a)).collect() };
        match &nest.folded {
            None => self.in_rows(nest, Role::Fold, pass, Some(axes)),
            Some(folded) if folded == axes => self.in_rows(nest, Role::Fold, pass, Some(axes)),
            // The folds so far become those over columns, which nobody may read here.
            Some(folded) if pass == 0 && *axes == complement(folded) && !nest.rows && is_last(&nest.dims, axes) => {
                let turned = Nest { rows: true, folded: Some(axes.clone()), ..nest.clone() };
                let fits = may_pass_again(&nest.dims, axes) && row_length(&nest.dims, axes) <= LONGEST_COLUMNS;
                fits.then_some(Seat { role: Role::Fold, pass, nest: Some(turned) })
            }
            Some(folded) if *folded == complement(axes) && row_length(&nest.dims, folded) <= LONGEST_COLUMNS => {
                self.in_rows(nest, Role::Column, pass, Some(folded))
            }
            Some(_) => None,
        }
    }

    fn spot_seat(&self, group: u32, nest: &Nest, node: &Node) -> Option<Seat> {
        let (axis, index, value) = spot(self.g, node)?;
        let (axes, index) = (AttrList::from_slice(&[axis as i64]), index.node()?);
        let other = nest.folded.as_ref().is_some_and(|f| *f != axes);
        if *node.shape != nest.dims || other || !may_pass_again(&nest.dims, &axes) {
            return None;
        }
        let turned = Nest { rows: true, folded: Some(axes), ..nest.clone() };
        // Indices are read from memory, before anything is computed.
        self.pass_per_row(group, &turned, index).filter(|_| self.groups.of[self.base(index) as usize] != group)?;
        let pass = match value.node() {
            Some(v) if self.groups.of[self.base(v) as usize] == group => self.pass_per_row(group, &turned, v)? + 1,
            Some(v) => self.pass_per_row(group, &turned, v)?,
            None => 0,
        };
        Some(Seat { role: Role::Each, pass, nest: Some(turned) })
    }
}

/// A value with one element per row as an operand over the axes that the folds keep, which are the first of a loop over rows.
pub(crate) fn row_layout(nest: &Nest, shape: &Shape, layout: &Layout) -> Option<Layout> {
    let folded = nest.folded.as_ref()?;
    let kept: SmallVec<[usize; 8]> = (0..nest.dims.rank()).filter(|&a| !folded.contains(&(a as i64))).map(|a| nest.dims[a]).collect();
    let kept = Shape::new(&kept)?;
    (kept.size() == shape.size()).then(|| layout.through(crate::View::Reshape, &[], shape, &kept)).flatten()
}

fn row_length(dims: &Shape, folded: &[i64]) -> usize {
    folded.iter().map(|&a| dims[a as usize]).product()
}

/// Whether rows over these axes may be gone over several times: they lie together, fit a cache, and are enough for all threads.
fn may_pass_again(dims: &Shape, folded: &[i64]) -> bool {
    let length = row_length(dims, folded);
    if folded.is_empty() || dims.size() <= 1 {
        return false;
    }
    let enough = dims.size() <= SMALL || (length <= LONGEST_ROW && dims.size() / length >= FEW_ROWS);
    dims.size() <= TINY || (is_last(dims, folded) && enough)
}

/// Whether these are the last axes, those of length 1 aside.
fn is_last(dims: &Shape, axes: &[i64]) -> bool {
    (0..dims.rank()).filter(|&a| dims[a] != 1).map(|a| axes.contains(&(a as i64))).is_sorted()
}
