//! Settings: spans and sizes as text, and the file that a flag names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as _;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use toml::Spanned;
use toml::de::{DeTable, Error as TomlError};

use crate::broker::BrokerArgs;

/// Why a configuration file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {reason}; check --config")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not. No `source`: a chain of errors would say it twice.
        reason: std::io::Error,
    },
    /// The file is not TOML, or holds what is not a setting.
    #[error("the configuration file {path} makes no sense: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What and where.
        reason: String,
    },
}

/// Reads a TOML file of settings: those of the broker, and those that a program has beside them.
pub fn read_file<T: DeserializeOwned>(path: &Path) -> Result<(BrokerArgs, T), FileError> {
    let text = std::fs::read_to_string(path).map_err(|reason| FileError::Unreadable {
        path: path.to_owned(),
        reason,
    })?;
    parse(&text).map_err(|mut error| {
        error.set_input(Some(&text));
        FileError::Malformed {
            path: path.to_owned(),
            reason: error.to_string(),
        }
    })
}

/// Two tables, as `serde(flatten)` would tell neither the line of an error nor that a name is unknown.
fn parse<T: DeserializeOwned>(text: &str) -> Result<(BrokerArgs, T), TomlError> {
    let mut own = DeTable::parse(text)?;
    let mut broker = Spanned::new(own.span(), DeTable::new());
    for flag in BrokerArgs::augment_args(clap::Command::default()).get_arguments() {
        let name = flag.get_long().unwrap_or_default();
        if let Some((name, value)) = own.get_mut().remove_entry(name) {
            broker.get_mut().insert(name, value);
        }
    }
    let broker = BrokerArgs::deserialize(toml::Deserializer::from(broker))?;
    Ok((broker, T::deserialize(toml::Deserializer::from(own))?))
}

/// Reads a span: a whole number and a unit, `ms`, `s`, `m`, `h` or `d` (24 hours).
///
/// # Errors
/// A sentence for whoever wrote it.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    let ms = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_ms));
    match ms {
        Some(ms) if unit_ms != 0 => Ok(Duration::from_millis(ms)),
        _ => Err(format!(
            "{text:?} is not a span; write a whole number and a unit, for example 500ms, 15s, 2m, 1h or 30d"
        )),
    }
}

/// Reads a span from a field of a file: for `#[serde(deserialize_with = …)]`.
pub fn span_in_file<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(value)?;
    parse_span(&text).map(Some).map_err(D::Error::custom)
}

/// Reads a size: a whole number of bytes, or one with a unit, `KiB`, `MiB` or `GiB`.
///
/// # Errors
/// A sentence for whoever wrote it.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_bytes: u64 = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_bytes));
    match bytes {
        Some(bytes) if unit_bytes != 0 => Ok(bytes),
        _ => Err(format!(
            "{text:?} is not a size; write a whole number of bytes, or one with a unit, for example 512MiB or 2GiB"
        )),
    }
}

/// Reads a size from a field of a file: for `#[serde(deserialize_with = …)]`. It is a text there as well.
pub fn size_in_file<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(value)?;
    parse_size(&text).map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lovage_core::{AccessFiles, mins, ms, secs};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[serde(deserialize_with = "span_in_file")]
        lease: Option<Duration>,
    }

    #[test]
    fn spans_have_a_number_and_a_unit() {
        for (text, expected) in [
            ("250ms", ms(250)),
            ("0s", secs(0)),
            ("3m", mins(3)),
            ("1h", mins(60)),
            ("30d", mins(30 * 24 * 60)),
        ] {
            assert_eq!(parse_span(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "s",
            "-1s",
            "1.5s",
            "15 s",
            "1w",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        for (text, expected) in [
            ("1", 1),
            ("2KiB", 2048),
            ("3MiB", 3 << 20),
            ("4GiB", 4 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "MiB",
            "-1",
            "1.5GiB",
            "1 MiB",
            "1MB",
            "1k",
            "99999999999GiB",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_is_read_or_refused_with_its_name_and_the_place() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write(
            "lease = \"2s\"\nbroker = \"redis://db\"\nnamespace = \"shop\"\nbroker-username-file = \"u\"\n\
             broker-password-file = \"p\"\nbroker-sentinel-username-file = \"su\"\n\
             broker-sentinel-password-file = \"sp\"\nbroker-ca = \"a\"\nbroker-cert = \"c\"\nbroker-key = \"k\"",
        );
        let (broker, settings): (_, Settings) = read_file(file.path()).unwrap();
        assert_eq!(settings.lease, Some(secs(2)));
        assert_eq!((broker.url(), broker.namespace()), ("redis://db", "shop"));
        let files = AccessFiles {
            username: Some("u".into()),
            password: Some("p".into()),
            sentinel_username: Some("su".into()),
            sentinel_password: Some("sp".into()),
            ca: Some("a".into()),
            cert: Some("c".into()),
            key: Some("k".into()),
        };
        assert_eq!(broker.files(), files);
        for (text, part) in [
            ("\nlease = 2", "string"),
            ("\nleese = \"2s\"", "leese"),
            ("\nbroker-ca = 2", "string"),
            ("\nbroker-cart = \"f\"", "broker-cart"),
            ("\nbroker = [", "array"),
        ] {
            write(text);
            let error = read_file::<Settings>(file.path()).unwrap_err().to_string();
            let path = file.path().to_str().unwrap();
            for part in [part, "line 2", path] {
                assert!(error.contains(part), "{text}: {error}");
            }
        }
        let error = read_file::<Settings>(Path::new("/nowhere/at/all"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/nowhere/at/all") && error.contains("check --config"),
            "{error}"
        );
    }
}
