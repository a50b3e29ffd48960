//! What `#[periodic]` says, and the registration that it writes.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Attribute, Expr, FnArg, Ident, ItemFn, LitStr, Meta};

use crate::attributes::Attributes;
use crate::names::check_name;
use crate::parameter::Parameter;
use crate::problems::Problems;
use crate::vocabulary::{Takes, Vocabulary, text_literal};

/// All options.
const OPTIONS: Vocabulary = Vocabulary {
    known: &[
        ("name", Takes::Value("\"nightly\"")),
        ("cron", Takes::Value("\"0 9 * * MON-FRI\"")),
        ("every", Takes::Value("secs(30)")),
        ("solar", Takes::Value("SolarEvent::Sunset")),
        ("latitude", Takes::Value("38.72")),
        ("longitude", Takes::Value("-9.14")),
        ("schedule", Takes::Value("Schedule::every(secs(30))?")),
        ("tz", Takes::Value("\"Europe/Lisbon\"")),
        ("args", Takes::Value("daily_report(\"eu\")")),
        ("jitter", Takes::Value("secs(10)")),
        ("misfire", Takes::Value("Misfire::All")),
        ("overlap", Takes::Value("Overlap::Skip")),
        ("gap", Takes::Value("Gap::Skip")),
        ("fold", Takes::Value("Fold::Both")),
        ("except", Takes::Value("[\"2026-12-25\"]")),
        ("starting", Takes::Value("\"2026-09-01T00:00:00Z\"")),
        ("ending", Takes::Value("\"2027-09-01T00:00:00Z\"")),
        ("max_runs", Takes::Value("10")),
    ],
    exclusive: &[
        ("cron", "every", ONE_KIND),
        ("cron", "solar", ONE_KIND),
        ("cron", "schedule", ONE_KIND),
        ("every", "solar", ONE_KIND),
        ("every", "schedule", ONE_KIND),
        ("solar", "schedule", ONE_KIND),
    ],
    example: "an option is a name and a value, such as `cron = \"0 9 * * MON-FRI\"`",
};
const ONE_KIND: &str =
    "for a second schedule, write a second `#[periodic]` with a `name` of its own";
const NO_KIND: &str = "say when: `cron = \"0 9 * * MON-FRI\"`, `every = secs(30)`, \
     `solar = SolarEvent::Sunset, latitude = 38.72, longitude = -9.14`, or `schedule = …` for any other `Schedule`";

/// What the attribute says, checked.
#[derive(Default)]
struct Options {
    name: Option<LitStr>,
    /// `Schedule::cron("…")?`
    schedule: Option<TokenStream>,
    solar: [Option<Expr>; 3],
    args: Option<Expr>,
    /// Everything else, in the order written: what is done to the schedule.
    calls: Vec<TokenStream>,
}

