//! Where orders are kept: one file to which every process of the shop appends what happens, one line of JSON each.
//!
//! Whoever appends holds the file's lock and has read everything before, so that what it decides stays true: an order
//! is created once, and goes only forward. A lock of a killed process is free, and half a line that it left is cut off.
//! Readers take no lock: they see whole lines, in the same order everywhere, which is also what the page is told.
//!
//! A shop with several hosts would have a database here; this is what it would have to do.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lovage::{CancellationToken, Clock, Millis, ms, secs};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::form::Draft;
use crate::order::{Order, Step};

/// The most orders of one journal: all of them are in memory.
pub const ORDERS_MAX: usize = 100_000;
/// How often a process looks whether others have appended.
const LOOK_EVERY: Duration = ms(100);
/// How long to wait for others who append.
const LOCK_WAIT_MAX: Duration = secs(5);

/// The orders of the shop. Cheap to clone; clones share one view of the file.
#[derive(Clone, Debug)]
pub struct Orders(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    book: Mutex<Book>,
    /// How many lines this process has read.
    read: watch::Sender<usize>,
    clock: Clock,
}

/// Why the journal did not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file cannot be read or written.
    #[error("the journal {} cannot be used", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not one that this version writes.
    #[error("line {line} of the journal {} makes no sense", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// There is no room for another order.
    #[error("the journal holds {ORDERS_MAX} orders, which is its limit")]
    Full,
    /// Nobody has placed this order.
    #[error("there is no order {0}")]
    NoSuchOrder(String),
    /// A step was left out.
    #[error("order {id} is {now} and cannot be {to} next")]
    OutOfTurn {
        /// The order.
        id: String,
        /// How far it is.
        now: Step,
        /// What was asked for.
        to: Step,
    },
}

/// What became of an order that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placing {
    /// It is a new one.
    New(Order),
    /// It was placed before: nothing was changed.
    Known(Order),
}

impl Placing {
    /// The order.
    pub fn order(&self) -> &Order {
        let (Self::New(order) | Self::Known(order)) = self;
        order
    }
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Placed(Order),
    Moved { id: String, to: Step, at: Millis },
    ReceiptSent { id: String, at: Millis },
}

#[derive(Debug)]
struct Book {
    path: PathBuf,
    file: File,
    /// The end of the last whole line that was read, in bytes.
    end: u64,
    orders: Vec<Order>,
    by_id: HashMap<String, usize>,
    /// The order that each line speaks of.
    lines: Vec<usize>,
}

