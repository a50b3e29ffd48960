//! The options in the attribute: `#[task(queue = "mail", max_retries = 5, ignore_result)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Expr, ExprLit, ExprUnary, Ident, Lit, LitInt, LitStr, Token, UnOp, token};

use crate::names::{check_name, nearest};
use crate::problems::Problems;

/// The highest priority, as `lovage_core::Priority::MAX`.
const PRIORITY_MAX: u64 = 9;

/// What the attribute says, checked.
#[derive(Default)]
pub(crate) struct Options {
    /// `name = "…"`.
    pub(crate) name: Option<LitStr>,
    /// `cpu` or `blocking`.
    pub(crate) lane: Option<Lane>,
    /// Everything else, in the order written: the calls on a `TaskOptions`, such as `.queue("mail")`.
    pub(crate) calls: Vec<TokenStream>,
}

/// Where a plain `fn` runs, and the word that says so.
pub(crate) enum Lane {
    Cpu(Ident),
    Blocking(Ident),
}

impl Lane {
    pub(crate) fn word(&self) -> &Ident {
        match self {
            Self::Cpu(word) | Self::Blocking(word) => word,
        }
    }
}

/// One option as written.
struct Written {
    word: Ident,
    value: Option<Expr>,
}

/// Whether an option takes a value; if so, an example of it.
enum Takes {
    Nothing,
    Value(&'static str),
}

/// All options, in the order in which they are listed to somebody who wrote another.
const KNOWN: [(&str, Takes); 13] = [
    ("name", Takes::Value("\"shop.send_receipt\"")),
    ("queue", Takes::Value("\"mail\"")),
    ("max_retries", Takes::Value("5")),
    ("backoff", Takes::Value("Backoff::exponential(secs(1))")),
    ("timeout", Takes::Value("secs(30)")),
    ("hard_timeout", Takes::Value("secs(60)")),
    ("priority", Takes::Value("7")),
    ("expires", Takes::Value("mins(10)")),
    ("result_ttl", Takes::Value("hours(1)")),
    ("ignore_result", Takes::Nothing),
    ("ack_early", Takes::Nothing),
    ("cpu", Takes::Nothing),
    ("blocking", Takes::Nothing),
];

/// Options of which a task can have one only, and why.
const EXCLUSIVE: [(&str, &str, &str); 2] = [
    ("cpu", "blocking", "a task runs in one lane"),
    (
        "ignore_result",
        "result_ttl",
        "a result that is not kept has no time to live",
    ),
];

impl Parse for Written {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let word = input.call(Ident::parse_any).map_err(|error| {
            let message = "an option is a name, such as `ignore_result`, or a name and a value, such as `queue = \"mail\"`";
            syn::Error::new(error.span(), message)
        })?;
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
        Ok(Self { word, value })
    }
}

impl Options {
    /// Reads what stands between the parentheses of `#[task(…)]`.
    ///
    /// # Errors
    /// Only where it cannot be read at all; what is merely wrong goes to `problems`.
    pub(crate) fn parse(tokens: TokenStream, problems: &mut Problems) -> syn::Result<Self> {
        let written =
            syn::parse::Parser::parse2(Punctuated::<Written, Token![,]>::parse_terminated, tokens)?;
        let mut options = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for Written { word, value } in written {
            let text = word.to_string();
            if let Some(message) = misplaced(&text, &seen) {
                problems.add(&word, message);
            } else if let Err(error) = options.set(word, value) {
                problems.join(error);
            }
            seen.push(text);
        }
        Ok(options)
    }

    fn set(&mut self, word: Ident, value: Option<Expr>) -> syn::Result<()> {
        let text = word.to_string();
        let Some((_, takes)) = KNOWN.iter().find(|(known, _)| *known == text) else {
            return Err(syn::Error::new_spanned(&word, unknown(&text)));
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
            (Takes::Nothing, None) => {
                self.set_bare(word);
                Ok(())
            }
            (Takes::Value(_), Some(value)) => self.set_value(&word, &value),
        }
    }

    fn set_bare(&mut self, word: Ident) {
        match word.to_string().as_str() {
            "cpu" => self.lane = Some(Lane::Cpu(word)),
            "blocking" => self.lane = Some(Lane::Blocking(word)),
            "ack_early" => self
                .calls
                .push(quote!(.ack(::lovage::macro_support::Ack::Early))),
            _ => self.calls.push(quote!(.#word())),
        }
    }

    fn set_value(&mut self, word: &Ident, value: &Expr) -> syn::Result<()> {
        let refused = |message: String| Err(syn::Error::new_spanned(value, message));
        match word.to_string().as_str() {
            "name" => {
                let Some(name) = text_literal(value) else {
                    return refused(
                        "a task's name is a string literal, such as `name = \"shop.send_receipt\"`"
                            .to_owned(),
                    );
                };
                if let Err(message) = check_name("task name", &name.value()) {
                    return refused(message);
                }
                self.name = Some(name.clone());
                return Ok(());
            }
            "queue" => {
                if let Some(Err(message)) =
                    text_literal(value).map(|name| check_name("queue name", &name.value()))
                {
                    return refused(message);
                }
            }
            "priority" if is_no_priority(value) => {
                return refused(format!(
                    "a priority is 0 to {PRIORITY_MAX}, and higher goes first"
                ));
            }
            _ => {}
        }
        self.calls.push(quote!(.#word(#value)));
        Ok(())
    }
}

/// Why `word` cannot stand after the words in `seen`.
fn misplaced(word: &str, seen: &[String]) -> Option<String> {
    let was_seen = |other: &str| seen.iter().any(|earlier| earlier == other);
    if was_seen(word) {
        return Some(format!("`{word}` is given twice"));
    }
    EXCLUSIVE.iter().find_map(|&(one, other, reason)| {
        let clash = (word == one && was_seen(other)) || (word == other && was_seen(one));
        clash.then(|| format!("`{one}` and `{other}` exclude each other: {reason}"))
    })
}

fn unknown(word: &str) -> String {
    let known = || KNOWN.iter().map(|(name, _)| *name);
    let list = known().collect::<Vec<_>>().join("`, `");
    let hint = nearest(word, known())
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default();
    format!("unknown option `{word}`{hint}\nthe options are `{list}`")
}

fn text_literal(value: &Expr) -> Option<&LitStr> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Some(text),
        _ => None,
    }
}

fn is_no_priority(value: &Expr) -> bool {
    let too_high = |level: &LitInt| {
        level
            .base10_parse::<u64>()
            .map_or(true, |level| PRIORITY_MAX < level)
    };
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Int(level),
            ..
        }) => too_high(level),
        Expr::Unary(ExprUnary {
            op: UnOp::Neg(_), ..
        }) => true,
        _ => false,
    }
}
