//! Everything but the journal, and what the faults can have caused.

use std::collections::HashMap;
use std::time::Duration;

use lovage_core::{Millis, TaskId, secs, span_ms};

use super::deaths::Death;
use super::runs::Run;
use crate::chaos::ledger::Sent;
use crate::chaos::windows::{What, Window};

/// How early a lease can end after its worker fell silent: the last renewal was up to a third of it before that, and
/// the worker itself takes it as ended a margin sooner.
const LEASE_PART: f64 = 0.5;
/// How long the verdict of a run that is over can be under way while all is well, on a busy host; and how long after
/// a fault a worker may need to say it again.
const TELLING_MAX: Duration = secs(3);
/// What a fault has held up arrives so long after its end.
pub(super) const ARRIVING_MAX: Duration = secs(1);

/// So far around a violation faults are shown.
const AROUND: Duration = secs(15);

/// Everything but the journal.
#[derive(Debug)]
pub struct Facts {
    /// All sends.
    pub ledger: HashMap<TaskId, Sent>,
    /// All faults.
    pub windows: Vec<Window>,
    /// The dead letters at the end.
    pub dead: HashMap<TaskId, Death>,
    /// The lease of the workers.
    pub lease: Duration,
    /// When all was at rest.
    pub checked_at: Millis,
}

impl Facts {
    /// The faults of these kinds with an effect at some instant of this span.
    pub(super) fn meeting(
        &self,
        what: &[What],
        from: Millis,
        to: Millis,
    ) -> impl Iterator<Item = &Window> {
        let windows = self.windows.iter();
        windows.filter(move |window| what.contains(&window.what) && window.meets(from, to))
    }

    /// Whether a failover may have taken back what was written at some instant of this span.
    pub(super) fn failed_over(&self, from: Millis, to: Millis) -> bool {
        self.meeting(&[What::FailOver], from, to).next().is_some()
    }

    /// Whether a worker that this fault touches may lose its lease by it.
    pub(super) fn ends_leases(&self, window: &Window) -> bool {
        match window.what {
            What::Kill => true,
            // What it gives back at the end is not heard by a broker that it does not reach. Nor does it know what it was
            // handed in an answer that was lost shortly before: it compares what it holds with its next renewals.
            What::Stop => {
                let since = window.from.get().saturating_sub(span_ms(self.lease));
                self.windows.iter().any(|other| {
                    other.breaks_calls()
                        && other.meets(Millis::new(since), window.to)
                        && other.touches_one_of(window)
                })
            }
            What::Producer | What::Nuisance => false,
            What::Freeze
            | What::Cut
            | What::Silence
            | What::Restart
            | What::Stall
            | What::HandOver
            | What::FailOver
            | What::Reshard => self.lease.mul_f64(LEASE_PART) <= window.span(),
        }
    }

    /// The faults that may have cost the lease of a worker which claimed something in this span: a claim that a worker has sent
    /// arrives also where it is killed meanwhile.
    pub(super) fn ending_leases(&self, from: Millis, to: Millis) -> impl Iterator<Item = &Window> {
        let from = Millis::new(from.get().saturating_sub(span_ms(ARRIVING_MAX)));
        let windows = self.windows.iter();
        windows.filter(move |window| window.meets(from, to) && self.ends_leases(window))
    }

    /// How many of them there are.
    pub(super) fn leases_ended(&self, from: Millis, to: Millis) -> u32 {
        u32::try_from(self.ending_leases(from, to).count()).unwrap_or(u32::MAX)
    }

    /// Until when the worker of this run can have held the task, if the broker has not told it that its verdict was taken.
    pub(super) fn held_until(&self, run: &Run) -> Millis {
        let Some(over) = run.over else {
            return self.checked_at;
        };
        let mut until = over.plus(TELLING_MAX);
        // In the order of their beginnings, so that one fault leads to the next.
        let mut windows: Vec<_> = self
            .windows
            .iter()
            .filter(|window| window.touches(run.start.worker) && over <= window.to)
            .collect();
        windows.sort_unstable_by_key(|window| window.from);
        for window in windows {
            if window.from <= until {
                until = until.max(window.to.plus(TELLING_MAX));
            }
        }
        until
    }

    /// The faults that touched the worker of this run at about that time, for people.
    pub(super) fn around(&self, run: &Run) -> Vec<&Window> {
        let at = run.start.at.get();
        let from = Millis::new(at.saturating_sub(span_ms(AROUND)));
        let windows = self.windows.iter();
        let near = windows.filter(|window| {
            window.touches(run.start.worker) && window.meets(from, run.start.at.plus(AROUND))
        });
        near.collect()
    }

    /// The faults that touched the worker of this run while it can have held the task, and before `again`.
    pub(super) fn touching(
        &self,
        run: &Run,
        again: Millis,
    ) -> impl Iterator<Item = &Window> + Clone {
        let (began, until) = (run.start.at, self.held_until(run).min(again));
        self.windows
            .iter()
            .filter(move |window| window.touches(run.start.worker) && window.meets(began, until))
    }
}
