//! What was found before: what is new, worse, or over.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::Status;
use crate::{
    model::findings::{Finding, Identity, Severity},
    output::Moment,
};

/// Findings of the last look.
#[derive(Debug, Default)]
pub struct Memory {
    before: FxHashMap<Identity, Known>,
}

#[derive(Debug)]
struct Known {
    /// The worst that it has been.
    severity: Severity,
    /// When it was first found.
    first: Moment,
    /// What was told of it last.
    status: Status,
    finding: Rc<Finding>,
}

/// A finding, and how it is to what was known of it.
#[derive(Clone, Debug)]
pub struct Change {
    /// As it is now; of one that is over, as it was.
    pub finding: Rc<Finding>,
    /// When it was first found.
    pub first: Moment,
    /// What was told of it last, or is to be told now.
    pub status: Status,
    /// Whether that is to be told now.
    pub is_news: bool,
}

impl Memory {
    /// Takes in what a look at `at` has found, the worst first: what there is now, in that order, and what is over.
    pub fn compare(&mut self, at: Moment, found: Vec<Finding>) -> Vec<Change> {
        let mut now = FxHashMap::default();
        let mut changes = Vec::with_capacity(found.len());
        for finding in found {
            let finding = Rc::new(finding);
            let before = self.before.remove(&finding.identity());
            let (first, status, is_news) = match &before {
                None => (at, Status::New, true),
                Some(known) if finding.severity > known.severity => (known.first, Status::Worse, true),
                Some(known) => (known.first, known.status, false),
            };
            // What wavers between two severities is told once.
            let severity = before.map_or(finding.severity, |known| known.severity.max(finding.severity));
            now.insert(finding.identity(), Known { severity, first, status, finding: Rc::clone(&finding) });
            changes.push(Change { finding, first, status, is_news });
        }
        let over = std::mem::replace(&mut self.before, now).into_values();
        let mut over: Vec<Change> = over
            .map(|Known { finding, first, .. }| Change {
                finding,
                first,
                status: Status::Gone,
                is_news: true,
            })
            .collect();
        over.sort_by_cached_key(|change| (change.finding.rule, format!("{:?}", change.finding.subject)));
        changes.extend(over);
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        KtimeNs, TcpState,
        findings::{Apart, Confidence, SOCKETS, Subject},
    };

    fn finding(rule: &'static str, severity: Severity) -> Finding {
        Finding {
            rule,
            severity,
            confidence: Confidence::High,
            subject: Subject::default(),
            apart: Apart::Nothing,
            pids: Vec::new(),
            state: Some(TcpState::CloseWait),
            count: 1,
            counted: SOCKETS,
            oldest_ns: None,
            oldest_is_at_least: false,
            per_minute: None,
            culprit: None,
            evidence: Vec::new(),
            keys: Vec::new(),
        }
    }

    #[test]
    fn each_is_new_once_worse_once_and_over_once() {
        let mut memory = Memory::default();
        let mut told = |second: u64, found: Vec<Finding>| -> Vec<(&'static str, Status, bool, u64)> {
            let at = Moment { ktime: KtimeNs(second), unix_ns: 0, elapsed_ns: second };
            let changes = memory.compare(at, found).into_iter();
            changes
                .map(|change| (change.finding.rule, change.status, change.is_news, change.first.elapsed_ns))
                .collect()
        };
        let (a, b) = ("a", "b");
        let (warning, critical) = (Severity::Warning, Severity::Critical);
        assert_eq!(told(1, vec![finding(a, warning)]), [(a, Status::New, true, 1)]);
        let both = vec![finding(b, critical), finding(a, critical)];
        assert_eq!(told(2, both), [(b, Status::New, true, 2), (a, Status::Worse, true, 1)]);
        assert_eq!(
            told(3, vec![finding(a, warning)]),
            [(a, Status::Worse, false, 1), (b, Status::Gone, true, 2)],
            "what wavers is told once"
        );
        assert_eq!(told(4, vec![finding(a, critical)]), [(a, Status::Worse, false, 1)]);
        assert_eq!(told(5, Vec::new()), [(a, Status::Gone, true, 1)]);
        assert_eq!(told(6, vec![finding(a, warning)]), [(a, Status::New, true, 6)], "it has come again");
    }
}
