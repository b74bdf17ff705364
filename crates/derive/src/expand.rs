//! How is the implementation written out?

use crate::ast::{Container, Field, Input, Kind, Variant, has_box};
use crate::attr::mentions;
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{GenericParam, Ident, Index, Member, Type, parse_quote};

/// The three walks of `Tree`. The words of the generated code begin with two underscores: fields and parameters of the
/// type can't be meant by them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    Map,
    Visit,
    VisitMut,
}

pub fn expand(input: &Input) -> TokenStream {
    let krate = input.said.krate.as_ref().map_or_else(|| quote!(::wengert), ToTokens::to_token_stream);
    let leaf = input.leaf.map_or_else(|| quote!(__L), ToTokens::to_token_stream);
    let ident = input.ident;
    let (head, tail) = (head(input, &krate, &leaf), constraints(input));
    let with = with(input, &krate, &leaf);
    let body = |walk| Body { krate: &krate, leaf: &leaf, walk }.write(input);
    let (map, visit, visit_mut) = (body(Walk::Map), body(Walk::Visit), body(Walk::VisitMut));
    let (_, ty, _) = input.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl<#(#head),*> #krate::Tree<#leaf> for #ident #ty #tail {
            type With<__Q: #krate::Leaf> = #ident<#(#with),*>;

            fn map_at<__Q: #krate::Leaf>(
                &self,
                __at: &#krate::Path<'_>,
                __role: #krate::Role,
                __f: &mut dyn ::core::ops::FnMut(&#krate::Path<'_>, #krate::Role, &#leaf) -> __Q,
            ) -> Self::With<__Q> {
                #map
            }

            fn visit_at<'__a>(
                &'__a self,
                __at: &#krate::Path<'_>,
                __role: #krate::Role,
                __f: &mut dyn ::core::ops::FnMut(&#krate::Path<'_>, #krate::Role, &'__a #leaf),
            ) where #leaf: '__a {
                #visit
            }

            fn visit_mut_at<'__a>(
                &'__a mut self,
                __at: &#krate::Path<'_>,
                __role: #krate::Role,
                __f: &mut dyn ::core::ops::FnMut(&#krate::Path<'_>, #krate::Role, &'__a mut #leaf),
            ) where #leaf: '__a {
                #visit_mut
            }
        }
    }
}

