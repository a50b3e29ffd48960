//! The function under the attribute: what of it a task can have.

use syn::ext::IdentExt as _;
use syn::{FnArg, GenericArgument, Item, ItemFn, PathArguments, PathSegment, ReturnType, Type};

use crate::names::check_name;
use crate::options::{Lane, Options};
use crate::owned::check_owned;
use crate::parameter::{Parameter, path_of};
use crate::problems::Problems;

/// A function that can be a task.
pub(crate) struct TaskFn {
    /// The function as written, less the attributes on parameters that are for the message.
    pub(crate) function: ItemFn,
    /// Its parameters, in their order.
    pub(crate) parameters: Vec<Parameter>,
    /// What it answers.
    pub(crate) output: Output,
}

/// What a task answers.
pub(crate) struct Output {
    /// The return type; `()` where none is written.
    pub(crate) ty: Type,
    /// Whether it is a value or an error: its name is `Result`.
    pub(crate) is_result: bool,
}

impl TaskFn {
    /// Reads the function.
    ///
    /// # Errors
    /// Only where it is no function at all; what a task cannot have goes to `problems`.
    pub(crate) fn parse(
        item: proc_macro2::TokenStream,
        options: &Options,
        problems: &mut Problems,
    ) -> syn::Result<Self> {
        let mut function = match syn::parse2(item)? {
            Item::Fn(function) => function,
            other => {
                let message = "`#[task]` stands on a function, which is the body of the task";
                return Err(syn::Error::new_spanned(other, message));
            }
        };
        check_shape(&function, problems);
        check_lane(&function, options, problems);
        check_default_name(&function, options, problems);
        let parameters = parse_parameters(&mut function, problems);
        let output = Output::parse(&function.sig.output, problems);
        Ok(Self {
            function,
            parameters,
            output,
        })
    }
}

impl Output {
    fn parse(output: &ReturnType, problems: &mut Problems) -> Self {
        let ty = match output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        };
        check_owned("a result", &ty, problems);
        let is_result = last_segment(&ty).is_some_and(|last| last.ident == "Result");
        Self { ty, is_result }
    }

    /// The type of the value where it can be read off: the first parameter of a `Result`, which an alias may lack.
    pub(crate) fn value(&self) -> Option<&Type> {
        if self.is_result {
            last_segment(&self.ty).and_then(first_type)
        } else {
            Some(&self.ty)
        }
    }
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    path_of(ty).and_then(|path| path.segments.last())
}

fn first_type(segment: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    match arguments.args.first() {
        Some(GenericArgument::Type(ty)) => Some(ty),
        _ => None,
    }
}

/// Refuses what only a function that is called in place can have.
fn check_shape(function: &ItemFn, problems: &mut Problems) {
    let signature = &function.sig;
    let called_elsewhere = "a task is called by a worker, from its message";
    if let Some(constness) = signature.constness {
        problems.add(constness, format!("{called_elsewhere}: remove `const`"));
    }
    if let syn::Safety::Unsafe(unsafety) = &signature.safety {
        problems.add(
            unsafety,
            format!("{called_elsewhere}, which vouches for nothing: remove `unsafe`, and check in the body"),
        );
    }
    if let Some(abi) = &signature.abi {
        problems.add(abi, format!("{called_elsewhere}: remove `extern`"));
    }
    if let Some(variadic) = &signature.variadic {
        problems.add(
            variadic,
            "a message has a fixed set of fields: take a `Vec<…>`",
        );
    }
    if !signature.generics.params.is_empty() {
        problems.add(
            &signature.generics,
            "a message has one wire form: a task has no generic parameters or lifetimes; use concrete, owned types",
        );
    } else if let Some(clause) = &signature.generics.where_clause {
        problems.add(
            clause,
            "a task has no generic parameters: remove the `where`",
        );
    }
}

fn check_lane(function: &ItemFn, options: &Options, problems: &mut Problems) {
    match (&function.sig.asyncness, &options.lane) {
        (Some(_), Some(lane)) => {
            let word = lane.word();
            problems.add(
                word,
                format!(
                    "an `async fn` runs on the async runtime: remove `{word}`, or make it a plain `fn`"
                ),
            );
        }
        (None, None) => problems.add(
            function.sig.fn_token,
            "a plain `fn` says where it runs, so that it never holds up the async tasks:\n\
             `#[task(cpu)]` if it computes: on a pool of about one thread a core\n\
             `#[task(blocking)]` if it waits for files, networks or locks: on a thread of its own\n\
             `#[task(process)]` if it may crash, leak or never end: in a child process\n\
             when in doubt, write `#[task(blocking)]`; if it can await, write `async fn`",
        ),
        _ => {}
    }
    if let Some((word, _)) = &options.memory
        && !matches!(options.lane, Some(Lane::Process(_)))
    {
        problems.add(
            word,
            "only a child process has memory of its own to be limited: add `process`, or remove `memory`",
        );
    }
}

/// Refuses a function whose own name cannot be the task's, unless the task has another.
fn check_default_name(function: &ItemFn, options: &Options, problems: &mut Problems) {
    let name = &function.sig.ident;
    if options.name.is_none()
        && let Err(message) = check_name("task name", &name.unraw().to_string())
    {
        problems.add(
            name,
            format!("{message}; give the task another name with `#[task(name = \"…\")]`"),
        );
    }
}

fn parse_parameters(function: &mut ItemFn, problems: &mut Problems) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    let mut has_context = false;
    for input in &mut function.sig.inputs {
        let Some(parameter) = Parameter::parse(input, problems) else {
            continue;
        };
        if matches!(parameter, Parameter::Context) {
            if has_context {
                let FnArg::Typed(input) = input else { continue };
                problems.add(&*input, "a task has one context: remove this parameter");
            }
            has_context = true;
        }
        parameters.push(parameter);
    }
    parameters
}
