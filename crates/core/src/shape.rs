//! How long is a tensor along each axis, and how do two shapes broadcast?

use std::{
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
};

/// The most axes a tensor can have.
pub const MAX_RANK: usize = 8;

/// Lengths along up to [`MAX_RANK`] axes, outermost first; `[]` is a scalar with one element.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    rank: u8,
    dims: [usize; MAX_RANK], // zero beyond the rank, so that equality is derived
}

impl Shape {
    /// From the lengths; `None` above [`MAX_RANK`] axes or when the number of elements overflows `isize`.
    pub fn new(dims: &[usize]) -> Option<Self> {
        let elements = dims.iter().filter(|&&d| d != 0).try_fold(1usize, |n, &d| n.checked_mul(d))?;
        if dims.len() > MAX_RANK || elements > isize::MAX as usize / 8 {
            return None;
        }
        let mut all = [0; MAX_RANK];
        all[..dims.len()].copy_from_slice(dims);
        Some(Shape { rank: dims.len() as u8, dims: all })
    }

    /// The shape of a scalar.
    pub const fn scalar() -> Self {
        Shape { rank: 0, dims: [0; MAX_RANK] }
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        usize::from(self.rank)
    }

    /// Number of elements; 1 for a scalar.
    pub fn size(&self) -> usize {
        self.iter().product()
    }

    /// Elements between neighbours along each axis of a dense row-major array.
    pub fn strides(&self) -> [isize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut step = 1;
        for axis in (0..self.rank()).rev() {
            strides[axis] = step;
            step *= self.dims[axis] as isize;
        }
        strides
    }

    /// The shape both broadcast to by NumPy's rule: aligned at the last axis, equal or one of them 1.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let (long, short) = if self.rank >= other.rank { (self, other) } else { (other, self) };
        let mut out = *long;
        let lead = long.rank() - short.rank();
        for (axis, &d) in short.iter().enumerate() {
            let o = &mut out.dims[lead + axis];
            match (*o, d) {
                (a, b) if a == b => {}
                (1, b) => *o = b,
                (_, 1) => {}
                _ => return None,
            }
        }
        Shape::new(&out)
    }

    /// `axis` counted from the end when negative, as an index; `None` when there is no such axis.
    pub fn axis(&self, axis: isize) -> Option<usize> {
        let rank = self.rank() as isize;
        let a = if axis < 0 { axis + rank } else { axis };
        (0..rank).contains(&a).then_some(a as usize)
    }
}

impl Hash for Shape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state); // what lies beyond the rank is always zero
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank()]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl PartialEq<[usize]> for Shape {
    fn eq(&self, other: &[usize]) -> bool {
        **self == *other
    }
}
impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, other: &[usize; N]) -> bool {
        **self == *other
    }
}

/// What a function that wants a shape accepts: `[2, 3]`, `&[2, 3]`, `vec![2, 3]`, `3`, `()` or a [`Shape`].
///
/// Arrays of the wrong length are refused with a panic at the caller, since a shape in code is code.
pub trait IntoShape {
    /// The shape. Panics above [`MAX_RANK`] axes or when the number of elements overflows.
    fn into_shape(self) -> Shape;
}

#[track_caller]
fn shape_of(dims: &[usize]) -> Shape {
    match Shape::new(dims) {
        Some(s) => s,
        None => panic!("shape {dims:?}: expected at most {MAX_RANK} axes and a number of elements that fits in memory"),
    }
}
impl IntoShape for Shape {
    fn into_shape(self) -> Shape {
        self
    }
}
impl IntoShape for &Shape {
    fn into_shape(self) -> Shape {
        *self
    }
}
impl IntoShape for &[usize] {
    #[track_caller]
    fn into_shape(self) -> Shape {
        shape_of(self)
    }
}
impl<const N: usize> IntoShape for [usize; N] {
    #[track_caller]
    fn into_shape(self) -> Shape {
        shape_of(&self)
    }
}
impl<const N: usize> IntoShape for &[usize; N] {
    #[track_caller]
    fn into_shape(self) -> Shape {
        shape_of(self)
    }
}
impl IntoShape for Vec<usize> {
    #[track_caller]
    fn into_shape(self) -> Shape {
        shape_of(&self)
    }
}
impl IntoShape for &Vec<usize> {
    #[track_caller]
    fn into_shape(self) -> Shape {
        shape_of(self)
    }
}
impl IntoShape for usize {
    fn into_shape(self) -> Shape {
        shape_of(&[self])
    }
}
impl IntoShape for () {
    fn into_shape(self) -> Shape {
        Shape::scalar()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(d: &[usize]) -> Shape {
        Shape::new(d).unwrap()
    }

    #[test]
    fn broadcasting_follows_numpy() {
        assert_eq!(s(&[3, 1]).broadcast(&s(&[4])), Some(s(&[3, 4])));
        assert_eq!(s(&[]).broadcast(&s(&[2, 0])), Some(s(&[2, 0])));
        assert_eq!(s(&[1]).broadcast(&s(&[0])), Some(s(&[0])));
        assert_eq!(s(&[2]).broadcast(&s(&[3])), None);
        assert_eq!(s(&[5, 1, 7]).broadcast(&s(&[6, 1])), Some(s(&[5, 6, 7])));
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        assert_eq!(Shape::new(&[1; 9]), None);
        assert_eq!(Shape::new(&[usize::MAX, 2]), None);
        assert_eq!(Shape::new(&[usize::MAX, 2, 0]), None, "also when a later axis is empty");
    }

    #[test]
    fn negative_axes_count_from_the_end() {
        assert_eq!(s(&[2, 3]).axis(-1), Some(1));
        assert_eq!(s(&[2, 3]).axis(-3), None);
        assert_eq!(s(&[]).axis(0), None);
    }
}
