//! How do the live nodes of a tape become the planner's graph?

use super::{
    graph::{Arg, Args, AttrList, DROPPED, Graph, Literal, Op},
    live::is_input,
    simplify::Builder,
};
use crate::{
    DType, KernelClass, Pointwise, Shape, Step,
    record::{
        Record,
        node::{Node, Operand},
    },
};
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

/// The graph of the live nodes `order`; inputs and slots are numbered in the order in which they appear. The slots `open` are no
/// literals, whatever they hold.
pub(crate) fn build(r: &Record, order: &[u32], outputs: &[u32], open: &[u32]) -> Graph {
    let number = vec![DROPPED; order.last().map_or(0, |&last| last as usize + 1)];
    let mut b = Build { r, open, builder: Builder::with_capacity(order.len()), number, slots: 0, slot_of: FxHashMap::default() };
    for (origin, &id) in order.iter().enumerate() {
        b.number[id as usize] = b.node(id as usize, origin as u32);
    }
    let outputs = outputs.iter().map(|&o| b.number[o as usize]).collect();
    let values = order.iter().map(|&id| b.number[id as usize]).collect();
    b.builder.finish(outputs, values)
}

/// The tape's nodes and slots that the inputs and slots of the graph stand for, by number.
pub(crate) fn bindings(r: &Record, order: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let (inputs, computed): (Vec<u32>, Vec<u32>) = order.iter().partition(|&&id| is_input(r, id as usize));
    let mut slots = Vec::new();
    let mut seen = rustc_hash::FxHashSet::default();
    for slot in computed.iter().flat_map(|&id| r.inputs(id as usize)).filter_map(|x| x.as_slot()) {
        if seen.insert(slot) {
            slots.push(slot as u32);
        }
    }
    (inputs, slots)
}

struct Build<'a> {
    r: &'a Record,
    open: &'a [u32],
    builder: Builder,
    /// By node of the tape, the graph's.
    number: Vec<u32>,
    slots: u32,
    slot_of: FxHashMap<usize, u32>,
}

impl Build<'_> {
    fn node(&mut self, id: usize, origin: u32) -> u32 {
        let n = &self.r.nodes[id];
        let shape = self.r.tables.shapes.get(n.shape);
        if is_input(self.r, id) {
            let number = self.builder.graph.inputs as u32;
            self.builder.graph.inputs += 1;
            return self.builder.push(Op::Input(number), smallvec![], shape, n.dtype, origin);
        }
        let args: Args = self.r.inputs(id).iter().map(|&x| self.arg(x)).collect();
        if let KernelClass::Pointwise(write) = n.op.0.kernel {
            return self.pointwise(n, write, &args, shape, origin);
        }
        let attrs = AttrList::from_slice(self.r.attrs(id));
        let op = match n.op.0.kernel {
            KernelClass::Reduce(fold) => Op::Reduce(fold, attrs),
            KernelClass::View(view) => Op::View(view, attrs),
            KernelClass::Contract => Op::Contract,
            KernelClass::Convolve(kind) => Op::Convolve(kind, attrs),
            KernelClass::Pool(kind) => Op::Pool(kind, attrs),
            KernelClass::Index(kind) => Op::Index(kind, attrs[0] as usize),
            KernelClass::Scan(kind) => Op::Scan(kind, attrs[0] as usize, attrs[1] != 0),
            KernelClass::Place => Op::Place(attrs),
            KernelClass::Generate(kind) => Op::Generate(kind, attrs[0] as usize),
            KernelClass::Opaque(f) => {
                self.builder.graph.functions.push(f);
                Op::Opaque(self.builder.graph.functions.len() as u32 - 1, attrs)
            }
            KernelClass::Leaf | KernelClass::Pointwise(_) => unreachable!("handled above"),
        };
        let mut args = args;
        if op == Op::Contract {
            args.push(Arg::Scalar(Literal::Bits(n.dtype.bits(1.0)), n.dtype));
        }
        self.builder.push(op, args, shape, n.dtype, origin)
    }

    fn arg(&mut self, x: Operand) -> Arg {
        match x.as_node() {
            Some(id) => Arg::Node(self.number[id]),
            None => {
                let slot = x.as_slot().expect("an operand is a node or a slot");
                let dtype = x.slot_dtype();
                // Every slot takes a number, also where its literal is used, so that keys number them alike.
                let next = self.slots;
                let number = *self.slot_of.entry(slot).or_insert(next);
                self.slots += u32::from(number == next);
                match x.tag().literal().filter(|_| !self.open.contains(&(slot as u32))) {
                    Some(v) => Arg::Scalar(Literal::Bits(dtype.bits(v)), dtype),
                    None => Arg::Scalar(Literal::Slot(number), dtype),
                }
            }
        }
    }

    /// One node per step of the op's program.
    fn pointwise(&mut self, n: &Node, write: WriteProgram, args: &[Arg], shape: &Shape, origin: u32) -> u32 {
        let dtypes: SmallVec<[DType; 4]> = n.inputs(&self.r.spill).iter().map(|&x| self.r.meta(x).0).collect();
        let (steps, result) = Pointwise::record(&dtypes, n.dtype, write);
        let mut done: SmallVec<[Arg; 8]> = SmallVec::new();
        for step in &steps {
            done.push(match *step {
                Step::Input(i) => args[usize::from(i)],
                Step::Constant(bits, dtype) => Arg::Scalar(Literal::Bits(bits), dtype),
                Step::Do { instr, of, args } => {
                    let args = args[..instr.arity()].iter().map(|&a| done[usize::from(a)]).collect();
                    Arg::Node(self.builder.push(Op::Do(instr, of), args, shape, instr.result(of), origin))
                }
            });
        }
        match done[usize::from(result)] {
            Arg::Node(id) => id,
            scalar => self.builder.push(Op::Do(crate::Instr::Copy, n.dtype), smallvec![scalar], shape, n.dtype, origin),
        }
    }
}

type WriteProgram = for<'p> fn(&'p Pointwise) -> crate::Expr<'p>;
