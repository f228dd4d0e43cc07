//! Names of this host's cgroups and network namespaces.

use std::num::NonZeroU32;

use rustc_hash::FxHashMap;

use crate::{
    model::{NetnsName, Owner},
    output::{Names, Naming},
    source::{cgroups::Cgroups, netns_names::NetnsNames},
};

/// Found where the rest of the process may look, which is in files that are open to everybody; names that only the thread
/// with capabilities can find come from there.
pub(super) struct HostNames {
    cgroups: Cgroups,
    namespaces: NetnsNames,
    reported: FxHashMap<NonZeroU32, NetnsName>,
}

impl HostNames {
    pub(super) fn new(cgroups: Cgroups) -> Self {
        Self { cgroups, namespaces: NetnsNames::new(), reported: FxHashMap::default() }
    }
}

impl Naming for HostNames {
    fn names(&mut self, owner: Option<&Owner>, netns: Option<NonZeroU32>) -> Names {
        let task = owner.map(|owner| owner.task);
        let cgroup = task.and_then(|task| self.cgroups.name(task.cgroup?, Some(task.pid)));
        let netns = netns
            .and_then(|netns| self.reported.get(&netns).cloned().or_else(|| self.namespaces.name(netns)));
        Names { cgroup, netns }
    }

    fn report(&mut self, namespaces: Vec<(NonZeroU32, NetnsName)>) {
        self.reported = namespaces.into_iter().collect();
    }
}
