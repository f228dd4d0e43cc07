//! `time-wait-pileup`: sockets in TIME_WAIT take a large part of the ports that there are for one service.

use super::{Facts, Finding, Measure, Rule, Severity, Trend, words};
use crate::model::TcpState;

/// On the side that opens connections and closes them first.
#[derive(Debug)]
pub(super) struct TimeWaitPileup;

impl Rule for TimeWaitPileup {
    fn id(&self) -> &'static str {
        "time-wait-pileup"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.time_wait_pileup;
        for (route, used) in facts.census.routes.iter() {
            let settings = facts.host.settings.get(&route.netns).copied().unwrap_or_default();
            let Some(ports) = settings.local_port_count() else { continue };
            if used.time_wait < limits.count || words::percent(used.time_wait, ports) < limits.percent {
                continue;
            }
            let owner = used.most_in_time_wait();
            let mut finding = Finding::of_route(self.id(), route, owner, (used.time_wait, ports));
            finding.state = Some(TcpState::TimeWait);
            finding.oldest_ns = used.oldest_time_wait.map(|(age, _)| age);
            finding.oldest_is_at_least = used.oldest_time_wait.is_some_and(|(_, is_at_least)| is_at_least);
            finding.per_minute = facts.trend(Measure::TimeWait(*route)).and_then(Trend::per_minute);
            finding.evidence.push("we close first, so TIME_WAIT is ours".to_owned());
            if let Some(reuse) = settings.reuses_time_wait {
                finding.evidence.push(format!("net.ipv4.tcp_tw_reuse is {reuse}"));
            }
            if settings.reuses_ports(route.local, route.remote) {
                finding.severity = Severity::Info;
                finding
                    .evidence
                    .push("so connect() takes these ports again after a second, with timestamps".to_owned());
            }
            found.push(finding);
        }
    }
}
