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

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The body began.
    Start,
    /// The body saw that its token is cancelled, and gives up.
    Cancelled,
    /// The body has done its work.
    End,
    /// The broker has taken a verdict of the worker: written by [`crate::acks`], where a test asks for it.
    Ack,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Cancelled => "cancelled",
            Self::End => "end",
            Self::Ack => "ack",
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
    /// In which process.
    pub pid: u32,
    /// When, by this host's clock, which is also Redis's.
    pub at: Millis,
}

/// Writes a line into the journal of this process.
///
/// One `write` in append mode: lines of several processes do not mix, and a line that was written is there even
/// where the process is killed at the next instruction.
pub(crate) fn record(event: Event, context: &TaskContext) {
    write(
        event,
        &context.id(),
        context.attempt(),
        context.fence(),
        context.losses(),
    );
}

/// Writes that the broker has taken a verdict.
pub(crate) fn record_ack(id: &impl fmt::Display, fence: u64) {
    write(Event::Ack, id, 0, fence, 0);
}

fn write(event: Event, id: &impl fmt::Display, attempt: u32, fence: u64, losses: u32) {
    static FILE: OnceLock<File> = OnceLock::new();
    let mut file = FILE.get_or_init(|| {
        let path = env::var_os(JOURNAL_VARIABLE).expect("a test says where the journal is");
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .expect("the folder of the journal is there")
    });
    let line = format!(
        "{event} {id} {attempt} {fence} {losses} {} {}\n",
        process::id(),
        Clock::System.now().get(),
    );
    file.write_all(line.as_bytes())
        .expect("the disk has room for a line");
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
    let words: Vec<&str> = line.split(' ').collect();
    let [event, id, attempt, fence, losses, pid, at] = words[..] else {
        panic!("not a line of a journal: {line:?}");
    };
    let number = |word: &str| word.parse::<u64>().expect("a number");
    let small = |word: &str| word.parse::<u32>().expect("a small number");
    Entry {
        event: match event {
            "start" => Event::Start,
            "cancelled" => Event::Cancelled,
            "end" => Event::End,
            "ack" => Event::Ack,
            other => panic!("not an event: {other:?}"),
        },
        id: id.parse().expect("a task id"),
        attempt: small(attempt),
        fence: number(fence),
        losses: small(losses),
        pid: small(pid),
        at: Millis::new(number(at)),
    }
}
