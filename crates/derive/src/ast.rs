//! What is there in the type: which parameters are leaves and subtrees, which fields are walked?

use crate::attr::{self, mentions, mentions_self};
use syn::{Data, DeriveInput, Error, Fields, Generics, Ident, Index, Member, Result, Type, TypeParam, spanned::Spanned};

/// The type that derives `Tree`. A struct is taken for an enum of one variant.
pub struct Input<'a> {
    pub ident: &'a Ident,
    pub generics: &'a Generics,
    pub said: attr::Container,
    pub leaf: Option<&'a Ident>,
    pub subtrees: Vec<&'a Ident>,
    pub variants: Vec<Variant<'a>>,
}

pub struct Variant<'a> {
    /// `None`: the struct itself.
    pub ident: Option<&'a Ident>,
    pub fields: Vec<Field<'a>>,
}

pub struct Field<'a> {
    pub member: Member,
    pub ty: &'a Type,
    pub said: attr::Field,
    pub kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Walked.
    Tree,
    /// Copied as it is.
    Plain,
    /// `PhantomData`: made anew, its type may change.
    Phantom,
}

impl<'a> Input<'a> {
    pub fn of(input: &'a DeriveInput) -> Result<Self> {
        let said = attr::Container::of(&input.attrs)?;
        let leaf = leaf(&input.generics, &said)?;
        let params: Vec<_> = input.generics.type_params().map(|p| &p.ident).collect();
        let variants = match &input.data {
            Data::Struct(data) => vec![Variant { ident: None, fields: fields(&data.fields, &params)? }],
            Data::Enum(data) => data
                .variants
                .iter()
                .map(|v| {
                    attr::none(&v.attrs)?;
                    Ok(Variant { ident: Some(&v.ident), fields: fields(&v.fields, &params)? })
                })
                .collect::<Result<_>>()?,
            Data::Union(data) => {
                return Err(Error::new(data.union_token.span, "a union can't be a tree: which of its fields is there can't be told"));
            }
        };
        let mut input = Input { ident: &input.ident, generics: &input.generics, said, leaf, subtrees: vec![], variants };
        input.subtrees = params.into_iter().filter(|&p| Some(p) != leaf && input.walked().any(|f| mentions(f.ty, [p]))).collect();
        Ok(input)
    }

    pub fn fields(&self) -> impl Iterator<Item = &Field<'a>> {
        self.variants.iter().flat_map(|v| &v.fields)
    }

    pub fn walked(&self) -> impl Iterator<Item = &Field<'a>> {
        self.fields().filter(|f| f.kind == Kind::Tree)
    }

    /// The parameters that are others in `With<Q>`.
    pub fn changing(&self) -> impl Iterator<Item = &'a Ident> + Clone {
        self.leaf.into_iter().chain(self.subtrees.iter().copied())
    }
}

fn leaf<'a>(generics: &'a Generics, said: &attr::Container) -> Result<Option<&'a Ident>> {
    if let Some(name) = &said.leaf {
        return match generics.type_params().find(|p| p.ident == *name) {
            Some(param) => Ok(Some(&param.ident)),
            None => Err(Error::new(name.span(), format!("there is no type parameter `{name}`"))),
        };
    }
    let mut candidates = generics.type_params().filter(|p| is_array(p));
    match (candidates.next(), candidates.next()) {
        (Some(first), Some(second)) => Err(Error::new(
            second.span(),
            format!("`{}` and `{}` could both be the leaf: say which by `#[tree(leaf = …)]`", first.ident, second.ident),
        )),
        (first, _) => Ok(first.map(|p| &p.ident)),
    }
}

fn is_array(param: &TypeParam) -> bool {
    matches!(&param.default, Some(Type::Path(ty)) if ty.path.segments.last().is_some_and(|s| s.ident == "Array"))
}

fn fields<'a>(fields: &'a Fields, params: &[&Ident]) -> Result<Vec<Field<'a>>> {
    let field = |(i, field): (usize, &'a syn::Field)| {
        let member = field.ident.clone().map_or_else(|| Member::from(Index::from(i)), Member::from);
        let said = attr::Field::of(&field.attrs)?;
        let kind = match () {
            () if is_phantom(&field.ty) => Kind::Phantom,
            () if said.tree.is_some() => Kind::Tree,
            () if said.skip.is_some() || params.is_empty() => Kind::Plain,
            () if mentions(&field.ty, params.iter().copied()) || mentions_self(&field.ty) => Kind::Tree,
            () => Kind::Plain,
        };
        Ok(Field { member, ty: &field.ty, said, kind })
    };
    fields.iter().enumerate().map(field).collect()
}

fn is_phantom(ty: &Type) -> bool {
    matches!(ty, Type::Path(ty) if ty.path.segments.last().is_some_and(|s| s.ident == "PhantomData"))
}

impl Field<'_> {
    /// The name in paths; `None` if the field adds none.
    pub fn name(&self) -> Option<String> {
        match (&self.said.rename, &self.member) {
            _ if self.said.flatten.is_some() => None,
            (Some(name), _) => Some(name.value()),
            (None, Member::Named(name)) => Some(name.to_string().trim_start_matches("r#").to_owned()),
            (None, Member::Unnamed(index)) => Some(index.index.to_string()),
        }
    }
}

/// A type that the derive takes apart by itself, since a `Box` stands in it: `Tree` can't be implemented for `Box<T>`, which
/// a leaf type of another crate might be.
pub enum Container<'a> {
    Box(&'a Type),
    Option(&'a Type),
    Vec(&'a Type),
    Array(&'a Type),
    Tuple(Vec<&'a Type>),
    /// Anything else: walked by its own implementation.
    Other,
}

impl<'a> Container<'a> {
    pub fn of(ty: &'a Type) -> Self {
        match ty {
            Type::Paren(inner) => Self::of(&inner.elem),
            Type::Group(inner) => Self::of(&inner.elem),
            Type::Tuple(tuple) => Self::Tuple(tuple.elems.iter().collect()),
            Type::Array(array) => Self::Array(&array.elem),
            Type::Path(path) => match path.path.segments.last().map(|s| (s.ident.to_string(), arguments(&s.arguments))) {
                Some((name, [Some(ty), None])) => match name.as_str() {
                    "Box" => Self::Box(ty),
                    "Option" => Self::Option(ty),
                    "Vec" => Self::Vec(ty),
                    _ => Self::Other,
                },
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

fn arguments(arguments: &syn::PathArguments) -> [Option<&Type>; 2] {
    let syn::PathArguments::AngleBracketed(list) = arguments else { return [None; 2] };
    let mut types = list.args.iter().map(|arg| match arg {
        syn::GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    [types.next().flatten(), types.next().flatten()]
}

/// Whether a `Box` stands somewhere in the type.
pub fn has_box(ty: &Type) -> bool {
    fn search(tokens: proc_macro2::TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            proc_macro2::TokenTree::Ident(ident) => ident == "Box",
            proc_macro2::TokenTree::Group(group) => search(group.stream()),
            _ => false,
        })
    }
    search(quote::ToTokens::to_token_stream(ty))
}
