//! `port-exhaustion`: hardly a local port is left for one service: connect() is about to fail with EADDRNOTAVAIL.

use super::{Apart, Confidence, Facts, Finding, Measure, Rule, Severity, Subject, Trend, words};
use crate::model::Role;

/// By the range of ports, and by the time that is left at the present slope.
#[derive(Debug)]
pub(super) struct PortExhaustion;

impl Rule for PortExhaustion {
    fn id(&self) -> &'static str {
        "port-exhaustion"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.port_exhaustion;
        for (route, used) in facts.census.routes.iter() {
            let settings = facts.host.settings.get(&route.netns).copied().unwrap_or_default();
            let Some(ports) = settings.local_port_count() else { continue };
            // What is free again for connect() is not taken.
            let reused = if settings.reuses_ports(route.local, route.remote) { used.time_wait } else { 0 };
            let taken = used.all - reused;
            let percent = words::percent(taken, ports);
            let trend = facts.trend(Measure::Route(*route));
            let slope = trend.and_then(Trend::per_minute);
            let left = words::time_left(taken, ports, trend.and_then(Trend::steady_per_minute))
                // What rises may be what is given back.
                .filter(|left| *left <= limits.within && percent >= 50 && reused == 0);
            if taken < limits.count || percent < limits.percent && left.is_none() {
                continue;
            }
            let (owner, pids) = used.most();
            let subject = Subject {
                netns: Some(route.netns),
                port: Some(route.port),
                role: Some(Role::Client),
                peer: Some(route.remote),
                ..owner
            };
            let mut finding = Finding::new(self.id(), subject, taken);
            finding.apart = Apart::Local(route.local);
            finding.pids = pids;
            finding.counted = "local ports";
            finding.per_minute = slope;
            if percent >= limits.critical_percent {
                finding.severity = Severity::Critical;
            } else if percent < limits.percent {
                // A forecast.
                finding.confidence = Confidence::Medium;
            }
            finding.evidence.push(format!(
                "{percent} % of the {ports} local ports for {} to {} port {}",
                route.local, route.remote, route.port
            ));
            if reused > 0 {
                finding
                    .evidence
                    .push(format!("without {reused} in TIME_WAIT, which are taken again (tcp_tw_reuse)"));
            } else if used.time_wait > 0 {
                finding.evidence.push(format!("{} of them in TIME_WAIT", used.time_wait));
            }
            if taken >= ports {
                finding.evidence.push("none is left: connect() fails with EADDRNOTAVAIL".to_owned());
            } else if let Some(left) = left {
                finding.evidence.push(format!("EADDRNOTAVAIL in {} at the present slope", words::span(left)));
            }
            found.push(finding);
        }
    }
}
