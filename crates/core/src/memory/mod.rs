//! Where does the memory of arrays and arenas come from, and where does it go back to?

mod pool;

pub use pool::{Buffer, live_bytes, pooled_bytes, set_pool_limit, trim};
