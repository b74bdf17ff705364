//! How is memory reused, so that a step that has run once before never asks the system for any?

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    fmt,
    ptr::{self, NonNull},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering, fence},
    },
};

/// Every buffer starts at a multiple of this.
const ALIGN: usize = 64;
/// Blocks from this size on start at a multiple of it, so that the system can back them by huge pages.
const HUGE: usize = 2 << 20;
/// Idle memory kept by default.
const DEFAULT_LIMIT: usize = 1 << 30;
/// Four size classes for each power of two.
const CLASSES: usize = 4 * usize::BITS as usize;

/// The pool that all buffers come from.
static GLOBAL: Pool = Pool::new(DEFAULT_LIMIT);

/// Shared memory, 64-byte aligned. Clones share it; when the last is dropped, on any thread, it returns to the pool.
///
/// Contents are those of an earlier buffer, or zero. Writing needs [`Buffer::is_unique`] or another proof that no one else looks.
pub struct Buffer {
    block: NonNull<Block>,
    len: usize,
}

/// Bytes of all buffers in use, rounded up to their size classes.
pub fn live_bytes() -> usize {
    GLOBAL.live.load(Ordering::Relaxed)
}

/// Bytes that wait in the pool for reuse.
pub fn pooled_bytes() -> usize {
    GLOBAL.state().bytes
}

/// Gives the idle memory back to the system.
pub fn trim() {
    GLOBAL.evict(0, usize::MAX);
}

/// Sets how many bytes may wait in the pool (1 GiB unless set); what is above is freed at once.
pub fn set_pool_limit(bytes: usize) {
    GLOBAL.state().limit = bytes;
    GLOBAL.evict(bytes, usize::MAX);
}

impl Buffer {
    /// At least `bytes` bytes. Aborts like a `Vec` when there is no memory.
    pub fn new(bytes: usize) -> Self {
        match Self::try_new(bytes) {
            Some(buffer) => buffer,
            None => {
                handle_alloc_error(Layout::from_size_align(bytes.min(isize::MAX as usize - ALIGN), ALIGN).unwrap_or(Layout::new::<u8>()))
            }
        }
    }

    /// At least `bytes` bytes, or `None` when there is no memory.
    pub fn try_new(bytes: usize) -> Option<Self> {
        GLOBAL.take(bytes)
    }

    /// The first byte.
    pub fn ptr(&self) -> *mut u8 {
        self.block().data
    }

    /// The first byte, for reading.
    pub fn as_ptr(&self) -> *const u8 {
        self.block().data
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether no other clone exists; then what this thread writes is seen by nobody else.
    pub fn is_unique(&self) -> bool {
        self.refs() == 1
    }

    /// Number of clones, this one included.
    pub fn refs(&self) -> usize {
        self.block().refs.load(Ordering::Acquire)
    }

    /// `bytes` bytes from `offset` on, in a buffer of their own.
    pub fn copy_part(&self, offset: usize, bytes: usize) -> Buffer {
        assert!(offset + bytes <= self.len, "a part of {} bytes, not {offset}..{}", self.len, offset + bytes);
        let copy = Buffer::new(bytes);
        // SAFETY: both ranges lie within their buffers (asserted), which are two different allocations.
        unsafe { ptr::copy_nonoverlapping(self.ptr().add(offset), copy.ptr(), bytes) };
        copy
    }

    fn block(&self) -> &Block {
        // SAFETY: a block lives while a buffer refers to it; it is shared only, apart from its atomic count.
        unsafe { self.block.as_ref() }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        let before = self.block().refs.fetch_add(1, Ordering::Relaxed);
        assert!(before < isize::MAX as usize, "too many clones of one buffer");
        Buffer { ..*self }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.block().refs.fetch_sub(1, Ordering::Release) == 1 {
            // Whatever the other clones read must have been read before the memory is written again.
            fence(Ordering::Acquire);
            self.block().pool.give(self.block);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes, {} refs)", self.len, self.refs())
    }
}

// SAFETY: the count is atomic and the pool locked; access to the contents is for those who use the pointer to argue.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

/// The header of a piece of memory. Heap-allocated once with it, and kept as long.
struct Block {
    refs: AtomicUsize,
    data: *mut u8,
    base: *mut u8,
    class: usize,
    pool: &'static Pool,
    next: *mut Block, // in the free list
}

/// Free lists of blocks, one for each size class, linked through the blocks themselves.
struct Pool {
    live: AtomicUsize,
    state: Mutex<Idle>,
}

struct Idle {
    lists: [*mut Block; CLASSES],
    bytes: usize,
    limit: usize,
}

// SAFETY: a listed block belongs to the list alone, whichever thread holds the lock.
unsafe impl Send for Idle {}

impl Pool {
    const fn new(limit: usize) -> Self {
        Pool { live: AtomicUsize::new(0), state: Mutex::new(Idle { lists: [ptr::null_mut(); CLASSES], bytes: 0, limit }) }
    }

