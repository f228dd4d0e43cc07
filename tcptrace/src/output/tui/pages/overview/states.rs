//! The lines of the states: count, change, share, and how many there were.

use ratatui::{buffer::Buffer, layout::Rect};

use super::super::counts::in_state;
use crate::{
    model::TcpState,
    output::tui::{
        page::Context,
        spark, split_top,
        table::put,
        text,
        world::{SECONDS, place},
    },
};

/// Where what is in a line.
struct Places {
    name: Rect,
    count: Rect,
    change_10: Rect,
    change_60: Rect,
    bar: Rect,
    spark: Rect,
}

impl Places {
    /// Of a line; what has no room is left out from the right.
    fn of(line: Rect) -> Self {
        let mut rest = line;
        let mut take = |width: u16| {
            let width = width.min(rest.width);
            let place = Rect { width, ..rest };
            let used = (width + 1).min(rest.width);
            rest = Rect { x: rest.x + used, width: rest.width - used, ..rest };
            place
        };
        let name = take(11);
        let count = take(9);
        let change_10 = take(8);
        let change_60 = take(if line.width >= 90 { 8 } else { 0 });
        let left = line.right().saturating_sub(change_60.right() + 1);
        let bar = take(left / 4);
        let spark = take(line.width);
        Self { name, count, change_10, change_60, bar, spark }
    }
}

/// Draws a heading and as many states as there is room for, each of so many lines. Returns where each of them is.
pub(super) fn draw(
    area: Rect,
    buffer: &mut Buffer,
    context: &Context<'_>,
    selected: usize,
    lines: u16,
) -> Vec<(usize, Rect)> {
    let (heading, body) = split_top(area, 1);
    let label = context.theme.label();
    let places = Places::of(heading);
    put(buffer, places.name, "STATE", label, false, context);
    put(buffer, places.count, "COUNT", label, true, context);
    put(buffer, places.change_10, "10 S", label, true, context);
    put(buffer, places.change_60, "60 S", label, true, context);
    put(buffer, places.bar, "SHARE", label, false, context);
    let seconds = format!("LAST {} S", usize::from(places.spark.width).min(SECONDS));
    put(buffer, places.spark, &seconds, label, true, context);

    let total: u64 = TcpState::IN_LIFE.iter().filter_map(|state| in_state(context.world, *state)).sum();
    let fit = usize::from(body.height / lines.max(1));
    let first = (selected + 1).saturating_sub(fit);
    let mut drawn = Vec::new();
    let mut rest = body;
    for (at, state) in TcpState::IN_LIFE.into_iter().enumerate().skip(first).take(fit) {
        let (line, below) = split_top(rest, lines);
        rest = below;
        draw_state(line, buffer, context, state, total);
        if at == selected {
            // The words alone: a whole line in reverse would turn its bars inside out.
            let places = Places::of(split_top(line, 1).0);
            let words = Rect { width: places.change_60.right().saturating_sub(line.x), height: 1, ..line };
            buffer.set_style(words, context.theme.selected());
        }
        drawn.push((at, line));
    }
    drawn
}

fn draw_state(line: Rect, buffer: &mut Buffer, context: &Context<'_>, state: TcpState, total: u64) {
    let theme = context.theme;
    let places = Places::of(split_top(line, 1).0);
    let count = in_state(context.world, state);
    let is_held = state == TcpState::Close;
    // A held socket is as bad as one in CLOSE_WAIT: a descriptor that nobody closes.
    let style = theme.state(if is_held { TcpState::CloseWait } else { state });
    let of_number = if count.is_some_and(|count| count > 0) { style } else { theme.dim() };
    put(buffer, places.name, if is_held { "CLOSE, held" } else { state.name() }, style, false, context);
    let number = count.map_or_else(|| text::UNKNOWN.to_owned(), text::count);
    put(buffer, places.count, &number, of_number, true, context);
    #[expect(clippy::cast_precision_loss, reason = "a share on the screen")]
    let share = count.filter(|_| total > 0).map_or(0.0, |count| count as f64 / total as f64);
    put(buffer, places.bar, &context.glyphs.bar(share, places.bar.width), style, false, context);
    if is_held {
        put(buffer, places.spark, "a descriptor holds it", theme.dim(), false, context);
        return;
    }
    let Some(counts) = context.world.overview().states.get(place(state)) else { return };
    for (place, seconds) in [(places.change_10, 10), (places.change_60, 60)] {
        let change = counts.change(seconds).filter(|_| count.is_some());
        let style = if change.is_some_and(|change| change != 0) { theme.text() } else { theme.dim() };
        put(buffer, place, &text::change(change), style, true, context);
    }
    spark::draw(Rect { height: line.height, ..places.spark }, buffer, context, &counts.history, style);
}
