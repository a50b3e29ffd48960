//! The `#[task]` attribute of Lovage.

use proc_macro::TokenStream;

/// Makes a task of a function.
#[proc_macro_attribute]
pub fn task(_options: TokenStream, function: TokenStream) -> TokenStream {
    function
}
