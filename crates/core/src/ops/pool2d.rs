//! Pooling of images: the largest element or the mean of each window, and what they do to tangents and cotangents.
//!
//! A maximum passes cotangents to one element of its window, the first that is largest: `max_pool2d_spread` puts them there, and its
//! transpose `max_pool2d_pick` takes values from there. Both are linear in their second operand and flat in the first, so that these
//! two are each other's rules; the means have a transpose likewise. Attributes: the window, the image's height and width.

use super::{Batch, BatchCx, Dense, Meta, Mismatch, OpDef, Rule, Sample, Spec, Typed, def::linear_jvp, sliding::PoolOptions};
use crate::{Array, Attrs, DType, KernelClass, Pool, Tensor, Window};
use smallvec::smallvec;

/// The largest element of each window: operand `image`.
pub static MAX: OpDef = OpDef {
    name: "max_pool2d",
    shape: |attrs, x| shape(Pool::Max, attrs, x),
    kernel: KernelClass::Pool(Pool::Max),
    value: |s, x| gathered(s, |window| x[0].at(&first_largest(window, &x[0]))),
    jvp: Rule::By(|cx, t| smallvec![t[0].map(|t| t.tape.op(&PICK, &[cx.x(0), t], &cx.attrs()))]),
    vjp: Rule::By(|cx, g| smallvec![g[0].map(|g| g.tape.op(&SPREAD, &[cx.x(0), g], &cx.attrs()))]),
    batch: Batch::By(batch),
    samples: || samples(|image, _| vec![apart(&image)]),
};

/// Values from where the maxima of the windows lie: operands `image, values`.
pub static PICK: OpDef = OpDef {
    name: "max_pool2d_pick",
    shape: |attrs, x| shape(Pool::MaxPick, attrs, x),
    kernel: KernelClass::Pool(Pool::MaxPick),
    value: |s, x| gathered(s, |window| x[1].at(&first_largest(window, &x[0]))),
    jvp: Rule::By(|cx, t| smallvec![t[1].map(|t| cx.again(&[cx.x(0), t]))]),
    vjp: Rule::By(|cx, g| smallvec![None, g[0].map(|g| g.tape.op(&SPREAD, &[cx.x(0), g], &cx.attrs()))]),
    batch: Batch::By(batch),
    samples: || samples(|image, _| vec![apart(&image), image]),
};

/// Outputs added where the maxima of their windows lie: operands `image, output`.
pub static SPREAD: OpDef = OpDef {
    name: "max_pool2d_spread",
    shape: |attrs, x| shape(Pool::MaxSpread, attrs, x),
    kernel: KernelClass::Pool(Pool::MaxSpread),
    value: |s, x| scattered(s, &x[1], |window, v| vec![(first_largest(&window, &x[0]), v)]),
    jvp: Rule::By(|cx, t| smallvec![t[1].map(|t| cx.again(&[cx.x(0), t]))]),
    vjp: Rule::By(|cx, u| smallvec![None, u[0].map(|u| u.tape.op(&PICK, &[cx.x(0), u], &cx.attrs()))]),
    batch: Batch::By(batch),
    samples: || samples(|image, output| vec![apart(&image), output]),
};

/// The mean of each window: operand `image`.
pub static MEAN: OpDef = OpDef {
    name: "avg_pool2d",
    shape: |attrs, x| shape(Pool::Mean, attrs, x),
    kernel: KernelClass::Pool(Pool::Mean),
    value: |s, x| gathered(s, |window| window.iter().map(|at| x[0].at(at)).sum::<f64>() / window_of(s.attrs).area() as f64),
    jvp: Rule::By(linear_jvp),
    vjp: Rule::By(|cx, g| smallvec![g[0].map(|g| g.tape.op(&MEAN_SPREAD, &[g], &cx.attrs()))]),
    batch: Batch::By(batch),
    samples: || samples(|image, _| vec![image]),
};

