//! Boxes and arrows.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
    text::Span,
    widgets::{Block, Widget as _},
};

use super::{super::counts::in_state, arrow, layout::Layout};
use crate::{
    model::TcpState,
    output::{
        diagram::short,
        hist::units,
        tui::{
            page::Context,
            spark, split_top,
            table::{put, unicode_width},
            text,
            world::{Arrow, place},
        },
    },
};

/// Draws all of them.
pub(super) fn draw(layout: &Layout, buffer: &mut Buffer, context: &Context<'_>, selected: TcpState) {
    let mut pen = Pen { buffer, context };
    pen.arrows(layout);
    for state in TcpState::ALL {
        pen.state(layout.of_state(state), state, state == selected);
    }
}

struct Pen<'a, 'b> {
    buffer: &'a mut Buffer,
    context: &'a Context<'b>,
}

/// What leads along an arrow.
const fn word(from: TcpState, to: TcpState) -> &'static str {
    use TcpState::{Close, CloseWait, Closing, Established, FinWait1, FinWait2, Listen, SynSent, TimeWait};
    match (from, to) {
        (Close, Listen) => "listen",
        (Close, SynSent) => "connect",
        (Listen, _) => "SYN",
        (SynSent, Established) => "SYN, ACK",
        (Established, FinWait1) | (CloseWait, _) => "we close",
        (Established, CloseWait) => "peer closes",
        (FinWait1, Closing) => "both close",
        (FinWait1, TimeWait) => "FIN, ACK",
        (FinWait2, TimeWait) => "FIN",
        (TimeWait, Close) => "60 s over",
        _ => "ACK",
    }
}

