//! `closed-fd-held`: the connection is over, and its descriptor was never closed.

use super::{Confidence, Facts, Finding, Rule, Sum, words};
use crate::model::TcpState;

/// Old ones. Those that were closed before tracing began are in no table of the kernel, and not seen.
#[derive(Debug)]
pub(super) struct ClosedFdHeld;

impl Rule for ClosedFdHeld {
    fn id(&self) -> &'static str {
        "closed-fd-held"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.closed_fd_held;
        for (subject, crowd) in facts.census.held() {
            let old = Sum::of(crowd.members.iter().filter(|member| member.is_older_than(limits.age)));
            if old.count < limits.count {
                continue;
            }
            let mut finding = Finding::of_sockets(self.id(), *subject, TcpState::Close, &old);
            finding.count = crowd.count;
            finding.evidence.push(format!(
                "{} of {} for longer than {}",
                old.count,
                crowd.count,
                words::span(limits.age)
            ));
            if crowd.doubtful > 0 {
                finding.confidence = Confidence::Low;
                finding
                    .evidence
                    .push(format!("{} may have been let go, as records were lost", crowd.doubtful));
            }
            found.push(finding);
        }
    }
}
