//! The page Connection.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use crate::model::SocketKey;
use crate::output::tui::{
    keymap::Action,
    page::{Context, Outcome, Page},
};

/// The page.
#[derive(Debug, Default)]
pub struct ConnectionPage {
    key: Option<SocketKey>,
}

impl ConnectionPage {
    /// Shows this one.
    pub fn show(&mut self, key: SocketKey) {
        self.key = Some(key);
    }
}

impl Page for ConnectionPage {
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