    fn state(&self) -> MutexGuard<'_, Idle> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&'static self, bytes: usize) -> Option<Buffer> {
        let class = class(bytes)?;
        let listed = self.state().pop(class);
        let block = match NonNull::new(listed) {
            Some(block) => block,
            None => Block::allocate(class, self)?,
        };
        // SAFETY: the block is in no list and no buffer refers to it, so this is the only reference.
        let free = unsafe { block.as_ref() };
        free.refs.store(1, Ordering::Relaxed);
        allow(free.data, bytes, capacity(class));
        self.live.fetch_add(capacity(class), Ordering::Relaxed);
        Some(Buffer { block, len: bytes })
    }

    /// Takes back a block that no buffer refers to any more.
    fn give(&self, block: NonNull<Block>) {
        // SAFETY: no buffer refers to the block and it is in no list yet.
        let given = unsafe { block.as_ref() };
        let (class, size) = (given.class, capacity(given.class));
        allow(given.data, 0, size);
        self.live.fetch_sub(size, Ordering::Relaxed);
        let mut state = self.state();
        if state.bytes + size > state.limit {
            // Sizes that nobody asks for any more must not keep out those that are in use.
            let room = state.limit.saturating_sub(size);
            drop(state);
            self.evict(room, class);
            state = self.state();
        }
        if state.bytes + size <= state.limit {
            state.push(block);
        } else {
            drop(state);
            Block::free(block);
        }
    }

    /// Frees idle blocks, large ones first, until at most `room` bytes are left; blocks of class `spare` stay.
    fn evict(&self, room: usize, spare: usize) {
        for class in (0..CLASSES).rev().filter(|&c| c != spare) {
            loop {
                let mut state = self.state();
                if state.bytes <= room {
                    return;
                }
                let Some(block) = NonNull::new(state.pop(class)) else { break };
                drop(state); // the system may take its time
                Block::free(block);
            }
        }
    }
}

impl Idle {
    fn pop(&mut self, class: usize) -> *mut Block {
        let head = self.lists[class];
        if !head.is_null() {
            // SAFETY: a listed block is alive and belongs to the list, which is locked.
            self.lists[class] = unsafe { (*head).next };
            self.bytes -= capacity(class);
        }
        head
    }

    fn push(&mut self, block: NonNull<Block>) {
        let block = block.as_ptr();
        // SAFETY: the caller hands over the only reference.
        let class = unsafe {
            (*block).next = self.lists[(*block).class];
            (*block).class
        };
        self.lists[class] = block;
        self.bytes += capacity(class);
    }
}

impl Block {
    fn allocate(class: usize, pool: &'static Pool) -> Option<NonNull<Self>> {
        let layout = layout(class)?;
        // SAFETY: a layout is never of size 0.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            return None;
        }
        let data = base.wrapping_add(base.align_offset(align(class)));
        debug_assert!(data as usize + capacity(class) <= base as usize + layout.size());
        advise_huge(data, capacity(class));
        let block = Block { refs: AtomicUsize::new(0), data, base, class, pool, next: ptr::null_mut() };
        Some(NonNull::from(Box::leak(Box::new(block))))
    }

    fn free(block: NonNull<Self>) {
        // SAFETY: it was leaked from a box by `allocate`, and the caller hands over the only reference.
        let block = unsafe { Box::from_raw(block.as_ptr()) };
        let layout = layout(block.class).expect("the layout of a block that was allocated with it");
        allow(block.data, capacity(block.class), capacity(block.class));
        // SAFETY: `base` was allocated with this layout.
        unsafe { dealloc(block.base, layout) };
    }
}

/// The smallest class that holds `bytes`.
fn class(bytes: usize) -> Option<usize> {
    if bytes > isize::MAX as usize / 2 {
        return None;
    }
    let last = bytes.max(ALIGN) - 1;
    let top = last.ilog2() as usize; // 2^top <= last
    let quarter = (last >> (top - 2)) & 3;
    Some(top * 4 + quarter)
}

/// Bytes that a block of this class holds.
fn capacity(class: usize) -> usize {
    let (top, quarter) = (class / 4, class % 4);
    (5 + quarter) << (top - 2)
}

fn align(class: usize) -> usize {
    if capacity(class) >= HUGE { HUGE } else { ALIGN }
}

/// More room than the capacity, since only plain alignments get zeroed pages from the system without writing them.
fn layout(class: usize) -> Option<Layout> {
    Layout::from_size_align(capacity(class).checked_add(align(class))?, 16).ok()
}

