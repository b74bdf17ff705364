//! How is an array written for people? As NumPy writes one, down to the last blank; NumPy itself wrote the lines the test expects.

use super::Array;
use crate::{DType, Element};
use std::{
    fmt::{self, Display, LowerExp},
    str::FromStr,
    vec,
};

/// Above so many elements only the outermost ones of each axis are shown.
const THRESHOLD: usize = 1000;
/// How many at each end.
const EDGE: usize = 3;
/// Longest line.
const WIDTH: usize = 75;
/// Digits after the point unless asked otherwise, as in `{:.3}`.
const PRECISION: usize = 8;

/// As NumPy's `str`: `[[1. 2.]\n [3. 4.]]`. At most 8 digits after the point, or as many as `{:.3}` says; a lone scalar has all it needs.
///
/// ```
/// # use wengert_core::Array;
/// assert_eq!(Array::from([[1.0, 2.5], [-3.0, 4.0]]).to_string(), "[[ 1.   2.5]\n [-3.   4. ]]");
/// assert_eq!(format!("{:.2}", Array::from([0.1234])), "[0.12]");
/// ```
impl Display for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&match (self.rank(), self.dtype()) {
            (0, DType::F32) => lone(self.as_slice::<f32>()[0]),
            (0, DType::F64) => lone(self.as_slice::<f64>()[0]),
            _ => body(self, f.precision(), " ", 1, WIDTH),
        })
    }
}

/// As NumPy's `repr`, with our dtype names: `array([[1., 2.], [3., 4.]], f32)`. The shape is added where it can't be seen.
impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = "array(";
        let text = format!("{prefix}{},", body(self, f.precision(), ", ", prefix.len() + 1, WIDTH - 1));
        let hidden = self.size() > THRESHOLD || (self.size() == 0 && self.rank() != 1);
        let shape = if hidden { format!("shape={:?}, ", self.shape()) } else { String::new() };
        let tail = format!("{shape}{})", self.dtype());
        let last_line = text.rsplit('\n').next().map_or(0, str::len);
        let gap = if last_line + tail.len() + 1 > WIDTH { format!("\n{:1$}", "", prefix.len()) } else { " ".into() };
        write!(f, "{text}{gap}{tail}")
    }
}

/// The brackets and what is in them.
fn body(array: &Array, precision: Option<usize>, separator: &'static str, indent: usize, width: usize) -> String {
    if array.size() == 0 {
        return "[]".into();
    }
    let summary = array.size() > THRESHOLD;
    let mut positions = Vec::new();
    shown(array.shape(), summary, 0, &mut positions);
    let words = words(array, &positions, precision.unwrap_or(PRECISION));
    Page { words: words.into_iter(), summary, separator }.write(array.shape(), indent, width)
}

/// Row-major positions of the elements that are shown.
fn shown(dims: &[usize], summary: bool, from: usize, positions: &mut Vec<usize>) {
    let Some((&d, inner)) = dims.split_first() else { return positions.push(from) };
    for i in (0..d).filter(|&i| !summary || i < EDGE || i + EDGE >= d) {
        shown(inner, summary, (from * d) + i, positions);
    }
}

/// The words of the shown elements, in order, and how they are laid out.
struct Page {
    words: vec::IntoIter<String>,
    summary: bool,
    separator: &'static str,
}

impl Page {
    /// Writes the next part of the array, of these lengths; lines after the first start with `indent` blanks.
    fn write(&mut self, dims: &[usize], indent: usize, width: usize) -> String {
        match dims {
            [] => self.words.next().unwrap_or_default(),
            [d] => self.row(*d, indent, width),
            [d, inner @ ..] => {
                let between = format!("{}{}{:indent$}", self.separator.trim_end(), "\n".repeat(inner.len()), "");
                let parts: Vec<String> = self.items(*d, |page| page.write(inner, indent + 1, width - 1));
                format!("[{}]", parts.join(&between))
            }
        }
    }

    /// The last axis: words that wrap where the line would be too long for them and what follows.
    fn row(&mut self, d: usize, indent: usize, width: usize) -> String {
        let words = self.items(d, |page| page.words.next().unwrap_or_default());
        let (mut text, mut line) = (String::new(), " ".repeat(indent));
        for (i, word) in words.iter().enumerate() {
            if i > 0 {
                line += self.separator;
            }
            if line.len() + word.len() > width - 1 && line.len() > indent {
                text = text + line.trim_end() + "\n";
                line = " ".repeat(indent);
            }
            line += word;
        }
        format!("[{}]", &(text + &line)[indent..])
    }