impl Orders {
    /// Opens the journal, and makes it where it is not there.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, JournalError> {
        Self::with_clock(path, Clock::System)
    }

    /// Opens it with a clock of one's own.
    pub fn with_clock(path: impl Into<PathBuf>, clock: Clock) -> Result<Self, JournalError> {
        let path = path.into();
        let failed = failed(&path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(&failed)?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(&path);
        let mut book = Book {
            file: file.map_err(&failed)?,
            path,
            end: 0,
            orders: Vec::new(),
            by_id: HashMap::new(),
            lines: Vec::new(),
        };
        book.read_on()?;
        Ok(Self(Arc::new(Inner {
            read: watch::Sender::new(book.lines.len()),
            book: Mutex::new(book),
            clock,
        })))
    }

    /// Keeps an order under `id`, unless there is one already.
    pub async fn place(&self, id: String, draft: Draft) -> Result<Placing, JournalError> {
        let now = self.0.clock.now();
        self.with(move |book| {
            book.append(|book| {
                if book.order(&id).is_ok() {
                    return Ok(None);
                }
                if ORDERS_MAX <= book.orders.len() {
                    return Err(JournalError::Full);
                }
                Ok(Some(Line::Placed(Order {
                    id: id.clone(),
                    number: book.orders.len() as u64 + 1,
                    name: draft.name,
                    email: draft.email.to_string(),
                    product: draft.product.code.to_owned(),
                    quantity: draft.quantity,
                    cents: draft.product.cents * u64::from(draft.quantity),
                    placed_at: now,
                    step: Step::Placed,
                    receipt_sent: false,
                })))
            })
            .and_then(|written| {
                let order = book.order(&id)?.clone();
                Ok(if written {
                    Placing::New(order)
                } else {
                    Placing::Known(order)
                })
            })
        })
        .await
    }

    /// Brings an order to `to`, the step that follows its present one. Where it is that far already, nothing changes.
    pub async fn advance(&self, id: String, to: Step) -> Result<(), JournalError> {
        let at = self.0.clock.now();
        self.with(move |book| {
            book.append(|book| {
                let now = book.order(&id)?.step;
                if to <= now {
                    return Ok(None);
                }
                if now.next() != Some(to) {
                    return Err(JournalError::OutOfTurn { id, now, to });
                }
                Ok(Some(Line::Moved { id, to, at }))
            })
            .map(drop)
        })
        .await
    }

    /// Notes that the mail server has taken the receipt.
    pub async fn receipt_sent(&self, id: String) -> Result<(), JournalError> {
        let at = self.0.clock.now();
        self.with(move |book| {
            book.append(|book| {
                let is_new = !book.order(&id)?.receipt_sent;
                Ok(is_new.then_some(Line::ReceiptSent { id, at }))
            })
            .map(drop)
        })
        .await
    }

    /// One order.
    pub async fn get(&self, id: &str) -> Result<Order, JournalError> {
        let id = id.to_owned();
        self.with(move |book| book.read_on().and_then(|()| book.order(&id).cloned()))
            .await
    }

    /// The last orders, newest first, at most `limit`, and how many lines have been read for them.
    pub async fn latest(&self, limit: usize) -> Result<(Vec<Order>, usize), JournalError> {
        self.with(move |book| {
            book.read_on()?;
            let orders = book.orders.iter().rev().take(limit).cloned().collect();
            Ok((orders, book.lines.len()))
        })
        .await
    }

    /// The orders of which `keep` is true, oldest first.
    pub async fn select(
        &self,
        keep: impl Fn(&Order) -> bool + Send + 'static,
    ) -> Result<Vec<Order>, JournalError> {
        self.with(move |book| {
            book.read_on()?;
            Ok(book
                .orders
                .iter()
                .filter(|order| keep(order))
                .cloned()
                .collect())
        })
        .await
    }

    /// The orders that lines behind the first `read` speak of, each as it is now and once, at most `limit`; and how
    /// many lines have been read then.
    pub fn changed_since(&self, read: usize, limit: usize) -> (Vec<Order>, usize) {
        let book = self.0.book.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed: Vec<usize> = Vec::new();
        let mut at = read.min(book.lines.len());
        for &order in &book.lines[at..] {
            if !changed.contains(&order) {
                if changed.len() == limit {
                    break;
                }
                changed.push(order);
            }
            at += 1;
        }
        let orders = changed.into_iter().map(|order| book.orders[order].clone());
        (orders.collect(), at)
    }

    /// Tells how many lines have been read, whenever there are more.
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.0.read.subscribe()
    }

    /// Reads what other processes append until `stop`. One look at the file's length each tenth of a second serves
    /// all pages that are open.
    pub async fn follow(&self, stop: &CancellationToken) {
        let mut is_well = true;
        loop {
            let looked = self.with(Book::read_on).await;
            if let Err(error) = &looked
                && is_well
            {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    "the pages stand still"
                );
            }
            is_well = looked.is_ok();
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Does something with the book on a thread that may block, and tells the watchers what is new.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Book) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let inner = Arc::clone(&self.0);
        let blocking = tokio::task::spawn_blocking(move || {
            let mut book = inner.book.lock().unwrap_or_else(PoisonError::into_inner);
            let done = work(&mut book);
            let lines = book.lines.len();
            inner
                .read
                .send_if_modified(|read| std::mem::replace(read, lines) != lines);
            done
        });
        blocking.await.expect("the journal's code does not panic")
    }
}

