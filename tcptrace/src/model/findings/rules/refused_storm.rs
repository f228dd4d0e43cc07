//! `refused-storm`: connections are refused again and again.

use super::{Facts, Finding, Rule, words};
use crate::model::TcpState;

/// By owner, peer and port.
#[derive(Debug)]
pub(super) struct RefusedStorm;

impl Rule for RefusedStorm {
    fn id(&self) -> &'static str {
        "refused-storm"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.refused_storm;
        for (subject, to) in &facts.flows.peers {
            let percent = words::percent(to.refused.count, to.tried);
            if to.refused.count < limits.count.max(1)
                || percent < limits.percent
                || to.refused.seconds < limits.seconds
            {
                continue;
            }
            let mut finding = Finding::new(self.id(), *subject, to.refused.count).by(to.owner.as_ref());
            finding.counted = "refused connections";
            finding.state = Some(TcpState::SynSent);
            finding.evidence.push(format!(
                "{percent} % of the {} that were tried in {}",
                to.tried,
                words::span(facts.recent_ns)
            ));
            found.push(finding);
        }
    }
}
