//! `port-exhaustion`: hardly a local port is left for one service: connect() is about to fail with EADDRNOTAVAIL.

use super::{
    Facts, Finding, Measure, Rule, Trend,
    scarce::{Limits, Scarce},
};

/// By the range of ports, and by the time that is left at the present slope.
#[derive(Debug)]
pub(super) struct PortExhaustion;

impl Rule for PortExhaustion {
    fn id(&self) -> &'static str {
        "port-exhaustion"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let thresholds = &facts.thresholds.port_exhaustion;
        let limits = Limits {
            percent: thresholds.percent,
            critical_percent: thresholds.critical_percent,
            within: thresholds.within,
        };
        for (route, used) in facts.census.routes.iter() {
            let settings = facts.host.settings.get(&route.netns).copied().unwrap_or_default();
            let Some(ports) = settings.local_port_count() else { continue };
            // What is free again for connect() is not taken.
            let reused = if settings.reuses_ports(route.local, route.remote) { used.time_wait } else { 0 };
            let taken = used.all - reused;
            let trend = facts.trend(Measure::Route(*route));
            // What rises may be what is given back.
            let foretells = trend.filter(|_| reused == 0);
            let Some(scarce) = Scarce::of(taken, ports, foretells, &limits) else { continue };
            if taken < thresholds.count {
                continue;
            }
            let mut finding = Finding::of_route(self.id(), route, used.most(), (taken, ports));
            finding.counted = "local ports";
            finding.per_minute = trend.and_then(Trend::per_minute);
            scarce.weigh(&limits, &mut finding);
            if reused > 0 {
                finding
                    .evidence
                    .push(format!("without {reused} in TIME_WAIT, which are taken again (tcp_tw_reuse)"));
            } else if used.time_wait > 0 {
                finding.evidence.push(format!("{} of them in TIME_WAIT", used.time_wait));
            }
            scarce.say_when("connect() fails with EADDRNOTAVAIL", "EADDRNOTAVAIL", &mut finding);
            found.push(finding);
        }
    }
}
