//! How are the leaves of two trees paired, and what if the trees differ?

use super::{Leaf, Path, Role, Tree};
use rustc_hash::FxHasher;
use std::hash::{BuildHasher, BuildHasherDefault};

/// Two trees were to be paired leaf by leaf, but their paths differ: here at the first place where they do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the trees differ: {} where {}", leaf("the first", first), leaf("the second", second))]
pub struct PathMismatch {
    /// The leaf of the first tree; `None` if it has no more of them.
    pub first: Option<String>,
    /// The leaf of the second tree; `None` if it has no more of them.
    pub second: Option<String>,
}

fn leaf(which: &str, path: &Option<String>) -> String {
    match path.as_deref() {
        Some("") => format!("{which} is itself a leaf"),
        Some(path) => format!("{which} has a leaf `{path}`"),
        None => format!("{which} has no more leaves"),
    }
}

impl PathMismatch {
    /// The first place where two lists of paths differ, if there is one.
    fn between(first: Vec<String>, second: Vec<String>) -> Option<Self> {
        let same = first.iter().zip(&second).take_while(|(a, b)| a == b).count();
        let (first, second) = (first.into_iter().nth(same), second.into_iter().nth(same));
        (first.is_some() || second.is_some()).then_some(PathMismatch { first, second })
    }
}

/// Paths are compared by their 64-bit hashes, as written text would be the greatest cost of an optimizer's step; it is
/// written once they differ, and then has the last word.
fn hash(path: &Path<'_>) -> u64 {
    BuildHasherDefault::<FxHasher>::default().hash_one(path)
}

pub(super) fn zip<L: Leaf, T: Tree<L>, R: Leaf, O: Tree<R>, Q: Leaf>(
    tree: &T,
    other: &O,
    mut f: impl FnMut(&Path<'_>, Role, &L, &R) -> Q,
) -> Result<T::With<Q>, PathMismatch> {
    let mut partners = Vec::new();
    other.visit(|path, _, leaf| partners.push((hash(path), leaf)));
    let (mut count, mut same) = (0, true);
    tree.visit(|path, _, _| {
        same &= partners.get(count).is_some_and(|&(partner, _)| partner == hash(path));
        count += 1;
    });
    if (!same || count != partners.len())
        && let Some(mismatch) = PathMismatch::between(tree.paths(), other.paths())
    {
        return Err(mismatch);
    }
    let mut partners = partners.into_iter();
    Ok(tree.map_with(|path, role, leaf| match partners.next() {
        Some((_, partner)) => f(path, role, leaf, partner),
        None => unreachable!("the walks of this tree disagree on the number of its leaves"),
    }))
}

#[track_caller]
pub(super) fn rebuild<L: Leaf, T: Tree<L>, Q: Leaf>(tree: &T, leaves: impl IntoIterator<Item = Q>) -> T::With<Q> {
    let leaves: Vec<Q> = leaves.into_iter().collect();
    let (expected, given) = (tree.leaf_count(), leaves.len());
    if expected != given {
        panic!("with_leaves: the tree has {expected} leaves, but {given} were given");
    }
    let mut leaves = leaves.into_iter();
    tree.map(|_| match leaves.next() {
        Some(leaf) => leaf,
        None => unreachable!("the walks of this tree disagree on the number of its leaves"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Real(f64);
    impl Leaf for Real {}
    #[derive(Clone, Debug, PartialEq)]
    struct Count(u32);
    impl Leaf for Count {}

    fn reals(n: usize) -> Vec<Real> {
        (0..n).map(|i| Real(i as f64)).collect()
    }

    #[test]
    fn pairs_leaves_under_the_same_path() {
        let tree = (reals(2), Some(Real(5.0)));
        let counts = tree.map(|x| Count(x.0 as u32 + 1));
        let sum = tree.zip_with(&counts, |_, _, x, n| Real(x.0 + f64::from(n.0)));
        assert_eq!(sum, (vec![Real(1.0), Real(3.0)], Some(Real(11.0))));
        // Another type, the same paths.
        let pair = [[Count(1), Count(2)]].zip_with(&vec![(Real(0.5), Real(0.25))], |path, _, n, x| {
            assert!(path.is_under("0"));
            Real(f64::from(n.0) * x.0)
        });
        assert_eq!(pair, [[Real(0.5), Real(0.5)]]);
    }

    #[test]
    fn a_mismatch_names_the_path() {
        let f = |_: &Path<'_>, _: Role, _: &Real, _: &Real| -> Real { panic!("called in spite of the mismatch") };
        let (long, short) = ((reals(2), Real(0.0)), (reals(1), Real(0.0)));
        let mismatch =
            |first: Option<&str>, second: Option<&str>| PathMismatch { first: first.map(Into::into), second: second.map(Into::into) };
        assert_eq!(long.try_zip_with(&short, f), Err(mismatch(Some("0.1"), Some("1"))));
        assert_eq!(short.try_zip_with(&long, f), Err(mismatch(Some("1"), Some("0.1"))));
        assert_eq!(reals(3).try_zip_with(&reals(2), f), Err(mismatch(Some("2"), None)));
        assert_eq!(reals(2).try_zip_with(&reals(3), f), Err(mismatch(None, Some("2"))));
        assert_eq!(reals(12).try_zip_with(&(Real(0.0), vec![Real(1.0)]), f), Err(mismatch(Some("1"), Some("1.0"))));
        assert_eq!(Real(0.0).try_zip_with(&reals(1), f), Err(mismatch(Some(""), Some("0"))));
    }

    #[test]
    #[should_panic(expected = "zip_with: the trees differ: the first has no more leaves where the second has a leaf `2`")]
    fn zip_with_panics_with_the_path() {
        reals(2).zip_with(&reals(3), |_, _, x, _: &Real| x.clone());
    }

    #[test]
    fn messages_read_as_sentences() {
        let text = Real(0.0).try_zip_with(&reals(0), |_, _, x, _: &Real| x.clone()).unwrap_err().to_string();
        assert_eq!(text, "the trees differ: the first is itself a leaf where the second has no more leaves");
    }

    #[test]
    fn with_leaves_puts_them_in_order() {
        let tree = (reals(2), Some(Real(5.0)), None::<Real>);
        let numbered: (Vec<Count>, Option<Count>, Option<Count>) = tree.with_leaves((0..).map(Count).take(3));
        assert_eq!(numbered, (vec![Count(0), Count(1)], Some(Count(2)), None));
    }

    #[test]
    #[should_panic(expected = "with_leaves: the tree has 2 leaves, but 3 were given")]
    fn with_leaves_refuses_leftovers() {
        (Real(0.0), Real(1.0)).with_leaves(reals(3));
    }
}
