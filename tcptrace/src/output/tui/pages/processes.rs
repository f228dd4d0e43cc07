//! The page Processes: connections by the process that owns them.

use std::{fmt::Write as _, num::NonZeroU32};

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
    model::{Cgroup, TcpState},
    output::{
        escape,
        tui::{
            export,
            keymap::Action,
            page::{Context, Outcome, Page, PageId, Target},
            split_top,
            table::{Cell, Column, put},
            text,
            world::ProcessRow,
        },
    },
};

/// The row of connections without a process.
const NOBODY: &str = "(no owner known)";

/// What a column shows.
#[derive(Clone, Copy)]
enum Shows {
    Pid,
    Name,
    Where,
    Open,
    /// One of the columns of [`counts`].
    Counts(usize),
    OldestCloseWait,
    Held,
    NotAccepted,
    Peers,
    TopPeer,
    Ports,
}

/// The columns.
const SHOWN: [(Column, Shows); 18] = [
    (
        Column::numbers("PID", 7, "process id; - where the owner is not known, or where there is none"),
        Shows::Pid,
    ),
    (Column::words("NAME", 16, "the process's name"), Shows::Name),
    (
        Column::words(
            "WHERE",
            15,
            "its container, pod or unit, as the path of its cgroup has it; else that path",
        )
        .growing(),
        Shows::Where,
    ),
    (Column::numbers("OPEN", 6, "in any state but CLOSE"), Shows::Open),
    (counts::COLUMNS[0], Shows::Counts(0)),
    (counts::COLUMNS[1], Shows::Counts(1)),
    (Column::numbers("OLDEST CW", 9, "the longest time that one is in CLOSE_WAIT"), Shows::OldestCloseWait),
    (Column::numbers("HELD", 5, "closed, but it holds a descriptor of the socket"), Shows::Held),
    (
        Column::numbers("NOT ACC", 7, "not accepted yet: its listeners got them, and it has not taken them"),
        Shows::NotAccepted,
    ),
    (counts::COLUMNS[2], Shows::Counts(2)),
    (counts::COLUMNS[3], Shows::Counts(3)),
    (counts::COLUMNS[4], Shows::Counts(4)),
    (counts::COLUMNS[5], Shows::Counts(5)),
    (counts::COLUMNS[6], Shows::Counts(6)),
    (counts::COLUMNS[7], Shows::Counts(7)),
    (Column::numbers("PEERS", 6, "different addresses of peers"), Shows::Peers),
    (Column::words("TOP PEER", 15, "the peer with the most connections"), Shows::TopPeer),
    (Column::words("PORTS", 12, "service ports, the busiest first").growing(), Shows::Ports),
];

/// The same without what they show.
const COLUMNS: [Column; SHOWN.len()] = counts::columns(&SHOWN);

/// The page.
#[derive(Debug)]
pub struct ProcessesPage {
    ranking: Ranking<Option<NonZeroU32>>,
}

impl Default for ProcessesPage {
    fn default() -> Self {
        Self { ranking: Ranking::by(3) }
    }
}

impl ProcessesPage {
    fn arrange(&mut self, context: &Context<'_>) {
        self.ranking.arrange(context.world.walked(), context.world.processes(), |row| row.pid, rank);
    }

    fn open(&self, context: &Context<'_>) -> Outcome {
        match self.ranking.row(context.world.processes()) {
            None => Outcome::Ignored,
            Some(ProcessRow { pid: Some(pid), .. }) => {
                Outcome::Go(Target::Connections(format!("--pid {pid}")))
            }
            Some(ProcessRow { pid: None, .. }) => Outcome::Say(
                "No process is known to own these, or none does: no --pid picks them out".to_owned(),
            ),
        }
    }
}

impl Page for ProcessesPage {
    fn act(&mut self, action: Action, context: &Context<'_>) -> Outcome {
        self.arrange(context);
        if action == Action::Open {
            return self.open(context);
        }
        let is_done = self.ranking.act(action, context.world.processes(), COLUMNS.len(), |row| row.pid);
        if is_done { Outcome::Done } else { Outcome::Ignored }
    }

    fn click(&mut self, at: Position, context: &Context<'_>) -> Outcome {
        match self.ranking.click(at, context.world.processes(), |row| row.pid) {
            None => Outcome::Ignored,
            Some(true) => self.open(context),
            Some(false) => Outcome::Done,
        }
    }

    fn draw(&mut self, area: Rect, buffer: &mut Buffer, context: &Context<'_>) {
        self.arrange(context);
        let rows = context.world.processes();
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
            let path =
                row.cgroup.as_ref().map_or_else(|| text::UNKNOWN.into(), |cgroup| escape::text(&cgroup.path));
            let about = format!("{} {}: cgroup {path}", pid(row), name(row));
            put(buffer, first, &about, theme.text(), false, context);
            put(buffer, second, &works_with(row), theme.text(), false, context);
        }
        let dot = context.glyphs.dot;
        let known = rows.iter().filter(|row| row.pid.is_some()).count();
        let word = if known == 1 { "process" } else { "processes" };
        let known = text::count(known as u64);
        let mut line = format!("{known} {word} {dot} {}", counted(context.world));
        let left_out = context.world.left_out().1;
        if left_out > 0 {
            // Writing to a String cannot fail.
            let _ = write!(
                line,
                " {dot} {} more processes are in the row without one",
                text::count(left_out as u64)
            );
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
        let mut page = export::head(PageId::Processes, context);
        page.insert("processes".to_owned(), context.world.processes().iter().map(json).collect());
        page.into()
    }

