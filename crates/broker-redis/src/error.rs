//! What an error of Redis means to a caller.

use lovage_core::{BrokerError, TransportError};
use redis::{ErrorKind, RedisError};

use crate::config::ConnectError;

/// What a failed command says of itself and of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// No answer, or one that cannot be read: the command may have been executed.
    Unknown,
    /// Refused for now; nothing happened.
    Refused,
    /// Refused until somebody acts; nothing happened.
    Misconfigured,
    /// The script is not loaded; nothing happened.
    NotLoaded,
}

/// Codes of errors that pass by themselves.
const PASSING: [&str; 14] = [
    "LOADING",
    "BUSY",
    "MISCONF",
    "NOREPLICAS",
    "OOM",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "READONLY",
    "MOVED",
    "ASK",
    "UNBLOCKED",
    "UNKILLABLE",
    "EXECABORT",
];
/// Codes, and texts without a code of their own, of errors that somebody must mend.
const LASTING: [&str; 11] = [
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "WRONGTYPE",
    "NOPROTO",
    "CROSSSLOT",
    "can't run this command",
    "can't access at least one of the keys",
    "unknown command",
    "DENIED",
    "invalid DB index",
];

pub(crate) fn meaning(error: &RedisError) -> Meaning {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            return Meaning::Unknown;
        }
        ErrorKind::AuthenticationFailed
        | ErrorKind::InvalidClientConfig
        | ErrorKind::RESP3NotSupported => return Meaning::Misconfigured,
        _ => {}
    }
    let code = error.code().unwrap_or_default();
    if code == "NOSCRIPT" {
        return Meaning::NotLoaded;
    }
    if PASSING.contains(&code) {
        return Meaning::Refused;
    }
    // Redis 6.2 wraps the error of a command inside a script: the code proper stands in the text.
    let text = error.to_string();
    if LASTING.iter().any(|part| text.contains(part)) {
        return Meaning::Misconfigured;
    }
    if PASSING.iter().any(|part| text.contains(part)) {
        return Meaning::Refused;
    }
    // An error reply that nobody has seen yet. The scripts refuse before they write, so nothing happened.
    Meaning::Misconfigured
}

/// Whether the connection must not be used again: out of step, half-open, or to a server that is no primary any more.
pub(crate) fn spoils_connection(error: &RedisError) -> bool {
    meaning(error) == Meaning::Unknown
        || error.is_unrecoverable_error()
        || error.to_string().contains("READONLY")
        || matches!(error.code(), Some("NOAUTH" | "UNBLOCKED"))
}

/// The error of a command that was sent.
pub(crate) fn broker_error(error: RedisError) -> BrokerError {
    match meaning(&error) {
        Meaning::Unknown => BrokerError::Unknown(TransportError::new(error)),
        Meaning::Refused | Meaning::NotLoaded => BrokerError::Refused(TransportError::new(error)),
        Meaning::Misconfigured => BrokerError::Misconfigured(TransportError::new(error)),
    }
}

/// The error of a connection that could not be made: nothing was sent.
pub(crate) fn connection_error(error: ConnectError) -> BrokerError {
    match error {
        ConnectError::Unreachable(source) => BrokerError::Refused(source),
        ConnectError::Misconfigured(source) => BrokerError::Misconfigured(source),
        other => BrokerError::Misconfigured(TransportError::new(other)),
    }
}

pub(crate) fn connect_error(error: RedisError) -> ConnectError {
    match meaning(&error) {
        Meaning::Misconfigured => ConnectError::Misconfigured(TransportError::new(error)),
        _ => ConnectError::Unreachable(TransportError::new(error)),
    }
}

/// An answer that the script of this build does not give: something else stands between us and Redis.
pub(crate) fn unexpected(script: &'static str) -> BrokerError {
    BrokerError::Unknown(TransportError::new(format!(
        "script {script} gave an unexpected answer"
    )))
}
