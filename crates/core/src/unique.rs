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
pub struct Unique<T> {
    key: Key<T>,
    until: Until,
    conflict: Conflict,
    ttl: Option<Duration>,
}

enum Key<T> {
    Args,
    By(Arc<dyn Fn(&T) -> Encoded + Send + Sync>),
}

type Encoded = Result<bytes::Bytes, rmp_serde::encode::Error>;

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
            until: Until::Done,
            conflict: Conflict::Reject,
            ttl: None,
        }
    }

    /// Holds the key until then; [`Until::Done`] unless set.
    #[must_use]
    pub fn until(mut self, until: Until) -> Self {
        self.until = until;
        self
    }

    /// Lets what is sent while the key is held take the place of the task that holds it, if that one waits: arguments,
    /// options and start are those of the new one, the id stays. If that one runs, or has run, nothing is changed.
    #[must_use]
    pub fn replace(mut self) -> Self {
        self.conflict = Conflict::Replace;
        self
    }

    /// Starts `span` after the last send of the key, with what that one brought. The key is free once it starts.
    ///
    /// A send with a countdown or an ETA of its own puts the start there.
    #[must_use]
    pub fn debounce(mut self, span: Duration) -> Self {
        self.until = Until::Start;
        self.conflict = Conflict::Debounce {
            span,
            wait_max: None,
        };
        self
    }

    /// Lets a debounced task start `span` after its first send at the latest, however many follow. Without
    /// [`Self::debounce`] it changes nothing.
    #[must_use]
    pub fn wait_at_most(mut self, span: Duration) -> Self {
        if let Conflict::Debounce { wait_max, .. } = &mut self.conflict {
            *wait_max = Some(span);
        }
        self
    }

    /// Accepts one in `span`: the key is held for it from the send on, whatever becomes of the task.
    #[must_use]
    pub fn throttle(mut self, span: Duration) -> Self {
        self.until = Until::Elapsed(span);
        self.conflict = Conflict::Reject;
        self
    }

    /// Holds the key for no longer than `span` from its start on, even where the task has not ended by then: another one
    /// may then run beside it. Without it the key is held for as long as its task lives.
    #[must_use]
    pub fn ttl(mut self, span: Duration) -> Self {
        self.ttl = Some(span);
        self
    }
}

impl<T: crate::task::Task> Unique<T> {
    /// The lock of one message.
    ///
    /// # Errors
    /// Where the key cannot be written as MessagePack.
    pub fn lock(&self, message: &T) -> Result<Lock, String> {
        let encoded = match &self.key {
            Key::Args => encode_args(message),
            Key::By(key) => key(message),
        };
        let encoded = encoded.map_err(|error| error.to_string())?;
        Ok(Lock {
            key: LockKey::of(T::NAME, &encoded)?,
            until: self.until,
            conflict: self.conflict,
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
            .field("conflict", &self.conflict)
            .field("ttl", &self.ttl)
            .finish()
    }
}
