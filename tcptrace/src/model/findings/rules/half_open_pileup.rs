//! `half-open-pileup`: connections stay half-open: a flood of SYNs, or third ACKs that are lost.

use super::{Confidence, Facts, Finding, Member, Rule, Severity, Subject, Sum, words};
use crate::model::{Role, TcpState};

/// By listening port; syncookies, of which nothing else is to be seen, by network namespace.
#[derive(Debug)]
pub(super) struct HalfOpenPileup;

impl Rule for HalfOpenPileup {
    fn id(&self) -> &'static str {
        "half-open-pileup"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.half_open_pileup;
        let cookies = |subject: &Subject| {
            let counters = subject.netns.and_then(|netns| facts.counters.get(&netns));
            counters.map_or(0, |counters| counters.syncookies)
        };
        let mut told = Vec::new();
        for (subject, crowd) in facts.census.in_state(TcpState::SynRecv) {
            let old = Sum::of(crowd.members.iter().filter(|member| member.is_older_than(limits.age)));
            if old.count < limits.count.max(1) {
                continue;
            }
            told.extend(subject.netns);
            let mut finding = Finding::of_sockets(self.id(), *subject, TcpState::SynRecv, &old);
            finding.count = crowd.count;
            finding.per_minute = facts.slope(subject, TcpState::SynRecv);
            finding.evidence.push(format!(
                "{} of {} for longer than {}",
                old.count,
                crowd.count,
                words::span(limits.age)
            ));
            let repeated =
                crowd.members.iter().filter(|member| member.details.is_some_and(|of| of.retransmissions > 0));
            finding.evidence.push(format!("the SYN-ACK of {} was sent again", repeated.count()));
            let peers = old.peers.len() as u64;
            finding.confidence = Confidence::Medium;
            let is_full = |member: &Member| member.details.is_some_and(|queue| queue.rqueue > queue.wqueue);
            let mut listeners = facts
                .census
                .in_state(TcpState::Listen)
                .filter(|(listener, _)| (listener.netns, listener.port) == (subject.netns, subject.port));
            finding.evidence.push(if listeners.any(|(_, crowd)| crowd.members.iter().any(is_full)) {
                "the accept queue of the port is full: third ACKs are dropped here".to_owned()
            } else if peers * 2 > old.count {
                format!("from {peers} peers: a flood of SYNs with forged addresses, or many clients behind a bad way")
            } else {
                format!("from {peers} peers: third ACKs that are lost on the way or dropped, or TCP_DEFER_ACCEPT")
            });
            let cookies = cookies(subject);
            if cookies > 0 {
                finding.severity = Severity::Critical;
                finding
                    .evidence
                    .push(format!("{cookies} SYNs were answered with cookies in this network namespace"));
            }
            found.push(finding);
        }
        for (netns, counters) in facts.counters {
            let is_ours = facts.census.namespaces.contains(netns) && !told.contains(netns);
            // By order (tcp_syncookies=2) or for want of room: which is not said, and without a pile nobody is harmed.
            if is_ours && counters.syncookies >= limits.count.max(1) {
                let subject = Subject { netns: Some(*netns), role: Some(Role::Server), ..Subject::default() };
                let mut finding = Finding::new(self.id(), subject, counters.syncookies);
                (finding.state, finding.counted) = (Some(TcpState::SynRecv), "SYNs");
                finding.confidence = Confidence::Medium;
                finding.evidence.push(format!(
                    "{} SYNs were answered with cookies in {}: nothing else is kept of these",
                    counters.syncookies,
                    words::span(facts.recent_ns)
                ));
                found.push(finding);
            }
        }
    }
}
