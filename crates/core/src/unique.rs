//! What makes a task the same as one that was sent before: its key, for how long, and what becomes of the second one.

mod canonical;
mod lock;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub(crate) use lock::WireLock;
pub use lock::{Conflict, Lock, LockKey, Until};

use crate::task::encode_args;
use crate::time::ms;

/// Makes a task unique: of those with one key, one lives in a queue at a time.
///
/// The key is that of the task's name and its arguments, or of what a closure answers. What is sent while the key is
/// held is answered with the task that holds it, unless [`Self::replace`] or [`Self::debounce`] says otherwise.
///
/// ```
/// use lovage_core::{Unique, Until, hours, secs};
/// # #[derive(serde::Serialize)] struct Refresh { shop: u64, full: bool }
///
/// // One of the same arguments at a time, from the send until it has ended: what `Unique::args()` alone says.
/// let same: Unique<Refresh> = Unique::args().until(Until::Done);
/// // One a shop may wait; the next may be sent as soon as it has begun.
/// let waiting = Unique::by(|refresh: &Refresh| refresh.shop).until(Until::Start);
/// // It starts when nobody has sent another for ten seconds, or a minute after the first, with the newest arguments.
/// let quiet = Unique::by(|refresh: &Refresh| refresh.shop).debounce(secs(10)).wait_at_most(secs(60));
/// // At most one an hour.
/// let seldom: Unique<Refresh> = Unique::args().throttle(hours(1));
/// # let _ = (same, waiting, quiet, seldom);
/// ```
#[must_use]
pub struct Unique<T> {
    key: Key<T>,
    until: Option<Until>,
    replaces: bool,
    debounce: Option<Duration>,
    wait_max: Option<Duration>,
    ttl: Option<Duration>,
}

enum Key<T> {
    Args,
    By(Arc<dyn Fn(&T) -> Encoded + Send + Sync>),
}

type Encoded = Result<bytes::Bytes, rmp_serde::encode::Error>;

/// Why a task cannot be unique in the way that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UniqueError {
    /// The key cannot be written as MessagePack, or nests too deep.
    #[error("the key of a unique task cannot be written: {reason}")]
    Key {
        /// What is wrong with it.
        reason: String,
    },
    /// A span holds nothing.
    #[error(
        "`{option}` of a unique task is {span:?}, it must be 1ms or longer; leave it out for none"
    )]
    Span {
        /// What it was given to.
        option: &'static str,
        /// The span.
        span: Duration,
    },
    /// [`Unique::wait_at_most`] without [`Unique::debounce`].
    #[error(
        "`wait_at_most` of a unique task bounds what `debounce` puts off: add that, or take it away"
    )]
    NothingPutOff,
}

impl<T> Unique<T> {
    /// Keyed by all arguments. The order of their names, and that of the entries of a map, makes no difference.
    pub const fn args() -> Self {
        Self::keyed(Key::Args)
    }

    /// Keyed by what `key` answers: a field, a tuple of some, anything that can be written.
    pub fn by<K: Serialize>(key: impl Fn(&T) -> K + Send + Sync + 'static) -> Self {
        Self::keyed(Key::By(Arc::new(move |message| {
            rmp_serde::to_vec_named(&key(message)).map(Into::into)
        })))
    }

    const fn keyed(key: Key<T>) -> Self {
        Self {
            key,
            until: None,
            replaces: false,
            debounce: None,
            wait_max: None,
            ttl: None,
        }
    }

    /// Holds the key until then; [`Until::Done`] unless set, or [`Until::Start`] with [`Self::debounce`].
    pub fn until(mut self, until: Until) -> Self {
        self.until = Some(until);
        self
    }

    /// Lets what is sent while the key is held take the place of the task that holds it, if that one waits: arguments,
    /// options and start are those of the new one, the id stays. If that one runs, or has run, nothing is changed.
    pub fn replace(mut self) -> Self {
        self.replaces = true;
        self
    }

    /// As [`Self::replace`], and starts `span` after the last send of the key, with what that one brought. The key is free
    /// once it starts, unless [`Self::until`] says otherwise.
    ///
    /// A send with a countdown or an ETA of its own puts the start there.
    pub fn debounce(mut self, span: Duration) -> Self {
        self.debounce = Some(span);
        self
    }

    /// Lets a debounced task start `span` after its first send at the latest, however many follow.
    pub fn wait_at_most(mut self, span: Duration) -> Self {
        self.wait_max = Some(span);
        self
    }

    /// Accepts one in `span`: the key is held for it from the send on, whatever becomes of the task. The same as
    /// `until(Until::Elapsed(span))`.
    pub fn throttle(self, span: Duration) -> Self {
        self.until(Until::Elapsed(span))
    }

    /// Holds the key for no longer than `span` from its start on, even where the task has not ended by then: another one
    /// may then run beside it. Without it the key is held for as long as its task lives.
    pub fn ttl(mut self, span: Duration) -> Self {
        self.ttl = Some(span);
        self
    }

    fn check(&self) -> Result<(), UniqueError> {
        let throttle = match self.until {
            Some(Until::Elapsed(span)) => Some(span),
            _ => None,
        };
        for (option, span) in [
            ("throttle", throttle),
            ("debounce", self.debounce),
            ("wait_at_most", self.wait_max),
            ("ttl", self.ttl),
        ] {
            if let Some(span) = span.filter(|span| *span < ms(1)) {
                return Err(UniqueError::Span { option, span });
            }
        }
        match (self.wait_max, self.debounce) {
            (Some(_), None) => Err(UniqueError::NothingPutOff),
            _ => Ok(()),
        }
    }
}

impl<T: crate::task::Task> Unique<T> {
    /// The lock of one message.
    ///
    /// # Errors
    /// Where the key cannot be written, or the spans make no sense.
    pub fn lock(&self, message: &T) -> Result<Lock, UniqueError> {
        self.check()?;
        let encoded = match &self.key {
            Key::Args => encode_args(message),
            Key::By(key) => key(message),
        };
        let encoded = encoded.map_err(|error| UniqueError::Key {
            reason: error.to_string(),
        })?;
        let (conflict, until) = match self.debounce {
            Some(span) => {
                let wait_max = self.wait_max;
                (Conflict::Debounce { span, wait_max }, Until::Start)
            }
            None if self.replaces => (Conflict::Replace, Until::Done),
            None => (Conflict::Reject, Until::Done),
        };
        Ok(Lock {
            key: LockKey::of(T::NAME, &encoded)?,
            until: self.until.unwrap_or(until),
            conflict,
            ttl: self.ttl,
        })
    }
}

impl<T> Clone for Unique<T> {
    fn clone(&self) -> Self {
        let key = match &self.key {
            Key::Args => Key::Args,
            Key::By(key) => Key::By(Arc::clone(key)),
        };
        Self { key, ..*self }
    }
}

impl<T> fmt::Debug for Unique<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match self.key {
            Key::Args => "args",
            Key::By(_) => "a closure",
        };
        f.debug_struct("Unique")
            .field("key", &key)
            .field("until", &self.until)
            .field("replaces", &self.replaces)
            .field("debounce", &self.debounce)
            .field("wait_max", &self.wait_max)
            .field("ttl", &self.ttl)
            .finish()
    }
}
