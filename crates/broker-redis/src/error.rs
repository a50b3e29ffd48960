//! What an error of Redis means to a caller.

use lovage_core::{BrokerError, EnqueueError, TransportError};
use redis::{ConnectionInfo, ErrorKind, RedisError};

use crate::acl::Missing;
use crate::config::ConnectError;
use crate::tls;

/// What a failed command says of itself and of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// No answer, or one that does not tell: the command may have been executed.
    Unknown,
    /// Refused for now; nothing happened.
    Refused,
    /// Refused until somebody acts; nothing happened.
    Misconfigured,
    /// The script is not loaded; nothing happened.
    NotLoaded,
}

/// Codes, and texts without a code of their own, of errors that pass by themselves.
const PASSING: [&str; 15] = [
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
    "max number of clients reached",
];
/// Codes, and texts without a code of their own, of errors that somebody must mend.
const LASTING: [&str; 10] = [
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "WRONGTYPE",
    "NOPROTO",
    "CROSSSLOT",
    "unknown command",
    "DENIED",
    "invalid DB index",
    "Error compiling script",
];
/// How it begins what a script is refused because of its user, without a code of its own: up to Redis 7.0, and since 7.2.
const DENIED_IN_SCRIPT: [&str; 2] = ["The user executing the script", "ACL failure in script"];

pub(crate) fn meaning(error: &RedisError) -> Meaning {
    if !is_answer(error) {
        return Meaning::Unknown;
    }
    if let ErrorKind::AuthenticationFailed
    | ErrorKind::InvalidClientConfig
    | ErrorKind::Client
    | ErrorKind::RESP3NotSupported = error.kind()
    {
        return Meaning::Misconfigured;
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
    let is_lasting = |part: &&str| *part == code || text.contains(part);
    if is_denied(error) || LASTING.iter().any(is_lasting) {
        return Meaning::Misconfigured;
    }
    if PASSING.iter().any(|part| text.contains(part)) {
        return Meaning::Refused;
    }
    // An error reply that nobody has seen yet: a script may have written before it failed.
    Meaning::Unknown
}

/// Whether the user may not do this: run the command, use its keys or its channels, by itself or inside a script.
pub(crate) fn is_denied(error: &RedisError) -> bool {
    let in_script = is_denied_in_script(&error.to_string());
    is_answer(error) && (in_script || error.code() == Some("NOPERM"))
}

fn is_denied_in_script(text: &str) -> bool {
    DENIED_IN_SCRIPT.iter().any(|part| text.contains(part))
}

/// What an error of a script that stores tasks means to who sends them: one that its user was not allowed to finish may
/// have stored them before.
pub(crate) fn of_send(error: BrokerError) -> EnqueueError {
    match error {
        BrokerError::Misconfigured(source) if is_denied_in_script(&source.to_string()) => {
            EnqueueError::Unknown(source)
        }
        other => other.into(),
    }
}

/// Whether Redis itself answered, if only with an error: what it was asked before and after is in step.
fn is_answer(error: &RedisError) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::UnexpectedReturnType
    )
}

/// Whether the connection must not be used again: out of step, half-open, or to a server that is no primary any more.
pub(crate) fn spoils_connection(error: &RedisError) -> bool {
    !is_answer(error)
        || error.is_unrecoverable_error()
        || error.to_string().contains("READONLY")
        || matches!(error.code(), Some("NOAUTH" | "UNBLOCKED"))
}

/// Why there is no answer, or none but an error.
#[derive(Debug)]
pub(crate) enum Failed {
    /// There is no connection; nothing was sent.
    Connecting(BrokerError),
    /// It was sent.
    Command(RedisError),
    /// It was sent, and the user may not do it.
    Denied(RedisError, Missing),
}

impl Failed {
    /// What came back instead of an answer, if anything was sent.
    pub(crate) fn answer(&self) -> Option<&RedisError> {
        match self {
            Self::Connecting(_) => None,
            Self::Command(error) | Self::Denied(error, _) => Some(error),
        }
    }
}

impl From<Failed> for BrokerError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Connecting(error) => error,
            Failed::Command(error) => broker_error(error),
            Failed::Denied(error, missing) => BrokerError::Misconfigured(TransportError::new(
                format!("{missing} (Redis says: {error})"),
            )),
        }
    }
}

/// Why there was no connection, for each who was waiting for it.
#[derive(Clone, Debug)]
pub(crate) struct NotConnected {
    text: String,
    is_lasting: bool,
}

