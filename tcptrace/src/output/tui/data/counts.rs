//! Connections per state: counted by a walk over the table, and kept by what transitions tell until the next one.

use super::super::world::{SECONDS, STATES, StateCount, place};
use crate::model::{Observation, TcpState, filter_lists::StateSet};

/// Connections per state.
///
/// A walk counts what is there. Between walks each transition moves its connection from the state that the table had it in to the
/// one that it has entered. What comes into the table or leaves it without a transition (what was open before, what is put right
/// after a loss, what there is no room for) is counted by the next walk, as is what the filter decides by what becomes known later.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Only these states are counted, as only transitions from and to them are told.
    only: Option<StateSet>,
    states: [StateCount; STATES],
}

impl Counts {
    /// Nothing yet. `only` are the states that are asked for.
    pub(super) fn new(only: Option<StateSet>) -> Self {
        Self { only, states: Default::default() }
    }

    fn count(&mut self, state: TcpState) -> Option<&mut u64> {
        let is_counted = state != TcpState::Close && self.only.is_none_or(|only| only.contains(state));
        self.states.get_mut(place(state)).filter(|_| is_counted).map(|of| &mut of.count)
    }

    /// One more transition.
    pub(super) fn add(&mut self, observed: &Observation) {
        if let Some(count) = observed.before.and_then(|before| self.count(before)) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.count(observed.transition.new) {
            *count += 1;
        }
    }

    /// What a walk has counted. Returns whether that is something else.
    pub(super) fn set(&mut self, counted: [u64; STATES]) -> bool {
        let mut is_other = false;
        for state in TcpState::ALL {
            if let (Some(count), Some(counted)) = (self.count(state), counted.get(place(state))) {
                is_other |= count != counted;
                *count = *counted;
            }
        }
        is_other
    }

    /// So many seconds are over.
    pub(super) fn seconds(&mut self, over: u64) {
        let over = usize::try_from(over).map_or(SECONDS, |over| over.min(SECONDS));
        for StateCount { count, history } in &mut self.states {
            let too_many = (history.len() + over).saturating_sub(SECONDS);
            history.drain(..too_many.min(history.len()));
            history.extend(std::iter::repeat_n(*count, over));
        }
    }

    /// All of them, by [`place`].
    pub(super) const fn states(&self) -> &[StateCount; STATES] {
        &self.states
    }
}

#[cfg(test)]
mod tests;
