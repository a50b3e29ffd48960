//! The parameters of a task: its context, states of the worker, and the arguments that a message carries.

use syn::{
    Attribute, Expr, FnArg, GenericArgument, Ident, Meta, Pat, PatType, Path, PathArguments, Type,
};

use crate::owned::check_owned;
use crate::problems::Problems;

/// Where the value of one parameter of `call` comes from.
pub(crate) enum Parameter {
    /// `&TaskContext`: this run.
    Context,
    /// `State<T>`: the worker, by this type.
    State(Box<Type>),
    /// Any other: the message.
    Argument(Box<Argument>),
}

/// A field of the message.
pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
    /// What a message that was sent before the field existed is taken to say.
    pub(crate) default: Option<DefaultValue>,
    pub(crate) docs: Vec<Attribute>,
    /// `#[serde(…)]`, as written.
    pub(crate) serde: Vec<Attribute>,
}

/// `#[default]`, or `#[default = …]` and `#[default(…)]`.
pub(crate) enum DefaultValue {
    OfType,
    Expr(Expr),
}

impl Parameter {
    /// Reads one parameter and takes from it the attributes that are for the message.
    pub(crate) fn parse(input: &mut FnArg, problems: &mut Problems) -> Option<Self> {
        let input = match input {
            FnArg::Typed(input) => input,
            FnArg::Receiver(receiver) => {
                problems.add(
                    receiver,
                    "a task has no `self`: write it outside of an `impl`, and take what it needs as arguments or `State<…>`",
                );
                return None;
            }
        };
        let ty = peel(&input.ty).clone();
        if let Type::Reference(reference) = &ty
            && path_of(&reference.elem).is_some_and(ends_in_context)
        {
            if let Some(mutability) = reference.mutability {
                problems.add(
                    mutability,
                    "the context is shared: take it as `&TaskContext`",
                );
            }
            no_default(input, problems);
            return Some(Self::Context);
        }
        if path_of(&ty).is_some_and(ends_in_context) {
            problems.add(&ty, "take the context by reference: `&TaskContext`");
            return None;
        }
        if let Some(state) = path_of(&ty).and_then(state_type) {
            let state = Box::new(state.clone());
            no_default(input, problems);
            return Some(Self::State(state));
        }
        Argument::parse(input, problems).map(|argument| Self::Argument(Box::new(argument)))
    }
}

impl Argument {
    fn parse(input: &mut PatType, problems: &mut Problems) -> Option<Self> {
        check_owned("an argument", &input.ty, problems);
        let mut default = None;
        let (mut docs, mut serde, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for attribute in input.attrs.drain(..) {
            let path = attribute.path();
            if path.is_ident("default") {
                match DefaultValue::parse(&attribute) {
                    Ok(_) if default.is_some() => {
                        problems.add(&attribute, "this argument has a default already");
                    }
                    Ok(value) => default = Some(value),
                    Err(error) => problems.join(error),
                }
            } else if path.is_ident("doc") {
                docs.push(attribute);
            } else if path.is_ident("serde") {
                serde.push(attribute);
            } else {
                rest.push(attribute);
            }
        }
        input.attrs = rest;
        let Some(name) = plain_name(&input.pat) else {
            problems.add(
                &input.pat,
                "an argument is a field of the message: give it a plain name, and take it apart in the body",
            );
            return None;
        };
        Some(Self {
            name,
            ty: (*input.ty).clone(),
            default,
            docs,
            serde,
        })
    }

    /// Whether callers may pass anything that becomes a `String`, as a constructor written by hand would let them.
    pub(crate) fn is_string(&self) -> bool {
        path_of(peel(&self.ty))
            .and_then(|path| path.segments.last())
            .is_some_and(|last| last.ident == "String" && last.arguments.is_none())
    }
}

impl DefaultValue {
    fn parse(attribute: &Attribute) -> syn::Result<Self> {
        match &attribute.meta {
            Meta::Path(_) => Ok(Self::OfType),
            Meta::NameValue(pair) => Ok(Self::Expr(pair.value.clone())),
            Meta::List(list) => list.parse_args().map(Self::Expr),
        }
    }
}

fn no_default(input: &PatType, problems: &mut Problems) {
    for attribute in &input.attrs {
        if attribute.path().is_ident("default") {
            problems.add(
                attribute,
                "only an argument has a default: the context and the states are not in the message",
            );
        }
    }
}

/// The name of a parameter such as `order` or `mut order`.
fn plain_name(pattern: &Pat) -> Option<Ident> {
    match pattern {
        Pat::Ident(plain) if plain.by_ref.is_none() && plain.subpat.is_none() => {
            Some(plain.ident.clone())
        }
        _ => None,
    }
}

/// A type as written, without the invisible or visible parentheses around it.
pub(crate) fn peel(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => peel(&group.elem),
        Type::Paren(paren) => peel(&paren.elem),
        other => other,
    }
}

pub(crate) fn path_of(ty: &Type) -> Option<&Path> {
    match peel(ty) {
        Type::Path(path) if path.qself.is_none() => Some(&path.path),
        _ => None,
    }
}

fn ends_in_context(path: &Path) -> bool {
    path.segments
        .last()
        .is_some_and(|last| last.ident == "TaskContext")
}

/// `T` of a path that ends in `State<T>`. A `State` without a parameter is some type of the user's.
fn state_type(path: &Path) -> Option<&Type> {
    let last = path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.iter().collect::<Vec<_>>()[..] {
        [GenericArgument::Type(state)] if last.ident == "State" => Some(state),
        _ => None,
    }
}