    /// What `item` gives for the shown places along an axis of length `d`, with dots where others are left out.
    fn items(&mut self, d: usize, mut item: impl FnMut(&mut Page) -> String) -> Vec<String> {
        if !self.summary || d <= 2 * EDGE {
            return (0..d).map(|_| item(self)).collect();
        }
        let mut all: Vec<String> = (0..2 * EDGE).map(|_| item(self)).collect();
        all.insert(EDGE, "...".into());
        all
    }
}

/// The elements at these positions, all of one width.
fn words(array: &Array, positions: &[usize], precision: usize) -> Vec<String> {
    let words = match array.dtype() {
        DType::F32 => floats::<f32>(&pick(array, positions), precision),
        DType::F64 => floats::<f64>(&pick(array, positions), precision),
        DType::I64 => pick::<i64>(array, positions).iter().map(i64::to_string).collect(),
        DType::Bool => pick::<bool>(array, positions).iter().map(|&v| String::from(if v { "True" } else { "False" })).collect(),
    };
    let width = match array.dtype() {
        DType::Bool if array.rank() > 0 => "False".len(),
        _ => words.iter().map(String::len).max().unwrap_or(0),
    };
    words.iter().map(|w| format!("{w:>width$}")).collect()
}

fn pick<T: Element>(array: &Array, positions: &[usize]) -> Vec<T> {
    let all = array.as_slice::<T>();
    positions.iter().map(|&i| all[i]).collect()
}

/// What the two float types have in common as text.
trait Float: Element + Display + LowerExp + FromStr {}
impl Float for f32 {}
impl Float for f64 {}

/// Floats aligned at the point; all of them with exponents if one is large or small, or if their magnitudes are far apart.
fn floats<T: Float>(values: &[T], precision: usize) -> Vec<String> {
    let finite: Vec<T> = values.iter().copied().filter(|v| v.to_f64().is_finite()).collect();
    let aligned = if wants_exponents(&finite) { exponents(&finite, precision) } else { positions(&finite, precision) };
    let mut aligned = aligned.into_iter();
    values.iter().map(|v| if v.to_f64().is_finite() { aligned.next().unwrap_or_default() } else { not_finite(v.to_f64()) }).collect()
}

fn not_finite(v: f64) -> String {
    if v.is_nan() {
        "nan"
    } else if v > 0.0 {
        "inf"
    } else {
        "-inf"
    }
    .into()
}

fn wants_exponents<T: Element>(finite: &[T]) -> bool {
    let magnitudes = || finite.iter().map(|v| v.to_f64().abs()).filter(|&v| v != 0.0);
    let (least, largest) = (magnitudes().fold(f64::INFINITY, f64::min), magnitudes().fold(0.0, f64::max));
    // The rule counts in the precision of the elements.
    let round = |v: f64| T::from_f64(v).to_f64();
    let limit = if T::DTYPE == DType::F32 { 1e6 } else { 1e8 };
    largest != 0.0 && (largest >= limit || least < round(1e-4) || round(largest / least) > 1000.0)
}

/// Without exponents: the shortest digits that tell a number from its neighbours, at most `precision` after the point.
fn positions<T: Float>(finite: &[T], precision: usize) -> Vec<String> {
    let text = |v: &T| trimmed(&shortest(*v, precision, v.to_string(), |digits| format!("{v:.digits$}")));
    let texts: Vec<String> = finite.iter().map(text).collect();
    let after = texts.iter().map(|t| decimals(t)).max().unwrap_or(0);
    texts.iter().map(|t| format!("{t}{:1$}", "", after - decimals(t))).collect()
}

/// With exponents: as many digits for each as the one that needs most, at most `precision` after the point.
fn exponents<T: Float>(finite: &[T], precision: usize) -> Vec<String> {
    let text = |v: &T| shortest(*v, precision, format!("{v:e}"), |digits| format!("{v:.digits$e}"));
    let texts: Vec<String> = finite.iter().map(text).collect();
    let digits = texts.iter().map(|t| decimals(&trimmed(mantissa(t)))).max().unwrap_or(0);
    let width = texts.iter().map(|t| exponent(t).unsigned_abs().to_string().len()).max().unwrap_or(0).max(2);
    let widened =
        |(v, t): (&T, &String)| with_exponent(&if decimals(mantissa(t)) == digits { t.clone() } else { format!("{v:.digits$e}") }, width);
    finite.iter().zip(&texts).map(widened).collect()
}

/// The fewest digits that tell `v` from its neighbours, or as many as `rounded` gives for `precision`.
///
/// Where two are equally near, Rust's shortest text may end in an odd digit; rounding anew makes it even, unless that is another number.
fn shortest<T: Float>(v: T, precision: usize, text: String, rounded: impl Fn(usize) -> String) -> String {
    let digits = decimals(mantissa(&text));
    if digits > precision {
        return rounded(precision);
    }
    let even = rounded(digits);
    if even.parse::<T>().is_ok_and(|back| back == v) { even } else { text }
}

