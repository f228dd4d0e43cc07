//! A table of any length, of which only what is seen is made: columns, a selected row, sorting, scrolling both ways.

use std::borrow::Cow;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::{Modifier, Style},
};

use super::{keymap::Action, page::Context};

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// Cells across, the heading's at least.
    pub width: u16,
    /// Words stand at the left, numbers at the right.
    pub is_number: bool,
    /// It takes what room is left, shared with others that do.
    pub grows: bool,
    /// What it means, for the help.
    pub help: &'static str,
}

impl Column {
    /// One of words.
    pub const fn words(name: &'static str, width: u16, help: &'static str) -> Self {
        Self { name, width, is_number: false, grows: false, help }
    }

    /// One of numbers.
    pub const fn numbers(name: &'static str, width: u16, help: &'static str) -> Self {
        Self { name, width, is_number: true, grows: false, help }
    }

    /// The same, and takes what room is left.
    #[must_use]
    pub const fn growing(self) -> Self {
        Self { grows: true, ..self }
    }
}

/// What stands in a cell: harmless text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// The text.
    pub text: Cow<'static, str>,
    /// How it looks.
    pub style: Style,
}

impl Cell {
    /// Text that looks so.
    pub fn new(text: impl Into<Cow<'static, str>>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

/// What was clicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clicked {
    /// A row; the second time that it is clicked, it is opened.
    Row {
        /// Which.
        row: usize,
        /// It was selected already.
        is_selected: bool,
    },
    /// The heading of a column.
    Heading(usize),
}

/// Where one is in a table, and how it is sorted.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The selected row.
    pub selected: usize,
    /// By which column it is sorted.
    pub sort: usize,
    /// The large first.
    pub is_descending: bool,
    /// So many rows at the top stay where they are when the others scroll, if they fit half of the room.
    pub fixed: usize,
    /// Rows that are scrolled out at the top, behind those that stay.
    top: usize,
    /// Columns that are scrolled out to the left, behind the first.
    left: usize,
    /// Where what was drawn last is.
    body: Rect,
    headings: Vec<(usize, Rect)>,
    /// Columns to the right were cut off.
    has_more: bool,
    rows: usize,
}

impl Table {
    /// Sorted by a column.
    pub fn sorted(sort: usize, is_descending: bool) -> Self {
        Self { sort, is_descending, ..Self::default() }
    }

    /// Rows that are in sight, as drawn last, but for those that stay where they are.
    pub fn seen(&self) -> std::ops::Range<usize> {
        self.top + self.staying()..self.rows.min(self.top + usize::from(self.body.height))
    }

    /// How many rows do not scroll.
    fn staying(&self) -> usize {
        self.fixed.min(self.rows).min(usize::from(self.body.height) / 2)
    }

    /// The row in a line, counted from the first one.
    fn row_in(&self, line: usize) -> usize {
        if line < self.staying() { line } else { line + self.top }
    }

    /// Whether there are columns out of sight, as drawn last.
    pub const fn hides_columns(&self) -> bool {
        self.has_more || self.left > 0
    }

    /// Moves. Returns whether the action was one of a table's. Sorting is for the caller to carry out when
    /// [`Self::sort`] or [`Self::is_descending`] has changed.
    pub fn act(&mut self, action: Action, rows: usize, columns: usize) -> bool {
        let page = usize::from(self.body.height).saturating_sub(self.staying()).max(1);
        let last = rows.saturating_sub(1);
        self.selected = self.selected.min(last);
        match action {
            Action::Up => self.selected = self.selected.saturating_sub(1),
            Action::Down => self.selected = (self.selected + 1).min(last),
            Action::PageUp => self.selected = self.selected.saturating_sub(page),
            Action::PageDown => self.selected = (self.selected + page).min(last),
            Action::Top => self.selected = 0,
            Action::Bottom => self.selected = last,
            Action::Left => self.left = self.left.saturating_sub(1),
            Action::Right => self.left += usize::from(self.has_more),
            Action::Sort => {
                self.sort = (self.sort + 1) % columns.max(1);
                self.selected = 0;
            }
            Action::Reverse => {
                self.is_descending = !self.is_descending;
                self.selected = 0;
            }
            _ => return false,
        }
        // What stays is above the first of the others.
        if matches!(action, Action::Up | Action::PageUp | Action::Top) && self.selected < self.staying() {
            self.top = 0;
        }
        true
    }

    /// What is at a place on the screen. A row that is clicked is selected; a heading sorts, the second time the other way
    /// round.
    pub fn click(&mut self, at: Position) -> Option<Clicked> {
        if let Some((column, _)) = self.headings.iter().find(|(_, area)| area.contains(at)) {
            let column = *column;
            if self.sort == column {
                self.is_descending = !self.is_descending;
            } else {
                self.sort = column;
            }
            return Some(Clicked::Heading(column));
        }
        let row = self.row_in(usize::from(at.y.checked_sub(self.body.y)?));
        if !self.body.contains(at) || row >= self.rows {
            return None;
        }
        let is_selected = self.selected == row;
        self.selected = row;
        Some(Clicked::Row { row, is_selected })
    }