impl NotConnected {
    pub(crate) fn of(error: &ConnectError) -> Self {
        Self {
            text: error.to_string(),
            is_lasting: !matches!(error, ConnectError::Unreachable(_)),
        }
    }

    /// What passes by itself.
    pub(crate) fn for_now(text: String) -> Self {
        Self {
            text,
            is_lasting: false,
        }
    }

    /// Whether somebody must act.
    pub(crate) fn is_lasting(&self) -> bool {
        self.is_lasting
    }

    /// Nothing was sent.
    pub(crate) fn told(self) -> BrokerError {
        let source = TransportError::new(self.text);
        if self.is_lasting {
            BrokerError::Misconfigured(source)
        } else {
            BrokerError::Refused(source)
        }
    }
}

impl From<BrokerError> for NotConnected {
    fn from(error: BrokerError) -> Self {
        Self {
            text: error.to_string(),
            is_lasting: matches!(error, BrokerError::Misconfigured(_)),
        }
    }
}

/// The error of a command that was sent.
pub(crate) fn broker_error(error: RedisError) -> BrokerError {
    match meaning(&error) {
        Meaning::Unknown => BrokerError::Unknown(TransportError::new(error)),
        Meaning::Refused | Meaning::NotLoaded => BrokerError::Refused(TransportError::new(error)),
        Meaning::Misconfigured => BrokerError::Misconfigured(TransportError::new(error)),
    }
}

/// The error of a server that was asked whether it can confirm: nothing is stored yet.
pub(crate) fn cannot_confirm(error: &RedisError, needs: &'static str) -> BrokerError {
    let lasting = meaning(error) == Meaning::Misconfigured
        || error.to_string().contains("appendonly is disabled");
    let source = TransportError::new(format!("{needs}: {error}"));
    if lasting {
        BrokerError::Misconfigured(source)
    } else {
        BrokerError::Refused(source)
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

pub(crate) fn connect_error(error: RedisError, info: &ConnectionInfo) -> ConnectError {
    if let Some(trouble) = tls::trouble(&error) {
        return ConnectError::Misconfigured(TransportError::new(trouble));
    }
    if let Some(hint) = tls::hint(&error, info) {
        return ConnectError::Unreachable(TransportError::new(format!("{error} ({hint})")));
    }
    match meaning(&error) {
        // The greeting changes nothing, so an answer that nobody has seen yet is a refusal.
        Meaning::Unknown if is_answer(&error) => {
            ConnectError::Misconfigured(TransportError::new(error))
        }
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

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    #[test]
    fn an_error_that_nobody_has_seen_yet_may_have_come_after_writes() {
        let error = |text: &str| {
            let reply = format!("-{text}\r\n");
            let reply = redis::parse_redis_value(reply.as_bytes()).unwrap();
            let Value::ServerError(error) = reply else {
                panic!("{reply:?} is no error");
            };
            RedisError::from(error)
        };
        for (text, expected) in [
            (
                "ERR attempt to index a nil value script: 5f, on @user_script:9.",
                Meaning::Unknown,
            ),
            ("NEWCODE something", Meaning::Unknown),
            (
                "ERR unknown command 'EVALSHA', with args beginning with: ",
                Meaning::Misconfigured,
            ),
            (
                "ERR Error compiling script (new function): user_script:1: unexpected symbol",
                Meaning::Misconfigured,
            ),
            (
                "WRONGTYPE a holds a string, not a hash",
                Meaning::Misconfigured,
            ),
            (
                "NOPERM this user has no permissions to run the 'hget' command",
                Meaning::Misconfigured,
            ),
            // Redis 6.2, 7.0, 7.2 and later; Valkey 9.1.
            (
                "ERR Error running script (call to f_5f): @user_script:1: @user_script: 1: The user executing the script \
                 can't publish to the channel mentioned in the command",
                Meaning::Misconfigured,
            ),
            (
                "ERR The user executing the script can't access at least one of the keys mentioned in the command \
                 arguments script: 5f, on @user_script:1.",
                Meaning::Misconfigured,
            ),
            (
                "ERR ACL failure in script: User app has no permissions to run the 'hget' command script: 5f, on \
                 @user_script:1.",
                Meaning::Misconfigured,
            ),
            (
                "ERR ACL failure in script: No permissions to access database script: 5f, on @user_script:1.",
                Meaning::Misconfigured,
            ),
            ("ERR max number of clients reached", Meaning::Refused),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Meaning::Refused,
            ),
        ] {
            let error = error(text);
            assert_eq!(meaning(&error), expected, "{text}");
            assert!(!spoils_connection(&error), "{text}");
        }
    }
}
