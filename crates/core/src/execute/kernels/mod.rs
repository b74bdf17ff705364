//! The loops that compute a kernel's elements, through pointers that the planner has checked.
// Fused loops: instruction sets, the functions of one element, loops over a block, the blocks.
pub mod isa;
mod maths;
pub mod pointwise;
mod fold;
mod space;
mod nest;
pub mod prepare;
mod rows;
pub mod scratch;
pub mod fused;
pub mod straight;
#[cfg(test)]
mod tests;
// Loops of their own.
pub mod contract;
pub mod convolve;
pub mod gemm;
pub mod generate;
pub mod index;
pub mod opaque;
mod patches;
pub mod place;
pub mod pool;
pub mod scan;
pub mod scan_nan;
pub mod strided;
mod stream;
mod tiles;
mod transpose;
