//! What do the `#[tree(…)]` attributes say?

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::{Attribute, Error, Ident, LitStr, Path, Result, meta::ParseNestedMeta, spanned::Spanned};

/// What is said about the type as a whole.
#[derive(Default)]
pub struct Container {
    pub leaf: Option<Ident>,
    pub krate: Option<Path>,
}

/// What is said about a field: where each attribute stands, if it is given.
#[derive(Default)]
pub struct Field {
    pub state: Option<Span>,
    pub frozen: Option<Span>,
    pub skip: Option<Span>,
    pub tree: Option<Span>,
    pub flatten: Option<Span>,
    pub rename: Option<LitStr>,
}

impl Container {
    pub fn of(attrs: &[Attribute]) -> Result<Self> {
        let mut said = Container::default();
        each(attrs, |meta| match name(&meta).as_str() {
            "leaf" => once(&mut said.leaf, meta.value()?.parse()?, &meta),
            "crate" => once(&mut said.krate, meta.value()?.call(Path::parse_mod_style)?, &meta),
            _ => Err(meta.error("unknown attribute: a type has `leaf = P` or `crate = path`")),
        })?;
        Ok(said)
    }
}

impl Field {
    pub fn of(attrs: &[Attribute]) -> Result<Self> {
        let mut said = Field::default();
        each(attrs, |meta| {
            let at = meta.path.span();
            match name(&meta).as_str() {
                "state" => once(&mut said.state, at, &meta),
                "frozen" => once(&mut said.frozen, at, &meta),
                "skip" => once(&mut said.skip, at, &meta),
                "tree" => once(&mut said.tree, at, &meta),
                "flatten" => once(&mut said.flatten, at, &meta),
                "rename" => once(&mut said.rename, meta.value()?.parse()?, &meta),
                _ => Err(meta.error("unknown attribute: a field has `state`, `frozen`, `skip`, `tree`, `flatten` or `rename = \"name\"`")),
            }
        })?;
        said.agree()?;
        Ok(said)
    }

    fn agree(&self) -> Result<()> {
        let rename = self.rename.as_ref().map(LitStr::span);
        let said = [
            ("state", self.state),
            ("frozen", self.frozen),
            ("tree", self.tree),
            ("flatten", self.flatten),
            ("rename", rename),
            ("skip", self.skip),
        ];
        let exclude = |a: &str, b: &str| b == "skip" || matches!((a, b), ("state", "frozen") | ("flatten", "rename"));
        for (i, &(a, first)) in said.iter().enumerate() {
            for &(b, second) in &said[i + 1..] {
                if let (true, Some(_), Some(second)) = (exclude(a, b), first, second) {
                    return Err(Error::new(second, format!("`{a}` and `{b}` exclude each other")));
                }
            }
        }
        match &self.rename {
            Some(name) if name.value().is_empty() || name.value().contains('.') => {
                Err(Error::new(name.span(), "a name in a path is not empty and has no dot"))
            }
            _ => Ok(()),
        }
    }

    /// An attribute that means something only where there are leaves.
    pub fn about_leaves(&self) -> Option<Span> {
        self.state.or(self.frozen).or(self.flatten).or(self.rename.as_ref().map(LitStr::span))
    }
}

/// Refuses `#[tree(…)]` where it would mean nothing.
pub fn none(attrs: &[Attribute]) -> Result<()> {
    each(attrs, |meta| Err(meta.error("unknown attribute: a variant has none, its fields may")))
}

fn each(attrs: &[Attribute], mut parse: impl FnMut(ParseNestedMeta) -> Result<()>) -> Result<()> {
    attrs.iter().filter(|attr| attr.path().is_ident("tree")).try_for_each(|attr| attr.parse_nested_meta(&mut parse))
}

fn name(meta: &ParseNestedMeta) -> String {
    meta.path.get_ident().map(Ident::to_string).unwrap_or_default()
}

fn once<T>(place: &mut Option<T>, value: T, meta: &ParseNestedMeta) -> Result<()> {
    match place.replace(value) {
        Some(_) => Err(meta.error("given twice")),
        None => Ok(()),
    }
}

/// Whether one of the parameters is named in the tokens.
pub fn mentions<'a>(tokens: &impl ToTokens, params: impl IntoIterator<Item = &'a Ident> + Clone) -> bool {
    has(tokens.to_token_stream(), &|ident| params.clone().into_iter().any(|p| p == ident))
}

/// Whether the type that derives `Tree` is named in the tokens by `Self`, and with it all of its parameters.
pub fn mentions_self(tokens: &impl ToTokens) -> bool {
    has(tokens.to_token_stream(), &|ident| ident == "Self")
}

fn has(tokens: TokenStream, wanted: &dyn Fn(&Ident) -> bool) -> bool {
    use proc_macro2::TokenTree::{Group, Ident, Punct};
    let mut after_colon = false; // `module::P` is not the parameter `P`
    for token in tokens {
        match &token {
            Ident(ident) if !after_colon && wanted(ident) => return true,
            Group(group) if has(group.stream(), wanted) => return true,
            _ => {}
        }
        after_colon = matches!(&token, Punct(p) if p.as_char() == ':');
    }
    false
}
