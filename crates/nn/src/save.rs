//! How does a model get into a file and back? In the safetensors format, each leaf under its path.
//!
//! The format: <https://huggingface.co/docs/safetensors>. A tuple of model and optimizer state is a tree too, so
//! `save(&(model, state), path)` keeps all that is needed to go on exactly.

use safetensors::{
    Dtype, SafeTensorError, SafeTensors,
    tensor::{TensorView, serialize},
};
use std::{
    collections::HashMap,
    fmt,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use wengert::{Array, DType, Tree};

/// By how many bytes a file may exceed the values of the model that it is read into; larger files are refused unread.
pub const HEADER_LIMIT: u64 = 64 << 20;

/// Why a model was not saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The file could not be read or written.
    #[error("{}: {why}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// The bytes are no safetensors file.
    #[error("not a valid safetensors file: {0}")]
    Format(String),
    /// The file is too large to hold this model.
    #[error("the file has {found} bytes, which is more than the {limit} that this model and a header can have")]
    TooLarge {
        /// Its length.
        found: u64,
        /// The largest that is read.
        limit: u64,
    },
    /// The file holds another model: everything that differs.
    #[error("the file does not fit the model:{}", .0.iter().map(|d| format!("\n  {d}")).collect::<String>())]
    Differs(Vec<Difference>),
    /// Two leaves of the model have one path, so a file could not tell them apart.
    #[error("two leaves of the model have the path `{0}`")]
    SamePath(String),
}

/// In what a file differs from a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The model has a leaf that the file has not.
    Missing {
        /// Its path.
        path: String,
    },
    /// The file has values that the model has no leaf for.
    Unknown {
        /// Their name.
        path: String,
    },
    /// Both have it, with other shapes or dtypes.
    Kind {
        /// Its path.
        path: String,
        /// Dtype and shape in the model.
        expected: String,
        /// Dtype and shape in the file.
        found: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Missing { path } => write!(f, "`{path}` is missing"),
            Difference::Unknown { path } => write!(f, "`{path}` is not in the model"),
            Difference::Kind { path, expected, found } => write!(f, "`{path}` is {found}, expected {expected}"),
        }
    }
}

/// Writes every leaf of a tree to a file. It is written under another name beside it, then renamed: a file of that name is replaced as
/// a whole or not at all.
///
/// ```
/// # extern crate wengert_core as wengert;
/// use wengert_nn::{Linear, load, save};
/// let path = std::env::temp_dir().join(format!("wengert-{}.safetensors", std::process::id()));
/// let model = Linear::new(3, 2, 1);
/// save(&model, &path)?;
/// let mut other = Linear::new(3, 2, 99);
/// load(&mut other, &path)?;
/// assert_eq!(other, model);
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), wengert_nn::SaveError>(())
/// ```
pub fn save(tree: &impl Tree<Array>, path: impl AsRef<Path>) -> Result<(), SaveError> {
    let path = path.as_ref();
    let bytes = to_bytes(tree)?;
    let beside = name_beside(path);
    let written = write_new(&beside, &bytes).and_then(|()| fs::rename(&beside, path));
    written.map_err(|why| {
        // What is left of a failed attempt is of no use, and the first error is the one to report.
        let _ = fs::remove_file(&beside);
        SaveError::Io { path: path.to_path_buf(), why }
    })
}

/// Replaces every leaf of a tree by the values in a file, which must have exactly its paths, shapes and dtypes. On an error nothing is
/// changed.
pub fn load(tree: &mut impl Tree<Array>, path: impl AsRef<Path>) -> Result<(), SaveError> {
    let path = path.as_ref();
    let io = |why| SaveError::Io { path: path.to_path_buf(), why };
    let limit = tree.leaves().iter().map(|a| (a.size() * a.dtype().size()) as u64).sum::<u64>() + HEADER_LIMIT;
    let file = File::open(path).map_err(io)?;
    let found = file.metadata().map_err(io)?.len();
    if found > limit {
        return Err(SaveError::TooLarge { found, limit });
    }
    let mut bytes = Vec::new();
    // The file may grow while it is read, and a pipe has no length.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(SaveError::TooLarge { found: bytes.len() as u64, limit });
    }
    from_bytes(tree, &bytes)
}

/// The bytes that [`save`] writes.
pub fn to_bytes(tree: &impl Tree<Array>) -> Result<Vec<u8>, SaveError> {
    let (paths, leaves) = (tree.paths(), tree.leaves());
    if let Some(path) = repeated(&paths) {
        return Err(SaveError::SamePath(path));
    }
    let data: Vec<Vec<u8>> = leaves.iter().map(|a| a.to_le_bytes()).collect();
    let views: Result<Vec<_>, _> =
        leaves.iter().zip(&data).map(|(a, bytes)| TensorView::new(tag(a.dtype()), a.shape().to_vec(), bytes)).collect();
    let views = views.map_err(malformed)?;
    serialize(paths.into_iter().zip(views), None).map_err(malformed)
}

