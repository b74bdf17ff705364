//! How are matrix products cut into parts for the cores?
//!
//! Which part an element is in does not show in its bits: see [`gemm`](super::gemm) for what computes a part, and in which order it sums.
//! Each part of the output is written by one task, term after term, while it is in that core's cache. Outputs too small to be cut, of long
//! sums, are put together from a number of partial sums that depends on shapes only.

use super::{
    gemm::{APART, Engine, Matrix, Product, TURNED, dots, is_slow, multiply},
    isa::Isa,
    scratch::with_partials,
    strided::{Shared, memory},
    transpose::gather,
};
use crate::{
    DType,
    execute::{frame::Frame, threads},
    memory::Buffer,
    plan::{
        contract::{ENOUGH, worthy_parts},
        kernel::{Contract, Place, Term},
    },
};
use smallvec::SmallVec;
use std::ops::Range;

/// Multiplications that a task should have at least: some 2 µs.
const TASK: usize = 1 << 17;
/// Fewest columns of a part, where there are more: each part packs its columns of `b` for itself.
const WIDTH: usize = 64;
/// Multiplications of a part from which on the library gains by its size: a larger product is cut into few of them.
const LARGE: usize = 1 << 25;
/// So many columns of `f32` take the library some 7 % longer than half or twice as many.
const SLOW: usize = 128;
/// Fewest rows of a part: packing its columns of `b` should be little beside them.
const HEIGHT: usize = 64;
/// Fewest terms of a partial sum.
const TERMS: usize = 1 << 11;

/// Matrix products over the batch axes, for every layout of the operands.
pub fn run(kernel: &Contract, frame: &Frame) {
    by_dtype(kernel, frame, [products::<f32>, products::<f64>, products::<i64>]);
}

/// The same on this thread, without further cuts.
pub fn run_whole(kernel: &Contract, frame: &Frame) {
    fn whole<T: Engine>(kernel: &Contract, frame: &Frame, isa: Isa) {
        let all = Products::<T>::new(kernel, frame, isa);
        (0..all.batch.count).for_each(|number| all.part(number, 0..all.batch.m, 0..all.batch.n));
    }
    by_dtype(kernel, frame, [whole::<f32>, whole::<f64>, whole::<i64>]);
}

fn by_dtype(kernel: &Contract, frame: &Frame, [f32, f64, i64]: [fn(&Contract, &Frame, Isa); 3]) {
    let run = match kernel.dtype() {
        DType::F32 => f32,
        DType::F64 => f64,
        DType::I64 => i64,
        DType::Bool => panic!("a matrix product needs numbers, found bool"),
    };
    run(kernel, frame, Isa::current());
}

fn products<T: Engine>(kernel: &Contract, frame: &Frame, isa: Isa) {
    let all = Products::<T>::new(kernel, frame, isa);
    if all.batch.m * all.batch.n * all.batch.count == 0 {
        return;
    }
    let Batch { m, n, count, terms, .. } = all.batch;
    let work = m * n * terms.max(1);
    if count < ENOUGH && work >= 2 * TASK {
        if count == 1 && partial_sums(m, n, terms) > 1 {
            return all.by_partial_sums();
        }
        let cut = Cut::of(m, n, wanted_parts(work), kernel.has_small_right());
        if cut.parts() > 1 {
            return all.cut(cut);
        }
    }
    let group = if count == 1 { 1 } else { (TASK / work).clamp(1, count) };
    threads::run(count.div_ceil(group), &|task| {
        for number in task * group..((task + 1) * group).min(count) {
            all.part(number, 0..m, 0..n);
        }
    });
}

/// The products of a kernel, as matrices with as few batch axes as their strides allow.
struct Batch {
    /// Length of each axis, and the axis of the operands that tells its strides.
    axes: SmallVec<[(usize, usize); 8]>,
    /// Number of products.
    count: usize,
    m: usize,
    n: usize,
    /// Of all terms together.
    terms: usize,
    /// The axis of the operands that tells the stride from row to row.
    rows: usize,
}

