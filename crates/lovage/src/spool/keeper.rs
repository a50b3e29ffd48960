//! The thread that alone touches the file: what comes while one commit travels to the disk is the next commit.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use lovage_core::{QueueName, TransportError};
use tokio::sync::{Notify, mpsc, oneshot};

use super::store::{Change, Index, Result, Store};
use super::{Entry, SetAside, SpoolConfig, SpoolError, SpoolStats};

/// Orders that wait for the thread; more callers wait in line.
const ORDERS_MAX: usize = 1024;
/// Changes of one commit: an order has at most a batch, and a commit should not take long to write.
const GROUP_MAX: usize = 256;

/// What is read of an entry.
pub(crate) type Head = Vec<(u64, std::result::Result<Entry, String>)>;

/// Why tasks were not kept.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// There is no room; nothing is kept.
    Full {
        stats: SpoolStats,
        tasks_max: u64,
        bytes_max: u64,
    },
    /// The disk did not answer well: they may be kept.
    Unknown(TransportError),
}

#[derive(Debug)]
enum Order {
    Append(
        QueueName,
        Vec<Entry>,
        oneshot::Sender<std::result::Result<(), AppendError>>,
    ),
    Change(Change, oneshot::Sender<Result<bool>>),
    Head(QueueName, usize, usize, oneshot::Sender<Result<Head>>),
    ListAside(usize, oneshot::Sender<Result<Vec<SetAside>>>),
}

/// The way to the thread. It ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    orders: mpsc::Sender<Order>,
    seen: Arc<Seen>,
}

/// What senders and the drain look at without asking the thread.
#[derive(Debug, Default)]
struct Seen {
    view: Mutex<View>,
    /// Something was added, or taken.
    changed: Notify,
}

/// Some of a queue are on their way until this is dropped.
pub(super) struct OnTheWay {
    seen: Arc<Seen>,
    queue: QueueName,
    among: fn(&mut View) -> &mut HashMap<QueueName, u64>,
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        (self.among)(&mut self.seen.view()).remove(&self.queue);
        self.seen.changed.notify_waiters();
    }
}

/// What the file held after the last commit.
#[derive(Debug, Default)]
struct View {
    queues: HashSet<QueueName>,
    /// The at-most-once task of a queue that is on its way, which stands aside meanwhile.
    travelling: HashMap<QueueName, u64>,
    /// The last of the tasks of a queue that are on their way, and wait here meanwhile.
    sending: HashMap<QueueName, u64>,
    stats: SpoolStats,
}

impl Seen {
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    pub(super) async fn open(config: SpoolConfig) -> Result<Self> {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let seen = Arc::new(Seen::default());
        let (told, opened) = oneshot::channel();
        let shared = Arc::clone(&seen);
        thread::Builder::new()
            .name("lovage-spool".to_owned())
            .spawn(move || match Store::open(&config) {
                Ok(open) => {
                    let desk = Desk {
                        config,
                        next: open.1.next(),
                        open: Some(open),
                        seen: shared,
                    };
                    desk.show();
                    let _ = told.send(Ok(()));
                    desk.run(inbox);
                }
                Err(error) => drop(told.send(Err(error))),
            })
            .map_err(|error| SpoolError::Io(TransportError::new(error)))?;
        opened.await.unwrap_or_else(|_| Err(gone()))?;
        Ok(Self { orders, seen })
    }

    pub(super) fn stats(&self) -> SpoolStats {
        self.seen.view().stats.clone()
    }

    /// Whether a send to `queue` must go behind others.
    pub(super) fn waits_in(&self, queue: &QueueName) -> bool {
        let view = self.seen.view();
        view.queues.contains(queue) || view.travelling.contains_key(queue)
    }

    /// Whether something of `queue` is still to be sent.
    pub(super) fn holds(&self, queue: &QueueName) -> bool {
        self.seen.view().queues.contains(queue)
    }

    /// Whether something is still to be sent.
    pub(super) fn holds_any(&self) -> bool {
        !self.seen.view().queues.is_empty()
    }

    pub(super) async fn until_empty(&self) {
        self.until(|view| {
            let none = view.queues.is_empty() && view.travelling.is_empty();
            none.then_some(())
        })
        .await;
    }

    /// Waits until something waits for the broker.
    pub(super) async fn until_filled(&self) {
        self.until_waits_outside(&HashSet::new()).await;
    }

    /// Waits until something waits for the broker in other queues than `known`, and answers which.
    pub(super) async fn until_waits_outside(&self, known: &HashSet<QueueName>) -> Vec<QueueName> {
        self.until(|view| {
            let others: Vec<_> = view.queues.difference(known).cloned().collect();
            (!others.is_empty()).then_some(others)
        })
        .await
    }

