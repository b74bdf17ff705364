//! What can be wrong with data from outside?

use std::{fs::File, io::Read, path::Path};
use wengert_core::{ArrayError, DType};

/// Why data could not be read, split, scaled or batched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A field of a table is not a number.
    #[error("line {line}, column {column}: expected a number, got {text:?}")]
    Number {
        /// Line of the file, from 1.
        line: usize,
        /// Field of the line, from 1.
        column: usize,
        /// The field, shortened.
        text: String,
    },
    /// A row has another number of fields than the first.
    #[error("line {line}: expected {expected} fields as in the first row, got {found} (at column {column})")]
    Fields {
        /// Line of the file, from 1.
        line: usize,
        /// The first field that is missing or too much, from 1.
        column: usize,
        /// Fields of the first row.
        expected: usize,
        /// Fields of this row.
        found: usize,
    },
    /// There is more data than the limit allows.
    #[error("the data has {found} bytes or more, the limit is {limit}")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// What was found before reading stopped.
        found: usize,
    },
    /// There are too few rows for what was asked.
    #[error("expected at least {expected} rows, got {found}")]
    Rows {
        /// How many are needed.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// An array does not have the shape that is needed.
    #[error("{what}: expected {expected}, got shape {found:?}")]
    Shape {
        /// Which array.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// An array does not have the dtype that is needed.
    #[error("{what}: expected {expected}, got {found}")]
    DType {
        /// Which array.
        what: &'static str,
        /// What it should be.
        expected: &'static str,
        /// Its dtype.
        found: DType,
    },
    /// A label is not a whole number that a double holds exactly.
    #[error("row {row}: expected a whole number as label, got {found}")]
    Label {
        /// Row of the table, from 0.
        row: usize,
        /// What stands there.
        found: f64,
    },
    /// There is no such column.
    #[error("column {column}: the table has {columns} columns, counted from 0")]
    Column {
        /// The column asked for.
        column: usize,
        /// How many there are.
        columns: usize,
    },
    /// A fraction does not lie strictly between 0 and 1.
    #[error("expected a fraction between 0 and 1, both excluded, got {0}")]
    Fraction(f64),
    /// Batches of no rows were asked for.
    #[error("expected batches of at least one row, got 0")]
    BatchSize,
    /// A number is NaN or infinite.
    #[error("row {row}, column {column}: expected a finite number, got {found}")]
    NotFinite {
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// What stands there.
        found: f64,
    },
    /// The numbers of a column are so large that their mean or deviation overflows.
    #[error("column {column}: the mean or the deviation overflows")]
    Overflow {
        /// Column, from 0.
        column: usize,
    },
    /// An IDX file does not start with two zero bytes, a known type and a number of axes.
    #[error("not an IDX file: it starts with {0:?}")]
    Magic(Vec<u8>),
    /// An IDX file has fewer or more bytes than its header says.
    #[error("an IDX file of {found} bytes whose header says {expected}")]
    Length {
        /// What the header says.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// No array can hold the data.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// The file could not be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The bytes of a file, unless there are more than `limit`.
pub(crate) fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, DataError> {
    let io = |source| DataError::Io { path: path.display().to_string(), source };
    let mut bytes = Vec::new();
    // One byte more tells a file at the limit from one beyond it, also when the file is a pipe without a length.
    File::open(path).map_err(io)?.take((limit as u64).saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    within(bytes.len(), limit)?;
    Ok(bytes)
}

/// An error above the limit.
pub(crate) fn within(found: usize, limit: usize) -> Result<(), DataError> {
    if found > limit { Err(DataError::TooLarge { limit, found }) } else { Ok(()) }
}
