//! For people: a block a finding.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::{
    FindingReport, FindingReporter, LookReport, Status,
    words::{NO_STACKS, about, numbers, other_end, wrapped},
};
use crate::output::{Moment, Notice, escape, text::write_notice};

/// Text is not set narrower, nor wider.
const WIDTHS: (usize, usize) = (50, 110);

/// What stands left of the words.
const MARGIN: usize = 13;

/// Stacks of a finding that are shown, and frames of each.
const STACKS: (usize, usize) = (3, 12);

/// How it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FindingsTextOptions {
    /// Columns of the terminal.
    pub width: usize,
    /// Colours.
    pub color: bool,
    /// Say when.
    pub has_times: bool,
}

/// Writes blocks of text.
pub struct FindingsText<W> {
    out: W,
    options: FindingsTextOptions,
}

impl<W: Write> FindingsText<W> {
    /// Writes to `out`, which should be buffered.
    pub const fn new(out: W, options: FindingsTextOptions) -> Self {
        Self { out, options }
    }

    fn style(&self, severity: &str) -> Style {
        let color = match severity {
            "critical" => AnsiColor::Red,
            "warning" => AnsiColor::Yellow,
            _ => AnsiColor::Cyan,
        };
        if self.options.color { Style::new().bold().fg_color(Some(color.into())) } else { Style::new() }
    }

    /// A word at the left, text behind it and below.
    fn paragraph(&mut self, label: &str, text: &str) -> io::Result<()> {
        let width = self.options.width.clamp(WIDTHS.0, WIDTHS.1) - MARGIN;
        let mut label = label;
        for line in wrapped(text, width) {
            writeln!(self.out, "  {label:<10} {line}")?;
            label = "";
        }
        Ok(())
    }

    /// The same of lines that stay as they are, because somebody will copy them.
    fn lines<'a>(&mut self, label: &str, lines: impl Iterator<Item = &'a str>) -> io::Result<()> {
        let mut label = label;
        for line in lines {
            writeln!(self.out, "  {label:<10} {line}")?;
            label = "";
        }
        Ok(())
    }
}

impl<W: Write> FindingReporter for FindingsText<W> {
    fn finding(&mut self, at: Moment, finding: &FindingReport) -> io::Result<()> {
        if self.options.has_times {
            #[expect(
                clippy::cast_precision_loss,
                reason = "2^52 ns are 52 days, then microseconds are lost"
            )]
            write!(self.out, "{:.1} s ", at.elapsed_ns as f64 / 1e9)?;
        }
        let style = self.style(finding.severity);
        let severity = finding.severity.to_uppercase();
        let about = about(finding);
        match finding.status {
            Status::Gone => return writeln!(self.out, "over: {}: {about}", finding.rule),
            Status::Worse => write!(self.out, "worse: ")?,
            Status::New => {}
        }
        writeln!(self.out, "{style}{severity} {}{style:#}: {about}", finding.rule)?;
        writeln!(self.out, "  {}", numbers(finding))?;
        if let Some(cgroup) = finding.cgroup.as_deref().filter(|path| *path != "/") {
            self.lines("cgroup", std::iter::once(&*escape::text(cgroup)))?;
        }
        let mut label = "evidence";
        for evidence in &finding.evidence {
            self.paragraph(label, &escape::text(evidence))?;
            label = "";
        }
        if let Some(culprit) = &finding.culprit {
            self.paragraph("other end", &other_end(culprit))?;
        }
        if finding.confidence != "high" {
            self.paragraph("confidence", finding.confidence)?;
        }
        self.paragraph("means", &finding.meaning)?;
        self.paragraph("do", &finding.remedy)?;
        self.lines("look", finding.commands.iter().map(String::as_str))?;
        if let Some(stacks) = &finding.stacks {
            if stacks.is_empty() {
                self.paragraph("stacks", NO_STACKS)?;
            }
            for stack in stacks.iter().take(STACKS.0) {
                self.paragraph("made at", &format!("{} of them:", stack.count))?;
                let frames: Vec<String> =
                    stack.frames.iter().take(STACKS.1).map(|frame| format!("  {frame}")).collect();
                self.lines("", frames.iter().map(String::as_str))?;
            }
        }
        writeln!(self.out)
    }

    fn looked(&mut self, _: Moment, look: &LookReport) -> io::Result<()> {
        let findings = match look.findings {
            0 => "No findings".to_owned(),
            1 => "1 finding".to_owned(),
            count => format!("{count} findings"),
        };
        writeln!(self.out, "{findings}; {} sockets, looked at for {:.1} s.", look.sockets, look.seconds)?;
        for not_seen in &look.not_seen {
            writeln!(self.out, "not seen: {}", escape::text(not_seen))?;
        }
        Ok(())
    }

    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()> {
        write_notice(&mut self.out, at, None, notice)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
