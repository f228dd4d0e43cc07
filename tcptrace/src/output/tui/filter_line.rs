//! The line in which the filter is edited.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{page::Context, world::FilterLanguage};
use crate::model::Filter;

/// What became of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Edited {
    /// It is still edited.
    GoesOn,
    /// The filter stays as it was.
    Cancelled,
    /// This is the filter from now on, as typed and as meant.
    Accepted(String, Filter),
}

/// A line that is edited.
#[derive(Clone, Debug, Default)]
pub struct FilterLine {
    line: String,
}

impl FilterLine {
    /// Begins with this.
    pub fn open(line: &str, _: &dyn FilterLanguage) -> Self {
        Self { line: line.to_owned() }
    }

    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent, language: &dyn FilterLanguage) -> Edited {
        match key.code {
            KeyCode::Enter => match language.parse(&self.line) {
                Ok(filter) => Edited::Accepted(self.line.clone(), filter),
                Err(_) => Edited::GoesOn,
            },
            KeyCode::Esc => Edited::Cancelled,
            KeyCode::Char(c) => {
                self.line.push(c);
                Edited::GoesOn
            }
            _ => Edited::GoesOn,
        }
    }

    /// Takes pasted text.
    pub fn paste(&mut self, text: &str, _: &dyn FilterLanguage) {
        self.line.push_str(text);
    }

    /// Lines that it needs.
    pub fn height(&self) -> u16 {
        2
    }

    /// Draws it. Returns where the cursor is.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) -> Option<Position> {
        buffer.set_stringn(area.x, area.y, &self.line, usize::from(area.width), context.theme.text());
        None
    }
}
