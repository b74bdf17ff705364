//! Convolution of images and its two transposes: each is bilinear, and their rules are made of one another.
//!
//! All three come from one sum of products, `Σ image · weight · output` over all elements that a window brings together: the
//! convolution sums over image and weight, its gradients over two others. Attributes: the window, the groups, the image's height and
//! width. `image [n, c, h, w]`, `weight [o, c / groups, kh, kw]`, `output [n, o, oh, ow]`.

use super::{Batch, BatchCx, Cx, Dense, Meta, Mismatch, OpDef, Rule, Sample, Spec, Tangents, Typed, sliding::ConvOptions, sliding::Pair};
use crate::{Array, Attrs, Convolution, DType, KernelClass, Tensor, Window};
use smallvec::{SmallVec, smallvec};

/// The convolution: operands `image, weight`.
pub static OUTPUT: OpDef = OpDef {
    name: "conv2d",
    shape: |attrs, x| shape(Convolution::Output, attrs, x),
    kernel: KernelClass::Convolve(Convolution::Output),
    value: |s, x| value(s, [Some(&x[0]), Some(&x[1]), None]),
    jvp: Rule::By(jvp),
    vjp: Rule::By(|cx, g| pull(cx, g, (&IMAGE, |g, _, w| [g, w]), (&WEIGHT, |g, x, _| [x, g]))),
    batch: Batch::By(|b| if b.batched[1] { in_groups(b) } else { one_more_image(b) }),
    samples: || samples(|image, weight, _| [image, weight]),
};

/// The transposed convolution: operands `output, weight`.
pub static IMAGE: OpDef = OpDef {
    name: "conv2d_image",
    shape: |attrs, x| shape(Convolution::Image, attrs, x),
    kernel: KernelClass::Convolve(Convolution::Image),
    value: |s, x| value(s, [None, Some(&x[1]), Some(&x[0])]),
    jvp: Rule::By(jvp),
    vjp: Rule::By(|cx, u| pull(cx, u, (&OUTPUT, |u, _, w| [u, w]), (&WEIGHT, |u, y, _| [u, y]))),
    batch: Batch::By(|b| if b.batched[1] { in_groups(b) } else { one_more_image(b) }),
    samples: || samples(|_, weight, output| [output, weight]),
};

/// The gradient by the weight: operands `image, output`.
pub static WEIGHT: OpDef = OpDef {
    name: "conv2d_weight",
    shape: |attrs, x| shape(Convolution::Weight, attrs, x),
    kernel: KernelClass::Convolve(Convolution::Weight),
    value: |s, x| value(s, [Some(&x[0]), None, Some(&x[1])]),
    jvp: Rule::By(jvp),
    vjp: Rule::By(|cx, v| pull(cx, v, (&IMAGE, |v, _, y| [y, v]), (&OUTPUT, |v, x, _| [x, v]))),
    batch: Batch::By(in_groups),
    samples: || samples(|image, _, output| [image, output]),
};

/// The ops of this file.
pub static ALL: &[&OpDef] = &[&OUTPUT, &IMAGE, &WEIGHT];

