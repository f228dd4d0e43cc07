//! What is said below the picture, and instead of it where there is no room for one.

use std::fmt::Write as _;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Modifier,
    text::{Line, Span},
    widgets::Widget as _,
};

use super::super::{counts::in_state, ranking::counted};
use crate::{
    model::TcpState,
    output::{
        diagram::{USUAL, short},
        hist::units,
        tui::{
            page::Context,
            split_top,
            table::{put, unicode_width},
            text,
            world::{Arrow, place},
        },
    },
};

/// `LAST_ACK 60 · 1.00 ms`
fn end(state: TcpState, arrow: &Arrow, context: &Context<'_>, has_median: bool) -> String {
    let count = text::count(arrow.count);
    match arrow.p50_ns.filter(|_| has_median) {
        Some(ns) => format!("{} {count} {} {}", state.name(), context.glyphs.dot, units::time(ns)),
        None => format!("{} {count}", state.name()),
    }
}

/// Ends of the arrows into a state, or out of it.
fn ends(state: TcpState, context: &Context<'_>, is_out: bool) -> String {
    let arrows = context.world.arrows().iter().filter(|arrow| arrow.count > 0);
    let ends: Vec<String> = arrows
        .filter(|arrow| if is_out { arrow.from == state } else { arrow.to == state })
        .map(|arrow| end(if is_out { arrow.to } else { arrow.from }, arrow, context, is_out))
        .collect();
    if ends.is_empty() { "none yet".to_owned() } else { ends.join(", ") }
}

/// How many there are in a state, in words.
fn how_many(state: TcpState, context: &Context<'_>) -> String {
    let Some(count) = in_state(context.world, state) else { return "not counted yet".to_owned() };
    let count = text::count(count);
    if state == TcpState::Close {
        return format!("{count} closed, and a descriptor holds them");
    }
    let mut words = format!("{count} now");
    if let Some(counts) = context.world.overview().states.get(place(state)) {
        for seconds in [10, 60] {
            match counts.change(seconds) {
                Some(0) => {
                    // Writing to a String cannot fail.
                    let _ = write!(words, ", as many {seconds} s ago");
                }
                Some(change) => {
                    let _ = write!(words, ", {} in {seconds} s", text::change(Some(change)));
                }
                None => {}
            }
        }
    }
    words
}

/// About the selected state, and the transitions that have no arrow in the picture.
pub(super) fn below(area: Rect, buffer: &mut Buffer, context: &Context<'_>, selected: TcpState) {
    let theme = context.theme;
    let (line, rest) = split_top(area, 1);
    let when = counted(context.world);
    put(buffer, line, &when, theme.dim(), true, context);
    let left = line.width.saturating_sub(u16::try_from(when.len()).unwrap_or(u16::MAX).saturating_add(1));
    Line::from(vec![
        Span::styled(selected.name(), theme.state(selected).add_modifier(Modifier::BOLD)),
        Span::styled(format!("  {}", how_many(selected, context)), theme.text()),
    ])
    .render(Rect { width: left, ..line }, buffer);
    let mut rest = rest;
    for (name, is_out) in [("in", false), ("out", true)] {
        let (line, after) = split_top(rest, 1);
        rest = after;
        let room = labelled(line, buffer, context, name);
        let ends = ends(selected, context, is_out);
        let legend = format!("count {} median stay", context.glyphs.dot);
        // What it explains goes first.
        if is_out && unicode_width(&ends) + 2 + unicode_width(&legend) <= usize::from(room.width) {
            put(buffer, room, &legend, theme.dim(), true, context);
        }
        put(buffer, room, &ends, theme.text(), false, context);
    }
    others(rest, buffer, context);
}

/// A word at the left; returns what is right of it.
fn labelled(line: Rect, buffer: &mut Buffer, context: &Context<'_>, label: &str) -> Rect {
    let width = line.width.min(8);
    put(buffer, Rect { width, ..line }, label, context.theme.label(), false, context);
    Rect { x: line.x + width, width: line.width - width, ..line }
}

