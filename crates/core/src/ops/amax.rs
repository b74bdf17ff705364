//! The largest and the smallest element along some axes; of truth values, whether any or all hold.

use super::{Batch, Cx, Meta, Mismatch, OpDef, Rule, Sample, Tangents, Typed, reduce};
use crate::{Array, Attrs, DType, Fold, KernelClass, Tensor};
use smallvec::{SmallVec, smallvec};

/// Largest element; NaN if any is. Attributes: the folded axes, ascending.
pub static AMAX: OpDef = OpDef {
    name: "max",
    shape: |attrs, x: &[Meta<'_>]| shape(Fold::Max, attrs, x),
    kernel: KernelClass::Reduce(Fold::Max),
    value: |s, x| reduce::value(s, &x[0], |v| first(v, |a, b| a >= b).unwrap_or(0.0)),
    jvp: Rule::By(jvp),
    vjp: Rule::By(vjp),
    batch: Batch::By(|b| reduce::batch(b, &AMAX)),
    samples,
};

/// Smallest element; NaN if any is. Attributes: the folded axes, ascending.
pub static AMIN: OpDef = OpDef {
    name: "min",
    shape: |attrs, x: &[Meta<'_>]| shape(Fold::Min, attrs, x),
    kernel: KernelClass::Reduce(Fold::Min),
    value: |s, x| reduce::value(s, &x[0], |v| first(v, |a, b| a <= b).unwrap_or(1.0)),
    jvp: Rule::By(jvp),
    vjp: Rule::By(vjp),
    batch: Batch::By(|b| reduce::batch(b, &AMIN)),
    samples,
};

/// The ops of this file.
pub static ALL: &[&OpDef] = &[&AMAX, &AMIN];

/// As of any fold; numbers have no largest among none of them.
fn shape(fold: Fold, attrs: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
    let typed = reduce::shape(fold, attrs, x)?;
    if x[0].dtype != DType::Bool {
        reduce::refuse_none(attrs, x)?;
    }
    Ok(typed)
}

/// The first element that stays before all others; a NaN does before any number. `None` of none, which only truth values may be.
fn first(v: &[f64], stays: fn(f64, f64) -> bool) -> Option<f64> {
    v.iter().copied().reduce(|a, b| if a.is_nan() || stays(a, b) { a } else { b })
}

fn samples() -> Vec<Sample> {
    // Far apart, so that differences do not change which one wins.
    let spread = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        Array::from_fn(shape, |i| {
            let at = i.iter().zip(shape).fold(0, |at, (i, d)| at * d + i);
            ((at * 7 + 3) % n.max(1)) as f64 * 0.5 - 1.0
        })
    };
    vec![
        Sample::new([spread(&[2, 3])]).attrs([1]),
        Sample::new([spread(&[2, 3])]).attrs([0]),
        Sample::new([spread(&[2, 3, 2])]).attrs([0, 2]),
        Sample::new([spread(&[5])]).attrs([0]),
        Sample::new([spread(&[0, 3])]).attrs([1]),
        Sample::new([spread(&[])]),
    ]
}

/// Which elements are the extremum, and how many share it.
fn ties<'t>(cx: &Cx<'t>) -> (Tensor<'t>, Tensor<'t>) {
    let mask = cx.x(0).eq(reduce::unfold(cx.y(), cx));
    let axes: SmallVec<[isize; 8]> = cx.attrs().iter().map(|&a| a as isize).collect();
    // Nothing equals a NaN: then no element has a share, rather than the quotient 0 / 0.
    (mask, mask.cast(cx.y().dtype()).sum_over(&axes).maximum(1))
}