fn shape(kind: Convolution, attrs: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
    let numbers: Option<SmallVec<[usize; 4]>> = attrs.iter().skip(Window::ATTRS).map(|&n| usize::try_from(n).ok()).collect();
    let (Some(window), Some(&[groups, h, w])) = (Window::of(attrs), numbers.as_deref().and_then(|n| n.first_chunk())) else {
        return Err(Mismatch::new(format!("a window with steps of at least 1, groups, height and width, not {attrs:?}")));
    };
    let (Ok(a), Ok(b)) = (<[usize; 4]>::try_from(&x[0].shape[..]), <[usize; 4]>::try_from(&x[1].shape[..])) else {
        return Err(Mismatch::new("two operands of four axes: images [n, c, h, w] and weights [o, c / groups, kh, kw]"));
    };
    if x[0].dtype != x[1].dtype || x[0].dtype == DType::Bool {
        return Err(Mismatch::new("numbers of one dtype").hint("x.cast(DType::F32)"));
    }
    let Some([oh, ow]) = window.count([h, w]) else {
        let [across, down] = [window.span(0), window.span(1)];
        let padding = window.padding;
        return Err(Mismatch::new(format!("an image that holds the window, which spans {across}×{down} with padding {padding:?}"))
            .hint("more padding, or a smaller window"));
    };
    let divides = |n: usize| groups > 0 && n.is_multiple_of(groups);
    let [kh, kw] = window.size;
    let (fits, dims) = match kind {
        Convolution::Output => {
            let ([n, c, ..], [o, each, ..]) = (a, b);
            if divides(c) && each != c / groups {
                return Err(channels(a, b, groups));
            }
            (a[2..] == [h, w] && b[2..] == [kh, kw] && divides(c) && divides(o), [n, o, oh, ow])
        }
        Convolution::Image => {
            let ([n, o, ..], [from, each, ..]) = (a, b);
            (a[2..] == [oh, ow] && b[2..] == [kh, kw] && o == from && divides(o), [n, each * groups, h, w])
        }
        Convolution::Weight => {
            let ([n, c, ..], [m, o, ..]) = (a, b);
            (a[2..] == [h, w] && b[2..] == [oh, ow] && n == m && divides(c) && divides(o), [o, c / groups.max(1), kh, kw])
        }
    };
    if !fits {
        let what = "images [n, c, h, w], weights [o, c / groups, kh, kw] and outputs [n, o, oh, ow] that belong together";
        return Err(Mismatch::new(format!("{what}, in {groups} groups that divide c and o")));
    }
    Typed::new(x[0].dtype, &dims)
}

/// Weights for another number of channels.
fn channels(image: [usize; 4], weight: [usize; 4], groups: usize) -> Mismatch {
    let each = weight[1];
    let refusal = Mismatch::new(format!("an image of {} channels for weights of {each} in {groups} groups", each * groups));
    match image {
        [.., last] if last == each * groups => refusal.hint("channels come before height and width: x.permute(&[0, 3, 1, 2])"),
        [_, c, ..] if each > 0 && c.is_multiple_of(each) => refusal.hint(format!("ConvOptions::new().groups({})", c / each)),
        _ => refusal,
    }
}

/// The sum of products over all tensors that are given, into the one that is not: image, weight, output.
fn value(s: &Spec<'_>, given: [Option<&Dense>; 3]) -> Dense {
    let window = Window::of(s.attrs).expect("accepted");
    let (groups, image) = (s.attrs[Window::ATTRS] as usize, [s.attrs[Window::ATTRS + 1] as usize, s.attrs[Window::ATTRS + 2] as usize]);
    let mut sum = Dense::from_fn(s.shape, |_| 0.0);
    let dims = given.map(|x| x.map_or(&s.shape[..], |x| &x.dims[..]).to_vec());
    let (weights, outputs) = (Dense { dims: dims[1].clone(), data: vec![] }, Dense { dims: dims[2].clone(), data: vec![] });
    Dense::from_fn(&outputs.dims, |at_output| {
        let &[n, o, i, j] = at_output else { unreachable!("four axes") };
        Dense::from_fn(&weights.dims[1..], |tap| {
            let &[c, k, l] = tap else { unreachable!("three axes") };
            let (Some(y), Some(x)) = (window.position(0, i, k, image[0]), window.position(1, j, l, image[1])) else { return 0.0 };
            let channel = o / (weights.dims[0] / groups) * weights.dims[1] + c;
            let at = [vec![n, channel, y, x], vec![o, c, k, l], at_output.to_vec()];
            let product: f64 = given.iter().zip(&at).filter_map(|(x, at)| x.map(|x| x.at(at))).product();
            let missing = given.iter().position(Option::is_none).expect("one tensor is computed");
            *sum.at_mut(&at[missing]) += product;
            0.0
        });
        0.0
    });
    sum
}

/// Linear in each operand.
fn jvp<'t>(cx: &Cx<'t>, t: &[Option<Tensor<'t>>]) -> Tangents<'t> {
    let (a, b) = (t[0].map(|t| cx.again(&[t, cx.x(1)])), t[1].map(|t| cx.again(&[cx.x(0), t])));
    smallvec![match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }]
}

/// The op that gives an operand's cotangent, and its operands, chosen from the cotangent and the two operands.
type Pulled<'t> = (&'static OpDef, fn(Tensor<'t>, Tensor<'t>, Tensor<'t>) -> [Tensor<'t>; 2]);