    /// Draws headings and those of the `rows` that are in sight; `cell` makes what stands in a row and a column.
    pub fn draw(
        &mut self,
        area: Rect,
        buffer: &mut Buffer,
        context: &Context<'_>,
        columns: &[Column],
        rows: usize,
        cell: &mut dyn FnMut(usize, usize) -> Cell,
    ) {
        let area = area.intersection(buffer.area);
        self.rows = rows;
        self.headings.clear();
        self.body = Rect { y: area.y.saturating_add(1), height: area.height.saturating_sub(1), ..area };
        if area.is_empty() {
            self.body = Rect::default();
            return;
        }
        self.scroll(rows);
        let places = self.places(columns, area.width);
        for &(column, x, width) in &places {
            let heading = Rect { x: area.x + x, y: area.y, width, height: 1 };
            let mut name = columns[column].name.to_owned();
            let mut style = context.theme.label();
            if column == self.sort {
                let arrow =
                    if self.is_descending { context.glyphs.descending } else { context.glyphs.ascending };
                name = if columns[column].is_number {
                    format!("{arrow}{name}")
                } else {
                    format!("{name}{arrow}")
                };
                style = style.add_modifier(Modifier::BOLD);
            }
            put(buffer, heading, &name, style, columns[column].is_number, context);
            self.headings.push((column, heading));
        }
        for (line, row) in (self.body.y..self.body.bottom()).zip((0..).map(|line| self.row_in(line))) {
            if row >= rows {
                break;
            }
            let is_selected = row == self.selected;
            for &(column, x, width) in &places {
                let Cell { text, style } = cell(row, column);
                let place = Rect { x: area.x + x, y: line, width, height: 1 };
                put(buffer, place, &text, style, columns[column].is_number, context);
            }
            if is_selected {
                buffer.set_style(Rect { y: line, height: 1, ..area }, context.theme.selected());
            }
        }
    }

    /// Keeps the selected row in sight.
    fn scroll(&mut self, rows: usize) {
        let staying = self.staying();
        let height = usize::from(self.body.height).saturating_sub(staying).max(1);
        self.selected = self.selected.min(rows.saturating_sub(1));
        if let Some(selected) = self.selected.checked_sub(staying) {
            self.top = self.top.min(selected).max((selected + 1).saturating_sub(height));
        }
        let rows = rows.saturating_sub(staying);
        self.top = self.top.min(rows.saturating_sub(height.min(rows)));
    }

    /// Which columns are seen, where each begins and how wide it is.
    fn places(&mut self, columns: &[Column], width: u16) -> Vec<(usize, u16, u16)> {
        const GAP: u16 = 1;
        let most = columns.len().saturating_sub(2);
        self.left = self.left.min(most);
        let in_order = columns.iter().enumerate().filter(|(at, _)| *at == 0 || *at > self.left);
        let mut seen = Vec::new();
        let mut used = 0_u16;
        self.has_more = false;
        for (at, column) in in_order {
            // Room for the arrow of the column that is sorted by.
            let needs =
                column.width.max(u16::try_from(column.name.len()).unwrap_or(u16::MAX).saturating_add(1));
            let gap = if seen.is_empty() { 0 } else { GAP };
            if used.saturating_add(gap).saturating_add(needs) > width && !seen.is_empty() {
                self.has_more = true;
                break;
            }
            let needs = needs.min(width.saturating_sub(used + gap));
            seen.push((at, used + gap, needs));
            used += gap + needs;
        }
        let growing = seen.iter().filter(|(at, ..)| columns[*at].grows).count();
        let share =
            u16::try_from(growing).ok().filter(|count| *count > 0).map(|count| (width - used) / count);
        let mut shift = 0;
        for (at, x, width) in &mut seen {
            *x += shift;
            if columns[*at].grows {
                *width += share.unwrap_or(0);
                shift += share.unwrap_or(0);
            }
        }
        seen
    }
}

/// Text into one line, cut off with a mark where it is too long.
pub fn put(buffer: &mut Buffer, area: Rect, text: &str, style: Style, is_right: bool, context: &Context<'_>) {
    let area = area.intersection(buffer.area);
    if area.is_empty() {
        return;
    }
    let width = usize::from(area.width);
    let len = unicode_width(text);
    let start = if is_right && len < width { width - len } else { 0 };
    let start = u16::try_from(start).unwrap_or(0);
    buffer.set_stringn(area.x + start, area.y, text, width, style);
    if len > width {
        buffer.set_stringn(area.right() - 1, area.y, context.glyphs.ellipsis, 1, style);
    }
}

/// Cells that a text takes.
pub fn unicode_width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { ratatui::text::Span::raw(text).width() }
}
