//! How does a file in the IDX format of the MNIST database become an array?
//!
//! The format: two zero bytes, the element type, the number of axes, their lengths as 32-bit numbers, the elements row-major; all
//! numbers highest byte first (Y. LeCun, C. Cortes and C. J. C. Burges, the MNIST database of handwritten digits).

use crate::{
    DataError,
    error::{read_file, within},
};
use std::path::Path;
use wengert_core::{Array, ArrayError, DType, Element, Shape};

/// A reader of IDX files (uncompressed), such as those of MNIST.
///
/// ```
/// use wengert_core::{Array, DType};
/// let file = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255];
/// let images = wengert_data::Idx::new(DType::F32).parse(&file)?;
/// assert_eq!(images, Array::from([[1.0f32, 2.0, 3.0], [4.0, 5.0, 255.0]]));
/// # Ok::<(), wengert_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Idx {
    /// The dtype of the array; elements are converted as `as` converts.
    pub dtype: DType,
    /// The most bytes that are read, and that the array may have; 1 GiB by default.
    pub max_bytes: usize,
}

impl Idx {
    /// A reader that gives arrays of this dtype.
    pub fn new(dtype: DType) -> Idx {
        Idx { dtype, max_bytes: 1 << 30 }
    }

    /// The array in a file.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Array, DataError> {
        self.parse(&read_file(path.as_ref(), self.max_bytes)?)
    }

    /// The array in the bytes of a file.
    pub fn parse(&self, file: &[u8]) -> Result<Array, DataError> {
        within(file.len(), self.max_bytes)?;
        let magic = || DataError::Magic(file[..file.len().min(4)].to_vec());
        let &[0, 0, kind, axes, ref rest @ ..] = file else { return Err(magic()) };
        let (width, element) = element(kind).ok_or_else(magic)?;
        let header = 4 * usize::from(axes);
        let Some((lengths, elements)) = rest.split_at_checked(header) else {
            return Err(DataError::Length { expected: 4 + header, found: file.len() });
        };
        let dims: Vec<usize> = lengths.chunks_exact(4).map(|b| fixed(b).map(u32::from_be_bytes).unwrap_or(0) as usize).collect();
        let shape = Shape::new(&dims).ok_or(ArrayError::Shape { dims })?;
        // A shape has at most 2^60 elements, so this does not overflow.
        if shape.size() * width != elements.len() {
            return Err(DataError::Length { expected: (shape.size() * width).saturating_add(4 + header), found: file.len() });
        }
        within(shape.size() * self.dtype.size(), self.max_bytes)?;
        let values = elements.chunks_exact(width).map(element);
        Ok(match self.dtype {
            DType::F32 => filled::<f32>(shape, values),
            DType::F64 => filled::<f64>(shape, values),
            DType::I64 => filled::<i64>(shape, values),
            DType::Bool => filled::<bool>(shape, values),
        })
    }
}

/// Reads an element from exactly its bytes.
type ReadElement = fn(&[u8]) -> f64;

/// Bytes of an element of this type and how they are read; all types fit in a double.
fn element(kind: u8) -> Option<(usize, ReadElement)> {
    Some(match kind {
        0x08 => (1, |b| f64::from(b[0])),
        0x09 => (1, |b| f64::from(b[0] as i8)),
        0x0B => (2, |b| fixed(b).map_or(0.0, |b| f64::from(i16::from_be_bytes(b)))),
        0x0C => (4, |b| fixed(b).map_or(0.0, |b| f64::from(i32::from_be_bytes(b)))),
        0x0D => (4, |b| fixed(b).map_or(0.0, |b| f64::from(f32::from_be_bytes(b)))),
        0x0E => (8, |b| fixed(b).map_or(0.0, f64::from_be_bytes)),
        _ => return None,
    })
}

fn fixed<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn filled<T: Element>(shape: Shape, values: impl Iterator<Item = f64>) -> Array {
    let mut array = Array::zeros(T::DTYPE, shape);
    array.as_mut_slice::<T>().iter_mut().zip(values).for_each(|(to, v)| *to = T::from_f64(v));
    array
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shuffle::generator;
    use rand::Rng;

    fn parse(file: &[u8]) -> Result<Array, DataError> {
        Idx::new(DType::F64).parse(file)
    }

    #[test]
    fn every_element_type_is_read() {
        let file = |kind, data: &[u8]| [&[0, 0, kind, 1, 0, 0, 0, 1][..], data].concat();
        for (kind, data, expected) in [
            (0x08, &[200][..], 200.0),
            (0x09, &[0xFE], -2.0),
            (0x0B, &[0xFF, 0], -256.0),
            (0x0C, &[0, 1, 0, 0], 65536.0),
            (0x0D, &1.5f32.to_be_bytes(), 1.5),
            (0x0E, &(-0.1f64).to_be_bytes(), -0.1),
        ] {
            assert_eq!(parse(&file(kind, data)).unwrap(), Array::from([expected]), "type {kind}");
        }
        assert_eq!(parse(&[0, 0, 8, 0, 7]).unwrap(), Array::scalar(7.0));
        assert_eq!(Idx::new(DType::I64).parse(&[0, 0, 8, 1, 0, 0, 0, 2, 1, 9]).unwrap(), Array::from([1, 9]));
        assert_eq!(&**parse(&[0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0, 5]).unwrap().shape(), [0, 5]);
    }

    #[test]
    fn headers_that_lie_are_errors() {
        assert!(matches!(parse(&[]), Err(DataError::Magic(b)) if b.is_empty()));
        assert!(matches!(parse(&[0, 1, 8, 1, 0, 0, 0, 1, 1]), Err(DataError::Magic(_))));
        assert!(matches!(parse(&[0, 0, 10, 1, 0, 0, 0, 1, 1]), Err(DataError::Magic(_))));
        assert!(matches!(parse(&[0, 0, 8, 1, 0, 0]), Err(DataError::Length { expected: 8, found: 6 })));
        assert!(matches!(parse(&[0, 0, 8, 1, 0, 0, 0, 3, 1]), Err(DataError::Length { expected: 11, found: 9 })));
        assert!(matches!(parse(&[0, 0, 8, 1, 0, 0, 0, 0, 1]), Err(DataError::Length { expected: 8, found: 9 })));
        let huge = [&[0, 0, 14, 3][..], &[255; 12]].concat();
        assert!(matches!(parse(&huge), Err(DataError::Array(ArrayError::Shape { .. }))));
        let nine_axes = [&[0, 0, 8, 9][..], &[0, 0, 0, 1].repeat(9), &[1]].concat();
        assert!(matches!(parse(&nine_axes), Err(DataError::Array(ArrayError::Shape { .. }))));
        let small = Idx { dtype: DType::F64, max_bytes: 20 };
        assert!(matches!(small.parse(&[0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3]), Err(DataError::TooLarge { limit: 20, found: 24 })));
    }

    #[test]
    fn broken_bytes_give_an_array_or_an_error() {
        let sound = [&[0, 0, 0x0B, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[7; 12]].concat();
        let mut rng = generator(6, 0);
        let mut errors = 0;
        for round in 0..5000 {
            let mut file = sound.clone();
            if round % 2 == 0 {
                file.truncate(rng.next_u64() as usize % (sound.len() + 1));
            }
            for _ in 0..round % 3 {
                if let Some(at) = (rng.next_u64() as usize).checked_rem(file.len()) {
                    file[at] = rng.next_u64() as u8;
                }
            }
            match parse(&file) {
                Ok(array) => assert!(array.size() <= file.len()),
                Err(_) => errors += 1,
            }
        }
        assert!((2000..5000).contains(&errors), "{errors}");
    }
}