/// A time in so many cells, if it can be: `12.5 min`, `12.5min`, `12min`. Never one whose unit is cut off.
fn compact(ns: u64, width: u16) -> String {
    let mut words = units::time(ns);
    if words.len() > usize::from(width) {
        words.retain(|c| c != ' ');
    }
    if words.len() > usize::from(width)
        && let Some((whole, rest)) = words.split_once('.')
    {
        words = format!("{whole}{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    words
}

impl Pen<'_, '_> {
    fn arrows(&mut self, layout: &Layout) {
        use TcpState::{
            Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
            TimeWait,
        };
        let of = |state| layout.of_state(state);
        let middle_of = |state| of(state).x + of(state).width / 2;
        for (row, from, to) in [
            (0, Close, Listen),
            (1, Close, SynSent),
            (0, Listen, SynRecv),
            (0, SynRecv, Established),
            (1, SynSent, Established),
            (2, Established, FinWait1),
            (2, FinWait1, FinWait2),
            (2, FinWait2, TimeWait),
            (2, TimeWait, Close),
            (4, Established, CloseWait),
            (4, CloseWait, LastAck),
            (4, LastAck, Close),
        ] {
            let (left, right) = if of(from).x < of(to).x { (from, to) } else { (to, from) };
            let gap = (of(left).right(), of(right).x);
            self.across(from, to, gap, layout.middle(row), (left == to, right == to));
            // What is beside of the branch to SYN_RECV belongs to the longer arrow.
            let words =
                if (from, to) == (SynSent, Established) { (middle_of(SynRecv) + 1, gap.1) } else { gap };
            self.label(from, to, words, layout.middle(row));
        }

        // Both open: a branch up to SYN_RECV.
        let (x, y) = (middle_of(SynRecv), layout.middle(1));
        let both = arrow(self.context.world, SynSent, SynRecv);
        let straight = arrow(self.context.world, SynSent, Established);
        let top = of(SynRecv).bottom();
        let style = self.line(both.count.max(straight.count), SynSent);
        self.set(x, y, self.context.glyphs.branch_up, style);
        self.upright(SynSent, SynRecv, x, (top + 1, y));
        let style = self.line(both.count, SynSent);
        self.set(x, top, self.context.glyphs.head_up, style);
        let left = of(SynSent).right() + 1;
        let room = Rect { x: left, y: y - 1, width: (x - 1).saturating_sub(left), height: 1 };
        put(self.buffer, room, &self.words(&both), self.style_of_words(), true, self.context);

        // FIN and ACK in one: past FIN_WAIT2, above it.
        let (x0, x1, below) = (middle_of(TimeWait), middle_of(FinWait1), of(FinWait1).y);
        let one = arrow(self.context.world, FinWait1, TimeWait);
        let style = self.line(one.count, FinWait1);
        let set = self.set_of(one.count);
        let y =
            if layout.middle(2) - layout.middle(1) > of(FinWait1).height + 1 { below - 2 } else { below - 1 };
        self.across(FinWait1, TimeWait, (x0 + 1, x1), y, (false, false));
        self.set(x1, y, set.top_right, style);
        self.upright(FinWait1, TimeWait, x1, (y + 1, below));
        if y + 1 < below {
            self.set(x0, y, set.top_left, style);
        }
        self.set(x0, below - 1, self.context.glyphs.down, style);
        let words = self.words(&one);
        if !words.is_empty() {
            let width = u16::try_from(unicode_width(&words) + 2).unwrap_or(u16::MAX).min(x1 - x0 - 1);
            let room = Rect { x: x0 + 1 + (x1 - x0 - 1 - width) / 2, y, width, height: 1 };
            put(self.buffer, room, &format!(" {words} "), self.style_of_words(), false, self.context);
        }

        // Both close: down to CLOSING, and up to TIME_WAIT.
        let y = layout.middle(3);
        let (x, gap) = (middle_of(FinWait1), (of(Closing).right(), middle_of(FinWait1)));
        let both = arrow(self.context.world, FinWait1, Closing);
        self.across(FinWait1, Closing, gap, y, (true, false));
        self.set(x, y, self.set_of(both.count).bottom_right, self.line(both.count, FinWait1));
        self.upright(FinWait1, Closing, x, (of(FinWait1).bottom(), y));
        self.label(FinWait1, Closing, gap, y);
        let (x, gap) = (middle_of(TimeWait), (middle_of(TimeWait) + 1, of(Closing).x));
        let last = arrow(self.context.world, Closing, TimeWait);
        let style = self.line(last.count, Closing);
        self.across(Closing, TimeWait, gap, y, (false, false));
        self.set(x, y, self.set_of(last.count).bottom_left, style);
        let top = of(TimeWait).bottom();
        self.upright(Closing, TimeWait, x, (top + 1, y));
        self.set(x, top, self.context.glyphs.head_up, style);
        self.label(Closing, TimeWait, gap, y);
    }

    /// What carries something is drawn in the colour of the state that is left.
    fn line(&self, count: u64, from: TcpState) -> Style {
        let theme = self.context.theme;
        match (count, from) {
            (0, _) => theme.dim(),
            (_, TcpState::Close) => theme.strong(),
            _ => theme.state(from).add_modifier(Modifier::BOLD),
        }
    }

    const fn set_of(&self, count: u64) -> &'static ratatui::symbols::border::Set<'static> {
        if count > 0 { &self.context.glyphs.strong } else { &self.context.glyphs.border }
    }

    fn style_of_words(&self) -> Style {
        self.context.theme.text()
    }

    fn set(&mut self, x: u16, y: u16, symbol: &str, style: Style) {
        if let Some(cell) = self.buffer.cell_mut((x, y)) {
            cell.set_symbol(symbol).set_style(style);
        }
    }

    /// A lying line from one cell to before another, perhaps with heads.
    fn across(
        &mut self,
        from: TcpState,
        to: TcpState,
        (x0, x1): (u16, u16),
        y: u16,
        (has_left, has_right): (bool, bool),
    ) {
        let count = arrow(self.context.world, from, to).count;
        let (style, symbol) = (self.line(count, from), self.set_of(count).horizontal_top);
        for x in x0..x1 {
            self.set(x, y, symbol, style);
        }
        if has_left {
            self.set(x0, y, self.context.glyphs.head_left, style);
        }
        if has_right {
            self.set(x1.saturating_sub(1), y, self.context.glyphs.head_right, style);
        }
    }

    /// An upright line from one line to before another.
    fn upright(&mut self, from: TcpState, to: TcpState, x: u16, (y0, y1): (u16, u16)) {
        let count = arrow(self.context.world, from, to).count;
        let (style, symbol) = (self.line(count, from), self.set_of(count).vertical_left);
        for y in y0..y1 {
            self.set(x, y, symbol, style);
        }
    }

    /// `120 · 40.0 ms`; nothing where nothing was seen.
    fn words(&self, arrow: &Arrow) -> String {
        match (arrow.count, arrow.p50_ns) {
            (0, _) => String::new(),
            (count, None) => short(count),
            (count, Some(ns)) => format!("{} {} {}", short(count), self.context.glyphs.dot, units::time(ns)),
        }
    }

    /// Count and median at an arrow: above it, or, where there is little room, the median below it. And what leads along it.
    fn label(&mut self, from: TcpState, to: TcpState, (x0, x1): (u16, u16), y: u16) {
        let arrow = arrow(self.context.world, from, to);
        let width = x1.saturating_sub(x0);
        let text_style = self.style_of_words();
        let whole = self.words(&arrow);
        let meaning = word(from, to);
        let has_room = unicode_width(&whole) < usize::from(width);
        if has_room {
            self.centred(&whole, text_style, (x0, width), y.saturating_sub(1));
        } else {
            self.centred(&short(arrow.count), text_style, (x0, width), y.saturating_sub(1));
        }
        match arrow.p50_ns {
            Some(ns) if !has_room => {
                let median = compact(ns, width);
                self.centred(&median, text_style, (x0, width), y + 1);
            }
            _ if meaning.len() + 1 < usize::from(width)
                || meaning.len() <= usize::from(width) && arrow.count == 0 =>
            {
                self.centred(meaning, self.context.theme.dim(), (x0, width), y + 1);
            }
            _ => {}
        }
    }

    fn centred(&mut self, words: &str, style: Style, (x, width): (u16, u16), y: u16) {
        let len = u16::try_from(unicode_width(words)).unwrap_or(u16::MAX).min(width);
        let room = Rect { x: x + (width - len) / 2, y, width: len, height: 1 };
        put(self.buffer, room, words, style, false, self.context);
    }

    /// The box of a state, with what fits in: how many there are, the change, and how many there were.
    fn state(&mut self, area: Rect, state: TcpState, is_selected: bool) {
        let theme = self.context.theme;
        let glyphs = self.context.glyphs;
        let count = in_state(self.context.world, state);
        let is_close = state == TcpState::Close;
        // A held socket is as bad as one in CLOSE_WAIT.
        let style = match count {
            Some(1..) => theme.state(if is_close { TcpState::CloseWait } else { state }),
            _ => theme.dim(),
        };
        let name = if is_selected { theme.selected() } else { Style::new() };
        let block = Block::bordered()
            .border_set(if is_selected { glyphs.strong } else { glyphs.border })
            .border_style(style)
            .title(Span::styled(state.name(), theme.state(state).patch(name)));
        let inner = block.inner(area);
        block.render(area, self.buffer);

        let mut number = count.map_or_else(|| text::UNKNOWN.to_owned(), text::count);
        if number.len() > usize::from(inner.width) {
            number = short(count.unwrap_or_default());
        }
        let lines = inner.height.min(if is_close { 2 } else { 5 });
        let (_, place_of_all) = split_top(inner, (inner.height - lines) / 2);
        let (first, rest) = split_top(place_of_all, 1);
        let room = (inner.x, inner.width);
        self.centred(&number, style.add_modifier(Modifier::BOLD), room, first.y);
        let (second, rest) = split_top(rest, 1);
        if second.height == 0 {
            return;
        }
        if is_close {
            self.centred("held", theme.dim(), room, second.y);
            return;
        }
        let Some(counts) = self.context.world.overview().states.get(place(state)) else { return };
        let change = counts.change(10).filter(|_| count.is_some());
        let mut words = text::change(change);
        if change.is_some() && words.len() + 8 <= usize::from(inner.width) {
            words.push_str(" in 10 s");
        }
        if let Some(change) = change.filter(|_| words.len() > usize::from(inner.width)) {
            words = format!("{}{}", if change < 0 { '-' } else { '+' }, short(change.unsigned_abs()));
        }
        self.centred(&words, theme.dim(), room, second.y);
        let (chart, _) = split_top(rest, 3);
        spark::draw(chart, self.buffer, self.context, &counts.history, style);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_unit() {
        for (width, text) in [(9, "12.5 min"), (8, "12.5 min"), (7, "12.5min"), (6, "12min")] {
            assert_eq!(compact(750_000_000_000, width), text);
        }
        assert_eq!(compact(40_000_000, 6), "40.0ms");
    }
}
