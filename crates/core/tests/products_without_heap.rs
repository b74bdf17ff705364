//! Do matrix products leave the heap alone once they have run? Alone in its binary, since it counts all allocations.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};
use wengert_core::{Array, DType, Tape, Tensor};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's duty is the same.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Fewest allocations in one of ten runs of `record`, after ten that prepare it, and the result. The fewest, since a worker that
/// takes its first product late asks for its packing memory then.
fn allocations(operands: [&Array; 2], record: for<'t> fn([Tensor<'t>; 2]) -> Tensor<'t>) -> (usize, Array) {
    let mut tape = Tape::new();
    let mut run = || {
        tape.clear();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let value = record(operands.map(|x| tape.leaf(x))).value();
        (ALLOCATIONS.load(Ordering::Relaxed) - before, value)
    };
    (0..10).for_each(|_| drop(run()));
    let fewest = (0..10).map(|_| run().0).min().unwrap();
    (fewest, run().1)
}

#[test]
fn products_that_run_again_allocate_nothing() {
    for dtype in [DType::F32, DType::F64, DType::I64] {
        for [m, n, k] in
            [[4, 4, 4], [16, 16, 16], [64, 64, 64], [65, 70, 600], [128, 10, 512], [1, 512, 512], [512, 1, 512], [300, 200, 100]]
        {
            for layout in 0..4 {
                let x = Array::ones(dtype, if layout & 1 > 0 { [k, m] } else { [m, k] });
                let y = Array::ones(dtype, if layout & 2 > 0 { [n, k] } else { [k, n] });
                let record: for<'t> fn([Tensor<'t>; 2]) -> Tensor<'t> = match layout {
                    0 => |[a, b]| a.matmul(b),
                    1 => |[a, b]| a.transpose(0, 1).matmul(b),
                    2 => |[a, b]| a.matmul(b.transpose(0, 1)),
                    _ => |[a, b]| a.transpose(0, 1).matmul(b.transpose(0, 1)),
                };
                let (found, value) = allocations([&x, &y], record);
                assert!(value.to_f64_vec().iter().all(|&v| v == k as f64));
                assert_eq!(found, 0, "{dtype:?} {m} {n} {k}, layout {layout}");
            }
        }
    }
}
