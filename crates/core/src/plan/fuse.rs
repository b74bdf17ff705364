//! Which instructions share a loop? Pointwise chains, and the folds that end them, are grouped over one iteration space.
//!
//! Groups run in the order of their numbers. A node may join a group only if all that it reads lies in registers of that very group or in
//! memory written by an earlier one, so the order is right by construction.

use super::{
    graph::{Arg, AttrList, Graph, Layout, Op},
    kernel::Reg,
    layout::Laid,
};
use crate::Shape;
use rustc_hash::FxHashMap;

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
    Fused {
        /// The iteration space.
        dims: Shape,
        /// The axes that its folds drop, if it has folds.
        folded: Option<AttrList>,
    },
    /// One node of another class.
    Single,
}

/// Which group each node is in.
pub(crate) struct Groups {
    pub list: Vec<Group>,
    /// By node; `NONE` for inputs and views.
    pub of: Vec<u32>,
}

/// In no group.
pub(crate) const NONE: u32 = u32::MAX;

/// A fused loop of arrays takes no more than so many instructions: its registers should stay in the first-level cache.
const MOST_MEMBERS: usize = 128;
/// Straight code on single elements has registers of a few bytes; so many instructions can have no more registers than there are numbers.
const MOST_SCALAR_MEMBERS: usize = Reg::MAX as usize / 8;

/// Groups the nodes; with `fuse` off, each node is on its own.
pub(crate) fn fuse(laid: &Laid, fuse: bool) -> Groups {
    let g = &laid.graph;
    let mut f = Fuse {
        g,
        layouts: &laid.layouts,
        fuse,
        groups: Groups { list: Vec::new(), of: vec![NONE; g.nodes.len()] },
        scalars: None,
        readers: FxHashMap::default(),
    };
    for id in 0..g.nodes.len() as u32 {
        match &g.node(id).op {
            Op::Input(_) | Op::View(..) => {}
            Op::Do(..) => f.instruction(id),
            Op::Reduce(_, axes) => f.fold(id, axes),
            _ => {
                f.open(id, GroupKind::Single);
            }
        }
    }
    f.groups
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
}

impl Fuse<'_> {
    fn base(&self, a: u32) -> u32 {
        self.layouts[a as usize].base
    }

    /// The group that an argument is a register of, when a loop over `dims` may use it there.
    fn register(&self, a: u32, dims: &Shape) -> Option<u32> {
        let node = self.g.node(a);
        (matches!(node.op, Op::Do(..)) && node.shape == *dims).then(|| self.groups.of[a as usize])
    }

    /// The first group that may read an argument from memory.
    fn after(&self, a: u32) -> u32 {
        match self.groups.of[self.base(a) as usize] {
            NONE => 0,
            group => group + 1,
        }
    }

    fn open(&mut self, id: u32, kind: GroupKind) -> u32 {
        let number = self.groups.list.len() as u32;
        self.groups.list.push(Group { members: vec![id], kind });
        self.groups.of[id as usize] = number;
        number
    }

    /// Whether a loop over `dims` may be added to a group.
    fn accepts(&self, group: u32, dims: &Shape) -> bool {
        let g = &self.groups.list[group as usize];
        let most = if dims.size() == 1 { MOST_SCALAR_MEMBERS } else { MOST_MEMBERS };
        self.fuse && g.members.len() < most && matches!(&g.kind, GroupKind::Fused { dims: d, .. } if d == dims)
    }

    fn instruction(&mut self, id: u32) {
        let node = self.g.node(id);
        let dims = node.shape;
        let args: Vec<u32> = node.args.iter().filter_map(|a: &Arg| a.node()).collect();
        let group = self.choose(&args, &dims);
        let group = match group {
            Some(group) => {
                self.groups.list[group as usize].members.push(id);
                self.groups.of[id as usize] = group;
                group
            }
            None => self.open(id, GroupKind::Fused { dims, folded: None }),
        };
        if dims.size() == 1 {
            self.scalars = Some(group);
        }
        for a in args {
            self.readers.insert(self.base(a), group);
        }
    }

    /// The group of an argument, or one that reads an argument too, if all arguments are there by then.
    fn choose(&self, args: &[u32], dims: &Shape) -> Option<u32> {
        let registers = args.iter().filter_map(|&a| self.register(a, dims));
        let siblings = args.iter().filter_map(|&a| self.readers.get(&self.base(a)).copied());
        let scalars = self.scalars.filter(|_| dims.size() == 1);
        let fits = |&group: &u32| {
            let ready = |&a: &u32| self.register(a, dims) == Some(group) || self.after(a) <= group;
            self.accepts(group, dims) && args.iter().all(ready)
        };
        registers.chain(siblings).chain(scalars).filter(fits).max()
    }

    fn fold(&mut self, id: u32, axes: &AttrList) {
        let x = self.g.node(id).args[0].node().expect("a fold has a tensor operand");
        let dims = self.g.node(x).shape;
        let joins = |group: &u32| match &self.groups.list[*group as usize].kind {
            GroupKind::Fused { folded, .. } => folded.is_none() || folded.as_ref() == Some(axes),
            GroupKind::Single => false,
        };
        let sibling = self.readers.get(&self.base(x)).copied().filter(|&s| self.after(x) <= s);
        let target = self.register(x, &dims).into_iter().chain(sibling).filter(|g| self.accepts(*g, &dims)).find(joins);
        match target {
            Some(group) => {
                let g = &mut self.groups.list[group as usize];
                g.members.push(id);
                g.kind = GroupKind::Fused { dims, folded: Some(axes.clone()) };
                self.groups.of[id as usize] = group;
            }
            None => {
                let group = self.open(id, GroupKind::Fused { dims, folded: Some(axes.clone()) });
                self.readers.insert(self.base(x), group);
            }
        }
    }
}
