//! Transitions by kind.

use super::super::world::{Arrow, STATES, place};
use crate::model::{Observation, TcpState, histogram::Histograms};

/// How often each transition was told, and how long the stays before it were when that was last added up.
#[derive(Clone, Debug)]
pub(super) struct Arrows {
    counts: [[u64; STATES]; STATES],
    medians: [[Option<u64>; STATES]; STATES],
    list: Vec<Arrow>,
    /// How many there had been in all when medians were added up.
    added_up: u64,
}

impl Default for Arrows {
    fn default() -> Self {
        Self {
            counts: [[0; STATES]; STATES],
            medians: [[None; STATES]; STATES],
            list: Vec::new(),
            added_up: 0,
        }
    }
}

impl Arrows {
    /// One more.
    pub(super) fn add(&mut self, observed: &Observation) {
        let (from, to) = (place(observed.transition.old), place(observed.transition.new));
        if let Some(count) = self.counts.get_mut(from).and_then(|from| from.get_mut(to)) {
            *count += 1;
        }
    }

    /// Adds the stays on all ports up, which takes longer the more ports there are.
    pub(super) fn add_up(&mut self, histograms: &Histograms) {
        let all = self.counts.iter().flatten().sum();
        if std::mem::replace(&mut self.added_up, all) != all {
            for (from, to, arrow) in histograms.all().arrows() {
                let medians = self.medians.get_mut(place(from));
                if let Some(median) = medians.and_then(|medians| medians.get_mut(place(to))) {
                    *median = arrow.stays.quantile(0.5);
                }
            }
        }
        self.refresh();
    }

    /// Makes the list of those that there were, in the order of a life.
    pub(super) fn refresh(&mut self) {
        self.list.clear();
        // What begins a life comes first.
        let order = std::iter::once(TcpState::Close)
            .chain(TcpState::IN_LIFE.into_iter().filter(|state| *state != TcpState::Close));
        for (from, to) in order.flat_map(|from| TcpState::IN_LIFE.map(|to| (from, to))) {
            let at = |table: &[[u64; STATES]; STATES]| table.get(place(from))?.get(place(to)).copied();
            if let Some(count @ 1..) = at(&self.counts) {
                let p50_ns = self.medians.get(place(from)).and_then(|of| *of.get(place(to))?);
                self.list.push(Arrow { from, to, count, p50_ns });
            }
        }
    }

    /// That list.
    pub(super) fn list(&self) -> &[Arrow] {
        &self.list
    }
}
