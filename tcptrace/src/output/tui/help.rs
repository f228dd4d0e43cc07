//! The help over a page: the keys, what can be seen on it, and the states.

use ratatui::{
    buffer::Buffer,
    layout::{Margin, Rect},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph, Widget as _},
};

use super::{
    keymap::{Action, BINDINGS},
    page::{Context, Page, PageId},
    theme::Theme,
};
use crate::{
    model::TcpState,
    output::{
        explain::{self, Heading, Language},
        findings::words::wrapped,
    },
};

/// Cells that a column of keys needs at least, and one of words.
const COLUMNS: (usize, usize) = (36, 64);

/// Columns are not more.
const MOST: usize = 4;

/// Between columns.
const GAP: usize = 3;

/// A word at the left is not wider, unless it is one that long.
const LABEL: usize = 16;

/// The help, as far as it is scrolled.
#[derive(Clone, Debug, Default)]
pub struct Help {
    top: usize,
    /// Lines that were seen last, and all.
    lines: (usize, usize),
}

impl Help {
    /// Scrolls. False: it is to be closed.
    pub fn act(&mut self, action: Action) -> bool {
        let (seen, all) = self.lines;
        let last = all.saturating_sub(seen);
        self.top = match action {
            Action::Up => self.top.saturating_sub(1),
            Action::Down => self.top + 1,
            Action::PageUp => self.top.saturating_sub(seen.max(1)),
            Action::PageDown => self.top + seen.max(1),
            Action::Top => 0,
            Action::Bottom => last,
            _ => return false,
        }
        .min(last);
        true
    }

    /// Draws it over a page.
    pub fn draw(
        &mut self,
        area: Rect,
        buffer: &mut Buffer,
        context: &Context<'_>,
        id: PageId,
        page: &dyn Page,
    ) {
        let theme = context.theme;
        let inside = area.inner(Margin { horizontal: 2, vertical: 1 });
        let lines = lines(usize::from(inside.width), id, page, theme);
        let seen = usize::from(inside.height);
        self.lines = (seen, lines.len());
        self.top = self.top.min(lines.len().saturating_sub(seen));
        let (first, last) = (self.top + 1, (self.top + seen).min(lines.len()));
        let keys = if lines.len() > seen {
            " Up, Down, PgUp, PgDn: scroll; any other key: close "
        } else {
            " any key: close "
        };
        let mut block = Block::bordered()
            .border_set(context.glyphs.border)
            .border_style(theme.label())
            .title_top(Line::styled(" Help ", theme.title()))
            .title_bottom(Line::styled(keys, theme.dim()));
        if lines.len() > seen {
            let place = format!(" lines {first} to {last} of {} ", lines.len());
            block = block.title_top(Line::styled(place, theme.dim()).right_aligned());
        }
        Clear.render(area, buffer);
        block.render(area, buffer);
        let shown: Vec<Line<'_>> = lines.into_iter().skip(self.top).take(seen).collect();
        Paragraph::new(shown).render(inside, buffer);
    }
}

/// All of it.
fn lines(width: usize, id: PageId, page: &dyn Page, theme: Theme) -> Vec<Line<'static>> {
    let keys: Vec<(String, String)> =
        BINDINGS.iter().map(|binding| (binding.label.to_owned(), binding.help.to_owned())).collect();
    let words: Vec<(String, String)> =
        page.help().iter().map(|(word, meaning)| ((*word).to_owned(), (*meaning).to_owned())).collect();
    let states: Vec<(String, String)> = TcpState::IN_LIFE
        .into_iter()
        .map(|state| {
            let meaning = explain::state_page(state, Language::En).paragraph(Heading::Meaning);
            (state.name().to_owned(), meaning)
        })
        .collect();
    let mut lines = Vec::new();
    for (title, items, least) in [
        ("Keys".to_owned(), keys, COLUMNS.0),
        (format!("On the page {}", id.name()), words, COLUMNS.1),
        ("States; `tcptrace explain STATE` tells all about one".to_owned(), states, COLUMNS.1),
    ] {
        if items.is_empty() {
            continue;
        }
        if !lines.is_empty() {
            lines.push(Line::default());
        }
        lines.push(Line::styled(title, theme.title()));
        lines.extend(in_columns(&items, width, least, theme));
    }
    lines
}

/// Words with what they mean, one below the other, in as many columns as there is room for.
fn in_columns(items: &[(String, String)], width: usize, least: usize, theme: Theme) -> Vec<Line<'static>> {
    let count = (width / least).clamp(1, MOST);
    let column = (width.saturating_sub(GAP * (count - 1)) / count).max(1);
    let widest = items.iter().map(|(word, _)| word.chars().count()).max().unwrap_or(0);
    let label = widest.min(LABEL).min(column / 2) + 2;
    let blocks: Vec<Vec<(String, String)>> = items
        .iter()
        .map(|(word, meaning)| block(word, meaning, label, column.saturating_sub(label).max(1)))
        .collect();
    let rows = blocks.iter().map(Vec::len).sum::<usize>().div_ceil(count);
    let mut columns: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for block in blocks {
        let used = columns.last().map_or(0, Vec::len);
        if used > 0 && used + block.len() > rows && columns.len() < count {
            columns.push(block);
        } else if let Some(column) = columns.last_mut() {
            column.extend(block);
        }
    }
    let rows = columns.iter().map(Vec::len).max().unwrap_or(0);
    (0..rows)
        .map(|row| {
            let spans = columns.iter().flat_map(|cells| {
                let (word, meaning) = cells.get(row).cloned().unwrap_or_default();
                let rest = (column + GAP).saturating_sub(label);
                [
                    Span::styled(format!("{word:<label$}"), theme.label()),
                    Span::styled(format!("{meaning:<rest$}"), theme.text()),
                ]
            });
            Line::from(spans.collect::<Vec<_>>())
        })
        .collect()
}

/// A word at the left, its meaning behind it and below; below it all where the word is too long.
fn block(word: &str, meaning: &str, label: usize, width: usize) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> =
        wrapped(meaning, width).into_iter().map(|line| (String::new(), line)).collect();
    match rows.first_mut() {
        Some((place, _)) if word.chars().count() + 2 <= label => word.clone_into(place),
        _ => rows.insert(0, (word.to_owned(), String::new())),
    }
    rows
}
