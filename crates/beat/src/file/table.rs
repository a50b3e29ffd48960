//! One table of the file: takes what is expected of each key, and notes what is not.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use lovage_core::Millis;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problems;
use crate::instants;
use crate::spans::parse_span;

/// A table that is being read.
pub(super) struct Table<'a, 't> {
    place: Range<usize>,
    keys: &'t DeTable<'t>,
    problems: &'a mut Problems,
}

/// A value and where it stands.
pub(super) type Placed<T> = (T, Range<usize>);

impl<'a, 't> Table<'a, 't> {
    /// The table whose name stands at `place`.
    pub(super) fn new(
        place: Range<usize>,
        table: &'t DeTable<'t>,
        problems: &'a mut Problems,
    ) -> Self {
        Self {
            place,
            keys: table,
            problems,
        }
    }

    /// Notes the keys that nobody knows.
    pub(super) fn finish(self, known: &[&str]) {
        for (key, value) in self.keys {
            let word: &str = key.get_ref();
            if known.contains(&word) {
                continue;
            }
            let message = if matches!(value.get_ref(), DeValue::Table(_)) {
                format!(
                    "unknown key {word:?}; a schedule's name with a dot stands in quotes, as in [schedules.\"a.b\"]"
                )
            } else {
                format!("unknown key {word:?}; the keys are {}", known.join(", "))
            };
            self.problems.add(key.span(), message);
        }
    }

    /// Notes something about the whole.
    pub(super) fn refuse(&mut self, message: impl fmt::Display) {
        self.problems.add(self.place.clone(), message);
    }

    /// Notes something about a part.
    pub(super) fn refuse_at(&mut self, place: Range<usize>, message: impl fmt::Display) {
        self.problems.add(place, message);
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// The value of a key, as it stands.
    pub(super) fn value(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.keys.get(key)
    }

    /// What `read` makes of the value; `None` with a note where it makes nothing.
    fn read<T, E: fmt::Display>(
        &mut self,
        key: &str,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, E>,
    ) -> Option<Placed<T>> {
        let value = self.value(key)?;
        match read(value.get_ref()) {
            Ok(read) => Some((read, value.span())),
            Err(message) => {
                self.problems.add(value.span(), format!("{key}: {message}"));
                None
            }
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Option<Placed<Cow<'t, str>>> {
        self.read(key, |value| match value {
            DeValue::String(text) => Ok(text.clone()),
            other => Err(unexpected(other, "a text in quotes")),
        })
    }

    /// A word of an enum, or whatever else is read from a text.
    pub(super) fn word<T: FromStr<Err: fmt::Display>>(&mut self, key: &str) -> Option<T> {
        self.read(key, |value| match value {
            DeValue::String(text) => text.parse::<T>().map_err(|error| error.to_string()),
            other => Err(unexpected(other, "a text in quotes")),
        })
        .map(|(word, _)| word)
    }

    pub(super) fn span(&mut self, key: &str) -> Option<Placed<Duration>> {
        const EXAMPLE: &str =
            "a number with its unit in quotes, as in \"90s\", \"1h 30m\" or \"250ms\"";
        self.read(key, |value| match value {
            DeValue::String(text) => {
                parse_span(text).ok_or_else(|| format!("{text:?} is no span; write {EXAMPLE}"))
            }
            other => Err(unexpected(other, EXAMPLE)),
        })
    }

    pub(super) fn instant(&mut self, key: &str) -> Option<Millis> {
        const EXAMPLE: &str = "an instant with its offset, as in 2026-12-25T09:00:00Z";
        let read = self.read(key, |value| match value {
            DeValue::String(text) => instants::parse(text).map_err(|error| error.to_string()),
            DeValue::Datetime(instant) => {
                instants::parse(&instant.to_string()).map_err(|error| error.to_string())
            }
            other => Err(unexpected(other, EXAMPLE)),
        });
        read.map(|(instant, _)| instant)
    }

    pub(super) fn bool(&mut self, key: &str) -> Option<bool> {
        let read = self.read(key, |value| match value {
            DeValue::Boolean(flag) => Ok(*flag),
            other => Err(unexpected(other, "true or false")),
        });
        read.map(|(flag, _)| flag)
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(&mut self, key: &str, least: u64, most: u64) -> Option<u64> {
        let read = self.read(key, |value| {
            let expected = format!("a whole number from {least} to {most}");
            match value {
                DeValue::Integer(number) => integer(number)
                    .and_then(|number| u64::try_from(number).ok())
                    .filter(|number| (least..=most).contains(number))
                    .ok_or_else(|| format!("{number} is not {expected}")),
                other => Err(unexpected(other, &expected)),
            }
        });
        read.map(|(number, _)| number)
    }

    /// A number of degrees.
    pub(super) fn degrees(&mut self, key: &str) -> Option<f64> {
        let read = self.read(key, |value| match value {
            DeValue::Float(number) => number.as_str().parse().map_err(|_| "no number".to_owned()),
            DeValue::Integer(number) => integer(number)
                .and_then(|number| i32::try_from(number).ok())
                .map(f64::from)
                .ok_or_else(|| format!("{number} is no number of degrees")),
            other => Err(unexpected(other, "degrees, as in 38.72 or -9.14")),
        });
        read.map(|(degrees, _)| degrees)
    }

    /// The dates of a list, each with its place.
    pub(super) fn dates(&mut self, key: &str) -> Vec<Placed<String>> {
        const EXAMPLE: &str = "a list of dates, as in [\"2026-12-25\"]";
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let DeValue::Array(values) = value.get_ref() else {
            let message = format!("{key}: {}", unexpected(value.get_ref(), EXAMPLE));
            self.problems.add(value.span(), message);
            return Vec::new();
        };
        let mut dates = Vec::new();
        for value in values {
            match value.get_ref() {
                DeValue::String(text) => dates.push((text.to_string(), value.span())),
                DeValue::Datetime(date) => dates.push((date.to_string(), value.span())),
                other => self.problems.add(
                    value.span(),
                    format!("{key}: {}", unexpected(other, EXAMPLE)),
                ),
            }
        }
        dates
    }

    /// The texts of a table of texts.
    pub(super) fn texts(&mut self, key: &str) -> Vec<(String, String)> {
        const EXAMPLE: &str = "a table of texts, as in { region = \"eu\" }";
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let DeValue::Table(table) = value.get_ref() else {
            let message = format!("{key}: {}", unexpected(value.get_ref(), EXAMPLE));
            self.problems.add(value.span(), message);
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (name, value) in table {
            match value.get_ref() {
                DeValue::String(text) => texts.push((name.get_ref().to_string(), text.to_string())),
                other => self.problems.add(
                    value.span(),
                    format!("{key}: {}", unexpected(other, EXAMPLE)),
                ),
            }
        }
        texts
    }
}

/// A whole number of TOML, which has 64 bits.
pub(super) fn integer(number: &toml::de::DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn unexpected(value: &DeValue<'_>, expected: &str) -> String {
    format!("this is of type {}; write {expected}", value.type_str())
}
