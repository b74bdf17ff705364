//! Do fused loops give what a plain loop over the same program gives, whatever the layout?

use super::{
    fused::run,
    isa::Isa,
    prepare::{Prepared, prepare_for},
};
use crate::{
    DType, Fold, Instr,
    execute::{
        frame::{Frame, RawBuffer},
        threads,
    },
    plan::kernel::{Dims, FoldStore, Fused, Inst, Load, Place, Reg, ScalarLoad, ScalarSource, Store, Strides},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

pub(super) const ALL: [DType; 4] = [DType::F32, DType::F64, DType::I64, DType::Bool];

/// Buffers, by number.
#[derive(Clone, Default)]
struct Memory {
    words: Vec<Vec<u64>>,
    dtypes: Vec<DType>,
}

impl Memory {
    fn add(&mut self, dtype: DType, elements: usize) -> u32 {
        self.words.push(vec![0x5a5a_5a5a_5a5a_5a5a; (elements * dtype.size()).div_ceil(8).max(1)]);
        self.dtypes.push(dtype);
        self.words.len() as u32 - 1
    }
    fn from(&mut self, dtype: DType, values: impl IntoIterator<Item = u64>) -> u32 {
        let values: Vec<_> = values.into_iter().collect();
        let id = self.add(dtype, values.len());
        values.iter().enumerate().for_each(|(i, &v)| self.set(id, i as isize, v));
        id
    }
    fn bytes(&mut self, id: u32) -> &mut [u8] {
        let words = &mut self.words[id as usize];
        // SAFETY: any bytes are words.
        unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len() * 8) }
    }
    fn get(&mut self, id: u32, at: isize) -> u64 {
        let size = self.dtypes[id as usize].size();
        let mut word = [0; 8];
        word[..size].copy_from_slice(&self.bytes(id)[at as usize * size..][..size]);
        u64::from_le_bytes(word)
    }
    fn set(&mut self, id: u32, at: isize, bits: u64) {
        let size = self.dtypes[id as usize].size();
        self.bytes(id)[at as usize * size..][..size].copy_from_slice(&bits.to_le_bytes()[..size]);
    }
    fn all(&mut self, id: u32, n: usize) -> Vec<u64> {
        (0..n as isize).map(|i| self.get(id, i)).collect()
    }
    fn run(&mut self, kernel: &Prepared, slots: &[u64]) {
        let buffers: Vec<_> = self.words.iter_mut().map(|w| RawBuffer { ptr: w.as_mut_ptr().cast(), bytes: w.len() * 8 }).collect();
        assert_eq!(run(kernel, &Frame { buffers: &buffers, slots }), Ok(()));
    }
}

fn f(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}
fn d(bits: u64) -> f64 {
    f64::from_bits(bits)
}

