//! `syn-sent-stuck`: a peer that never answers.

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use super::{Facts, Finding, Member, Rule, Sum, words};
use crate::model::TcpState;

/// By peer and port.
#[derive(Debug)]
pub(super) struct SynSentStuck;

impl Rule for SynSentStuck {
    fn id(&self) -> &'static str {
        "syn-sent-stuck"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.syn_sent_stuck;
        for (subject, crowd) in facts.census.in_state(TcpState::SynSent) {
            let mut peers: FxHashMap<IpAddr, Vec<&Member>> = FxHashMap::default();
            for member in crowd.members.iter().filter(|member| member.is_older_than(limits.age)) {
                peers.entry(member.remote.addr.unwrap_or(IpAddr::from([0; 4]))).or_default().push(member);
            }
            for (peer, members) in peers {
                let old = Sum::of(members.iter().copied());
                if old.count < limits.count.max(1) {
                    continue;
                }
                let subject = subject.with_peer(Some(peer).filter(|peer| !peer.is_unspecified()));
                let mut finding = Finding::of_sockets(self.id(), subject, TcpState::SynSent, &old);
                finding.evidence.push(format!("{} for longer than {}", old.count, words::span(limits.age)));
                let repeated =
                    members.iter().filter_map(|member| member.details).map(|details| details.retransmissions);
                if let Some(most) = repeated.max().filter(|most| *most > 0) {
                    finding.evidence.push(format!("the SYN was sent again up to {most} times"));
                }
                found.push(finding);
            }
        }
    }
}