fn jvp<'t>(cx: &Cx<'t>, t: &[Option<Tensor<'t>>]) -> Tangents<'t> {
    let Some(t) = t[0].filter(|_| cx.y().dtype().is_float()) else { return smallvec![None] };
    let (mask, count) = ties(cx);
    let axes: SmallVec<[isize; 8]> = cx.attrs().iter().map(|&a| a as isize).collect();
    smallvec![Some(mask.select(t, 0).sum_over(&axes) / count)]
}

fn vjp<'t>(cx: &Cx<'t>, g: &[Option<Tensor<'t>>]) -> Tangents<'t> {
    let Some(g) = g[0].filter(|_| cx.y().dtype().is_float()) else { return smallvec![None] };
    let (mask, count) = ties(cx);
    smallvec![Some(mask.select(reduce::unfold(g / count, cx), 0))]
}

/// `NAME`, `NAME_over`, `NAME_keep` for an op.
macro_rules! folds {
    ($($op:ident $(#[$doc:meta])* $all:ident $over:ident $keep:ident;)*) => {
        impl<'t> Tensor<'t> {
            $(
                $(#[$doc])*
                #[track_caller]
                pub fn $all(self) -> Tensor<'t> {
                    let all: SmallVec<[isize; 8]> = (0..self.rank() as isize).collect();
                    self.$over(&all)
                }

                #[doc = concat!("As [`", stringify!($all), "`](Self::", stringify!($all), ") over some axes, which are dropped; negative ones count from the end.")]
                ///
                /// # Panics
                /// As there, and when an axis does not exist or is named twice.
                #[track_caller]
                pub fn $over(self, axes: &[isize]) -> Tensor<'t> {
                    reduce::record(&$op, self, axes)
                }

                #[doc = concat!("As [`", stringify!($over), "`](Self::", stringify!($over), "); the axes stay, with length 1.")]
                #[track_caller]
                pub fn $keep(self, axes: &[isize]) -> Tensor<'t> {
                    reduce::keep(self, axes, self.$over(axes))
                }
            )*
        }
    };
}
folds! {
    AMAX
    /// Largest of all elements, a 0-d tensor; NaN if any is. Elements that tie share the derivative evenly.
    ///
    /// # Panics
    /// When there are no elements.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 4.0], [4.0, 3.0]]));
    /// assert_eq!(x.max().item(), 4.0);
    /// assert_eq!(x.max_over(&[1]).value(), Array::from([4.0, 4.0]));
    /// let [g] = x.max().grad([x]);
    /// assert_eq!(g.value(), Array::from([[0.0, 0.5], [0.5, 0.0]]));
    /// ```
    max max_over max_keep;
    AMIN
    /// Smallest of all elements, a 0-d tensor; NaN if any is. Elements that tie share the derivative evenly.
    ///
    /// # Panics
    /// When there are no elements.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 4.0], [5.0, 3.0]]));
    /// assert_eq!(x.min().item(), 1.0);
    /// assert_eq!(x.min_over(&[0]).value(), Array::from([1.0, 3.0]));
    /// assert_eq!(x.min_keep(&[1]).value(), Array::from([[1.0], [3.0]]));
    /// assert_eq!(x.max_keep(&[1]).value(), Array::from([[4.0], [5.0]]));
    /// ```
    min min_over min_keep;
}

impl<'t> Tensor<'t> {
    /// Whether any element is true, or not zero; false for none.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 4.0], [5.0, 6.0]]));
    /// assert_eq!(x.gt(3).any().value(), Array::scalar(true));
    /// assert_eq!(x.gt(3).all_over(&[1]).value(), Array::from([false, true]));
    /// ```
    #[track_caller]
    pub fn any(self) -> Tensor<'t> {
        self.cast(DType::Bool).max()
    }

    /// As [`any`](Self::any) over some axes, which are dropped.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 4.0], [5.0, 3.0]]));
    /// assert_eq!(x.gt(4).any_over(&[1]).value(), Array::from([false, true]));
    /// ```
    #[track_caller]
    pub fn any_over(self, axes: &[isize]) -> Tensor<'t> {
        self.cast(DType::Bool).max_over(axes)
    }

    /// Whether all elements are true, or not zero; true for none.
    ///
    /// ```
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Array::from([[1.0, 4.0], [5.0, 3.0]]));
    /// assert_eq!(x.gt(0).all().value(), Array::scalar(true));
    /// ```
    #[track_caller]
    pub fn all(self) -> Tensor<'t> {
        self.cast(DType::Bool).min()
    }

    /// As [`all`](Self::all) over some axes, which are dropped.
    #[track_caller]
    pub fn all_over(self, axes: &[isize]) -> Tensor<'t> {
        self.cast(DType::Bool).min_over(axes)
    }
}
