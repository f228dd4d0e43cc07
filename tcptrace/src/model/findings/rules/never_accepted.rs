//! `never-accepted`: connections are established, and nobody calls accept().

use super::{Facts, Finding, Rule, Sum, words};
use crate::model::{Role, TcpState};

/// Those that no file stands for.
#[derive(Debug)]
pub(super) struct NeverAccepted;

impl Rule for NeverAccepted {
    fn id(&self) -> &'static str {
        "never-accepted"
    }

    fn look(&self, facts: &Facts<'_>, found: &mut Vec<Finding>) {
        let limits = &facts.thresholds.never_accepted;
        let crowds = facts.census.in_state(TcpState::Established);
        for (subject, crowd) in crowds.filter(|(subject, _)| subject.role == Some(Role::Server)) {
            let waiting = crowd.members.iter().filter(|member| {
                // It was old already when it was seen to have no file: it may have been accepted since.
                let since_look = |at| facts.now.since(at).unwrap_or(0);
                member.details.is_some_and(|details| {
                    let old = limits.age.saturating_add(since_look(details.at));
                    !details.has_file && !member.has_caller && member.is_older_than(old)
                })
            });
            let waiting = Sum::of(waiting);
            if waiting.count < limits.count.max(1) {
                continue;
            }
            let mut finding = Finding::of_sockets(self.id(), *subject, TcpState::Established, &waiting);
            finding.evidence.push(format!(
                "no file stands for {} of them after more than {}",
                waiting.count,
                words::span(limits.age)
            ));
            if facts.census.listener(subject.netns, subject.port).is_none() {
                finding.evidence.push("nobody is seen to listen on the port any more".to_owned());
            }
            found.push(finding);
        }
    }
}
