//! Which plain Rust types are trees if their parts are?

use super::{Leaf, Path, Role, Tree};

impl<L: Leaf> Tree<L> for L {
    type With<Q: Leaf> = Q;

    fn map_at<Q: Leaf>(&self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &L) -> Q) -> Q {
        f(at, role, self)
    }

    fn visit_at<'a>(&'a self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &'a L))
    where
        L: 'a,
    {
        f(at, role, self);
    }

    fn visit_mut_at<'a>(&'a mut self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &'a mut L))
    where
        L: 'a,
    {
        f(at, role, self);
    }
}

/// The elements, named by their index.
impl<L: Leaf, T: Tree<L>> Tree<L> for Vec<T> {
    type With<Q: Leaf> = Vec<T::With<Q>>;

    fn map_at<Q: Leaf>(&self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &L) -> Q) -> Self::With<Q> {
        self.iter().enumerate().map(|(i, t)| t.map_at(&at.index(i), role, f)).collect()
    }

    fn visit_at<'a>(&'a self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &'a L))
    where
        L: 'a,
    {
        self.iter().enumerate().for_each(|(i, t)| t.visit_at(&at.index(i), role, f));
    }

    fn visit_mut_at<'a>(&'a mut self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &'a mut L))
    where
        L: 'a,
    {
        self.iter_mut().enumerate().for_each(|(i, t)| t.visit_mut_at(&at.index(i), role, f));
    }
}

/// The elements, named by their index.
impl<L: Leaf, T: Tree<L>, const N: usize> Tree<L> for [T; N] {
    type With<Q: Leaf> = [T::With<Q>; N];

    fn map_at<Q: Leaf>(&self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &L) -> Q) -> Self::With<Q> {
        std::array::from_fn(|i| self[i].map_at(&at.index(i), role, f))
    }

    fn visit_at<'a>(&'a self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &'a L))
    where
        L: 'a,
    {
        self.iter().enumerate().for_each(|(i, t)| t.visit_at(&at.index(i), role, f));
    }

    fn visit_mut_at<'a>(&'a mut self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &'a mut L))
    where
        L: 'a,
    {
        self.iter_mut().enumerate().for_each(|(i, t)| t.visit_mut_at(&at.index(i), role, f));
    }
}

/// What is inside, under the path of the option itself.
impl<L: Leaf, T: Tree<L>> Tree<L> for Option<T> {
    type With<Q: Leaf> = Option<T::With<Q>>;

    fn map_at<Q: Leaf>(&self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &L) -> Q) -> Self::With<Q> {
        self.as_ref().map(|t| t.map_at(at, role, f))
    }

    fn visit_at<'a>(&'a self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &'a L))
    where
        L: 'a,
    {
        if let Some(t) = self {
            t.visit_at(at, role, f);
        }
    }

    fn visit_mut_at<'a>(&'a mut self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &'a mut L))
    where
        L: 'a,
    {
        if let Some(t) = self {
            t.visit_mut_at(at, role, f);
        }
    }
}

/// No leaves.
impl<L: Leaf> Tree<L> for () {
    type With<Q: Leaf> = ();

    fn map_at<Q: Leaf>(&self, _: &Path<'_>, _: Role, _: &mut dyn FnMut(&Path<'_>, Role, &L) -> Q) {}

    fn visit_at<'a>(&'a self, _: &Path<'_>, _: Role, _: &mut dyn FnMut(&Path<'_>, Role, &'a L))
    where
        L: 'a,
    {
    }

    fn visit_mut_at<'a>(&'a mut self, _: &Path<'_>, _: Role, _: &mut dyn FnMut(&Path<'_>, Role, &'a mut L))
    where
        L: 'a,
    {
    }
}

