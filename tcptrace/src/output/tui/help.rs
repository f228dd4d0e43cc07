//! The help over a page: its keys, and what can be seen on it.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    keymap::Action,
    page::{Context, Page, PageId},
};

/// The help, as far as it is scrolled.
#[derive(Clone, Debug, Default)]
pub struct Help {
    top: usize,
}

impl Help {
    /// Scrolls. False: it is to be closed.
    pub fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Up => self.top = self.top.saturating_sub(1),
            Action::Down => self.top += 1,
            _ => return false,
        }
        true
    }

    /// Draws it over a page.
    pub fn draw(&mut self, _: Rect, _: &mut Buffer, _: &Context<'_>, _: PageId, _: &dyn Page) {}
}
