//! What each action changes.

use lovage_core::{Event, LOSSES_MAX, Place};

use crate::protocol::{
    Action, Books, GONE, Hand, IDENTITIES, Lease, Process, Rule, Rules, Said, State, TASKS, Task,
    Work,
};

impl Rules {
    #[expect(
        clippy::too_many_lines,
        reason = "one line or a few an action: a table"
    )]
    pub(super) fn apply(&self, state: &mut State, action: Action) -> Result<(), &'static str> {
        match action {
            Action::Register(worker) => {
                let identity = state.identity(worker).expect("it has one");
                state.books.leases[identity] = Lease::Live;
                state.good[worker] = true;
            }
            Action::AskClaim(worker) => {
                state.wires[state.identity(worker).expect("it has one")].claim = true;
                state.asked[worker] = true;
            }
            Action::AskRenewal(worker) => {
                state.wires[state.identity(worker).expect("it has one")].renew = true;
            }
            Action::GiveUpClaim(worker) => {
                // The request may still be on its way; its answer finds nobody.
                state.wires[state.identity(worker).expect("it has one")].claimed = None;
                state.asked[worker] = false;
            }
            Action::HearClaim(worker) => {
                let identity = state.identity(worker).expect("it has one");
                let hand = state.wires[identity]
                    .claimed
                    .take()
                    .expect("it was answered");
                state.asked[worker] = false;
                state.work[identity] = Work::Held(hand);
                if state.suspect[worker] == Some(hand) {
                    state.suspect[worker] = None;
                }
            }
            Action::HearRenewal(worker) => {
                let identity = state.identity(worker).expect("it has one");
                if state.wires[identity].renewed.take() == Some(true) {
                    state.good[worker] = true;
                } else {
                    state.take_next_identity(worker);
                }
            }
            Action::HearSettled(worker) => {
                let identity = state.identity(worker).expect("it has one");
                let settled = state.wires[identity].settled.take();
                if let Work::Settling(settling, _) = state.work[identity]
                    && settled == Some(settling)
                {
                    state.work[identity] = Work::Nothing;
                }
            }
            Action::Start(worker) => {
                let identity = state.identity(worker).expect("it has one");
                let Work::Held(hand) = state.work[identity] else {
                    unreachable!("it is held");
                };
                let elsewhere = (0..IDENTITIES).filter(|other| *other != identity);
                for other in elsewhere {
                    let runs = matches!(state.work[other], Work::Running(_));
                    // A broker that has forgotten a claim knows nothing of its run.
                    let forgets = 0 < self.faults.rewinds;
                    if runs && state.books.leases[other] == Lease::Live && !forgets {
                        return Err("a second run begins under a live lease");
                    }
                }
                state.work[identity] = Work::Running(hand);
            }
            Action::Finish(identity, said) => {
                let Work::Running(hand) = state.work[identity] else {
                    unreachable!("it runs");
                };
                state.left.failures -= u8::from(said == Said::Retry);
                let is_current = state.identity(identity / 2) == Some(identity);
                // Of an earlier identity nobody would be told.
                state.work[identity] = if is_current {
                    Work::Settling(hand, said)
                } else {
                    Work::Nothing
                };
            }
            Action::SendVerdict(worker) => {
                let identity = state.identity(worker).expect("it has one");
                let Work::Settling(hand, said) = state.work[identity] else {
                    unreachable!("it is settling");
                };
                state.wires[identity].settle = Some((hand, said));
            }
            Action::Compare(worker) => {
                let identity = state.identity(worker).expect("it has one");
                state.suspect[worker] = state.books.held_by(identity);
            }
            Action::GiveBackUnseen(worker) => {
                let identity = state.identity(worker).expect("it has one");
                let hand = state.suspect[worker].take().expect("there is a suspect");
                state.work[identity] = Work::Settling(hand, Said::Release);
            }
            Action::Claim(identity) => {
                state.wires[identity].claim = false;
                let lease = state.books.leases[identity];
                let may = lease == Lease::Live || !self.have(Rule::ClaimsNeedALease);
                let is_ready = |task: &usize| state.books.tasks[*task].place == Place::Ready;
                let ready = (0..TASKS).find(is_ready);
                if let Some(task) = ready.filter(|_| may && 0 < state.left.claims) {
                    state.left.claims -= 1;
                    state.fences += 1;
                    state.books.claims += 1;
                    let fence = if self.have(Rule::FencesAreUnique) {
                        state.fences
                    } else {
                        state.books.claims
                    };
                    state.books.go(task, Event::Claim);
                    state.books.tasks[task].holder = identity;
                    state.books.tasks[task].fence = fence;
                    if !self.have(Rule::KeysLast) {
                        state.books.key = None;
                    }
                    if state.asked[identity / 2] && state.identity(identity / 2) == Some(identity) {
                        state.wires[identity].claimed = Some(Hand { task, fence });
                    }
                } else {
                    // Nothing was there: the worker asks again.
                    state.asked[identity / 2] &= state.identity(identity / 2) != Some(identity);
                }
            }
            Action::Settle(identity) => {
                let (hand, said) = state.wires[identity]
                    .settle
                    .take()
                    .expect("it is on its way");
                state.wires[identity].settled = Some(hand);
                if state.books.is_held(identity, hand, self.have(Rule::Fences)) {
                    let fence = state.books.tasks[hand.task].fence;
                    if state.work[identity] == Work::Running(Hand { fence, ..hand }) {
                        return Err("a verdict frees a task that runs");
                    }
                    self.settle(&mut state.books, hand.task, said);
                }
            }
            Action::Renew(identity) => {
                state.wires[identity].renew = false;
                let lease = &mut state.books.leases[identity];
                let lives = match *lease {
                    Lease::Unknown | Lease::Dead => false,
                    Lease::Live | Lease::Ended | Lease::Suspected => true,
                };
                if lives {
                    *lease = Lease::Live;
                }
                state.wires[identity].renewed = Some(lives);
            }
            Action::Look => {
                for identity in 0..IDENTITIES {
                    self.look(&mut state.books, identity);
                }
            }
            Action::Due(task) => state.books.go(task, Event::Due),
            Action::Send(task) => {
                state.left.sends -= 1;
                if state.books.key.is_none() {
                    state.books.tasks[task].place = Place::Ready;
                    state.books.key = Some(task);
                }
            }
            Action::Cancel(task) => {
                state.left.cancels -= 1;
                if state.books.tasks[task].place == Place::Active {
                    state.books.tasks[task].cancelled = true;
                } else {
                    self.end(&mut state.books, task, Event::Cancel);
                }
            }
            Action::Revive(task) => {
                state.left.revives -= 1;
                if state.books.key.is_none() {
                    state.books.go(task, Event::Revive);
                    state.books.tasks[task].losses = 0;
                    state.books.key = Some(task);
                }
            }
            Action::LoseClaim(identity) => state.wires[identity].claim = false,
            Action::LoseSettle(identity) => state.wires[identity].settle = None,
            Action::LoseAnswers(identity) => {
                let wire = &mut state.wires[identity];
                (wire.claimed, wire.settled, wire.renewed) = (None, None, None);
            }
            Action::LeaseEnds(identity) => {
                let worker = identity / 2;
                let is_up = state.processes[worker] == Process::Up;
                let is_current = state.identity(worker) == Some(identity);
                state.left.lapses -= u8::from(is_up && is_current);
                state.books.leases[identity] = Lease::Ended;
                // The answer on its way is to a renewal that was sent before all this.
                if state.wires[identity].renewed == Some(true) {
                    state.wires[identity].renewed = None;
                }
                if is_current {
                    state.good[worker] = false;
                }
            }
            Action::Freeze(worker) => {
                state.left.freezes -= 1;
                state.processes[worker] = Process::Frozen;
            }
            Action::Thaw(worker) => state.processes[worker] = Process::Up,
            Action::Crash(worker) => {
                state.left.crashes -= 1;
                state.work[2 * worker] = Work::Nothing;
                state.work[2 * worker + 1] = Work::Nothing;
                if state.identity(worker).is_some() {
                    state.take_next_identity(worker);
                }
                state.processes[worker] = Process::Up;
                if state.identity(worker).is_none() {
                    state.processes[worker] = Process::Down;
                }
            }
            Action::Replicate => state.replica = Some(state.books),
            Action::Rewind => {
                state.left.rewinds -= 1;
                state.books = state.replica.take().expect("there is a replica");
            }
        }
        Ok(())
    }
}