/// Without zeros after the point's last other digit; always with a point.
fn trimmed(text: &str) -> String {
    pointed(text).trim_end_matches('0').to_string()
}

/// Digits after the point.
fn decimals(text: &str) -> usize {
    text.split_once('.').map_or(0, |(_, after)| after.len())
}

fn pointed(text: &str) -> String {
    if text.contains('.') { text.into() } else { format!("{text}.") }
}

fn mantissa(text: &str) -> &str {
    text.split_once('e').map_or(text, |(m, _)| m)
}

fn exponent(text: &str) -> i32 {
    text.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0)
}

/// Rust's `1.5e-7` with a point, a sign and at least `width` digits of exponent: `1.5e-07`.
fn with_exponent(text: &str, width: usize) -> String {
    let e = exponent(text);
    format!("{}e{}{:0width$}", pointed(mantissa(text)), if e < 0 { '-' } else { '+' }, e.unsigned_abs())
}

/// A float without axes: all the digits that tell it from its neighbours.
fn lone<T: Float>(v: T) -> String {
    let magnitude = v.to_f64().abs();
    let limit = if T::DTYPE == DType::F32 { 1e6 } else { 1e16 };
    if !magnitude.is_finite() {
        not_finite(v.to_f64())
    } else if magnitude != 0.0 && !(1e-4..limit).contains(&magnitude) {
        exponents(&[v], usize::MAX).concat().replace(".e", "e")
    } else {
        let text = positions(&[v], usize::MAX).concat();
        if text.ends_with('.') { text + "0" } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: &str = include_str!("../../../../../tests/reference/print/expected.txt");

    fn array(head: &[&str], elements: &str) -> Array {
        let dims: Vec<usize> = head[2].split(',').filter(|&d| d != "-").map(|d| d.parse().unwrap()).collect();
        let bits = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let words = elements.split_whitespace().map(bits);
        match (elements, head[1]) {
            ("ramp", "f32") => {
                Array::new(dims.clone(), (0..dims.iter().product()).map(|i: usize| i as f32 / 2.0 - 3.0).collect::<Vec<_>>())
            }
            ("ramp", "f64") => {
                Array::new(dims.clone(), (0..dims.iter().product()).map(|i: usize| i as f64 / 2.0 - 3.0).collect::<Vec<_>>())
            }
            (_, "f32") => Array::new(dims, words.map(|b| f32::from_bits(b as u32)).collect::<Vec<_>>()),
            (_, "f64") => Array::new(dims, words.map(f64::from_bits).collect::<Vec<_>>()),
            (_, "i64") => Array::new(dims, words.map(|b| b as i64).collect::<Vec<_>>()),
            (_, "bool") => Array::new(dims, words.map(|b| b == 1).collect::<Vec<_>>()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn arrays_print_as_numpy_prints_them() {
        let mut cases = 0;
        let mut lines = EXPECTED.lines().skip(1).peekable();
        while let Some(head) = lines.next() {
            let words: Vec<&str> = head.split(' ').collect();
            let a = array(&words, lines.next().unwrap());
            let mut block = |mark| {
                let mut text = Vec::new();
                while let Some(line) = lines.next_if(|l| l.starts_with(mark)) {
                    text.push(&line[2..]);
                }
                text.join("\n")
            };
            let (str, repr) = (block("s|"), block("r|"));
            let precision: usize = words[3].parse().unwrap();
            assert_eq!(format!("{a:.precision$}"), str, "{head}");
            let debug = format!("{a:.precision$?}");
            assert!(debug.starts_with(&format!("array({repr},")), "{head}\n{debug}\nexpected\n{repr}");
            cases += 1;
        }
        assert!(cases > 150, "{cases}");
    }

    #[test]
    fn debug_names_the_dtype_and_a_shape_that_cannot_be_seen() {
        let debug = |a: Array| format!("{a:?}");
        assert_eq!(debug(Array::from([[1.0f32, 2.0]])), "array([[1., 2.]], f32)");
        assert_eq!(debug(Array::scalar(true)), "array(True, bool)");
        assert_eq!(debug(Array::zeros(DType::I64, [0])), "array([], i64)");
        assert_eq!(debug(Array::zeros(DType::F64, [2, 0])), "array([], shape=[2, 0], f64)");
        assert_eq!(debug(Array::arange(DType::I64, 2000)), "array([   0,    1,    2, ..., 1997, 1998, 1999], shape=[2000], i64)");
        let wide = debug(Array::full([11], 0.12345));
        assert!(wide.ends_with("0.12345, 0.12345],\n      f64)") || wide.ends_with("0.12345], f64)"), "{wide}");
    }
}
