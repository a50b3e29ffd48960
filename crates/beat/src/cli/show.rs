//! How answers are printed: columns that line up, and spans as people say them.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

/// Rows under headings; each column is as wide as its widest cell.
pub(super) struct Columns {
    rows: Vec<Vec<String>>,
}

impl Columns {
    pub(super) fn new(headings: &[&str]) -> Self {
        let headings = headings.iter().map(ToString::to_string).collect();
        Self {
            rows: vec![headings],
        }
    }

    /// Without headings.
    pub(super) fn bare() -> Self {
        Self { rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // A line break in a cell would be a row of its own.
        let cells = cells
            .into_iter()
            .map(|cell| cell.replace(['\n', '\r'], " "));
        self.rows.push(cells.collect());
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:width$}  ")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Prints an answer. Whoever reads it may have read enough.
pub(super) fn answer(text: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints an answer for programs.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    Ok(answer(format_args!("{text}\n"))?)
}

/// The two largest units of a span: `3d 4h`, `12m 5s`, `250ms`.
pub(super) fn span(span: Duration) -> String {
    const UNITS: [(&str, u128); 5] = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let ms = span.as_millis();
    let Some(first) = UNITS.iter().position(|(_, unit)| *unit <= ms) else {
        return "0s".to_owned();
    };
    let (name, unit) = UNITS[first];
    let text = format!("{}{name}", ms / unit);
    match UNITS.get(first + 1) {
        Some((second, part)) if *second != "ms" && ms % unit / part != 0 => {
            format!("{text} {}{second}", ms % unit / part)
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lovage_core::{hours, mins, ms, secs};

    #[test]
    fn spans_are_told_by_their_two_largest_units() {
        for (length, text) in [
            (ms(0), "0s"),
            (ms(250), "250ms"),
            (ms(1_500), "1s"),
            (secs(61), "1m 1s"),
            (mins(120), "2h"),
            (hours(76), "3d 4h"),
        ] {
            assert_eq!(span(length), text);
        }
    }

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let mut columns = Columns::new(&["NAME", "NEXT"]);
        columns.row(["größe".to_owned(), "a\nb".to_owned()]);
        columns.row(["x".to_owned(), String::new()]);
        assert_eq!(columns.to_string(), "NAME   NEXT\ngröße  a b\nx\n");
    }
}
