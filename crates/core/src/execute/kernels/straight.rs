//! How does a loop over a single element run? As straight code: one call for each instruction, on words, without blocks or tasks.

use super::{
    isa::{Isa, Step},
    prepare::{InstLoops, joined, outlives_next},
    scratch,
};
use crate::{
    DType,
    execute::frame::{Frame, RawBuffer},
    plan::kernel::{BufferId, Fused, Place, ScalarSource},
};

/// Straight code made ready to run: each register of the loop is a slot.
pub struct Prepared {
    slots: usize,
    loads: Vec<Move>,
    scalars: Vec<(ScalarSource, u32)>,
    code: Vec<Step>,
    stores: Vec<Move>,
}

/// An element of memory and the slot that it is read into or written from.
struct Move {
    buffer: BufferId,
    offset: usize,
    dtype: DType,
    slot: u32,
}

/// Whether a fused loop is over a single element and folds nothing.
pub fn fits(kernel: &Fused) -> bool {
    kernel.dims.iter().all(|&d| d == 1) && kernel.folds.is_empty() && kernel.rows.is_none()
}

/// Makes a fused loop over a single element ready for this machine.
///
/// # Panics
/// When an instruction does not exist for its dtype.
pub fn prepare(kernel: &Fused) -> Prepared {
    prepare_for(kernel, Isa::current())
}

pub(super) fn prepare_for(kernel: &Fused, isa: Isa) -> Prepared {
    assert!(fits(kernel), "straight code is for a single element, got {:?}", kernel.dims);
    let outlives = outlives_next(kernel);
    let mut code = Vec::with_capacity(kernel.code.len());
    let mut at = 0;
    while at < kernel.code.len() {
        let joined = if outlives[at] { None } else { joined(kernel, at, isa) };
        at += usize::from(joined.is_some());
        let inst = &kernel.code[at];
        let loops = InstLoops::of(inst, joined, isa);
        code.push(Step { run: loops.forms.step, args: loops.args.map(u32::from), out: u32::from(inst.out) });
        at += 1;
    }
    let element = |place: &Place, slot| Move {
        buffer: place.buffer,
        offset: usize::try_from(place.offset).expect("an element lies within its buffer") * place.dtype.size(),
        dtype: place.dtype,
        slot: u32::from(slot),
    };
    let slots = usize::from(kernel.registers);
    assert!(code.iter().flat_map(|s| s.args.iter().chain([&s.out])).all(|&slot| (slot as usize) < slots), "a register that is not there");
    Prepared {
        slots,
        loads: kernel.loads.iter().map(|l| element(&l.from, l.reg)).collect(),
        scalars: kernel.scalars.iter().map(|s| (s.from, u32::from(s.reg))).collect(),
        stores: kernel.stores.iter().map(|s| element(&s.to, s.reg)).collect(),
        code,
    }
}

/// Runs straight code. Every place must lie in its buffer.
pub fn run(kernel: &Prepared, frame: &Frame) {
    scratch::with_registers(kernel.slots * size_of::<u64>(), |memory| {
        let slots = memory.cast::<u64>();
        let slot = |number: u32| slots.wrapping_add(number as usize);
        for load in &kernel.loads {
            // SAFETY: the element lies in its buffer, the slot is one of those that the memory has room for.
            unsafe { slot(load.slot).write(read(load.memory(frame), load.dtype)) };
        }
        for &(from, number) in &kernel.scalars {
            // SAFETY: as above.
            unsafe { slot(number).write(frame.scalar(from)) };
        }
        for step in &kernel.code {
            // SAFETY: all slots exist (asserted when prepared), and the planner's registers are written before they are read.
            unsafe { (step.run)(slots, step) };
        }
        for store in &kernel.stores {
            // SAFETY: as for the loads. All that is read from memory has been read.
            unsafe { write(store.memory(frame), store.dtype, slot(store.slot).read()) };
        }
    });
}

impl Move {
    fn memory(&self, frame: &Frame) -> *mut u8 {
        let RawBuffer { ptr, bytes } = frame.buffer(self.buffer);
        debug_assert!(self.offset + self.dtype.size() <= bytes, "an element at {} of a buffer of {bytes} bytes", self.offset);
        ptr.wrapping_add(self.offset)
    }
}

/// # Safety
/// There must be an element of this dtype, aligned.
unsafe fn read(from: *const u8, dtype: DType) -> u64 {
    // SAFETY: as the caller promises.
    unsafe {
        match dtype.size() {
            1 => u64::from(*from),
            4 => u64::from(*from.cast::<u32>()),
            _ => *from.cast::<u64>(),
        }
    }
}

