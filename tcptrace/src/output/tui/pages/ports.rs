//! The page Ports: connections by service port.

use std::{fmt::Write as _, num::NonZeroU16};

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};
use serde_json::{Value, json};

use super::{
    counts,
    ranking::{Rank, Ranking, counted, nothing},
};
use crate::{
    model::{TcpState, histogram::Ending},
    output::{
        escape,
        hist::units,
        tui::{
            export,
            keymap::Action,
            page::{Context, Outcome, Page, PageId, Target},
            split_top,
            table::{Cell, Column, put},
            text,
            world::{PortRow, place},
        },
    },
};

/// What a column shows.
#[derive(Clone, Copy)]
enum Shows {
    Port,
    Owner,
    Open,
    /// One of the columns of [`counts`].
    Counts(usize),
    Held,
    /// Median of the stays in a state.
    Median(TcpState),
    /// What 99 % of them do not exceed.
    Most(TcpState),
    Ended(Ending),
}

/// The columns.
const SHOWN: [(Column, Shows); 22] = [
    (
        Column::words(
            "PORT",
            5,
            "the service's, on whichever side it is; - where the role of the connections is not known",
        ),
        Shows::Port,
    ),
    (
        Column::words("OWNER", 15, "the process that owns most of them; +N: N others own some, too")
            .growing(),
        Shows::Owner,
    ),
    (Column::numbers("OPEN", 7, "in any state but CLOSE"), Shows::Open),
    (counts::COLUMNS[0], Shows::Counts(0)),
    (counts::COLUMNS[1], Shows::Counts(1)),
    (counts::COLUMNS[2], Shows::Counts(2)),
    (counts::COLUMNS[3], Shows::Counts(3)),
    (counts::COLUMNS[4], Shows::Counts(4)),
    (counts::COLUMNS[5], Shows::Counts(5)),
    (counts::COLUMNS[6], Shows::Counts(6)),
    (counts::COLUMNS[7], Shows::Counts(7)),
    (Column::numbers("HELD", 6, "closed, but a descriptor holds the socket"), Shows::Held),
    (
        Column::numbers("EST p50", 8, "median of the time in ESTABLISHED, of stays that are over"),
        Shows::Median(TcpState::Established),
    ),
    (Column::numbers("EST p99", 8, "99 % of these were not longer"), Shows::Most(TcpState::Established)),
    (
        Column::numbers("CW p50", 8, "median of the time in CLOSE_WAIT, of stays that are over"),
        Shows::Median(TcpState::CloseWait),
    ),
    (Column::numbers("CW p99", 8, "99 % of these were not longer"), Shows::Most(TcpState::CloseWait)),
    (
        Column::numbers("FW2 p50", 8, "median of the time in FIN_WAIT2, of stays that are over"),
        Shows::Median(TcpState::FinWait2),
    ),
    (
        Column::numbers("TW p50", 8, "median of the time in TIME_WAIT, of stays that are over"),
        Shows::Median(TcpState::TimeWait),
    ),
    (
        Column::numbers("RST US", 7, "ended because we reset them, since the start"),
        Shows::Ended(Ending::ResetByUs),
    ),
    (
        Column::numbers("RST PEER", 8, "ended because the peer reset them, since the start"),
        Shows::Ended(Ending::ResetByPeer),
    ),
    (Column::numbers("REFUSED", 7, "refused by the peer, since the start"), Shows::Ended(Ending::Refused)),
    (
        Column::numbers("TIMEOUT", 7, "ended because nobody answered, since the start"),
        Shows::Ended(Ending::Timeout),
    ),
];

/// The same without what they show.
const COLUMNS: [Column; SHOWN.len()] = counts::columns(&SHOWN);

/// The page.
#[derive(Debug)]
pub struct PortsPage {
    ranking: Ranking<Option<NonZeroU16>>,
}

impl Default for PortsPage {
    fn default() -> Self {
        Self { ranking: Ranking::by(2) }
    }
}

impl PortsPage {
    fn arrange(&mut self, context: &Context<'_>) {
        self.ranking.arrange(context.world.walked(), context.world.ports(), |row| row.port, rank);
    }

    fn open(&self, context: &Context<'_>) -> Outcome {
        match self.ranking.row(context.world.ports()) {
            None => Outcome::Ignored,
            Some(PortRow { port: Some(port), .. }) => {
                Outcome::Go(Target::Connections(format!("--port {port}")))
            }
            Some(PortRow { port: None, .. }) => Outcome::Say(
                "Which port is the service's is not known of these: no --port picks them out".to_owned(),
            ),
        }
    }
}

impl Page for PortsPage {
    fn act(&mut self, action: Action, context: &Context<'_>) -> Outcome {
        self.arrange(context);
        if action == Action::Open {
            return self.open(context);
        }
        let is_done = self.ranking.act(action, context.world.ports(), COLUMNS.len(), |row| row.port);
        if is_done { Outcome::Done } else { Outcome::Ignored }
    }

