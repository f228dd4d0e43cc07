//! The page Connections.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use crate::model::Filter;
use crate::output::tui::{
    keymap::Action,
    page::{Context, Outcome, Page},
};

/// The page.
#[derive(Debug, Default)]
pub struct ConnectionsPage {
    line: String,
    filter: Filter,
}

impl ConnectionsPage {
    /// The filter as typed.
    pub fn filter_line(&self) -> &str {
        &self.line
    }

    /// Shows those that the filter keeps.
    pub fn set_filter(&mut self, line: String, filter: Filter) {
        self.line = line;
        self.filter = filter;
    }
}

impl Page for ConnectionsPage {
    fn act(&mut self, _: Action, _: &Context<'_>) -> Outcome {
        Outcome::Ignored
    }

    fn click(&mut self, _: Position, _: &Context<'_>) -> Outcome {
        Outcome::Ignored
    }

    fn draw(&mut self, _: Rect, _: &mut Buffer, _: &Context<'_>) {}

    fn export(&self, _: &Context<'_>) -> serde_json::Value {
        serde_json::Value::Null
    }

    fn help(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
}
