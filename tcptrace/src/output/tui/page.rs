//! What a page is: it is told of keys and clicks, draws itself, and says what it shows as JSON.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{glyphs::Glyphs, keymap::Action, theme::Theme, world::World};
use crate::model::{SocketKey, TcpState};

/// What a page is drawn with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// What is known: of now, or of the moment at which the picture was stopped.
    pub world: &'a dyn World,
    /// Colours.
    pub theme: Theme,
    /// Characters.
    pub glyphs: &'static Glyphs,
}

/// Which page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageId {
    /// Counts and rates.
    Overview,
    /// All connections.
    Connections,
    /// By service port.
    Ports,
    /// By process.
    Processes,
    /// What is wrong.
    Findings,
    /// The state machine.
    Diagram,
    /// One connection.
    Connection,
}

impl PageId {
    /// Those that have a number, in its order.
    pub const NUMBERED: [Self; 6] =
        [Self::Overview, Self::Connections, Self::Ports, Self::Processes, Self::Findings, Self::Diagram];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Connections => "Connections",
            Self::Ports => "Ports",
            Self::Processes => "Processes",
            Self::Findings => "Findings",
            Self::Diagram => "Diagram",
            Self::Connection => "Connection",
        }
    }
}

/// What became of a key or a click.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It means nothing here.
    Ignored,
    /// It was done.
    Done,
    /// It was done, or not: here is what to say.
    Say(String),
    /// Another page is wanted.
    Go(Target),
}

/// Where to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A page as it is.
    Page(PageId),
    /// The connections that this filter line keeps.
    Connections(String),
    /// One connection.
    Connection(SocketKey),
}

impl Target {
    /// The connections in a state.
    pub fn in_state(state: TcpState) -> Self {
        Self::Connections(format!("--state {}", state.name().to_lowercase().replace('_', "-")))
    }
}

/// One page.
pub trait Page {
    /// Takes a key.
    fn act(&mut self, action: Action, context: &Context<'_>) -> Outcome;

    /// Takes a click of the left button into what was drawn last.
    fn click(&mut self, at: Position, context: &Context<'_>) -> Outcome;

    /// Draws it. There may be no room for anything.
    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>);

    /// Actions that mean nothing on it, of those that the line at the bottom has words for.
    fn ignores(&self) -> &'static [Action] {
        &[]
    }

    /// What it shows, as an object for programs.
    fn export(&self, context: &Context<'_>) -> serde_json::Value;

    /// What can be seen on it: words, and what they mean.
    fn help(&self) -> &'static [(&'static str, &'static str)];
}
