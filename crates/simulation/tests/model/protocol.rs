//! The protocol of leases, fences and keys, for two tasks of one key and two workers with two identities each.
//!
//! Time is in it only as order: a lease ends at any instant at which its worker may have been too slow. A worker's own
//! deadline is never later than the broker's, so it has passed whenever the broker's has; an answer to a renewal that is
//! still on its way then brings nothing any more.

use lovage_core::{Event, LOSSES_MAX, Place};

use crate::chances::{of_faults, of_the_broker};
use crate::search::Model;

/// Workers.
pub(super) const WORKERS: usize = 2;
/// Identities: two a worker.
pub(super) const IDENTITIES: usize = 4;
/// Tasks, all of one key. The first is there at the start, the other is sent, if at all.
pub(super) const TASKS: usize = 2;

/// A rule of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A verdict names its handing-out, and changes nothing of another.
    Fences,
    /// The fence is more than a number that a failover takes back.
    FencesAreUnique,
    /// Only an identity with a live lease is given something.
    ClaimsNeedALease,
    /// A worker compares what it holds with what the broker says.
    Comparison,
    /// A body starts, and a verdict is sent, only before the worker's own deadline.
    Deadline,
    /// A key is held until its task has ended.
    KeysLast,
    /// It is freed with it.
    KeysEnd,
}

/// The protocol: all rules but one, perhaps, to see what that is for; and how much may go wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) without: Option<Rule>,
    /// How often the first task was lost before.
    pub(crate) losses: u8,
    /// How often each may happen.
    pub(crate) faults: Faults,
}

/// What may go wrong, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    pub(crate) crashes: u8,
    pub(crate) freezes: u8,
    /// Leases that end although their worker runs: the network or the worker was slow.
    pub(crate) lapses: u8,
    pub(crate) cancels: u8,
    /// Times that the broker forgets what it did last.
    pub(crate) rewinds: u8,
    /// Handings-out.
    pub(crate) claims: u8,
    pub(crate) failures: u8,
    /// Sends of a task that is gone, or was not sent yet.
    pub(crate) sends: u8,
    pub(crate) revives: u8,
}

/// What the broker keeps: all that a rewind takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Books {
    pub(super) tasks: [Task; TASKS],
    /// The task that holds the key.
    pub(super) key: Option<usize>,
    /// The number of the last claim.
    pub(super) claims: u8,
    pub(super) leases: [Lease; IDENTITIES],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Task {
    pub(super) place: Place,
    pub(super) holder: usize,
    pub(super) fence: u8,
    pub(super) losses: u8,
    pub(super) cancelled: bool,
}

pub(super) const GONE: Task = Task {
    place: Place::Gone,
    holder: 0,
    fence: 0,
    losses: 0,
    cancelled: false,
};

/// One handing-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hand {
    pub(super) task: usize,
    pub(super) fence: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lease {
    Unknown,
    Live,
    Ended,
    /// A first look found it ended.
    Suspected,
    /// Recovered.
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Process {
    Up,
    Frozen,
    Down,
}

/// What a worker does with a handing-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Work {
    Nothing,
    Held(Hand),
    Running(Hand),
    Settling(Hand, Said),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Said {
    Done,
    Retry,
    Release,
}

/// What is on its way for one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wire {
    pub(super) claim: bool,
    pub(super) claimed: Option<Hand>,
    pub(super) settle: Option<(Hand, Said)>,
    pub(super) settled: Option<Hand>,
    pub(super) renew: bool,
    pub(super) renewed: Option<bool>,
}

const IDLE: Wire = Wire {
    claim: false,
    claimed: None,
    settle: None,
    settled: None,
    renew: false,
    renewed: None,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(super) books: Books,
    /// What a failover would go back to.
    pub(super) replica: Option<Books>,
    /// Fences given out ever.
    pub(super) fences: u8,
    pub(super) processes: [Process; WORKERS],
    /// The identity of each worker; 2 where it has used both.
    pub(super) current: [usize; WORKERS],
    /// Whether its own deadline is to come.
    pub(super) good: [bool; WORKERS],
    /// Whether it waits for the answer to a claim.
    pub(super) asked: [bool; WORKERS],
    /// What an account said that it has not seen.
    pub(super) suspect: [Option<Hand>; WORKERS],
    pub(super) work: [Work; IDENTITIES],
    pub(super) wires: [Wire; IDENTITIES],
    pub(super) left: Faults,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    // A worker.
    Register(usize),
    AskClaim(usize),
    AskRenewal(usize),
    /// It waits no longer for its claim.
    GiveUpClaim(usize),
    HearClaim(usize),
    HearRenewal(usize),
    HearSettled(usize),
    Start(usize),
    Finish(usize, Said),
    SendVerdict(usize),
    Compare(usize),
    GiveBackUnseen(usize),
    // The broker.
    Claim(usize),
    Settle(usize),
    Renew(usize),
    /// Recovery looks at all identities.
    Look,
    Due(usize),
    // Whoever sends tasks and looks after them.
    Send(usize),
    Cancel(usize),
    Revive(usize),
    // Faults.
    LoseClaim(usize),
    LoseSettle(usize),
    LoseAnswers(usize),
    LeaseEnds(usize),
    Freeze(usize),
    Thaw(usize),
    Crash(usize),
    Replicate,
    Rewind,
}

