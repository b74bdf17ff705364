//! How is a function that the planner can't look into run? On arrays, copied where an operand is not dense.

use super::strided::{copy_dense, dense, fill};
use crate::{
    Array, Shape,
    execute::frame::{Fault, Frame},
    plan::kernel::{OpaqueKernel, Place},
};
use smallvec::SmallVec;

/// Runs the function and copies its result to the output. When it gives an error, or not the dtype and shape that were promised,
/// the output is NaN or 0 and the fault says why.
pub fn run(kernel: &OpaqueKernel, frame: &Frame) -> Result<(), Fault> {
    let size = kernel.shape.size();
    let out = dense::<u8>(frame, kernel.out, size * kernel.dtype.size());
    let inputs: SmallVec<[Array; 4]> = kernel.inputs.iter().map(|place| array(frame, place)).collect();
    let reason = match (kernel.run)(&kernel.attrs, &inputs) {
        Ok(y) if y.dtype() == kernel.dtype && *y.shape() == kernel.shape => {
            // SAFETY: both hold the promised number of elements; the array's memory is not the frame's.
            unsafe { out.at(0).copy_from_nonoverlapping(y.buffer().as_ptr(), size * kernel.dtype.size()) };
            return Ok(());
        }
        Ok(y) => format!("expected a result of {} {:?}, got {} {:?}", kernel.dtype, kernel.shape, y.dtype(), y.shape()),
        Err(reason) => reason,
    };
    let nothing = if kernel.dtype.is_float() { kernel.dtype.bits(f64::NAN) } else { 0 };
    // SAFETY: the whole output.
    unsafe { fill(out.at(0), kernel.dtype, nothing, size) };
    Err(Fault { node: kernel.node, reason })
}

fn array(frame: &Frame, place: &Place) -> Array {
    let shape = Shape::new(&place.dims).unwrap_or_else(|| panic!("operand of shape {:?}: expected one that an array can have", place.dims));
    let array = Array::uninit(place.dtype, shape);
    // SAFETY: the array is new, and has the operand's shape.
    unsafe { copy_dense(frame, place, array.buffer().ptr()) };
    array
}

#[cfg(test)]
mod tests {
    use super::{super::strided::tests::*, *};
    use crate::{DType, Element};

    fn call(run_it: fn(&[i64], &[Array]) -> Result<Array, String>, dtype: DType) -> (Result<(), Fault>, Vec<f64>) {
        let mut memory = Memory::new();
        let mut rng = rng(8);
        let x = memory.place::<f64>(&mut rng, &[3, 2]);
        let i = memory.place::<bool>(&mut rng, &[2]);
        let expected: Vec<f64> = memory.elements(&x);
        let out = memory.add(&[5f64; 6]);
        let shape = Shape::new(&[2, 3]).unwrap();
        let kernel = OpaqueKernel { run: run_it, attrs: [2].as_slice().into(), inputs: vec![x, i], out, dtype, shape, node: 3 };
        let result = run(&kernel, &memory.frame());
        let found = memory.read::<f64>(out);
        if result.is_ok() {
            assert_eq!(found, expected.iter().map(|v| v * 2.0).collect::<Vec<f64>>());
        }
        (result, found)
    }

    fn scaled(attrs: &[i64], x: &[Array]) -> Result<Array, String> {
        assert_eq!((&x[0].shape()[..], x[1].dtype()), (&[3, 2][..], bool::DTYPE));
        Ok(Array::new([2, 3], x[0].to_vec::<f64>().iter().map(|v| v * attrs[0] as f64).collect::<Vec<f64>>()))
    }

    #[test]
    fn the_function_sees_its_operands_and_attributes() {
        assert_eq!(call(scaled, DType::F64).0, Ok(()));
    }

    #[test]
    fn errors_and_broken_promises_are_reported() {
        let (result, found) = call(|_, _| Err("singular matrix".into()), DType::F64);
        assert_eq!(result, Err(Fault { node: 3, reason: "singular matrix".into() }));
        assert!(found.iter().all(|v| v.is_nan()));
        let (result, found) = call(|_, x| Ok(x[0].clone()), DType::F64);
        assert_eq!(result.unwrap_err().reason, "expected a result of f64 [2, 3], got f64 [3, 2]");
        assert!(found.iter().all(|v| v.is_nan()));
        let (result, found) = call(scaled, DType::I64);
        assert_eq!(result.unwrap_err().reason, "expected a result of i64 [2, 3], got f64 [2, 3]");
        assert_eq!(found, [0.0; 6]);
    }
}