impl Book {
    fn order(&self, id: &str) -> Result<&Order, JournalError> {
        let index = self.by_id.get(id);
        index
            .map(|index| &self.orders[*index])
            .ok_or_else(|| JournalError::NoSuchOrder(id.to_owned()))
    }

    /// Appends what `decide` says, knowing everything that was appended before. Answers whether it said anything.
    fn append(
        &mut self,
        decide: impl FnOnce(&Self) -> Result<Option<Line>, JournalError>,
    ) -> Result<bool, JournalError> {
        self.lock().map_err(failed(&self.path))?;
        let done = self.append_locked(decide);
        self.file.unlock().map_err(failed(&self.path))?;
        done
    }

    /// Waits for the lock, but not for ever: a process that was stopped while it wrote may hold it.
    fn lock(&self) -> io::Result<()> {
        let limit = Instant::now() + LOCK_WAIT_MAX;
        loop {
            match self.file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if limit < Instant::now() => {
                    let waited = format!("another process has held its lock for {LOCK_WAIT_MAX:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, waited));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(ms(1)),
            }
        }
    }

    fn append_locked(
        &mut self,
        decide: impl FnOnce(&Self) -> Result<Option<Line>, JournalError>,
    ) -> Result<bool, JournalError> {
        self.read_on()?;
        let Some(line) = decide(self)? else {
            return Ok(false);
        };
        let mut bytes = serde_json::to_vec(&line).expect("texts and numbers always encode");
        bytes.push(b'\n');
        let mut write = || {
            // Behind the last whole line is at most what somebody left who was killed, or ran out of disk.
            self.file.set_len(self.end)?;
            self.file.write_all(&bytes)?;
            // The order is promised to the customer when this answers.
            self.file.sync_data()
        };
        write().map_err(failed(&self.path))?;
        self.read_on()?;
        Ok(true)
    }

    /// Reads the whole lines that are new.
    fn read_on(&mut self) -> Result<(), JournalError> {
        let mut bytes = Vec::new();
        let mut read = || {
            let length = self.file.metadata()?.len();
            if length < self.end {
                // Appending would fill the hole with zeros.
                let shorter = format!("it had {} bytes and has {length} now", self.end);
                return Err(io::Error::new(io::ErrorKind::InvalidData, shorter));
            }
            if length == self.end {
                return Ok(());
            }
            self.file.seek(SeekFrom::Start(self.end))?;
            self.file.read_to_end(&mut bytes).map(drop)
        };
        read().map_err(failed(&self.path))?;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if line.last() != Some(&b'\n') {
                break;
            }
            let parsed = serde_json::from_slice(line).map_err(|source| JournalError::Damaged {
                path: self.path.clone(),
                line: self.lines.len() + 1,
                source,
            })?;
            self.apply(parsed)?;
            self.end += line.len() as u64;
        }
        Ok(())
    }

    fn apply(&mut self, line: Line) -> Result<(), JournalError> {
        let index = match &line {
            Line::Placed(_) => self.orders.len(),
            Line::Moved { id, .. } | Line::ReceiptSent { id, .. } => {
                let index = self.by_id.get(id).copied();
                index.ok_or_else(|| JournalError::NoSuchOrder(id.clone()))?
            }
        };
        match line {
            Line::Placed(order) => {
                self.by_id.insert(order.id.clone(), index);
                self.orders.push(order);
            }
            Line::Moved { to, .. } => self.orders[index].step = to,
            Line::ReceiptSent { .. } => self.orders[index].receipt_sent = true,
        }
        self.lines.push(index);
        Ok(())
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> JournalError + use<> {
    let path = path.to_owned();
    move |source| JournalError::Io {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
