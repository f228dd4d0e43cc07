//! The page Connections: all of them in a table, those that have waited too long first.

mod columns;
mod order;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    widgets::{Paragraph, Widget, Wrap},
};
use rustc_hash::FxHashMap;
use serde_json::json;

pub(in crate::output::tui::pages) use self::columns::{cookie, place, state, times};
use self::{
    columns::{COLUMNS, ORDER, What},
    order::{Order, Wanted},
};
use super::row_json;
use crate::{
    model::{Filter, KtimeNs, SocketKey},
    output::{
        Names, Rfc3339, escape,
        hist::units,
        tui::{
            keymap::Action,
            page::{Context, Outcome, Page, Target},
            split_top,
            table::{Cell, Clicked, Table, put, unicode_width},
            text::{self, UNKNOWN},
            theme::Tone,
            world::Row,
        },
    },
};

/// An order that is older is said to be.
const OLD: u64 = 2_000_000_000;

/// Rows in an export; there may be a million, of some 1 KiB each.
const MOST_EXPORTED: usize = 10_000;

/// The page.
#[derive(Debug)]
pub struct ConnectionsPage {
    line: String,
    filter: Filter,
    table: Table,
    order: Order,
    /// The selected connection. `None`: the first one, whichever that is, until somebody has moved: the eye is at the top
    /// then, and the top is where the news are.
    selected: Option<SocketKey>,
    /// Rows that stay at the top.
    pinned: Vec<SocketKey>,
    /// Those that were closed by then are not listed.
    cleared: Option<KtimeNs>,
    /// Rows as they were seen last: those that were in sight, and those that are pinned.
    last: FxHashMap<SocketKey, Row>,
}

impl Default for ConnectionsPage {
    fn default() -> Self {
        Self {
            line: String::new(),
            filter: Filter::default(),
            // By age alone listeners and idle connections of weeks come first, which are as they should be. What has been
            // in its state for longer than that state should last is what an operator is looking for.
            table: Table::sorted(What::Stale.place(), true),
            order: Order::default(),
            selected: None,
            pinned: Vec::new(),
            cleared: None,
            last: FxHashMap::default(),
        }
    }
}

impl ConnectionsPage {
    /// The filter as typed.
    pub fn filter_line(&self) -> &str {
        &self.line
    }

    /// The filter as typed and as meant.
    pub fn filter(&self) -> (String, Filter) {
        (self.line.clone(), self.filter.clone())
    }

    /// Shows those that the filter keeps.
    pub fn set_filter(&mut self, line: String, filter: Filter) {
        self.line = line;
        self.filter = filter;
        self.selected = None;
        self.order.forget();
    }

    /// What is shown is another world, or another moment of it: the next picture is in its order.
    pub const fn order_anew(&mut self) {
        self.order.forget();
    }

