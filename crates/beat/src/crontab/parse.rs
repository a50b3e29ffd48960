//! Reads the text of a crontab.

use super::error::{CRONTAB_BYTES_MAX, CrontabError, CrontabProblem};
use super::fields::{Field, Values};

/// What the fields of a crontab say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) seconds: Values,
    pub(super) minutes: Values,
    pub(super) hours: Values,
    pub(super) days_of_month: Values,
    pub(super) months: Values,
    pub(super) days_of_week: Values,
    pub(super) years: Values,
    /// A day need match only one of the two fields that name days: both are restricted.
    pub(super) either_day: bool,
    /// The hours begin with a star, or are all: what is meant is a distance, and not times of the day.
    pub(super) interval_like: bool,
    /// Where the fields stand that name dates.
    pub(super) day_of_month_at: usize,
    pub(super) day_of_month_text: String,
}

/// A part of an expression, and the byte at which it begins.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    at: usize,
}

/// A field on its way from text to numbers.
#[derive(Clone, Copy)]
struct Reader<'a> {
    expression: &'a str,
    field: Field,
}

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

pub(super) fn parse(expression: &str) -> Result<Parsed, CrontabError> {
    let refuse =
        |at: usize, text: &str, problem| CrontabError::new(expression, at, None, text, problem);
    if CRONTAB_BYTES_MAX < expression.len() {
        let size = expression.len();
        return Err(refuse(0, expression, CrontabProblem::TooLong { size }));
    }
    let parts: Vec<Part<'_>> = words(expression);
    if let [nickname] = parts[..]
        && nickname.text.starts_with('@')
    {
        let text = nickname.text;
        if text.eq_ignore_ascii_case("@reboot") {
            return Err(refuse(nickname.at, text, CrontabProblem::Reboot));
        }
        let (_, meant) = NICKNAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .ok_or_else(|| refuse(nickname.at, text, CrontabProblem::Nickname))?;
        return parse(meant);
    }
    let count = parts.len();
    let mut fields = parts;
    if !(5..=7).contains(&count) {
        // Points at the first field that is too much, or to where one is missing.
        let end = Part {
            text: "",
            at: expression.len(),
        };
        let Part { text, at } = fields.get(7).copied().unwrap_or(end);
        return Err(refuse(at, text, CrontabProblem::Fields { count }));
    }
    if count == 5 {
        fields.insert(0, Part { text: "0", at: 0 });
    }
    if count < 7 {
        fields.push(Part { text: "*", at: 0 });
    }
    let [second, minute, hour, day_of_month, month, day_of_week, year] = fields[..] else {
        unreachable!("there are seven fields now");
    };
    let read = |field, part| Reader { expression, field }.list(part);
    let hours = read(Field::Hour, hour)?;
    let restricted = |part: Part<'_>| !part.text.starts_with(['*', '?']);
    Ok(Parsed {
        seconds: read(Field::Second, second)?,
        minutes: read(Field::Minute, minute)?,
        interval_like: hour.text.starts_with('*') || hours == Field::Hour.all(),
        hours,
        days_of_month: read(Field::DayOfMonth, day_of_month)?,
        months: read(Field::Month, month)?,
        days_of_week: read(Field::DayOfWeek, day_of_week)?,
        years: read(Field::Year, year)?,
        either_day: restricted(day_of_month) && restricted(day_of_week),
        day_of_month_at: day_of_month.at,
        day_of_month_text: day_of_month.text.to_owned(),
    })
}

fn words(expression: &str) -> Vec<Part<'_>> {
    let start = expression.as_ptr().addr();
    expression
        .split_ascii_whitespace()
        .map(|text| Part {
            text,
            at: text.as_ptr().addr() - start,
        })
        .collect()
}

