//! Where does a thread keep registers, gathered panels, partial sums, and what is a part's own? In memory that grows and is kept.

use std::{
    alloc::{self, handle_alloc_error},
    cell::Cell,
    ptr,
};

/// Registers begin at multiples of it.
const ALIGN: usize = 64;

/// From so many bytes on, no more are taken than are asked for: what many kernels ask for one after the other is smaller.
const LARGE: usize = 1 << 18;

/// Memory of a thread, aligned to [`ALIGN`].
struct Scratch {
    ptr: *mut u8,
    bytes: usize,
}

impl Scratch {
    const EMPTY: Scratch = Scratch { ptr: ptr::without_provenance_mut(ALIGN), bytes: 0 };

    fn layout(bytes: usize) -> alloc::Layout {
        alloc::Layout::from_size_align(bytes, ALIGN).expect("scratch memory of a kernel is far below the limit of the address space")
    }

    /// At least `bytes` of it. What it held is lost when it grows. New memory is zeroed.
    fn grow(&mut self, bytes: usize) -> *mut u8 {
        if bytes > self.bytes {
            *self = Scratch::EMPTY; // gives the old memory back first
            let layout = Self::layout(if bytes < LARGE { bytes.next_power_of_two() } else { bytes });
            // SAFETY: the layout has a size above 0.
            let ptr = unsafe { alloc::alloc_zeroed(layout) };
            if ptr.is_null() {
                handle_alloc_error(layout);
            }
            *self = Scratch { ptr, bytes: layout.size() };
        }
        self.ptr
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: it came from the allocator with this layout.
            unsafe { alloc::dealloc(self.ptr, Self::layout(self.bytes)) };
        }
    }
}

thread_local! {
    static REGISTERS: Cell<Scratch> = const { Cell::new(Scratch::EMPTY) };
    static PANELS: Cell<Scratch> = const { Cell::new(Scratch::EMPTY) };
    static PARTIALS: Cell<Scratch> = const { Cell::new(Scratch::EMPTY) };
    static PARTS: Cell<Scratch> = const { Cell::new(Scratch::EMPTY) };
}

/// Calls `work` with at least `bytes` of the thread's memory for registers, aligned to 64. Their content is arbitrary.
pub fn with_registers<R>(bytes: usize, work: impl FnOnce(*mut u8) -> R) -> R {
    REGISTERS.with(|cell| lend(cell, bytes, work))
}

/// The same with the thread's memory for operands of matrix products that are gathered.
pub fn with_panels<R>(bytes: usize, work: impl FnOnce(*mut u8) -> R) -> R {
    PANELS.with(|cell| lend(cell, bytes, work))
}

/// The same with the thread's memory for partial results, which other threads may write meanwhile.
pub fn with_partials<R>(bytes: usize, work: impl FnOnce(*mut u8) -> R) -> R {
    if bytes == 0 { work(ptr::without_provenance_mut(ALIGN)) } else { PARTIALS.with(|cell| lend(cell, bytes, work)) }
}

/// The same with the thread's memory for the own buffers of a part of a chain.
pub fn with_parts<R>(bytes: usize, work: impl FnOnce(*mut u8) -> R) -> R {
    PARTS.with(|cell| lend(cell, bytes, work))
}

fn lend<R>(cell: &Cell<Scratch>, bytes: usize, work: impl FnOnce(*mut u8) -> R) -> R {
    // Taken out while in use, so that a kernel inside a kernel would get memory of its own.
    let mut scratch = cell.replace(Scratch::EMPTY);
    let result = work(scratch.grow(bytes));
    cell.set(scratch);
    result
}

/// Sections of scratch memory, each aligned to [`ALIGN`].
#[derive(Default)]
pub struct Layout {
    end: usize,
}

impl Layout {
    /// Where a new section of so many bytes begins.
    pub fn reserve(&mut self, bytes: usize) -> usize {
        let at = self.end;
        self.end += bytes.next_multiple_of(ALIGN);
        at
    }

    /// Bytes in all.
    pub fn bytes(&self) -> usize {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_grown_and_lent_once() {
        let first = with_registers(100, |p| {
            assert_eq!(p.addr() % ALIGN, 0);
            with_registers(100, |q| assert_ne!(p, q, "nested use must not share"));
            p
        });
        assert_eq!(with_registers(64, |p| p), with_registers(128, |p| p), "kept: {first:?}");
        with_registers(100_000, |p| {
            // SAFETY: as many bytes were asked for.
            unsafe { p.add(99_999).write(1) };
        });
    }
}
