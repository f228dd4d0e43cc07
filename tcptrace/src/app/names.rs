//! Names of this host's cgroups and network namespaces.

use std::num::{NonZeroU32, NonZeroU64};

use rustc_hash::FxHashMap;

use crate::{
    model::{KtimeNs, NetnsName, Owner},
    output::{Names, Naming},
    source::{cgroups::Cgroups, clock, netns_names::NetnsNames},
};

/// What names are asked for: namespace, cgroup and a process in it.
type Question = (Option<NonZeroU32>, Option<(NonZeroU64, NonZeroU32)>);

/// For how long an answer is given again without a look: events come in bursts.
const FRESH_NS: u64 = 100_000_000;

/// Answers that are kept.
const MAX_ANSWERS: usize = 4096;

/// Found where the rest of the process may look, which is in files that are open to everybody; names that only the thread
/// with capabilities can find come from there.
pub(super) struct HostNames {
    cgroups: Cgroups,
    namespaces: NetnsNames,
    reported: FxHashMap<NonZeroU32, NetnsName>,
    answers: FxHashMap<Question, Names>,
    /// When they were begun to be collected.
    answered: KtimeNs,
}

impl HostNames {
    pub(super) fn new(cgroups: Cgroups) -> Self {
        Self {
            cgroups,
            namespaces: NetnsNames::new(),
            reported: FxHashMap::default(),
            answers: FxHashMap::default(),
            answered: KtimeNs(0),
        }
    }

    fn find(&mut self, (netns, cgroup): Question) -> Names {
        let cgroup = cgroup.and_then(|(id, pid)| self.cgroups.name(id, Some(pid)));
        let netns = netns
            .and_then(|netns| self.reported.get(&netns).cloned().or_else(|| self.namespaces.name(netns)));
        Names { cgroup, netns }
    }
}

impl Naming for HostNames {
    fn begin(&mut self) {
        let now = clock::now();
        if now.since(self.answered).is_none_or(|age| age > FRESH_NS) || self.answers.len() > MAX_ANSWERS {
            self.answers.clear();
            self.answered = now;
        }
    }

    fn names(&mut self, owner: Option<&Owner>, netns: Option<NonZeroU32>) -> &Names {
        let question = (netns, owner.and_then(|owner| Some((owner.task.cgroup?, owner.task.pid))));
        let names = (!self.answers.contains_key(&question)).then(|| self.find(question));
        let answer = self.answers.entry(question);
        answer.or_insert_with(|| names.unwrap_or_default())
    }

    fn report(&mut self, namespaces: Vec<(NonZeroU32, NetnsName)>) {
        self.reported = namespaces.into_iter().collect();
        self.answers.clear();
    }
}
