//! The options in the attribute: `#[task(queue = "mail", max_retries = 5, ignore_result)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Expr, ExprLit, ExprUnary, Ident, Lit, LitInt, LitStr, UnOp};

use crate::names::check_name;
use crate::problems::Problems;
use crate::vocabulary::{Takes, Vocabulary, text_literal};

/// The highest priority, as `lovage_core::Priority::MAX`.
const PRIORITY_MAX: u64 = 9;

/// What the attribute says, checked.
#[derive(Default)]
pub(crate) struct Options {
    /// `name = "…"`.
    pub(crate) name: Option<LitStr>,
    /// `cpu`, `blocking` or `process`.
    pub(crate) lane: Option<Lane>,
    /// `memory = …`: the word, and the value.
    pub(crate) memory: Option<(Ident, Expr)>,
    /// `unique = …`, likewise.
    pub(crate) unique: Option<(Ident, Expr)>,
    /// Everything else, in the order written: the calls on a `TaskOptions`, such as `.queue("mail")`.
    pub(crate) calls: Vec<TokenStream>,
}

/// Where a plain `fn` runs, and the word that says so.
pub(crate) enum Lane {
    Cpu(Ident),
    Blocking(Ident),
    Process(Ident),
}

impl Lane {
    pub(crate) fn word(&self) -> &Ident {
        match self {
            Self::Cpu(word) | Self::Blocking(word) | Self::Process(word) => word,
        }
    }
}

/// All options.
const OPTIONS: Vocabulary = Vocabulary {
    known: &[
        ("name", Takes::Value("\"shop.send_receipt\"")),
        ("queue", Takes::Value("\"mail\"")),
        ("max_retries", Takes::Value("5")),
        ("backoff", Takes::Value("Backoff::exponential(secs(1))")),
        ("timeout", Takes::Value("secs(30)")),
        ("hard_timeout", Takes::Value("secs(60)")),
        ("priority", Takes::Value("7")),
        ("expires", Takes::Value("mins(10)")),
        ("result_ttl", Takes::Value("hours(1)")),
        ("on_failure", Takes::Value("report_failure")),
        ("ignore_result", Takes::Nothing),
        ("ack_early", Takes::Nothing),
        ("unique", Takes::Value("Unique::args()")),
        ("cpu", Takes::Nothing),
        ("blocking", Takes::Nothing),
        ("process", Takes::Nothing),
        ("memory", Takes::Value("mib(512)")),
    ],
    exclusive: &[
        ("cpu", "blocking", "a task runs in one lane"),
        ("cpu", "process", "a task runs in one lane"),
        ("blocking", "process", "a task runs in one lane"),
        (
            "ignore_result",
            "result_ttl",
            "a result that is not kept has no time to live",
        ),
    ],
    example: "an option is a name, such as `ignore_result`, or a name and a value, such as `queue = \"mail\"`",
};

impl Options {
    /// Reads what stands between the parentheses of `#[task(…)]`.
    ///
    /// # Errors
    /// Only where it cannot be read at all; what is merely wrong goes to `problems`.
    pub(crate) fn parse(tokens: TokenStream, problems: &mut Problems) -> syn::Result<Self> {
        let mut options = Self::default();
        OPTIONS.read(tokens, problems, |word, value| {
            let Some(value) = value else {
                options.set_bare(word);
                return Ok(());
            };
            options.set_value(&word, &value)
        })?;
        Ok(options)
    }

    fn set_bare(&mut self, word: Ident) {
        match word.to_string().as_str() {
            "cpu" => self.lane = Some(Lane::Cpu(word)),
            "blocking" => self.lane = Some(Lane::Blocking(word)),
            "process" => self.lane = Some(Lane::Process(word)),
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
            "memory" => {
                self.memory = Some((word.clone(), value.clone()));
                return Ok(());
            }
            "unique" => {
                self.unique = Some((word.clone(), value.clone()));
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
