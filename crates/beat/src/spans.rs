//! Spans as people write them: `90s`, `1h 30m`, `250ms`.

use std::fmt;
use std::time::Duration;

const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads numbers, each with its unit, largest first; `None` if it is no such text.
pub(crate) fn parse_span(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut units = UNITS.iter();
    let mut total: Option<u64> = None;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (_, unit_ms) = units.find(|(name, _)| *name == &rest[..letters])?;
        total = Some(
            total
                .unwrap_or(0)
                .checked_add(number.checked_mul(*unit_ms)?)?,
        );
        rest = rest[letters..].trim_start();
    }
    total.map(Duration::from_millis)
}

/// Writes `ms` milliseconds as [`parse_span`] reads them.
pub(crate) fn write_span(f: &mut impl fmt::Write, ms: u64) -> fmt::Result {
    if ms == 0 {
        return f.write_str("0s");
    }
    let mut rest = ms;
    for (name, unit_ms) in UNITS {
        let number = rest / unit_ms;
        if number != 0 {
            let blank = if rest == ms { "" } else { " " };
            write!(f, "{blank}{number}{name}")?;
        }
        rest %= unit_ms;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_they_are_written() {
        for (text, ms) in [
            ("0s", 0),
            ("100ms", 100),
            ("90s", 90_000),
            ("1m 30s", 90_000),
            ("1h30m", 5_400_000),
            ("1d 2h 3m 4s 5ms", 93_784_005),
        ] {
            let span = parse_span(text).unwrap();
            assert_eq!(span, Duration::from_millis(ms), "{text}");
            let mut written = String::new();
            write_span(&mut written, ms).unwrap();
            assert_eq!(parse_span(&written), Some(span), "{written}");
        }
    }

    #[test]
    fn what_is_no_span_is_none() {
        for text in [
            "",
            " ",
            "5",
            "m",
            "5x",
            "1s 2h",
            "1h 2h",
            "-1s",
            "1.5h",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert_eq!(parse_span(text), None, "{text:?}");
        }
    }
}
