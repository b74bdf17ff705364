//! How is an op written the short way? "This function, that gradient": a function over arrays, and its vjp.

use super::{Batch, BatchCx, Cx, Dense, Meta, Mismatch, OpDef, Rule, Sample, Spec, Tangents, Typed, place::stack};
use crate::{Array, Attrs, KernelClass, Tensor};

/// An op that the engine can't look into: a function over arrays and how cotangents are pulled back through it.
///
/// [`OpDef::function`] makes the op. Its tangents are pushed forward by transposing the vjp twice; under [`vmap`](crate::vmap) the
/// function runs once for each element. It is not fused with its neighbours, so a pointwise op is better written in full, with a
/// program (`docs/adding-an-op.md` shows both).
///
/// ```
/// # use wengert_core as wengert;
/// use wengert::{Array, Attrs, Cx, DType, Function, Meta, Mismatch, OpDef, Sample, Tangents, Tape, Tensor, Typed};
///
/// /// `x xᵀ` of a vector.
/// struct Outer;
/// impl Function for Outer {
///     const NAME: &'static str = "outer";
///     fn shape(_: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
///         match x[0].shape[..] {
///             [n] => Typed::new(x[0].dtype, &[n, n]),
///             _ => Err(Mismatch::new("a vector")),
///         }
///     }
///     fn value(_: &Attrs, x: &[Array]) -> Result<Array, String> {
///         let n = x[0].size();
///         Ok(Array::from_fn([n, n], |i| x[0].get(&i[..1]) * x[0].get(&i[1..])).cast(x[0].dtype()))
///     }
///     fn vjp<'t>(cx: &Cx<'t>, g: Tensor<'t>) -> Tangents<'t> {
///         Tangents::from_slice(&[Some((g + g.t()).matmul(cx.x(0)))])
///     }
///     fn samples() -> Vec<Sample> {
///         vec![Sample::new([Array::uniform(DType::F64, [3], -1.0, 1.0, 1)])]
///     }
/// }
/// static OUTER: OpDef = OpDef::function::<Outer>();
///
/// let tape = Tape::new();
/// let x = tape.leaf(&Array::from([1.0, 2.0]));
/// assert_eq!(x.op(&OUTER, [], &[]).value(), Array::from([[1.0, 2.0], [2.0, 4.0]]));
/// assert_eq!(x.op(&OUTER, [], &[]).sum().grad(x).value(), Array::from([6.0, 6.0]));
/// ```
pub trait Function {
    /// Name shown in errors, dumps and profiles.
    const NAME: &'static str;

    /// Dtype and shape of the output; the error says what was expected.
    fn shape(attrs: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch>;

    /// The function, for arrays whose dtypes and shapes the shape rule has accepted; it must give the dtype and shape promised there.
    /// An error becomes an [`EvalError`](crate::EvalError) where the value is read.
    fn value(attrs: &Attrs, x: &[Array]) -> Result<Array, String>;

    /// The cotangent of each input for a cotangent `g` of the output, written in tensor algebra, so it can itself be differentiated.
    fn vjp<'t>(cx: &Cx<'t>, g: Tensor<'t>) -> Tangents<'t>;

    /// Inputs at which the gradient is checked against differences.
    fn samples() -> Vec<Sample>;
}

impl OpDef {
    /// The op of a [`Function`], to be put into a `static`.
    pub const fn function<F: Function>() -> OpDef {
        OpDef {
            name: F::NAME,
            shape: F::shape,
            kernel: KernelClass::Opaque(F::value),
            value: reference::<F>,
            jvp: Rule::Transposed,
            vjp: Rule::By(pull::<F>),
            batch: Batch::By(one_by_one),
            samples: F::samples,
        }
    }
}

/// The function is its own reference: what is checked are its derivatives, its shapes and its batches.
fn reference<F: Function>(spec: &Spec<'_>, x: &[Dense]) -> Dense {
    let x: Vec<Array> = x.iter().zip(spec.inputs).map(|(x, dtype)| x.to_array(*dtype)).collect();
    match F::value(spec.attrs, &x) {
        Ok(y) => Dense::of(&y),
        Err(_) => Dense::from_fn(spec.shape, |_| f64::NAN),
    }
}

fn pull<'t, F: Function>(cx: &Cx<'t>, g: &[Option<Tensor<'t>>]) -> Tangents<'t> {
    match g[0] {
        Some(g) => F::vjp(cx, g),
        None => Tangents::from_elem(None, cx.arity()),
    }
}

/// The op for each element of the batch, and the results stacked.
fn one_by_one<'t>(b: &BatchCx<'t>) -> Tensor<'t> {
    let tape = b.x[0].tape();
    let single = |k: usize| {
        let each = b.x.iter().zip(&b.batched);
        let x: Vec<Tensor<'t>> = each.map(|(x, &batched)| if batched { x.narrow(0, k, 1).squeeze(0) } else { *x }).collect();
        tape.op(b.op, &x, &b.attrs)
    };
    let all: Vec<Tensor<'t>> = (0..b.size).map(single).collect();
    if all.is_empty() {
        let mut dims = vec![0];
        dims.extend_from_slice(&b.shape);
        return tape.zeros(b.dtype, dims);
    }
    stack(&all, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Tape, vmap};