    async fn until<T>(&self, look: impl Fn(&View) -> Option<T>) -> T {
        loop {
            let changed = self.seen.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that what changes in between is not missed.
            changed.as_mut().enable();
            if let Some(found) = look(&self.seen.view()) {
                return found;
            }
            changed.await;
        }
    }

    /// Lets an at-most-once task of `queue` count as waiting while it travels; one at a time.
    pub(super) fn travels(&self, queue: &QueueName, number: u64) -> OnTheWay {
        self.on_the_way(queue, number, |view| &mut view.travelling)
    }

    /// Says that the tasks of `queue` up to `last` are being sent: one that is sent again meanwhile is kept beside them,
    /// as they may be done with already.
    pub(super) fn sends(&self, queue: &QueueName, last: u64) -> OnTheWay {
        self.on_the_way(queue, last, |view| &mut view.sending)
    }

    fn on_the_way(
        &self,
        queue: &QueueName,
        number: u64,
        among: fn(&mut View) -> &mut HashMap<QueueName, u64>,
    ) -> OnTheWay {
        among(&mut self.seen.view()).insert(queue.clone(), number);
        OnTheWay {
            seen: Arc::clone(&self.seen),
            queue: queue.clone(),
            among,
        }
    }

    /// Keeps tasks: they are on disk with the answer.
    pub(super) async fn append(
        &self,
        queue: &QueueName,
        entries: Vec<Entry>,
    ) -> std::result::Result<(), AppendError> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Append(queue.clone(), entries, answer);
        let unknown = || AppendError::Unknown(TransportError::new(gone()));
        self.orders.send(order).await.map_err(|_| unknown())?;
        answered.await.unwrap_or_else(|_| Err(unknown()))
    }

    pub(super) async fn head(
        &self,
        queue: &QueueName,
        max: usize,
        bytes_max: usize,
    ) -> Result<Head> {
        self.ask(|answer| Order::Head(queue.clone(), max, bytes_max, answer))
            .await
    }

    pub(super) async fn list_aside(&self, limit: usize) -> Result<Vec<SetAside>> {
        let most = limit.saturating_add(self.seen.view().travelling.len());
        let mut found = self.ask(|answer| Order::ListAside(most, answer)).await?;
        found.retain(|aside| !self.is_travelling(&aside.queue, aside.number));
        found.truncate(limit);
        Ok(found)
    }

    /// What travels is nobody else's to move.
    pub(super) async fn put_back(&self, queue: &QueueName, number: u64) -> Result<bool> {
        if self.is_travelling(queue, number) {
            return Ok(false);
        }
        self.change(Change::PutBack(queue.clone(), number)).await
    }

    pub(super) async fn forget(&self, queue: &QueueName, number: u64) -> Result<bool> {
        if self.is_travelling(queue, number) {
            return Ok(false);
        }
        self.change(Change::Forget(queue.clone(), number)).await
    }

    fn is_travelling(&self, queue: &QueueName, number: u64) -> bool {
        self.seen.view().travelling.get(queue) == Some(&number)
    }

    /// Makes a change: it is on disk with the answer, which says whether there was something to change.
    pub(super) async fn change(&self, change: Change) -> Result<bool> {
        self.ask(|answer| Order::Change(change, answer)).await
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<Result<T>>) -> Order) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Who waits for a change of the coming commit.
enum Waiter {
    Append(oneshot::Sender<std::result::Result<(), AppendError>>),
    Change(oneshot::Sender<Result<bool>>),
}

/// The thread's own.
struct Desk {
    config: SpoolConfig,
    /// None after an error, until the file could be opened again.
    open: Option<(Store, Index)>,
    /// The next number. One that was given is not given again: somebody may still name a task by it.
    next: u64,
    seen: Arc<Seen>,
}

