//! What is a random program made of? Leaves, a pool of values computed so far, and what is known of each.

use crate::{choices::Choices, steps};
use wengert::{Array, DType, Tape, Tensor};

/// A value of the program.
#[derive(Clone, Copy)]
pub struct Known<'t> {
    pub x: Tensor<'t>,
    /// No finite element is larger.
    pub bound: f64,
    /// Whether it is the same number in every way of computing it, so that it may be compared with others.
    pub exact: bool,
}

/// What kind of program it is; drawn first.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub dtype: DType,
    /// Whether leaves hold infinities and NaN.
    pub special: bool,
    /// Most elements of a value.
    pub most: usize,
}

/// A program being recorded.
pub struct Recorder<'t, 'b> {
    pub tape: &'t Tape,
    pub choices: Choices<'b>,
    pub kind: Kind,
    /// The shape that most values have or broadcast to.
    pub base: Vec<usize>,
    pub pool: Vec<Known<'t>>,
    pub leaves: Vec<(Array, Tensor<'t>)>,
    /// Whether something was rounded to `f32`.
    pub is_rounded: bool,
    /// Relative size of the random change of every leaf: what a result makes of it tells how well it is conditioned.
    nudge: f64,
}

/// Largest bound of a value in the pool.
pub const LARGEST: f64 = 20.0;

impl<'t, 'b> Recorder<'t, 'b> {
    /// A program of `bytes`, recorded.
    pub fn record(tape: &'t Tape, bytes: &'b [u8], nudge: f64) -> Self {
        let mut choices = Choices::new(bytes);
        let (base, most) = base(&mut choices);
        let dtype = if choices.chance(20) { DType::F32 } else { DType::F64 };
        let kind = Kind { dtype, special: choices.chance(15), most };
        let is_rounded = dtype == DType::F32;
        let mut r = Recorder { tape, choices, kind, base, pool: Vec::new(), leaves: Vec::new(), is_rounded, nudge };
        let base = r.base.clone();
        r.leaf(&base);
        for _ in 0..r.choices.within(1, 5) {
            let shape = r.shape();
            r.leaf(&shape);
        }
        for _ in 0..r.choices.within(3, 24) {
            if r.choices.is_over() {
                break;
            }
            steps::step(&mut r);
        }
        r
    }

    /// A shape that broadcasts to the base shape.
    fn shape(&mut self) -> Vec<usize> {
        let skipped = if self.choices.chance(40) { self.choices.below(self.base.len() + 1) } else { 0 };
        let mut shape = self.base[skipped..].to_vec();
        shape.iter_mut().for_each(|d| *d = if self.choices.chance(25) { 1 } else { *d });
        shape
    }

    /// A new leaf with numbers between −1.5 and 1.5, in the pool.
    pub fn leaf(&mut self, shape: &[usize]) -> Tensor<'t> {
        let seed = self.leaves.len() as u64 + 1;
        let (special, size) = (self.kind.special, shape.iter().product::<usize>());
        let mut data = Array::uniform(DType::F64, shape, -1.5, 1.5, seed).to_vec::<f64>();
        let change = Array::uniform(DType::F64, shape, -1.0, 1.0, seed + 100).to_vec::<f64>();
        if self.choices.chance(25) {
            data.iter_mut().for_each(|v| *v = (*v * 2.0).round() / 2.0); // ties, zeros of both signs
        }
        if special && size > 0 {
            for _ in 0..self.choices.within(0, 2) {
                data[self.choices.below(65536) % size] = self.choices.of(&[f64::INFINITY, f64::NAN, f64::NEG_INFINITY, -0.0]);
            }
        }
        data.iter_mut().zip(change).for_each(|(v, c)| *v *= 1.0 + c * self.nudge);
        let array = Array::new(shape, data).cast(self.kind.dtype);
        let x = self.tape.leaf(&array);
        self.leaves.push((array, x));
        self.pool.push(Known { x, bound: 1.5, exact: true });
        x
    }

