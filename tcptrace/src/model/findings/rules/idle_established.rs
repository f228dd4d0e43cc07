//! `idle-established`: no data for long and no keepalive: a dead peer would never be noticed.

use super::{Facts, Finding, Rule, Severity, Sum, words};
use crate::model::TcpState;

/// Those that a process holds.
#[derive(Debug)]
pub(super) struct IdleEstablished;

impl Rule for IdleEstablished {
    fn id(&self) -> &'static str {
        "idle-established"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.idle_established;
        for (subject, crowd) in facts.census.in_state(TcpState::Established) {
            let idle = crowd.members.iter().filter_map(|member| {
                let details = member.details.filter(|details| details.has_file && !details.has_keepalive)?;
                let idle = details.data_idle_ns.filter(|idle| *idle >= limits.idle)?;
                Some((member, idle))
            });
            let sum = Sum::of(idle.clone().map(|(member, _)| member));
            if sum.count < limits.count.max(1) {
                continue;
            }
            let mut finding = Finding::of_sockets(self.id(), *subject, TcpState::Established, &sum);
            finding.severity = Severity::Info;
            let longest = idle.map(|(_, idle)| idle).max().unwrap_or(0);
            finding
                .evidence
                .push(format!("no data for {} (the longest), and no keepalive timer", words::span(longest)));
            let settings = facts.settings(subject);
            if let (Some(time), Some(interval), Some(probes), Some(all)) = (
                settings.keepalive_time_s,
                settings.keepalive_interval_s,
                settings.keepalive_probes,
                settings.keepalive_s(),
            ) {
                finding.evidence.push(format!(
                    "with SO_KEEPALIVE a dead peer would be noticed after {}: tcp_keepalive_time {time} s + \
                     tcp_keepalive_intvl {interval} s x tcp_keepalive_probes {probes}",
                    words::span(all.saturating_mul(1_000_000_000))
                ));
            }
            found.push(finding);
        }
    }
}
