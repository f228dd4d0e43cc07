//! `fin-wait2-stuck`: we have closed, and the peer does not.

use rustc_hash::FxHashMap;

use super::{Culprit, Facts, Finding, Rule, Sum, words};
use crate::model::TcpState;

/// Those that a process holds: what it has closed ends by itself (`tcp_fin_timeout`).
#[derive(Debug)]
pub(super) struct FinWait2Stuck;

impl Rule for FinWait2Stuck {
    fn id(&self) -> &'static str {
        "fin-wait2-stuck"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.fin_wait2_stuck;
        for (subject, crowd) in facts.census.in_state(TcpState::FinWait2) {
            let held = || {
                crowd.members.iter().filter(|member| {
                    member.details.is_some_and(|details| details.has_file) && member.is_older_than(limits.age)
                })
            };
            let old = Sum::of(held());
            if old.count < limits.count.max(1) {
                continue;
            }
            let mut finding = Finding::of_sockets(self.id(), *subject, TcpState::FinWait2, &old);
            finding.per_minute =
                facts.slope(subject, TcpState::FinWait2).filter(|_| old.count == crowd.count);
            finding.evidence.push(format!("{} for longer than {}", old.count, words::span(limits.age)));
            let mut culprits: FxHashMap<_, (Culprit, u64)> = FxHashMap::default();
            for member in held() {
                let Some(end) = facts.census.other_end(subject.netns, member.local, member.remote) else {
                    continue;
                };
                let culprit =
                    Culprit { pid: end.pid, comm: end.subject.comm, port: subject.port, state: end.state };
                culprits.entry((end.pid, end.state)).or_insert((culprit, 0)).1 += 1;
            }
            if let Some((culprit, count)) =
                culprits.into_values().max_by_key(|(culprit, count)| (*count, culprit.pid))
            {
                finding.culprit = Some(culprit);
                finding.evidence.push(format!(
                    "the other end of {count} is on this host, in {}: its process does not close",
                    culprit.state.name()
                ));
            }
            found.push(finding);
        }
    }
}
