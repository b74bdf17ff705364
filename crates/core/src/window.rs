//! Which elements of an image does a sliding window cover? What convolution and pooling share, from attributes to loops.

use crate::Attrs;
use std::fmt;

/// A window that slides over the two last axes of an image: for each axis (height, width) its length, the step between
/// neighbouring windows, the border of padding around the image, and the distance of neighbouring elements of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Elements of the window.
    pub size: [usize; 2],
    /// Steps from window to window.
    pub stride: [usize; 2],
    /// Elements added before the first and after the last.
    pub padding: [usize; 2],
    /// Distance between neighbouring elements of the window; 1 leaves nothing out.
    pub dilation: [usize; 2],
}

impl Window {
    /// How many attributes describe one.
    pub const ATTRS: usize = 8;

    /// From attributes: `size, stride, padding, dilation`, two each. `None` where a number is negative or too large, or a size,
    /// stride or dilation is 0.
    pub fn of(attrs: &Attrs) -> Option<Window> {
        let pair = |i: usize, least: usize| -> Option<[usize; 2]> {
            let number = |at: i64| usize::try_from(at).ok().filter(|&n| (least..1 << 31).contains(&n));
            Some([number(*attrs.get(i)?)?, number(*attrs.get(i + 1)?)?])
        };
        Some(Window { size: pair(0, 1)?, stride: pair(2, 1)?, padding: pair(4, 0)?, dilation: pair(6, 1)? })
    }

    /// As attributes.
    pub fn attrs(&self) -> [i64; Self::ATTRS] {
        let [[a, b], [c, d], [e, f], [g, h]] = [self.size, self.stride, self.padding, self.dilation];
        [a, b, c, d, e, f, g, h].map(|n| i64::try_from(n).unwrap_or(i64::MAX))
    }

    /// Elements from the first to the last of a window along an axis.
    pub fn span(&self, axis: usize) -> usize {
        (self.size[axis] - 1) * self.dilation[axis] + 1
    }

    /// Number of windows along the two axes of an image; `None` if it is smaller than the window.
    pub fn count(&self, image: [usize; 2]) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            let room = (image[axis] + 2 * self.padding[axis]).checked_sub(self.span(axis))?;
            Some(room / self.stride[axis] + 1)
        };
        Some([along(0)?, along(1)?])
    }

    /// Number of elements of a window.
    pub fn area(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Where along an axis of length `len` element `tap` of window `at` lies; `None` in the padding.
    pub fn position(&self, axis: usize, at: usize, tap: usize, len: usize) -> Option<usize> {
        (at * self.stride[axis] + tap * self.dilation[axis]).checked_sub(self.padding[axis]).filter(|&p| p < len)
    }
}

/// `3×3 by [2, 2], padded [1, 1], dilated [1, 1]`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { size: [h, w], stride, padding, dilation } = self;
        write!(f, "{h}×{w} by {stride:?}, padded {padding:?}, dilated {dilation:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_counted_and_placed() {
        let w = Window { size: [3, 2], stride: [2, 1], padding: [1, 0], dilation: [1, 3] };
        assert_eq!((w.span(0), w.span(1), w.count([5, 6])), (3, 4, Some([3, 3])));
        assert_eq!((w.count([0, 4]), w.count([5, 3])), (None, None));
        assert_eq!([0, 1, 2].map(|tap| w.position(0, 0, tap, 5)), [None, Some(0), Some(1)]);
        assert_eq!([0, 1].map(|tap| w.position(1, 2, tap, 6)), [Some(2), Some(5)]);
        assert_eq!(w.position(0, 2, 2, 5), None);
        assert_eq!(Window::of(&w.attrs()), Some(w));
        for bad in [[0, 2, 1, 1, 0, 0, 1, 1], [1, 2, 0, 1, 0, 0, 1, 1], [1, 2, 1, 1, -1, 0, 1, 1], [1, i64::MAX, 1, 1, 0, 0, 1, 1]] {
            assert_eq!(Window::of(&bad), None);
        }
    }
}
