//! How does a file of comma-separated numbers become an array?

use crate::{
    DataError,
    error::{read_file, within},
};
use std::path::Path;
use wengert_core::Array;

/// A reader of tables of numbers: one row a line, as many fields in each. Blank lines and blanks around fields don't count.
///
/// A field is what Rust reads as a double, `nan` and `inf` included; an empty field is an error.
///
/// ```
/// use wengert_data::Csv;
/// let table = Csv { header: true, ..Csv::default() }.parse(b"width,height\n1,2.5\n3,4e1\n")?;
/// assert_eq!(table, wengert_core::Array::from([[1.0, 2.5], [3.0, 40.0]]));
///
/// let error = Csv::default().parse(b"1,2\n3,four\n").unwrap_err();
/// assert_eq!(error.to_string(), r#"line 2, column 2: expected a number, got "four""#);
/// # Ok::<(), wengert_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Csv {
    /// What stands between fields; a comma by default.
    pub delimiter: u8,
    /// Whether the first line with anything on it is skipped; it is not by default.
    pub header: bool,
    /// The most bytes that are read, 1 GiB by default. The array takes up to 4 times, reading it up to 14 times as much memory.
    pub max_bytes: usize,
}

impl Default for Csv {
    fn default() -> Csv {
        Csv { delimiter: b',', header: false, max_bytes: 1 << 30 }
    }
}

impl Csv {
    /// The table in a file, `[rows, columns]` of dtype `F64`.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Array, DataError> {
        self.parse(&read_file(path.as_ref(), self.max_bytes)?)
    }

    /// The table in a text, `[rows, columns]` of dtype `F64`; `[0, 0]` for a text without rows.
    pub fn parse(&self, text: &[u8]) -> Result<Array, DataError> {
        within(text.len(), self.max_bytes)?;
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text); // the mark that some editors put first
        let lines = (1..).zip(text.split(|&b| b == b'\n')).filter(|(_, line)| !line.trim_ascii().is_empty());
        let (mut numbers, mut rows, mut columns) = (Vec::new(), 0, 0);
        for (line, fields) in lines.skip(usize::from(self.header)) {
            let found = self.row(line, fields, &mut numbers)?;
            if rows == 0 {
                columns = found;
            } else if found != columns {
                return Err(DataError::Fields { line, column: found.min(columns) + 1, expected: columns, found });
            }
            rows += 1;
        }
        Ok(Array::try_new(&[rows, columns], numbers)?)
    }

    /// Appends the numbers of a line; gives how many they are.
    fn row(&self, line: usize, fields: &[u8], numbers: &mut Vec<f64>) -> Result<usize, DataError> {
        let before = numbers.len();
        for (column, field) in (1..).zip(fields.split(|&b| b == self.delimiter)) {
            let number = std::str::from_utf8(field.trim_ascii()).ok().and_then(|f| f.parse().ok());
            numbers.push(number.ok_or_else(|| DataError::Number { line, column, text: shortened(field) })?);
        }
        Ok(numbers.len() - before)
    }
}

/// A field for an error message.
fn shortened(field: &[u8]) -> String {
    const MOST: usize = 32;
    let text = String::from_utf8_lossy(&field[..field.len().min(4 * MOST)]);
    let text = text.trim();
    if text.chars().count() > MOST { text.chars().take(MOST).chain(['…']).collect() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shuffle::generator;
    use rand::Rng;
    use wengert_core::DType;

    fn parse(text: &str) -> Result<Array, DataError> {
        Csv::default().parse(text.as_bytes())
    }

    #[test]
    fn tables_are_read() {
        let expected = Array::from([[1.0, -2.5], [1e-3, 4.0]]);
        for text in ["1,-2.5\n0.001,4", "1,-2.5\r\n1e-3,4\r\n", "\n 1 , -2.5\n\n  \n.001,\t4\n\n", "\u{feff}1,-2.5\n0.001,+4\n"] {
            assert_eq!(parse(text).unwrap(), expected, "{text:?}");
        }
        let tabs = Csv { delimiter: b'\t', header: true, ..Csv::default() };
        assert_eq!(tabs.parse(b"a\tb\n1\t-2.5\n0.001\t4\n").unwrap(), expected);
        assert_eq!(parse("\n \n").unwrap(), Array::zeros(DType::F64, [0, 0]));
        assert_eq!(parse("inf").unwrap().item(), f64::INFINITY);
    }

    #[test]
    fn errors_say_where() {
        assert!(matches!(parse("1,2\n\n3,x"), Err(DataError::Number { line: 3, column: 2, text }) if text == "x"));
        assert!(matches!(parse("1,,2"), Err(DataError::Number { line: 1, column: 2, text }) if text.is_empty()));
        assert!(matches!(parse("1,2\n3"), Err(DataError::Fields { line: 2, column: 2, expected: 2, found: 1 })));
        assert!(matches!(parse("1,2\n3,4,5"), Err(DataError::Fields { line: 2, column: 3, expected: 2, found: 3 })));
        assert!(matches!(Csv::default().parse(b"1,\xff\xfe"), Err(DataError::Number { line: 1, column: 2, .. })));
        assert!(matches!(parse(&"9x".repeat(1000)), Err(DataError::Number { text, .. }) if text.chars().count() == 33));
        let small = Csv { max_bytes: 3, ..Csv::default() };
        assert!(matches!(small.parse(b"1,22"), Err(DataError::TooLarge { limit: 3, found: 4 })));
        assert!(matches!(small.read("no/such/file.csv"), Err(DataError::Io { path, .. }) if path.contains("such")));
    }

    #[test]
    fn files_are_read_up_to_the_limit() {
        let path = std::env::temp_dir().join(format!("wengert-csv-{}.csv", std::process::id()));
        std::fs::write(&path, "1,2\n").unwrap();
        assert_eq!(Csv { max_bytes: 4, ..Csv::default() }.read(&path).unwrap(), Array::from([[1.0, 2.0]]));
        assert!(matches!(Csv { max_bytes: 3, ..Csv::default() }.read(&path), Err(DataError::TooLarge { limit: 3, .. })));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn broken_bytes_give_a_table_or_an_error() {
        let sound = b"1.5,-2,3e4\n4,5,6\r\n7,inf,0.001\n";
        let mut rng = generator(5, 0);
        let mut errors = 0;
        for round in 0..5000 {
            let mut text = sound[..rng.next_u64() as usize % (sound.len() + 1)].to_vec();
            for _ in 0..round % 4 {
                if let Some(at) = (rng.next_u64() as usize).checked_rem(text.len()) {
                    text[at] = if round % 8 < 4 { rng.next_u64() as u8 } else { b",\n-e.\"\0"[rng.next_u64() as usize % 7] };
                }
            }
            match Csv::default().parse(&text) {
                Ok(table) => assert_eq!(table.rank(), 2),
                Err(DataError::Number { line, column, .. } | DataError::Fields { line, column, .. }) => {
                    assert!((1..=30).contains(&line) && (1..=30).contains(&column));
                    errors += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!(errors > 1000, "{errors}");
    }
}
