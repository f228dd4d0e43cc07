//! The page Diagram: the state machine of RFC 9293, figure 5, as Linux makes it, with what goes on in it.

mod drawing;
mod layout;
mod words;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};
use serde_json::{Value, json};

use self::layout::Layout;
use super::counts::in_state;
use crate::{
    model::TcpState,
    output::tui::{
        export,
        keymap::Action,
        page::{Context, Outcome, Page, PageId, Target},
        world::{Arrow, World},
    },
};

/// The page.
#[derive(Debug, Default)]
pub struct DiagramPage {
    /// A place in [`TcpState::IN_LIFE`].
    selected: usize,
    /// Where the states are.
    places: Vec<(TcpState, Rect)>,
}

impl DiagramPage {
    fn state(&self) -> TcpState {
        TcpState::IN_LIFE.get(self.selected).copied().unwrap_or(TcpState::Close)
    }
}

impl Page for DiagramPage {
    fn act(&mut self, action: Action, _: &Context<'_>) -> Outcome {
        let last = TcpState::IN_LIFE.len() - 1;
        self.selected = match action {
            Action::Up | Action::Left => self.selected.saturating_sub(1),
            Action::Down | Action::Right => (self.selected + 1).min(last),
            Action::Top | Action::PageUp => 0,
            Action::Bottom | Action::PageDown => last,
            Action::Open => return Outcome::Go(Target::in_state(self.state())),
            _ => return Outcome::Ignored,
        };
        Outcome::Done
    }

    fn click(&mut self, at: Position, _: &Context<'_>) -> Outcome {
        match self.places.iter().find(|(_, area)| area.contains(at)) {
            None => Outcome::Ignored,
            Some((state, _)) if *state == self.state() => Outcome::Go(Target::in_state(*state)),
            Some((state, _)) => {
                self.selected = state.in_life();
                Outcome::Done
            }
        }
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let area = area.intersection(buffer.area);
        match Layout::of(area) {
            None => self.places = words::list(area, buffer, context, self.selected),
            Some(layout) => {
                self.places = TcpState::ALL.map(|state| (state, layout.of_state(state))).into();
                drawing::draw(&layout, buffer, context, self.state());
                words::below(layout.below, buffer, context, self.state());
            }
        }
    }

    fn ignores(&self) -> &'static [Action] {
        &[Action::Sort, Action::Freeze, Action::Clear]
    }

    fn export(&self, context: &Context<'_>) -> Value {
        let world = context.world;
        let arrow = |arrow: &Arrow| {
            json!({
                "from": arrow.from.name(),
                "to": arrow.to.name(),
                "count": arrow.count,
                "p50_ns": arrow.p50_ns,
            })
        };
        let states = TcpState::IN_LIFE.into_iter().filter(|state| *state != TcpState::Close);
        let states = states.map(|state| (state.name().to_owned(), json!(in_state(world, state))));
        let mut page = export::head(PageId::Diagram, context);
        page.insert("states".to_owned(), states.collect::<serde_json::Map<_, _>>().into());
        page.insert("held".to_owned(), json!(in_state(world, TcpState::Close)));
        page.insert("transitions".to_owned(), world.arrows().iter().map(arrow).collect());
        page.into()
    }

    fn help(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("in a box", "connections in the state now; in CLOSE closed sockets that a descriptor holds"),
            (
                "120, 40.0 ms",
                "at an arrow: how often since the start, and the median of the time in the state that was left, of stays that are over",
            ),
            ("thick arrows", "carried something since the start; thin ones did not"),
            (
                "others",
                "transitions that have no arrow here: resets, time-outs, refusals, listeners that end",
            ),
            ("up, down", "the state before and the next one, in the order of a life"),
        ]
    }
}

/// That from one state to another; not seen, it has a count of 0.
fn arrow(world: &dyn World, from: TcpState, to: TcpState) -> Arrow {
    let found = world.arrows().iter().find(|arrow| (arrow.from, arrow.to) == (from, to));
    found.copied().unwrap_or(Arrow { from, to, count: 0, p50_ns: None })
}
