//! Processes that are asked for, with the children that they make.

use std::num::NonZeroU32;

use hashlink::LinkedHashMap;
use rustc_hash::{FxBuildHasher, FxHashSet};

use super::{
    event::{Forked, ProcessStart, Task},
    filter_lists::PidList,
};

/// Children that are remembered, with those that have ended.
const MAX_CHILDREN: usize = 65_536;

/// A set of processes.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    /// The oldest first; `None` where the start is not known.
    members: LinkedHashMap<NonZeroU32, Option<ProcessStart>, FxBuildHasher>,
    /// Processes whose children alone are in the set.
    parents: FxHashSet<NonZeroU32>,
    /// Processes that members come from: what those listen on, members may accept.
    ancestors: FxHashSet<NonZeroU32>,
}

impl PartialEq for Processes {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members && self.parents == other.parents && self.ancestors == other.ancestors
    }
}

impl Eq for Processes {}

impl From<&PidList> for Processes {
    fn from(list: &PidList) -> Self {
        let members = list.pids().iter().map(|pid| (*pid, None)).collect();
        Self { members, ..Self::default() }
    }
}

impl Processes {
    /// Those that this process will make, and not itself.
    pub fn children_of(parent: NonZeroU32) -> Self {
        Self { parents: [parent].into_iter().collect(), ..Self::default() }
    }

    /// Adds a process.
    pub fn insert(&mut self, pid: NonZeroU32, started: Option<ProcessStart>) {
        self.members.insert(pid, started);
    }

    /// Adds one that a member comes from.
    pub fn insert_ancestor(&mut self, pid: NonZeroU32) {
        self.ancestors.insert(pid);
    }

    /// Every member.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (NonZeroU32, Option<ProcessStart>)> {
        self.members.iter().map(|(pid, started)| (*pid, *started))
    }

    /// Every process whose children alone are in the set.
    pub fn parents(&self) -> impl ExactSizeIterator<Item = NonZeroU32> {
        self.parents.iter().copied()
    }

    /// A process has made another one.
    pub fn forked(&mut self, event: &Forked) {
        if self.members.contains_key(&event.parent) || self.parents.contains(&event.parent) {
            self.members.insert(event.child, event.started);
            if self.members.len() > MAX_CHILDREN {
                self.members.pop_front();
            }
        }
    }

    /// Whether it is in the set. A process that has the number of one that ended is another one.
    pub fn contains(&self, task: &Task) -> bool {
        self.members
            .get(&task.pid)
            .is_some_and(|started| started.is_none() || task.started.is_none() || *started == task.started)
    }

    /// Whether all members are younger than tracing: whatever they own, they were seen to make, or their listeners were.
    pub fn are_new(&self) -> bool {
        !self.parents.is_empty()
    }

    /// Whether a member may accept what this process listens on: it has made the member.
    pub fn may_inherit_from(&self, task: &Task) -> bool {
        self.contains(task) || self.ancestors.contains(&task.pid) || self.parents.contains(&task.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Comm, KtimeNs};

    fn pid(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).expect("is not 0")
    }

    fn task(number: u32, ticks: u64) -> Task {
        let started = ProcessStart::from_ticks(ticks);
        Task { pid: pid(number), tid: pid(number), comm: Comm::default(), started, cgroup: None }
    }

    fn forked(parent: u32, child: u32, ticks: u64) -> Forked {
        let started = ProcessStart::from_ticks(ticks);
        Forked { ts: KtimeNs(0), parent: pid(parent), child: pid(child), started }
    }

    #[test]
    fn children_of_members_are_members_and_a_number_that_is_given_again_is_not() {
        let mut processes = Processes::from(&"10".parse::<PidList>().expect("is a list"));
        processes.forked(&forked(10, 11, 500));
        processes.forked(&forked(11, 12, 501));
        processes.forked(&forked(20, 21, 502));
        assert!(processes.contains(&task(10, 1)) && processes.contains(&task(12, 501)));
        assert!(!processes.contains(&task(12, 777)) && !processes.contains(&task(21, 502)));
        processes.insert_ancestor(pid(9));
        assert!(processes.may_inherit_from(&task(9, 3)) && !processes.contains(&task(9, 3)));
    }

    #[test]
    fn a_parent_whose_children_alone_are_asked_for_is_no_member() {
        let mut processes = Processes::children_of(pid(5));
        assert!(!processes.contains(&task(5, 1)));
        processes.forked(&forked(5, 6, 2));
        assert!(processes.contains(&task(6, 2)) && processes.may_inherit_from(&task(5, 1)));
    }

    #[test]
    fn a_host_that_forks_for_ever_does_not_fill_the_memory() {
        let mut processes = Processes::children_of(pid(5));
        for number in 0..u32::try_from(MAX_CHILDREN).expect("fits") + 10 {
            processes.forked(&forked(5, 100 + number, 1));
        }
        assert_eq!(processes.members().len(), MAX_CHILDREN);
    }
}
