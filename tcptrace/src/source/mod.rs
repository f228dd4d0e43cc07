//! Where events come from.

pub mod cgroups;
pub mod clock;
pub mod decode;
pub mod demo;
pub mod diag;
pub mod holders;
pub mod live;
pub mod netns_names;
pub mod poll;
pub mod processes;
pub mod symbols;
pub mod sysctl;

use crate::model::{Event, KtimeNs, Lost, Stack};

/// What a source hands over at once.
#[derive(Debug, Default)]
pub struct Batch {
    /// What was lost before any of the transitions below was noticed.
    pub lost: Vec<Lost>,
    /// In the order of the kernel's ring buffer.
    pub events: Vec<Event>,
    /// Stacks of calls, each older than the event that tells of its call, which may be in a later batch.
    pub stacks: Vec<Stack>,
    /// How many transitions the first observer has missed in all; the second's reports of them, if any, were handed
    /// over with this batch or before.
    pub missed: u64,
    /// When the batch was made.
    pub taken: KtimeNs,
}

impl Batch {
    /// Empties the lists and keeps their memory.
    pub fn clear(&mut self) {
        self.lost.clear();
        self.events.clear();
        self.stacks.clear();
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.events.is_empty() && self.stacks.is_empty()
    }
}