/// One instruction on one element, in the plainest form.
fn reference(instr: Instr, of: DType, [a, b, c]: [u64; 3]) -> u64 {
    use Instr::*;
    let truth = |x: bool| u64::from(x);
    match (instr, of) {
        (Copy, _) => a,
        (Select, _) => {
            if a & 0xff != 0 {
                b
            } else {
                c
            }
        }
        (Cast(DType::F32), DType::I64) => u64::from((a as i64 as f32).to_bits()),
        (Cast(DType::Bool), DType::I64) => truth(a != 0),
        (Cast(DType::I64), DType::I64) => a,
        (Cast(to), _) => to.bits(of.number(a)),
        (_, DType::F32) => {
            let (a, b, c) = (f(a), f(b), f(c));
            let single = |y: f32| u64::from(y.to_bits());
            match instr {
                Eq => truth(a == b),
                Ne => truth(a != b),
                Lt => truth(a < b),
                Le => truth(a <= b),
                IsNan => truth(a.is_nan()),
                MulAdd => single(a.mul_add(b, c)),
                Add => single(a + b),
                Sub => single(a - b),
                Mul => single(a * b),
                Div => single(a / b),
                Sqrt => single(a.sqrt()),
                _ => single(real(instr, f64::from(a), f64::from(b)) as f32),
            }
        }
        (_, DType::F64) => {
            let (a, b, c) = (d(a), d(b), d(c));
            match instr {
                Eq => truth(a == b),
                Ne => truth(a != b),
                Lt => truth(a < b),
                Le => truth(a <= b),
                IsNan => truth(a.is_nan()),
                MulAdd => a.mul_add(b, c).to_bits(),
                _ => real(instr, a, b).to_bits(),
            }
        }
        (_, DType::I64) => {
            let (a, b, c) = (a as i64, b as i64, c as i64);
            let y = match instr {
                Neg => 0i64.wrapping_sub(a),
                Abs => {
                    if a < 0 {
                        0i64.wrapping_sub(a)
                    } else {
                        a
                    }
                }
                Sign => a.signum(),
                Add => a.wrapping_add(b),
                Sub => a.wrapping_sub(b),
                Mul => a.wrapping_mul(b),
                MulAdd => a.wrapping_mul(b).wrapping_add(c),
                Pow if b >= 0 => (0..63).rev().fold(1, |y: i64, bit| y.wrapping_mul(y).wrapping_mul(if b >> bit & 1 == 1 { a } else { 1 })),
                Pow => match a {
                    1 => 1,
                    -1 => {
                        if b % 2 == 0 {
                            1
                        } else {
                            -1
                        }
                    }
                    _ => 0,
                },
                Max => {
                    if a < b {
                        b
                    } else {
                        a
                    }
                }
                Min => {
                    if a < b {
                        a
                    } else {
                        b
                    }
                }
                Eq => i64::from(a == b),
                Ne => i64::from(a != b),
                Lt => i64::from(a < b),
                Le => i64::from(a <= b),
                _ => unreachable!("{instr:?}"),
            };
            y as u64
        }
        (_, DType::Bool) => {
            let (a, b) = (a & 1 == 1, b & 1 == 1);
            truth(match instr {
                Not => !a,
                And | Min => a && b,
                Or | Max => a || b,
                Xor | Ne => a != b,
                Eq => a == b,
                Lt => !a && b,
                Le => !a || b,
                _ => unreachable!("{instr:?}"),
            })
        }
    }
}

fn real(instr: Instr, a: f64, b: f64) -> f64 {
    use Instr::*;
    match instr {
        Neg => -a,
        Abs => a.abs(),
        Sign => {
            if a.is_nan() || a == 0.0 {
                a
            } else {
                a.signum()
            }
        }
        Exp => a.exp(),
        Expm1 => a.exp_m1(),
        Ln => a.ln(),
        Ln1p => a.ln_1p(),
        Sqrt => a.sqrt(),
        Sin => a.sin(),
        Cos => a.cos(),
        Tanh => a.tanh(),
        Sigmoid => {
            if a > -40.0 {
                1.0 / (1.0 + (-a).exp())
            } else {
                a.exp()
            }
        }
        Floor => a.floor(),
        Add => a + b,
        Sub => a - b,
        Mul => a * b,
        Div => a / b,
        Pow => a.powf(b),
        Max if a.is_nan() || b.is_nan() => f64::NAN,
        Max if a == 0.0 && b == 0.0 => {
            if a.is_sign_positive() {
                a
            } else {
                b
            }
        }
        Max => a.max(b),
        Min if a.is_nan() || b.is_nan() => f64::NAN,
        Min if a == 0.0 && b == 0.0 => {
            if a.is_sign_negative() {
                a
            } else {
                b
            }
        }
        Min => a.min(b),
        _ => unreachable!("{instr:?}"),
    }
}

/// Distance in units of the last place; 0 for two NaN or two equal zeros of one sign.
fn distance(of: DType, a: u64, b: u64) -> u64 {
    let nan = |x: u64| of.is_float() && of.number(x).is_nan();
    let size = |x: u64| if of == DType::F32 { x & 0x7fff_ffff } else { x & (u64::MAX >> 1) };
    match (nan(a), nan(b)) {
        (true, true) => 0,
        _ if !of.is_float() && a == b => 0,
        _ if !of.is_float() => u64::MAX,
        (false, false) if of.number(a).is_sign_negative() == of.number(b).is_sign_negative() => size(a).abs_diff(size(b)),
        _ => u64::MAX,
    }
}

