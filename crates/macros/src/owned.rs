//! Finds what a message cannot carry in the types of a signature: borrows, lifetimes, `impl Trait`.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::{ToTokens, quote};

use crate::problems::Problems;

/// Notes each part of `ty` that is not owned. `what` names the whole: "an argument", "a result".
///
/// It looks at tokens instead of the syntax tree: the parts can be anywhere in the type, `Vec<Option<&str>>`.
pub(crate) fn check_owned(what: &str, ty: &impl ToTokens, problems: &mut Problems) {
    walk(what, ty.to_token_stream(), problems);
}

fn walk(what: &str, tokens: TokenStream, problems: &mut Problems) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Group(group) => walk(what, group.stream(), problems),
            TokenTree::Punct(punct) if punct.as_char() == '&' => {
                let mut borrowed = vec![token.clone()];
                skip_lifetime_and_mut(&mut tokens, &mut borrowed);
                borrowed.extend(tokens.peek().cloned());
                let instead = owned_form(&tokens);
                problems.add(
                    quote!(#(#borrowed)*),
                    format!("{what} travels between processes and cannot be borrowed: {instead}"),
                );
            }
            TokenTree::Punct(punct) if punct.as_char() == '\'' => {
                let Some(TokenTree::Ident(name)) = tokens.next() else {
                    continue;
                };
                // `Cow<'static, str>` can be read from a message: it owns what it reads.
                if name != "static" {
                    problems.add(
                        quote!(#token #name),
                        format!("{what} travels between processes and has no lifetime: use a type that owns its data, or `'static`"),
                    );
                }
            }
            TokenTree::Ident(word) if word == "impl" => problems.add(
                word,
                format!("{what} has one wire form: name its type instead of `impl …`"),
            ),
            _ => {}
        }
    }
}

type Tokens = std::iter::Peekable<proc_macro2::token_stream::IntoIter>;

fn skip_lifetime_and_mut(tokens: &mut Tokens, skipped: &mut Vec<TokenTree>) {
    let is_tick = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == '\'');
    let is_mut = |token: &TokenTree| matches!(token, TokenTree::Ident(word) if word == "mut");
    if let Some(tick) = tokens.next_if(is_tick) {
        skipped.push(tick);
        skipped.extend(tokens.next());
    }
    skipped.extend(tokens.next_if(is_mut));
}

/// What to write instead of a reference to the type that starts the `referent`.
fn owned_form(referent: &Tokens) -> String {
    let mut referent = referent.clone();
    if let Some(TokenTree::Group(group)) = referent.peek()
        && group.delimiter() == Delimiter::Bracket
    {
        return "use `Vec<…>`".to_owned();
    }
    // `str`, or the last of `std::path::Path`.
    let mut name = None;
    for token in referent {
        match token {
            TokenTree::Ident(word) => name = Some(word.to_string()),
            TokenTree::Punct(punct) if punct.as_char() == ':' => {}
            _ => break,
        }
    }
    match name.as_deref() {
        Some("str") => "use `String`".to_owned(),
        Some("Path") => "use `PathBuf`".to_owned(),
        Some("OsStr") => "use `OsString`".to_owned(),
        Some("State") => "use `State<…>` by value, which is cheap".to_owned(),
        Some(name) => format!("use `{name}` by value"),
        None => "use the owned type".to_owned(),
    }
}