/// Outputs divided among their windows: operand `output`.
pub static MEAN_SPREAD: OpDef = OpDef {
    name: "avg_pool2d_spread",
    shape: |attrs, x| shape(Pool::MeanSpread, attrs, x),
    kernel: KernelClass::Pool(Pool::MeanSpread),
    value: |s, x| {
        let area = window_of(s.attrs).area() as f64;
        scattered(s, &x[0], |window, v| window.into_iter().map(|at| (at, v / area)).collect())
    },
    jvp: Rule::By(linear_jvp),
    vjp: Rule::By(|cx, u| smallvec![u[0].map(|u| u.tape.op(&MEAN, &[u], &cx.attrs()))]),
    batch: Batch::By(batch),
    samples: || samples(|_, output| vec![output]),
};

/// The ops of this file.
pub static ALL: &[&OpDef] = &[&MAX, &PICK, &SPREAD, &MEAN, &MEAN_SPREAD];

fn shape(kind: Pool, attrs: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
    let lengths = attrs.get(Window::ATTRS..).and_then(|n| <[i64; 2]>::try_from(n).ok()).map(|n| n.map(usize::try_from));
    let (Some(window), Some([Ok(h), Ok(w)])) = (Window::of(attrs).filter(|w| w.dilation == [1; 2]), lengths) else {
        return Err(Mismatch::new(format!("a window with steps of at least 1, height and width, not {attrs:?}")));
    };
    if (0..2).any(|axis| window.padding[axis] > window.size[axis] / 2) {
        return Err(Mismatch::new(format!("padding of at most half of the window, not {:?} of {:?}", window.padding, window.size)));
    }
    let Some([oh, ow]) = window.count([h, w]).filter(|_| h > 0 && w > 0) else {
        let [kh, kw] = window.size;
        return Err(Mismatch::new(format!("an image that holds a window of {kh}×{kw} with padding {:?}", window.padding)));
    };
    let dtype = x[0].dtype;
    let means = matches!(kind, Pool::Mean | Pool::MeanSpread);
    if dtype == DType::Bool || means && !dtype.is_float() || x.iter().any(|x| x.dtype != dtype) {
        return Err(Mismatch::new(if means { "floats" } else { "numbers of one dtype" }).hint("x.cast(DType::F32)"));
    }
    let refuse = || Mismatch::new("images [n, c, h, w] and outputs [n, c, oh, ow] that belong together");
    let &[n, c, ..] = &x[0].shape[..] else { return Err(refuse()) };
    let (image, output) = ([n, c, h, w], [n, c, oh, ow]);
    let (operands, result) = match kind {
        Pool::Max | Pool::Mean => (vec![image], output),
        Pool::MaxPick => (vec![image, image], output),
        Pool::MaxSpread => (vec![image, output], image),
        Pool::MeanSpread => (vec![output], image),
    };
    if !x.iter().zip(&operands).all(|(x, dims)| *x.shape == *dims) {
        return Err(refuse());
    }
    Typed::new(dtype, &result)
}

fn window_of(attrs: &Attrs) -> Window {
    Window::of(attrs).expect("accepted")
}

/// The places in the image that a window covers, in row-major order.
fn covered(attrs: &Attrs, output: &[usize]) -> Vec<Vec<usize>> {
    let (window, [h, w]) = (window_of(attrs), [attrs[Window::ATTRS] as usize, attrs[Window::ATTRS + 1] as usize]);
    let rows = (0..window.size[0]).filter_map(|tap| window.position(0, output[2], tap, h));
    let columns = |row: usize| (0..window.size[1]).filter_map(move |tap| window.position(1, output[3], tap, w)).map(move |col| [row, col]);
    rows.flat_map(columns).map(|at| [&output[..2], &at].concat()).collect()
}

/// Where the first largest element lies; a NaN is largest.
fn first_largest(window: &[Vec<usize>], image: &Dense) -> Vec<usize> {
    let later = |a: &f64, b: &f64| !(a.is_nan() || a >= b);
    window.iter().cloned().reduce(|a, b| if later(&image.at(&a), &image.at(&b)) { b } else { a }).expect("windows cover something")
}