pub(super) fn instructions(of: DType) -> Vec<Instr> {
    use Instr::*;
    let casts = ALL.map(Cast);
    let number = [Copy, Neg, Abs, Sign, Add, Sub, Mul, Pow, Max, Min, Eq, Ne, Lt, Le, Select, MulAdd];
    let float = [Exp, Expm1, Ln, Ln1p, Sqrt, Sin, Cos, Tanh, Sigmoid, Floor, IsNan, Div];
    let truth = [Copy, Not, And, Or, Xor, Eq, Ne, Lt, Le, Select, Max, Min];
    match of {
        DType::F32 | DType::F64 => [&number[..], &float, &casts].concat(),
        DType::I64 => [&number[..], &casts].concat(),
        DType::Bool => [&truth[..], &casts].concat(),
    }
}

fn samples(of: DType) -> Vec<u64> {
    let floats = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -2.0,
        3.0,
        -2.5,
        7.25,
        1e-3,
        -1e-3,
        90.0,
        -90.0,
        1e7,
        -1e7,
        3e38,
        1e-45,
        1e-40,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    match of {
        DType::F32 | DType::F64 => floats.iter().map(|&v| of.bits(v)).collect(),
        DType::I64 => [0, 1, -1, 2, -2, 3, 7, -13, 1 << 40, i64::MAX, i64::MIN].iter().map(|&v: &i64| v as u64).collect(),
        DType::Bool => vec![0, 1],
    }
}

fn dense(dims: &[usize]) -> Strides {
    let mut strides: Strides = dims.iter().map(|_| 0).collect();
    let mut step = 1;
    for axis in (0..dims.len()).rev() {
        strides[axis] = step;
        step *= dims[axis] as isize;
    }
    strides
}

fn place(buffer: u32, dtype: DType, offset: isize, dims: &[usize], strides: &[isize]) -> Place {
    Place { buffer, dtype, offset, dims: Dims::from_slice(dims), strides: Strides::from_slice(strides) }
}

/// A loop of one instruction over vectors of `n` elements, `step` apart.
pub(super) fn single(instr: Instr, of: DType, args: &[(u32, DType)], out: u32, [n, offset, step]: [usize; 3]) -> Fused {
    let at = |buffer, dtype| place(buffer, dtype, offset as isize, &[n], &[step as isize]);
    let loads: Vec<_> = args.iter().enumerate().map(|(i, &(b, t))| Load { reg: i as Reg, from: at(b, t) }).collect();
    let over = args.iter().any(|a| a.0 == out).then_some(out);
    Fused {
        dims: Dims::from_slice(&[n]),
        outer: 1,
        inner: 0,
        loads,
        scalars: vec![],
        code: vec![Inst { instr, of, args: [0, 1, 2], out: 3 }],
        stores: vec![Store { reg: 3, to: at(out, instr.result(of)), over }],
        folds: vec![],
        registers: 4,
        rows: None,
    }
}

/// Every combination of samples as three long columns, the lesser arities repeating.
pub(super) fn combinations(instr: Instr, of: DType) -> [Vec<u64>; 3] {
    let values = samples(of);
    let first = if instr == Instr::Select { vec![0, 1] } else { values.clone() };
    let third = if instr.arity() == 3 { values.clone() } else { vec![0] };
    let mut columns = [vec![], vec![], vec![]];
    for &a in &first {
        for &b in &values {
            for &c in &third {
                [a, b, c].iter().zip(&mut columns).for_each(|(&v, column)| column.push(v));
            }
        }
    }
    columns
}

#[test]
fn every_instruction_matches_its_plain_form() {
    for isa in Isa::available() {
        for of in ALL {
            for instr in instructions(of) {
                let columns = combinations(instr, of);
                let n = columns[0].len();
                let types = if instr == Instr::Select { [DType::Bool, of, of] } else { [of; 3] };
                let mut memory = Memory::default();
                let args: Vec<_> = (0..instr.arity()).map(|i| (memory.from(types[i], columns[i].iter().copied()), types[i])).collect();
                let to = instr.result(of);
                let out = memory.add(to, n);
                memory.run(&prepare_for(&single(instr, of, &args, out, [n, 0, 1]), isa), &[]);
                let got = memory.all(out, n);
                for i in 0..n {
                    let x = [columns[0][i], columns[1][i], columns[2][i]];
                    let mut want = reference(instr, of, x);
                    if instr == Instr::MulAdd && of.is_float() && isa == Isa::Baseline && !super::isa::BASELINE_FMA {
                        want = reference(Instr::Add, of, [reference(Instr::Mul, of, x), x[2], 0]);
                    }
                    // Single functions are compared with a rounded double, which is half a unit off.
                    let bound = if matches!(instr, Instr::Neg | Instr::Add | Instr::Mul | Instr::Max | Instr::MulAdd) { 0 } else { 2 };
                    let x = x.map(|v| types[1].number(v));
                    assert!(
                        distance(to, got[i], want) <= bound,
                        "{isa:?} {instr:?} {of} {x:?}: {} for {}",
                        to.number(got[i]),
                        to.number(want)
                    );
                }
            }
        }
    }
}

