//! The words for a finding, wherever people read it: harmless text.

use std::fmt::Write as _;

use super::{FindingReport, report::CulpritReport};
use crate::{
    model::findings::SOCKETS,
    output::{escape, hist::units},
};

/// Where stacks are asked for, and no socket's is known.
pub(in crate::output) const NO_STACKS: &str = "none is known: stacks are taken of calls while tcptrace runs";

/// `nginx (pid 4711, and 3 more), port 80, server, peer 192.0.2.1, netns 4026532000`
pub(in crate::output) fn about(finding: &FindingReport) -> String {
    let mut parts = Vec::new();
    let comm = finding.comm.as_deref().map(escape::text);
    let pid = match (finding.pid, finding.processes) {
        (Some(pid), Some(processes @ 2..)) => format!(" (pid {pid}, and {} more)", processes - 1),
        (Some(pid), _) => format!(" (pid {pid})"),
        (None, _) => String::new(),
    };
    match (comm, pid.is_empty()) {
        (Some(comm), _) => parts.push(format!("{comm}{pid}")),
        (None, false) => parts.push(format!("-{pid}")),
        (None, true) => parts.push("owner not known".to_owned()),
    }
    parts.extend(finding.port.map(|port| format!("port {port}")));
    parts.extend(finding.role.map(str::to_owned));
    parts.extend(finding.peer.map(|peer| format!("peer {peer}")));
    parts.extend(match (&finding.netns_name, finding.netns) {
        (Some(name), _) => Some(format!("netns {}", escape::text(name))),
        (None, netns) => netns.map(|netns| format!("netns {netns}")),
    });
    parts.join(", ")
}

/// How many, for how long, and whether they become more.
pub(in crate::output) fn numbers(finding: &FindingReport) -> String {
    let mut text = format!("{} {}", finding.count, finding.counted);
    if let Some(state) = finding.state.filter(|_| finding.counted == SOCKETS) {
        text.push_str(" in ");
        text.push_str(state);
    }
    if let Some(age) = finding.age_s {
        let bound = if finding.age_is == Some("at_least") { "at least " } else { "" };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it was a u64 of nanoseconds"
        )]
        let age = units::time((age * 1e9) as u64);
        text.push_str(", the oldest for ");
        text.push_str(bound);
        text.push_str(&age);
    }
    if let Some(slope) = finding.slope_per_min.filter(|slope| slope.abs() >= 0.05) {
        let (slope, word) = if slope > 0.0 { (slope, "more") } else { (-slope, "less") };
        let _ = write!(text, ", {slope:.1} {word} a minute");
    }
    text
}

/// `orders (pid 3530), in ESTABLISHED`
pub(in crate::output) fn other_end(culprit: &CulpritReport) -> String {
    let pid = culprit.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let comm = culprit.comm.as_deref().map_or("a process that is not known".into(), escape::text);
    format!("{comm}{pid}, in {}", culprit.state)
}

/// Lines of words, none longer than `width` unless a word is.
pub(in crate::output) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped() {
        assert_eq!(wrapped("a bb ccc dddddddd e", 6), ["a bb", "ccc", "dddddddd", "e"]);
        assert!(wrapped("", 6).is_empty());
    }
}
