//! Tensors written into a filled one: concatenation, padding, and the transpose of `slice`.

use super::{Batch, BatchCx, Cx, Dense, Meta, Mismatch, OpDef, Rule, Sample, Spec, Tangents, Typed, slice::Stretch};
use crate::{Array, DType, KernelClass, Scalar, Tensor};
use smallvec::{SmallVec, smallvec};

/// Operand 0, a scalar, everywhere but where the further operands, the pieces, lie.
///
/// Attributes: for each piece in turn, for each axis, `start, step`; then the lengths of the output. Pieces must not overlap.
pub static OP: OpDef = OpDef {
    name: "place",
    shape,
    kernel: KernelClass::Place,
    value,
    jvp: Rule::By(jvp),
    vjp: Rule::By(vjp),
    batch: Batch::By(batch),
    samples: || {
        let u = |shape: &[usize]| Array::uniform(DType::F64, shape, -1.0, 1.0, 32);
        let zero = || Array::scalar(0.0);
        vec![
            Sample::new([Array::scalar(1.5), u(&[2])]).scalar(0).attrs([3, -2, 5]),
            Sample::new([zero(), u(&[2, 3]), u(&[2, 2])]).scalar(0).attrs([0, 1, 0, 1, 0, 1, 3, 1, 2, 5]),
            Sample::new([Array::scalar(-0.5), u(&[2, 1, 2]), u(&[1, 1, 2])]).scalar(0).attrs([0, 2, 0, 1, 2, -2, 1, 1, 1, 1, 0, 1, 3, 2, 3]),
            Sample::new([zero(), u(&[0, 2]), u(&[2, 2])]).scalar(0).attrs([0, 1, 0, 1, 0, 1, 0, 1, 2, 2]),
            Sample::new([zero(), u(&[0])]).scalar(0).attrs([0, 1, 3]),
            Sample::new([zero(), u(&[])]).scalar(0),
        ]
    },
};

/// The places of the pieces and the lengths of the output.
fn parts(attrs: &[i64], pieces: usize) -> (&[i64], &[i64]) {
    attrs.split_at(attrs.len() - attrs.len() / (2 * pieces + 1))
}

/// The place of piece `k`.
fn place_of(places: &[i64], k: usize, rank: usize) -> &[i64] {
    &places[2 * rank * k..2 * rank * (k + 1)]
}

fn shape(attrs: &[i64], x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
    if !x[0].is_scalar {
        return Err(Mismatch::new("a scalar as the first operand, then the pieces"));
    }
    if x.iter().any(|p| p.dtype != x[0].dtype) {
        return Err(Mismatch::new("pieces of one dtype").hint("x.cast(DType::F32)"));
    }
    let pieces = &x[1..];
    let (places, dims) = parts(attrs, pieces.len());
    let dims: SmallVec<[usize; 8]> = dims.iter().map(|&d| d as usize).collect();
    let rank = dims.len();
    let fits = |(k, piece): (usize, &Meta<'_>)| {
        let along = Stretch::list(place_of(places, k, rank), piece.shape);
        piece.shape.rank() == rank && along.iter().zip(&dims).all(|(s, &d)| s.fits(d))
    };
    if attrs.len() != rank * (2 * pieces.len() + 1) || !pieces.iter().enumerate().all(fits) {
        return Err(Mismatch::new(format!("pieces that fit into {dims:?} at {places:?}")));
    }
    Typed::new(x[0].dtype, &dims)
}

fn value(s: &Spec<'_>, x: &[Dense]) -> Dense {
    let (places, _) = parts(s.attrs, x.len() - 1);
    let mut y = Dense::from_fn(s.shape, |_| x[0].data[0]);
    for (k, piece) in x[1..].iter().enumerate() {
        let along = Stretch::list(place_of(places, k, s.shape.rank()), &piece.dims);
        Dense::from_fn(&piece.dims, |i| {
            *y.at_mut(&Stretch::positions(&along, i)) = piece.at(i);
            0.0
        });
    }
    y
}

fn jvp<'t>(cx: &Cx<'t>, t: &[Option<Tensor<'t>>]) -> Tangents<'t> {
    let attrs = cx.attrs();
    let (places, dims) = parts(&attrs, cx.arity() - 1);
    let (mut pieces, mut at) = (Vec::new(), Vec::new());
    for (k, t) in t[1..].iter().enumerate() {
        if let Some(t) = t {
            pieces.push(*t);
            at.extend_from_slice(place_of(places, k, dims.len()));
        }
    }
    smallvec![pieces.first().map(|t| place(t.scalar_like(0), &pieces, &at, dims))]
}

fn vjp<'t>(cx: &Cx<'t>, g: &[Option<Tensor<'t>>]) -> Tangents<'t> {
    let attrs = cx.attrs();
    let (places, dims) = parts(&attrs, cx.arity() - 1);
    let g = g[0].map(|g| g.broadcast_to(cx.y().shape()));
    let part = |k: usize| {
        let along = Stretch::list(place_of(places, k, dims.len()), &cx.x(k + 1).shape());
        g.filter(|_| cx.needs(k + 1)).map(|g| g.strided(&along))
    };
    std::iter::once(None).chain((0..cx.arity() - 1).map(part)).collect()
}

fn batch<'t>(b: &BatchCx<'t>) -> Tensor<'t> {
    let pieces: Vec<Tensor<'t>> = (1..b.x.len()).map(|i| b.with_axis(i)).collect();
    let (places, dims) = parts(&b.attrs, pieces.len());
    let (mut at, mut to) = (Vec::new(), vec![b.size as i64]);
    for k in 0..pieces.len() {
        at.extend_from_slice(&[0, 1]);
        at.extend_from_slice(place_of(places, k, dims.len()));
    }
    to.extend_from_slice(dims);
    place(b.x[0], &pieces, &at, &to)
}