#[test]
fn an_element_has_the_same_bits_wherever_it_stands() {
    let mut rng = StdRng::seed_from_u64(7);
    for isa in Isa::available() {
        for of in [DType::F32, DType::F64] {
            for instr in instructions(of).into_iter().chain([Instr::Erf]).filter(|i| i.arity() == 1 && i.result(of) == of) {
                let n = 1100;
                let values: Vec<_> = (0..n).map(|i| of.bits(rng.random_range(-1.0..1.0) * 10f64.powi(i % 9 - 2))).collect();
                let mut memory = Memory::default();
                let x = memory.from(of, values.iter().copied());
                let y = memory.add(of, n as usize);
                memory.run(&prepare_for(&single(instr, of, &[(x, of)], y, [n as usize, 0, 1]), isa), &[]);
                let bulk = memory.all(y, n as usize);
                for (count, offset, step) in [(1, 17, 1), (3, 5, 1), (7, 501, 1), (33, 3, 1), (100, 2, 7), (519, 1, 2)] {
                    for to in [y, x] {
                        let mut memory = memory.clone();
                        memory.run(&prepare_for(&single(instr, of, &[(x, of)], to, [count, offset, step]), isa), &[]);
                        for i in (0..count).map(|i| offset + i * step) {
                            assert_eq!(memory.get(to, i as isize), bulk[i], "{isa:?} {instr:?} {of} at {i} of {count} by {step}");
                        }
                    }
                }
            }
        }
    }
}

/// The plain loop.
fn naive(kernel: &Fused, memory: &mut Memory, slots: &[u64]) {
    let size: usize = kernel.dims.iter().product();
    let rank = kernel.dims.len();
    let inner: usize = kernel.dims[rank - kernel.inner..].iter().product();
    let outer: usize = kernel.dims[..kernel.outer].iter().product();
    let length: usize = kernel.dims[kernel.outer..rank - kernel.inner].iter().product();
    let mut folded: Vec<Vec<Vec<u64>>> = kernel.folds.iter().map(|_| vec![vec![]; outer * inner]).collect();
    let mut writes = vec![];
    for flat in 0..size {
        let mut rest = flat;
        let mut index = vec![0; rank];
        for axis in (0..rank).rev() {
            index[axis] = (rest % kernel.dims[axis]) as isize;
            rest /= kernel.dims[axis];
        }
        let at = |p: &Place| p.offset + index.iter().zip(&p.strides).map(|(i, s)| i * s).sum::<isize>();
        let mut regs = vec![0; usize::from(kernel.registers)];
        kernel.loads.iter().for_each(|l| regs[usize::from(l.reg)] = memory.get(l.from.buffer, at(&l.from)));
        for s in &kernel.scalars {
            regs[usize::from(s.reg)] = match s.from {
                ScalarSource::Slot(i) => slots[i as usize],
                ScalarSource::Minus(i, dtype) => dtype.negative(slots[i as usize]),
                ScalarSource::Literal(bits) => bits,
            };
        }
        for inst in &kernel.code {
            regs[usize::from(inst.out)] = reference(inst.instr, inst.of, inst.args.map(|r| regs[usize::from(r)]));
        }
        kernel.stores.iter().for_each(|s| writes.push((s.to.buffer, at(&s.to), regs[usize::from(s.reg)])));
        for (f, fold) in folded.iter_mut().zip(&kernel.folds) {
            f[flat / (length * inner) * inner + flat % inner].push(regs[usize::from(fold.reg)]);
        }
    }
    writes.iter().for_each(|&(buffer, at, bits)| memory.set(buffer, at, bits));
    for (values, fold) in folded.iter().zip(&kernel.folds) {
        for (i, values) in values.iter().enumerate() {
            memory.set(fold.to, i as isize, fold_of(fold.fold, fold.dtype, values));
        }
    }
}

