//! How are concatenation, padding and slice transposes computed? The output is filled, then pieces are copied into it.

use super::strided::{copy, dense, fill};
use crate::{execute::frame::Frame, plan::kernel::PlaceKernel};

/// Fills the output unless the pieces cover it, then copies each piece to its place.
pub fn run(kernel: &PlaceKernel, frame: &Frame) {
    debug_assert!(kernel.pieces.iter().all(|(from, to)| from.dtype == kernel.dtype && to.buffer == kernel.out));
    if !kernel.covered {
        let out = dense::<u8>(frame, kernel.out, kernel.size * kernel.dtype.size());
        // SAFETY: the whole output.
        unsafe { fill(out.at(0), kernel.dtype, frame.scalar(kernel.fill), kernel.size) };
    }
    for (from, to) in &kernel.pieces {
        copy(frame, from, to);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::strided::tests::*, *};
    use crate::{
        Element,
        plan::kernel::{Place, ScalarSource},
    };
    use rand::{RngExt, rngs::StdRng};

    #[test]
    fn a_padded_and_strided_piece_equals_the_naive_one() {
        let mut rng = rng(3);
        for round in 0..100 {
            let dims = random_dims(&mut rng, round % 4);
            padded::<f32>(&mut rng, &dims);
            padded::<f64>(&mut rng, &dims);
            padded::<i64>(&mut rng, &dims);
            padded::<bool>(&mut rng, &dims);
        }
    }

    fn padded<T: Element>(rng: &mut StdRng, dims: &[usize]) {
        let mut memory = Memory::new();
        let from = memory.place::<T>(rng, dims);
        let mut shape: Vec<usize> = vec![];
        let (mut starts, mut steps) = (vec![], vec![]);
        for &d in dims {
            let step: isize = [1, 2, -1, -3][rng.random_range(0..4)];
            let (before, after) = (rng.random_range(0..3), rng.random_range(0..3));
            let reach = step.unsigned_abs() * d.saturating_sub(1);
            shape.push(before + reach + 1 + after);
            starts.push(if step > 0 { before } else { before + reach });
            steps.push(step);
        }
        let size: usize = shape.iter().product();
        let dense = super::super::strided::dense_strides(&shape);
        let out = memory.add(&vec![T::default(); size]);
        let to = Place {
            buffer: out,
            dtype: T::DTYPE,
            offset: starts.iter().zip(&dense).map(|(&s, d)| s as isize * d).sum(),
            dims: dims.into(),
            strides: steps.iter().zip(&dense).map(|(s, d)| s * d).collect(),
        };
        let value = T::from_f64(7.0);
        let mut expected = vec![value; size];
        for (i, v) in indices(dims).iter().zip(memory.elements::<T>(&from)) {
            let index: Vec<usize> =
                i.iter().zip(&starts).zip(&steps).map(|((&i, &s), &t)| (s as isize + i as isize * t) as usize).collect();
            expected[position(&shape, &index)] = v;
        }
        let fill = ScalarSource::Literal(T::DTYPE.bits(7.0));
        run(&PlaceKernel { dtype: T::DTYPE, fill, covered: false, pieces: vec![(from, to)], out, size }, &memory.frame());
        assert_eq!(memory.read::<T>(out), expected);
    }

    #[test]
    fn pieces_that_cover_the_output_leave_nothing_else() {
        let mut memory = Memory::new();
        let (a, b) = (memory.add(&[1f64, 2.0]), memory.add(&[3f64]));
        let out = memory.add(&[0f64; 3]);
        let at = |buffer, offset, len: usize| Place {
            buffer,
            dtype: f64::DTYPE,
            offset,
            dims: [len].as_slice().into(),
            strides: [1].as_slice().into(),
        };
        let pieces = vec![(at(a, 0, 2), at(out, 1, 2)), (at(b, 0, 1), at(out, 0, 1))];
        run(&PlaceKernel { dtype: f64::DTYPE, fill: ScalarSource::Literal(0), covered: true, pieces, out, size: 3 }, &memory.frame());
        assert_eq!(memory.read::<f64>(out), [3.0, 1.0, 2.0]);
    }
}