impl Batch {
    fn of(kernel: &Contract) -> Batch {
        let (a, b) = (&kernel.terms[0].a, &kernel.terms[0].b);
        let rank = a.dims.len() - 2;
        let mut batch = Batch { axes: SmallVec::new(), count: 1, m: a.dims[rank], n: b.dims[rank + 1], terms: kernel.depth(), rows: rank };
        let strides = |inner: usize, outer: usize, len: usize| {
            let run_on = |p: &Place| p.strides[outer] == p.strides[inner] * len as isize;
            kernel.terms.iter().all(|t| run_on(&t.a) && run_on(&t.b)) && kernel.add.iter().chain([&kernel.out]).all(run_on)
        };
        for axis in (0..rank).filter(|&axis| a.dims[axis] != 1).rev() {
            match batch.axes.last_mut() {
                Some((len, inner)) if strides(*inner, axis, *len) => *len *= a.dims[axis],
                _ => batch.axes.push((a.dims[axis], axis)),
            }
        }
        // Products that share `b` and whose rows run on into each other are one product.
        while let Some(&(len, axis)) = batch.axes.first() {
            let run_on = |p: &Place| batch.m == 1 || p.strides[axis] == p.strides[batch.rows] * batch.m as isize;
            let shared = kernel.terms.iter().all(|t| t.b.strides[axis] == 0 && run_on(&t.a));
            if !shared || !kernel.add.iter().chain([&kernel.out]).all(run_on) {
                break;
            }
            batch.rows = if batch.m == 1 { axis } else { batch.rows };
            batch.m *= len;
            batch.axes.remove(0);
        }
        batch.count = batch.axes.iter().map(|a| a.0).product();
        batch
    }

    /// Where product `number` of an operand begins.
    fn offset(&self, place: &Place, mut number: usize) -> isize {
        let mut at = place.offset;
        let outermost = self.axes.len().wrapping_sub(1);
        for (i, &(len, axis)) in self.axes.iter().enumerate() {
            let index = if i == outermost { number } else { number % len };
            at += index as isize * place.strides[axis];
            if i != outermost {
                number /= len;
            }
        }
        at
    }
}

/// Rows and columns of the parts of a product.
#[derive(Clone, Copy, Debug)]
struct Cut {
    tall: usize,
    wide: usize,
    down: usize,
    across: usize,
}

impl Cut {
    /// The longer side is cut: then each core keeps the smaller operand in its cache and reads its share of the larger one once. Rows are
    /// cut first, where `b` is small and lies row by row: then what a core makes of rows is in its own cache for the next kernel.
    fn of(m: usize, n: usize, wanted: usize, rows_first: bool) -> Cut {
        let narrow = n < WIDTH / 2;
        let lowest = match (narrow, rows_first) {
            (true, _) => 8,
            (_, true) => 16,
            _ => HEIGHT,
        };
        let (highest, widest) = (m / lowest, n / WIDTH);
        let cut = |parts: usize, most: usize| parts.min(most).max(1);
        let (mut across, mut down) = (cut(wanted, widest), cut(wanted, highest));
        if m > n || rows_first {
            across = cut(wanted.div_ceil(down), widest);
        } else {
            down = cut(wanted.div_ceil(across), highest);
        }
        if down * across == 1 && wanted > 1 && !narrow {
            across = 2;
        }
        let (tall, wide) = (m.div_ceil(down).next_multiple_of(4), n.div_ceil(across).next_multiple_of(8));
        let wide = if wide == SLOW && across > 1 { SLOW / 2 } else { wide };
        Cut { tall, wide, down: m.div_ceil(tall), across: n.div_ceil(wide) }
    }

    fn parts(self) -> usize {
        self.down * self.across
    }

    /// Rows and columns of a part.
    fn part(self, number: usize, m: usize, n: usize) -> [Range<usize>; 2] {
        let (row, col) = (number / self.across * self.tall, number % self.across * self.wide);
        [row..m.min(row + self.tall), col..n.min(col + self.wide)]
    }
}

/// Into how many parts a product of so many multiplications is cut, if its shape allows it: one that is large into two for each thread,
/// so that a thread that is disturbed leaves a part to others.
fn wanted_parts(work: usize) -> usize {
    let few = 2 * threads::threads();
    match work {
        _ if work < 2 * TASK => 1,
        _ if few < ENOUGH && work / few >= LARGE => few,
        _ => worthy_parts(work),
    }
}

/// How many partial sums a product is put together from.
fn partial_sums(m: usize, n: usize, terms: usize) -> usize {
    let cut = Cut::of(m, n, 2, false).parts();
    if cut > 1 { 1 } else { (m * n * terms / (2 * TASK)).min(terms / TERMS).clamp(1, ENOUGH) }
}

/// What all parts of a kernel's products need.
struct Products<'a, T> {
    kernel: &'a Contract,
    frame: &'a Frame<'a>,
    batch: Batch,
    isa: Isa,
    out: Shared<T>,
    /// Whether the result is what it is added to.
    begun: bool,
    /// The left operands of all terms side by side, row after row, where they were gathered.
    turned: Option<Matrix<T>>,
}

