//! How do layers follow each other? Tuples for layers of different types, `Vec` and arrays for layers of one type.

use wengert::Tensor;

use super::Layer;
use crate::Pass;

impl<'t, L: Layer<'t>> Layer<'t> for Vec<L> {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, pass: &Pass<'t>) -> Tensor<'t> {
        self.iter().fold(x, |x, layer| layer.forward(x, pass))
    }
}

impl<'t, L: Layer<'t>, const N: usize> Layer<'t> for [L; N] {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, pass: &Pass<'t>) -> Tensor<'t> {
        self.iter().fold(x, |x, layer| layer.forward(x, pass))
    }
}

impl<'t, L: Layer<'t>> Layer<'t> for Option<L> {
    #[track_caller]
    fn forward(&self, x: Tensor<'t>, pass: &Pass<'t>) -> Tensor<'t> {
        match self {
            Some(layer) => layer.forward(x, pass),
            None => x,
        }
    }
}

/// `tuple!(A 0, B 1)` makes `(A, B)` a layer. A macro, since Rust has no way to write one implementation for tuples of every length.
macro_rules! tuple {
    ($($T:ident $i:tt),+) => {
        impl<'t, $($T: Layer<'t>),+> Layer<'t> for ($($T,)+) {
            #[track_caller]
            fn forward(&self, x: Tensor<'t>, pass: &Pass<'t>) -> Tensor<'t> {
                $(let x = self.$i.forward(x, pass);)+
                x
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
