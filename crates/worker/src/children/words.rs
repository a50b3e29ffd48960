//! What a child writes to its standard output and error: passed on to this process's standard error, and its beginning and end
//! kept for the failure of a run that crashes.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use lovage_core::ms;
use tokio::sync::watch;
use tokio::time::timeout;

/// What is kept of the beginning, where the reason stands, and of the end, which may be a long trace.
const FIRST_BYTES_MAX: usize = 1024;
const LAST_BYTES_MAX: usize = 2048;
/// What a program that allocates through Rust says when the system gives it no more.
const OUT_OF_MEMORY: &[u8] = b"memory allocation of ";
/// A line longer than this is passed on in parts.
const LINE_BYTES_MAX: u64 = 8 * 1024;
/// How long the last of what a process has said may take to arrive when it is gone. A grandchild in a group of its own
/// may hold the pipe open for ever.
pub(crate) const LAST_MAX: Duration = ms(500);

/// The words of one child.
#[derive(Debug)]
pub(crate) struct Words {
    kept: Mutex<Kept>,
    at_end: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Kept {
    first: Vec<u8>,
    last: VecDeque<u8>,
    is_cut: bool,
    out_of_memory: bool,
}

/// The words of a run that crashed.
#[derive(Debug, Default)]
pub(crate) struct LastWords {
    pub(crate) text: String,
    /// Whether they say that memory could not be had.
    pub(crate) out_of_memory: bool,
}

impl Words {
    pub(crate) fn new() -> Self {
        Self {
            kept: Mutex::default(),
            at_end: watch::Sender::new(false),
        }
    }

    /// Listens on a thread of its own until the last process that holds the pipe has closed it.
    pub(crate) fn listen(self: &Arc<Self>, pipe: PipeReader) -> io::Result<()> {
        let words = Arc::clone(self);
        thread::Builder::new()
            .name(String::from("lovage-child-log"))
            .spawn(move || {
                words.pass_on(pipe);
                words.at_end.send_replace(true);
            })?;
        Ok(())
    }

    fn pass_on(&self, pipe: PipeReader) {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            // Whole lines, so that those of several children do not mix.
            let read = (&mut pipe)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line);
            if !matches!(read, Ok(1..)) {
                return;
            }
            self.keep(&line);
            // Where this process's own logs cannot be written, neither can these.
            let _ = io::stderr().lock().write_all(&line);
        }
    }

    fn keep(&self, line: &[u8]) {
        let mut kept = self.kept();
        kept.out_of_memory |= line
            .windows(OUT_OF_MEMORY.len())
            .any(|part| part == OUT_OF_MEMORY);
        let room = FIRST_BYTES_MAX.saturating_sub(kept.first.len());
        let (first, rest) = line.split_at(room.min(line.len()));
        kept.first.extend(first);
        kept.last.extend(rest);
        let surplus = kept.last.len().saturating_sub(LAST_BYTES_MAX);
        kept.last.drain(..surplus);
        kept.is_cut |= 0 < surplus;
    }

    /// Forgets what was said: a run begins.
    pub(crate) fn forget(&self) {
        *self.kept() = Kept::default();
    }

    /// What was said since, when the process is gone.
    pub(crate) async fn last(&self) -> LastWords {
        let mut at_end = self.at_end.subscribe();
        let _ = timeout(LAST_MAX, at_end.wait_for(|ended| *ended)).await;
        let mut kept = std::mem::take(&mut *self.kept());
        if kept.is_cut {
            kept.first.extend("\n…\n".bytes());
        }
        kept.first.extend(kept.last);
        LastWords {
            text: String::from_utf8_lossy(&kept.first).trim().to_owned(),
            out_of_memory: kept.out_of_memory,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_beginning_and_the_end_are_kept_of_what_a_child_says() {
        let words = Words::new();
        words.keep(b"before");
        words.forget();
        words.keep(b"memory allocation of 7 bytes failed\n");
        for number in 0..10_000 {
            words.keep(format!("line {number}\n").as_bytes());
        }
        words.at_end.send_replace(true);
        let last = words.last().await;
        assert!(last.text.starts_with("memory allocation of 7"), "{last:?}");
        assert!(last.text.ends_with("line 9999"), "{last:?}");
        assert!(last.text.len() <= FIRST_BYTES_MAX + LAST_BYTES_MAX + 5);
        assert!(last.out_of_memory);
    }
}