impl<'a, T: Engine> Products<'a, T> {
    fn new(kernel: &'a Contract, frame: &'a Frame<'a>, isa: Isa) -> Self {
        let first = |place: &Place| memory::<T>(frame, place).at(place.offset);
        // A buffer without bytes may lie anywhere, also where another does.
        let begun = !kernel.out.dims.contains(&0) && kernel.add.as_ref().is_some_and(|add| first(add) == first(&kernel.out));
        debug_assert!(!begun || kernel.adds_once());
        Products { kernel, frame, batch: Batch::of(kernel), isa, out: memory::<T>(frame, &kernel.out), begun, turned: None }
    }

    /// A matrix of product `number` of an operand; its rows and columns are these axes of it.
    fn matrix(&self, place: &Place, number: usize, row: usize, col: usize) -> Matrix<T> {
        let data = Shared::new(memory::<T>(self.frame, place).at(self.batch.offset(place, number)));
        Matrix { data, row: place.strides[row], col: place.strides[col] }
    }

    /// The matrix of product `number` in the result.
    fn out(&self, number: usize) -> Matrix<T> {
        let place = &self.kernel.out;
        let data = Shared::new(self.out.at(self.batch.offset(place, number)));
        Matrix { data, row: place.strides[self.batch.rows], col: 1 }
    }

    fn rank(&self) -> usize {
        self.kernel.terms[0].a.dims.len()
    }

    /// A term of product `number`.
    fn term(&self, term: &Term, number: usize) -> Product<T> {
        let (rank, &Batch { m, n, rows, .. }) = (self.rank(), &self.batch);
        let out = self.out(number);
        let a = self.matrix(&term.a, number, rows, rank - 1);
        let b = self.matrix(&term.b, number, rank - 2, rank - 1);
        Product { m, n, k: term.a.dims[rank - 1], a, b, out, alpha: T::of_bits(self.frame.scalar(term.alpha)), added: false }
    }

    /// Parts of each product, spread over the threads.
    fn cut(mut self, cut: Cut) {
        let Batch { m, n, count, .. } = self.batch;
        let left = (count == 1).then(|| self.gather_left(cut)).flatten();
        self.turned = left.as_ref().map(|g| g.1);
        threads::run(count * cut.parts(), &|task| {
            let [rows, cols] = cut.part(task % cut.parts(), m, n);
            self.part(task / cut.parts(), rows, cols);
        });
    }

    /// Gathers the left operands, if they are large and several parts would do it.
    fn gather_left(&self, cut: Cut) -> Option<(Buffer, Matrix<T>)> {
        let (&Batch { m, terms, rows, .. }, last) = (&self.batch, self.rank() - 1);
        let slow = || self.kernel.terms.iter().all(|t| is_slow(&self.matrix(&t.a, 0, rows, last)));
        // Worth it where several parts would each gather the same rows.
        if cut.across == 1 || m * terms < TURNED || !slow() {
            return None;
        }
        let row = terms + APART;
        let buffer = Buffer::new(m * row * size_of::<T>());
        let to = Matrix { data: Shared::new(buffer.ptr().cast::<T>()), row: row as isize, col: 1 };
        let tall = m.div_ceil(ENOUGH).next_multiple_of(16);
        threads::run(m.div_ceil(tall), &|task| {
            let (first, mut col) = (task * tall, 0);
            for term in &self.kernel.terms {
                let k = term.a.dims[last];
                let from = self.matrix(&term.a, 0, rows, last).from(first, 0);
                // SAFETY: `memory` checked the operand; the rows of the buffer are this task's own.
                unsafe { gather(from, [tall.min(m - first), k], to.at(first, col), row) };
                col += k;
            }
        });
        Some((buffer, to))
    }

    /// Some rows and columns of product `number`: all of its terms, on this thread.
    fn part(&self, number: usize, rows: Range<usize>, cols: Range<usize>) {
        self.terms_of(number, &rows, &cols);
        if let Some(add) = self.kernel.add.as_ref().filter(|_| !self.begun) {
            let add = self.matrix(add, number, self.batch.rows, self.rank() - 1).from(rows.start, cols.start);
            add_to(add, [rows.len(), cols.len()], self.out(number).from(rows.start, cols.start));
        }
    }

    /// The sum of all terms.
    fn terms_of(&self, number: usize, rows: &Range<usize>, cols: &Range<usize>) {
        let (mut added, mut column) = (self.begun, 0);
        for term in &self.kernel.terms {
            let mut p = self.term(term, number);
            (p.a, column) = (self.turned.map_or(p.a, |t| t.from(0, column)), column + p.k);
            compute(Product { added, ..p }, rows.clone(), cols.clone(), self.isa);
            added = true;
        }
    }

