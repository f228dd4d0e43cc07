//! The worst findings, on the overview.

use std::fmt::Write as _;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::{Paragraph, Widget as _, Wrap},
};

use super::sections::{LABEL, labelled};
use crate::output::{
    escape,
    findings::FindingReport,
    hist::units,
    tui::{
        frame::tone_of,
        page::Context,
        split_top,
        table::{put, unicode_width},
        text,
        theme::Tone,
    },
};

/// What stands there when nothing was found.
fn nothing_found(context: &Context<'_>) -> (String, Style) {
    let (world, theme) = (context.world, context.theme);
    let found = world.found();
    let Some(looked) = found.looked else { return ("not looked yet".to_owned(), theme.dim()) };
    let ago =
        world.now().ktime.since(looked).map_or_else(String::new, |ago| format!(" {} ago", units::time(ago)));
    let sockets = text::count(found.sockets);
    let mut words = format!("nothing is wrong with the {sockets} sockets that were looked at{ago}");
    if found.not_seen.is_empty() {
        return (words, theme.tone(Tone::Good));
    }
    words.push_str("; not all could be seen: page 5");
    (words, theme.tone(Tone::Info))
}

/// The worst findings, as many as there are lines.
pub(super) fn lines(area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
    let all = context.world.found().findings.len();
    let (first, _) = split_top(area, 1);
    let label = if all > 0 { format!("{all} found") } else { "findings".to_owned() };
    labelled(first, buffer, context, &label);
    let right = Rect { x: area.x + LABEL.min(area.width), width: area.width.saturating_sub(LABEL), ..area };
    if all == 0 {
        let (words, style) = nothing_found(context);
        put(buffer, split_top(right, 1).0, &words, style, false, context);
        return;
    }
    let mut rest = right;
    for (_, finding) in context.world.found().findings.iter().take(usize::from(area.height)) {
        let (line, below) = split_top(rest, 1);
        rest = below;
        self::line(line, buffer, context, finding, true);
    }
}

/// The same in a frame, with what could not be seen.
pub(super) fn in_frame(area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
    let found = context.world.found();
    let mut rest = area;
    if found.findings.is_empty() {
        let (words, style) = nothing_found(context);
        Paragraph::new(Span::styled(words, style)).wrap(Wrap { trim: true }).render(rest, buffer);
        return;
    }
    // Two lines each; the last one says what was left out.
    let fit = usize::from(area.height).saturating_sub(1) / 2;
    for (_, finding) in found.findings.iter().take(fit) {
        let (line, below) = split_top(rest, 1);
        self::line(line, buffer, context, finding, false);
        let (line, below) = split_top(below, 1);
        rest = below;
        let mut words = format!("  {}", owner(finding));
        if let Some(slope) = finding.slope_per_min {
            // Writing to a String cannot fail.
            let _ = write!(words, ", {slope:+.1} a minute");
        }
        if let Some(cgroup) = &finding.cgroup {
            let _ = write!(words, ", {}", escape::text(cgroup));
        }
        put(buffer, line, &words, context.theme.text(), false, context);
    }
    let mut words = Vec::new();
    match found.findings.len().saturating_sub(fit) {
        0 => words.push("what to do: page 5".to_owned()),
        more => words.push(format!("and {more} more: page 5")),
    }
    if let Some(ago) = found.looked.and_then(|looked| context.world.now().ktime.since(looked)) {
        words.push(format!("looked {} ago", units::time(ago)));
    }
    let line = words.join(&format!(" {} ", context.glyphs.dot));
    put(buffer, split_top(rest, 1).0, &line, context.theme.dim(), false, context);
}

/// `orders:8080`
fn owner(finding: &FindingReport) -> String {
    let comm = finding.comm.as_deref().map_or(text::UNKNOWN.into(), escape::text);
    finding.port.map_or_else(|| comm.clone().into_owned(), |port| format!("{comm}:{port}"))
}

fn line(line: Rect, buffer: &mut Buffer, context: &Context<'_>, finding: &FindingReport, has_owner: bool) {
    let theme = context.theme;
    let tone = theme.tone(tone_of(finding.severity));
    // The numbers at the right stay, whatever the names take.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an age is not negative, and what does not fit is cut off by the cast"
    )]
    let age = finding.age_s.map(|seconds| (seconds * 1e9).round() as u64);
    let age = text::age((age, finding.age_is == Some("at_least")), context.glyphs);
    let numbers = format!("{} {age:>8}", text::count(finding.count));
    put(buffer, line, &numbers, theme.text(), true, context);
    let used = u16::try_from(unicode_width(&numbers)).unwrap_or(u16::MAX);
    let words = Rect { width: line.width.saturating_sub(used.saturating_add(1)), ..line };
    let mut spans = vec![
        Span::styled(format!("{} ", finding.severity), tone),
        Span::styled(format!("{} ", finding.rule), theme.text()),
    ];
    if has_owner {
        spans.push(Span::styled(owner(finding), theme.strong()));
    }
    Line::from(spans).render(words, buffer);
}