fn fold_of(fold: Fold, of: DType, values: &[u64]) -> u64 {
    let join = |instr| move |a: u64, &b: &u64| reference(instr, of, [a, b, 0]);
    let integer = of == DType::I64;
    let edge = |v: f64, i: i64| if integer { i as u64 } else { of.bits(v) };
    match fold {
        Fold::Sum => values.iter().fold(of.bits(0.0), join(Instr::Add)),
        Fold::Prod => values.iter().fold(of.bits(1.0), join(Instr::Mul)),
        Fold::Max if of == DType::Bool => values.iter().fold(0, join(Instr::Or)),
        Fold::Min if of == DType::Bool => values.iter().fold(1, join(Instr::And)),
        Fold::Max => values.iter().fold(edge(f64::NEG_INFINITY, i64::MIN), join(Instr::Max)),
        Fold::Min => values.iter().fold(edge(f64::INFINITY, i64::MAX), join(Instr::Min)),
        Fold::ArgMax | Fold::ArgMin => {
            let numbers: Vec<_> = values.iter().map(|&v| of.number(v)).collect();
            let mut best = 0;
            for i in 1..numbers.len() {
                let (a, b) = (numbers[i], numbers[best]);
                if !b.is_nan() && (a.is_nan() || if fold == Fold::ArgMax { a > b } else { a < b }) {
                    best = i;
                }
            }
            best as u64
        }
    }
}

/// Strides over a buffer of its own: axes in any order, repeated, backwards, with gaps.
fn scattered(rng: &mut StdRng, dims: &[usize], writable: bool) -> (Strides, isize, usize) {
    let mut order: Vec<_> = (0..dims.len()).collect();
    if rng.random_bool(0.5) {
        order.sort_by_key(|_| rng.random_range(0..100));
    }
    let plain = rng.random_bool(0.4);
    let (mut strides, mut step, mut offset) = (Strides::from_elem(0, dims.len()), 1isize, 0isize);
    for &axis in order.iter().rev() {
        let kind = if plain { 9 } else { rng.random_range(0..8) };
        let span = dims[axis].max(1) as isize;
        if kind < 2 && !writable {
            continue;
        }
        if kind == 2 {
            step *= 2;
        }
        strides[axis] = if kind == 3 { -step } else { step };
        offset += if kind == 3 { step * (span - 1) } else { 0 };
        step *= span;
    }
    (strides, offset, step as usize)
}

/// A random loop, and buffers for it.
fn random_kernel(rng: &mut StdRng, memory: &mut Memory) -> Fused {
    let rank = [0, 1, 1, 2, 2, 3, 3, 4, 5, 8][rng.random_range(0..10)];
    let mut dims = Dims::new();
    for _ in 0..rank {
        let left = 12_000 / dims.iter().map(|&d| d.max(1)).product::<usize>();
        let lengths = [1, 2, 3, 4, 7, 10, 17, 64, 130, 600, 1030, 9000];
        let d = if rng.random_bool(0.02) { 0 } else { lengths[rng.random_range(0..lengths.len())] };
        dims.push(if d > left { 1 } else { d });
    }
    let folding = rng.random_bool(0.6);
    let outer = if folding { rng.random_range(0..=rank) } else { rank };
    let inner = if folding { rng.random_range(0..=rank - outer) } else { 0 };
    let mut kernel = Fused {
        dims: dims.clone(),
        outer,
        inner,
        loads: vec![],
        scalars: vec![],
        code: vec![],
        stores: vec![],
        folds: vec![],
        registers: 24,
        rows: None,
    };
    let mut types = vec![];
    for _ in 0..rng.random_range(1..4) {
        let of = ALL[rng.random_range(0..4)];
        let (strides, offset, size) = scattered(rng, &dims, false);
        let values: Vec<_> = (0..size).map(|_| rng.random_range(-3i32..4)).collect();
        let buffer = memory.from(of, values.iter().map(|&v| of.bits(f64::from(v))));
        kernel.loads.push(Load { reg: types.len() as Reg, from: place(buffer, of, offset, &dims, &strides) });
        types.push(of);
    }
    for of in ALL {
        let from = if rng.random_bool(0.5) { ScalarSource::Slot(types.len() as u32) } else { ScalarSource::Literal(of.bits(1.0)) };
        kernel.scalars.push(ScalarLoad { reg: types.len() as Reg, dtype: of, from });
        types.push(of);
    }
    random_code(rng, &mut kernel, &mut types);
    random_results(rng, &mut kernel, &types, memory);
    kernel
}

