//! Reading what scripts answer, without copying payloads.

use bytes::Bytes;
use lovage_core::{Millis, TaskId};
use redis::Value;

/// The word that a script answered, alone or first in a list.
pub(crate) fn word(value: &Value) -> &[u8] {
    match value {
        Value::BulkString(word) => word,
        Value::SimpleString(word) => word.as_bytes(),
        Value::Array(items) => items.first().map_or(&[], word),
        _ => &[],
    }
}

/// A text, empty where there is none.
pub(crate) fn text(value: &Value) -> &[u8] {
    match value {
        Value::BulkString(text) => text,
        _ => &[],
    }
}

pub(crate) fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

pub(crate) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

pub(crate) fn count(value: &Value) -> Option<usize> {
    number(value).and_then(|number| usize::try_from(number).ok())
}

pub(crate) fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        _ => None,
    }
}

pub(crate) fn id(value: &Value) -> Option<TaskId> {
    match value {
        Value::BulkString(bytes) => TaskId::try_from(bytes.as_slice()).ok(),
        _ => None,
    }
}

/// An instant from a score: those come as text from a script, large ones with an exponent.
pub(crate) fn instant(score: &Value) -> Option<Millis> {
    let ms: f64 = match score {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        Value::Double(ms) => *ms,
        _ => return None,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and instants are whole numbers below 2^53"
    )]
    Some(Millis::new(ms as u64))
}