impl Rules {
    pub(super) fn have(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}

impl Model for Rules {
    type State = State;
    type Action = Action;

    fn start(&self) -> State {
        State {
            books: Books {
                tasks: [
                    Task {
                        place: Place::Ready,
                        losses: self.losses,
                        ..GONE
                    },
                    GONE,
                ],
                key: Some(0),
                claims: 0,
                leases: [Lease::Unknown; IDENTITIES],
            },
            replica: None,
            fences: 0,
            processes: [Process::Up; WORKERS],
            current: [0; WORKERS],
            good: [false; WORKERS],
            asked: [false; WORKERS],
            suspect: [None; WORKERS],
            work: [Work::Nothing; IDENTITIES],
            wires: [IDLE; IDENTITIES],
            left: self.faults,
        }
    }

    fn is_over(&self, state: &State) -> bool {
        // Ready is over as well where all identities of the model are used up: another worker would claim it.
        let used_up = (0..WORKERS).all(|worker| state.identity(worker).is_none());
        let is_over = |task: &Task| match task.place {
            Place::Gone => state.left.sends == 0,
            Place::Dead => state.left.revives == 0,
            Place::Ready | Place::Scheduled => used_up || state.left.claims == 0,
            Place::Active => false,
        };
        state.books.tasks.iter().all(is_over)
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.of_workers(state, actions);
        of_the_broker(state, actions);
        of_faults(state, actions);
    }

    fn step(&self, state: &State, action: Action) -> Result<State, &'static str> {
        let mut next = *state;
        self.apply(&mut next, action)?;
        next.books.holds()?;
        Ok(next)
    }
}

impl State {
    /// The identity of `worker`, if it has one left.
    pub(super) fn identity(&self, worker: usize) -> Option<usize> {
        (self.current[worker] < 2).then(|| 2 * worker + self.current[worker])
    }

    /// Goes on under the next identity; whatever the last one was waiting for is nobody's any more.
    pub(super) fn take_next_identity(&mut self, worker: usize) {
        self.current[worker] += 1;
        self.good[worker] = false;
        self.asked[worker] = false;
        self.suspect[worker] = None;
    }
}

impl Books {
    pub(super) fn go(&mut self, task: usize, event: Event) {
        let place = &mut self.tasks[task].place;
        *place = place
            .on(event)
            .expect("the model makes only moves of the table");
    }

    /// I3, I4, I6, I13: what is held is held by somebody whom recovery still looks at, losses are bounded, and a key is
    /// that of its one live task.
    pub(super) fn holds(&self) -> Result<(), &'static str> {
        for task in &self.tasks {
            if task.place == Place::Active && self.leases[task.holder] == Lease::Unknown {
                return Err("a task is held by an identity that nobody knows");
            }
            if LOSSES_MAX < u32::from(task.losses) {
                return Err("a task was lost too often");
            }
        }
        let lives = |task: &Task| !matches!(task.place, Place::Gone | Place::Dead);
        if 1 < self.tasks.iter().filter(|task| lives(task)).count() {
            return Err("two tasks of one key live");
        }
        if self.key.is_some_and(|task| !lives(&self.tasks[task])) {
            return Err("a key has outlived its task");
        }
        Ok(())
    }

    pub(super) fn is_held(&self, by: usize, hand: Hand, fences: bool) -> bool {
        let task = &self.tasks[hand.task];
        task.place == Place::Active && task.holder == by && (task.fence == hand.fence || !fences)
    }

    /// What an identity holds: one at most, as all tasks are of one key and workers have one slot.
    pub(super) fn held_by(&self, by: usize) -> Option<Hand> {
        let mut hands = (0..TASKS).map(|task| Hand {
            task,
            fence: self.tasks[task].fence,
        });
        hands.find(|hand| self.is_held(by, *hand, true))
    }
}