/// Asks for huge pages, whose faults cost a tenth; that it fails doesn't matter.
#[cfg(target_os = "linux")]
fn advise_huge(data: *mut u8, bytes: usize) {
    unsafe extern "C" {
        fn madvise(addr: *mut u8, length: usize, advice: i32) -> i32;
    }
    const MADV_HUGEPAGE: i32 = 14;
    if bytes >= HUGE {
        // SAFETY: the range lies in memory of our own; the advice changes how it is backed, not what it holds.
        unsafe { madvise(data, bytes / HUGE * HUGE, MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise_huge(_: *mut u8, _: usize) {}

/// Tells AddressSanitizer that of `capacity` bytes only the first `used` may be touched; else rounding up to a size class would hide
/// what reads or writes beyond a buffer, and a list of idle blocks what does so too late. Built with `--cfg wengert_asan` only.
#[cfg(wengert_asan)]
fn allow(data: *mut u8, used: usize, capacity: usize) {
    unsafe extern "C" {
        fn __asan_poison_memory_region(from: *const u8, bytes: usize);
        fn __asan_unpoison_memory_region(from: *const u8, bytes: usize);
    }
    // SAFETY: the range lies in a block of our own; only what may be touched changes, not what it holds.
    unsafe {
        __asan_poison_memory_region(data, capacity);
        __asan_unpoison_memory_region(data, used);
    }
}

#[cfg(not(wengert_asan))]
fn allow(_: *mut u8, _: usize, _: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(limit: usize) -> &'static Pool {
        Box::leak(Box::new(Pool::new(limit)))
    }

    #[test]
    fn classes_hold_what_they_promise_and_waste_at_most_a_quarter() {
        for bytes in (0..5000).chain([1 << 20, (1 << 20) + 1, 3 << 30, usize::MAX >> 3]) {
            let class = class(bytes).unwrap();
            let size = capacity(class);
            assert!(size >= bytes && (bytes < ALIGN || size - bytes <= bytes / 4 + 1), "{bytes} -> {size}");
            assert!(size >= ALIGN && class < CLASSES);
        }
        assert_eq!(class(usize::MAX), None);
        assert!(Buffer::try_new(isize::MAX as usize - 7).is_none());
    }

    #[test]
    fn memory_is_aligned_zero_at_first_and_reused() {
        let pool = pool(DEFAULT_LIMIT);
        for bytes in [0, 1, 64, 65, 1000, HUGE - 1, HUGE, 5 * HUGE / 2] {
            let buffer = pool.take(bytes).unwrap();
            assert_eq!(buffer.len(), bytes);
            let align = if bytes >= HUGE { HUGE } else { ALIGN };
            assert_eq!(buffer.ptr() as usize % align, 0);
            // SAFETY: `bytes` bytes of this buffer's own.
            assert!((0..bytes).all(|i| unsafe { *buffer.ptr().add(i) } == 0));
            let address = buffer.ptr();
            drop(buffer);
            assert_eq!(pool.take(bytes).unwrap().ptr(), address, "{bytes} bytes should be recycled");
        }
        assert_eq!(pool.live.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn clones_share_and_only_the_last_returns_it() {
        let pool = pool(DEFAULT_LIMIT);
        let a = pool.take(256).unwrap();
        let b = a.clone();
        assert_eq!((a.ptr(), a.refs(), b.is_unique()), (b.ptr(), 2, false));
        drop(a);
        assert!(b.is_unique());
        assert_eq!(pool.state().bytes, 0);
        drop(b);
        assert_eq!(pool.state().bytes, 256);
    }

    #[test]
    fn the_pool_is_bounded_and_prefers_sizes_in_use() {
        let pool = pool(4096);
        let (a, b) = (pool.take(2048).unwrap(), pool.take(1024).unwrap());
        drop((a, b));
        assert_eq!(pool.state().bytes, 3072);
        drop(pool.take(4096).unwrap());
        assert_eq!(pool.state().bytes, 4096, "the others had to leave");
        drop(pool.take(8192).unwrap());
        assert!(pool.state().bytes <= 4096, "too large to keep");
        pool.evict(0, usize::MAX);
        assert_eq!(pool.state().bytes, 0);
    }

    #[test]
    fn buffers_cross_threads() {
        let pool = pool(1 << 20);
        std::thread::scope(|s| {
            for t in 0..4u8 {
                s.spawn(move || {
                    for i in 0..500 {
                        let buffer = pool.take(64 << (i % 5)).unwrap();
                        // SAFETY: the buffer is unique here.
                        unsafe { buffer.ptr().write_bytes(t, buffer.len()) };
                        let clone = buffer.clone();
                        s.spawn(move || drop(clone));
                        // SAFETY: nobody writes any more.
                        assert!((0..buffer.len()).all(|i| unsafe { *buffer.ptr().add(i) } == t));
                    }
                });
            }
        });
        assert_eq!(pool.live.load(Ordering::Relaxed), 0);
    }
}