    fn sorted_by(&self) -> What {
        ORDER.get(self.table.sort).copied().unwrap_or(What::Stale)
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            filter: &self.filter,
            by: self.sorted_by(),
            is_descending: self.table.is_descending,
            cleared: self.cleared,
            pinned: &self.pinned,
        }
    }

    /// Makes the order when it is time, and finds the selected row in it.
    fn keep_order(&mut self, context: &Context<'_>) {
        if !self.order.is_due(context.world) {
            return;
        }
        self.order = Order::of(context.world, &self.wanted());
        let Some(selected) = self.selected else {
            self.table.selected = 0;
            return;
        };
        let pinned = self.pinned.iter().position(|key| *key == selected);
        let place = pinned.or_else(|| Some(self.pinned.len() + self.order.place_of(selected)?));
        match place {
            Some(place) => self.table.selected = place,
            // It is gone: the one that is in its place now.
            None => self.select_place(),
        }
    }

    fn rows(&self) -> usize {
        self.pinned.len() + self.order.len()
    }

    /// Selects what is where the table's selection is.
    fn select_place(&mut self) {
        let place = self.table.selected.min(self.rows().saturating_sub(1));
        self.order.reach(place);
        self.selected = key_at(&self.pinned, &self.order, place);
    }

    fn selected_key(&self) -> Option<SocketKey> {
        self.selected.or_else(|| key_at(&self.pinned, &self.order, self.table.selected))
    }

    fn freeze(&mut self) -> Outcome {
        let Some(key) = self.selected_key() else { return Outcome::Ignored };
        match self.pinned.iter().position(|pinned| *pinned == key) {
            Some(at) => {
                self.pinned.remove(at);
            }
            None => self.pinned.push(key),
        }
        self.selected = Some(key);
        self.order.forget();
        Outcome::Done
    }

    /// Takes closed connections out of the list; when there are none in it, brings them back.
    fn clear(&mut self, context: &Context<'_>) -> Outcome {
        let shown = self.order.closed();
        let text = if shown == 0 && self.cleared.is_some() {
            self.cleared = None;
            "closed connections are listed again".to_owned()
        } else {
            self.cleared = Some(context.world.now().ktime);
            let count = text::count(u64::try_from(shown).unwrap_or(u64::MAX));
            format!(
                "{count} closed taken out; those that close from now on are listed; c again brings all back"
            )
        };
        self.order.forget();
        Outcome::Say(text)
    }

    /// The filter, how many are shown, by what they are sorted, and how old that is.
    fn draw_heading(&self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        let (theme, glyphs, world) = (context.theme, context.glyphs, context.world);
        let count = |number: usize| text::count(u64::try_from(number).unwrap_or(u64::MAX));
        let kept = self.order.kept();
        let mut parts = Vec::new();
        if self.line.is_empty() {
            let word = if kept == 1 { "connection" } else { "connections" };
            parts.push((format!("{} {word}", count(kept)), theme.strong()));
        } else {
            let all = world.len().max(kept);
            parts.push((format!("{} of {}", count(kept), count(all)), theme.strong()));
            parts.push((escape::text(&self.line).into_owned(), theme.tone(Tone::Info)));
        }
        if self.order.stale() > 0 {
            parts.push((format!("{} stale", count(self.order.stale())), theme.tone(Tone::Warning)));
        }
        let arrow = if self.table.is_descending { glyphs.descending } else { glyphs.ascending };
        let by = COLUMNS.get(self.table.sort).map_or(UNKNOWN, |column| column.name);
        if kept > 0 {
            parts.push((format!("by {by} {arrow}"), theme.label()));
        }
        if let Some(age) = self.order.age(world.now().ktime).filter(|age| *age > OLD) {
            parts.push((format!("ordered {} ago", units::time(age)), theme.dim()));
        }
        if !self.pinned.is_empty() {
            parts.push((format!("{} {} frozen", glyphs.pin, self.pinned.len()), theme.label()));
        }
        if self.filter.asks_for_owners() {
            parts.push(("without a known owner: not listed".to_owned(), theme.dim()));
        }
        if self.order.cleared() > 0 {
            parts.push((format!("{} closed not listed", count(self.order.cleared())), theme.dim()));
        }
        let mut rest = area;
        for (text, style) in parts {
            put(buffer, rest, &text, style, false, context);
            let used = u16::try_from(unicode_width(&text)).unwrap_or(u16::MAX).saturating_add(2);
            let used = used.min(rest.width);
            rest = Rect { x: rest.x + used, width: rest.width - used, ..rest };
        }
    }

    /// Why there are no rows.
    fn nothing(&self, context: &Context<'_>) -> String {
        let cleared = self.order.cleared();
        if cleared > 0 {
            return "All that the filter keeps is closed and not listed. `c` brings it back.".to_owned();
        }
        if self.line.is_empty() || context.world.is_empty() {
            return "No connection yet. Those that begin are seen at once.".to_owned();
        }
        let all = text::count(u64::try_from(context.world.len()).unwrap_or(u64::MAX));
        format!("None of the {all} connections is as `{}` asks for. Esc shows all.", escape::text(&self.line))
    }
}

/// The rows of the table: those that are pinned, then the others in their order.
fn key_at(pinned: &[SocketKey], order: &Order, row: usize) -> Option<SocketKey> {
    pinned.get(row).copied().or_else(|| order.at(row.checked_sub(pinned.len())?))
}

/// A row to be drawn: as it is, or as it was.
struct Drawn {
    row: Option<Row>,
    names: Names,
    is_gone: bool,
}

impl Drawn {
    fn of(key: SocketKey, last: &FxHashMap<SocketKey, Row>, context: &Context<'_>) -> Self {
        let now = context.world.row(key);
        let row = now.or_else(|| last.get(&key).copied());
        let names = row.map_or_else(Names::default, |row| context.world.names(&row));
        Self { row, names, is_gone: now.is_none() }
    }

    fn cell(&self, what: What, context: &Context<'_>) -> Cell {
        let dim = context.theme.dim();
        match (&self.row, what) {
            (Some(row), _) if !self.is_gone => what.cell(row, &self.names, context),
            (_, What::State) => Cell::new("gone", dim),
            // How long it had been in its last state is not what these columns tell.
            (_, What::Age | What::Stale) | (None, _) => Cell::new(UNKNOWN, dim),
            (Some(row), _) => Cell { style: dim, ..what.cell(row, &self.names, context) },
        }
    }
}

