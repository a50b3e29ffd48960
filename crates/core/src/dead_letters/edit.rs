//! Another envelope for a dead task: what is changed, and what stays.

use bytes::Bytes;

use crate::draft::DraftError;
use crate::envelope::{EncodeError, Encoded, Envelope, When};
use crate::ids::{NameError, QueueName, TaskName};
use crate::options::{ResultPolicy, TaskOptions};
use crate::task::{Task, encode_args};
use crate::unique::{Lock, LockKey, UniqueError};

/// What is changed of a dead task before it runs again. What is not named here stays as it was sent, but for its start:
/// it is ready at once unless one is given.
///
/// ```
/// use lovage_core::{Edit, TaskOptions, When, secs};
///
/// let edit = Edit::new()
///     .options(TaskOptions::new().priority(9).max_retries(1).timeout(secs(60)))
///     .start(When::In(secs(30)));
/// # let _ = edit;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "an edit changes nothing by itself"]
pub struct Edit {
    task: Option<Result<TaskName, NameError>>,
    args: Option<Result<Bytes, String>>,
    unique: Option<Result<Option<Lock>, UniqueError>>,
    not_unique: bool,
    options: TaskOptions,
    start: Option<When>,
}

/// Why a dead task cannot be edited so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// A name is none, the backoff is a function, or the new envelope breaks a limit; as at a send.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// A dead letter stays in its queue.
    #[error(
        "a dead letter of queue {queue} cannot be revived in queue {asked:?}; send it there anew, and purge this one"
    )]
    Queue {
        /// Where it is.
        queue: QueueName,
        /// Where it was to go.
        asked: String,
    },
    /// A closure made the key of the task from arguments that it no longer has.
    #[error(
        "the key of a unique task {task} cannot be told from its name and arguments alone; edit it by a whole message, or with not_unique"
    )]
    Key {
        /// The name of the task, as edited.
        task: TaskName,
    },
}

impl Edit {
    /// Changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives it the name and the arguments of `message`, and the key that the task itself says of these: what
    /// `Sending::unique` said of the send is not known here.
    pub fn message<T: Task>(mut self, message: &T) -> Self {
        let unique = T::unique().map(|unique| unique.lock(message));
        self.unique = Some(unique.transpose());
        self.task = Some(TaskName::parse(T::NAME));
        self.args = Some(encode_args(message).map_err(|error| error.to_string()));
        self
    }

    /// Gives it these arguments: one MessagePack value, a map by field name. The key of a task that is unique by its
    /// arguments becomes theirs; with a key of another kind it is refused, unless [`Self::not_unique`] is said.
    pub fn args(mut self, args: Bytes) -> Self {
        self.unique = None;
        self.args = Some(Ok(args));
        self
    }

    /// Gives it another name: its task was renamed. As for its key, the same holds as of [`Self::args`].
    pub fn task(mut self, name: &str) -> Self {
        self.unique = None;
        self.task = Some(TaskName::parse(name));
        self
    }

    /// Lets it run beside others of its key.
    pub fn not_unique(mut self) -> Self {
        self.not_unique = true;
        self
    }

    /// Sets what these options name: priority, retries, backoff, timeouts, result, ack, and the span until it expires,
    /// counted from its revival on.
    pub fn options(mut self, options: TaskOptions) -> Self {
        self.options = options;
        self
    }

    /// Starts it no earlier than this.
    pub fn start(mut self, start: When) -> Self {
        self.start = Some(start);
        self
    }

    /// The new envelope of a task that was sent as `sent`: with no attempts, and checked as at a send.
    pub fn apply(self, mut sent: Envelope) -> Result<Encoded, EditError> {
        let options = self.options;
        if let Some(asked) = options.queue.filter(|asked| *asked != sent.queue.as_str()) {
            return Err(EditError::Queue {
                queue: sent.queue,
                asked: asked.into_owned(),
            });
        }
        if options.backoff.is_some_and(|backoff| backoff.is_custom()) {
            return Err(DraftError::CustomBackoff.into());
        }
        let (task, args) = (sent.task.clone(), sent.args.clone());
        if let Some(task) = self.task {
            sent.task = task.map_err(DraftError::from)?;
        }
        if let Some(args) = self.args {
            sent.args = args
                .map_err(|reason| EncodeError::Args {
                    task: sent.task.clone(),
                    reason,
                })
                .map_err(DraftError::from)?;
        }
        sent.unique = match self.unique {
            _ if self.not_unique => None,
            Some(lock) => lock.map_err(DraftError::from)?,
            None if (&task, &args) == (&sent.task, &sent.args) => sent.unique,
            None => rekeyed(sent.unique, (&task, &args), (&sent.task, &sent.args))?,
        };
        sent.attempts = 0;
        sent.start = self.start;
        sent.priority = options.priority.unwrap_or(sent.priority);
        sent.ack = options.ack.unwrap_or(sent.ack);
        sent.max_retries = options.max_retries.or(sent.max_retries);
        sent.backoff = options.backoff.or(sent.backoff);
        sent.timeout = options.timeout.or(sent.timeout);
        sent.hard_timeout = options.hard_timeout.or(sent.hard_timeout);
        sent.expires = options.expires.map(When::In).or(sent.expires);
        sent.result_ttl = match options.result {
            Some(ResultPolicy::Keep(span)) => Some(span),
            Some(ResultPolicy::Ignore) => None,
            None => sent.result_ttl,
        };
        Ok(sent.encode().map_err(DraftError::from)?)
    }
}