/// Transitions that have no arrow in the picture: resets, time-outs, refusals. As many as there is room for.
fn others(area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
    let (first, _) = split_top(area, 1);
    if first.is_empty() {
        return;
    }
    let all = context.world.arrows();
    let is_other = |arrow: &&Arrow| arrow.count > 0 && !USUAL.contains(&(arrow.from, arrow.to));
    let mut others: Vec<&Arrow> = all.iter().filter(is_other).collect();
    others.sort_by_key(|arrow| std::cmp::Reverse(arrow.count));
    labelled(first, buffer, context, "others");
    let room = Rect { x: area.x + 8.min(area.width), width: area.width.saturating_sub(8), ..area };
    if others.is_empty() {
        let words = if all.iter().all(|arrow| arrow.count == 0) {
            "no transition yet"
        } else {
            "none: no reset, time-out or refusal yet"
        };
        put(buffer, Rect { height: 1, ..room }, words, context.theme.dim(), false, context);
        return;
    }
    let items: Vec<String> = others
        .iter()
        .map(|arrow| {
            format!("{} {} {}", arrow.from.name(), context.glyphs.right, end(arrow.to, arrow, context, true))
        })
        .collect();
    let mut lines = vec![String::new()];
    let mut left_out = 0;
    for item in &items {
        let used = lines.last().map_or(0, |line| unicode_width(line));
        // The last line keeps room for how many were left out.
        let is_last = lines.len() == usize::from(room.height);
        let reserve = if is_last { 10 } else { 0 };
        if used == 0 || used + 2 + unicode_width(item) + reserve <= usize::from(room.width) {
            if let Some(line) = lines.last_mut() {
                if used > 0 {
                    line.push_str(", ");
                }
                line.push_str(item);
            }
        } else if is_last {
            left_out += 1;
        } else {
            lines.push(item.clone());
        }
    }
    if let Some(line) = lines.last_mut().filter(|_| left_out > 0) {
        // Writing to a String cannot fail.
        let _ = write!(line, ", {left_out} more");
    }
    let mut rest = room;
    for words in lines {
        let (line, after) = split_top(rest, 1);
        rest = after;
        put(buffer, line, &words, context.theme.text(), false, context);
    }
}

/// Instead of the picture: a line for each state, with where it leads to. Returns where each is.
pub(super) fn list(
    area: Rect,
    buffer: &mut Buffer,
    context: &Context<'_>,
    selected: usize,
) -> Vec<(TcpState, Rect)> {
    let theme = context.theme;
    let first = (selected + 1).saturating_sub(usize::from(area.height));
    let mut rest = area;
    let mut places = Vec::new();
    for (at, state) in TcpState::IN_LIFE.into_iter().enumerate().skip(first) {
        let (line, after) = split_top(rest, 1);
        rest = after;
        if line.is_empty() {
            break;
        }
        let name = Rect { width: line.width.min(12), ..line };
        let words = if state == TcpState::Close { "CLOSE, held" } else { state.name() };
        put(buffer, name, words, theme.state(state), false, context);
        let count = in_state(context.world, state).map_or_else(|| text::UNKNOWN.to_owned(), short);
        let number = Rect { x: name.right(), width: (line.width - name.width).min(6), ..line };
        put(buffer, number, &count, theme.strong(), true, context);
        let x = number.right().saturating_add(1).min(line.right());
        let words = match ends(state, context, true) {
            ends if ends == "none yet" => String::new(),
            ends => format!("{} {ends}", context.glyphs.right),
        };
        put(buffer, Rect { x, width: line.right() - x, ..line }, &words, theme.text(), false, context);
        if at == selected {
            buffer.set_style(line, theme.selected());
        }
        places.push((state, line));
    }
    places
}
