//! Which values does a later loop compute again instead of reading them from memory? Those whose arithmetic costs less than the traffic.
//!
//! What the backward wants of an activation is mostly a few instructions away from what is in memory anyway. A value that only loops over
//! the same space read is cloned into each of them, with the instructions between it and memory; the bits are the same, since the
//! instructions are. Instructions that nobody reads any more go.

use super::{
    cost::operations,
    emit::read,
    fuse::{GroupKind, Groups, MOST_MEMBERS, NONE, Role},
    graph::{Arg, DROPPED, Layout, Node, Op},
    layout::Laid,
};
use rustc_hash::{FxHashMap, FxHashSet};

/// Values of fewer bytes stay in a cache until they are read again.
const LARGE: usize = 1 << 18;
/// Operations that may be done again for four bytes that are neither written nor read, where values stay in a cache and where they don't.
const RATES: [u64; 2] = [1, 16];

/// Moves arithmetic to where it is read, where that pays. The values of `kept` nodes stay in memory.
pub(crate) fn recompute(laid: &mut Laid, groups: &mut Groups, kept: &[u32]) {
    let (readers, stay) = (readers(laid, groups), stay(laid, kept));
    let reading = |(base, list): (u32, &Vec<(u32, u32)>)| list.iter().map(|r| (base, groups.of[r.0 as usize])).collect::<Vec<_>>();
    let read = (0..).zip(&readers).flat_map(reading).collect();
    let mut r = Recompute { readers, read, stay, laid, groups, clones: FxHashMap::default() };
    let mut changed = false;
    for id in 0..r.readers.len() as u32 {
        changed |= r.value(id);
    }
    if changed {
        r.drop_unread();
    }
}

/// By base, the nodes of other groups that read it, and through which node.
pub(super) fn readers(laid: &Laid, groups: &Groups) -> Vec<Vec<(u32, u32)>> {
    let mut readers = vec![Vec::new(); laid.graph.nodes.len()];
    for (id, node) in laid.graph.nodes.iter().enumerate().filter(|(_, n)| !matches!(n.op, Op::View(..))) {
        for a in read(groups, id, node).iter().filter_map(|a| a.node()) {
            let base = laid.layouts[a as usize].base;
            if groups.of[base as usize] != groups.of[id] {
                readers[base as usize].push((id as u32, a));
            }
        }
    }
    readers
}

/// Bases that stay in memory since they are wanted.
pub(super) fn stay(laid: &Laid, kept: &[u32]) -> FxHashSet<u32> {
    let kept = kept.iter().map(|&k| laid.graph.values[k as usize]).filter(|&n| n != DROPPED);
    laid.graph.outputs.iter().copied().chain(kept).map(|n| laid.layouts[n as usize].base).collect()
}

struct Recompute<'a> {
    laid: &'a mut Laid,
    groups: &'a mut Groups,
    /// See [`readers`]; of the nodes that fusion saw.
    readers: Vec<Vec<(u32, u32)>>,
    /// Bases, and other groups that read them.
    read: FxHashSet<(u32, u32)>,
    stay: FxHashSet<u32>,
    /// By node and group, its clone there.
    clones: FxHashMap<(u32, u32), u32>,
}

/// What it takes to compute a value in another group.
#[derive(Default)]
struct Cone {
    /// Instructions to clone, in order.
    instructions: Vec<u32>,
    /// Their operations for each element.
    operations: u64,
    /// Bytes for each element that the group did not read before.
    bytes: usize,
    /// Bases in memory that it starts from.
    loads: FxHashSet<u32>,
}

