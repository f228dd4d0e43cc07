//! Sockets that wait for the acknowledgement of their FIN.

use super::{Facts, Finding, Member, Sum, words};
use crate::model::TcpState;

/// How long, how many, or how often in vain.
pub(super) struct Limits {
    pub(super) age: u64,
    pub(super) count: u64,
    pub(super) retransmissions: u64,
}

/// A warning for each subject that has too many.
pub(super) fn look(
    rule: &'static str,
    state: TcpState,
    limits: &Limits,
    facts: &Facts<'_>,
    found: &mut Vec<Finding>,
) {
    for (subject, crowd) in facts.census.in_state(state) {
        let sent_again =
            |member: &Member| member.details.map_or(0, |details| u64::from(details.retransmissions));
        let is_stuck = |member: &&Member| {
            member.is_older_than(limits.age) || sent_again(member) >= limits.retransmissions.max(1)
        };
        let stuck = Sum::of(crowd.members.iter().filter(is_stuck));
        if stuck.count < limits.count.max(1) {
            continue;
        }
        let mut finding = Finding::of_sockets(rule, *subject, state, &stuck);
        // That of all is not that of those that are stuck.
        finding.per_minute = facts.slope(subject, state).filter(|_| stuck.count == crowd.count);
        let old = crowd.members.iter().filter(|member| member.is_older_than(limits.age)).count();
        finding.evidence.push(format!(
            "{old} of {} for longer than {}",
            crowd.count,
            words::span(limits.age)
        ));
        let most = crowd.members.iter().filter(is_stuck).map(sent_again).max().unwrap_or(0);
        if most > 0 {
            finding.evidence.push(format!("sent again up to {most} times without an answer"));
        }
        let unsent: u64 = crowd
            .members
            .iter()
            .filter(is_stuck)
            .filter_map(|member| member.details)
            .map(|details| u64::from(details.wqueue))
            .sum();
        // The FIN itself counts as one.
        if unsent > stuck.count {
            finding
                .evidence
                .push(format!("{unsent} bytes are not acknowledged: the peer is gone, or does not read"));
        }
        if let [(peer, count), ..] = stuck.peers[..]
            && count * 2 >= stuck.count
        {
            finding.evidence.push(format!("{count} of them to {peer}"));
        }
        found.push(finding);
    }
}
