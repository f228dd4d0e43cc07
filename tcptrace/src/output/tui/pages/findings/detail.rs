//! One finding in full: what, since when, evidence, what it means, what to do, and which sockets it is about.

use std::fmt::Write as _;

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use crate::output::{
    Moment, escape,
    findings::{
        FindingReport,
        words::{NO_STACKS, about, numbers, other_end, wrapped},
    },
    hist::units,
    tui::{frame::tone_of, page::Context, text},
};

/// Text is not set wider.
const WIDEST: usize = 110;

/// What stands left of the words.
const MARGIN: usize = 11;

/// Stacks that are shown, and frames of each.
const STACKS: (usize, usize) = (5, 32);

/// A finding, now or over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// Since when it is there, or is over.
    pub(super) since: Moment,
    /// It is no more.
    pub(super) is_over: bool,
    /// What was found.
    pub(super) finding: &'a FindingReport,
}

impl Entry<'_> {
    /// How long ago that was.
    pub(super) fn ago(&self, now: Moment) -> String {
        now.ktime.since(self.since.ktime).map_or_else(|| text::UNKNOWN.to_owned(), units::time)
    }
}

/// The filter line that keeps the sockets of a finding, and perhaps some more; `None` where nothing is known to filter by.
pub(super) fn filter_line(finding: &FindingReport) -> Option<String> {
    let mut line = String::new();
    // Writing to a String cannot fail.
    if let Some(port) = finding.port {
        let _ = write!(line, " --port {port}");
    }
    match (finding.pid, finding.processes, finding.comm.as_deref()) {
        // The process with the most sockets is not all of them.
        (_, Some(2..), Some(comm)) if is_plain(comm) => {
            let _ = write!(line, " --comm {comm}");
        }
        (Some(pid), Some(1), _) => {
            let _ = write!(line, " --pid {pid}");
        }
        _ => {}
    }
    if let Some(peer) = finding.peer {
        let _ = write!(line, " --raddr {peer}");
    }
    if let Some(state) = finding.state {
        let _ = write!(line, " --state {state}");
    }
    Some(line.trim_start().to_owned()).filter(|line| !line.is_empty())
}

/// Whether a name can stand in a filter line as it is.
fn is_plain(name: &str) -> bool {
    let is_letter =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@' | '+');
    !name.is_empty() && !name.starts_with('-') && name.chars().all(is_letter)
}

/// Lines that are being put together.
struct Lines<'a> {
    context: &'a Context<'a>,
    width: usize,
    done: Vec<Line<'static>>,
}

impl Lines<'_> {
    fn push(&mut self, label: &'static str, text: String, style: Style) {
        let label = Span::styled(format!("{label:<MARGIN$}"), self.context.theme.label());
        self.done.push(Line::from(vec![label, Span::styled(text, style)]));
    }

    /// A word at the left, text behind it and below.
    fn paragraph(&mut self, label: &'static str, text: &str) {
        let mut label = label;
        for line in wrapped(text, self.width) {
            self.push(label, line, self.context.theme.text());
            label = "";
        }
    }

    /// The same of lines that stay as they are, because somebody will copy them.
    fn as_they_are<'a>(&mut self, label: &'static str, lines: impl Iterator<Item = &'a str>) {
        let mut label = label;
        for line in lines {
            self.push(label, line.to_owned(), self.context.theme.strong());
            label = "";
        }
    }

    fn gap(&mut self) {
        self.done.push(Line::default());
    }
}

/// All of it in lines of about that width, and which of them is the one that leads to its sockets.
pub(super) fn lines(
    entry: Entry<'_>,
    width: u16,
    context: &Context<'_>,
) -> (Vec<Line<'static>>, Option<usize>) {
    let Entry { finding, since, is_over } = entry;
    let theme = context.theme;
    let width = usize::from(width).saturating_sub(MARGIN).clamp(8, WIDEST);
    let mut out = Lines { context, width, done: Vec::new() };

    let ago = entry.ago(context.world.now());
    let clock = text::clock(since);
    let (severity, style) = if is_over {
        (format!("over since {clock} UTC, {ago} ago; below is how it was last seen"), theme.dim())
    } else {
        let confidence = match finding.confidence {
            "high" => String::new(),
            confidence => format!(", confidence {confidence}"),
        };
        (
            format!("{}{confidence}, found {ago} ago, at {clock} UTC", finding.severity.to_uppercase()),
            theme.tone(tone_of(finding.severity)),
        )
    };
    let mut label = "severity";
    for line in wrapped(&severity, width) {
        out.push(label, line, style);
        label = "";
    }
    out.paragraph("who", &about(finding));
    out.paragraph("how many", &numbers(finding));
    if let Some(cgroup) = finding.cgroup.as_deref().filter(|path| *path != "/") {
        out.as_they_are("cgroup", std::iter::once(&*escape::text(cgroup)));
    }
    let mut leads = None;
    if let Some(filter) = filter_line(finding) {
        leads = Some(out.done.len());
        out.push("sockets", filter, theme.title());
    }
    out.gap();
    let mut label = "evidence";
    for evidence in &finding.evidence {
        out.paragraph(label, &escape::text(evidence));
        label = "";
    }
    if let Some(culprit) = &finding.culprit {
        out.paragraph("other end", &other_end(culprit));
    }
    for (label, text) in [("means", &finding.meaning), ("do", &finding.remedy)] {
        if !text.is_empty() {
            out.gap();
            out.paragraph(label, text);
        }
    }
    if !finding.commands.is_empty() {
        out.gap();
        out.as_they_are("look", finding.commands.iter().map(String::as_str));
    }
    if let Some(stacks) = &finding.stacks {
        out.gap();
        if stacks.is_empty() {
            out.paragraph("stacks", NO_STACKS);
        }
        for stack in stacks.iter().take(STACKS.0) {
            out.paragraph("made at", &format!("{} of them:", text::count(stack.count)));
            let frames: Vec<String> =
                stack.frames.iter().take(STACKS.1).map(|frame| format!("  {frame}")).collect();
            out.as_they_are("", frames.iter().map(String::as_str));
        }
    }
    (out.done, leads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tui::tests::fixture::{Scene, world};

    #[test]
    fn the_way_to_the_sockets() {
        let found = world(Scene::Findings).found;
        let (_, finding) = found.findings.first().expect("there is one");
        let line = |change: &dyn Fn(&mut FindingReport)| {
            let mut finding = finding.clone();
            change(&mut finding);
            filter_line(&finding)
        };
        assert_eq!(line(&|_| {}).as_deref(), Some("--port 8080 --pid 3530 --state CLOSE_WAIT"));
        // One process is not all of them.
        let several = line(&|finding| finding.processes = Some(2));
        assert_eq!(several.as_deref(), Some("--port 8080 --comm orders --state CLOSE_WAIT"));
        for comm in ["x\u{1b}[2J", "a b", "-x", "a,b", "it's", ""] {
            let hostile = line(&|finding| {
                finding.processes = Some(2);
                finding.comm = Some(comm.to_owned());
            });
            assert_eq!(hostile.as_deref(), Some("--port 8080 --state CLOSE_WAIT"), "{comm}");
        }
        let of_peer = line(&|finding| {
            (finding.port, finding.pid, finding.state) = (None, None, None);
            finding.peer = Some(std::net::Ipv4Addr::new(192, 0, 2, 1).into());
        });
        assert_eq!(of_peer.as_deref(), Some("--raddr 192.0.2.1"));
        let of_nothing = line(&|finding| {
            (finding.port, finding.pid, finding.state) = (None, None, None);
        });
        assert_eq!(of_nothing, None);
    }
}
