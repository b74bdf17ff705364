//! What can't be a tree, and how is it said?

use crate::ast::{Container, Field, Input, Kind, Variant, has_box};
use crate::attr::{mentions, mentions_self};
use quote::ToTokens;
use syn::{Error, GenericArgument, GenericParam, Ident, PathArguments, Result, ReturnType, Type, TypeParamBound};

/// All mistakes at once.
pub fn check(input: &Input) -> Result<()> {
    let fields = input.fields().map(|f| field(input, f));
    let names = input.variants.iter().map(names);
    let errors = fields.chain(names).chain([leaf_is_used(input), no_bounds(input)]).filter_map(Result::err);
    errors
        .reduce(|mut all, next| {
            all.combine(next);
            all
        })
        .map_or(Ok(()), Err)
}

fn leaf_is_used(input: &Input) -> Result<()> {
    match input.leaf {
        Some(leaf) if !input.walked().any(|f| mentions(f.ty, [leaf])) => {
            Err(Error::new(leaf.span(), format!("the leaf parameter `{leaf}` is in the type of no field that is walked")))
        }
        _ => Ok(()),
    }
}

/// A bound would have to hold for `With<Q>` with any leaf type `Q`.
fn no_bounds(input: &Input) -> Result<()> {
    let changing = |ident: &Ident| input.changing().any(|p| p == ident);
    let refuse =
        |at: &dyn ToTokens| Err(Error::new_spanned(at, "not every leaf type meets this bound: put it on the `impl` blocks that need it"));
    for param in &input.generics.params {
        if let GenericParam::Type(param) = param
            && changing(&param.ident)
            && let Some(bound) = param.bounds.iter().find(|b| !is_leaf_bound(b))
        {
            return refuse(bound);
        }
    }
    let predicates = input.generics.where_clause.iter().flat_map(|w| &w.predicates);
    predicates.filter(|p| mentions(*p, input.changing())).take(1).try_for_each(|p| refuse(p))
}

fn is_leaf_bound(bound: &TypeParamBound) -> bool {
    matches!(bound, TypeParamBound::Trait(t) if t.path.segments.last().is_some_and(|s| s.ident == "Leaf"))
}

fn names(variant: &Variant) -> Result<()> {
    let mut seen = Vec::new();
    for field in variant.fields.iter().filter(|f| f.kind == Kind::Tree) {
        let Some(name) = field.name() else { continue };
        if seen.contains(&name) {
            return Err(Error::new_spanned(
                field.said.rename.as_ref().map_or(field.member.to_token_stream(), |r| r.to_token_stream()),
                format!("a second field with the path `{name}`"),
            ));
        }
        seen.push(name);
    }
    Ok(())
}

fn field(input: &Input, field: &Field) -> Result<()> {
    match field.kind {
        Kind::Tree => walkable(input, field.ty),
        Kind::Phantom | Kind::Plain => {
            if let Some(span) = field.said.about_leaves() {
                return Err(Error::new(
                    span,
                    "this field is not walked: its type mentions no parameter; `#[tree(tree)]` walks it all the same",
                ));
            }
            match input.changing().find(|p| field.kind == Kind::Plain && mentions(field.ty, [*p])) {
                Some(param) => Err(Error::new_spanned(
                    field.ty,
                    format!("this field can't be copied as it is: `{param}` is another type for other leaves"),
                )),
                None => Ok(()),
            }
        }
    }
}

/// Whether there is a way to the leaves in a type.
fn walkable(input: &Input, ty: &Type) -> Result<()> {
    if !mentions(ty, input.changing()) && !mentions_self(ty) {
        return Ok(());
    }
    let refuse = |what: &str| Err(Error::new_spanned(ty, what));
    match ty {
        Type::Reference(_) => refuse("a reference can't be walked: own the leaves"),
        Type::Ptr(_) => refuse("a pointer can't be walked: own the leaves"),
        Type::BareFn(_) => refuse("a function of leaves has none itself: take it as an argument where it is called"),
        Type::TraitObject(_) => refuse("the leaves behind `dyn` can't be found: use an enum or a type parameter"),
        Type::Slice(_) => refuse("a slice can't be walked: use `Vec`"),
        _ => parts(ty).into_iter().try_for_each(|part| walkable(input, part)),
    }?;
    match Container::of(ty) {
        Container::Other if has_box(ty) => {
            Err(Error::new_spanned(ty, "`Box` is understood alone and in `Option`, `Vec`, arrays and tuples, not in other types"))
        }
        _ => Ok(()),
    }
}

/// The types that a type is made of.
fn parts(ty: &Type) -> Vec<&Type> {
    match ty {
        Type::Paren(t) => vec![&t.elem],
        Type::Group(t) => vec![&t.elem],
        Type::Array(t) => vec![&t.elem],
        Type::Tuple(t) => t.elems.iter().collect(),
        Type::Path(t) => t.path.segments.iter().flat_map(|s| of_arguments(&s.arguments)).collect(),
        _ => vec![],
    }
}

fn of_arguments(arguments: &PathArguments) -> Vec<&Type> {
    match arguments {
        PathArguments::None => vec![],
        PathArguments::AngleBracketed(list) => list
            .args
            .iter()
            .filter_map(|arg| match arg {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            })
            .collect(),
        PathArguments::Parenthesized(list) => {
            let output = match &list.output {
                ReturnType::Type(_, ty) => Some(&**ty),
                ReturnType::Default => None,
            };
            list.inputs.iter().chain(output).collect()
        }
    }
}
