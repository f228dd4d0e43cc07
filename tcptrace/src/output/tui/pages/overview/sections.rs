//! What is below or beside the states: rates, endings, and what is missing.

use std::fmt::Write as _;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Widget as _,
};

use super::{super::ranking::counted, ENDINGS};
use crate::output::{
    hist::units,
    tui::{export, page::Context, spark, split_top, table::put, text, theme::Tone},
};

/// Lines of [`losses`].
pub(super) const LOSSES: u16 = 6;

/// Cells of the word at the left.
pub(super) const LABEL: u16 = 10;

/// What an ending is called in a narrow column.
const SHORT: [&str; ENDINGS] =
    ["orderly", "reset by us", "by peer", "refused", "timeout", "overflow", "unknown"];

/// A word at the left; returns what is right of it.
pub(super) fn labelled(line: Rect, buffer: &mut Buffer, context: &Context<'_>, label: &str) -> Rect {
    let width = LABEL.min(line.width);
    put(buffer, Rect { width, ..line }, label, context.theme.label(), false, context);
    Rect { x: line.x + width, width: line.width - width, ..line }
}

/// Connections that began or ended, by second, and in all.
fn rate<'a>(context: &Context<'a>, is_opened: bool) -> (&'static str, &'a [u64], u64, Style) {
    let overview = context.world.overview();
    if is_opened {
        ("opened", &overview.opened, overview.opened_total, context.theme.tone(Tone::Good))
    } else {
        ("closed", &overview.closed, overview.closed_total, context.theme.tone(Tone::Info))
    }
}

/// `41/s`
fn per_second(values: &[u64]) -> String {
    values.last().map_or_else(|| text::UNKNOWN.to_owned(), |value| format!("{}/s", text::count(*value)))
}

/// A line each for what began and what ended.
pub(super) fn rates_lines(area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
    let mut rest = area;
    for is_opened in [true, false] {
        let (line, below) = split_top(rest, 1);
        rest = below;
        let (name, values, total, style) = rate(context, is_opened);
        let line = labelled(line, buffer, context, name);
        let number = Rect { width: line.width.min(9), ..line };
        put(buffer, number, &per_second(values), context.theme.strong(), false, context);
        let sum = format!("{} in all", text::count(total));
        put(buffer, line, &sum, context.theme.dim(), true, context);
        let used = u16::try_from(sum.len()).unwrap_or(u16::MAX).saturating_add(10);
        let width = line.width.saturating_sub(used + 1);
        spark::draw(Rect { x: line.x + 9, width, ..line }, buffer, context, values, style);
    }
}

/// The same with all the height there is.
pub(super) fn rates(area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
    let mut rest = area;
    for is_opened in [true, false] {
        let height = if is_opened { rest.height / 2 } else { rest.height };
        let (part, below) = split_top(rest, height);
        rest = below;
        let (name, values, total, style) = rate(context, is_opened);
        let (line, chart) = split_top(part, 1);
        let line_right = labelled(line, buffer, context, name);
        put(buffer, line_right, &per_second(values), context.theme.strong(), false, context);
        let shown = &values[values.len().saturating_sub(usize::from(chart.width))..];
        let mut words = format!("{} in all", text::count(total));
        if let Some(most) = shown.iter().max() {
            let most = text::count(*most);
            // Writing to a String cannot fail.
            let _ = write!(words, ", at most {most} in one of the last {} s", shown.len());
        }
        put(buffer, line_right, &words, context.theme.dim(), true, context);
        spark::draw(chart, buffer, context, values, style);
    }
}

/// How connections ended, a column each.
pub(super) fn endings_lines(area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
    let theme = context.theme;
    let (heading, rest) = split_top(area, 1);
    let (first, second) = split_top(rest, 1);
    let mut heading = labelled(heading, buffer, context, "ended");
    let mut first = labelled(first, buffer, context, "  in all");
    let mut second = labelled(second, buffer, context, "  in 60 s");
    for (name, (all, lately)) in SHORT.iter().zip(context.world.overview().endings) {
        let width = u16::try_from(name.len().max(8)).unwrap_or(u16::MAX);
        for (line, word, style) in [
            (&mut heading, (*name).to_owned(), theme.dim()),
            (&mut first, text::count(all), if all > 0 { theme.text() } else { theme.dim() }),
            (&mut second, text::count(lately), if lately > 0 { theme.text() } else { theme.dim() }),
        ] {
            put(buffer, Rect { width: width.min(line.width), ..*line }, &word, style, true, context);
            let used = (width + 1).min(line.width);
            *line = Rect { x: line.x + used, width: line.width - used, ..*line };
        }
    }
}

