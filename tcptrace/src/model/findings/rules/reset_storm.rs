//! `reset-storm`: many connections of a service end by RST.

use super::{Facts, Finding, Rule, words};

/// By us or by the peers, second after second.
#[derive(Debug)]
pub(super) struct ResetStorm;

impl Rule for ResetStorm {
    fn id(&self) -> &'static str {
        "reset-storm"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.reset_storm;
        for (subject, flow) in &facts.flows.owners {
            let count = flow.reset_by_us.count + flow.reset_by_peer.count;
            let percent = words::percent(count, flow.ended);
            let seconds = flow.reset_by_us.seconds.max(flow.reset_by_peer.seconds);
            if count < limits.count.max(1) || percent < limits.percent || seconds < limits.seconds {
                continue;
            }
            let subject = subject.with_peer(flow.reset_peers.half_of(count));
            let mut finding = Finding::new(self.id(), subject, count).by(flow.owner.as_ref());
            finding.counted = "resets";
            finding.evidence.push(format!(
                "{} by us, {} by the peer: {percent} % of the {} that ended in {}",
                flow.reset_by_us.count,
                flow.reset_by_peer.count,
                flow.ended,
                words::span(facts.recent_ns)
            ));
            found.push(finding);
        }
    }
}
