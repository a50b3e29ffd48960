//! What happened to tasks, written by the worker processes and read by the test.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fmt, fs, process};

use lovage_core::{Clock, Millis, TaskContext, TaskId};

/// The variable that tells a worker process where the journal is.
pub(crate) const JOURNAL_VARIABLE: &str = "LOVAGE_TEST_JOURNAL";
/// The variable by which a child of the process lane knows its worker.
const PARENT_VARIABLE: &str = "LOVAGE_PROCESS_LANE_OF";

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The body began.
    Start,
    /// The body saw that its token is cancelled, and gives up.
    Cancelled,
    /// The body has done its work.
    End,
    /// The body answers an error.
    Failed,
    /// The broker has taken this verdict of the worker: written by [`crate::acks`], where a test asks for it.
    Ack(Taken),
}

/// A verdict that the broker has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The task is gone.
    Done,
    /// It runs again in its next attempt.
    Retry,
    /// It is put off, unknown to the worker.
    Park,
    /// It runs again in the same attempt, as its body asked.
    Snooze,
    /// It was given back.
    Release,
    /// It is a dead letter.
    Bury,
}

impl Taken {
    const ALL: [(&str, Self); 6] = [
        ("done", Self::Done),
        ("retry", Self::Retry),
        ("park", Self::Park),
        ("snooze", Self::Snooze),
        ("release", Self::Release),
        ("bury", Self::Bury),
    ];

    /// The one of this name, as [`Verdict::name`](lovage_core::Verdict::name) spells it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(own, _)| *own == name);
        found.map(|(_, taken)| *taken)
    }

    fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, taken)| *taken == self);
        found.map_or("", |(name, _)| name)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Cancelled => "cancelled",
            Self::End => "end",
            Self::Failed => "failed",
            Self::Ack(taken) => taken.name(),
        })
    }
}

/// One line of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// To which task.
    pub id: TaskId,
    /// In which attempt.
    pub attempt: u32,
    /// By which handing-out.
    pub fence: u64,
    /// With how many losses before it.
    pub losses: u32,
    /// With how many snoozes before it.
    pub snoozes: u32,
    /// In which process.
    pub pid: u32,
    /// Of which worker: the same process, but for a body in the process lane.
    pub worker: u32,
    /// When, by this host's clock, which is also Redis's.
    pub at: Millis,
    /// Sent by which other task.
    pub parent: Option<TaskId>,
}

/// Writes a line into the journal of this process.
///
/// One `write` in append mode: lines of several processes do not mix, and a line that was written is there even
/// where the process is killed at the next instruction.
pub(crate) fn record(event: Event, context: &TaskContext) {
    write(&Entry {
        event,
        id: context.id(),
        attempt: context.attempt(),
        fence: context.fence(),
        losses: context.losses(),
        snoozes: context.snoozes(),
        pid: process::id(),
        worker: worker(),
        at: Clock::System.now(),
        parent: context.parent(),
    });
}

/// Writes that the broker has taken a verdict.
pub(crate) fn record_ack(taken: Taken, id: &str, fence: u64) {
    write(&Entry {
        event: Event::Ack(taken),
        id: id.parse().expect("the event names a task"),
        attempt: 0,
        fence,
        losses: 0,
        snoozes: 0,
        pid: process::id(),
        worker: process::id(),
        at: Clock::System.now(),
        parent: None,
    });
}

/// The worker whose process this is, or whose child.
fn worker() -> u32 {
    let parent = env::var(PARENT_VARIABLE).ok();
    parent.map_or_else(process::id, |pid| pid.parse().expect("the id of a process"))
}

fn write(entry: &Entry) {
    static FILE: OnceLock<File> = OnceLock::new();
    let mut file = FILE.get_or_init(|| {
        let path = env::var_os(JOURNAL_VARIABLE).expect("a test says where the journal is");
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .expect("the folder of the journal is there")
    });
    let line = format!("{entry}\n");
    file.write_all(line.as_bytes())
        .expect("the disk has room for a line");
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            event,
            id,
            attempt,
            fence,
            losses,
            snoozes,
            pid,
            worker,
            at,
            parent,
        } = self;
        let at = at.get();
        write!(
            f,
            "{event} {id} {attempt} {fence} {losses} {snoozes} {pid} {worker} {at}"
        )?;
        parent.map_or(Ok(()), |parent| write!(f, " {parent}"))
    }
}

/// The journal as the test reads it.
#[derive(Clone, Debug)]
pub struct Journal(PathBuf);

impl Journal {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self(folder.join("journal"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// All entries so far, in the order in which they were written.
    pub fn entries(&self) -> Vec<Entry> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        // The last line may be under way.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(parse).collect()
    }

    /// Hands over all entries so far, one by one: for runs whose entries take more room than there is.
    pub fn each(&self, mut take: impl FnMut(Entry)) {
        let Ok(file) = File::open(&self.0) else {
            return;
        };
        for line in BufReader::new(file).lines() {
            take(parse(&line.expect("the journal is text")));
        }
    }

    /// All starts so far, by task: for tests with many tasks.
    pub fn all_starts(&self) -> HashMap<TaskId, Vec<Entry>> {
        self.all_of_kind(Event::Start)
    }

    /// All ends so far, by task.
    pub fn all_ends(&self) -> HashMap<TaskId, Vec<Entry>> {
        self.all_of_kind(Event::End)
    }

    fn all_of_kind(&self, event: Event) -> HashMap<TaskId, Vec<Entry>> {
        let mut found: HashMap<TaskId, Vec<Entry>> = HashMap::new();
        for entry in self.entries() {
            if entry.event == event {
                found.entry(entry.id).or_default().push(entry);
            }
        }
        found
    }

    /// The entries of one task.
    pub fn of(&self, id: TaskId) -> Vec<Entry> {
        let mut entries = self.entries();
        entries.retain(|entry| entry.id == id);
        entries
    }

    /// The starts of one task.
    pub fn starts(&self, id: TaskId) -> Vec<Entry> {
        self.of_kind(id, Event::Start)
    }

    /// The ends of one task.
    pub fn ends(&self, id: TaskId) -> Vec<Entry> {
        self.of_kind(id, Event::End)
    }

    /// The entries of one kind of one task.
    pub fn of_kind(&self, id: TaskId, event: Event) -> Vec<Entry> {
        let mut entries = self.of(id);
        entries.retain(|entry| entry.event == event);
        entries
    }
}

fn parse(line: &str) -> Entry {
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let number = |word: &str| {
        let number = word.parse::<u64>();
        number.unwrap_or_else(|_| panic!("not a line of a journal: {line:?}"))
    };
    let small = |word: &str| u32::try_from(number(word)).expect("a small number");
    Entry {
        event: match word() {
            "start" => Event::Start,
            "cancelled" => Event::Cancelled,
            "end" => Event::End,
            "failed" => Event::Failed,
            other => Event::Ack(Taken::named(other).expect("an event")),
        },
        id: word().parse().expect("a task id"),
        attempt: small(word()),
        fence: number(word()),
        losses: small(word()),
        snoozes: small(word()),
        pid: small(word()),
        worker: small(word()),
        at: Millis::new(number(word())),
        parent: words.next().map(|id| id.parse().expect("a task id")),
    }
}