/// A number for each window.
fn gathered(s: &Spec<'_>, f: impl Fn(&[Vec<usize>]) -> f64) -> Dense {
    Dense::from_fn(s.shape, |at| f(&covered(s.attrs, at)))
}

/// What each window adds to the image.
fn scattered(s: &Spec<'_>, output: &Dense, f: impl Fn(Vec<Vec<usize>>, f64) -> Vec<(Vec<usize>, f64)>) -> Dense {
    let mut image = Dense::from_fn(s.shape, |_| 0.0);
    Dense::from_fn(&output.dims, |at| {
        f(covered(s.attrs, at), output.at(at)).into_iter().for_each(|(at, v)| *image.at_mut(&at) += v);
        0.0
    });
    image
}

/// Images are pooled one by one: the axis joins theirs.
fn batch<'t>(b: &BatchCx<'t>) -> Tensor<'t> {
    let joined = |i: usize| {
        let x = b.with_axis(i);
        let d = x.shape();
        x.reshape([d[0] * d[1], d[2], d[3], d[4]])
    };
    let x: Vec<Tensor<'t>> = (0..b.x.len()).map(joined).collect();
    x[0].tape().op(b.op, &x, &b.attrs).reshape([&[b.size], &b.shape[..]].concat())
}

/// The sample inputs of an op, chosen from an image and an output that belong together.
fn samples(choose: fn(Array, Array) -> Vec<Array>) -> Vec<Sample> {
    let cases = [
        ([2, 2, 4, 6], PoolOptions::new(2)),
        ([1, 2, 5, 5], PoolOptions::new(3).stride(2).padding(1)),
        ([1, 1, 3, 4], PoolOptions::new([2, 3]).stride(1)),
        ([2, 1, 5, 4], PoolOptions::new([1, 2]).stride([3, 1]).padding([0, 1])),
        ([1, 1, 1, 2], PoolOptions::new(4).stride(3).padding(2)),
        ([0, 2, 3, 3], PoolOptions::new(3)),
    ];
    let case = |(i, (image, options)): (usize, ([usize; 4], PoolOptions))| {
        let window = options.window();
        let [oh, ow] = window.count([image[2], image[3]]).expect("a window that fits");
        let u = |dims: [usize; 4], seed: u64| Array::uniform(DType::F64, dims, -1.0, 1.0, 80 + 2 * i as u64 + seed);
        Sample::new(choose(u(image, 0), u([image[0], image[1], oh, ow], 1))).attrs(attrs(&window, [image[2], image[3]]))
    };
    cases.into_iter().enumerate().map(case).collect()
}

/// An array of that shape whose elements are so far apart that differences don't change which is largest.
fn apart(like: &Array) -> Array {
    let n = like.size();
    let values: Vec<f64> = (0..n).map(|i| ((i * 31 + 5) % 61) as f64 * 0.25 - 4.0 + i as f64 * 1e-2).collect();
    Array::new(*like.shape(), values)
}

fn attrs(window: &Window, image: [usize; 2]) -> Vec<i64> {
    [&window.attrs()[..], &image.map(|n| i64::try_from(n).unwrap_or(i64::MAX))].concat()
}

#[track_caller]
fn record<'t>(op: &'static OpDef, x: Tensor<'t>, options: PoolOptions) -> Tensor<'t> {
    if x.rank() == 3 {
        return record(op, x.unsqueeze(0), options).squeeze(0);
    }
    let image = x.shape().last_chunk().copied().unwrap_or([0; 2]);
    x.tape.op(op, &[x.recorded()], &attrs(&options.window(), image))
}

