//! `accept-queue-overflow`: connections come faster than they are accepted; the kernel drops them.

use super::{Confidence, Facts, Finding, Rule, Severity, Subject, Sum};
use crate::model::{Role, TcpState};

/// A queue that is full now; what was dropped is counted by network namespace.
#[derive(Debug)]
pub(super) struct AcceptQueueOverflow;

impl Rule for AcceptQueueOverflow {
    fn id(&self) -> &'static str {
        "accept-queue-overflow"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.accept_queue_overflow;
        let mut told = Vec::new();
        for (subject, crowd) in facts.census.in_state(TcpState::Listen) {
            let queues = || crowd.members.iter().filter_map(|member| Some((member, member.details?)));
            // `sk_acceptq_is_full`: more than the limit.
            let full = queues().filter(|(_, queue)| queue.rqueue > queue.wqueue);
            let Some((_, queue)) = full.clone().max_by_key(|(_, queue)| queue.rqueue) else { continue };
            let counters = subject.netns.and_then(|netns| facts.counters.get(&netns));
            let dropped = counters.map_or(0, |counters| counters.listen_overflows);
            told.extend(subject.netns);
            let sum = Sum::of(full.map(|(member, _)| member));
            let mut finding = Finding::of_sockets(self.id(), *subject, TcpState::Listen, &sum);
            // The age of the listener says nothing.
            (finding.oldest_ns, finding.oldest_is_at_least) = (None, false);
            (finding.count, finding.counted) = (queue.rqueue.into(), "connections that wait");
            finding.evidence.push(format!("{} wait to be accepted, {} may", queue.rqueue, queue.wqueue));
            if dropped >= limits.dropped.max(1) {
                finding.severity = Severity::Critical;
                finding
                    .evidence
                    .push(format!("{dropped} dropped in this network namespace (ListenOverflows)"));
            }
            found.push(finding);
        }
        for (netns, counters) in facts.counters {
            let is_ours = facts.census.namespaces.contains(netns) && !told.contains(netns);
            if is_ours && counters.listen_overflows >= limits.dropped.max(1) {
                let subject = Subject { netns: Some(*netns), role: Some(Role::Server), ..Subject::default() };
                let mut finding = Finding::new(self.id(), subject, counters.listen_overflows);
                (finding.state, finding.counted) = (Some(TcpState::Listen), "connections dropped");
                finding.confidence = Confidence::Medium;
                finding.evidence.push(format!(
                    "ListenOverflows has risen by {}; no queue was full at the moment of a look",
                    counters.listen_overflows
                ));
                found.push(finding);
            }
        }
    }
}
