//! The loop of a beat: takes the lead or stands by, has everything that is due decided on, and sleeps until there is
//! something to do. What becomes of a schedule is decided in `plan.rs`; here it is only carried to the broker.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use lovage_core::{BeatId, BeatRole, Inspect, Lead, Leader, Millis, Schedules, Tick, ms};
use tokio::time::{Instant, sleep, timeout};

use crate::catch_up::CatchUp;
use crate::forwarder::Forwarder;
use crate::known::Known;
use crate::putoff::{Cause, PutOff};
use crate::round::{Held, Round, Tried};
use crate::stats::{Leading, Shared};
use crate::trouble::{Trouble, bounded};
use crate::zones;

/// The most schedules in one look: few enough that the first of many is fired soon, many enough for their number.
const DUE_MAX: u16 = 500;
/// Renewals a lease: two may be lost before it ends.
pub(crate) const RENEWALS: u32 = 3;
/// The shortest sleep of a beat that stands by.
const STANDBY_MIN: Duration = ms(10);
/// Those that stand by do not all look at once: by chance, up to this much later.
const STANDBY_SPREAD: Duration = ms(50);
/// What the broker may take to hear that the lead is given up. If it does not, the lease ends by itself.
const RESIGN_MAX: Duration = ms(500);

/// A beat's loop.
pub(crate) struct Ticker<B> {
    broker: B,
    beat: BeatId,
    lease: Duration,
    shared: Arc<Shared>,
    /// One for each verb: the others may work.
    looking: Trouble,
    /// How many schedules to look at: fewer where the lead has ended before anything became of them.
    due_max: u16,
    amending: Trouble,
    waiting: Trouble,
    put_off: PutOff,
    known: Known,
    catch_up: CatchUp,
    standing: Standing<B>,
    /// Where it leads, how long another cannot.
    leads_until: Option<Instant>,
}

/// What a beat knows itself to be.
enum Standing<B> {
    /// Nothing yet, or nothing any more: it could not look for long.
    Unknown,
    /// It leads, and forwards until this is dropped.
    Leading { epoch: u64, forwarder: Forwarder<B> },
    /// Another one does.
    Standby,
}

/// What to do before the next look.
enum Pause {
    /// Nothing.
    None,
    /// Wait for a turn, at most so long.
    Turn(BeatRole, Duration),
    /// Leave the broker alone.
    Trouble(Duration),
}

impl<B: Schedules + Inspect> Ticker<B> {
    pub(crate) fn new(broker: B, lease: Duration, shared: Arc<Shared>) -> Self {
        Self {
            broker,
            beat: BeatId::random(),
            lease,
            shared,
            looking: Trouble::default(),
            due_max: DUE_MAX,
            amending: Trouble::default(),
            waiting: Trouble::default(),
            put_off: PutOff::default(),
            known: Known::default(),
            catch_up: CatchUp::default(),
            standing: Standing::Unknown,
            leads_until: None,
        }
    }

