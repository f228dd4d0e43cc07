//! Which finding is selected, while the list changes under it.

use std::{
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32},
};

use super::{detail::Entry, list};
use crate::output::{findings::FindingReport, tui::world::Found};

/// What a finding is known by, from one look to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selected {
    since: i128,
    is_over: bool,
    whose: Whose,
}

/// A rule and whom it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Whose {
    rule: &'static str,
    comm: Option<String>,
    cgroup: Option<String>,
    netns: Option<NonZeroU32>,
    port: Option<NonZeroU16>,
    role: Option<&'static str>,
    peer: Option<IpAddr>,
}

impl Whose {
    fn of(finding: &FindingReport) -> Self {
        Self {
            rule: finding.rule,
            comm: finding.comm.clone(),
            cgroup: finding.cgroup.clone(),
            netns: finding.netns,
            port: finding.port,
            role: finding.role,
            peer: finding.peer,
        }
    }
}

impl Selected {
    /// Of a row.
    pub(super) fn of(entry: &Entry<'_>) -> Self {
        Self { since: entry.since.unix_ns, is_over: entry.is_over, whose: Whose::of(entry.finding) }
    }

    /// Whether both are the same rule's about the same.
    pub(super) fn is_about_the_same(&self, other: &Self) -> bool {
        self.whose == other.whose
    }

    /// Where it is now: itself, or what is found of the same, or that it is over.
    pub(super) fn row(&self, found: &Found) -> Option<usize> {
        let find = |fits: &dyn Fn(&Entry<'_>) -> bool| {
            (0..list::len(found)).find(|row| list::entry(found, *row).is_some_and(|entry| fits(&entry)))
        };
        let is_it = |entry: &Entry<'_>| entry.since.unix_ns == self.since && entry.is_over == self.is_over;
        let is_the_same = |entry: &Entry<'_>| Whose::of(entry.finding) == self.whose;
        find(&|entry| is_it(entry) && is_the_same(entry)).or_else(|| find(&is_the_same))
    }
}
