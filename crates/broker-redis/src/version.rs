//! Which version of Redis a server is, and what it understands.

use crate::config::ConnectError;
use crate::script::Dialect;

/// Reads the version from `INFO server`. Valkey tells the version of Redis that it is compatible with.
pub(crate) fn dialect(info: &str) -> Result<Dialect, ConnectError> {
    let found = info
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .or_else(|| {
            info.lines()
                .find_map(|line| line.strip_prefix("valkey_version:"))
        })
        .unwrap_or("of an unknown version")
        .trim();
    let mut numbers = found
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if (major, minor) < (6, 2) {
        return Err(ConnectError::Version {
            found: found.to_owned(),
        });
    }
    Ok(if major < 7 {
        Dialect::Plain
    } else {
        Dialect::Flagged
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_older_than_6_2_are_refused_by_version() {
        for (info, expected) in [
            ("redis_version:7.0.15\r\n", Some(Dialect::Flagged)),
            ("redis_version:6.2.0\r\n", Some(Dialect::Plain)),
            (
                "redis_version:7.2.4\r\nvalkey_version:8.1.0\r\n",
                Some(Dialect::Flagged),
            ),
            ("redis_version:10.0.0\r\n", Some(Dialect::Flagged)),
            ("redis_version:6.0.16\r\n", None),
            ("redis_version:5.0.3\r\n", None),
            ("", None),
        ] {
            assert_eq!(dialect(info).ok(), expected, "{info:?}");
        }
    }
}
