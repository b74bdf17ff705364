//! Which element types are there, and how does a Rust number become one of them?

use std::fmt;

/// The type of a tensor's elements: a run-time value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 64-bit signed integer.
    I64,
    /// Truth value, one byte, 0 or 1.
    Bool,
}

impl DType {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F64 | DType::I64 => 8,
            DType::Bool => 1,
        }
    }

    /// Whether the type is `F32` or `F64`: the differentiable ones.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64)
    }

    /// `value` as the raw bits of one element, low bytes first.
    pub fn bits(self, value: f64) -> u64 {
        match self {
            DType::F32 => u64::from((value as f32).to_bits()),
            DType::F64 => value.to_bits(),
            DType::I64 => value as i64 as u64,
            DType::Bool => u64::from(value != 0.0),
        }
    }

    /// The number that raw bits stand for.
    pub fn number(self, bits: u64) -> f64 {
        match self {
            DType::F32 => f64::from(f32::from_bits(bits as u32)),
            DType::F64 => f64::from_bits(bits),
            DType::I64 => bits as i64 as f64,
            DType::Bool => f64::from(u8::from(bits & 1 == 1)),
        }
    }

    /// The raw bits of the negative of a number, which for `bool` is itself.
    pub(crate) fn negative(self, bits: u64) -> u64 {
        match self {
            DType::F32 => bits ^ 1 << 31,
            DType::F64 => bits ^ 1 << 63,
            DType::I64 => bits.wrapping_neg(),
            DType::Bool => bits,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::I64 => "i64",
            DType::Bool => "bool",
        })
    }
}

/// A Rust type that is the element of some [`DType`].
///
/// # Safety
/// `Self` must have exactly the size of `DTYPE`, no padding, and every value that a kernel can write must be valid.
pub unsafe trait Element: Copy + PartialEq + PartialOrd + fmt::Debug + Default + Send + Sync + 'static {
    /// The dtype it stands for.
    const DTYPE: DType;
    /// As a double; integers beyond 2^53 are rounded.
    fn to_f64(self) -> f64;
    /// From a double, as `as` converts; for `bool`, whether it is not zero.
    fn from_f64(v: f64) -> Self;
}

// SAFETY: an IEEE single, 4 bytes, all patterns valid.
unsafe impl Element for f32 {
    const DTYPE: DType = DType::F32;
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn from_f64(v: f64) -> Self {
        v as f32
    }
}
// SAFETY: an IEEE double, 8 bytes, all patterns valid.
unsafe impl Element for f64 {
    const DTYPE: DType = DType::F64;
    fn to_f64(self) -> f64 {
        self
    }
    fn from_f64(v: f64) -> Self {
        v
    }
}
// SAFETY: 8 bytes, all patterns valid.
unsafe impl Element for i64 {
    const DTYPE: DType = DType::I64;
    fn to_f64(self) -> f64 {
        self as f64
    }
    fn from_f64(v: f64) -> Self {
        v as i64
    }
}
// SAFETY: one byte; kernels write 0 or 1 only.
unsafe impl Element for bool {
    const DTYPE: DType = DType::Bool;
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self))
    }
    fn from_f64(v: f64) -> Self {
        v != 0.0
    }
}

/// A number that may stand on the right of an operator. It is weak: it takes the tensor's dtype.
pub trait Scalar: Copy {
    /// The value; integers beyond 2^53 are rounded.
    fn to_f64(self) -> f64;
    /// Whether it is written with a fractional type; such a scalar promotes an integer tensor to `f32`.
    const FRACTIONAL: bool;
}

/// One line per Rust number type.
macro_rules! scalars {
    ($($t:ty: $fractional:literal),*) => {
        $(impl Scalar for $t {
            const FRACTIONAL: bool = $fractional;
            fn to_f64(self) -> f64 { self as f64 }
        })*
    };
}
scalars! { f64: true, f32: true, i8: false, i16: false, i32: false, i64: false, u8: false, u16: false, u32: false, u64: false, usize: false, isize: false }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_numbers_are_inverse() {
        for d in [DType::F32, DType::F64, DType::I64] {
            for v in [0.0, 1.0, -2.0, 1024.0] {
                assert_eq!(d.number(d.bits(v)), v, "{d} {v}");
            }
        }
        assert_eq!(DType::Bool.number(DType::Bool.bits(3.0)), 1.0);
        assert_eq!(DType::F64.bits(-0.0), 1 << 63, "the sign of zero is kept");
    }
}
