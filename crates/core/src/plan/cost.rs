//! How many operations and bytes does a kernel take? By one model: plans are decided by it, and shown and profiled with it.
//!
//! Bytes are those of the distinct elements that a kernel's operands and results have, as if each went through memory once. Operations
//! are additions, multiplications and their like; an elementary function counts as about as many as its polynomial takes.

use super::{
    Plan,
    kernel::{Fused, Inst, Kernel, Place},
    memory::touches,
};
use crate::{Convolution, DType, Instr};

/// Operations and bytes of a kernel, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point (or integer) operations.
    pub flops: u64,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

impl Cost {
    /// Bytes read and written.
    pub fn bytes(&self) -> u64 {
        self.read + self.written
    }
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.flops += other.flops;
        self.read += other.read;
        self.written += other.written;
    }
}

/// Operations of an instruction on one element.
pub(crate) fn operations(instr: Instr) -> u64 {
    use Instr::*;
    match instr {
        Copy | Cast(_) => 0,
        MulAdd => 2,
        Exp | Expm1 | Sigmoid | Sin | Cos => 20,
        Ln | Ln1p | Tanh => 25,
        Erf => 35,
        Pow => 60,
        _ => 1,
    }
}

/// The cost of kernel `at` of a plan.
pub(crate) fn cost(plan: &Plan, at: usize) -> Cost {
    let kernel = &plan.kernels[at];
    let read = touches(kernel).0.into_iter().map(|p| (distinct(p) * p.dtype.size()) as u64).sum();
    let written = plan.written(at).into_iter().map(|(_, dtype, size): (_, DType, usize)| (size * dtype.size()) as u64).sum();
    Cost { flops: flops(kernel), read, written }
}

/// Elements of an operand, those that are repeated counted once.
fn distinct(p: &Place) -> usize {
    p.dims.iter().zip(&p.strides).map(|(&d, &stride)| if stride == 0 { d.min(1) } else { d }).product()
}

fn size(dims: &[usize]) -> u64 {
    dims.iter().product::<usize>() as u64
}

pub(super) fn flops(kernel: &Kernel) -> u64 {
    match kernel {
        Kernel::Fused(k) => fused(k),
        Kernel::Contract(k) => k.terms.iter().map(|t| 2 * size(&t.a.dims) * t.b.dims[t.b.dims.len() - 1] as u64).sum(),
        Kernel::Convolve(k) => {
            let (output, weight) = match k.kind {
                Convolution::Output => (&k.dims, &k.b.dims),
                Convolution::Image => (&k.a.dims, &k.b.dims),
                Convolution::Weight => (&k.b.dims, &k.dims),
            };
            2 * size(output) * size(&weight[1..])
        }
        Kernel::Pool(k) => size(&k.x.dims),
        Kernel::Index(k) => k.src.as_ref().map_or(0, |src| size(&src.dims)),
        Kernel::Scan(k) => size(&k.x.dims),
        Kernel::Generate(k) => 20 * k.shape.size() as u64,
        Kernel::Place(_) | Kernel::Opaque(_) => 0,
    }
}

fn fused(k: &Fused) -> u64 {
    let sum = |code: &[Inst]| code.iter().map(|i| operations(i.instr)).sum::<u64>();
    let passes = || k.rows.iter().flat_map(|rows| &rows.passes);
    let each = sum(&k.code) + (k.folds.len() + passes().map(|p| p.folds.len()).sum::<usize>()) as u64;
    each * size(&k.dims) + passes().map(|p| sum(&p.then)).sum::<u64>() * size(&k.dims[..k.outer])
}
