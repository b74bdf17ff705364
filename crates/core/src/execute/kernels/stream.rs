//! How is a large result written without being read into the caches first? By stores that go past them.
//!
//! A store to a line that is in no cache reads it first, to write a part of it. Where a result is larger than the caches, so that whoever
//! reads it next finds it in memory anyway, that is a third of the traffic for nothing.

/// From so many bytes on, a result goes past the caches: the last-level cache of common machines.
const LARGE: usize = 1 << 25;

/// Whether a loop should write a result of so many bytes by [`copy`].
pub fn pays(bytes: usize) -> bool {
    cfg!(target_arch = "x86_64") && bytes >= LARGE
}

/// Copies past the caches. [`finish`] must follow on the same thread, before another may read the copy.
///
/// # Safety
/// `from` and `to` must hold `bytes` and not overlap.
pub unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize) {
    let head = to.align_offset(LINE).min(bytes);
    let whole = (bytes - head) / LINE * LINE;
    // SAFETY: three parts that lie one behind the other.
    unsafe {
        from.copy_to_nonoverlapping(to, head);
        lines(from.add(head), to.add(head), whole);
        from.add(head + whole).copy_to_nonoverlapping(to.add(head + whole), bytes - head - whole);
    }
}

/// Bytes of a line of the cache.
const LINE: usize = 64;

#[cfg(target_arch = "x86_64")]
unsafe fn lines(from: *const u8, to: *mut u8, bytes: usize) {
    use std::arch::x86_64::{_mm_loadu_ps, _mm_stream_ps};
    for at in (0..bytes).step_by(16) {
        // SAFETY: as for the caller; the target is aligned. These instructions belong to every x86-64.
        unsafe { _mm_stream_ps(to.add(at).cast(), _mm_loadu_ps(from.add(at).cast())) };
    }
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn lines(from: *const u8, to: *mut u8, bytes: usize) {
    // SAFETY: as for the caller.
    unsafe { from.copy_to_nonoverlapping(to, bytes) };
}

/// Makes what this thread has copied visible to those that it tells about it.
pub fn finish() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has it.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_start_and_length_is_copied_and_nothing_else() {
        let from: Vec<u8> = (0..=255).cycle().take(700).collect();
        for start in [0, 1, 4, 60, 64, 65] {
            for bytes in [0, 1, 4, 63, 64, 100, 129, 500] {
                let mut to = vec![9u8; 700];
                // SAFETY: both hold more.
                unsafe { copy(from[3..].as_ptr(), to[start..].as_mut_ptr(), bytes) };
                finish();
                assert_eq!(to[start..start + bytes], from[3..3 + bytes], "{bytes} from {start}");
                assert!(to[..start].iter().chain(&to[start + bytes..]).all(|&b| b == 9), "{bytes} from {start}");
            }
        }
    }
}