impl Desk {
    fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        let (mut changes, mut waiters) = (Vec::new(), Vec::new());
        let mut room = Room::default();
        while let Some(first) = inbox.blocking_recv() {
            let mut next = Some(first);
            while let Some(order) = next {
                match order {
                    Order::Append(queue, entries, answer) => {
                        match self.admit(&entries, &mut room) {
                            Ok(()) => {
                                changes.push(Change::Append(queue, entries));
                                waiters.push(Waiter::Append(answer));
                            }
                            Err(full) => drop(answer.send(Err(full))),
                        }
                    }
                    Order::Change(change, answer) => {
                        changes.push(change);
                        waiters.push(Waiter::Change(answer));
                    }
                    // What is read includes what was ordered before.
                    Order::Head(queue, max, bytes_max, answer) => {
                        self.commit(&mut changes, &mut waiters, &mut room);
                        let head = self.with(|store, _| store.head(&queue, max, bytes_max));
                        let _ = answer.send(head);
                    }
                    Order::ListAside(limit, answer) => {
                        self.commit(&mut changes, &mut waiters, &mut room);
                        let _ = answer.send(self.with(|store, _| store.list_aside(limit)));
                    }
                }
                next = if changes.len() < GROUP_MAX {
                    inbox.try_recv().ok()
                } else {
                    None
                };
            }
            self.commit(&mut changes, &mut waiters, &mut room);
        }
    }

    /// Lets tasks into the coming commit if they fit beside what it has already.
    fn admit(&self, entries: &[Entry], room: &mut Room) -> std::result::Result<(), AppendError> {
        let Some((store, index)) = &self.open else {
            // The commit will open it, or tell why not.
            return Ok(());
        };
        let tasks = room.tasks + entries.len() as u64;
        let bytes = room.bytes + entries.iter().map(Entry::size).sum::<u64>();
        if !store.has_room(index, tasks, bytes) {
            let (tasks_max, bytes_max) = store.limits();
            return Err(AppendError::Full {
                stats: index.stats(),
                tasks_max,
                bytes_max,
            });
        }
        *room = Room { tasks, bytes };
        Ok(())
    }

    fn commit(&mut self, changes: &mut Vec<Change>, waiters: &mut Vec<Waiter>, room: &mut Room) {
        *room = Room::default();
        if changes.is_empty() {
            return;
        }
        let changes = mem::take(changes);
        let sending = self.seen.view().sending.clone();
        let done = self.with(|store, index| {
            index.sending = sending;
            store.apply(&changes, index)
        });
        // Before anybody is answered: the next send of a caller must find this one.
        self.show();
        for (position, waiter) in waiters.drain(..).enumerate() {
            let failed = |error: &SpoolError| TransportError::new(error.to_string());
            // One who waits no more does not take the answer.
            match (waiter, &done) {
                (Waiter::Append(answer), Ok(_)) => drop(answer.send(Ok(()))),
                (Waiter::Append(answer), Err(error)) => {
                    drop(answer.send(Err(AppendError::Unknown(failed(error)))));
                }
                (Waiter::Change(answer), Ok(done)) => drop(answer.send(Ok(done[position]))),
                (Waiter::Change(answer), Err(error)) => {
                    drop(answer.send(Err(SpoolError::Io(failed(error)))));
                }
            }
        }
    }

    /// Does something with the file, which is opened again after an error.
    fn with<T>(&mut self, act: impl FnOnce(&Store, &mut Index) -> Result<T>) -> Result<T> {
        if self.open.is_none() {
            self.open_again()?;
        }
        let (store, index) = self.open.as_mut().expect("it was just opened");
        let done = act(store, index);
        self.next = index.next();
        if let Err(error) = &done {
            tracing::error!(%error, "the spool's file failed; it is opened again");
            self.open = None;
            // What failed may have reached the disk: it is shown, and sent, without waiting for a next send.
            if let Err(error) = self.open_again() {
                tracing::error!(%error, "the spool cannot be opened; that is tried again with the next send");
            }
        }
        done
    }

    fn open_again(&mut self) -> Result<()> {
        let (store, mut index) = Store::open(&self.config)?;
        index.number_from(self.next);
        self.open = Some((store, index));
        self.show();
        tracing::info!("the spool can be used again");
        Ok(())
    }

    /// Shows what the file holds. Where it is not open, what was shown last: nothing of it is lost.
    fn show(&self) {
        if let Some((_, index)) = &self.open {
            let mut view = self.seen.view();
            view.queues = index.queues().into_iter().collect();
            view.stats = index.stats();
            drop(view);
            self.seen.changed.notify_waiters();
        }
    }
}

/// What the coming commit adds.
#[derive(Clone, Copy, Debug, Default)]
struct Room {
    tasks: u64,
    bytes: u64,
}

fn gone() -> SpoolError {
    SpoolError::Io(TransportError::new("the thread of the spool has ended"))
}

#[cfg(test)]
impl Keeper {
    /// A way to the same thread by which the first `count` removals fail; every other one of these is made all the same.
    pub(super) fn refusing(&self, count: usize) -> Self {
        let (orders, mut inbox) = mpsc::channel(ORDERS_MAX);
        let inner = self.orders.clone();
        thread::spawn(move || {
            let mut refused = 0;
            while let Some(order) = inbox.blocking_recv() {
                match order {
                    Order::Change(change @ Change::Remove(..), answer) if refused < count => {
                        refused += 1;
                        if refused.is_multiple_of(2) {
                            let (unheard, _) = oneshot::channel();
                            let _ = inner.blocking_send(Order::Change(change, unheard));
                        }
                        let _ = answer.send(Err(gone()));
                    }
                    other => drop(inner.blocking_send(other)),
                }
            }
        });
        Self {
            orders,
            seen: Arc::clone(&self.seen),
        }
    }
}
