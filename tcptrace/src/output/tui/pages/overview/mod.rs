//! The page Overview: all that matters at one sight.

mod findings;
mod sections;
mod states;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    widgets::{Block, Widget as _},
};
use serde_json::{Value, json};

use crate::{
    model::{TcpState, histogram::Ending},
    output::tui::{
        export,
        keymap::Action,
        page::{Context, Outcome, Page, PageId, Target},
        split_top,
    },
};

/// From these on there are two columns, in frames.
const WIDE: (u16, u16) = (110, 30);

/// How many endings there are.
const ENDINGS: usize = Ending::ALL.len();

/// The page.
#[derive(Debug, Default)]
pub struct OverviewPage {
    /// A place in [`TcpState::IN_LIFE`]; CLOSE stands for closed sockets that are held.
    selected: usize,
    /// Where the lines of the states are.
    lines: Vec<(usize, Rect)>,
    /// Where the findings are.
    findings: Rect,
}

impl OverviewPage {
    fn open(&self) -> Outcome {
        TcpState::IN_LIFE
            .get(self.selected)
            .map_or(Outcome::Ignored, |state| Outcome::Go(Target::in_state(*state)))
    }

    /// One below the other, the states first.
    fn draw_narrow(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let states = u16::try_from(TcpState::IN_LIFE.len() + 1).unwrap_or(u16::MAX);
        let (above, rest) = split_top(area, states);
        self.lines = states::draw(above, buffer, context, self.selected, 1);
        // What has no room is left out, the least important first.
        let (losses, rest) = split_top(rest, 1);
        sections::losses_line(losses, buffer, context);
        let (findings, rest) = split_top(rest, 2);
        self.findings = findings;
        findings::lines(findings, buffer, context);
        let (rates, rest) = split_top(rest, 2);
        sections::rates_lines(rates, buffer, context);
        let (endings, rest) = split_top(rest, 3);
        sections::endings_lines(endings, buffer, context);
        sections::counted_line(split_top(rest, 1).0, buffer, context);
    }

    /// Two columns of frames.
    fn draw_wide(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let left = Rect { width: area.width / 2 + area.width / 20, ..area };
        let right = Rect { x: left.right(), width: area.width - left.width, ..area };

        let states = u16::try_from(TcpState::IN_LIFE.len()).unwrap_or(u16::MAX);
        // Each state has as many lines as leave a third of the height for the rates.
        let lines = (area.height.saturating_sub(3) * 2 / 3 / states).clamp(1, 3);
        let (above, below) = split_top(left, states * lines + 3);
        let inner = frame(above, buffer, context, "States", Some(&sections::when(context)));
        self.lines = states::draw(inner, buffer, context, self.selected, lines);
        let inner = frame(below, buffer, context, "Opened and closed a second", None);
        sections::rates(inner, buffer, context);

        let endings = u16::try_from(ENDINGS + 3).unwrap_or(u16::MAX);
        let (above, rest) = split_top(right, endings);
        let inner = frame(above, buffer, context, "How they ended, since the start", None);
        sections::endings(inner, buffer, context);
        let (above, below) = split_top(rest, sections::LOSSES + 2);
        let inner = frame(above, buffer, context, "What is missing, and what it costs", None);
        sections::losses(inner, buffer, context);
        let title = match context.world.found().findings.len() {
            0 => "Findings".to_owned(),
            count => format!("Findings: {count}"),
        };
        self.findings = frame(below, buffer, context, &title, None);
        findings::in_frame(self.findings, buffer, context);
    }
}

/// Draws a frame with a title, and something in its lower edge; returns what is inside.
fn frame(area: Rect, buffer: &mut Buffer, context: &Context<'_>, title: &str, below: Option<&str>) -> Rect {
    let theme = context.theme;
    let mut block = Block::bordered()
        .border_set(context.glyphs.border)
        .border_style(theme.dim())
        .title(ratatui::text::Span::styled(format!(" {title} "), theme.title()));
    if let Some(below) = below {
        block = block.title_bottom(ratatui::text::Span::styled(format!(" {below} "), theme.dim()));
    }
    let inner = block.inner(area);
    block.render(area, buffer);
    // A cell of air at both sides.
    let air = u16::from(inner.width > 2);
    Rect { x: inner.x + air, width: inner.width - 2 * air, ..inner }
}

