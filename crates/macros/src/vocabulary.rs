//! What an attribute can say: words, alone or with a value, of which some exclude each other.

use proc_macro2::TokenStream;
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Expr, ExprLit, Ident, Lit, LitStr, Token, token};

use crate::names::nearest;
use crate::problems::Problems;

/// The options of an attribute.
pub(crate) struct Vocabulary {
    /// All options, in the order in which they are listed to somebody who wrote another.
    pub(crate) known: &'static [(&'static str, Takes)],
    /// Options of which there can be one only, and why.
    pub(crate) exclusive: &'static [(&'static str, &'static str, &'static str)],
    /// What an option looks like.
    pub(crate) example: &'static str,
}

/// Whether an option takes a value; if so, an example of it.
pub(crate) enum Takes {
    Nothing,
    Value(&'static str),
}

/// One option as written.
struct Written {
    word: Ident,
    value: Option<Expr>,
}

impl Vocabulary {
    /// Reads what stands between the parentheses of the attribute, and hands each known option with its value, or its
    /// lack of one, to `set`.
    ///
    /// # Errors
    /// Only where it cannot be read at all; what is merely wrong goes to `problems`.
    pub(crate) fn read(
        &self,
        tokens: TokenStream,
        problems: &mut Problems,
        mut set: impl FnMut(Ident, Option<Expr>) -> syn::Result<()>,
    ) -> syn::Result<()> {
        let written = (|input: ParseStream<'_>| self.options(input)).parse2(tokens)?;
        let mut seen: Vec<String> = Vec::new();
        for Written { word, value } in written {
            let text = word.to_string();
            if let Some(message) = self.misplaced(&text, &seen) {
                problems.add(&word, message);
            } else if let Err(error) = self
                .check(&word, value.as_ref())
                .and_then(|()| set(word, value))
            {
                problems.join(error);
            }
            seen.push(text);
        }
        Ok(())
    }

    fn options(&self, input: ParseStream<'_>) -> syn::Result<Vec<Written>> {
        let mut written = Vec::new();
        while !input.is_empty() {
            written.push(self.option(input)?);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(written)
    }

    fn option(&self, input: ParseStream<'_>) -> syn::Result<Written> {
        let word = input
            .call(Ident::parse_any)
            .map_err(|error| syn::Error::new(error.span(), self.example))?;
        let value = if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            let is_missing = input.is_empty() || input.peek(Token![,]);
            (!is_missing).then(|| input.parse()).transpose()?
        } else if input.peek(token::Paren) {
            let message = format!("an option's value follows `=`: `{word} = …`");
            return Err(syn::Error::new_spanned(word, message));
        } else {
            None
        };
        Ok(Written { word, value })
    }

    fn check(&self, word: &Ident, value: Option<&Expr>) -> syn::Result<()> {
        let text = word.to_string();
        let Some((_, takes)) = self.known.iter().find(|(known, _)| *known == text) else {
            return Err(syn::Error::new_spanned(word, self.unknown(&text)));
        };
        match (takes, value) {
            (Takes::Nothing, Some(value)) => Err(syn::Error::new_spanned(
                value,
                format!("`{text}` takes no value: write it alone"),
            )),
            (Takes::Value(example), None) => Err(syn::Error::new_spanned(
                word,
                format!("`{text}` takes a value, such as `{text} = {example}`"),
            )),
            _ => Ok(()),
        }
    }

    /// Why `word` cannot stand after the words in `seen`.
    fn misplaced(&self, word: &str, seen: &[String]) -> Option<String> {
        let was_seen = |other: &str| seen.iter().any(|earlier| earlier == other);
        if was_seen(word) {
            return Some(format!("`{word}` is given twice"));
        }
        self.exclusive.iter().find_map(|&(one, other, reason)| {
            let clash = (word == one && was_seen(other)) || (word == other && was_seen(one));
            clash.then(|| format!("`{one}` and `{other}` exclude each other: {reason}"))
        })
    }

    fn unknown(&self, word: &str) -> String {
        let known = || self.known.iter().map(|(name, _)| *name);
        let list = known().collect::<Vec<_>>().join("`, `");
        let hint = nearest(word, known())
            .map(|name| format!("; did you mean `{name}`?"))
            .unwrap_or_default();
        format!("unknown option `{word}`{hint}\nthe options are `{list}`")
    }
}

/// The text of a string literal.
pub(crate) fn text_literal(value: &Expr) -> Option<&LitStr> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Some(text),
        _ => None,
    }
}
