//! Does a buffer that was used before come back without the heap being asked? Alone in its binary, since it counts all allocations.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};
use wengert_core::memory::{Buffer, live_bytes, pooled_bytes, set_pool_limit, trim};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's duty is the same.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn step() {
    let buffers = [0, 100, 5000, 3 << 20, 100].map(Buffer::new);
    let clones = buffers.clone();
    drop(buffers);
    assert!(clones.iter().all(Buffer::is_unique));
}

#[test]
fn a_step_that_runs_again_allocates_nothing() {
    let live = live_bytes();
    step();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..100).for_each(|_| step());
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before);
    assert_eq!(live_bytes(), live);
    let idle = pooled_bytes();
    assert!(idle >= 3 << 20);
    trim();
    assert_eq!(pooled_bytes(), 0);
    set_pool_limit(1000);
    step();
    assert!(pooled_bytes() <= 1000);
}
