//! Walks all states of a model, breadth first, and keeps the graph: so a way to a bad state is a shortest one, and it can
//! be asked from which states no way leads out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Debug;
use std::hash::Hash;

/// A transition system.
pub(crate) trait Model {
    type State: Copy + Eq + Hash + Debug;
    type Action: Copy + Debug;

    fn start(&self) -> Self::State;

    /// Puts what can happen in `state` into `actions`.
    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>);

    /// The state after `action`, or what must not be.
    fn step(&self, state: &Self::State, action: Self::Action) -> Result<Self::State, &'static str>;

    /// Whether nothing more is asked of `state`.
    fn is_over(&self, state: &Self::State) -> bool;
}

/// What a search has found.
#[derive(Debug)]
pub(crate) enum Found<A> {
    /// So many states, all good, and a way out of each.
    Good(usize),
    /// What must not be, and how it comes to it.
    Bad(&'static str, Vec<A>),
    /// A state that no way leads out of, and how it comes to it.
    Stuck(Vec<A>),
}

/// The most states; beyond them the bounds of a model are too wide for a test.
const STATES_MAX: usize = 6_000_000;

/// Searches all of `model`.
pub(crate) fn search<M: Model>(model: &M) -> Found<M::Action> {
    search_and_see(model, |_, _, _| {})
}

/// Searches all of `model`, and shows each step: from which state, which, and how it comes to that state.
pub(crate) fn search_and_see<M: Model>(
    model: &M,
    mut see: impl FnMut(&M::State, M::Action, &dyn Fn() -> Vec<M::Action>),
) -> Found<M::Action> {
    let start = model.start();
    let mut numbers = HashMap::from([(start, 0u32)]);
    let mut states = vec![start];
    let mut came_by: Vec<Option<(u32, M::Action)>> = vec![None];
    let mut edges: Vec<(u32, u32)> = Vec::new();
    let mut actions = Vec::new();
    let mut at = 0;
    while at < states.len() {
        let (state, from) = (states[at], number(at));
        actions.clear();
        if !model.is_over(&state) {
            model.actions(&state, &mut actions);
        }
        for &action in &actions {
            see(&state, action, &|| way(&came_by, from));
            let next = match model.step(&state, action) {
                Ok(next) => next,
                Err(text) => {
                    let mut bad = way(&came_by, from);
                    bad.push(action);
                    return Found::Bad(text, bad);
                }
            };
            let to = match numbers.entry(next) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    let to = number(states.len());
                    states.push(next);
                    came_by.push(Some((from, action)));
                    *new.insert(to)
                }
            };
            edges.push((to, from));
        }
        assert!(states.len() < STATES_MAX, "the model has too many states");
        at += 1;
    }
    let over = states.iter().map(|state| model.is_over(state)).collect();
    match first_without_a_way_out(over, edges) {
        Some(stuck) => Found::Stuck(way(&came_by, stuck)),
        None => Found::Good(states.len()),
    }
}

/// Goes back from the states that are over. `edges` lead from a state to one before it.
fn first_without_a_way_out(mut leads_out: Vec<bool>, mut edges: Vec<(u32, u32)>) -> Option<u32> {
    edges.sort_unstable();
    let mut open: Vec<u32> = (0..number(leads_out.len()))
        .filter(|state| leads_out[*state as usize])
        .collect();
    while let Some(state) = open.pop() {
        let first = edges.partition_point(|(to, _)| *to < state);
        for (_, before) in edges[first..].iter().take_while(|(to, _)| *to == state) {
            if !leads_out[*before as usize] {
                leads_out[*before as usize] = true;
                open.push(*before);
            }
        }
    }
    leads_out.iter().position(|leads| !leads).map(number)
}

fn way<A: Copy>(came_by: &[Option<(u32, A)>], mut state: u32) -> Vec<A> {
    let mut way = Vec::new();
    while let Some((before, action)) = came_by[state as usize] {
        way.push(action);
        state = before;
    }
    way.reverse();
    way
}

fn number(place: usize) -> u32 {
    u32::try_from(place).expect("there are fewer states")
}
