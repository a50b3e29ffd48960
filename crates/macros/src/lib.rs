//! The `#[task]` attribute of Lovage; use it through the `lovage` crate.

mod expand;
mod names;
mod options;
mod owned;
mod parameter;
mod problems;
mod signature;

use proc_macro::TokenStream;

/// Makes a task of a function.
#[proc_macro_attribute]
pub fn task(options: TokenStream, function: TokenStream) -> TokenStream {
    write_task(options.into(), function.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

fn write_task(
    options: proc_macro2::TokenStream,
    function: proc_macro2::TokenStream,
) -> syn::Result<proc_macro2::TokenStream> {
    let mut problems = problems::Problems::default();
    let options = options::Options::parse(options, &mut problems)?;
    let task = signature::TaskFn::parse(function, &options, &mut problems)?;
    problems.finish()?;
    Ok(expand::expand(&task, &options))
}
