//! How does a user describe a window that slides over images? Options of convolution and pooling, with PyTorch's names and defaults.

use crate::Window;

/// One number for height and width, or one for each: `2`, `[2, 1]`, `(2, 1)`.
pub trait Pair {
    /// Height and width.
    fn pair(self) -> [usize; 2];
}
impl Pair for usize {
    fn pair(self) -> [usize; 2] {
        [self; 2]
    }
}
impl Pair for [usize; 2] {
    fn pair(self) -> [usize; 2] {
        self
    }
}
impl Pair for (usize, usize) {
    fn pair(self) -> [usize; 2] {
        self.into()
    }
}

/// How the weights of a convolution slide over its image. Unless set: stride 1, no padding, dilation 1, one group.
///
/// ```
/// # use wengert_core as wengert;
/// use wengert::ConvOptions;
/// let options = ConvOptions::new().stride(2).padding([1, 0]);
/// assert_eq!((options.stride, options.padding, options.dilation, options.groups), ([2, 2], [1, 0], [1, 1], 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvOptions {
    /// Steps from window to window.
    pub stride: [usize; 2],
    /// Zeros added before the first and after the last element.
    pub padding: [usize; 2],
    /// Distance between neighbouring elements of a window.
    pub dilation: [usize; 2],
    /// Into how many groups the channels are divided, each convolved for itself.
    pub groups: usize,
}

impl Default for ConvOptions {
    fn default() -> Self {
        ConvOptions { stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1 }
    }
}

impl ConvOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// With other steps.
    pub fn stride(self, stride: impl Pair) -> Self {
        ConvOptions { stride: stride.pair(), ..self }
    }

    /// With a border of zeros.
    pub fn padding(self, padding: impl Pair) -> Self {
        ConvOptions { padding: padding.pair(), ..self }
    }

    /// With elements of the window further apart.
    pub fn dilation(self, dilation: impl Pair) -> Self {
        ConvOptions { dilation: dilation.pair(), ..self }
    }

    /// With channels in groups.
    pub fn groups(self, groups: usize) -> Self {
        ConvOptions { groups, ..self }
    }

    /// As a window of a size.
    pub(super) fn window(&self, size: [usize; 2]) -> Window {
        Window { size, stride: self.stride, padding: self.padding, dilation: self.dilation }
    }
}

/// The window of a pooling, and how it slides over the image. Unless set, windows lie side by side: the stride is the size.
///
/// ```
/// # use wengert_core as wengert;
/// use wengert::PoolOptions;
/// assert_eq!(PoolOptions::new(2).stride, [2, 2]);
/// assert_eq!(PoolOptions::new([3, 2]).stride(1).padding(1), PoolOptions { size: [3, 2], stride: [1, 1], padding: [1, 1] });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolOptions {
    /// Elements of the window.
    pub size: [usize; 2],
    /// Steps from window to window.
    pub stride: [usize; 2],
    /// Elements added before the first and after the last; at most half of the window.
    pub padding: [usize; 2],
}

impl PoolOptions {
    /// Windows of this size, side by side, without padding.
    pub fn new(size: impl Pair) -> Self {
        let size = size.pair();
        PoolOptions { size, stride: size, padding: [0; 2] }
    }

    /// With other steps.
    pub fn stride(self, stride: impl Pair) -> Self {
        PoolOptions { stride: stride.pair(), ..self }
    }

    /// With a border.
    pub fn padding(self, padding: impl Pair) -> Self {
        PoolOptions { padding: padding.pair(), ..self }
    }

    /// As a window.
    pub(super) fn window(&self) -> Window {
        Window { size: self.size, stride: self.stride, padding: self.padding, dilation: [1; 2] }
    }
}