/// Writes the function as it is, and behind it what registers its schedule.
pub(crate) fn above(options: TokenStream, item: &TokenStream) -> TokenStream {
    let Ok(function) = syn::parse2::<ItemFn>(item.clone()) else {
        let error = syn::Error::new_spanned(
            item,
            "`#[periodic]` stands on a function that is a task: one with `#[task]`",
        )
        .into_compile_error();
        return quote!(#error #item);
    };
    let registration = if function
        .attrs
        .iter()
        .any(|attribute| ends_in(attribute, "task"))
    {
        registration(options, Span::call_site(), &function)
    } else {
        // Where `#[task]` stands above, it has taken this attribute with it.
        syn::Error::new(
            Span::call_site(),
            "`#[periodic]` sends a task, and this function is none: write `#[task]` beside it",
        )
        .into_compile_error()
    };
    quote!(#item #registration)
}

/// Takes those of the function's attributes that are `#[periodic]`, which `#[task]` stands above of.
pub(crate) fn take(function: &mut ItemFn) -> Vec<Attribute> {
    let (periodic, others) = std::mem::take(&mut function.attrs)
        .into_iter()
        .partition(|attribute| ends_in(attribute, "periodic"));
    function.attrs = others;
    periodic
}

/// What registers the schedule of an attribute that was taken.
pub(crate) fn below(attribute: &Attribute, function: &ItemFn) -> TokenStream {
    let options = match &attribute.meta {
        Meta::Path(_) => TokenStream::new(),
        Meta::List(list) => list.tokens.clone(),
        Meta::NameValue(pair) => {
            let message = "options stand in parentheses: `#[periodic(every = secs(30))]`";
            return syn::Error::new_spanned(pair, message).into_compile_error();
        }
    };
    let place = attribute
        .path()
        .segments
        .last()
        .map_or_else(Span::call_site, |last| last.ident.span());
    registration(options, place, function)
}

fn ends_in(attribute: &Attribute, name: &str) -> bool {
    attribute
        .path()
        .segments
        .last()
        .is_some_and(|last| last.ident == name)
}

/// `inventory::submit! { PeriodicDef::new(…) }`, or the errors.
fn registration(options: TokenStream, place: Span, function: &ItemFn) -> TokenStream {
    let mut problems = Problems::default();
    let options = match Options::parse(options, place, function, &mut problems) {
        Ok(options) => options,
        Err(error) => return error.into_compile_error(),
    };
    match problems.finish() {
        Ok(()) => options.write(function),
        Err(error) => error.into_compile_error(),
    }
}

impl Options {
    fn parse(
        tokens: TokenStream,
        place: Span,
        function: &ItemFn,
        problems: &mut Problems,
    ) -> syn::Result<Self> {
        let mut options = Self::default();
        let mut errors = Problems::default();
        OPTIONS.read(tokens, &mut errors, |word, value| {
            value.map_or(Ok(()), |value| options.set(&word, value))
        })?;
        options.settle(place, &mut errors);
        if let Err(error) = errors.finish() {
            problems.join(error);
        } else if options.args.is_none() && takes_arguments(function) {
            let name = &function.sig.ident;
            let message = format!(
                "`{name}` takes arguments: say with which ones it is sent, `args = {name}(…)`"
            );
            problems.join(syn::Error::new(place, message));
        }
        Ok(options)
    }

    fn set(&mut self, word: &Ident, value: Expr) -> syn::Result<()> {
        let schedule = quote!(::lovage::macro_support::Schedule);
        match word.to_string().as_str() {
            "name" => {
                self.name = Some(name_literal(&value)?);
            }
            "cron" => self.schedule = Some(quote!(#schedule::cron(#value)?)),
            "every" => self.schedule = Some(quote!(#schedule::every(#value)?)),
            "schedule" => self.schedule = Some(quote!(#value)),
            "solar" => self.solar[0] = Some(value),
            "latitude" => self.solar[1] = Some(value),
            "longitude" => self.solar[2] = Some(value),
            "args" => self.args = Some(value),
            "tz" => self.calls.push(quote!(let schedule = schedule.tz(#value)?;)),
            "starting" | "ending" => self.calls.push(quote! {
                let schedule = schedule.#word(::lovage::macro_support::IntoInstant::into_instant(#value)?);
            }),
            "except" => self.calls.push(quote! {
                let mut schedule = schedule;
                for date in #value {
                    schedule = schedule.except(::core::convert::AsRef::<str>::as_ref(&date))?;
                }
            }),
            _ => self.calls.push(quote!(let schedule = schedule.#word(#value);)),
        }
        Ok(())
    }

    /// Puts the sun's parts together, and refuses what has no time.
    fn settle(&mut self, place: Span, problems: &mut Problems) {
        match std::mem::take(&mut self.solar) {
            [None, None, None] => {}
            [Some(event), Some(latitude), Some(longitude)] => {
                self.schedule = Some(quote! {
                    ::lovage::macro_support::Schedule::solar(#event, #latitude, #longitude)?
                });
                return;
            }
            parts => {
                let message =
                    "`solar`, `latitude` and `longitude` go together: the sun rises somewhere";
                problems.add(parts.iter().flatten().next(), message);
                return;
            }
        }
        if self.schedule.is_none() && problems.is_empty() {
            problems.join(syn::Error::new(place, NO_KIND));
        }
    }

    fn write(&self, function: &ItemFn) -> TokenStream {
        let task = &function.sig.ident;
        let Attributes { everywhere, .. } = &Attributes::sort(&function.attrs);
        let name = self.name.as_ref().map_or_else(
            || quote!(<#task as ::lovage::macro_support::Task>::NAME),
            |name| quote!(#name),
        );
        let message = self
            .args
            .as_ref()
            .map_or_else(|| quote!(#task {}), |args| quote!(#args));
        let (schedule, calls) = (&self.schedule, &self.calls);
        let make = quote! {
            || {
                let schedule: ::lovage::macro_support::Schedule = #schedule;
                #(#calls)*
                let message: #task = #message;
                ::lovage::macro_support::Periodic::new(schedule, &message)
            }
        };
        // With the span of the name: `Location::caller()` in the definition is then the place of the task.
        let def = quote_spanned! {task.span()=>
            ::lovage::macro_support::PeriodicDef::new(#name, #make)
        };
        quote! {
            #(#everywhere)*
            ::lovage::macro_support::inventory::submit! { #def }
        }
    }
}

/// Whether a message of it has fields.
fn takes_arguments(function: &ItemFn) -> bool {
    let is_argument = |input: &FnArg| {
        let parameter = Parameter::parse(&mut input.clone(), &mut Problems::default());
        matches!(parameter, Some(Parameter::Argument(_)))
    };
    function.sig.inputs.iter().any(is_argument)
}

fn name_literal(value: &Expr) -> syn::Result<LitStr> {
    let Some(name) = text_literal(value) else {
        return Err(syn::Error::new_spanned(
            value,
            "a schedule's name is a string literal, such as `name = \"nightly\"`",
        ));
    };
    check_name("schedule name", &name.value())
        .map(|()| name.clone())
        .map_err(|message| syn::Error::new_spanned(value, message))
}