fn random_code(rng: &mut StdRng, kernel: &mut Fused, types: &mut Vec<DType>) {
    let exact = |i: &Instr| {
        use Instr::*;
        let inexact = matches!(i, Exp | Expm1 | Ln | Ln1p | Sqrt | Sin | Cos | Tanh | Sigmoid | Pow | Div | MulAdd);
        !inexact
    };
    for _ in 0..rng.random_range(0..7) {
        let of = types[rng.random_range(0..types.len())];
        let choice: Vec<_> = instructions(of).into_iter().filter(exact).collect();
        let instr = choice[rng.random_range(0..choice.len())];
        let mut pick = |of: DType| {
            let fit: Vec<_> = (0..types.len()).filter(|&r| types[r] == of).collect();
            fit[rng.random_range(0..fit.len())] as Reg
        };
        let first = if instr == Instr::Select { DType::Bool } else { of };
        let args = [pick(first), pick(of), pick(of)];
        let reused = rng.random_range(0..types.len()) as Reg;
        // Keep one register of each dtype, so that there is always something to pick: only computed ones are reused.
        let out = if reused >= 7 && !args.contains(&reused) { reused } else { types.len() as Reg };
        if usize::from(out) == types.len() {
            types.push(instr.result(of));
        } else {
            types[usize::from(out)] = instr.result(of);
        }
        kernel.code.push(Inst { instr, of, args, out });
    }
}

fn random_results(rng: &mut StdRng, kernel: &mut Fused, types: &[DType], memory: &mut Memory) {
    let dims = kernel.dims.clone();
    let folding = kernel.outer < dims.len();
    for _ in 0..rng.random_range(usize::from(!folding)..3) {
        let reg = rng.random_range(0..types.len());
        let of = types[reg];
        let target = kernel.loads.iter().find(|l| l.from.dtype == of && !l.from.strides.iter().zip(&dims).any(|(&s, &d)| s == 0 && d > 1));
        let taken = |b: u32, k: &Fused| k.stores.iter().any(|s: &Store| s.to.buffer == b);
        let store = match target {
            Some(l) if rng.random_bool(0.4) && !taken(l.from.buffer, kernel) => {
                Store { reg: reg as Reg, to: l.from.clone(), over: Some(l.from.buffer) }
            }
            _ => {
                let (strides, offset, size) = scattered(rng, &dims, true);
                let buffer = memory.add(of, size);
                Store { reg: reg as Reg, to: place(buffer, of, offset, &dims, &strides), over: None }
            }
        };
        kernel.stores.push(store);
    }
    if !folding {
        return;
    }
    let kept: usize = dims[..kernel.outer].iter().chain(&dims[dims.len() - kernel.inner..]).product();
    for _ in 0..rng.random_range(1..3) {
        let folds = [Fold::Sum, Fold::Prod, Fold::Max, Fold::Min, Fold::ArgMax, Fold::ArgMin];
        // Only what was loaded: small whole numbers, whose sums are exact in any order.
        let reg = rng.random_range(0..kernel.loads.len());
        let (mut fold, of) = (folds[rng.random_range(0..6)], types[reg]);
        if of == DType::Bool && matches!(fold, Fold::Sum | Fold::Prod) {
            fold = Fold::Max;
        }
        if fold == Fold::Prod && of.is_float() {
            fold = Fold::Sum; // their product depends on the order once it overflows
        }
        let to = memory.add(fold.result(of), kept);
        kernel.folds.push(FoldStore { reg: reg as Reg, dtype: of, fold, to });
    }
}