impl Rules {
    fn settle(&self, books: &mut Books, task: usize, said: Said) {
        match said {
            Said::Done => self.end(books, task, Event::Done),
            _ if books.tasks[task].cancelled => self.end(books, task, Event::Cancel),
            Said::Retry => books.go(task, Event::RetryIn),
            Said::Release => books.go(task, Event::Release),
        }
    }

    /// A task ends, and its key is free.
    fn end(&self, books: &mut Books, task: usize, event: Event) {
        books.go(task, event);
        if books.tasks[task].place == Place::Gone {
            books.tasks[task] = GONE;
        }
        if books.key == Some(task) && self.have(Rule::KeysEnd) {
            books.key = None;
        }
    }

    /// Recovery looks at an identity; where it finds the same lease ended twice, it takes what that holds.
    fn look(&self, books: &mut Books, identity: usize) {
        match books.leases[identity] {
            Lease::Ended => books.leases[identity] = Lease::Suspected,
            Lease::Suspected => books.leases[identity] = Lease::Dead,
            Lease::Unknown | Lease::Live | Lease::Dead => return,
        }
        let is_dead = books.leases[identity] == Lease::Dead;
        let Some(hand) = books.held_by(identity).filter(|_| is_dead) else {
            return;
        };
        let Task {
            cancelled, losses, ..
        } = &mut books.tasks[hand.task];
        if *cancelled {
            return self.end(books, hand.task, Event::Cancel);
        }
        *losses += 1;
        if LOSSES_MAX <= u32::from(*losses) {
            self.end(books, hand.task, Event::Bury);
        } else {
            books.go(hand.task, Event::Recover);
        }
    }
}
