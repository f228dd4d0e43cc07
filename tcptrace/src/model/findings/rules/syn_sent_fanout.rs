//! `syn-sent-fanout`: one owner opens connections to many hosts, and few of them answer.

use super::{Confidence, Facts, Finding, Rule, words};
use crate::model::TcpState;

/// A scanner or a worm, or a list of services that are gone.
#[derive(Debug)]
pub(super) struct SynSentFanout;

impl Rule for SynSentFanout {
    fn id(&self) -> &'static str {
        "syn-sent-fanout"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.syn_sent_fanout;
        for (owner, fan_out) in &facts.flows.fan_out {
            let (hosts, answered) = (fan_out.hosts.len() as u64, fan_out.answered.len() as u64);
            let percent = words::percent(answered, hosts);
            if hosts < limits.hosts.max(1) || percent > limits.answered_percent {
                continue;
            }
            let mut finding = Finding::new(self.id(), *owner, hosts).by(fan_out.owner.as_ref());
            finding.counted = "hosts";
            finding.state = Some(TcpState::SynSent);
            // That they are many is sure, that it is no good purpose is not.
            finding.confidence = Confidence::Medium;
            finding.evidence.push(format!(
                "{hosts} hosts in {}, {answered} of them have answered with a SYN-ACK ({percent} %)",
                words::span(facts.recent_ns)
            ));
            found.push(finding);
        }
    }
}
