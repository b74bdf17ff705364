//! Is there a NaN among the elements of a buffer?

use crate::{DType, Element, execute::frame::RawBuffer};

/// Whether one of the first `size` elements is NaN.
pub fn contains_nan(buffer: RawBuffer, dtype: DType, size: usize) -> bool {
    match dtype {
        DType::F32 => any_nan::<f32>(buffer, size),
        DType::F64 => any_nan::<f64>(buffer, size),
        DType::I64 | DType::Bool => false,
    }
}

fn any_nan<T: Element>(buffer: RawBuffer, size: usize) -> bool {
    assert!(size * size_of::<T>() <= buffer.bytes, "elements within the buffer");
    // SAFETY: the buffer holds `size` elements (asserted), is aligned to 64, and no kernel runs while this reads.
    let elements = unsafe { std::slice::from_raw_parts(buffer.ptr.cast::<T>(), size) };
    elements.iter().any(|x| x.to_f64().is_nan())
}