/// The cotangent of each operand is one of the other ops.
fn pull<'t>(cx: &Cx<'t>, g: &[Option<Tensor<'t>>], first: Pulled<'t>, second: Pulled<'t>) -> Tangents<'t> {
    let Some(g) = g[0] else { return smallvec![None, None] };
    let by = |(op, choose): Pulled<'t>| g.tape.op(op, &choose(g, cx.x(0), cx.x(1)), &cx.attrs());
    smallvec![cx.when_needed(0, || by(first)), cx.when_needed(1, || by(second))]
}

/// One weight for all: the axis joins that of the images.
fn one_more_image<'t>(b: &BatchCx<'t>) -> Tensor<'t> {
    let x = b.with_axis(0);
    let mut dims = x.shape().to_vec();
    let count = dims.remove(0);
    dims[0] *= count;
    let y = x.tape().op(b.op, &[x.reshape(dims), b.x[1]], &b.attrs);
    y.reshape(batched(b))
}

/// Weights of their own: the axis becomes one of groups, in front of the channels.
fn in_groups<'t>(b: &BatchCx<'t>) -> Tensor<'t> {
    let tape = b.x[0].tape();
    if b.size == 0 {
        return tape.zeros(b.dtype, batched(b));
    }
    let kind = |op: &OpDef| match op.kernel {
        KernelClass::Convolve(kind) => kind,
        _ => unreachable!("a rule of convolutions"),
    };
    let weight_is = |i: usize| kind(b.op) != Convolution::Weight && i == 1;
    let operand = |i: usize| {
        let x = b.with_axis(i);
        let x = if weight_is(i) { x } else { x.permute(&[1, 0, 2, 3, 4]) };
        let d = x.shape();
        x.reshape(if weight_is(i) { [d[0] * d[1], d[2], d[3], d[4]] } else { [d[0], d[1] * d[2], d[3], d[4]] })
    };
    let mut attrs = b.attrs.clone();
    attrs[Window::ATTRS] *= b.size as i64;
    let y = tape.op(b.op, &[operand(0), operand(1)], &attrs);
    let [first, second, h, w] = *b.shape else { unreachable!("four axes") };
    match kind(b.op) {
        Convolution::Weight => y.reshape(batched(b)),
        _ => y.reshape([first, b.size, second, h, w]).permute(&[1, 0, 2, 3, 4]),
    }
}

fn batched(b: &BatchCx<'_>) -> Vec<usize> {
    [&[b.size], &b.shape[..]].concat()
}

/// The sample inputs of an op, chosen from an image, a weight and an output that belong together.
fn samples(choose: fn(Array, Array, Array) -> [Array; 2]) -> Vec<Sample> {
    let plain = ConvOptions::new();
    let cases = [
        ([2, 2, 4, 3], [3, 2, 2, 2], plain),
        ([1, 2, 5, 4], [2, 2, 3, 3], plain.stride(2).padding(1)),
        ([1, 1, 5, 4], [2, 1, 2, 3], plain.dilation([2, 1]).padding([0, 1])),
        ([2, 4, 3, 3], [4, 2, 2, 2], plain.groups(2).stride([1, 2]).padding([0, 1])),
        ([1, 2, 3, 3], [4, 1, 2, 2], plain.groups(2).dilation(2)),
        ([1, 1, 2, 2], [2, 1, 4, 4], plain.padding(2)),
        ([1, 1, 2, 1], [1, 1, 1, 1], plain.padding(1)),
        ([1, 1, 5, 5], [1, 1, 2, 2], plain.stride(3)),
        ([0, 2, 3, 3], [2, 2, 2, 2], plain),
        ([1, 0, 3, 3], [2, 0, 2, 2], plain),
    ];
    let case = |(i, (image, weight, options)): (usize, ([usize; 4], [usize; 4], ConvOptions))| {
        let window = options.window([weight[2], weight[3]]);
        let [oh, ow] = window.count([image[2], image[3]]).expect("a window that fits");
        let u = |dims: [usize; 4], seed: u64| Array::uniform(DType::F64, dims, -1.0, 1.0, 40 + 3 * i as u64 + seed);
        Sample::new(choose(u(image, 0), u(weight, 1), u([image[0], weight[0], oh, ow], 2))).attrs(attrs(&window, options.groups, image[2..].try_into().expect("two")))
    };
    cases.into_iter().enumerate().map(case).collect()
}

