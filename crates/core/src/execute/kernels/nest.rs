//! Which loops go around the blocks of a fused kernel, and how is the work cut into independent parts?
//!
//! By shapes alone, so that results are the same bits on any number of threads.

use super::space::{BLOCK, Space};

/// Long rows and high columns are folded in chunks of about so many elements when there are few of them.
const CHUNK: usize = 1 << 15;
/// From so many independent rows or column blocks on, none is cut into chunks.
const ENOUGH: usize = 64;
/// The most chunks, and the most tasks.
const MOST: [usize; 2] = [64, 256];
/// The least work that is shared, in tenths of a nanosecond: handing it over takes 1 to 2 µs, and then data goes from core to core.
const SHARED: usize = 50_000;
/// The least work of a task, in tenths of a nanosecond.
const TASK: usize = 16_000;

/// The loops around the blocks. Units are folded independently, each with a partial result for each of its columns.
#[derive(Clone, Copy)]
pub enum Nest {
    /// No folds.
    Flat,
    /// Each block holds whole rows.
    ShortRows { rows: usize, length: usize },
    /// Rows of many blocks, cut into chunks.
    LongRows { rows: usize, length: usize, chunk: usize, chunks: usize },
    /// `length` rows of `columns`, many times, cut into chunks of rows and blocks of columns.
    Columns { outer: usize, length: usize, columns: usize, blocks: usize, chunk: usize, chunks: usize },
    /// Rows passed over several times, in units of `chunk` rows; what is folded are columns.
    Rows { rows: usize, length: usize, chunk: usize },
}

impl Nest {
    /// The loops for `outer` times `length` folded times `columns` kept elements, in blocks of `step`.
    pub fn of([outer, length, columns]: [usize; 3], space: &Space, step: usize) -> Nest {
        if columns != 1 {
            let (width, blocks) = if columns > BLOCK { (BLOCK, space.blocks(columns, step)) } else { (columns.max(1), 1) };
            let group = if columns > BLOCK { 1 } else { step / width };
            let wanted = if outer * blocks < ENOUGH { (length * width).div_ceil(CHUNK).clamp(1, MOST[0]) } else { 1 };
            let chunk = length.div_ceil(wanted).next_multiple_of(group.max(1)).max(1);
            Nest::Columns { outer, length, columns, blocks, chunk, chunks: length.div_ceil(chunk).max(1) }
        } else if length <= BLOCK {
            Nest::ShortRows { rows: outer, length }
        } else {
            let whole = if space.last > BLOCK { CHUNK } else { CHUNK / space.last * space.last };
            let chunk = if outer < ENOUGH { whole.max(length.div_ceil(MOST[0]).next_multiple_of(space.last.min(BLOCK))) } else { length };
            Nest::LongRows { rows: outer, length, chunk, chunks: length.div_ceil(chunk) }
        }
    }

    /// How many parts each result is put together from.
    pub fn chunks(self) -> usize {
        match self {
            Nest::Flat | Nest::ShortRows { .. } => 1,
            Nest::LongRows { chunks, .. } | Nest::Columns { chunks, .. } => chunks,
            Nest::Rows { rows, chunk, .. } => rows.div_ceil(chunk),
        }
    }

    /// How many results each fold has.
    pub fn results(self) -> usize {
        match self {
            Nest::Flat => 0,
            Nest::ShortRows { rows, .. } | Nest::LongRows { rows, .. } => rows,
            Nest::Columns { outer, columns, .. } => outer * columns,
            Nest::Rows { length, .. } => length,
        }
    }

    /// How many parts there are that can be computed independently.
    pub fn units(self, space: &Space, step: usize) -> usize {
        match self {
            Nest::Flat => space.size.div_ceil(step.max(1)),
            Nest::ShortRows { rows, length } => rows.div_ceil((BLOCK / length.max(1)).max(1)),
            Nest::LongRows { rows, chunks, .. } => rows * chunks,
            Nest::Columns { outer, blocks, chunks, .. } => outer * blocks * chunks,
            Nest::Rows { rows, chunk, .. } => rows.div_ceil(chunk),
        }
    }
}

/// How many tasks that much work, in tenths of a nanosecond, is split into.
pub fn tasks(work: usize, units: usize) -> usize {
    if work < SHARED {
        return 1;
    }
    // Larger ones where there is enough for all threads, since a task has to set up its registers.
    let tasks = (work / TASK).min(8 + work / (10 * TASK)).min(MOST[1]).min(units);
    if tasks < 2 { 1 } else { tasks }
}