/// The same, a line each, with bars.
pub(super) fn endings(area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
    let theme = context.theme;
    let all = context.world.overview().endings;
    let total: u64 = all.iter().map(|(all, _)| *all).sum();
    let words = export::endings(all.map(|(all, _)| all)).in_words();
    let columns = |line: Rect| {
        let name = Rect { width: line.width.min(14), ..line };
        let number =
            Rect { x: name.right(), width: line.right().saturating_sub(name.right()).min(10), ..line };
        let lately =
            Rect { x: number.right(), width: line.right().saturating_sub(number.right()).min(10), ..line };
        let x = lately.right().saturating_add(2).min(line.right());
        (name, number, lately, Rect { x, width: line.right() - x, ..line })
    };
    let (heading, mut rest) = split_top(area, 1);
    let (_, number, lately, _) = columns(heading);
    put(buffer, number, "IN ALL", theme.label(), true, context);
    put(buffer, lately, "IN 60 S", theme.label(), true, context);
    for ((count, _), (name, (_, last))) in words.iter().zip(SHORT.iter().zip(all)) {
        let (line, below) = split_top(rest, 1);
        rest = below;
        let (place, number, lately, bar) = columns(line);
        let name = if *name == "by peer" { "reset by peer" } else { name };
        put(buffer, place, name, theme.text(), false, context);
        let style = |count: u64| if count > 0 { theme.text() } else { theme.dim() };
        put(buffer, number, &text::count(*count), style(*count), true, context);
        put(buffer, lately, &text::count(last), style(last), true, context);
        #[expect(clippy::cast_precision_loss, reason = "a share on the screen")]
        let share = if total > 0 { *count as f64 / total as f64 } else { 0.0 };
        put(buffer, bar, &context.glyphs.bar(share, bar.width), theme.tone(Tone::Info), false, context);
    }
}

/// What is missing: how many, its name, and what it means.
fn missing(context: &Context<'_>) -> [(u64, &'static str, String); 4] {
    let world = context.world;
    let overview = world.overview();
    let ago = overview.lost_at.and_then(|at| world.now().ktime.since(at));
    let last = ago.map_or_else(String::new, |ago| format!("; the last {} ago", units::time(ago)));
    [
        (overview.lost, "lost", format!("records{last}")),
        (overview.evicted, "evicted", "given up, the table was full".to_owned()),
        (overview.syncookies, "SYN cookies", "half-open and unseen".to_owned()),
        (overview.gaps, "gaps", "a change before was missed".to_owned()),
    ]
}

/// All of it in one line.
pub(super) fn losses_line(line: Rect, buffer: &mut Buffer, context: &Context<'_>) {
    let theme = context.theme;
    let right = labelled(line, buffer, context, "missing");
    let missing = missing(context);
    if missing.iter().all(|(count, ..)| *count == 0) {
        put(buffer, right, "nothing was lost", theme.tone(Tone::Good), false, context);
        return;
    }
    let mut spans = Vec::new();
    for (count, name, _) in missing.iter().filter(|(count, ..)| *count > 0) {
        let tone = if *name == "lost" { Tone::Critical } else { Tone::Warning };
        if !spans.is_empty() {
            spans.push(Span::styled(format!(" {} ", context.glyphs.dot), theme.dim()));
        }
        spans.push(Span::styled(format!("{} {name}", text::count(*count)), theme.tone(tone)));
    }
    Line::from(spans).render(right, buffer);
}

/// A line each, and what we cost.
pub(super) fn losses(area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
    let theme = context.theme;
    let missing = missing(context);
    let is_nothing = missing.iter().all(|(count, ..)| *count == 0);
    let words =
        if is_nothing { ("nothing was lost", Tone::Good) } else { ("not all was seen", Tone::Warning) };
    let (line, mut rest) = split_top(area, 1);
    put(buffer, line, words.0, theme.tone(words.1), false, context);
    for (count, name, meaning) in missing {
        let (line, below) = split_top(rest, 1);
        rest = below;
        let style = match (count, name) {
            (0, _) => theme.dim(),
            (_, "lost") => theme.tone(Tone::Critical),
            _ => theme.tone(Tone::Warning),
        };
        three(line, buffer, context, (&text::count(count), name, &meaning), style);
    }
    let cpu = text::percent(context.world.overview().own_cpu);
    three(split_top(rest, 1).0, buffer, context, (&cpu, "own CPU", "of one processor"), theme.dim());
}

/// A number, its name and its meaning.
fn three(
    line: Rect,
    buffer: &mut Buffer,
    context: &Context<'_>,
    (number, name, meaning): (&str, &str, &str),
    style: Style,
) {
    let width = line.width.min(9);
    put(buffer, Rect { width, ..line }, number, style, true, context);
    let after = line.right().min(line.x + width + 1);
    let name_place = Rect { x: after, width: (line.right() - after).min(11), ..line };
    put(buffer, name_place, name, style, false, context);
    let after = line.right().min(name_place.right() + 1);
    put(
        buffer,
        Rect { x: after, width: line.right() - after, ..line },
        meaning,
        context.theme.dim(),
        false,
        context,
    );
}

/// When all this was counted, in words.
pub(super) fn when(context: &Context<'_>) -> String {
    let world = context.world;
    if world.walked().is_some() && world.is_empty() {
        return format!("{} {} no connection yet", counted(world), context.glyphs.dot);
    }
    counted(world)
}

/// The same, and what we cost.
pub(super) fn counted_line(line: Rect, buffer: &mut Buffer, context: &Context<'_>) {
    let cpu = text::percent(context.world.overview().own_cpu);
    let words = format!("{} {} own CPU {cpu} of one processor", when(context), context.glyphs.dot);
    put(buffer, line, &words, context.theme.dim(), false, context);
}
