//! What each action changes.

use lovage_core::{Event, LOSSES_MAX, Place};

use crate::protocol::{Action, Books, IDENTITIES, Lease, Process, Rule, Rules, Said, State, Work};

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
                let fence = state.wires[identity]
                    .claimed
                    .take()
                    .expect("it was answered");
                state.asked[worker] = false;
                state.work[identity] = Work::Held(fence);
                if state.suspect[worker] == Some(fence) {
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
                let fence = state.wires[identity].settled.take();
                if let (Work::Settling(settling, _), Some(fence)) = (state.work[identity], fence)
                    && settling == fence
                {
                    state.work[identity] = Work::Nothing;
                }
            }
            Action::Start(worker) => {
                let identity = state.identity(worker).expect("it has one");
                let Work::Held(fence) = state.work[identity] else {
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
                state.work[identity] = Work::Running(fence);
            }
            Action::Finish(identity, said) => {
                let Work::Running(fence) = state.work[identity] else {
                    unreachable!("it runs");
                };
                state.left.failures -= u8::from(said == Said::Retry);
                let is_current = state.identity(identity / 2) == Some(identity);
                // Of an earlier identity nobody would be told.
                state.work[identity] = if is_current {
                    Work::Settling(fence, said)
                } else {
                    Work::Nothing
                };
            }
            Action::SendVerdict(worker) => {
                let identity = state.identity(worker).expect("it has one");
                let Work::Settling(fence, said) = state.work[identity] else {
                    unreachable!("it is settling");
                };
                state.wires[identity].settle = Some((fence, said));
            }
            Action::Compare(worker) => state.suspect[worker] = Some(state.books.fence),
            Action::GiveBackUnseen(worker) => {
                let identity = state.identity(worker).expect("it has one");
                let fence = state.suspect[worker].take().expect("there is a suspect");
                state.work[identity] = Work::Settling(fence, Said::Release);
            }
            Action::Claim(identity) => {
                state.wires[identity].claim = false;
                let lease = state.books.leases[identity];
                let may = lease == Lease::Live || !self.have(Rule::ClaimsNeedALease);
                if may && state.books.place == Place::Ready && 0 < state.left.claims {
                    state.left.claims -= 1;
                    state.fences += 1;
                    state.books.claims += 1;
                    state.books.go(Event::Claim);
                    state.books.holder = identity;
                    state.books.fence = if self.have(Rule::FencesAreUnique) {
                        state.fences
                    } else {
                        state.books.claims
                    };
                    if state.asked[identity / 2] && state.identity(identity / 2) == Some(identity) {
                        state.wires[identity].claimed = Some(state.books.fence);
                    }
                } else {
                    // Nothing was there: the worker asks again.
                    state.asked[identity / 2] &= state.identity(identity / 2) != Some(identity);
                }
            }
            Action::Settle(identity) => {
                let (fence, said) = state.wires[identity]
                    .settle
                    .take()
                    .expect("it is on its way");
                state.wires[identity].settled = Some(fence);
                if state
                    .books
                    .is_held(identity, fence, self.have(Rule::Fences))
                {
                    if state.work[identity] == Work::Running(state.books.fence) {
                        return Err("a verdict frees a task that runs");
                    }
                    state.books.settle(said);
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
            Action::Look(identity) => state.books.look(identity),
            Action::Due => state.books.go(Event::Due),
            Action::Cancel => {
                state.left.cancels -= 1;
                if state.books.place == Place::Active {
                    state.books.cancelled = true;
                } else {
                    state.books.go(Event::Cancel);
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

impl Books {
    fn settle(&mut self, said: Said) {
        if self.cancelled && said != Said::Done {
            return self.go(Event::Cancel);
        }
        self.go(match said {
            Said::Done => Event::Done,
            Said::Retry => Event::RetryIn,
            Said::Release => Event::Release,
        });
    }

    /// Recovery looks at an identity whose lease has ended; at the second look it takes what that holds.
    fn look(&mut self, identity: usize) {
        if self.leases[identity] == Lease::Ended {
            self.leases[identity] = Lease::Suspected;
            return;
        }
        self.leases[identity] = Lease::Dead;
        if self.place != Place::Active || self.holder != identity {
            return;
        }
        if self.cancelled {
            return self.go(Event::Cancel);
        }
        self.losses += 1;
        let buried = LOSSES_MAX <= u32::from(self.losses);
        self.go(if buried { Event::Bury } else { Event::Recover });
    }
}