impl Reader<'_> {
    fn refuse(self, part: Part<'_>, problem: CrontabProblem) -> CrontabError {
        CrontabError::new(
            self.expression,
            part.at,
            Some(self.field),
            part.text,
            problem,
        )
    }

    fn list(self, part: Part<'_>) -> Result<Values, CrontabError> {
        let mut values = Values::new();
        let mut at = part.at;
        for text in part.text.split(',') {
            let entry = Part { text, at };
            if text.is_empty() {
                return Err(self.refuse(entry, CrontabProblem::Empty));
            }
            values.extend(self.entry(entry)?);
            at += text.len() + 1;
        }
        Ok(values)
    }

    fn entry(self, part: Part<'_>) -> Result<Vec<u16>, CrontabError> {
        let (span, step) = match part.text.split_once('/') {
            None => (part.text, None),
            Some((span, step)) => (span, Some(self.step(part, span, step)?)),
        };
        let span = Part { text: span, ..part };
        let (min, max) = self.field.range();
        let values = if span.text == "*" || (span.text == "?" && self.field.is_day()) {
            (min..=max).collect()
        } else if let Some((from, to)) = span.text.split_once('-') {
            let to_at = span.at + from.len() + 1;
            let from = self.value(
                span,
                Part {
                    text: from,
                    at: span.at,
                },
            )?;
            let to = self.value(
                span,
                Part {
                    text: to,
                    at: to_at,
                },
            )?;
            self.range(span, from, to)?
        } else {
            let first = self.value(span, span)?;
            // A step without an end goes on to the last value.
            match step {
                None => vec![self.norm(first)],
                Some(_) => (self.norm(first)..=max).collect(),
            }
        };
        Ok(values
            .into_iter()
            .step_by(step.unwrap_or(1).into())
            .collect())
    }

    fn step(self, part: Part<'_>, span: &str, step: &str) -> Result<u16, CrontabError> {
        let digits = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
        if span.is_empty() || span == "?" || !digits {
            return Err(self.refuse(part, CrontabProblem::Step));
        }
        step.parse()
            .ok()
            .filter(|step| (1..=self.field.step_max()).contains(step))
            .ok_or_else(|| self.refuse(part, CrontabProblem::StepRange))
    }

    /// The values from one to another, across the end of the field where the second is the smaller one.
    fn range(self, part: Part<'_>, from: u16, to: u16) -> Result<Vec<u16>, CrontabError> {
        let (min, max) = self.field.range();
        if from <= to {
            return Ok((from..=to).map(|value| self.norm(value)).collect());
        }
        if self.field == Field::Year {
            return Err(self.refuse(part, CrontabProblem::Backwards));
        }
        let from = self.norm(from);
        Ok(if from <= to {
            (from..=to).collect()
        } else {
            (from..=max).chain(min..=to).collect()
        })
    }

    /// Sunday is 0.
    fn norm(self, value: u16) -> u16 {
        if self.field == Field::DayOfWeek {
            value % 7
        } else {
            value
        }
    }

    /// A number or a name, as it is written.
    fn value(self, entry: Part<'_>, part: Part<'_>) -> Result<u16, CrontabError> {
        if let Some(value) = self.field.named(part.text) {
            return Ok(value);
        }
        if part.text.is_empty() || !part.text.bytes().all(|byte| byte.is_ascii_digit()) {
            let problem = if self.extends(entry.text) {
                CrontabProblem::Extension
            } else {
                CrontabProblem::Value
            };
            let refused = if part.text.is_empty() { entry } else { part };
            return Err(self.refuse(refused, problem));
        }
        let min = self.field.range().0;
        part.text
            .parse()
            .ok()
            .filter(|value| (min..=self.field.written_max()).contains(value))
            .ok_or_else(|| self.refuse(part, CrontabProblem::Range))
    }

    /// Whether other crontabs know an entry that this one does not.
    fn extends(self, entry: &str) -> bool {
        let upper = entry.to_ascii_uppercase();
        let rest = upper.trim_start_matches(|c: char| c.is_ascii_digit());
        let rest = rest
            .get(..3)
            .filter(|name| self.field.named(name).is_some())
            .map_or(rest, |name| &rest[name.len()..]);
        self.field.is_day() && (rest.starts_with(['L', 'W', '#']))
    }
}