/// # Safety
/// There must be room for an element of this dtype, aligned.
unsafe fn write(to: *mut u8, dtype: DType, bits: u64) {
    // SAFETY: as the caller promises.
    unsafe {
        match dtype.size() {
            1 => *to = bits as u8,
            4 => *to.cast::<u32>() = bits as u32,
            _ => *to.cast::<u64>() = bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            fused, prepare,
            tests::{ALL, combinations, instructions, single},
        },
        *,
    };
    use crate::{
        Instr,
        plan::kernel::{Dims, Inst, Load, Reg, ScalarLoad, Store, Strides},
    };
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    /// Words in memory, one buffer each.
    fn frame_of(words: &mut [u64]) -> Vec<RawBuffer> {
        words.iter_mut().map(|w| RawBuffer { ptr: std::ptr::from_mut(w).cast(), bytes: 8 }).collect()
    }

    /// What both ways of running a loop over one element leave in memory.
    fn both(kernel: &Fused, isa: Isa, words: &[u64], slots: &[u64]) -> [Vec<u64>; 2] {
        let (mut straight, mut blocks) = (words.to_vec(), words.to_vec());
        run(&prepare_for(kernel, isa), &Frame { buffers: &frame_of(&mut straight), slots });
        fused::run(&prepare::prepare_for(kernel, isa), &Frame { buffers: &frame_of(&mut blocks), slots }).expect("no index is read");
        [straight, blocks]
    }

    #[test]
    fn every_instruction_gives_the_bits_of_its_loop() {
        for isa in Isa::available() {
            for of in ALL {
                for instr in instructions(of).into_iter().chain(of.is_float().then_some(Instr::Erf)) {
                    let types = if instr == Instr::Select { [DType::Bool, of, of] } else { [of; 3] };
                    let args: Vec<(u32, DType)> = (0..instr.arity()).map(|i| (i as u32, types[i])).collect();
                    let kernel = single(instr, of, &args, 3, [1, 0, 1]);
                    let columns = combinations(instr, of);
                    for ((&a, &b), &c) in columns[0].iter().zip(&columns[1]).zip(&columns[2]) {
                        let words = [a, b, c, 0];
                        let [straight, blocks] = both(&kernel, isa, &words, &[]);
                        assert_eq!(straight, blocks, "{isa:?} {instr:?} {of} of {:?}", words.map(|w| types[1].number(w)));
                    }
                }
            }
        }
    }

    #[test]
    fn chains_with_pairs_scalars_and_stores_give_the_bits_of_loops() {
        let mut rng = StdRng::seed_from_u64(11);
        let element = |buffer, dtype| Place { buffer, dtype, offset: 0, dims: Dims::new(), strides: Strides::new() };
        for round in 0..300 {
            let of = [DType::F32, DType::F64][round % 2];
            let kinds = [Instr::Add, Instr::Mul, Instr::Sub, Instr::Max, Instr::Tanh, Instr::MulAdd, Instr::Sin];
            let n = rng.random_range(1..40);
            let mut code: Vec<Inst> = Vec::new();
            for out in 3..3 + n as Reg {
                // Mostly the value before, so that instructions are joined.
                let arg = |rng: &mut StdRng| if rng.random_range(0..3) > 0 { out - 1 } else { rng.random_range(0..out) };
                let args = [arg(&mut rng), arg(&mut rng), arg(&mut rng)];
                code.push(Inst { instr: kinds[rng.random_range(0..kinds.len())], of, args, out });
            }
            let last = n as Reg + 2;
            let kernel = Fused {
                dims: Dims::new(),
                outer: 0,
                inner: 0,
                loads: vec![Load { reg: 0, from: element(0, of) }, Load { reg: 1, from: element(1, of) }],
                scalars: vec![ScalarLoad { reg: 2, dtype: of, from: ScalarSource::Slot(0) }],
                code,
                stores: vec![
                    Store { reg: last, to: element(2, of), over: None },
                    Store { reg: rng.random_range(3..=last), to: element(0, of), over: Some(0) },
                ],
                folds: vec![],
                registers: last + 1,
                rows: None,
            };
            let mut number = || of.bits(rng.random_range(-2.0..2.0));
            let (words, slots) = ([number(), number(), 0], [number()]);
            for isa in Isa::available() {
                let [straight, blocks] = both(&kernel, isa, &words, &slots);
                assert_eq!(straight, blocks, "{isa:?} round {round}");
            }
        }
    }
}
