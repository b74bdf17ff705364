//! The loops. The only place where elements are read and written through pointers.
pub mod contract;
pub mod gemm;
pub mod generate;
pub mod index;
pub mod opaque;
pub mod place;
pub mod scan;
pub mod strided;
