//! The protocol of leases and fences, for one task and two workers with two identities each.
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
}

/// The protocol: all rules but one, perhaps, to see what that is for; and how much may go wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) without: Option<Rule>,
    /// How often the task was lost before.
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
}

/// What the broker keeps: all that a rewind takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Books {
    pub(super) place: Place,
    pub(super) holder: usize,
    pub(super) fence: u8,
    /// The number of the last claim.
    pub(super) claims: u8,
    pub(super) losses: u8,
    pub(super) cancelled: bool,
    pub(super) leases: [Lease; IDENTITIES],
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
    Held(u8),
    Running(u8),
    Settling(u8, Said),
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
    pub(super) claimed: Option<u8>,
    pub(super) settle: Option<(u8, Said)>,
    pub(super) settled: Option<u8>,
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
    pub(super) suspect: [Option<u8>; WORKERS],
    pub(super) work: [Work; IDENTITIES],
    pub(super) wires: [Wire; IDENTITIES],
    pub(super) left: Faults,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    Look(usize),
    Due,
    Cancel,
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
                place: Place::Ready,
                holder: 0,
                fence: 0,
                claims: 0,
                losses: self.losses,
                cancelled: false,
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
        match state.books.place {
            Place::Gone | Place::Dead => true,
            Place::Ready | Place::Scheduled => used_up || state.left.claims == 0,
            Place::Active => false,
        }
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
    pub(super) fn go(&mut self, event: Event) {
        self.place = self
            .place
            .on(event)
            .expect("the model makes only moves of the table");
    }

    /// I3, I4, I6: what is held is held by somebody whom recovery still looks at, and losses are bounded.
    pub(super) fn holds(&self) -> Result<(), &'static str> {
        if self.place == Place::Active && self.leases[self.holder] == Lease::Unknown {
            return Err("a task is held by an identity that nobody knows");
        }
        if LOSSES_MAX < u32::from(self.losses) {
            return Err("a task was lost too often");
        }
        Ok(())
    }

    pub(super) fn is_held(&self, by: usize, fence: u8, fences: bool) -> bool {
        self.place == Place::Active && self.holder == by && (self.fence == fence || !fences)
    }
}
