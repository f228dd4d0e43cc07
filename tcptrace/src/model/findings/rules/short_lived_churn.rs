//! `short-lived-churn`: many short connections to one service that could be a few long ones.

use super::{Confidence, Facts, Finding, Rule, Severity, words};

/// By client, peer and port.
#[derive(Debug)]
pub(super) struct ShortLivedChurn;

impl Rule for ShortLivedChurn {
    fn id(&self) -> &'static str {
        "short-lived-churn"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.short_lived_churn;
        let seconds = (facts.recent_ns / 1_000_000_000).max(1);
        for (subject, to) in &facts.flows.peers {
            let rate = to.opened.count / seconds;
            // The median is short when half of them are.
            let are_short = to.lives > 0 && to.short * 2 > to.lives;
            if rate < limits.per_second.max(1) || !are_short || to.opened.seconds < limits.seconds {
                continue;
            }
            let mut finding = Finding::new(self.id(), *subject, to.opened.count).by(to.owner.as_ref());
            finding.counted = "connections";
            finding.severity =
                if rate >= limits.warning_per_second { Severity::Warning } else { Severity::Info };
            finding.confidence = Confidence::Medium;
            finding.evidence.push(format!(
                "{rate} connections a second; {} of {} were established for less than {}",
                to.short,
                to.lives,
                words::span(limits.life)
            ));
            finding.evidence.push(format!(
                "{rate} round trips a second for handshakes alone, and {} sockets in TIME_WAIT where nothing reuses them",
                rate * 60
            ));
            found.push(finding);
        }
    }
}