fn attrs(window: &Window, groups: usize, image: [usize; 2]) -> Vec<i64> {
    let more = [groups, image[0], image[1]].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    [&window.attrs()[..], &more].concat()
}

impl<'t> Tensor<'t> {
    /// Convolution of images with weights, as PyTorch's (the window is not flipped): `[n, c, h, w], [o, c / groups, kh, kw] ->
    /// [n, o, oh, ow]` with `oh = (h + 2 padding - dilation (kh - 1) - 1) / stride + 1`, rounded down. One image without the axis `n`
    /// gives one without it.
    ///
    /// `y[n, o, i, j] = Σ x[n, c, i stride + k dilation - padding, ..] w[o, c, k, ..]` over the window and the channels of the group
    /// of `o`; outside of the image there are zeros.
    ///
    /// # Panics
    /// When channels, groups or dtypes do not fit, and when the window is larger than the padded image.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, ConvOptions, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[[[1.0, 2.0, 4.0], [0.0, 1.0, 1.0]]]]));
    /// let w = tape.leaf(&Array::from([[[[-1.0, 1.0]]]]));
    /// assert_eq!(x.conv2d(w, ConvOptions::new()).value(), Array::from([[[[1.0, 2.0], [1.0, 0.0]]]]));
    /// let [gw] = x.conv2d(w, ConvOptions::new().stride(2)).sum().grad([w]);
    /// assert_eq!(gw.value(), Array::from([[[[1.0, 2.0]]]]));
    /// ```
    #[track_caller]
    pub fn conv2d(self, weight: Tensor<'t>, options: ConvOptions) -> Tensor<'t> {
        if self.rank() == 3 {
            return self.unsqueeze(0).conv2d(weight, options).squeeze(0);
        }
        let (image, size) = (last_two(self), last_two(weight));
        self.tape.op(&OUTPUT, &[self.recorded(), weight.recorded()], &attrs(&options.window(size), options.groups, image))
    }

    /// Convolution of sequences: `[n, c, l], [o, c / groups, k] -> [n, o, ol]`, as [`conv2d`](Self::conv2d) for images of height 1.
    /// Of each pair of options the second number, that for the width, counts.
    ///
    /// # Panics
    /// As there.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, ConvOptions, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[[1.0, 2.0, 4.0]]]));
    /// let w = tape.leaf(&Array::from([[[-1.0, 1.0]]]));
    /// assert_eq!(x.conv1d(w, ConvOptions::new().padding(1)).value(), Array::from([[[1.0, 1.0, 2.0, -4.0]]]));
    /// ```
    #[track_caller]
    pub fn conv1d(self, weight: Tensor<'t>, options: ConvOptions) -> Tensor<'t> {
        let ConvOptions { stride: [_, stride], padding: [_, padding], dilation: [_, dilation], groups } = options;
        let options = ConvOptions { stride: [1, stride], padding: [0, padding], dilation: [1, dilation], groups };
        self.unsqueeze(-2).conv2d(weight.unsqueeze(-2), options).squeeze(-2)
    }

    /// Transposed convolution, as PyTorch's: what [`conv2d`](Self::conv2d) with these weights and options does to cotangents.
    /// `[n, o, h, w], [o, c / groups, kh, kw] -> [n, c, ih, iw]` with `ih = (h - 1) stride - 2 padding + dilation (kh - 1) + 1 +
    /// output_padding`: as a stride skips over some rows and columns, images of several heights give the same output, and the last
    /// argument, below the stride, tells which is meant.
    ///
    /// # Panics
    /// When channels, groups or dtypes do not fit, and when the output padding is not below the stride.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, ConvOptions, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[[[1.0, 2.0]]]]));
    /// let w = tape.leaf(&Array::from([[[[10.0, 1.0]]]]));
    /// let y = x.conv_transpose2d(w, ConvOptions::new().stride([1, 2]), 0);
    /// assert_eq!(y.value(), Array::from([[[[10.0, 1.0, 20.0, 2.0]]]]));
    /// ```
    #[track_caller]
    pub fn conv_transpose2d(self, weight: Tensor<'t>, options: ConvOptions, output_padding: impl Pair) -> Tensor<'t> {
        let (output, window, more) = (last_two(self), options.window(last_two(weight)), output_padding.pair());
        let length = |axis: usize| {
            let reach = output[axis].checked_sub(1)?.checked_mul(window.stride[axis])?.checked_add(window.size[axis].checked_sub(1)?.checked_mul(window.dilation[axis])?)?;
            (reach + 1 + more[axis]).checked_sub(window.padding[axis].checked_mul(2)?).filter(|_| more[axis] < window.stride[axis])
        };
        let (Some(h), Some(w)) = (length(0), length(1)) else {
            panic!("conv_transpose2d: expected images that have elements, and an output padding below the stride, got {self:?}, {options:?} and {more:?}");
        };
        self.tape.op(&IMAGE, &[self.recorded(), weight.recorded()], &attrs(&window, options.groups, [h, w]))
    }
}

/// The lengths of the two last axes; 0 where there are none, which the op refuses.
fn last_two(x: Tensor<'_>) -> [usize; 2] {
    let shape = x.shape();
    shape.last_chunk().copied().unwrap_or([0; 2])
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};
    use crate::Tape;

    #[test]
    fn rules_agree_with_the_reference() {
        ALL.iter().for_each(|op| check::op(op));
    }

    #[test]
    fn what_does_not_fit_panics_at_the_caller() {
        let tape = Tape::new();
        let (x, w) = (tape.zeros(DType::F32, [2, 5, 5, 3]), tape.zeros(DType::F32, [4, 3, 3, 3]));
        let plain = ConvOptions::new();
        let (text, line) = check::panic_of(|| x.conv2d(w, plain));
        assert_eq!(line, line!() - 1);
        assert!(text.starts_with("conv2d: expected an image of 3 channels for weights of 3 in 1 groups, got f32[2, 5, 5, 3] and"), "{text}");
        assert!(text.contains("hint: channels come before height and width"), "{text}");
        let of = |x: Tensor<'_>, w: Tensor<'_>, options| check::panic_of(|| x.conv2d(w, options)).0;
        let images = tape.zeros(DType::F32, [2, 6, 5, 5]);
        assert!(of(images, w, plain).contains("hint: ConvOptions::new().groups(2)"));
        assert!(of(images, w.cast(DType::F64), plain.groups(2)).contains("numbers of one dtype"));
        assert!(of(images, w, plain.groups(2).dilation(3)).contains("which spans 7×7 with padding [0, 0]"));
        assert!(of(images, w, plain.groups(2).stride(0)).contains("steps of at least 1"));
        assert!(of(images, w, plain.groups(0)).contains("that belong together"));
        assert!(of(images, w.at(0), plain).contains("two operands of four axes"));
        assert!(of(images, w, plain.groups(2).padding(usize::MAX)).contains("steps of at least 1"));
        assert!(check::panic_of(|| images.conv_transpose2d(w, plain, 1)).0.starts_with("conv_transpose2d: expected"));
    }

    #[test]
    fn one_image_needs_no_axis_of_its_own() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::uniform(DType::F64, [2, 4, 4], -1.0, 1.0, 1));
        let w = tape.leaf(&Array::uniform(DType::F64, [3, 2, 3, 3], -1.0, 1.0, 2));
        let (one, many) = (x.conv2d(w, ConvOptions::new()), x.unsqueeze(0).conv2d(w, ConvOptions::new()));
        assert_eq!((one.shape(), one.value()), (crate::Shape::new(&[3, 2, 2]).unwrap(), many.squeeze(0).value()));
    }

    #[test]
    fn the_transposed_convolution_gives_back_the_shape() {
        let tape = Tape::new();
        let w = tape.leaf(&Array::uniform(DType::F64, [4, 1, 3, 2], -1.0, 1.0, 2));
        let options = ConvOptions::new().stride([2, 3]).padding([1, 0]).dilation([1, 2]).groups(2);
        for height in [6, 7] {
            let x = tape.zeros(DType::F64, [1, 2, height, 9]);
            let y = x.conv2d(w, options);
            assert_eq!(y.conv_transpose2d(w, options, [(height + 1) % 2, 0]).shape(), x.shape());
        }
    }
}