    /// Runs until the beat is stopped, and gives up the lead.
    pub(crate) async fn run(mut self) {
        let stop = self.shared.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.beat_for_ever() => {}
        }
        let led = matches!(self.standing, Standing::Leading { .. });
        self.stand(Standing::Unknown);
        // Also where it is not known to lead: an answer may have been lost.
        match timeout(RESIGN_MAX, self.broker.resign(self.beat)).await {
            Ok(Ok(())) => tracing::info!(led, "the beat has stopped"),
            Ok(Err(error)) => {
                tracing::warn!(led, %error, "the beat has stopped; a lead that it may have ends with its lease");
            }
            Err(_) => tracing::warn!(
                led,
                "the beat has stopped, and the broker does not answer; a lead that it may have ends with its lease"
            ),
        }
    }

    async fn beat_for_ever(&mut self) {
        let mut looks_in_a_row = 0u32;
        loop {
            match self.turn().await {
                Pause::None => {
                    // A broker in this process always has an answer ready: let others have the thread.
                    looks_in_a_row += 1;
                    if looks_in_a_row.is_multiple_of(8) {
                        tokio::task::yield_now().await;
                    }
                }
                Pause::Trouble(pause) => sleep(pause).await,
                Pause::Turn(role, at_most) => self.await_turn(role, at_most).await,
            }
        }
    }

    async fn await_turn(&mut self, role: BeatRole, at_most: Duration) {
        // The broker may count its waits in coarser steps than ours.
        let turn = timeout(at_most, self.broker.await_turn(role, at_most));
        match turn.await {
            Ok(Err(error)) => {
                self.shared.error();
                let pause = self.waiting.failed("await_turn", &error);
                sleep(pause.min(at_most)).await;
            }
            Ok(Ok(())) => self.waiting.worked(),
            Err(_) => {}
        }
    }

    async fn turn(&mut self) -> Pause {
        let asked = Instant::now();
        let due_max = NonZeroU16::new(self.due_max).unwrap_or(NonZeroU16::MIN);
        let look = self.broker.lead(self.beat, self.lease, due_max);
        match bounded(self.call_max(), look).await {
            Ok(lead) => {
                self.looking.worked();
                match lead {
                    Lead::Held(tick) => self.lead(tick, asked).await,
                    Lead::Standby(leader) => self.stand_by(leader),
                }
            }
            Err(error) => {
                self.shared.error();
                if self
                    .leads_until
                    .is_some_and(|until| until <= Instant::now())
                {
                    // Another may lead by now. If none does, this one begins again.
                    self.leads_until = None;
                    self.stand(Standing::Unknown);
                }
                self.shared.stats().broker_error = Some(error.to_string());
                Pause::Trouble(self.looking.failed("lead", &error))
            }
        }
    }

    /// What is late counts as unknown, soon enough to renew once more.
    fn call_max(&self) -> Duration {
        self.lease / RENEWALS
    }

    fn stand_by(&mut self, leader: Leader) -> Pause {
        match self.standing {
            Standing::Standby => {}
            Standing::Leading { epoch, .. } => {
                tracing::warn!(epoch, leader = %leader.beat, "another beat has taken the lead");
            }
            Standing::Unknown => {
                tracing::info!(leader = %leader.beat, epoch = leader.epoch, "standing by");
            }
        }
        self.stand(Standing::Standby);
        self.amending = Trouble::default();
        self.shared.stats().broker_error = None;
        let spread = STANDBY_SPREAD.mul_f64(fastrand::f64());
        let wait = leader
            .ends_in
            .clamp(STANDBY_MIN, self.lease.max(STANDBY_MIN))
            + spread;
        Pause::Turn(BeatRole::Standby, wait)
    }

    fn stand(&mut self, standing: Standing<B>) {
        if !matches!(standing, Standing::Leading { .. }) {
            let mut stats = self.shared.stats();
            stats.leading = None;
            stats.next_wake = None;
            stats.behind = Duration::ZERO;
        }
        self.standing = standing;
    }

    async fn lead(&mut self, tick: Tick, asked: Instant) -> Pause {
        let held = Held::since(asked, self.lease, &tick);
        self.leads_until = Some(held.good_until);
        let forwarder = self.take_lead(&held);
        for queue in &tick.outboxes {
            forwarder.kick(queue.clone());
        }
        let next_wake = tick.next_wake;
        let round = Round {
            broker: &self.broker,
            held: &held,
            shared: &self.shared,
            forwarder,
            put_off: &mut self.put_off,
            known: &mut self.known,
            trouble: &mut self.amending,
        };
        let tried = round.run(tick).await;
        let is_due = |wake: Millis| wake <= held.now;
        let more =
            tried.again || next_wake == Some(Duration::ZERO) || tried.soonest.is_some_and(is_due);
        self.put_off.forget(held.now);
        // Those whose outbox is full are behind as well, and come back.
        let full = self.put_off.count(Cause::OutboxFull) != 0;
        self.catch_up
            .looked(tried.behind, tried.fired, tried.skipped, more || full);
        self.note(&held, &tried, next_wake, more);
        if tried.too_much {
            self.due_max = (self.due_max / 2).max(1);
        } else if !tried.again {
            self.due_max = self.due_max.saturating_mul(2).min(DUE_MAX);
        }
        if tried.deposed {
            // Not by an answer of its own yet; the next look tells who leads.
            return Pause::None;
        }
        if let Some(pause) = tried.trouble {
            // The lead goes on meanwhile.
            return Pause::Trouble(pause.min(self.call_max()));
        }
        let soonest = tried.soonest.map(|wake| wake.since(held.now));
        let wait = [next_wake, soonest].into_iter().flatten().min();
        if more {
            return Pause::None;
        }
        // Counted from the look: what has passed since is gone.
        let renewal = asked + self.lease / RENEWALS;
        let until = wait.map_or(renewal, |wait| renewal.min(held.made + wait));
        match until.checked_duration_since(Instant::now()) {
            Some(rest) if !rest.is_zero() => Pause::Turn(BeatRole::Leader, rest),
            _ => Pause::None,
        }
    }

    /// Begins a lead, unless it goes on.
    fn take_lead(&mut self, held: &Held) -> Forwarder<B> {
        if let Standing::Leading { epoch, forwarder } = &self.standing
            && *epoch == held.epoch
        {
            return forwarder.clone();
        }
        tracing::info!(epoch = held.epoch, beat = %self.beat, "this beat leads");
        let (broker, shared) = (self.broker.clone(), Arc::clone(&self.shared));
        let forwarder = Forwarder::new(broker, shared, self.shared.stop.child_token());
        zones::review(
            self.broker.clone(),
            held.epoch,
            forwarder.stopped(),
            &self.shared.home,
        );
        self.shared.epochs.send_replace(held.epoch);
        self.put_off = PutOff::default();
        self.known = Known::default();
        {
            let mut stats = self.shared.stats();
            stats.led += 1;
            stats.leading = Some(Leading {
                epoch: held.epoch,
                since: held.now,
            });
        }
        self.stand(Standing::Leading {
            epoch: held.epoch,
            forwarder: forwarder.clone(),
        });
        forwarder
    }

    fn note(&self, held: &Held, tried: &Tried, next_wake: Option<Duration>, more: bool) {
        let mut stats = self.shared.stats();
        stats.behind = tried.behind;
        stats.unreadable = self.put_off.count(Cause::Unreadable);
        stats.broker_error = self.amending.error();
        let next = next_wake.map(|wait| held.now.plus(wait));
        stats.next_wake = [next, tried.soonest].into_iter().flatten().min();
        if !more && !tried.deposed && tried.trouble.is_none() {
            // What was due at the look has been dealt with. Under a steady load there is always something due by now.
            stats.caught_up = Some(held.now);
        }
    }
}
