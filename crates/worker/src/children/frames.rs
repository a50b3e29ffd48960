//! What a worker and its child processes say to each other: MessagePack behind a length of four bytes, big end first.
//!
//! Both sides are one program of one build, so the form may change with any release.

use std::io::{self, Read};

use bytes::{Buf, BytesMut};
use lovage_core::{CarriedError, Progress};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

/// An envelope has 4 MiB at most; a result beyond its own limit is told as such by the worker, up to this.
pub(crate) const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

const LENGTH_BYTES: usize = 4;

/// From the worker to its child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// The first: what the process may have.
    Setup { memory: Option<u64> },
    /// Run this, and answer with a [`Report`].
    Run(RunOrder),
    /// Cancel the token of the run under way.
    Cancel,
    /// Answer with [`Report::Progress`].
    TellProgress,
    /// There is no more to run.
    End,
}

/// One run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunOrder {
    #[serde(with = "serde_bytes")]
    pub(crate) envelope: Vec<u8>,
    pub(crate) fence: u64,
    pub(crate) claimed_at_ms: u64,
    pub(crate) losses: u32,
    pub(crate) snoozes: u32,
    /// By the monotonic clock of the host: then the worker's lease is no longer good, and the body must not start.
    pub(crate) start_by_ns: u64,
}

/// From the child to its worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// It waits for runs.
    Ready,
    /// It cannot run tasks, for this reason.
    Unfit(String),
    /// The order came too late.
    NotStarted,
    /// What the body under way has noted since it was last asked.
    Progress(Option<Progress>),
    /// The run has ended.
    Ended {
        end: Ending,
        /// It keeps so much memory that another run should not have to live beside it.
        spent: bool,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ending {
    Value(#[serde(with = "serde_bytes")] Vec<u8>),
    Error(CarriedError),
}

/// The bytes of a frame.
pub(crate) fn encode(frame: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; LENGTH_BYTES];
    rmp_serde::encode::write_named(&mut bytes, frame).map_err(io::Error::other)?;
    let length = bytes.len() - LENGTH_BYTES;
    if FRAME_BYTES_MAX < length {
        return Err(too_large(length));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    bytes[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

fn too_large(length: usize) -> io::Error {
    io::Error::other(format!(
        "a frame of {length} bytes, the limit is {FRAME_BYTES_MAX}"
    ))
}

/// Reads one frame; `None` where the other side has hung up between two.
pub(crate) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; LENGTH_BYTES];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_be_bytes(length) as usize;
    if FRAME_BYTES_MAX < length {
        return Err(too_large(length));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    rmp_serde::from_slice(&bytes)
        .map(Some)
        .map_err(io::Error::other)
}

/// What has come of a frame so far.
#[derive(Debug, Default)]
pub(crate) struct Incoming(BytesMut);

impl Incoming {
    /// As [`read`].
    ///
    /// # Cancel safety
    /// Cancel safe: what has come is kept for the next call.
    pub(crate) async fn read<T: DeserializeOwned>(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<Option<T>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            // No more room in advance than has come: what a broken child says of a length costs nothing.
            if from.read_buf(&mut self.0).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(length) = self.0.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if FRAME_BYTES_MAX < length {
            return Err(too_large(length));
        }
        if self.0.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        self.0.advance(LENGTH_BYTES);
        let frame = self.0.split_to(length);
        rmp_serde::from_slice(&frame)
            .map(Some)
            .map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let report = |size| Report::Ended {
            end: Ending::Value(vec![7; size]),
            spent: false,
        };
        let mut bytes = Vec::new();
        for size in [0, 1, 100_000] {
            bytes.extend(encode(&report(size)).unwrap());
        }
        let mut incoming = Incoming::default();
        // A source that gives three bytes at a time.
        let mut source = tokio_test_source(&bytes, 3);
        for size in [0, 1, 100_000] {
            let Some(Report::Ended {
                end: Ending::Value(value),
                ..
            }) = incoming.read(&mut source).await.unwrap()
            else {
                panic!("not what was sent");
            };
            assert_eq!(value.len(), size);
        }
        let end: Option<Report> = incoming.read(&mut source).await.unwrap();
        assert!(end.is_none());
    }

    #[tokio::test]
    async fn rubbish_is_refused_and_costs_no_memory() {
        for rubbish in [&[0xff; 64][..], b"\0\0\0\x04rub!"] {
            let mut source = rubbish;
            let read: io::Result<Option<Report>> = Incoming::default().read(&mut source).await;
            assert!(read.is_err(), "{rubbish:?}");
            assert!(self::read::<Report>(&mut &rubbish[..]).is_err());
        }
    }

    fn tokio_test_source(bytes: &[u8], step: usize) -> impl AsyncRead + Unpin {
        struct Steps<'a>(&'a [u8], usize);
        impl AsyncRead for Steps<'_> {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                into: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                let length = self.1.min(self.0.len()).min(into.remaining());
                let (now, later) = self.0.split_at(length);
                into.put_slice(now);
                self.0 = later;
                std::task::Poll::Ready(Ok(()))
            }
        }
        Steps(bytes, step)
    }
}
