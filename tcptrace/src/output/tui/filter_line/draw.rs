//! How the line looks that is edited.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
    text::Span,
};

use super::FilterLine;
use crate::output::{
    escape,
    findings::words::wrapped,
    tui::{
        page::Context,
        split_top,
        table::{put, unicode_width},
        theme::Tone,
    },
};

/// Lines of candidates.
const CANDIDATES: u16 = 6;

/// The line itself, candidates, and keys.
pub(super) const HEIGHT: u16 = 1 + CANDIDATES + 1;

/// What stands before the line.
const PROMPT: &str = "/ ";

/// Lines of a message.
const MESSAGE: usize = 4;

/// Keys, and what an empty line could be.
const KEYS: &str = "Enter: filter  Tab: complete  Up: lines before  Esc: leave it as it was";
const EXAMPLES: &str = "443 is --port 443, close-wait a --state, nginx a --comm, 10.0.0.0/8 a --raddr";

impl FilterLine {
    /// Draws it. Returns where the cursor is.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) -> Option<Position> {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return None;
        }
        let theme = context.theme;
        for y in area.y..area.bottom() {
            put(
                buffer,
                Rect { y, height: 1, ..area },
                &" ".repeat(area.width.into()),
                Style::new(),
                false,
                context,
            );
        }
        let (line, mut rest) = split_top(area, 1);
        put(buffer, line, PROMPT, theme.title(), false, context);
        let indent = u16::try_from(PROMPT.len()).unwrap_or(0).min(line.width.saturating_sub(1));
        let line = Rect { x: line.x + indent, width: line.width - indent, ..line };
        // The cursor needs a cell behind the last character.
        let scroll = self.input.visual_scroll(usize::from(line.width.saturating_sub(1)));
        self.draw_text(line, buffer, context, scroll);
        let mut take = |height: u16| {
            let (top, below) = split_top(rest, height);
            rest = below;
            top
        };
        if let Some(error) = &self.error {
            let style = theme.tone(Tone::Critical);
            if area.height > 2 {
                let marks = take(1);
                let (x, width) = self.place(&error.at, scroll, line);
                put(buffer, Rect { x, width, ..marks }, &"^".repeat(width.into()), style, false, context);
            }
            let message = escape::text(&error.message);
            for text in wrapped(&message, usize::from(area.width).max(1)).into_iter().take(MESSAGE) {
                put(buffer, take(1), &text, style, false, context);
            }
        }
        let of_keys = u16::from(rest.height > 1 || self.candidates.is_empty());
        let (of_candidates, of_keys) = split_top(rest, rest.height.saturating_sub(of_keys));
        self.draw_candidates(of_candidates, buffer, context);
        let keys = if self.input.value().trim().is_empty() { EXAMPLES } else { KEYS };
        put(buffer, Rect { height: of_keys.height.min(1), ..of_keys }, keys, theme.dim(), false, context);
        let cursor = u16::try_from(self.input.visual_cursor().saturating_sub(scroll)).unwrap_or(u16::MAX);
        Some(Position { x: line.x.saturating_add(cursor).min(line.right().saturating_sub(1)), y: line.y })
    }

    /// The text from a column on, what is wrong with it marked.
    fn draw_text(&self, line: Rect, buffer: &mut Buffer, context: &Context<'_>, scroll: usize) {
        let wrong = self.error.as_ref().map(|error| error.at.clone()).unwrap_or_default();
        let text = Span::raw(self.input.value());
        let (mut at, mut column) = (0, 0_usize);
        for grapheme in text.styled_graphemes(Style::new()) {
            let width = unicode_width(grapheme.symbol);
            let style =
                if wrong.contains(&at) { context.theme.tone(Tone::Critical) } else { context.theme.strong() };
            let end = column + width;
            if column >= scroll && end - scroll <= usize::from(line.width) {
                let x = line.x + u16::try_from(column - scroll).unwrap_or(0);
                buffer.set_stringn(x, line.y, grapheme.symbol, width, style);
            }
            at += grapheme.symbol.len();
            column = end;
        }
    }

    /// The cells of a part of the line, one at least, those nearest where it is out of sight.
    fn place(&self, at: &std::ops::Range<usize>, scroll: usize, line: Rect) -> (u16, u16) {
        let column = |at: usize| {
            let columns =
                unicode_width(self.input.value().get(..at).unwrap_or_default()).saturating_sub(scroll);
            u16::try_from(columns).unwrap_or(u16::MAX)
        };
        let start = column(at.start).min(line.width.saturating_sub(1));
        let end = column(at.end).clamp(start + 1, line.width.max(start + 1));
        (line.x + start, end - start)
    }

    fn draw_candidates(&self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let theme = context.theme;
        let rows = usize::from(area.height);
        let count = self.candidates.len();
        if rows == 0 {
            return;
        }
        let chosen = self.choice.map(|choice| choice.candidate);
        // The last row counts those that there is no room for.
        let seen = if count > rows { rows - 1 } else { count };
        let top = chosen.map_or(0, |chosen| (chosen + 1).saturating_sub(seen.max(1)));
        let shown = self.candidates.iter().enumerate().skip(top).take(seen);
        let widest = shown.clone().map(|(_, word)| unicode_width(&word.word)).max().unwrap_or(0);
        let widest = u16::try_from(widest).unwrap_or(u16::MAX).min(area.width / 2);
        for (y, (number, candidate)) in (area.y..).zip(shown) {
            let row =
                Rect { x: area.x + 2.min(area.width), y, width: area.width.saturating_sub(2), height: 1 };
            let word = Rect { width: widest.min(row.width), ..row };
            let gap = (widest + 2).min(row.width);
            let help = Rect { x: row.x + gap, width: row.width - gap, ..row };
            put(buffer, word, &escape::text(&candidate.word), theme.label(), false, context);
            put(buffer, help, &escape::text(&candidate.help), theme.dim(), false, context);
            if chosen == Some(number) {
                buffer.set_style(Rect { y, height: 1, ..area }, theme.selected());
            }
        }
        if count > seen {
            let last = Rect { y: area.bottom() - 1, height: 1, ..area };
            put(buffer, last, &format!("  and {} more", count - seen), theme.dim(), false, context);
        }
    }
}