    /// One product as partial sums of its terms, which are added in their order.
    fn by_partial_sums(self) {
        let Batch { m, n, terms, .. } = self.batch;
        let chunk = terms.div_ceil(partial_sums(m, n, terms)).next_multiple_of(super::gemm::DEPTH);
        let list = self.kernel.terms.iter().map(|t| t.a.dims[self.rank() - 1].div_ceil(chunk));
        let sums: usize = list.clone().sum();
        with_partials(sums * m * n * size_of::<T>(), |partials| {
            let partials = Shared::new(partials.cast::<T>());
            let partial = |s: usize| Matrix { data: Shared::new(partials.at((s * m * n) as isize)), row: n as isize, col: 1 };
            threads::run(sums, &|s| {
                let mut first = 0;
                for (term, chunks) in self.kernel.terms.iter().zip(list.clone()) {
                    if s < first + chunks {
                        let (p, at) = (self.term(term, 0), (s - first) * chunk);
                        let p = Product { k: chunk.min(p.k - at), a: p.a.from(0, at), b: p.b.from(at, 0), out: partial(s), ..p };
                        return compute(p, 0..m, 0..n, self.isa);
                    }
                    first += chunks;
                }
            });
            let out = self.out(0);
            match &self.kernel.add {
                Some(add) => copy(self.matrix(add, 0, self.batch.rows, self.rank() - 1), [m, n], out),
                None => copy(partial(0), [m, n], out),
            }
            (usize::from(self.kernel.add.is_none())..sums).for_each(|s| add_to(partial(s), [m, n], out));
        });
    }
}

/// Some rows and columns of a product, on this thread.
fn compute<T: Engine>(whole: Product<T>, rows: Range<usize>, cols: Range<usize>, isa: Isa) {
    let (a, b, out) = (whole.a.from(rows.start, 0), whole.b.from(0, cols.start), whole.out.from(rows.start, cols.start));
    let mut p = Product { m: rows.len(), n: cols.len(), a, b, out, ..whole };
    if p.k == 0 {
        return nothing(p);
    }
    let mut alone = whole.m == 1;
    if whole.n == 1 && whole.m > 1 && whole.out.row == 1 {
        // A dense column is a dense row: its transpose's product.
        (p.m, p.n, p.a, p.b, alone) = (1, p.m, p.b.transposed(), p.a.transposed(), true);
    }
    // SAFETY: `memory` checked the matrices; parts of `out` are disjoint; the machine's own instruction set.
    unsafe { if alone && p.b.row == 1 && p.a.col == 1 { dots(&p, isa) } else { multiply(&p, isa) } }
}

/// A sum of no terms, times `alpha`: zero, unless that is infinite or no number.
fn nothing<T: Engine>(p: Product<T>) {
    let zero = p.alpha.times(T::default());
    for (i, j) in (0..p.m).flat_map(|i| (0..p.n).map(move |j| (i, j))) {
        // SAFETY: an element of the caller's part of `out`.
        unsafe { *p.out.at(i, j) = if p.added { (*p.out.at(i, j)).plus(zero) } else { zero } };
    }
}

/// Copies a matrix of any strides to one whose columns are neighbours.
fn copy<T: Engine>(from: Matrix<T>, [rows, cols]: [usize; 2], to: Matrix<T>) {
    if from.row == 1 || from.col == 1 {
        // SAFETY: `memory` checked the matrices, which don't overlap.
        return unsafe { gather(from, [rows, cols], to.at(0, 0), to.row as usize) };
    }
    for i in 0..rows {
        // SAFETY: as above.
        let row = unsafe { std::slice::from_raw_parts_mut(to.at(i, 0), cols) };
        for (j, v) in row.iter_mut().enumerate() {
            // SAFETY: as above.
            *v = unsafe { *from.at(i, j) };
        }
    }
}

/// Adds a matrix of any strides to one whose columns are neighbours.
fn add_to<T: Engine>(from: Matrix<T>, [rows, cols]: [usize; 2], to: Matrix<T>) {
    for i in 0..rows {
        // SAFETY: `memory` checked the matrices, which don't overlap.
        let row = unsafe { std::slice::from_raw_parts_mut(to.at(i, 0), cols) };
        if from.col == 1 {
            // SAFETY: as above.
            let add = unsafe { std::slice::from_raw_parts(from.at(i, 0), cols) };
            row.iter_mut().zip(add).for_each(|(v, &a)| *v = v.plus(a));
        } else {
            for (j, v) in row.iter_mut().enumerate() {
                // SAFETY: as above.
                *v = v.plus(unsafe { *from.at(i, j) });
            }
        }
    }
}

#[cfg(test)]
mod tests;