    /// `x xᵀ` of a vector that has no negative elements.
    struct Outer;

    impl Function for Outer {
        const NAME: &'static str = "outer";
        fn shape(_: &Attrs, x: &[Meta<'_>]) -> Result<Typed, Mismatch> {
            match x[0].shape[..] {
                [n] => Typed::new(x[0].dtype, &[n, n]),
                _ => Err(Mismatch::new("a vector")),
            }
        }
        fn value(_: &Attrs, x: &[Array]) -> Result<Array, String> {
            let v = x[0].to_f64_vec();
            match v.iter().position(|v| *v < 0.0) {
                Some(at) => Err(format!("element {at} is negative")),
                None => Ok(Array::from_fn([v.len(), v.len()], |i| v[i[0]] * v[i[1]]).cast(x[0].dtype())),
            }
        }
        fn vjp<'t>(cx: &Cx<'t>, g: Tensor<'t>) -> Tangents<'t> {
            Tangents::from_slice(&[Some((g + g.t()).matmul(cx.x(0)))])
        }
        fn samples() -> Vec<Sample> {
            vec![Sample::new([Array::uniform(DType::F64, [3], 0.5, 2.0, 1)])]
        }
    }

    static OUTER: OpDef = OpDef::function::<Outer>();

    fn outer(x: Tensor<'_>) -> Tensor<'_> {
        x.op(&OUTER, [], &[])
    }

    /// The same by ops of the engine.
    fn product(x: Tensor<'_>) -> Tensor<'_> {
        x.unsqueeze(1) * x
    }

    #[test]
    fn values_and_derivatives_are_those_of_the_same_thing_in_ops() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::uniform(DType::F64, [3], 0.5, 2.0, 1));
        let v = tape.leaf(&Array::uniform(DType::F64, [3], -1.0, 1.0, 2));
        let same = |a: Tensor<'_>, b: Tensor<'_>| assert!(a.value().all_close(&b.value(), 1e-13, 1e-14), "{a} {b}");
        same(outer(x), product(x));
        same(outer(x).tanh().sum().grad(x), product(x).tanh().sum().grad(x));
        same(outer(x).jvp(x, v), product(x).jvp(x, v));
        same(outer(x).tanh().sum().hvp(x, v), product(x).tanh().sum().hvp(x, v));
        same(outer(x).jacobian(x), product(x).jacobian(x));
        assert_eq!(outer(x.cast(DType::F32)).value().dtype(), DType::F32);
        assert_eq!(outer(x).reference(), Dense::of(&outer(x).value()));
    }

    #[test]
    fn batches_run_one_by_one() {
        let tape = Tape::new();
        let x = tape.leaf(&Array::uniform(DType::F64, [4, 3], 0.5, 2.0, 3));
        assert_eq!(vmap(outer)(x).value(), vmap(product)(x).value());
        assert_eq!(vmap(outer)(tape.zeros(DType::F64, [0, 3])).shape(), [0, 3, 3]);
    }

    #[test]
    fn its_error_names_the_op_and_the_line() {
        let tape = Tape::new();
        let y = outer(tape.leaf(&Array::from([1.0, -1.0])));
        let error = y.try_value().unwrap_err();
        assert_eq!((error.op, error.reason.as_str()), ("outer", "element 1 is negative"));
        assert!(error.location.contains("function.rs"));
        assert!(y.reference().data.iter().all(|v| v.is_nan()));
    }
}