/// The lock of a task with another name or other arguments.
fn rekeyed(
    lock: Option<Lock>,
    (task, args): (&TaskName, &Bytes),
    (new_task, new_args): (&TaskName, &Bytes),
) -> Result<Option<Lock>, EditError> {
    let Some(lock) = lock else { return Ok(None) };
    let unknown = || EditError::Key {
        task: new_task.clone(),
    };
    if LockKey::of(task.as_str(), args) != Ok(lock.key) {
        return Err(unknown());
    }
    let key = LockKey::of(new_task.as_str(), new_args).map_err(DraftError::from)?;
    Ok(Some(Lock { key, ..lock }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TaskId;
    use crate::time::{Millis, secs};

    fn sent() -> Envelope {
        let queue = QueueName::parse("mail").unwrap();
        let name = TaskName::parse("greet").unwrap();
        let id = TaskId::from_bytes([7; 16]);
        Envelope {
            attempts: 4,
            start: Some(When::At(Millis::new(5))),
            expires: Some(When::At(Millis::new(9))),
            max_retries: Some(2),
            timeout: Some(secs(1)),
            ..Envelope::new(id, name, queue, Bytes::from_static(b"\xc0"))
        }
    }

    fn edited(edit: Edit) -> Envelope {
        Envelope::decode(edit.apply(sent()).unwrap().bytes()).unwrap()
    }

    #[test]
    fn an_edit_changes_what_it_names_and_nothing_else() {
        let nothing = Envelope {
            attempts: 0,
            start: None,
            ..sent()
        };
        assert_eq!(edited(Edit::new()), nothing);
        let options = TaskOptions::new()
            .priority(9)
            .max_retries(7)
            .expires(secs(60));
        let edit = Edit::new()
            .task("salute")
            .args(Bytes::from_static(b"\x05"))
            .options(options.queue("mail"))
            .start(When::In(secs(3)));
        let expected = Envelope {
            task: TaskName::parse("salute").unwrap(),
            args: Bytes::from_static(b"\x05"),
            priority: crate::Priority::new(9),
            max_retries: Some(7),
            expires: Some(When::In(secs(60))),
            start: Some(When::In(secs(3))),
            ..nothing
        };
        assert_eq!(edited(edit), expected);
    }

    fn lock_of(name: &str, args: &[u8]) -> Lock {
        Lock {
            key: LockKey::of(name, args).unwrap(),
            until: crate::Until::Start,
            conflict: crate::Conflict::Replace,
            ttl: Some(secs(5)),
        }
    }

    #[test]
    fn a_key_of_arguments_becomes_that_of_the_new_ones() {
        let sent = || Envelope {
            unique: Some(lock_of("greet", b"\xc0")),
            ..sent()
        };
        let five = || Bytes::from_static(b"\x05");
        for (edit, expected) in [
            (Edit::new(), sent().unique),
            (Edit::new().args(five()), Some(lock_of("greet", b"\x05"))),
            (Edit::new().task("hail"), Some(lock_of("hail", b"\xc0"))),
            (
                Edit::new().task("hail").args(five()),
                Some(lock_of("hail", b"\x05")),
            ),
            (Edit::new().not_unique().args(five()), None),
        ] {
            let edited = edit.clone().apply(sent()).unwrap();
            assert_eq!(edited.unique().copied(), expected, "{edit:?}");
        }
    }

    #[test]
    fn a_key_that_a_closure_made_is_never_kept_for_other_arguments() {
        let sent = || Envelope {
            unique: Some(lock_of("greet", b"\x07")),
            ..sent()
        };
        for edit in [
            Edit::new().task("hail"),
            Edit::new().args(Bytes::from_static(b"\x05")),
        ] {
            let error = edit.clone().apply(sent()).unwrap_err();
            assert!(matches!(error, EditError::Key { .. }), "{error}");
            assert_eq!(edit.not_unique().apply(sent()).unwrap().unique(), None);
        }
        let same = Edit::new().task("greet").apply(sent()).unwrap();
        assert_eq!(same.unique().copied(), sent().unique);
    }

    #[test]
    fn what_could_not_be_sent_cannot_be_revived() {
        let deep = vec![0x91; crate::envelope::ARGS_DEPTH_MAX + 1];
        let large = [b"\xc6\x00\x40\x00\x00".as_slice(), &vec![0; 4 << 20]].concat();
        for (edit, part) in [
            (Edit::new().task("a b"), "' '"),
            (Edit::new().args(deep.into()), "nesting is limited"),
            (Edit::new().args(large.into()), "the limit is 4194304"),
            (Edit::new().args(Bytes::new()), "cannot be sent"),
            (
                Edit::new().options(TaskOptions::new().queue("default")),
                "of queue mail cannot be revived in queue \"default\"",
            ),
        ] {
            let error = edit.apply(sent()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
