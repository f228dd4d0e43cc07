//! The page Connection: one of them, with the states of its life one below the other.

mod life;
mod lines;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    text::Line,
    widgets::{Paragraph, Widget},
};
use serde_json::{Value, json};

use self::life::{Life, When};
use super::row_json;
use crate::{
    model::{Dwell, SocketKey},
    output::{
        Moment, Names, Rfc3339,
        tui::{
            glyphs::Glyphs,
            keymap::Action,
            page::{Context, Outcome, Page},
            table::put,
            text,
            theme::Tone,
            world::Row,
        },
    },
};

/// What can be seen.
const HELP: [(&str, &str); 9] = [
    (
        "ENTERED",
        "when the state was entered; `by` is then or before, ~ is known to one tick of the kernel's timer",
    ),
    ("AFTER", "time since the first state that is known of; a lower bound is marked"),
    ("STAYED", "how long it stayed in the state, so far in the one it is in; a lower bound is marked"),
    (
        "SHARE",
        "that time within its life, in proportion: where the time went; what is more than nothing is seen",
    ),
    ("-", "not known: the change of state was not seen"),
    ("origin", "how tcptrace came to know of it"),
    ("closing", "who sent the first FIN or RST, and why it ended"),
    ("cookie", "the kernel's socket cookie in hexadecimal, as `ss -e` shows it behind `sk:`"),
    ("stack", "the functions of the last call on the socket, the innermost first; with --stacks"),
];

/// What was seen of it last.
#[derive(Clone, Debug)]
struct Seen {
    row: Row,
    at: Moment,
    names: Names,
    stack: Option<Vec<String>>,
}

impl Seen {
    fn of(key: SocketKey, context: &Context<'_>) -> Option<Self> {
        let world = context.world;
        let row = world.row(key)?;
        Some(Self { row, at: world.now(), names: world.names(&row), stack: world.stack(key) })
    }

    /// How long it had been in its state.
    fn age(&self, glyphs: &Glyphs) -> String {
        let age = self.row.age(self.at.ktime);
        let is_to_a_jiffy = self.row.closed.is_none() && self.row.connection.is_entered_to_a_jiffy();
        let mark = if is_to_a_jiffy && age.0.is_some() { "~" } else { "" };
        format!("{mark}{}", text::age(age, glyphs))
    }
}

/// The page.
#[derive(Debug, Default)]
pub struct ConnectionPage {
    key: Option<SocketKey>,
    /// It may be forgotten while somebody reads.
    seen: Option<Seen>,
    /// Lines that are scrolled out at the top.
    top: usize,
    /// Lines there are, and lines that fit, as drawn last.
    lines: usize,
    height: usize,
}

impl ConnectionPage {
    /// Shows this one.
    pub fn show(&mut self, key: SocketKey) {
        *self = Self { key: Some(key), ..Self::default() };
    }

    fn most_top(&self) -> usize {
        self.lines.saturating_sub(self.height)
    }

    /// Looks again. Returns whether it is gone.
    fn look(&mut self, context: &Context<'_>) -> bool {
        let now = self.key.and_then(|key| Seen::of(key, context));
        let is_gone = now.is_none();
        self.seen = now.or_else(|| self.seen.take());
        is_gone
    }
}

impl Page for ConnectionPage {
    fn act(&mut self, action: Action, context: &Context<'_>) -> Outcome {
        self.look(context);
        let page = self.height.max(1);
        let top = match action {
            Action::Up => self.top.saturating_sub(1),
            Action::Down => self.top + 1,
            Action::PageUp => self.top.saturating_sub(page),
            Action::PageDown => self.top + page,
            Action::Top => 0,
            Action::Bottom => self.most_top(),
            _ => return Outcome::Ignored,
        };
        self.top = top.min(self.most_top());
        Outcome::Done
    }

    fn click(&mut self, _: Position, _: &Context<'_>) -> Outcome {
        Outcome::Ignored
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        let is_gone = self.look(context);
        self.height = usize::from(area.height);
        let lines = match &self.seen {
            Some(seen) => lines::all(seen, is_gone, usize::from(area.width), self.height, context),
            None => vec![Line::styled(
                "Nothing is known of this connection any more. Esc goes back.",
                context.theme.tone(Tone::Warning),
            )],
        };
        self.lines = lines.len();
        self.top = self.top.min(self.most_top());
        let below = self.lines - self.top.min(self.lines);
        let shown: Vec<Line<'_>> = lines.into_iter().skip(self.top).take(self.height).collect();
        Paragraph::new(shown).render(area, buffer);
        if below > self.height {
            let more = below - self.height;
            let word = if more == 1 { "line" } else { "lines" };
            let text = format!(" {} {more} more {word}", context.glyphs.down);
            let width = u16::try_from(text.chars().count()).unwrap_or(u16::MAX).min(area.width);
            let place = Rect { x: area.right() - width, y: area.bottom() - 1, width, height: 1 };
            put(buffer, place, &text, context.theme.label(), false, context);
        }
    }

    fn ignores(&self) -> &'static [Action] {
        &[Action::Open, Action::Sort, Action::Freeze, Action::Clear]
    }

    fn export(&self, context: &Context<'_>) -> Value {
        let now = self.key.and_then(|key| Seen::of(key, context));
        let is_gone = now.is_none();
        let at = |at: Moment| json!(Rfc3339::new(at.unix_ns));
        let mut page = json!({ "page": "connection", "at": at(context.world.now()), "is_gone": is_gone });
        let Some(seen) = now.as_ref().or(self.seen.as_ref()) else { return page };
        let life = Life::of(&seen.row, seen.at.ktime);
        let stays = life.stays.iter().map(|stay| {
            let entered = match stay.began {
                When::At(at) | When::About(at) | When::By(at) => {
                    let ago = seen.at.ktime.since(at).unwrap_or(0);
                    json!(Rfc3339::new(seen.at.unix_ns - i128::from(ago)))
                }
                When::Unknown => Value::Null,
            };
            let entered_is = match stay.began {
                When::At(_) => json!("exact"),
                When::About(_) => json!("jiffy"),
                When::By(_) => json!("at_most"),
                When::Unknown => Value::Null,
            };
            json!({
                "state": stay.state.name(),
                "entered": entered,
                "entered_is": entered_is,
                "duration_ns": stay.stayed.map(Dwell::ns),
                "duration_is": stay.stayed.map(Dwell::kind),
            })
        });
        let mut fields = row_json::fields(&seen.row, seen.at, context.world);
        fields.insert("seen".to_owned(), at(seen.at));
        fields.insert("stays".to_owned(), stays.collect());
        fields.insert("is_truncated".to_owned(), json!(seen.row.connection.is_truncated));
        fields.insert("stack".to_owned(), json!(seen.stack));
        if let Value::Object(page) = &mut page {
            page.insert("connection".to_owned(), Value::Object(fields));
        }
        page
    }

    fn help(&self) -> &'static [(&'static str, &'static str)] {
        &HELP
    }
}
