//! `close-wait-leak`: the peer has closed, the application has not called close().

use super::{Confidence, Facts, Finding, Measure, Rule, Severity, Sum, Thresholds, words};
use crate::model::{KtimeNs, TcpState};

/// However fast others of the port are, less than this is no leak.
const FLOOR_NS: u64 = 5_000_000_000;

/// Old ones, or a number that only rises.
#[derive(Debug)]
pub(super) struct CloseWaitLeak;

impl Rule for CloseWaitLeak {
    fn id(&self) -> &'static str {
        "close-wait-leak"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.close_wait_leak;
        for (subject, crowd) in facts.census.in_state(TcpState::CloseWait) {
            let p99 = facts.p99(subject, TcpState::CloseWait);
            // What others of the same port need tells better what is long, in both directions, than any fixed time. What was asked
            // for stands.
            let floor =
                if limits.age == Thresholds::default().close_wait_leak.age { FLOOR_NS } else { limits.age };
            let long = p99.map_or(limits.age, |p99| floor.max(p99.saturating_mul(limits.times_p99)));
            let old = Sum::of(crowd.members.iter().filter(|member| member.is_older_than(long))).count;
            let left = facts.flows.owners.get(subject).map_or(0, |flow| flow.close_wait_left);
            // Of what was closed before the recent past nothing is known any more.
            let recently = KtimeNs(facts.now.0.saturating_sub(facts.recent_ns));
            let trend = facts.trend(Measure::State(*subject, TcpState::CloseWait));
            let growth = trend.and_then(|trend| trend.only_rises(recently));
            let (span, more) = growth.unwrap_or_default();
            let rises = growth.is_some() && more >= limits.growth && left == 0;
            if old < limits.count && !rises {
                continue;
            }
            let sum = Sum::of(crowd.members.iter());
            let mut finding = Finding::of_sockets(self.id(), *subject, TcpState::CloseWait, &sum);
            finding.count = crowd.count;
            finding.per_minute = facts.slope(subject, TcpState::CloseWait);
            finding.evidence.push(format!("{old} of {} for longer than {}", crowd.count, words::span(long)));
            if rises {
                finding.severity = Severity::Critical;
                finding.evidence.push(format!("{more} more in {}, and none was closed", words::span(span)));
            } else if left > 0 {
                finding.confidence = Confidence::Medium;
                finding.evidence.push(format!("{left} others were closed meanwhile"));
            }
            if let Some(p99) = p99 {
                finding
                    .evidence
                    .push(format!("99 % of those that were closed needed at most {}", words::span(p99)));
            }
            found.push(finding);
        }
    }
}
