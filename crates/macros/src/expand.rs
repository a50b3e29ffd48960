//! What `#[task]` writes: the message, its builder, the body, and the registration.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Ident, LitStr, Visibility};

use crate::attributes::Attributes;
use crate::options::{Lane, Options};
use crate::parameter::{Argument, DefaultValue, Parameter};
use crate::signature::{Output, TaskFn};

/// Writes the task.
pub(crate) fn expand(task: &TaskFn, options: &Options) -> TokenStream {
    let attributes = Attributes::sort(&task.function.attrs);
    let expansion = Expansion {
        name: &task.function.sig.ident,
        vis: &task.function.vis,
        attributes: &attributes,
        task,
        options,
    };
    let parts = [
        expansion.message(),
        expansion.builder(),
        expansion.task_impl(),
        expansion.call(),
        expansion.body_impl(),
        expansion.registration(),
    ];
    parts.into_iter().collect()
}

struct Expansion<'a> {
    name: &'a Ident,
    vis: &'a Visibility,
    attributes: &'a Attributes,
    task: &'a TaskFn,
    options: &'a Options,
}

impl Expansion<'_> {
    fn arguments(&self) -> impl Iterator<Item = &Argument> {
        self.task
            .parameters
            .iter()
            .filter_map(|parameter| match parameter {
                Parameter::Argument(argument) => Some(&**argument),
                _ => None,
            })
    }

    /// `struct send_receipt { order: OrderId, to: String }`.
    fn message(&self) -> TokenStream {
        let Self { name, vis, .. } = self;
        let (message, everywhere) = (&self.attributes.message, &self.attributes.everywhere);
        let fields = self.arguments().map(|argument| self.field(argument));
        quote! {
            #(#everywhere)*
            #[allow(non_camel_case_types)]
            #[derive(::lovage::macro_support::serde::Serialize, ::lovage::macro_support::serde::Deserialize)]
            #[serde(crate = "::lovage::macro_support::serde")]
            #(#message)*
            #vis struct #name {
                #(#fields,)*
            }
        }
    }

    fn field(&self, argument: &Argument) -> TokenStream {
        let Argument {
            name,
            ty,
            docs,
            serde,
            ..
        } = argument;
        let vis = self.vis;
        let docs = if docs.is_empty() {
            let text = format!("The argument `{}`.", name.unraw());
            quote!(#[doc = #text])
        } else {
            quote!(#(#docs)*)
        };
        let default = argument.default.as_ref().map(|default| match default {
            DefaultValue::OfType => quote!(#[serde(default)]),
            DefaultValue::Expr(_) => {
                let path = format!("{}::{}", self.name, default_fn(name));
                quote!(#[serde(default = #path)])
            }
        });
        quote!(#docs #default #(#serde)* #vis #name: #ty)
    }

    /// `fn send_receipt(order: OrderId, to: impl Into<String>) -> send_receipt`.
    fn builder(&self) -> TokenStream {
        let Self { name, vis, .. } = self;
        let Attributes {
            everywhere,
            builder,
            ..
        } = self.attributes;
        let doc =
            format!("Makes the message of the task [`{name}`](struct@{name}). It is not sent yet.");
        let parameters = self.arguments().map(|argument| {
            let Argument { name, ty, .. } = argument;
            if argument.is_string() {
                quote!(#name: impl ::core::convert::Into<#ty>)
            } else {
                quote!(#name: #ty)
            }
        });
        let values = self.arguments().map(|argument| {
            let name = &argument.name;
            if argument.is_string() {
                quote!(#name: ::core::convert::Into::into(#name))
            } else {
                quote!(#name)
            }
        });
        // `dead_code`: a program that only runs the task never makes its message.
        quote! {
            #(#everywhere)*
            #(#builder)*
            #[doc = #doc]
            #[must_use = "a message does nothing until it is sent"]
            #[allow(dead_code)]
            #vis fn #name(#(#parameters),*) -> #name {
                #name { #(#values),* }
            }
        }
    }

    /// `impl Task for send_receipt`.
    fn task_impl(&self) -> TokenStream {
        let (name, everywhere) = (self.name, &self.attributes.everywhere);
        let task_name = self
            .options
            .name
            .clone()
            .unwrap_or_else(|| LitStr::new(&name.unraw().to_string(), Span::call_site()));
        let Output { ty, .. } = &self.task.output;
        let output = self.task.output.value().map_or_else(
            || quote!(<#ty as ::lovage::macro_support::IntoTaskResult>::Output),
            |value| quote!(#value),
        );
        let calls = &self.options.calls;
        let options = (!calls.is_empty()).then(|| {
            quote! {
                fn options() -> ::lovage::macro_support::TaskOptions {
                    ::lovage::macro_support::TaskOptions::new() #(#calls)*
                }
            }
        });
        let unique = self.options.unique.as_ref().map(|(word, unique)| {
            // With the place of the word: a value of another type is told to be expected otherwise due to it.
            let ty =
                quote_spanned!(written_at(word.span())=> ::lovage::macro_support::Unique<Self>);
            quote! {
                fn unique() -> ::core::option::Option<::lovage::macro_support::Unique<Self>> {
                    let unique: #ty = #unique;
                    ::core::option::Option::Some(unique)
                }
            }
        });
        quote! {
            #(#everywhere)*
            impl ::lovage::macro_support::Task for #name {
                const NAME: &'static str = #task_name;
                type Output = #output;
                #options
                #unique
            }
        }
    }

    /// `send_receipt::DEF` and `send_receipt::call`, which is the function as it was written.
    fn call(&self) -> TokenStream {
        let Self { name, vis, .. } = self;
        let Attributes {
            everywhere, call, ..
        } = self.attributes;
        let constructor = if self.options.lane.is_none() {
            quote!(asynchronous)
        } else {
            quote!(synchronous)
        };
        // With the span of the name: `Location::caller()` in the definition is then the place of the task.
        let def = quote_spanned! {name.span()=>
            ::lovage::macro_support::TaskDef::#constructor::<#name>()
        };
        let mut signature = self.task.function.sig.clone();
        signature.ident = Ident::new("call", name.span());
        let block = &self.task.function.block;
        let defaults = self.arguments().filter_map(|argument| {
            let Some(DefaultValue::Expr(value)) = &argument.default else {
                return None;
            };
            let (default, ty) = (default_fn(&argument.name), &argument.ty);
            Some(quote!(fn #default() -> #ty { #value }))
        });
        let def_doc = format!("The task `{name}`, for a registry of one's own.");
        let call_doc = format!("Runs the body of `{name}` here and now, as a unit test does.");
        // Clippy's advice cannot be followed here: arguments are owned since a message is read anew for each run, what
        // is an `async fn` runs on the async lane, and the text about errors and panics is on the message.
        quote! {
            #(#everywhere)*
            impl #name {
                #[doc = #def_doc]
                #vis const DEF: ::lovage::macro_support::TaskDef = #def;

                #[doc = #call_doc]
                #[allow(
                    clippy::missing_errors_doc,
                    clippy::missing_panics_doc,
                    clippy::needless_pass_by_value,
                    clippy::unused_async
                )]
                #(#call)*
                #vis #signature #block

                #(#defaults)*
            }
        }
    }

    /// `impl AsyncBody for send_receipt`, or `impl SyncBody`.
    fn body_impl(&self) -> TokenStream {
        let (name, everywhere) = (self.name, &self.attributes.everywhere);
        let needs = self
            .task
            .parameters
            .iter()
            .filter_map(|parameter| match parameter {
                Parameter::State(ty) => {
                    Some(quote!(::lovage::macro_support::StateNeed::of::<#ty>()))
                }
                _ => None,
            });
        let values = self
            .task
            .parameters
            .iter()
            .map(|parameter| match parameter {
                Parameter::Context => quote!(&context),
                Parameter::State(ty) => quote!(context.state::<#ty>()?),
                Parameter::Argument(argument) => {
                    let name = &argument.name;
                    quote!(self.#name)
                }
            });
        let reads_context = self
            .task
            .parameters
            .iter()
            .any(|parameter| !matches!(parameter, Parameter::Argument(_)));
        let context = if reads_context {
            quote!(context)
        } else {
            quote!(_)
        };
        let (body, lane, asyncness) = match &self.options.lane {
            None => (quote!(AsyncBody), None, Some(quote!(async))),
            Some(Lane::Cpu(_)) => (quote!(SyncBody), Some(quote!(Cpu)), None),
            Some(Lane::Blocking(_)) => (quote!(SyncBody), Some(quote!(Blocking)), None),
            Some(Lane::Process(_)) => (quote!(SyncBody), Some(quote!(Process)), None),
        };
        let lane = lane.map(|lane| {
            quote! {
                const LANE: ::lovage::macro_support::Lane = ::lovage::macro_support::Lane::#lane;
            }
        });
        let memory = self.options.memory.as_ref().map(|(word, bytes)| {
            let ty = quote_spanned!(written_at(word.span())=> ::core::primitive::u64);
            // With the place of the value: too little of it is told there.
            let checked = quote_spanned! {written_at(bytes.span())=>
                ::lovage::macro_support::process_memory(bytes)
            };
            quote! {
                const MEMORY: ::core::option::Option<u64> = {
                    let bytes: #ty = #bytes;
                    ::core::option::Option::Some(#checked)
                };
            }
        });
        let awaited = asyncness.as_ref().map(|_| quote!(.await));
        let called = quote!(Self::call(#(#values),*) #awaited);
        let Output { ty, is_result } = &self.task.output;
        let result = if *is_result {
            quote_spanned! {written_at(ty.span())=>
                ::lovage::macro_support::IntoTaskResult::into_task_result(#called)
            }
        } else {
            quote!(::core::result::Result::Ok(#called))
        };
        // A future that is not `Send` is told at this function, so it has the place of the task's name.
        let run = quote_spanned! {written_at(name.span())=>
            #asyncness fn run(
                self,
                #context: ::lovage::macro_support::TaskContext,
            ) -> ::core::result::Result<Self::Output, ::lovage::macro_support::TaskError> {
                #result
            }
        };
        quote! {
            #(#everywhere)*
            impl ::lovage::macro_support::#body for #name {
                const NEEDS: &'static [::lovage::macro_support::StateNeed] = &[#(#needs),*];
                #lane
                #memory
                #run
            }
        }
    }

    fn registration(&self) -> TokenStream {
        let (name, everywhere) = (self.name, &self.attributes.everywhere);
        quote! {
            #(#everywhere)*
            ::lovage::macro_support::inventory::submit! { #name::DEF }
        }
    }
}

/// The place of `span`, for code that the user did not write: errors point there, lints on style stay silent.
fn written_at(span: Span) -> Span {
    Span::call_site().located_at(span)
}

/// The function of a field's default value.
fn default_fn(field: &Ident) -> Ident {
    format_ident!("default_{}", field.unraw())
}