#[track_caller]
fn place<'t>(fill: Tensor<'t>, pieces: &[Tensor<'t>], places: &[i64], dims: &[i64]) -> Tensor<'t> {
    let mut inputs: SmallVec<[Tensor<'t>; 4]> = smallvec![fill];
    for piece in pieces {
        inputs.push(piece.recorded());
    }
    let attrs: SmallVec<[i64; 32]> = places.iter().chain(dims).copied().collect();
    fill.tape.op(&OP, &inputs, &attrs)
}

/// Joins tensors one after the other along an axis, which counts from the end when negative.
///
/// # Panics
/// Without a tensor, and when dtypes differ, or lengths along any other axis.
///
/// ```
/// # use wengert_core as wengert;
/// # use wengert::{Array, Tape, concat};
/// let tape = Tape::new();
/// let (a, b) = (tape.leaf(&Array::from([1.0, 2.0])), tape.leaf(&Array::from([3.0])));
/// assert_eq!(concat(&[a, b], 0).value(), Array::from([1.0, 2.0, 3.0]));
/// ```
#[track_caller]
pub fn concat<'t>(tensors: &[Tensor<'t>], axis: isize) -> Tensor<'t> {
    let Some(&first) = tensors.first() else { panic!("concat: expected at least one tensor, got none") };
    let (axis, dtype) = (first.axis("concat", axis), first.dtype());
    let mut dims = first.shape().to_vec();
    let mut places: SmallVec<[i64; 32]> = SmallVec::new();
    dims[axis] = 0;
    for &x in tensors {
        let shape = x.shape();
        let fits = shape.rank() == dims.len() && (0..dims.len()).all(|a| a == axis || shape[a] == dims[a]);
        if !fits || x.dtype() != dtype {
            panic!("concat: expected tensors of one dtype and of equal lengths but along axis {axis}, got\n  {first:?}\n  {x:?}");
        }
        places.extend((0..dims.len()).flat_map(|a| [if a == axis { dims[axis] as i64 } else { 0 }, 1]));
        dims[axis] += shape[axis];
    }
    if tensors.len() == 1 {
        return first;
    }
    let dims: SmallVec<[i64; 8]> = dims.iter().map(|&d| d as i64).collect();
    place(first.scalar_like(0), tensors, &places, &dims)
}

/// Joins tensors of one shape along a new axis, which is counted in the result when negative.
///
/// # Panics
/// As [`concat()`], and when shapes differ.
///
/// ```
/// # use wengert_core as wengert;
/// # use wengert::{Array, Tape, stack};
/// let tape = Tape::new();
/// let x = tape.leaf(&Array::from([1.0, 2.0]));
/// assert_eq!(stack(&[x, -x], 1).value(), Array::from([[1.0, -1.0], [2.0, -2.0]]));
/// ```
#[track_caller]
pub fn stack<'t>(tensors: &[Tensor<'t>], axis: isize) -> Tensor<'t> {
    let Some(first) = tensors.first() else { panic!("stack: expected at least one tensor, got none") };
    let mut each: SmallVec<[Tensor<'t>; 8]> = SmallVec::new();
    for x in tensors {
        if x.shape() != first.shape() || x.dtype() != first.dtype() {
            panic!("stack: expected tensors of one dtype and shape, got\n  {first:?}\n  {x:?}");
        }
        each.push(x.unsqueeze(axis));
    }
    let rank = first.rank() as isize + 1;
    concat(&each, if axis < 0 { axis + rank } else { axis })
}

