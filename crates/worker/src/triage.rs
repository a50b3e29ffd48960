//! From a delivery's bytes to a planned run, or to a verdict without one. Pure: the instant is given.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lovage_core::{
    Ack, CancellationToken, DecodeError, Delivery, Envelope, Failure, FailureKind, Lane, Millis,
    Outcome, Parked, QueueName, Registry, RetryPolicy, States, TaskContext, TaskDef, TaskOptions,
    Verdict, When, secs,
};

use crate::run::Limits;
use crate::settings::{ProcessLane, Settings};
use crate::watchdog;

/// The longest span between two offers of a task that nobody knows: a worker that knows it may come at any time.
const PARK_DELAY_MAX: Duration = secs(60);
/// The most names that the reason of a buried unknown task lists.
const NAMES_SHOWN_MAX: usize = 50;

/// The tasks that this worker knows, with their options worked out once.
#[derive(Debug)]
pub(crate) struct Tasks {
    by_name: HashMap<&'static str, Known>,
    names: String,
    unknown_grace: Duration,
    states: Arc<States>,
}

#[derive(Debug)]
struct Known {
    def: TaskDef,
    options: TaskOptions,
    late: RetryPolicy,
    early: RetryPolicy,
    label: watchdog::Label,
}

/// A run that has all it needs but a slot.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) context: TaskContext,
    pub(crate) args: Bytes,
    pub(crate) def: TaskDef,
    pub(crate) limits: Limits,
    pub(crate) policy: RetryPolicy,
    pub(crate) keep: Option<Duration>,
    /// For how long it is put off where what it runs in is not fit; `None` where that is to count as a failure.
    pub(crate) put_off: Option<Duration>,
    pub(crate) ack: Ack,
    /// How long after the claim it must not start any more.
    pub(crate) expires_in: Option<Duration>,
    pub(crate) label: watchdog::Label,
}

/// What to do with a delivery.
#[derive(Debug)]
pub(crate) enum Triage {
    Run(Box<Planned>),
    Settle(Verdict),
}

impl Tasks {
    pub(crate) fn new(registry: &Registry, states: States, settings: &Settings) -> Self {
        let tasks = registry.tasks();
        let mut names: Vec<_> = tasks.iter().map(|def| def.name).collect();
        if NAMES_SHOWN_MAX < names.len() {
            names.truncate(NAMES_SHOWN_MAX);
            names.push("…");
        }
        Self {
            names: names.join(", "),
            by_name: tasks
                .into_iter()
                .map(|def| (def.name, Known::new(def, settings.process_lane)))
                .collect(),
            unknown_grace: settings.unknown_task_grace,
            states: Arc::new(states),
        }
    }

    /// The definitions with the queue that each is sent to unless told otherwise, by name.
    pub(crate) fn defs(&self) -> Vec<(TaskDef, QueueName)> {
        let mut defs: Vec<_> = self
            .by_name
            .values()
            .map(|known| {
                let queue = known.options.queue.as_deref();
                let queue = queue.unwrap_or(TaskOptions::QUEUE_DEFAULT);
                let queue = QueueName::parse(queue).expect("the registry has checked it");
                (known.def, queue)
            })
            .collect();
        defs.sort_by_key(|(def, _)| def.name);
        defs
    }

    /// Decides about one delivery of a claim made at `now`.
    pub(crate) fn triage(&self, delivery: &Delivery, now: Millis) -> Triage {
        let envelope = match Envelope::decode(&delivery.bytes) {
            Ok(envelope) if envelope.id == delivery.id => envelope,
            Ok(envelope) => {
                let reason = format!("the message says it is task {}", envelope.id);
                return Triage::Settle(malformed(reason));
            }
            Err(error @ DecodeError::Version { .. }) => {
                return Triage::Settle(self.unknown(&error, delivery.parked, now));
            }
            Err(error) => return Triage::Settle(malformed(error)),
        };
        let Some(known) = self.by_name.get(envelope.task.as_str()) else {
            let reason = format!(
                "no task named {:?} is known; this worker knows {}",
                envelope.task.as_str(),
                self.names
            );
            return Triage::Settle(self.unknown(&reason, delivery.parked, now));
        };
        let expires_in = match envelope.expires {
            Some(When::At(instant)) if instant <= now => {
                return Triage::Settle(expired(envelope.result_ttl));
            }
            Some(When::At(instant)) => Some(instant.since(now)),
            // A broker makes spans into instants when it accepts a task; one that it did not is not ours to guess.
            Some(When::In(_)) | None => None,
        };
        Triage::Run(Box::new(known.plan(
            envelope,
            delivery,
            expires_in,
            self.put_off(delivery.parked, now),
            &self.states,
        )))
    }

    fn unknown(&self, reason: &impl ToString, parked: Option<Parked>, now: Millis) -> Verdict {
        self.put_off(parked, now).map_or_else(
            || Verdict::Bury(Failure::new(FailureKind::UnknownTask, reason.to_string())),
            Verdict::Park,
        )
    }

    /// For how long a task that cannot be run here is put off: longer each time, until the grace is over.
    fn put_off(&self, parked: Option<Parked>, now: Millis) -> Option<Duration> {
        if parked.is_some_and(|parked| self.unknown_grace <= now.since(parked.since)) {
            return None;
        }
        let times = parked.map_or(0, |parked| parked.times);
        let factor = 1u32.checked_shl(times).unwrap_or(u32::MAX);
        Some(secs(1).saturating_mul(factor).min(PARK_DELAY_MAX))
    }
}

impl Known {
    fn new(def: &TaskDef, process_lane: ProcessLane) -> Self {
        let mut def = *def;
        if def.lane == Lane::Process && process_lane == ProcessLane::Threads {
            def.lane = Lane::Cpu;
        }
        let options = (def.options)();
        let policy = |ack| options.clone().ack(ack).retry_policy();
        Self {
            def,
            late: policy(Ack::Late),
            early: policy(Ack::Early),
            label: watchdog::Label::of(def.name),
            options,
        }
    }

    fn plan(
        &self,
        envelope: Envelope,
        delivery: &Delivery,
        expires_in: Option<Duration>,
        put_off: Option<Duration>,
        states: &Arc<States>,
    ) -> Planned {
        let mut policy = match envelope.ack {
            Ack::Late => self.late,
            Ack::Early => self.early,
        };
        policy.max_retries = envelope.max_retries.unwrap_or(policy.max_retries);
        policy.backoff = envelope.backoff.unwrap_or(policy.backoff);
        Planned {
            args: envelope.args.clone(),
            def: self.def,
            limits: Limits {
                soft: envelope.timeout.or(self.options.timeout),
                hard: envelope.hard_timeout.or(self.options.hard_timeout),
            },
            policy,
            keep: envelope.result_ttl,
            put_off,
            ack: envelope.ack,
            expires_in,
            label: self.label,
            context: TaskContext::new(
                envelope,
                delivery.fence,
                delivery.losses,
                delivery.snoozes,
                CancellationToken::new(),
                Arc::clone(states),
            ),
        }
    }
}

pub(crate) fn expired(keep: Option<Duration>) -> Verdict {
    Verdict::Done {
        outcome: Outcome::Expired,
        keep,
    }
}

fn malformed(reason: impl std::fmt::Display) -> Verdict {
    Verdict::Bury(Failure::new(FailureKind::Malformed, reason))
}