impl Recompute<'_> {
    fn node(&self, id: u32) -> &Node {
        self.laid.graph.node(id)
    }

    /// Whether a node is an instruction at every place of a fused loop.
    fn is_each(&self, id: u32) -> bool {
        matches!(self.node(id).op, Op::Do(..)) && self.groups.roles[id as usize] == Role::Each
    }

    /// Clones a value into all groups that read it, if that pays. Whether it did.
    fn value(&mut self, id: u32) -> bool {
        let (node, readers) = (self.node(id), &self.readers[id as usize]);
        if !self.is_each(id) || readers.is_empty() || self.stay.contains(&id) || node.shape.size() <= 1 {
            return false;
        }
        let size = node.dtype.size();
        let rate = RATES[usize::from(node.shape.size() * size >= LARGE)];
        let mut wanting: Vec<(u32, u32)> = readers.iter().map(|&(reader, _)| (self.groups.of[reader as usize], reader)).collect();
        wanting.sort_unstable();
        wanting.dedup();
        let groups = || wanting.chunk_by(|a, b| a.0 == b.0);
        let over_the_same = |&(reader, through): &(u32, u32)| {
            let own = &self.groups.list[self.groups.of[reader as usize] as usize].kind;
            through == id
                && matches!(own, GroupKind::Fused(nest) if nest.dims == *node.shape)
                && !matches!(self.node(reader).op, Op::Index(..))
        };
        let cones: Option<Vec<Cone>> =
            if readers.iter().all(over_the_same) { groups().map(|readers| self.cone(id, readers[0].0)).collect() } else { None };
        let pays = |cones: &Vec<Cone>| {
            let saved = size * (1 + cones.len());
            let (bytes, operations) = cones.iter().fold((0, 0), |sum, c| (sum.0 + c.bytes, sum.1 + c.operations));
            saved > bytes && 4 * operations <= rate * (saved - bytes) as u64
        };
        match cones.filter(pays) {
            Some(cones) => {
                for (cone, readers) in cones.iter().zip(groups()) {
                    self.clone_into(id, readers, cone);
                }
                true
            }
            None => {
                self.stay.insert(id);
                false
            }
        }
    }

    /// What computing a value in `group` takes; `None` if it starts from what cannot be read there.
    fn cone(&self, id: u32, group: u32) -> Option<Cone> {
        let mut cone = Cone::default();
        self.collect(id, group, &mut cone)?;
        let members = self.groups.list[group as usize].members.len() + cone.instructions.len();
        (members <= MOST_MEMBERS).then_some(cone)
    }

    fn collect(&self, id: u32, group: u32, cone: &mut Cone) -> Option<()> {
        if cone.instructions.contains(&id) || self.clones.contains_key(&(id, group)) {
            return Some(());
        }
        if cone.instructions.len() > MOST_MEMBERS {
            return None;
        }
        let node = self.node(id);
        for a in node.args.iter().filter_map(|a| a.node()) {
            let base = self.laid.layouts[a as usize].base;
            let own = self.groups.of[base as usize];
            let in_memory = own == NONE || own != self.groups.of[id as usize] || self.stay.contains(&base);
            let role = self.groups.roles[base as usize];
            // A fold or a row's value can be put in memory at no extra work.
            if in_memory || matches!(role, Role::Fold | Role::Row) {
                self.load(a, base, group, cone);
            } else if self.is_each(base) && a == base {
                self.collect(base, group, cone)?;
            } else {
                return None;
            }
        }
        if let Op::Do(instr, _) = node.op {
            cone.operations += 1 + operations(instr);
        }
        cone.instructions.push(id);
        Some(())
    }

    /// Counts what the group reads more.
    fn load(&self, a: u32, base: u32, group: u32, cone: &mut Cone) {
        if cone.loads.insert(base) && !self.read.contains(&(base, group)) {
            let (whole, of) = (self.node(a).shape.size(), self.node(base).shape.size());
            cone.bytes += if of < whole { 0 } else { self.node(base).dtype.size() };
        }
    }

    /// Clones a value for readers in one group, given with it.
    fn clone_into(&mut self, id: u32, readers: &[(u32, u32)], cone: &Cone) {
        let group = readers[0].0;
        let pass = readers.iter().map(|r| self.groups.passes[r.1 as usize]).min().expect("the group reads the value");
        let mut added = Vec::new();
        for &from in &cone.instructions {
            let mut node = self.node(from).clone();
            for a in &mut node.args {
                if let Arg::Node(n) = a {
                    match self.clones.get(&(*n, group)) {
                        Some(&clone) => *n = clone,
                        None => {
                            let base = self.laid.layouts[*n as usize].base;
                            self.read.insert((base, group));
                            self.readers[base as usize].push((self.laid.graph.nodes.len() as u32, *n));
                        }
                    }
                }
            }
            let clone = self.laid.graph.nodes.len() as u32;
            self.laid.layouts.push(Layout::dense(clone, &node.shape));
            self.laid.graph.nodes.push(node);
            self.groups.of.push(group);
            self.groups.roles.push(Role::Each);
            self.groups.passes.push(pass);
            self.clones.insert((from, group), clone);
            added.push(clone);
        }
        let clone = self.clones[&(id, group)];
        added.iter().chain([&clone]).for_each(|&c| self.hurry(c, pass));
        for &(_, reader) in readers {
            for a in self.laid.graph.nodes[reader as usize].args.iter_mut().filter(|a| **a == Arg::Node(id)) {
                *a = Arg::Node(clone);
            }
        }
        let members = &mut self.groups.list[group as usize].members;
        let clones = members.iter().take_while(|m| **m as usize >= self.readers.len()).count();
        members.splice(clones..clones, added);
    }

    /// Has a clone computed in this pass at the latest, and so those that it reads, which may have been made for later ones.
    fn hurry(&mut self, clone: u32, pass: u32) {
        self.groups.passes[clone as usize] = self.groups.passes[clone as usize].min(pass);
        let late = |a: &u32| *a as usize >= self.readers.len() && self.groups.passes[*a as usize] > pass;
        let args: Vec<u32> = self.node(clone).args.iter().filter_map(|a| a.node()).filter(late).collect();
        args.into_iter().for_each(|a| self.hurry(a, pass));
    }

    /// Removes instructions whose values nobody reads, and what only they read.
    fn drop_unread(&mut self) {
        let nodes = &mut self.laid.graph.nodes;
        let mut read = vec![0u32; nodes.len()];
        nodes.iter().flat_map(|n| &n.args).filter_map(|a| a.node()).for_each(|a| read[a as usize] += 1);
        let wanted = self.laid.graph.outputs.iter().copied().chain(self.stay.iter().copied());
        wanted.for_each(|id| read[id as usize] += 1);
        let mut unread: Vec<usize> = (0..nodes.len()).filter(|&id| read[id] == 0).collect();
        while let Some(id) = unread.pop() {
            let is_each = matches!(nodes[id].op, Op::Do(..)) && self.groups.roles[id] == Role::Each;
            if !is_each && !matches!(nodes[id].op, Op::View(..)) {
                continue;
            }
            for a in std::mem::take(&mut nodes[id].args).iter().filter_map(|a| a.node()) {
                read[a as usize] -= 1;
                unread.extend((read[a as usize] == 0).then_some(a as usize));
            }
            if let Some(group) = self.groups.list.get_mut(self.groups.of[id] as usize) {
                group.members.retain(|&m| m as usize != id);
            }
        }
    }
}