impl<'t> Tensor<'t> {
    /// Zeros of lengths `dims` with this tensor written at `start, step` of each axis: the cotangent of a slice.
    #[track_caller]
    pub(crate) fn placed(self, pairs: &[i64], dims: &[usize]) -> Tensor<'t> {
        let dims: SmallVec<[i64; 8]> = dims.iter().map(|&d| d as i64).collect();
        place(self.scalar_like(0), &[self], pairs, &dims)
    }

    /// With so many elements of one value before and after along each axis.
    ///
    /// # Panics
    /// When there is not one pair for each axis, and when the result does not fit in memory.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0]));
    /// assert_eq!(x.pad(&[(1, 2)], 9).value(), Array::from([9.0, 1.0, 2.0, 9.0, 9.0]));
    /// ```
    #[track_caller]
    pub fn pad(self, around: &[(usize, usize)], value: impl Scalar) -> Tensor<'t> {
        let shape = self.shape();
        if around.len() != shape.rank() {
            panic!("pad: expected a pair for each of {} axes, got {around:?} for {self:?}", shape.rank());
        }
        if around.iter().all(|&p| p == (0, 0)) {
            return self;
        }
        // Saturated lengths are no shape, so that the op refuses them.
        let dims: SmallVec<[i64; 8]> =
            shape.iter().zip(around).map(|(&d, &(b, a))| i64::try_from(d.saturating_add(b).saturating_add(a)).unwrap_or(i64::MAX)).collect();
        let places: SmallVec<[i64; 16]> = around.iter().flat_map(|&(before, _)| [i64::try_from(before).unwrap_or(i64::MAX), 1]).collect();
        place(self.scalar_like(value), &[self], &places, &dims)
    }

    /// Moved on by `shift` places along an axis; what leaves at the end comes back at the beginning.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([1.0, 2.0, 3.0]));
    /// assert_eq!(x.roll(1, 0).value(), Array::from([3.0, 1.0, 2.0]));
    /// ```
    #[track_caller]
    pub fn roll(self, shift: isize, axis: isize) -> Tensor<'t> {
        let axis = self.axis("roll", axis);
        let len = self.shape()[axis];
        let shift = if len == 0 { 0 } else { shift.rem_euclid(len as isize) as usize };
        if shift == 0 {
            return self;
        }
        let last = self.strided_along(axis, Stretch::part(len - shift, shift));
        let first = self.strided_along(axis, Stretch::part(0, len - shift));
        concat(&[last, first], axis as isize)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};
    use crate::Tape;

    #[test]
    fn rules_agree_with_the_reference() {
        check::op(&OP);
    }

    #[test]
    fn joins_along_any_axis() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([[1.0, 2.0], [3.0, 4.0]]));
        let row = tape.leaf(&Array::from([[5.0, 6.0]]));
        assert_eq!(concat(&[x, row], -2).value(), Array::from([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]));
        assert_eq!(concat(&[x, row.t()], 1).value(), Array::from([[1.0, 2.0, 5.0], [3.0, 4.0, 6.0]]));
        let empty = tape.zeros(DType::F64, [0, 2]);
        assert_eq!(concat(&[empty, row, empty], 0).value(), row.value());
        let scalars = [tape.scalar(DType::F64, 1), x.at((0, 1)), tape.scalar(DType::F64, 3)];
        assert_eq!(stack(&scalars, -1).value(), Array::from([1.0, 2.0, 3.0]));
        assert_eq!(stack(&[x, x], -1).shape(), [2, 2, 2]);
        assert_eq!(stack(&[x, 2.0 * x], 0).at(1).value(), Array::from([[2.0, 4.0], [6.0, 8.0]]));
    }

    #[test]
    fn pads_and_rolls() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([[1i64, 2], [3, 4]]));
        assert_eq!(x.pad(&[(1, 0), (0, 1)], -1).value(), Array::from([[-1i64, -1, -1], [1, 2, -1], [3, 4, -1]]));
        assert_eq!(tape.leaf(&Array::from([true])).pad(&[(1, 0)], 0).value(), Array::from([false, true]));
        assert_eq!(x.roll(-1, -1).value(), Array::from([[2i64, 1], [4, 3]]));
        assert_eq!(x.roll(5, 0).value(), Array::from([[3i64, 4], [1, 2]]));
        assert_eq!(tape.zeros(DType::F64, [0]).roll(3, 0).shape(), [0]);
    }

    #[test]
    fn what_does_not_fit_panics_at_the_caller() {
        let tape = Tape::new();
        let (x, y) = (tape.leaf(&Array::full([2, 3], 1.0)), tape.leaf(&Array::full([3, 3], 1.0)));
        let (text, line) = check::panic_of(|| concat(&[x, y], 1));
        assert_eq!(line, line!() - 1);
        assert!(text.starts_with("concat: expected tensors of one dtype and of equal lengths but along axis 1, got\n  %0 leaf"), "{text}");
        assert!(check::panic_of(|| concat(&[x, y.cast(DType::F32)], 0)).0.contains("of one dtype"));
        assert!(check::panic_of(|| concat(&[], 0)).0.contains("at least one"));
        assert!(check::panic_of(|| stack(&[x, y], 0)).0.starts_with("stack: expected tensors of one dtype and shape"));
        let (text, line) = check::panic_of(|| x.pad(&[(usize::MAX, 1), (0, 0)], 0));
        assert_eq!(line, line!() - 1);
        assert!(text.starts_with("place: expected"), "{text}");
        assert!(check::panic_of(|| x.pad(&[(1, 1)], 0)).0.starts_with("pad: expected a pair for each of 2 axes"));
    }
}
