//! How does a recorded tape become a program that is kept? What it takes from outside is told apart, the rest is planned.

use super::program::{Core, From, Given, Input, Program};
use crate::{
    Array, DType, Tape, Tensor, Tree,
    execute::run::Loaded,
    memory::Buffer,
    plan::{self, Options, chains::Wanted, live},
    record::{Record, Value, node::Operand},
};
use rustc_hash::FxHashSet;
use std::{marker::PhantomData, mem, sync::OnceLock};

impl Tape {
    /// Compiles what leads from `inputs` to `outputs`, trees of tensors of this tape, into a [`Program`].
    ///
    /// Inputs are leaves, scalar operands ([`Tape::scalar`], [`Tape::key`]) or intermediate results, which are then not computed.
    /// Leaves that are not among them are captured with the values they have now, and so are scalars. The number of a scalar that
    /// decided what was recorded (the exponent of a `pow` that is differentiated) stays what it was.
    ///
    /// # Panics
    /// At the caller: when a tensor is on another tape, an input is named twice, or a leaf that is to be captured has been overwritten
    /// by an [`update`](Tape::update).
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let (x, rate, w) = (tape.leaf(&Array::from([1.0, 2.0])), tape.scalar(wengert::DType::F64, 0.1), tape.leaf(&Array::from([3.0, 4.0])));
    /// let program = tape.compile(&(x, rate), &(x * w * rate));
    /// assert_eq!(program.run(&(Array::from([1.0, 1.0]), Array::from(2.0))), Array::from([6.0, 8.0]));
    /// ```
    #[track_caller]
    pub fn compile<'t, I, O>(&'t self, inputs: &I, outputs: &O) -> Program<I::With<Array>, O::With<Array>>
    where
        I: Tree<Tensor<'t>>,
        O: Tree<Tensor<'t>>,
    {
        let mut given: Vec<Input> = Vec::new();
        let mut wanted: Vec<Operand> = Vec::new();
        let mut foreign = None;
        let mut own = |x: &Tensor<'t>| {
            if !std::ptr::eq(x.tape, self) {
                foreign = Some(*x);
            }
        };
        inputs.visit(|path, _, x: &Tensor<'t>| {
            own(x);
            given.push(Input { path: path.to_string(), dtype: x.dtype(), shape: x.shape(), id: x.id });
        });
        outputs.visit(|_, _, x: &Tensor<'t>| {
            own(x);
            wanted.push(x.id);
        });
        if let Some(x) = foreign {
            panic!("compile: expected tensors of this tape, got {x:?} of another");
        }
        if let Some((i, x)) = given.iter().enumerate().find(|(i, x)| given[..*i].iter().any(|y| y.id == x.id)) {
            panic!("compile: expected each input once, got `{}` again as number {i}", x.path);
        }
        let chains = self.reader.borrow().options.chains;
        let core = match Core::new(&mut self.record.borrow_mut(), given, &wanted, chains) {
            Ok(core) => core,
            Err(why) => panic!("{why}"),
        };
        let none = Array::zeros(DType::Bool, 0);
        Program { core, outputs: outputs.map(|_| none.clone()), inputs: PhantomData }
    }
}

impl Core {
    fn new(r: &mut Record, inputs: Vec<Input>, wanted: &[Operand], chains: Wanted) -> Result<Core, String> {
        // What reads have computed so far is no input of the program; its own inputs are.
        let values = mem::take(&mut r.values);
        let nothing = Buffer::new(0);
        for id in inputs.iter().filter_map(|x| x.id.as_node()) {
            r.values.set(id, Value { buffer: nothing.clone(), offset: 0, whole: true });
        }
        let core = Core::of_inputs(r, inputs, wanted, chains);
        r.values = values;
        core
    }

    fn of_inputs(r: &Record, inputs: Vec<Input>, wanted: &[Operand], chains: Wanted) -> Result<Core, String> {
        let computed = |id: &usize| !live::is_input(r, *id);
        let mut results: Vec<u32> = wanted.iter().filter_map(|x| x.as_node()).filter(computed).map(|id| id as u32).collect();
        results.sort_unstable();
        results.dedup();
        let mut order = Vec::new();
        live::live(r, &results, &mut live::Marks::default(), &mut order);
        let number = |id: Operand| inputs.iter().position(|x| x.id == id);
        let captured = |id: usize| {
            let leaf = &r.leaves[r.nodes[id].attrs as usize];
            match leaf.donated {
                Some(at) => Err(format!(
                    "compile: expected to capture the leaf bound at {}, which an update at {at} has overwritten",
                    r.locations[id]
                )),
                None => Ok(leaf.array.clone()),
            }
        };
        let mut given = Vec::new();
        let (mut slots, mut known): (Vec<usize>, FxHashSet<usize>) = Default::default();
        for &id in &order {
            let id = id as usize;
            if live::is_input(r, id) {
                given.push(match number(Operand::node(id)) {
                    Some(i) => Given::Tree(i),
                    None => Given::Captured(captured(id)?),
                });
                continue;
            }
            for slot in r.inputs(id).iter().filter_map(|x| x.as_slot()) {
                if known.insert(slot) {
                    slots.push(slot);
                }
            }
        }
        let mut outputs = Vec::new();
        for &x in wanted {
            outputs.push(match (number(x), x.as_node()) {
                (Some(i), _) => From::Input(i),
                (None, Some(id)) if computed(&id) => From::Result(results.binary_search(&(id as u32)).expect("it is among the results")),
                (None, Some(id)) => From::Captured(captured(id)?),
                (None, None) => {
                    let slot = r.slots[x.as_slot().expect("an operand is a node or a slot")];
                    From::Captured(Array::of_bits(slot.dtype, slot.bits))
                }
            });
        }
        let open = inputs.iter().filter_map(|x| x.id.as_slot()).map(|slot| slot as u32).collect();
        let options = Options { fuse: true, open, chains, ..Options::default() };
        let graph = plan::graph(r, &order, &results, &options);
        let in_tree = |slot: usize| inputs.iter().position(|x| x.id.as_slot() == Some(slot));
        Ok(Core {
            loaded: Loaded::new(plan::plan_graph(graph.clone(), &order, &options, &[]), false),
            looped: OnceLock::new(),
            chains,
            graph,
            names: order.iter().map(|&id| (r.nodes[id as usize].op.0.name, r.locations[id as usize])).collect(),
            order,
            open: slots.iter().enumerate().filter_map(|(i, &slot)| Some((i, in_tree(slot)?))).collect(),
            slots: slots.iter().map(|&slot| r.slots[slot].bits).collect(),
            inputs,
            outputs,
            given,
        })
    }
}
