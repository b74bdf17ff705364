//! How is each operation evaluated as it is recorded? Switches for debugging.

use super::eval::evaluate_now;
use crate::Tape;

/// Applies the environment's switches to a new tape.
pub(crate) fn configure(tape: &Tape) {
    use std::sync::OnceLock;
    static EAGER: OnceLock<bool> = OnceLock::new();
    if *EAGER.get_or_init(|| std::env::var_os("WENGERT_EAGER").is_some_and(|v| v == "1")) {
        tape.make_eager();
    }
}

impl Tape {
    /// An empty tape that evaluates each operation as it is recorded, by itself: a failing op fails on its own line, and a debugger
    /// sees values. The results are the same; loops are not fused, so it is slower.
    ///
    /// The environment variable `WENGERT_EAGER=1` makes every tape so.
    pub fn eager() -> Tape {
        let tape = Tape::new();
        tape.make_eager();
        tape
    }

    fn make_eager(&self) {
        self.reader.borrow_mut().options.fuse = false;
        self.on_push.set(Some(evaluate_now));
    }

    /// From now on, every read stops at the first operation that gives a NaN, with its op and line.
    ///
    /// Loops are not fused meanwhile, so that the operation is known; it is slow, and meant for finding where a NaN comes from.
    ///
    /// ```should_panic
    /// # use wengert_core as wengert;
    /// # use wengert::{Array, Tape};
    /// let tape = Tape::new();
    /// tape.nan_trap();
    /// let x = tape.leaf(&Array::from([1.0, -1.0]));
    /// (x.ln() * 2.0).sum().item(); // panics: ln at …: it gives a NaN
    /// ```
    pub fn nan_trap(&self) {
        let mut reader = self.reader.borrow_mut();
        reader.options.fuse = false;
        reader.options.trap = true;
    }
}
