//! The deliveries that this worker holds, from the claim's answer to the settlement's.

use std::sync::Arc;
use std::time::Instant;

use lovage_core::{Ack, CancellationToken, Fence, Lane, TaskContext, TaskId};
use tokio::task::JoinHandle;

use crate::reporter::Listed;
use crate::run::Start;
use crate::tenure::Tenure;

/// A delivery's place in the table; used again only after its settlement was answered.
pub(crate) type Place = u32;

/// One delivery.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) queue: usize,
    pub(crate) tenure: Arc<Tenure>,
    pub(crate) id: TaskId,
    pub(crate) fence: Fence,
    pub(crate) ack: Ack,
    pub(crate) stage: Stage,
    /// Its run shall end: what comes of it then is given back, not counted as an attempt.
    pub(crate) interrupted: bool,
    /// When the claim's answer came.
    pub(crate) since: Instant,
    /// Whether its end as a dead letter owes a callback.
    pub(crate) calls_back: bool,
}

/// How far a delivery has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// In a lane, for a slot.
    Waiting(CancellationToken),
    /// On a lane.
    Running {
        context: TaskContext,
        task: JoinHandle<()>,
        lane: Lane,
        start: Arc<Start>,
        began: Instant,
    },
    /// Its verdict is known, and the broker has not confirmed it.
    Settling,
}

impl Held {
    /// Asks its run to end. One that has not started will not.
    pub(crate) fn interrupt(&mut self) {
        self.interrupted = true;
        match &self.stage {
            Stage::Waiting(token) => token.cancel(),
            Stage::Running { context, .. } => context.cancellation().cancel(),
            Stage::Settling => {}
        }
    }

    pub(crate) fn is_unfinished(&self) -> bool {
        !matches!(self.stage, Stage::Settling)
    }
}

/// All of them, by place.
#[derive(Debug, Default)]
pub(crate) struct Table {
    places: Vec<Option<Held>>,
    free: Vec<Place>,
    unfinished: usize,
}

impl Table {
    pub(crate) fn insert(&mut self, held: Held) -> Place {
        self.unfinished += usize::from(held.is_unfinished());
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(held);
            return place;
        }
        self.places.push(Some(held));
        Place::try_from(self.places.len() - 1)
            .expect("the table is bounded by what a worker may hold")
    }

    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut Held> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// Notes that the verdict is known.
    pub(crate) fn settling(&mut self, place: Place) -> Option<&mut Held> {
        let held = self.places.get_mut(place as usize)?.as_mut()?;
        if held.is_unfinished() {
            self.unfinished -= 1;
            held.stage = Stage::Settling;
        }
        Some(held)
    }

    pub(crate) fn remove(&mut self, place: Place) -> Option<Held> {
        let held = self.places.get_mut(place as usize)?.take()?;
        self.unfinished -= usize::from(held.is_unfinished());
        self.free.push(place);
        Some(held)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place, &Held)> {
        let places = (0..).zip(&self.places);
        places.filter_map(|(place, held)| Some((place, held.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Place, &mut Held)> {
        let places = (0..).zip(&mut self.places);
        places.filter_map(|(place, held)| Some((place, held.as_mut()?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What runs now.
    pub(crate) fn running(&self) -> Vec<Listed> {
        let places = self.places.iter().flatten();
        let running = places.filter_map(|held| match &held.stage {
            Stage::Running { context, began, .. } => Some(Listed {
                worker: held.tenure.worker,
                began: *began,
                context: context.downgrade(),
            }),
            Stage::Waiting(_) | Stage::Settling => None,
        });
        running.collect()
    }

    /// How many have no verdict yet.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }
}