    /// Positions below `n`, as a constant.
    pub fn index(&mut self, shape: &[usize], n: usize) -> Tensor<'t> {
        let seed = self.choices.below(256) as u64;
        let drawn = Array::uniform(DType::F64, shape, 0.0, n as f64, seed).to_vec::<f64>();
        let data: Vec<i64> = drawn.iter().map(|v| (*v as i64).min(n as i64 - 1)).collect();
        self.tape.constant(&Array::new(shape, data))
    }

    /// A value of the pool, often a late one.
    pub fn any(&mut self) -> Known<'t> {
        let n = self.pool.len();
        let late = self.choices.chance(60);
        let back = self.choices.below(if late { n.min(3) } else { n });
        self.pool[n - 1 - back]
    }

    /// As [`any`](Self::any), one that has at least one axis.
    pub fn any_with_axes(&mut self) -> Known<'t> {
        let drawn = self.any();
        if drawn.x.rank() > 0 { drawn } else { self.pool[0] }
    }

    /// A value that broadcasts with `a`, at worst `a` itself.
    pub fn beside(&mut self, a: Known<'t>) -> Known<'t> {
        for _ in 0..3 {
            let b = self.any();
            let fits = a.x.shape().broadcast(&b.x.shape()).is_some_and(|s| s.size() <= self.kind.most && s.rank() <= 5);
            if fits {
                return b;
            }
        }
        a
    }

    /// An axis of `x`, which has at least one.
    pub fn axis(&mut self, x: Tensor<'t>) -> isize {
        if self.choices.chance(50) { x.rank() as isize - 1 } else { self.choices.below(x.rank()) as isize }
    }

    /// Some axes of `x`, ascending; none if it has none.
    pub fn axes(&mut self, x: Tensor<'t>) -> Vec<isize> {
        let mut axes: Vec<isize> = (0..x.rank() as isize).filter(|_| self.choices.chance(50)).collect();
        if axes.is_empty() && x.rank() > 0 {
            axes.push(self.axis(x));
        }
        axes
    }

    /// Enters a value, made small if it may be large. Values that are too long are left out.
    pub fn push(&mut self, x: Tensor<'t>, bound: f64, exact: bool) {
        if x.size() > self.kind.most || x.rank() > 5 || !x.dtype().is_float() {
            return;
        }
        let (x, bound, exact) = match bound {
            b if b <= LARGEST => (x, b, exact),
            b if b.is_finite() => (x * (4.0 / b), 4.0, exact),
            _ => (x.tanh(), 1.0, false),
        };
        self.pool.push(Known { x, bound, exact });
    }

    /// Enters what was computed from `a` without a bound of its own.
    pub fn push_smooth(&mut self, x: Tensor<'t>, bound: f64) {
        self.push(x, bound, false);
    }
}

/// Elements of the base shape.
pub fn size(bytes: &[u8]) -> usize {
    base(&mut Choices::new(bytes)).0.iter().product()
}

/// The base shape, and the most elements of a value: rows short and long, one axis to four, the long one not always last.
fn base(choices: &mut Choices<'_>) -> (Vec<usize>, usize) {
    let axes = choices.within(1, 4);
    let mut shape: Vec<usize> = (0..axes).map(|_| choices.within(1, 5)).collect();
    let last = axes - 1;
    match choices.below(10) {
        0..4 => shape[last] = choices.within(1, 20),
        4..7 => {
            shape.truncate(2);
            let place = if choices.chance(75) { shape.len() - 1 } else { 0 };
            shape[place] = choices.within(600, 3000);
        }
        7 => {
            // More than a block, and shared out to several threads.
            shape.truncate(2);
            shape.resize(2, 1);
            shape = vec![choices.within(30, 90), choices.within(300, 900)];
        }
        8 => shape[0] = choices.within(20, 200),
        _ => shape[choices.below(axes)] = choices.below(2), // an empty axis, or one of length 1
    }
    let size: usize = shape.iter().product();
    (shape, (3 * size).max(600))
}