    fn click(&mut self, at: Position, context: &Context<'_>) -> Outcome {
        match self.ranking.click(at, context.world.ports(), |row| row.port) {
            None => Outcome::Ignored,
            Some(true) => self.open(context),
            Some(false) => Outcome::Done,
        }
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        self.arrange(context);
        let rows = context.world.ports();
        // Two lines about the selected row, and one about all of it.
        let below = if area.height >= 10 { 3 } else { 0 };
        let (above, below) = split_top(area, area.height.saturating_sub(below));
        self.ranking.draw(above, buffer, context, &COLUMNS, rows, |row, column| cell(row, column, context));
        let theme = context.theme;
        if rows.is_empty() {
            let line = split_top(split_top(above, 2).1, 1).0;
            put(buffer, line, nothing(context.world), theme.text(), false, context);
            return;
        }
        let (about, last) = split_top(below, below.height.saturating_sub(1));
        if let Some(row) = self.ranking.row(rows) {
            let (first, second) = split_top(about, 1);
            put(buffer, first, &stays(row), theme.text(), false, context);
            put(buffer, second, &ends(row), theme.text(), false, context);
        }
        let dot = context.glyphs.dot;
        let ports = text::count(rows.len() as u64);
        let word = if rows.len() == 1 { "port" } else { "ports" };
        let mut line = format!("{ports} {word} {dot} {}", counted(context.world));
        let left_out = context.world.left_out().0;
        if left_out > 0 {
            // Writing to a String cannot fail.
            let _ =
                write!(line, " {dot} {} more ports are in the row without one", text::count(left_out as u64));
        }
        if self.ranking.table.hides_columns() {
            // Writing to a String cannot fail.
            let _ = write!(line, " {dot} left and right: more columns");
        }
        put(buffer, last, &line, theme.dim(), false, context);
    }

    fn ignores(&self) -> &'static [Action] {
        &[Action::Freeze, Action::Clear]
    }

    fn export(&self, context: &Context<'_>) -> Value {
        let mut page = export::head(PageId::Ports, context);
        page.insert("ports".to_owned(), context.world.ports().iter().map(json).collect());
        page.into()
    }

    fn help(&self) -> &'static [(&'static str, &'static str)] {
        const HELP: [(&str, &str); COLUMNS.len()] = counts::help(&COLUMNS);
        &HELP
    }
}

fn ended(row: &PortRow, ending: Ending) -> u64 {
    let at = Ending::ALL.iter().position(|kind| *kind == ending);
    at.and_then(|at| row.endings.get(at)).copied().unwrap_or_default()
}

fn stay(row: &PortRow, state: TcpState) -> Option<(u64, u64)> {
    row.stays.get(place(state)).copied().flatten()
}

fn rank(row: &PortRow, column: usize) -> Option<Rank> {
    Some(match SHOWN.get(column)?.1 {
        Shows::Port => Rank::Number(row.port?.get().into()),
        Shows::Owner => Rank::Words(owner(row)?),
        Shows::Open => Rank::Number(counts::open(&row.counts)),
        Shows::Counts(column) => Rank::Number(counts::of(&row.counts, column)),
        Shows::Held => Rank::Number(row.held),
        Shows::Median(state) => Rank::Number(stay(row, state)?.0),
        Shows::Most(state) => Rank::Number(stay(row, state)?.1),
        Shows::Ended(ending) => Rank::Number(ended(row, ending)),
    })
}

/// `nginx +2`
fn owner(row: &PortRow) -> Option<String> {
    let (comm, others) = row.owner.as_ref()?;
    let comm = escape::comm(comm);
    Some(match others {
        0 => comm.into_owned(),
        others => format!("{comm} +{others}"),
    })
}

fn cell(row: &PortRow, column: usize, context: &Context<'_>) -> Cell {
    let theme = context.theme;
    let words = |words: Option<String>| match words {
        Some(words) => Cell::new(words, theme.text()),
        None => Cell::new(text::UNKNOWN, theme.dim()),
    };
    let Some((_, shows)) = SHOWN.get(column) else { return Cell::default() };
    match *shows {
        Shows::Port => Cell::new(text::port(row.port), theme.strong()),
        Shows::Owner => words(owner(row)),
        Shows::Open => counts::number(counts::open(&row.counts), None, context),
        Shows::Counts(column) => counts::cell(&row.counts, column, context),
        Shows::Held => counts::number(row.held, Some(TcpState::CloseWait), context),
        Shows::Median(state) => words(stay(row, state).map(|(p50, _)| units::time(p50))),
        Shows::Most(state) => words(stay(row, state).map(|(_, p99)| units::time(p99))),
        Shows::Ended(ending) => counts::number(ended(row, ending), None, context),
    }
}

/// How long connections of a port stay in a state, in words.
fn stays(row: &PortRow) -> String {
    let known = TcpState::IN_LIFE.into_iter().filter_map(|state| Some((state, stay(row, state)?)));
    let of = |(state, (p50, p99)): (TcpState, (u64, u64))| {
        format!("{} {} / {}", state.name(), units::time(p50), units::time(p99))
    };
    let known: Vec<String> = known.map(of).collect();
    let port = text::port(row.port);
    if known.is_empty() {
        return format!("{port} stays: none in a state is over yet");
    }
    format!("{port} stays p50 / p99: {}", known.join(", "))
}

/// How connections of a port ended, in words.
fn ends(row: &PortRow) -> String {
    let words = export::endings(row.endings).in_words();
    let some = words.into_iter().filter(|(count, _)| *count > 0);
    let some: Vec<String> = some.map(|(count, word)| format!("{} {word}", text::count(count))).collect();
    let transitions = text::count(row.transitions);
    if some.is_empty() {
        return format!("none ended since the start; {transitions} transitions");
    }
    format!("ended since the start: {}; {transitions} transitions", some.join(", "))
}

fn json(row: &PortRow) -> Value {
    let stays = export::by_state(|at| {
        let stay = row.stays.get(at).copied().flatten();
        stay.map_or(Value::Null, |(p50, p99)| json!({ "p50_ns": p50, "p99_ns": p99 }))
    });
    json!({
        "port": row.port,
        "comm": row.owner.as_ref().map(|(comm, _)| escape::comm_json(comm)),
        "other_owners": row.owner.as_ref().map(|(_, others)| others),
        "open": counts::open(&row.counts),
        "states": export::counts(&row.counts),
        "held": row.held,
        "stays": stays,
        "endings": export::endings(row.endings),
        "count": row.transitions,
    })
}
