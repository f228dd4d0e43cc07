//! `port-reuse-collision`: a new connection takes the addresses and ports of one that is not over at the other end.

use rustc_hash::FxHashMap;

use super::{Apart, Confidence, Culprit, Facts, Finding, Member, Rule, Severity, Subject, Sum, words};
use crate::model::TcpState;

/// For how long after its end a tuple may still be alive at the other end: twice what TIME_WAIT lasts.
const MEMORY_NS: u64 = 120_000_000_000;

/// SYN_SENT for longer than a round trip.
#[derive(Debug)]
pub(super) struct PortReuseCollision;

type Collision<'a> = (Vec<&'a Member>, Option<Culprit>, u64);

impl Rule for PortReuseCollision {
    fn id(&self) -> &'static str {
        "port-reuse-collision"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.port_reuse_collision;
        for (subject, crowd) in facts.census.in_state(TcpState::SynSent) {
            // With the longest time since the end where the other end is not on this host.
            let mut collisions: FxHashMap<(Subject, Option<TcpState>), Collision<'_>> = FxHashMap::default();
            for member in crowd.members.iter().filter(|member| member.is_older_than(limits.age)) {
                let peer = subject.with_peer(member.remote.addr);
                let end = facts.census.other_end(subject.netns, member.local, member.remote);
                if let Some(end) = end {
                    let culprit = Culprit {
                        pid: end.pid,
                        comm: end.subject.comm,
                        port: subject.port,
                        state: end.state,
                    };
                    let (members, of, _) = collisions.entry((peer, Some(end.state))).or_default();
                    members.push(member);
                    *of = Some(culprit);
                } else if let Some(over) = facts.activity.was_over(subject, member.local, member.remote)
                    && let Some(ago) = facts.now.since(over).filter(|ago| *ago <= MEMORY_NS)
                {
                    let (members, _, longest) = collisions.entry((peer, None)).or_default();
                    members.push(member);
                    *longest = ago.max(*longest);
                }
            }
            for ((subject, state), (members, culprit, ago)) in collisions {
                let sum = Sum::of(members.iter().copied());
                if sum.count < limits.count.max(1) {
                    continue;
                }
                let mut finding = Finding::of_sockets(self.id(), subject, TcpState::SynSent, &sum);
                finding.apart = Apart::End(state);
                finding.culprit = culprit;
                if let Some(state) = state {
                    finding
                        .evidence
                        .push(format!("the other end, on this host, is still in {}", state.name()));
                } else {
                    // On a host that opens many connections nearly every port was in use lately, and a SYN can just be lost.
                    (finding.severity, finding.confidence) = (Severity::Info, Confidence::Low);
                    finding.evidence.push(format!(
                        "the same addresses and ports were in use until {} ago",
                        words::span(ago)
                    ));
                }
                found.push(finding);
            }
        }
    }
}
