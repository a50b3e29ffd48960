//! The schedule file: a TOML table for each schedule, read as a whole or refused as a whole.

mod args;
mod entry;
mod problem;
mod table;
mod watch;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use lovage_core::{Registry, ScheduleName};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use problem::{FileError, Problem};
pub use watch::{Look, WATCH_AGAIN, WATCH_EVERY, Watch};

use crate::entry::{Entry, Origin};
use problem::Problems;
use table::Table;

/// The largest schedule file, in bytes.
pub const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most schedules in one file.
pub const FILE_SCHEDULES_MAX: usize = 50_000;

/// What a schedule file says.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Contents {
    /// Its schedules, in the order of their names.
    pub entries: Vec<Entry>,
    /// Schedules that are written and not enabled.
    pub disabled: Vec<ScheduleName>,
}

/// Reads a schedule file. The entries are those of the file of the label `label`; where a task is in `tasks`, its own
/// options count as for any send, and the file's before them.
///
/// # Errors
/// All that is wrong with the file, each with its line. There are no entries then.
pub fn read(path: &Path, label: &str, tasks: &Registry) -> Result<Contents, FileError> {
    let text = read_text(path).map_err(|reason| FileError::Unreadable {
        path: path.to_owned(),
        reason,
    })?;
    parse(&text, label, tasks).map_err(|problems| FileError::Refused {
        path: path.to_owned(),
        problems,
    })
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut rest = File::open(path)?.take(FILE_BYTES_MAX as u64 + 1);
    rest.read_to_string(&mut text)?;
    if FILE_BYTES_MAX < text.len() {
        let limit = format!("it has more than {FILE_BYTES_MAX} bytes; split it");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, limit));
    }
    Ok(text)
}

/// [`read`] of a text.
///
/// # Errors
/// All that is wrong with it, in the order of the lines; a part of it where that is very much.
pub fn parse(text: &str, label: &str, tasks: &Registry) -> Result<Contents, Vec<Problem>> {
    let mut problems = Problems::default();
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        problems.add(error.span().unwrap_or_default(), error.message());
    }
    // Where the text is no TOML, what was made of it would only be wrong for that reason.
    let contents = if problems.is_empty() {
        contents(&root, label, tasks, &mut problems)
    } else {
        Contents::default()
    };
    problems.finish(text).map(|()| contents)
}

fn contents(
    root: &Spanned<DeTable<'_>>,
    label: &str,
    tasks: &Registry,
    problems: &mut Problems,
) -> Contents {
    let mut contents = Contents::default();
    for (key, value) in root.get_ref() {
        if key.get_ref() != "schedules" {
            let message = format!(
                "unknown key {:?}; each schedule is a table [schedules.NAME]",
                key.get_ref()
            );
            problems.add(key.span(), message);
            continue;
        }
        let DeValue::Table(schedules) = value.get_ref() else {
            problems.add(value.span(), "each schedule is a table [schedules.NAME]");
            continue;
        };
        if FILE_SCHEDULES_MAX < schedules.len() {
            let message = format!(
                "{} schedules are too many for one file, the limit is {FILE_SCHEDULES_MAX}; split it",
                schedules.len()
            );
            problems.add(key.span(), message);
            continue;
        }
        for (key, value) in schedules {
            if problems.is_full() {
                break;
            }
            one(key, value, label, tasks, problems, &mut contents);
        }
    }
    contents
}

fn one(
    key: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    label: &str,
    tasks: &Registry,
    problems: &mut Problems,
    contents: &mut Contents,
) {
    let DeValue::Table(table) = value.get_ref() else {
        let message = format!("a schedule is a table: [schedules.{}]", key.get_ref());
        return problems.add(value.span(), message);
    };
    let name = match ScheduleName::parse(key.get_ref()) {
        Ok(name) => Some(name),
        Err(error) => {
            problems.add(key.span(), error);
            None
        }
    };
    let mut table = Table::new(key.span(), table, problems);
    let said = entry::read(&mut table, tasks);
    table.finish(&entry::KEYS);
    let (Some(name), Some((schedule, template, enabled))) = (name, said) else {
        return;
    };
    let entry = Entry::new(name, schedule, Origin::File(label.to_owned()), template);
    if let Err(error) = entry.check() {
        problems.add(key.span(), error);
    } else if enabled {
        contents.entries.push(entry);
    } else {
        contents.disabled.push(entry.name);
    }
}

#[cfg(test)]
mod tests;