/// `tuple!(A 0, B 1)` implements [`Tree`] for `(A, B)`: the elements, named by their index. A macro, since Rust has no way
/// to write one implementation for tuples of every length.
macro_rules! tuple {
    ($($T:ident $i:tt),+) => {
        /// The elements, named by their index.
        impl<L: Leaf, $($T: Tree<L>),+> Tree<L> for ($($T,)+) {
            type With<Q: Leaf> = ($($T::With<Q>,)+);

            fn map_at<Q: Leaf>(&self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &L) -> Q) -> Self::With<Q> {
                ($(self.$i.map_at(&at.index($i), role, f),)+)
            }

            fn visit_at<'a>(&'a self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &'a L))
            where
                L: 'a,
            {
                $(self.$i.visit_at(&at.index($i), role, f);)+
            }

            fn visit_mut_at<'a>(&'a mut self, at: &Path<'_>, role: Role, f: &mut dyn FnMut(&Path<'_>, Role, &'a mut L))
            where
                L: 'a,
            {
                $(self.$i.visit_mut_at(&at.index($i), role, f);)+
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, M 11);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Real(f64);
    impl Leaf for Real {}
    #[derive(Clone, Debug, PartialEq)]
    struct Text(String);
    impl Leaf for Text {}

    fn text(tree: &impl Tree<Real>) -> Vec<String> {
        let text = tree.map(|x| Text(x.0.to_string()));
        text.leaves().into_iter().map(|t| t.0.clone()).collect()
    }

    #[test]
    fn containers_name_their_parts() {
        let tree = (Real(0.0), vec![(Real(1.0), [Real(2.0), Real(3.0)])], Some(Real(4.0)), None::<Real>, ((Real(5.0),),), ());
        assert_eq!(tree.paths(), ["0", "1.0.0", "1.0.1.0", "1.0.1.1", "2", "4.0.0"]);
        assert_eq!(text(&tree), ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(tree.leaf_count(), 6);
        assert_eq!(Real(7.0).paths(), [""]);
        assert_eq!(Tree::<Real>::leaf_count(&()), 0);
    }

    #[test]
    fn there_and_back_is_the_same_tree() {
        let tree = (vec![[Real(1.5), Real(-2.0)], [Real(0.0), Real(9.0)]], Some((Real(3.0),)), Vec::<Real>::new());
        let back = tree.map(|x: &Real| Text(x.0.to_string())).map(|t: &Text| Real(t.0.parse().unwrap()));
        assert_eq!(back, tree);
    }

    #[test]
    fn the_longest_tuple_keeps_its_order() {
        let r = |x: i32| Real(x.into());
        let mut tree = (r(0), r(1), r(2), r(3), r(4), r(5), r(6), r(7), r(8), r(9), r(10), vec![r(11)]);
        assert_eq!(tree.paths()[9..], ["9", "10", "11.0"]);
        tree.visit_mut(|_, _, x: &mut Real| x.0 *= 2.0);
        assert_eq!(tree.leaves().iter().map(|x: &&Real| x.0).collect::<Vec<_>>(), (0..12).map(|i| f64::from(2 * i)).collect::<Vec<_>>());
    }

    #[test]
    fn visits_lend_leaves_beyond_the_walk() {
        let mut tree = (vec![Real(1.0), Real(2.0)], Some([Real(3.0)]));
        let mut found = None;
        tree.visit(|path, role, x: &Real| {
            assert_eq!(role, Role::Param);
            if path == "1.0" {
                found = Some(x);
            }
        });
        assert_eq!(found, Some(&Real(3.0)));
        for (i, x) in tree.leaves_mut().into_iter().enumerate() {
            *x = Real(i as f64);
        }
        assert_eq!(tree, (vec![Real(0.0), Real(1.0)], Some([Real(2.0)])));
    }

    #[test]
    fn walks_below_another_tree_start_from_its_path_and_role() {
        let root = Path::ROOT;
        let at = root.field("net");
        let mut seen = Vec::new();
        (Real(1.0), vec![Real(2.0)]).visit_at(&at, Role::Frozen, &mut |path, role, _: &Real| seen.push((path.to_string(), role)));
        assert_eq!(seen, [("net.0".into(), Role::Frozen), ("net.1.0".into(), Role::Frozen)]);
    }
}
