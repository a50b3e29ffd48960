//! Instants as people write them: RFC 3339, with a zone of its own or in UTC.

use std::time::SystemTime;

use jiff::Timestamp;
use lovage_core::Millis;

use crate::error::cited;

/// Why a text is no instant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no instant; write date, time and offset, as in 2026-12-25T09:00:00Z or 2026-12-25T09:00:00+01:00"
)]
pub struct InstantError {
    text: String,
}

/// Reads an instant of RFC 3339; parts of a millisecond are dropped, and what was before 1970 is refused.
pub(crate) fn parse(text: &str) -> Result<Millis, InstantError> {
    text.trim()
        .parse::<Timestamp>()
        .ok()
        .and_then(|stamp| u64::try_from(stamp.as_millisecond()).ok())
        .map(Millis::new)
        .ok_or_else(|| InstantError { text: cited(text) })
}

/// What can be said of an instant in `#[periodic]`: a text of RFC 3339, or what Rust has.
#[doc(hidden)]
pub trait IntoInstant {
    fn into_instant(self) -> Result<Millis, InstantError>;
}

impl IntoInstant for Millis {
    fn into_instant(self) -> Result<Millis, InstantError> {
        Ok(self)
    }
}

impl IntoInstant for SystemTime {
    fn into_instant(self) -> Result<Millis, InstantError> {
        Ok(self.into())
    }
}

impl IntoInstant for &str {
    fn into_instant(self) -> Result<Millis, InstantError> {
        parse(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_have_a_date_a_time_and_an_offset() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-12-25T09:00:00+01:00", 1_798_185_600_000),
            (" 2026-12-25 08:00:00.25Z ", 1_798_185_600_250),
        ] {
            assert_eq!(parse(text), Ok(Millis::new(ms)), "{text}");
        }
        for text in [
            "",
            "2026-12-25",
            "2026-12-25T09:00:00",
            "1969-12-31T23:59:59Z",
            "soon",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("2026-12-25T09:00:00Z"), "{error}");
        }
    }
}
