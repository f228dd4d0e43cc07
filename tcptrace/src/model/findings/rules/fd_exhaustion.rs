//! `fd-exhaustion`: a process has nearly as many descriptors as it may have, most of them sockets.

use super::{Apart, Confidence, Facts, Finding, Measure, Rule, Severity, Subject, Trend, words};

/// By its limit, and by the time that is left at the present slope.
#[derive(Debug)]
pub(super) struct FdExhaustion;

impl Rule for FdExhaustion {
    fn id(&self) -> &'static str {
        "fd-exhaustion"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.fd_exhaustion;
        // Of others than those that were asked for the host tells, too.
        let is_asked_for = |pid| facts.census.pids.contains(&pid);
        for process in facts.host.processes.iter().filter(|process| is_asked_for(process.task.pid)) {
            let Some(limit) = process.limit.filter(|_| process.sockets * 2 >= process.open) else { continue };
            let trend = facts.trend(Measure::Descriptors(process.task.pid));
            let slope = trend.and_then(Trend::per_minute);
            let used = words::percent(process.open, limit);
            let left = words::time_left(process.open, limit, trend.and_then(Trend::steady_per_minute))
                .filter(|left| *left <= limits.within && used >= 50);
            if used < limits.percent && left.is_none() {
                continue;
            }
            let subject =
                Subject { comm: Some(process.task.comm), cgroup: process.task.cgroup, ..Subject::default() };
            let mut finding = Finding::new(self.id(), subject, process.sockets);
            finding.apart = Apart::Pid(process.task.pid);
            finding.pids = vec![(process.task.pid, process.sockets)];
            finding.per_minute = slope;
            if used >= limits.critical_percent {
                finding.severity = Severity::Critical;
            } else if used < limits.percent {
                // A forecast.
                finding.confidence = Confidence::Medium;
            }
            finding.evidence.push(format!(
                "{} of {limit} descriptors ({used} %), {} of them sockets",
                process.open, process.sockets
            ));
            if process.open >= limit {
                finding.evidence.push("none is left: accept() and socket() fail with EMFILE".to_owned());
            } else if let Some(left) = left {
                finding.evidence.push(format!("none left in {} at the present slope", words::span(left)));
            }
            found.push(finding);
        }
    }
}
