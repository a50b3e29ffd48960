//! How a task ended, as its sender sees it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The largest result, in bytes; a larger one is replaced by a failure that says so, and the task is not run again.
pub const RESULT_BYTES_MAX: usize = 1024 * 1024;

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It ran; the value is one MessagePack value, empty where the result is not kept.
    Done(Bytes),
    /// It will not run again.
    Failed(Failure),
    /// It was cancelled.
    Cancelled,
    /// It had expired before a worker could start it.
    Expired,
}

#[derive(Serialize, Deserialize)]
enum Wire<'a> {
    #[serde(rename = "d", borrow)]
    Done(#[serde(with = "serde_bytes")] &'a [u8]),
    #[serde(rename = "f")]
    Failed(Failure),
    #[serde(rename = "c")]
    Cancelled,
    #[serde(rename = "e")]
    Expired,
}

impl Outcome {
    /// The stored form (`docs/protocol.md`, "Results").
    pub fn encode(&self) -> Bytes {
        let wire = match self {
            Self::Done(value) => Wire::Done(value),
            Self::Failed(failure) => Wire::Failed(failure.clone()),
            Self::Cancelled => Wire::Cancelled,
            Self::Expired => Wire::Expired,
        };
        rmp_serde::to_vec_named(&wire)
            .expect("bytes and texts always encode")
            .into()
    }

    /// Reads the stored form. The value shares its memory.
    pub fn decode(bytes: &Bytes) -> Result<Self, rmp_serde::decode::Error> {
        Ok(match rmp_serde::from_slice(bytes)? {
            Wire::Done(value) => Self::Done(bytes.slice_ref(value)),
            Wire::Failed(failure) => Self::Failed(failure),
            Wire::Cancelled => Self::Cancelled,
            Wire::Expired => Self::Expired,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;

    #[test]
    fn outcomes_survive_the_wire() {
        for outcome in [
            Outcome::Done(Bytes::from_static(b"\x05")),
            Outcome::Done(Bytes::new()),
            Outcome::Failed(Failure::new(FailureKind::Panic, "boom")),
            Outcome::Cancelled,
            Outcome::Expired,
        ] {
            assert_eq!(Outcome::decode(&outcome.encode()).unwrap(), outcome);
        }
    }
}