impl<'t> Tensor<'t> {
    /// Largest element of each window of images: `[n, c, h, w] -> [n, c, oh, ow]` with `oh = (h + 2 padding - size) / stride + 1`, rounded
    /// down. One image without the axis `n` gives one without it. Padding is never the largest; a NaN is.
    ///
    /// The derivative of a window goes to its first largest element in row-major order, as in PyTorch (of
    /// [`max_over`](Self::max_over), elements that tie share it).
    ///
    /// # Panics
    /// When the window is larger than the padded image, and when more than half of it is padding.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, PoolOptions, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[[[1.0, 2.0, 0.0, 0.0], [4.0, 3.0, 5.0, 5.0]]]]));
    /// assert_eq!(x.max_pool2d(PoolOptions::new(2)).value(), Array::from([[[[4.0, 5.0]]]]));
    /// let [g] = x.max_pool2d(PoolOptions::new(2)).sum().grad([x]);
    /// assert_eq!(g.value(), Array::from([[[[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]]]]));
    /// ```
    #[track_caller]
    pub fn max_pool2d(self, options: PoolOptions) -> Tensor<'t> {
        record(&MAX, self, options)
    }

    /// Mean of each window of images: `[n, c, h, w] -> [n, c, oh, ow]`, as [`max_pool2d`](Self::max_pool2d). Padding counts as zeros, so
    /// that every window is divided by its size.
    ///
    /// # Panics
    /// As there, and when this is no float.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, PoolOptions, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[[[1.0, 2.0, 0.0, 0.0], [4.0, 3.0, 5.0, 5.0]]]]));
    /// assert_eq!(x.avg_pool2d(PoolOptions::new(2)).value(), Array::from([[[[2.5, 2.5]]]]));
    /// ```
    #[track_caller]
    pub fn avg_pool2d(self, options: PoolOptions) -> Tensor<'t> {
        record(&MEAN, self, options)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};
    use crate::Tape;

    #[test]
    fn rules_agree_with_the_reference() {
        [&MAX, &MEAN, &MEAN_SPREAD].into_iter().for_each(check::op);
    }

    #[test]
    fn the_first_of_equals_takes_the_derivative_and_a_nan_is_largest() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::from([[[1.0f32, 1.0, f32::NAN], [1.0, 0.0, f32::NAN], [0.0, 0.0, -f32::INFINITY]]]));
        let y = x.max_pool2d(PoolOptions::new(2).stride(1));
        assert_eq!(format!("{:?}", y.value().to_f64_vec()), "[1.0, NaN, 1.0, NaN]");
        let [g] = y.sum().grad([x]);
        assert_eq!(g.value().to_f64_vec(), [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        let low = tape.leaf(&Array::full([1, 1, 2], f64::NEG_INFINITY));
        let [g] = low.max_pool2d(PoolOptions::new(2).padding(1)).sum().grad([low]);
        assert_eq!(g.value(), Array::from([[[1.0, 1.0]]]), "padding is not chosen");
        let whole = tape.leaf(&Array::from([[[3i64, 4], [9, -1]]]));
        assert_eq!(whole.max_pool2d(PoolOptions::new(2)).value(), Array::from([[[9i64]]]));
    }

    #[test]
    fn what_does_not_fit_panics_at_the_caller() {
        let tape = Tape::new();
        let x = tape.zeros(DType::F32, [1, 1, 3, 3]);
        let (text, line) = check::panic_of(|| x.max_pool2d(PoolOptions::new(4)));
        assert_eq!(line, line!() - 1);
        assert!(text.starts_with("max_pool2d: expected an image that holds a window of 4×4 with padding [0, 0], got f32[1, 1, 3, 3]"), "{text}");
        let of = |x: Tensor<'_>, options| check::panic_of(|| x.avg_pool2d(options)).0;
        assert!(of(x, PoolOptions::new(2).padding(2)).contains("padding of at most half of the window"));
        assert!(of(x, PoolOptions::new(2).stride(0)).contains("steps of at least 1"));
        assert!(of(x.cast(DType::I64), PoolOptions::new(2)).contains("expected floats"));
        assert!(of(x.at((0, 0)), PoolOptions::new(2)).contains("that belong together"));
        assert!(of(tape.zeros(DType::F32, [1, 1, 0, 3]), PoolOptions::new(2).padding(1)).contains("an image that holds"));
    }
}
