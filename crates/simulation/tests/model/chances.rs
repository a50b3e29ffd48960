//! What can happen next: to a worker, at the broker, and against both.

use lovage_core::Place;

use crate::protocol::{Action, Lease, Process, Rule, Rules, Said, State, WORKERS, Work};

impl Rules {
    pub(super) fn of_workers(&self, state: &State, actions: &mut Vec<Action>) {
        for worker in 0..WORKERS {
            if state.processes[worker] != Process::Up {
                continue;
            }
            // What an earlier identity has begun goes on.
            for identity in 2 * worker..2 * worker + 2 {
                if let Work::Running(_) = state.work[identity] {
                    let said = [Said::Done, Said::Retry, Said::Release];
                    let may = |said: &Said| *said != Said::Retry || 0 < state.left.failures;
                    actions.extend(
                        said.iter()
                            .filter(|s| may(s))
                            .map(|s| Action::Finish(identity, *s)),
                    );
                }
            }
            let Some(identity) = state.identity(worker) else {
                continue;
            };
            let (wire, work) = (state.wires[identity], state.work[identity]);
            let good = state.good[worker] || !self.have(Rule::Deadline);
            if state.books.leases[identity] == Lease::Unknown {
                actions.push(Action::Register(worker));
                continue;
            }
            if good
                && work == Work::Nothing
                && !state.asked[worker]
                && !wire.claim
                && 0 < state.left.claims
            {
                actions.push(Action::AskClaim(worker));
            }
            if !wire.renew && wire.renewed.is_none() {
                actions.push(Action::AskRenewal(worker));
            }
            if state.asked[worker] {
                actions.push(Action::GiveUpClaim(worker));
            }
            if wire.claimed.is_some() && state.asked[worker] {
                actions.push(Action::HearClaim(worker));
            }
            if wire.renewed.is_some() {
                actions.push(Action::HearRenewal(worker));
            }
            if wire.settled.is_some() {
                actions.push(Action::HearSettled(worker));
            }
            match work {
                Work::Held(_) if good => actions.push(Action::Start(worker)),
                Work::Settling(..) if good && wire.settle.is_none() => {
                    actions.push(Action::SendVerdict(worker));
                }
                _ => {}
            }
            if self.have(Rule::Comparison) && good && work == Work::Nothing {
                let unseen = state.books.held_by(identity);
                if unseen.is_some() && state.suspect[worker] != unseen {
                    actions.push(Action::Compare(worker));
                }
                if state.suspect[worker].is_some() && !state.asked[worker] {
                    actions.push(Action::GiveBackUnseen(worker));
                }
            }
        }
    }
}

pub(super) fn of_the_broker(state: &State, actions: &mut Vec<Action>) {
    for (identity, wire) in state.wires.iter().enumerate() {
        if wire.claim && wire.claimed.is_none() {
            actions.push(Action::Claim(identity));
        }
        if wire.settle.is_some() {
            actions.push(Action::Settle(identity));
        }
        if wire.renew {
            actions.push(Action::Renew(identity));
        }
    }
    let lapsed = |lease: &Lease| matches!(lease, Lease::Ended | Lease::Suspected);
    if state.books.leases.iter().any(lapsed) {
        actions.push(Action::Look);
    }
    for (number, task) in state.books.tasks.iter().enumerate() {
        if task.place == Place::Scheduled {
            actions.push(Action::Due(number));
        }
        if 0 < state.left.cancels && !task.cancelled && task.place != Place::Gone {
            actions.push(Action::Cancel(number));
        }
        if 0 < state.left.sends && task.place == Place::Gone {
            actions.push(Action::Send(number));
        }
        if 0 < state.left.revives && task.place == Place::Dead {
            actions.push(Action::Revive(number));
        }
    }
}

pub(super) fn of_faults(state: &State, actions: &mut Vec<Action>) {
    for (identity, wire) in state.wires.iter().enumerate() {
        if wire.claim {
            actions.push(Action::LoseClaim(identity));
        }
        if wire.settle.is_some() {
            actions.push(Action::LoseSettle(identity));
        }
        if wire.claimed.is_some() || wire.settled.is_some() || wire.renewed.is_some() {
            actions.push(Action::LoseAnswers(identity));
        }
        let keeps = state.processes[identity / 2] == Process::Up
            && state.identity(identity / 2) == Some(identity);
        if state.books.leases[identity] == Lease::Live && (!keeps || 0 < state.left.lapses) {
            actions.push(Action::LeaseEnds(identity));
        }
    }
    for worker in 0..WORKERS {
        match state.processes[worker] {
            Process::Up if 0 < state.left.freezes => actions.push(Action::Freeze(worker)),
            Process::Frozen => actions.push(Action::Thaw(worker)),
            _ => {}
        }
        if state.processes[worker] != Process::Down && 0 < state.left.crashes {
            actions.push(Action::Crash(worker));
        }
    }
    if 0 < state.left.rewinds {
        match state.replica {
            None => actions.push(Action::Replicate),
            Some(_) => actions.push(Action::Rewind),
        }
    }
}
