//! What does a kernel see of memory while a plan runs?

use crate::plan::kernel::{BufferId, ScalarSource};

/// The buffers of one run, by number, and its scalar slots.
pub struct Frame<'a> {
    /// One entry per buffer of the plan.
    pub buffers: &'a [RawBuffer],
    /// Raw bits of the scalar slots.
    pub slots: &'a [u64],
}

/// Memory of one buffer.
#[derive(Clone, Copy, Debug)]
pub struct RawBuffer {
    /// First byte, aligned to 64; in a part of a chain, to an element.
    pub ptr: *mut u8,
    /// Length in bytes.
    pub bytes: usize,
}

// SAFETY: a frame only carries addresses; that no two tasks write one place is what each kernel argues for itself.
unsafe impl Send for RawBuffer {}
// SAFETY: as above.
unsafe impl Sync for RawBuffer {}

impl Frame<'_> {
    /// Memory of a buffer.
    pub fn buffer(&self, id: BufferId) -> RawBuffer {
        self.buffers[id as usize]
    }

    /// The bits of a scalar operand.
    pub fn scalar(&self, from: ScalarSource) -> u64 {
        match from {
            ScalarSource::Slot(i) => self.slots[i as usize],
            ScalarSource::Minus(i, dtype) => dtype.negative(self.slots[i as usize]),
            ScalarSource::Literal(bits) => bits,
        }
    }
}

/// What a kernel reports when the data it met makes its result meaningless. Its output is filled all the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The graph node.
    pub node: u32,
    /// What went wrong, with the values that show it.
    pub reason: String,
}
