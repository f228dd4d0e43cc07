//! What is wrong, since when, and what is over.

use super::super::world::Found;
use crate::output::{
    Moment,
    findings::{Looked, Lookout, Memory, Status},
};

/// Findings that are over and remembered.
const MOST_OVER: usize = 50;

/// Findings, look after look.
#[derive(Debug, Default)]
pub(super) struct FoundBefore {
    memory: Memory,
    found: Found,
}

impl FoundBefore {
    /// Takes in what a look at `at` has shown. `lost` records were lost by then; `has_lifecycle` says whether time-wait and
    /// half-open sockets are seen.
    pub(super) fn note(
        &mut self,
        at: Moment,
        looked: Looked,
        lookout: &Lookout,
        (lost, has_lifecycle): (u64, bool),
    ) {
        let mut over = Vec::new();
        self.found.findings.clear();
        for change in self.memory.compare(at, looked.found) {
            let report = lookout.report(&change.finding, change.status);
            if change.status == Status::Gone {
                over.push((at, report));
            } else {
                self.found.findings.push((change.first, report));
            }
        }
        over.append(&mut self.found.over);
        over.truncate(MOST_OVER);
        self.found.over = over;
        self.found.looked = Some(at.ktime);
        self.found.sockets = looked.sockets;
        self.found.not_seen = lookout.not_seen(lost, has_lifecycle);
    }

    /// What is known.
    pub(super) const fn found(&self) -> &Found {
        &self.found
    }
}