impl Page for ConnectionsPage {
    fn act(&mut self, action: Action, context: &Context<'_>) -> Outcome {
        self.keep_order(context);
        match action {
            Action::Open => {
                return self
                    .selected_key()
                    .map_or(Outcome::Ignored, |key| Outcome::Go(Target::Connection(key)));
            }
            Action::Freeze => return self.freeze(),
            Action::Clear => return self.clear(context),
            Action::Back if !self.line.is_empty() => {
                self.set_filter(String::new(), Filter::default());
                return Outcome::Done;
            }
            _ => {}
        }
        if !self.table.act(action, self.rows(), COLUMNS.len()) {
            return Outcome::Ignored;
        }
        match action {
            Action::Sort | Action::Reverse => {
                self.selected = None;
                self.order.forget();
            }
            Action::Top => self.selected = None,
            Action::Left | Action::Right => {}
            _ => self.select_place(),
        }
        Outcome::Done
    }

    fn click(&mut self, at: Position, _: &Context<'_>) -> Outcome {
        match self.table.click(at) {
            None => Outcome::Ignored,
            Some(Clicked::Heading(_)) => {
                self.selected = None;
                self.order.forget();
                Outcome::Done
            }
            Some(Clicked::Row { is_selected, .. }) => {
                self.select_place();
                match self.selected {
                    Some(key) if is_selected => Outcome::Go(Target::Connection(key)),
                    _ => Outcome::Done,
                }
            }
        }
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        self.keep_order(context);
        let (heading, body) = split_top(area, 1);
        self.draw_heading(heading, buffer, context);
        let rows = self.rows();
        if rows == 0 {
            // Nothing can be clicked.
            self.table.draw(Rect::default(), buffer, context, &COLUMNS, 0, &mut |_, _| Cell::default());
            let (_, body) = split_top(body, 1);
            Paragraph::new(self.nothing(context)).wrap(Wrap { trim: true }).render(body, buffer);
            return;
        }
        let Self { table, order, pinned, last, .. } = self;
        // What will be in sight is not further down than that.
        let lowest = table.selected.max(table.seen().end);
        order.reach(lowest.saturating_add(usize::from(body.height)));
        table.fixed = pinned.len();
        let mut seen: FxHashMap<SocketKey, Row> = FxHashMap::default();
        seen.extend(pinned.iter().filter_map(|key| Some((*key, *last.get(key)?))));
        let mut drawn: Option<(usize, Drawn)> = None;
        table.draw(body, buffer, context, &COLUMNS, rows, &mut |at, column| {
            let (Some(key), Some(what)) = (key_at(pinned, order, at), ORDER.get(column)) else {
                return Cell::default();
            };
            if drawn.as_ref().is_none_or(|(of, _)| *of != at) {
                let of = Drawn::of(key, last, context);
                seen.extend(of.row.map(|row| (key, row)));
                drawn = Some((at, of));
            }
            let mut cell = drawn.as_ref().map_or_else(Cell::default, |(_, of)| of.cell(*what, context));
            if *what == What::Owner && at < pinned.len() {
                cell.text = format!("{} {}", context.glyphs.pin, cell.text).into();
            }
            cell
        });
        self.last = seen;
    }

    fn export(&self, context: &Context<'_>) -> serde_json::Value {
        let world = context.world;
        let mut order = Order::of(world, &self.wanted());
        order.reach(MOST_EXPORTED);
        let shown = self.pinned.len() + order.len();
        let keys = (0..shown.min(MOST_EXPORTED)).filter_map(|place| key_at(&self.pinned, &order, place));
        let rows = keys.filter_map(|key| world.row(key));
        let rows = rows.map(|row| serde_json::Value::Object(row_json::fields(&row, world.now(), world)));
        json!({
            "page": "connections",
            "at": Rfc3339::new(world.now().unix_ns),
            "filter": self.line,
            "sorted_by": COLUMNS.get(self.table.sort).map(|column| column.name.to_lowercase()),
            "is_descending": self.table.is_descending,
            "connections_total": world.len().max(order.kept()),
            "connections_kept": order.kept(),
            "closed_not_listed": order.cleared(),
            "frozen": self.pinned.len(),
            "left_out": shown.saturating_sub(MOST_EXPORTED),
            "connections": rows.collect::<Vec<_>>(),
        })
    }

    fn help(&self) -> &'static [(&'static str, &'static str)] {
        &columns::HELP
    }
}