#[test]
fn random_loops_match_the_plain_loop() {
    let mut rng = StdRng::seed_from_u64(20);
    let isas: Vec<_> = Isa::available().collect();
    for round in 0..600 {
        let mut memory = Memory::default();
        let kernel = random_kernel(&mut rng, &mut memory);
        let slots: Vec<_> =
            (0..24u32).map(|i| kernel.scalars.iter().find(|s| u32::from(s.reg) == i).map_or(0, |s| s.dtype.bits(1.0))).collect();
        let mut want = memory.clone();
        naive(&kernel, &mut want, &slots);
        let mut prepared = prepare_for(&kernel, isas[round % isas.len()]);
        if round % 3 == 0 {
            prepared.tasks = 1 + round % 7;
        }
        let mut got = memory.clone();
        got.run(&prepared, &slots);
        for (id, &of) in memory.dtypes.iter().enumerate() {
            let n = memory.words[id].len() * 8 / of.size();
            let (got, want) = (got.all(id as u32, n), want.all(id as u32, n));
            for i in 0..n {
                assert!(
                    distance(of, got[i], want[i]) == 0,
                    "round {round}: buffer {id} ({of}) at {i}: {} for {}; dims {:?} outer {} inner {} code {:?} loads {:?}",
                    of.number(got[i]),
                    of.number(want[i]),
                    kernel.dims,
                    kernel.outer,
                    kernel.inner,
                    kernel.code,
                    kernel.loads.iter().map(|l| (l.from.dtype, l.from.strides.clone())).collect::<Vec<_>>()
                );
            }
        }
    }
}

/// A loop that folds one dense operand.
fn folding(dims: &[usize], [outer, inner]: [usize; 2], fold: Fold, of: DType, x: u32, to: u32) -> Fused {
    Fused {
        dims: Dims::from_slice(dims),
        outer,
        inner,
        loads: vec![Load { reg: 0, from: place(x, of, 0, dims, &dense(dims)) }],
        scalars: vec![],
        code: vec![],
        stores: vec![],
        folds: vec![FoldStore { reg: 0, dtype: of, fold, to }],
        registers: 1,
        rows: None,
    }
}

#[test]
fn sums_do_not_depend_on_the_split_and_stay_accurate() {
    let mut rng = StdRng::seed_from_u64(3);
    for (dims, around) in [
        (vec![1_000_003], [0, 0]),
        (vec![3, 333_001], [1, 0]),
        (vec![100_000, 10], [0, 1]),
        (vec![1001, 777], [0, 1]),
        (vec![2, 50_000, 13], [1, 1]),
        (vec![100_000, 10], [1, 0]),
        (vec![700, 1500], [1, 0]),
    ] {
        let n: usize = dims.iter().product();
        let kept: usize = dims[..around[0]].iter().chain(&dims[dims.len() - around[1]..]).product();
        let inner: usize = dims[dims.len() - around[1]..].iter().product();
        let mut memory = Memory::default();
        let values: Vec<f32> = (0..n).map(|_| rng.random_range(0.0..1.0f32)).collect();
        let x = memory.from(DType::F32, values.iter().map(|v| u64::from(v.to_bits())));
        let y = memory.add(DType::F32, kept);
        let mut prepared = prepare_for(&folding(&dims, around, Fold::Sum, DType::F32, x, y), Isa::current());
        let mut exact = vec![0.0; kept];
        values.iter().enumerate().for_each(|(i, &v)| exact[i / (n / kept * inner) * inner + i % inner] += f64::from(v));
        let mut first = None;
        for (tasks, threads) in [(prepared.tasks, 2), (1, 1), (3, 2), (17, 4)] {
            threads::set_threads(threads);
            prepared.tasks = tasks;
            memory.run(&prepared, &[]);
            let got = memory.all(y, kept);
            for (g, e) in got.iter().zip(&exact) {
                assert!((f64::from(f(*g)) - e).abs() <= 3e-7 * e, "{dims:?}: {} for {e}", f(*g));
            }
            assert_eq!(*first.get_or_insert(got.clone()), got, "{dims:?}: {tasks} tasks on {threads} threads");
        }
    }
}

#[test]
fn folds_of_nothing_give_the_neutral_element() {
    for (fold, of, want) in [
        (Fold::Sum, DType::F32, 0.0),
        (Fold::Prod, DType::F64, 1.0),
        (Fold::Max, DType::F32, f64::NEG_INFINITY),
        (Fold::Min, DType::F64, f64::INFINITY),
        (Fold::Max, DType::Bool, 0.0),
        (Fold::Min, DType::Bool, 1.0),
        (Fold::ArgMax, DType::F32, 0.0),
    ] {
        for (dims, around) in [(vec![3, 0], [1, 0]), (vec![0, 3], [0, 1])] {
            let mut memory = Memory::default();
            let (x, y) = (memory.add(of, 0), memory.add(fold.result(of), 3));
            memory.run(&prepare_for(&folding(&dims, around, fold, of, x, y), Isa::current()), &[]);
            assert_eq!(memory.all(y, 3).iter().map(|&v| fold.result(of).number(v)).collect::<Vec<_>>(), [want; 3], "{fold:?} {of}");
        }
    }
}

