//! Why a crontab expression was refused, and where.

use std::fmt;

use super::fields::Field;
use crate::error::cited;

/// The longest expression, in bytes.
pub const CRONTAB_BYTES_MAX: usize = 256;

/// Why a crontab expression was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrontabError {
    expression: String,
    column: usize,
    field: Option<Field>,
    text: String,
    problem: CrontabProblem,
}

/// What is wrong with a part of a crontab expression.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrontabProblem {
    /// The expression is longer than [`CRONTAB_BYTES_MAX`].
    TooLong {
        /// Its size in bytes.
        size: usize,
    },
    /// There are not 5, 6 or 7 fields.
    Fields {
        /// How many there are.
        count: usize,
    },
    /// There is no such nickname.
    Nickname,
    /// `@reboot`, which is no time.
    Reboot,
    /// Nothing stands before, between or behind commas.
    Empty,
    /// It is neither a number nor a name that the field knows.
    Value,
    /// The number is outside the range of the field.
    Range,
    /// The step is no number, or has nothing before it.
    Step,
    /// The step is zero, or longer than the range of the field.
    StepRange,
    /// The range of years ends before it begins.
    Backwards,
    /// `L`, `W` or `#`, which other crontabs know.
    Extension,
    /// No date is ever meant.
    Never {
        /// Why.
        reason: String,
    },
}

impl CrontabError {
    pub(super) fn new(
        expression: &str,
        byte: usize,
        field: Option<Field>,
        text: &str,
        problem: CrontabProblem,
    ) -> Self {
        let column = expression
            .char_indices()
            .take_while(|(at, _)| *at < byte)
            .count()
            + 1;
        Self {
            expression: cited(expression),
            column,
            field,
            text: cited(text),
            problem,
        }
    }

    /// The column of the refused part, in characters, from 1 on.
    pub fn column(&self) -> usize {
        self.column
    }

    /// The field that it is in; `None` where the whole expression is refused.
    pub fn field(&self) -> Option<Field> {
        self.field
    }

    /// The refused part.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &CrontabProblem {
        &self.problem
    }
}

impl std::error::Error for CrontabError {}

impl fmt::Display for CrontabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crontab {:?}, ", self.expression)?;
        if let Some(field) = self.field {
            write!(f, "{field} ")?;
        }
        write!(f, "at column {}: ", self.column)?;
        let text = &self.text;
        match &self.problem {
            CrontabProblem::TooLong { size } => {
                write!(
                    f,
                    "{size} bytes are too long, the limit is {CRONTAB_BYTES_MAX}"
                )
            }
            CrontabProblem::Fields { count } => write!(
                f,
                "there are {count} fields; write 5 (minute, hour, day-of-month, month, day-of-week), \
                 6 with the second first, or 7 with the second first and the year last"
            ),
            CrontabProblem::Nickname => write!(
                f,
                "{text:?} is unknown; use @yearly, @annually, @monthly, @weekly, @daily, @midnight or @hourly"
            ),
            CrontabProblem::Reboot => write!(
                f,
                "{text:?} is no time, and is not supported; send the task where the program starts"
            ),
            CrontabProblem::Empty => write!(f, "an entry of the list is empty"),
            CrontabProblem::Value => write!(f, "{text:?} is not understood"),
            CrontabProblem::Range => write!(f, "{text:?} is out of range"),
            CrontabProblem::Step => write!(
                f,
                "{text:?} has no proper step; write *, a value or a range, then / and a number"
            ),
            CrontabProblem::StepRange => write!(
                f,
                "the step of {text:?} is out of range; allowed are 1-{}",
                self.field.map_or(0, Field::step_max)
            ),
            CrontabProblem::Backwards => write!(f, "{text:?} ends before it begins"),
            CrontabProblem::Extension => write!(
                f,
                "{text:?}: L, W and # are not supported; name all days that may be meant, as 28-31, and let the task \
                 look at the date"
            ),
            CrontabProblem::Never { reason } => write!(f, "{reason}"),
        }?;
        match (&self.problem, self.field) {
            (
                CrontabProblem::Empty
                | CrontabProblem::Value
                | CrontabProblem::Range
                | CrontabProblem::Step
                | CrontabProblem::Backwards
                | CrontabProblem::Extension,
                Some(field),
            ) => write!(f, "; allowed are {}", field.allowed()),
            _ => Ok(()),
        }
    }
}
