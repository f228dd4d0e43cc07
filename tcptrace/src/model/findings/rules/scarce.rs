//! What there is only so much of: how much is taken, and how long the rest will do.

use super::{Confidence, Finding, Severity, Trend, words};

/// From where on it is worth a word.
pub(super) struct Limits {
    pub(super) percent: u64,
    pub(super) critical_percent: u64,
    pub(super) within: u64,
}

/// Hardly anything is left, or will be soon.
pub(super) struct Scarce {
    pub(super) percent: u64,
    is_none_left: bool,
    /// Until nothing is left, at the present slope.
    left_ns: Option<u64>,
}

impl Scarce {
    /// `None` while there is enough. The forecast begins at one half.
    pub(super) fn of(taken: u64, all: u64, trend: Option<&Trend>, limits: &Limits) -> Option<Self> {
        let percent = words::percent(taken, all);
        let left_ns = words::time_left(taken, all, trend.and_then(Trend::steady_per_minute))
            .filter(|left| *left <= limits.within && percent >= 50);
        let is_scarce = percent >= limits.percent || left_ns.is_some();
        is_scarce.then_some(Self { percent, is_none_left: taken >= all, left_ns })
    }

    /// How bad it is, and how sure.
    pub(super) fn weigh(&self, limits: &Limits, finding: &mut Finding) {
        if self.percent >= limits.critical_percent {
            finding.severity = Severity::Critical;
        } else if self.percent < limits.percent {
            // A forecast.
            finding.confidence = Confidence::Medium;
        }
    }

    /// What fails, and when.
    pub(super) fn say_when(&self, now: &str, soon: &str, finding: &mut Finding) {
        if self.is_none_left {
            finding.evidence.push(format!("none is left: {now}"));
        } else if let Some(left) = self.left_ns {
            finding.evidence.push(format!("{soon} in {} at the present slope", words::span(left)));
        }
    }
}