#[test]
fn nan_is_the_largest_the_smallest_and_the_first() {
    for (n, at) in [(5, 2), (700, 3), (70_000, 69_000)] {
        for (dims, around) in [(vec![n], [0, 0]), (vec![n, 1], [0, 0]), (vec![n, 2], [0, 1])] {
            let width: usize = dims[1..].iter().product();
            let mut memory = Memory::default();
            let nan = [at, at + 1].map(|i| i * width);
            let x = memory.from(DType::F32, (0..n * width).map(|i| DType::F32.bits(if nan.contains(&i) { f64::NAN } else { i as f64 })));
            for fold in [Fold::Max, Fold::Min, Fold::ArgMax, Fold::ArgMin] {
                let to = fold.result(DType::F32);
                let kept = if around[1] == 1 { width } else { 1 };
                let y = memory.add(to, kept);
                memory.run(&prepare_for(&folding(&dims, around, fold, DType::F32, x, y), Isa::current()), &[]);
                let got = to.number(memory.get(y, 0));
                assert!(if to == DType::I64 { got == at as f64 } else { got.is_nan() }, "{fold:?} {dims:?}: {got}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "Exp on i64: there is no such instruction")]
fn an_instruction_that_does_not_exist_is_refused() {
    let mut memory = Memory::default();
    let x = memory.from(DType::I64, [1]);
    prepare_for(&single(Instr::Exp, DType::I64, &[(x, DType::I64)], x, [1, 0, 1]), Isa::Baseline);
}

#[test]
fn transposed_operands_are_read_in_tiles() {
    let transposed = |dims: &[usize], axis: usize| {
        // Dense with `axis` innermost.
        let mut order: Vec<_> = (0..dims.len()).filter(|&a| a != axis).collect();
        order.push(axis);
        let steps = dense(&order.iter().map(|&a| dims[a]).collect::<Vec<_>>());
        let mut strides = Strides::from_elem(0, dims.len());
        order.iter().zip(&steps).for_each(|(&a, &s)| strides[a] = s);
        strides
    };
    for (dims, axis) in [(vec![256, 200], 0), (vec![7, 64, 90], 1), (vec![12, 5, 33, 27], 0), (vec![2, 3, 4, 5, 6, 32, 16], 5)] {
        let n: usize = dims.iter().product();
        let mut memory = Memory::default();
        let values = |k: usize| (0..n).map(move |i| DType::F32.bits((i * k % 1013) as f64));
        let (x, y) = (memory.from(DType::F32, values(7)), memory.from(DType::F32, values(11)));
        let out = memory.add(DType::F32, n);
        let strides = dense(&dims);
        let kernel = Fused {
            dims: Dims::from_slice(&dims),
            outer: dims.len(),
            inner: 0,
            loads: vec![
                Load { reg: 0, from: place(x, DType::F32, 0, &dims, &transposed(&dims, axis)) },
                Load { reg: 1, from: place(y, DType::F32, 0, &dims, &strides) },
            ],
            scalars: vec![],
            // x + y, joined with the next, then kept apart from it
            code: vec![
                Inst { instr: Instr::Add, of: DType::F32, args: [0, 1, 0], out: 2 },
                Inst { instr: Instr::Sub, of: DType::F32, args: [1, 2, 0], out: 3 },
                Inst { instr: Instr::Mul, of: DType::F32, args: [3, 0, 0], out: 2 },
                Inst { instr: Instr::Max, of: DType::F32, args: [2, 3, 0], out: 4 },
            ],
            stores: vec![Store { reg: 4, to: place(out, DType::F32, 0, &dims, &strides), over: None }],
            folds: vec![],
            registers: 5,
            rows: None,
        };
        let mut want = memory.clone();
        naive(&kernel, &mut want, &[]);
        memory.run(&prepare_for(&kernel, Isa::current()), &[]);
        assert_eq!(memory.all(out, n), want.all(out, n), "{dims:?}");
    }
}
