//! `time-wait-overflow`: there are as many time-wait sockets as there may be; the kernel does without for the next ones.

use std::num::NonZeroU32;

use rustc_hash::FxHashMap;

use super::{Facts, Finding, Rule, Subject};
use crate::model::TcpState;

/// What is counted.
const WITHOUT: &str = "connections without TIME_WAIT";

/// By the ends of connections, which have an owner, and by the kernel's own counter where they were not seen.
#[derive(Debug)]
pub(super) struct TimeWaitOverflow;

impl Rule for TimeWaitOverflow {
    fn id(&self) -> &'static str {
        "time-wait-overflow"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.time_wait_overflow;
        let most = |netns: Option<NonZeroU32>| {
            let settings = netns.and_then(|netns| facts.host.settings.get(&netns));
            let most = settings.and_then(|settings| settings.max_time_wait);
            most.map(|most| format!("net.ipv4.tcp_max_tw_buckets is {most}"))
        };
        let mut told: FxHashMap<Option<NonZeroU32>, u64> = FxHashMap::default();
        for (subject, flow) in facts.flows.owners.iter().filter(|(_, flow)| flow.time_wait_overflows > 0) {
            *told.entry(subject.netns).or_default() += flow.time_wait_overflows;
            if flow.time_wait_overflows < limits.count.max(1) {
                continue;
            }
            let finding = Finding::new(self.id(), *subject, flow.time_wait_overflows).by(flow.owner.as_ref());
            let evidence = most(subject.netns).into_iter().collect();
            found.push(Finding { state: Some(TcpState::TimeWait), counted: WITHOUT, evidence, ..finding });
        }
        for (netns, counters) in
            facts.counters.iter().filter(|(netns, _)| facts.census.namespaces.contains(*netns))
        {
            let told = told.get(&Some(*netns)).copied().unwrap_or(0);
            let more = counters.time_wait_overflows.saturating_sub(told);
            // Between a connection's end and the count of it another look may lie.
            if told > 0 || more < limits.count.max(1) {
                continue;
            }
            let subject = Subject { netns: Some(*netns), ..Subject::default() };
            let mut finding = Finding::new(self.id(), subject, more);
            (finding.state, finding.counted) = (Some(TcpState::TimeWait), WITHOUT);
            finding.evidence.push(format!(
                "TCPTimeWaitOverflow has risen by {more}; whose sockets they were is not known"
            ));
            finding.evidence.extend(most(Some(*netns)));
            found.push(finding);
        }
    }
}
