//! How do bytes decide what a random program is? One byte or two per decision, so that a fuzzer that changes a byte changes a decision.

/// Decisions read from bytes; when those end, every decision is the first.
pub struct Choices<'a> {
    bytes: &'a [u8],
}

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Choices { bytes }
    }

    pub fn is_over(&self) -> bool {
        self.bytes.is_empty()
    }

    fn byte(&mut self) -> usize {
        let Some((&first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        usize::from(first)
    }

    /// A number below `n`, which is at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        let drawn = if n <= 256 { self.byte() } else { self.byte() << 8 | self.byte() };
        drawn % n
    }

    /// A number from `low` to `high`, both included.
    pub fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True in about so many of 100 cases; false when the bytes have ended.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.byte() * 100 >= (100 - percent) * 256
    }

    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}