impl Page for OverviewPage {
    fn act(&mut self, action: Action, _: &Context<'_>) -> Outcome {
        let last = TcpState::IN_LIFE.len() - 1;
        self.selected = match action {
            Action::Up => self.selected.saturating_sub(1),
            Action::Down => (self.selected + 1).min(last),
            Action::Top | Action::PageUp => 0,
            Action::Bottom | Action::PageDown => last,
            Action::Open => return self.open(),
            _ => return Outcome::Ignored,
        };
        Outcome::Done
    }

    fn click(&mut self, at: Position, _: &Context<'_>) -> Outcome {
        if self.findings.contains(at) {
            return Outcome::Go(Target::Page(PageId::Findings));
        }
        match self.lines.iter().find(|(_, area)| area.contains(at)) {
            None => Outcome::Ignored,
            Some((line, _)) if *line == self.selected => self.open(),
            Some((line, _)) => {
                self.selected = *line;
                Outcome::Done
            }
        }
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let area = area.intersection(buffer.area);
        if area.width >= WIDE.0 && area.height >= WIDE.1 {
            self.draw_wide(area, buffer, context);
        } else {
            self.draw_narrow(area, buffer, context);
        }
    }

    fn ignores(&self) -> &'static [Action] {
        &[Action::Sort, Action::Freeze, Action::Clear]
    }

    fn export(&self, context: &Context<'_>) -> Value {
        let world = context.world;
        let overview = world.overview();
        // Before the first walk nothing was counted: what stands there is no 0.
        let is_counted = world.walked().is_some();
        let states = export::by_state(|at| {
            let state = overview.states.get(at);
            json!({
                "count": state.map(|state| state.count).filter(|_| is_counted),
                "by_second": state.map(|state| &state.history),
            })
        });
        let found = world.found();
        let mut page = export::head(PageId::Overview, context);
        let rest = json!({
            "states": states,
            "held": is_counted.then_some(overview.held),
            "opened": overview.opened_total,
            "closed": overview.closed_total,
            "opened_by_second": overview.opened,
            "closed_by_second": overview.closed,
            "endings": export::endings(overview.endings.map(|(all, _)| all)),
            "endings_in_60_s": export::endings(overview.endings.map(|(_, lately)| lately)),
            "events": overview.transitions,
            "events_per_s": overview.transitions_per_s,
            "lost": overview.lost,
            "evicted": overview.evicted,
            "syncookies": overview.syncookies,
            "gaps": overview.gaps,
            "own_cpu": overview.own_cpu,
            "findings": found.findings.iter().map(|(_, finding)| finding).collect::<Vec<_>>(),
            "not_seen": found.not_seen,
        });
        if let Value::Object(rest) = rest {
            page.extend(rest);
        }
        page.into()
    }

    fn help(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("COUNT", "connections in the state now"),
            ("10 S, 60 S", "by how many there are more than so long ago; - where that was before the start"),
            ("SHARE", "of all connections that are shown here"),
            (
                "LAST .. S",
                "how many there were, second by second, the newest at the right, each line in its own scale",
            ),
            ("CLOSE, held", "closed, but a descriptor holds the socket: it costs memory until it is closed"),
            ("opened, closed", "connections that began and ended in the last second"),
            ("ended", "how connections ended: since the start, and in the last 60 s"),
            ("lost", "records that did not reach us: what they told is missing"),
            ("evicted", "connections that were given up because the table was full (--max-connections)"),
            ("SYN cookies", "half-open connections that the kernel keeps no state of: nobody can see them"),
            ("gaps", "changes from another state than the one known: one before was not seen"),
        ]
    }
}
