//! Where in a tree is a leaf, and what is it for?

use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};

/// Where a leaf is: the names on the way to it from the root, shown with dots (`blocks.2.norm.weight`).
///
/// A list linked through the frames of the walk: no heap memory, since models are walked in every training step.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    step: Option<(&'a Path<'a>, Name<'a>)>,
}

#[derive(Clone, Copy, Hash)]
enum Name<'a> {
    Field(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The tree itself; shown as the empty string.
    pub const ROOT: Path<'static> = Path { step: None };

    /// The field `name` of what is here.
    pub const fn field(&'a self, name: &'a str) -> Path<'a> {
        Path { step: Some((self, Name::Field(name))) }
    }

    /// The element `index` of what is here.
    pub const fn index(&'a self, index: usize) -> Path<'a> {
        Path { step: Some((self, Name::Index(index))) }
    }

    /// Whether this is the tree itself.
    pub const fn is_root(&self) -> bool {
        self.step.is_none()
    }

    /// Whether `text` is this path or one of those that lead to it: `blocks.1.weight` is under `blocks.1` and under
    /// `blocks`, not under `block`; every path is under the root, `""`.
    pub fn is_under(&self, text: &str) -> bool {
        *self == *text || self.step.is_some_and(|(parent, _)| parent.is_under(text))
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((parent, name)) = self.step else { return Ok(()) };
        if !parent.is_root() {
            parent.fmt(f)?;
            f.write_char('.')?;
        }
        match name {
            Name::Field(name) => f.write_str(name),
            Name::Index(index) => write!(f, "{index}"),
        }
    }
}

impl fmt::Debug for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({self})")
    }
}

/// Equal for the same names and indices; an index is not the same as a field whose name is that number.
impl Hash for Path<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let Some((parent, name)) = self.step {
            parent.hash(state);
            name.hash(state);
        }
    }
}

/// Compares the dotted text, without writing it out.
impl PartialEq<str> for Path<'_> {
    fn eq(&self, text: &str) -> bool {
        let mut rest = Rest(text);
        write!(rest, "{self}").is_ok() && rest.0.is_empty()
    }
}

impl PartialEq<&str> for Path<'_> {
    fn eq(&self, text: &&str) -> bool {
        *self == **text
    }
}

/// What is still expected; fails at the first piece that differs.
struct Rest<'a>(&'a str);

impl Write for Rest<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(piece).ok_or(fmt::Error)?;
        Ok(())
    }
}

/// What a leaf is for. Said at a field by `#[tree(state)]` or `#[tree(frozen)]`, it holds for everything under the field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Trained: gradients and optimizers are for these.
    #[default]
    Param,
    /// Changed by the model itself: running statistics, counters.
    State,
    /// Part of the model, kept as it is.
    Frozen,
}

impl Role {
    /// The role of a leaf that is said to be `inner`, inside of something said to be `self`.
    ///
    /// State wins over frozen, frozen over param: a frozen layer still counts its batches, and a param inside
    /// of a frozen layer is not trained.
    pub const fn and(self, inner: Role) -> Role {
        match (self, inner) {
            (Role::State, _) | (_, Role::State) => Role::State,
            (Role::Frozen, _) | (_, Role::Frozen) => Role::Frozen,
            (Role::Param, Role::Param) => Role::Param,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, BuildHasherDefault};

    #[test]
    fn shows_names_with_dots() {
        let root = Path::ROOT;
        let blocks = root.field("blocks");
        let third = blocks.index(12);
        let weight = third.field("weight");
        assert_eq!(root.to_string(), "");
        assert_eq!(blocks.to_string(), "blocks");
        assert_eq!(weight.to_string(), "blocks.12.weight");
        assert_eq!(format!("{weight:?}"), "Path(blocks.12.weight)");
        assert!(root.is_root() && !blocks.is_root());
    }

    #[test]
    fn hashes_tell_paths_apart() {
        let root = Path::ROOT;
        let hash = |path: &Path<'_>| BuildHasherDefault::<rustc_hash::FxHasher>::default().hash_one(path);
        let (a, b, ab, seven) = (root.field("a"), root.field("b"), root.field("ab"), root.index(7));
        let others = [a, b, ab, seven, a.field("b"), b.field("a"), a.index(7), seven.field("a"), seven.index(7), root.index(77)];
        let hashes: std::collections::HashSet<_> = others.iter().map(hash).collect();
        assert_eq!(hashes.len(), others.len());
        assert_eq!(hash(&root.field("ab")), hash(&ab));
    }

    #[test]
    fn compares_with_text() {
        let root = Path::ROOT;
        let (a, b) = (root.field("a"), root.field("b"));
        let a10 = a.index(10);
        assert!(a10 == "a.10" && root == "" && b == "b");
        for other in ["", "a", "a.1", "a.100", "a.10.", "b.10", ".a.10"] {
            assert!(a10 != other, "{other:?}");
        }
    }

    #[test]
    fn is_under_whole_names_only() {
        let root = Path::ROOT;
        let blocks = root.field("blocks");
        let first = blocks.index(1);
        let weight = first.field("weight");
        for above in ["", "blocks", "blocks.1", "blocks.1.weight"] {
            assert!(weight.is_under(above), "{above:?}");
        }
        for other in ["block", "blocks.", "blocks.11", "blocks.1.w", "weight", "blocks.1.weight.x"] {
            assert!(!weight.is_under(other), "{other:?}");
        }
    }

    #[test]
    fn state_wins_over_frozen_over_param() {
        use Role::*;
        assert_eq!(Param.and(Param), Param);
        assert_eq!([Param.and(Frozen), Frozen.and(Param), Frozen.and(Frozen)], [Frozen; 3]);
        assert_eq!([Param.and(State), State.and(Param), State.and(Frozen), Frozen.and(State), State.and(State)], [State; 5]);
    }
}
