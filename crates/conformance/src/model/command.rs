//! What a sequence consists of, and how likely each call is.

use std::time::Duration;

use lovage_core::{Conflict, Lock, LockKey, Retention, Until, ms, secs};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::{BoxedStrategy, Union};
use proptest_state_machine::ReferenceStateMachine;

use crate::world::{LEASE, PATIENCE};

/// The tasks of a sequence: few, so that ids meet again and again.
pub(super) const IDS: u8 = 8;
/// The keys of its unique tasks.
const KEYS: u8 = 3;
/// The workers of a sequence.
pub(super) const SLOTS: u8 = 3;

/// One call, or the passing of time.
#[derive(Clone, Debug)]
pub enum Command {
    /// Sends tasks in one call.
    Enqueue(Vec<Sent>),
    /// A worker claims.
    Claim {
        /// The worker.
        who: Who,
        /// The most tasks.
        max: u16,
    },
    /// A worker gives verdicts in one call.
    Settle {
        /// The worker, or the next one that holds something.
        who: Who,
        /// On what, and which.
        picks: Vec<(Pick, Verdicts)>,
    },
    /// A worker renews its lease; one that is lost takes a new identity.
    Renew(Who),
    /// A worker reports what it holds, as so far.
    Report(Who, u8),
    /// Somebody looks for lost workers.
    Recover,
    /// Somebody cancels a task.
    Cancel(u8),
    /// Somebody revives a task: one of the dead letters, if there are any.
    Revive(u8),
    /// Somebody revives one of the dead letters, if there are any, with other arguments, after some seconds, and with
    /// this lock or none.
    ReviveEdited(u8, u8, Option<Lock>),
    /// Somebody removes a task, and one of the dead letters if there are any.
    Purge(u8),
    /// Somebody removes the dead letters of so many seconds.
    PurgeOlder(u8),
    /// Somebody says how many dead letters are kept.
    Retain(Retention),
    /// Somebody lets a task be due at another time: one of the scheduled tasks, if there are any.
    Reschedule(u8, Retiming),
    /// A worker ends its identity and takes a new one, if it may.
    Retire(Who),
    /// The process in a slot dies and another one starts.
    Crash(u8),
    /// Bounds the queue.
    Bound(Option<u64>),
    /// Asks for an outcome.
    Outcome(u8),
    /// Time passes.
    Advance(Duration),
    /// Every lease ends, two looks are made, and those that are lost take new identities.
    LoseAll,
}

impl Command {
    /// The calls that this one stands for.
    pub fn steps(self) -> Vec<Self> {
        let Self::LoseAll = self else {
            return vec![self];
        };
        let mut steps = vec![
            Self::Advance(LEASE),
            Self::Recover,
            Self::Advance(PATIENCE),
            Self::Recover,
        ];
        steps.extend((0..SLOTS).map(|slot| {
            Self::Renew(Who {
                slot,
                former: false,
            })
        }));
        steps
    }
}

/// A task as a sequence sends it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Which task.
    pub id: u8,
    /// Its level.
    pub priority: u8,
    /// Its countdown.
    pub countdown: Option<Duration>,
    /// Whether it is acknowledged early.
    pub early: bool,
    /// The key that it wants to hold.
    pub unique: Option<Lock>,
    /// How long it is remembered.
    pub remembered: Option<Duration>,
}

/// Which identity acts: the present one of a slot, or the one before its last crash.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    /// The slot.
    pub slot: u8,
    /// Whether the former process acts, which was thought dead.
    pub former: bool,
}

/// Which delivery a verdict is on.
#[derive(Clone, Copy, Debug)]
pub enum Pick {
    /// One that the worker has not settled yet, by its own account.
    Held(u8),
    /// Any that was ever made, to whomever.
    Past(u8),
    /// As `Held`, under a fence that never was.
    Forged(u8),
}

/// The verdicts of a sequence.
#[derive(Clone, Copy, Debug)]
pub enum Verdicts {
    /// It is done; the outcome is kept or not.
    Done(bool),
    /// It is tried again after some seconds.
    Retry(u8),
    /// It is put off for some seconds.
    Park(u8),
    /// Its body puts it off for some seconds.
    Snooze(u8),
    /// It is given back.
    Release,
    /// It is buried.
    Bury,
}

/// Another time for a task.
#[derive(Clone, Copy, Debug)]
pub enum Retiming {
    /// In some seconds.
    In(u8),
    /// At the instant that is so many seconds after the broker's first one, be it past or to come.
    At(u8),
}

/// What is known of a sequence while it is made: enough to send before claiming and to claim before settling.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    sent: bool,
    claimed: bool,
}