    fn help(&self) -> &'static [(&'static str, &'static str)] {
        const HELP: [(&str, &str); COLUMNS.len()] = counts::help(&COLUMNS);
        &HELP
    }
}

fn pid(row: &ProcessRow) -> String {
    row.pid.map_or_else(|| text::UNKNOWN.to_owned(), |pid| pid.to_string())
}

fn name(row: &ProcessRow) -> String {
    match (&row.comm, row.pid) {
        (Some(comm), _) => escape::comm(comm).into_owned(),
        (None, None) => NOBODY.to_owned(),
        (None, Some(_)) => text::UNKNOWN.to_owned(),
    }
}

/// `docker 3f3f3f3f3f3f`, `pod UID`, `nginx.service`, `/user.slice`
fn where_it_runs(cgroup: &Cgroup) -> String {
    let workload = &cgroup.workload;
    match (&workload.container, &workload.pod, &workload.unit) {
        (Some(container), ..) => {
            let runtime = container.runtime.map_or("container", crate::model::Runtime::name);
            format!("{runtime} {}", escape::text(container.short_id()))
        }
        (None, Some(pod), _) => format!("pod {}", escape::text(pod)),
        (None, None, Some(unit)) => escape::text(unit).into_owned(),
        (None, None, None) => escape::text(&cgroup.path).into_owned(),
    }
}

fn ports(row: &ProcessRow) -> Option<String> {
    let ports: Vec<String> = row.ports.iter().map(ToString::to_string).collect();
    (!ports.is_empty()).then(|| ports.join(","))
}

/// Peers and ports, in words.
fn works_with(row: &ProcessRow) -> String {
    let (peers, most) = row.peers;
    let word = if peers == 1 { "peer" } else { "peers" };
    let most = most.map_or_else(String::new, |most| format!(", most with {most}"));
    let ports = ports(row).unwrap_or_else(|| text::UNKNOWN.to_owned());
    let [peers, held, not_accepted] = [peers, row.held, row.not_accepted].map(text::count);
    format!("{peers} {word}{most}; ports {ports}; {held} closed but held; {not_accepted} not accepted yet")
}

fn rank(row: &ProcessRow, column: usize) -> Option<Rank> {
    Some(match SHOWN.get(column)?.1 {
        Shows::Pid => Rank::Number(row.pid?.get().into()),
        Shows::Name => Rank::Words(name(row)),
        Shows::Where => Rank::Words(where_it_runs(row.cgroup.as_ref()?)),
        Shows::Open => Rank::Number(counts::open(&row.counts)),
        Shows::Held => Rank::Number(row.held),
        Shows::NotAccepted => Rank::Number(row.not_accepted),
        Shows::OldestCloseWait => Rank::Number(row.oldest_close_wait?.0),
        Shows::Peers => Rank::Number(row.peers.0),
        Shows::Counts(column) => Rank::Number(counts::of(&row.counts, column)),
        Shows::TopPeer => Rank::Words(row.peers.1?.to_string()),
        Shows::Ports => Rank::Number(row.ports.first()?.get().into()),
    })
}

fn cell(row: &ProcessRow, column: usize, context: &Context<'_>) -> Cell {
    let theme = context.theme;
    let words = |words: Option<String>| match words {
        Some(words) => Cell::new(words, theme.text()),
        None => Cell::new(text::UNKNOWN, theme.dim()),
    };
    let Some((_, shows)) = SHOWN.get(column) else { return Cell::default() };
    match *shows {
        Shows::Pid => Cell::new(pid(row), if row.pid.is_some() { theme.strong() } else { theme.dim() }),
        Shows::Name => words(Some(name(row))),
        Shows::Where => words(row.cgroup.as_ref().map(|cgroup| where_it_runs(cgroup))),
        Shows::Open => counts::number(counts::open(&row.counts), None, context),
        Shows::Held => counts::number(row.held, Some(TcpState::CloseWait), context),
        Shows::NotAccepted => counts::number(row.not_accepted, Some(TcpState::SynRecv), context),
        Shows::OldestCloseWait => match row.oldest_close_wait {
            Some((ns, is_at_least)) => Cell::new(
                text::age((Some(ns), is_at_least), context.glyphs),
                theme.state(TcpState::CloseWait),
            ),
            None => words(None),
        },
        Shows::Peers => counts::number(row.peers.0, None, context),
        Shows::Counts(column) => counts::cell(&row.counts, column, context),
        Shows::TopPeer => words(row.peers.1.map(|peer| peer.to_string())),
        Shows::Ports => words(ports(row)),
    }
}

fn json(row: &ProcessRow) -> Value {
    let cgroup = row.cgroup.as_deref();
    let workload = cgroup.map(|cgroup| &cgroup.workload);
    let container = workload.and_then(|workload| workload.container.as_ref());
    let (oldest, is_at_least) = row.oldest_close_wait.unzip();
    json!({
        "pid": row.pid,
        "comm": row.comm.as_ref().map(escape::comm_json),
        "cgroup": cgroup.map(|cgroup| &cgroup.path),
        "runtime": container.and_then(|container| container.runtime).map(crate::model::Runtime::name),
        "container": container.map(|container| &container.id),
        "pod": workload.and_then(|workload| workload.pod.as_ref()),
        "unit": workload.and_then(|workload| workload.unit.as_ref()),
        "open": counts::open(&row.counts),
        "states": export::counts(&row.counts),
        "held": row.held,
        "not_accepted": row.not_accepted,
        "oldest_close_wait_ns": oldest,
        "oldest_close_wait_is": is_at_least.map(|is_at_least| if is_at_least { "at_least" } else { "exact" }),
        "peers": row.peers.0,
        "top_peer": row.peers.1,
        "ports": row.ports,
    })
}
