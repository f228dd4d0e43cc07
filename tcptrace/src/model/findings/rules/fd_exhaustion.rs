//! `fd-exhaustion`: a process has nearly as many descriptors as it may have, most of them sockets.

use super::{
    Apart, Facts, Finding, Measure, Rule, Subject, Trend,
    scarce::{Limits, Scarce},
};

/// By its limit, and by the time that is left at the present slope.
#[derive(Debug)]
pub(super) struct FdExhaustion;

impl Rule for FdExhaustion {
    fn id(&self) -> &'static str {
        "fd-exhaustion"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.fd_exhaustion;
        let limits = Limits {
            percent: limits.percent,
            critical_percent: limits.critical_percent,
            within: limits.within,
        };
        // Of others than those that were asked for the host tells, too.
        let is_asked_for = |pid| facts.census.pids.contains(&pid);
        for process in facts.host.processes.iter().filter(|process| is_asked_for(process.task.pid)) {
            let Some(limit) = process.limit.filter(|_| process.sockets * 2 >= process.open) else { continue };
            let trend = facts.trend(Measure::Descriptors(process.task.pid));
            let Some(scarce) = Scarce::of(process.open, limit, trend, &limits) else { continue };
            let subject =
                Subject { comm: Some(process.task.comm), cgroup: process.task.cgroup, ..Subject::default() };
            let mut finding = Finding::new(self.id(), subject, process.sockets);
            finding.apart = Apart::Pid(process.task.pid);
            finding.pids = vec![(process.task.pid, process.sockets)];
            finding.per_minute = trend.and_then(Trend::per_minute);
            scarce.weigh(&limits, &mut finding);
            finding.evidence.push(format!(
                "{} of {limit} descriptors ({} %), {} of them sockets",
                process.open, scarce.percent, process.sockets
            ));
            scarce.say_when("accept() and socket() fail with EMFILE", "none left", &mut finding);
            found.push(finding);
        }
    }
}