impl ReferenceStateMachine for Plan {
    type State = Self;
    type Transition = Command;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(plan: &Self) -> BoxedStrategy<Command> {
        let early = u32::from(!plan.sent) * 20;
        let settle = if plan.claimed { 14 } else { 1 };
        let claim = if plan.sent { 9 } else { 1 };
        Union::new_weighted(vec![
            (
                6 + early,
                vec(sent(), 1..6).prop_map(Command::Enqueue).boxed(),
            ),
            (claim, claiming().boxed()),
            (settle, settling().boxed()),
            (3, who().prop_map(Command::Renew).boxed()),
            (
                2,
                (who(), any::<u8>())
                    .prop_map(|(who, n)| Command::Report(who, n))
                    .boxed(),
            ),
            (3, Just(Command::Recover).boxed()),
            (3, (0..IDS).prop_map(Command::Cancel).boxed()),
            (2, (0..IDS).prop_map(Command::Revive).boxed()),
            (
                1,
                (any::<u8>(), 0..4u8, unique())
                    .prop_map(|(n, span, lock)| Command::ReviveEdited(n, span, lock))
                    .boxed(),
            ),
            (1, any::<u8>().prop_map(Command::Purge).boxed()),
            (1, (0..9u8).prop_map(Command::PurgeOlder).boxed()),
            (1, retention().prop_map(Command::Retain).boxed()),
            (3, retiming().boxed()),
            (1, who().prop_map(Command::Retire).boxed()),
            (1, (0..SLOTS).prop_map(Command::Crash).boxed()),
            (1, bound().prop_map(Command::Bound).boxed()),
            (2, (0..IDS).prop_map(Command::Outcome).boxed()),
            (6, span().prop_map(Command::Advance).boxed()),
            (1, Just(Command::LoseAll).boxed()),
        ])
        .boxed()
    }

    fn apply(mut plan: Self, command: &Command) -> Self {
        plan.sent |= matches!(command, Command::Enqueue(_));
        plan.claimed |= plan.sent && matches!(command, Command::Claim { .. });
        plan
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    let countdown = prop_oneof![
        3 => Just(None),
        1 => (0..8u64).prop_map(|n| Some(secs(n))),
    ];
    let early = prop::bool::weighted(0.1);
    let priority = prop::sample::select(vec![1u8, 5, 5, 9]);
    let remembered = prop_oneof![
        8 => Just(None),
        1 => (1..20u64).prop_map(|n| Some(secs(n))),
    ];
    (0..IDS, priority, countdown, early, unique(), remembered).prop_map(
        |(id, priority, countdown, early, unique, remembered)| Sent {
            id,
            priority,
            countdown,
            early,
            unique,
            remembered,
        },
    )
}

fn unique() -> impl Strategy<Value = Option<Lock>> {
    prop_oneof![4 => Just(None), 3 => lock().prop_map(Some)]
}

/// One of few keys, so that they meet.
fn lock() -> impl Strategy<Value = Lock> {
    let key = (0..KEYS).prop_map(|n| LockKey::from_bytes([n; 16]));
    let until = prop_oneof![
        2 => Just(Until::Start),
        4 => Just(Until::Done),
        1 => (1..10u64).prop_map(|n| Until::Elapsed(secs(n))),
    ];
    let conflict = prop_oneof![
        2 => Just(Conflict::Reject),
        2 => Just(Conflict::Replace),
        1 => (1..6u64, prop::option::of(1..12u64)).prop_map(|(span, most)| Conflict::Debounce {
            span: secs(span),
            wait_max: most.map(secs),
        }),
    ];
    let ttl = prop_oneof![4 => Just(None), 1 => (1..20u64).prop_map(|n| Some(secs(n)))];
    (key, until, conflict, ttl).prop_map(|(key, until, conflict, ttl)| Lock {
        key,
        until,
        conflict,
        // A span of its own has no other end.
        ttl: ttl.filter(|_| !matches!(until, Until::Elapsed(_))),
    })
}

fn who() -> impl Strategy<Value = Who> {
    (0..SLOTS, prop::bool::weighted(0.08)).prop_map(|(slot, former)| Who { slot, former })
}

fn claiming() -> impl Strategy<Value = Command> {
    (who(), 1u16..5).prop_map(|(who, max)| Command::Claim { who, max })
}

fn settling() -> impl Strategy<Value = Command> {
    let pick = prop_oneof![
        12 => any::<u8>().prop_map(Pick::Held),
        1 => any::<u8>().prop_map(Pick::Past),
        1 => any::<u8>().prop_map(Pick::Forged),
    ];
    let verdict = prop_oneof![
        any::<bool>().prop_map(Verdicts::Done),
        (0..4u8).prop_map(Verdicts::Retry),
        (0..4u8).prop_map(Verdicts::Park),
        (0..4u8).prop_map(Verdicts::Snooze),
        Just(Verdicts::Release),
        Just(Verdicts::Bury),
    ];
    (who(), vec((pick, verdict), 1..5)).prop_map(|(who, picks)| Command::Settle { who, picks })
}

fn retiming() -> impl Strategy<Value = Command> {
    let when = prop_oneof![
        (0..8u8).prop_map(Retiming::In),
        (0..60u8).prop_map(Retiming::At),
    ];
    (any::<u8>(), when).prop_map(|(n, when)| Command::Reschedule(n, when))
}

fn bound() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![2 => Just(None), 1 => (3..9u64).prop_map(Some)]
}

/// Records of losses differ in their words from broker to broker, hence in their size: all fit or none does.
fn retention() -> impl Strategy<Value = Retention> {
    let count = prop_oneof![2 => Just(None), 1 => (0..3u64).prop_map(Some)];
    let age = prop_oneof![2 => Just(None), 1 => (0..9u64).prop_map(|n| Some(secs(n)))];
    let bytes = prop_oneof![8 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(1 << 30))];
    (count, age, bytes).prop_map(|(count, age, bytes)| Retention { count, age, bytes })
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![
        3 => Just(ms(1)),
        6 => Just(secs(1)),
        3 => Just(secs(4)),
        2 => Just(PATIENCE),
        1 => Just(LEASE.saturating_sub(ms(1))),
        1 => Just(LEASE),
    ]
}