/// The parameters of the `impl`.
fn head(input: &Input, krate: &TokenStream, leaf: &TokenStream) -> Vec<GenericParam> {
    let own = input.generics.params.iter().cloned().map(|mut param| {
        match &mut param {
            GenericParam::Type(p) => {
                p.default = None;
                p.eq_token = None;
                if input.leaf == Some(&p.ident) {
                    p.bounds = parse_quote!(#krate::Leaf);
                } else if input.subtrees.contains(&&p.ident) {
                    p.bounds = parse_quote!(#krate::Tree<#leaf>);
                }
            }
            GenericParam::Const(p) => {
                p.default = None;
                p.eq_token = None;
            }
            GenericParam::Lifetime(_) => {}
        }
        param
    });
    let fresh = input.leaf.is_none().then(|| parse_quote!(__L: #krate::Leaf));
    own.chain(fresh).collect()
}

/// The `where` clause: that of the type, and that what is copied can be.
fn constraints(input: &Input) -> TokenStream {
    let own = input.generics.where_clause.iter().flat_map(|w| &w.predicates);
    let params: Vec<_> = input.generics.type_params().map(|p| &p.ident).collect();
    let copied = input.fields().filter(|f| f.kind == Kind::Plain && mentions(f.ty, params.iter().copied())).map(|f| f.ty);
    quote!(where #(#own,)* #(#copied: ::core::clone::Clone,)*)
}

/// The arguments of the type in `With<__Q>`.
fn with(input: &Input, krate: &TokenStream, leaf: &TokenStream) -> Vec<TokenStream> {
    let argument = |param: &GenericParam| match param {
        GenericParam::Type(p) if input.leaf == Some(&p.ident) => quote!(__Q),
        GenericParam::Type(p) if input.subtrees.contains(&&p.ident) => {
            let ident = &p.ident;
            quote!(<#ident as #krate::Tree<#leaf>>::With<__Q>)
        }
        GenericParam::Type(p) => p.ident.to_token_stream(),
        GenericParam::Lifetime(p) => p.lifetime.to_token_stream(),
        GenericParam::Const(p) => p.ident.to_token_stream(),
    };
    input.generics.params.iter().map(argument).collect()
}

/// One walk through the type.
struct Body<'a> {
    krate: &'a TokenStream,
    leaf: &'a TokenStream,
    walk: Walk,
}

impl Body<'_> {
    fn write(&self, input: &Input) -> TokenStream {
        if input.variants.is_empty() {
            return quote!(match *self {});
        }
        let ident = input.ident;
        let arms = input.variants.iter().map(|v| self.arm(ident, v));
        quote!(match self { #(#arms)* })
    }

    fn arm(&self, ident: &Ident, variant: &Variant) -> TokenStream {
        let path = variant.ident.map(|v| quote!(::#v));
        let fields: Vec<_> = variant.fields.iter().filter(|f| self.binds(f)).collect();
        let members: Vec<_> = fields.iter().map(|f| &f.member).collect();
        let bindings: Vec<_> = members.iter().map(|m| binding(m)).collect();
        let values = fields.iter().zip(&bindings).map(|(f, x)| self.field(f, x));
        match self.walk {
            Walk::Map => {
                let phantoms = variant.fields.iter().filter(|f| f.kind == Kind::Phantom).map(|f| &f.member);
                quote!(Self #path { #(#members: #bindings,)* .. } => #ident #path {
                    #(#members: #values,)*
                    #(#phantoms: ::core::marker::PhantomData,)*
                },)
            }
            _ => quote!(Self #path { #(#members: #bindings,)* .. } => { #(#values;)* }),
        }
    }

    fn binds(&self, field: &Field) -> bool {
        match field.kind {
            Kind::Tree => true,
            Kind::Plain => self.walk == Walk::Map,
            Kind::Phantom => false,
        }
    }

    fn field(&self, field: &Field, x: &Ident) -> TokenStream {
        if field.kind == Kind::Plain {
            return quote!(::core::clone::Clone::clone(#x));
        }
        let at = match (field.name(), &field.member) {
            (None, _) => quote!(__at),
            (Some(_), Member::Unnamed(index)) if field.said.rename.is_none() => quote!(&__at.index(#index)),
            (Some(name), _) => quote!(&__at.field(#name)),
        };
        let krate = self.krate;
        let role = match (field.said.state, field.said.frozen) {
            (Some(_), _) => quote!(__role.and(#krate::Role::State)),
            (_, Some(_)) => quote!(__role.and(#krate::Role::Frozen)),
            _ => quote!(__role),
        };
        let value = self.value(field.ty, &role);
        quote!({ let __x = #x; let __at = #at; #value })
    }

    /// The walk through `__x`, a reference to a `ty`, at `__at`.
    fn value(&self, ty: &Type, role: &TokenStream) -> TokenStream {
        match has_box(ty).then(|| Container::of(ty)) {
            None | Some(Container::Other) => {
                let (krate, leaf) = (self.krate, self.leaf);
                let method = match self.walk {
                    Walk::Map => quote!(map_at),
                    Walk::Visit => quote!(visit_at),
                    Walk::VisitMut => quote!(visit_mut_at),
                };
                quote!(#krate::Tree::<#leaf>::#method(__x, __at, #role, __f))
            }
            Some(Container::Box(inner)) => self.boxed(self.value(inner, role)),
            Some(Container::Option(inner)) => self.option(self.value(inner, role)),
            Some(Container::Vec(inner)) => self.vec(self.value(inner, role)),
            Some(Container::Array(inner)) => self.array(self.value(inner, role)),
            Some(Container::Tuple(inner)) => self.tuple(inner.iter().map(|ty| self.value(ty, role))),
        }
    }

    fn boxed(&self, value: TokenStream) -> TokenStream {
        let inside = self.borrow(quote!(**__x));
        let value = quote!({ let __x = #inside; #value });
        if self.walk == Walk::Map { quote!(::std::boxed::Box::new(#value)) } else { value }
    }

    fn option(&self, value: TokenStream) -> TokenStream {
        let (some, none) = (quote!(::core::option::Option::Some), quote!(::core::option::Option::None));
        match self.walk {
            Walk::Map => quote!(match __x { #some(__x) => #some(#value), #none => #none }),
            _ => quote!(if let #some(__x) = __x { #value }),
        }
    }

    fn vec(&self, value: TokenStream) -> TokenStream {
        let value = quote!({ let __at = &__at.index(__i); #value });
        match self.walk {
            Walk::Map => quote!(__x.iter().enumerate().map(|(__i, __x)| #value).collect::<::std::vec::Vec<_>>()),
            Walk::Visit => quote!(for (__i, __x) in __x.iter().enumerate() { #value }),
            Walk::VisitMut => quote!(for (__i, __x) in __x.iter_mut().enumerate() { #value }),
        }
    }

    fn array(&self, value: TokenStream) -> TokenStream {
        match self.walk {
            Walk::Map => quote!(::core::array::from_fn(|__i| { let __x = &__x[__i]; let __at = &__at.index(__i); #value })),
            _ => self.vec(value),
        }
    }

    fn tuple(&self, values: impl Iterator<Item = TokenStream>) -> TokenStream {
        let values = values.enumerate().map(|(i, value)| {
            let index = Index::from(i);
            let part = self.borrow(quote!(__x.#index));
            quote!({ let __x = #part; let __at = &__at.index(#index); #value })
        });
        match self.walk {
            Walk::Map => quote!((#(#values,)*)),
            _ => quote!({ #(#values)* }),
        }
    }

    fn borrow(&self, place: TokenStream) -> TokenStream {
        match self.walk {
            Walk::VisitMut => quote!(&mut #place),
            _ => quote!(&#place),
        }
    }
}

fn binding(member: &Member) -> Ident {
    match member {
        Member::Named(name) => Ident::new(&format!("__field_{}", name.to_string().trim_start_matches("r#")), Span::call_site()),
        Member::Unnamed(index) => Ident::new(&format!("__field_{}", index.index), Span::call_site()),
    }
}
