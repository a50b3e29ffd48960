//! What is wrong with a schedule file, and where.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

/// The most problems that are told of one file: whoever has more has one in common.
const PROBLEMS_MAX: usize = 100;
/// With so many problems a file is read no further: what was meant in their place takes time to find.
const FOUND_MAX: usize = 1000;

/// One thing that is wrong with a schedule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1 on.
    pub line: usize,
    /// The column, in characters, from 1 on.
    pub column: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

/// Why a schedule file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the schedule file {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not. No `source`: a chain of errors would say it twice.
        reason: io::Error,
    },
    /// It makes no sense.
    #[error("the schedule file {path} is refused:{}", Lines(problems))]
    Refused {
        /// The file.
        path: PathBuf,
        /// All that is wrong, in the order of the lines; a part of it where that is very much.
        problems: Vec<Problem>,
    },
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = &self.0[..self.0.len().min(PROBLEMS_MAX)];
        for problem in told {
            write!(f, "\n  {problem}")?;
        }
        match self.0.len() - told.len() {
            0 => Ok(()),
            more if FOUND_MAX <= self.0.len() => write!(f, "\n  and at least {more} more"),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            message,
        } = self;
        write!(f, "line {line}, column {column}: {message}")
    }
}

/// Gathers what is wrong with a text.
#[derive(Default)]
pub(super) struct Problems {
    found: Vec<(usize, String)>,
}

impl Problems {
    pub(super) fn add(&mut self, place: Range<usize>, message: impl fmt::Display) {
        self.found.push((place.start, message.to_string()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether so many were found that nobody needs more.
    pub(super) fn is_full(&self) -> bool {
        FOUND_MAX <= self.found.len()
    }

    /// All of them with their lines in `text`, if there are any.
    pub(super) fn finish(mut self, text: &str) -> Result<(), Vec<Problem>> {
        self.found.sort();
        // One walk over the text for all of them.
        let (mut at, mut line, mut line_start) = (0, 1, 0);
        let mut problems = Vec::with_capacity(self.found.len());
        for (start, message) in self.found {
            let start = text.floor_char_boundary(start);
            for (offset, _) in text[at..start].match_indices('\n') {
                line += 1;
                line_start = at + offset + 1;
            }
            at = start;
            problems.push(Problem {
                line,
                column: text[line_start..start].chars().count() + 1,
                message,
            });
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }
}