/// As [`load`], from bytes; any bytes give an error rather than a panic.
pub fn from_bytes(tree: &mut impl Tree<Array>, bytes: &[u8]) -> Result<(), SaveError> {
    let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
    let paths = tree.paths();
    if let Some(path) = repeated(&paths) {
        return Err(SaveError::SamePath(path));
    }
    let mut views: HashMap<String, TensorView<'_>> = file.tensors().into_iter().collect();
    let mut differences = Vec::new();
    let mut values = Vec::new();
    for (path, leaf) in paths.into_iter().zip(tree.leaves()) {
        match views.remove(&path) {
            None => differences.push(Difference::Missing { path }),
            Some(view) if view.dtype() != tag(leaf.dtype()) || view.shape() != &leaf.shape()[..] => {
                let expected = format!("{}{:?}", leaf.dtype(), &leaf.shape()[..]);
                let found = format!("{}{:?}", view.dtype().to_string().to_lowercase(), view.shape());
                differences.push(Difference::Kind { path, expected, found });
            }
            Some(view) => match Array::try_from_le_bytes(leaf.dtype(), leaf.shape(), view.data()) {
                Ok(value) => values.push(value),
                Err(why) => return Err(SaveError::Format(format!("`{path}`: {why}"))),
            },
        }
    }
    let mut unknown: Vec<String> = views.into_keys().collect();
    unknown.sort();
    differences.extend(unknown.into_iter().map(|path| Difference::Unknown { path }));
    if !differences.is_empty() {
        return Err(SaveError::Differs(differences));
    }
    for (leaf, value) in tree.leaves_mut().into_iter().zip(values) {
        *leaf = value;
    }
    Ok(())
}

fn tag(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::I64 => Dtype::I64,
        DType::Bool => Dtype::BOOL,
    }
}

fn malformed(why: SafeTensorError) -> SaveError {
    SaveError::Format(why.to_string())
}

fn repeated(paths: &[String]) -> Option<String> {
    let mut sorted: Vec<&String> = paths.iter().collect();
    sorted.sort();
    sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone())
}

/// A name in the same folder, so that renaming does not copy; another for every call, since threads may save at once.
fn name_beside(path: &Path) -> PathBuf {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.{}.part", std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed)));
    path.with_file_name(name)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (Array, Vec<Array>, Array) {
        (Array::from([[1.5f32, -0.0]]), vec![Array::from([f64::NAN, 2.0]), Array::from(7)], Array::from([true, false, true]))
    }

    fn blank() -> (Array, Vec<Array>, Array) {
        let zeros = |a: &Array| Array::zeros(a.dtype(), *a.shape());
        let tree = tree();
        (zeros(&tree.0), tree.1.iter().map(zeros).collect(), zeros(&tree.2))
    }

    #[test]
    fn every_bit_comes_back() {
        let bytes = to_bytes(&tree()).unwrap();
        let mut back = blank();
        from_bytes(&mut back, &bytes).unwrap();
        assert_eq!(to_bytes(&back).unwrap(), bytes);
        assert_eq!((back.0.get(&[0, 0]), back.1[1].item(), back.1[0].get(&[0]).is_nan()), (1.5, 7.0, true));
    }

    #[test]
    fn all_differences_are_listed_and_nothing_is_changed() {
        let bytes = to_bytes(&(Array::from([1.0, 2.0]), Array::from(1.0f32), vec![Array::from(3)])).unwrap();
        let mut other = (Array::from([0.0]), Array::from(0.0), Vec::<Array>::new(), Array::from(0));
        let before = other.clone();
        let SaveError::Differs(differences) = from_bytes(&mut other, &bytes).unwrap_err() else { panic!("another error") };
        let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
        let expected = ["`0` is f64[2], expected f64[1]", "`1` is f32[], expected f64[]", "`3` is missing", "`2.0` is not in the model"];
        assert_eq!(lines, expected);
        assert_eq!(other, before);
    }

    #[test]
    fn bad_bytes_are_errors() {
        let good = to_bytes(&tree()).unwrap();
        for cut in 0..good.len() {
            assert!(from_bytes(&mut blank(), &good[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..good.len() {
            for flip in [1, 0x20, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                // A changed value is no error; all that counts is that nothing panics or allocates without bound.
                let _ = from_bytes(&mut blank(), &bad);
            }
        }
        assert!(matches!(from_bytes(&mut blank(), &[0xff; 64]), Err(SaveError::Format(_))));
    }

    #[test]
    fn files_are_replaced_as_a_whole() {
        let folder = std::env::temp_dir().join(format!("wengert-save-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("model.safetensors");
        save(&Array::from([1.0]), &path).unwrap();
        save(&tree(), &path).unwrap();
        let mut back = blank();
        load(&mut back, &path).unwrap();
        assert_eq!(back.0, tree().0);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
        assert!(matches!(load(&mut back, folder.join("none")), Err(SaveError::Io { .. })));
        assert!(matches!(save(&tree(), folder.join("no/such")), Err(SaveError::Io { .. })));
        let large = File::create(folder.join("large")).unwrap();
        large.set_len(HEADER_LIMIT + 1000).unwrap();
        assert!(matches!(load(&mut back, folder.join("large")), Err(SaveError::TooLarge { .. })));
        fs::remove_dir_all(folder).unwrap();
    }
}
