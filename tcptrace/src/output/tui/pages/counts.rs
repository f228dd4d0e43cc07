//! What the pages by port and by process have in common: states that stand in one column, and their cells.

use crate::{
    model::TcpState,
    output::tui::{
        page::Context,
        table::{Cell, Column},
        text,
        world::{STATES, World, place},
    },
};

/// Columns of counts, those that are looked at first in front.
pub(super) const COLUMNS: [Column; 8] = [
    Column::numbers("ESTAB", 7, "in ESTABLISHED"),
    Column::numbers("CLOSE_W", 7, "in CLOSE_WAIT: the peer has closed, the program has not"),
    Column::numbers("TIME_W", 7, "in TIME_WAIT"),
    Column::numbers(
        "FIN_W",
        6,
        "in FIN_WAIT1, FIN_WAIT2 and CLOSING: we have closed, the peer has not, or not all is acknowledged",
    ),
    Column::numbers("SYN_S", 6, "in SYN_SENT: nobody has answered yet"),
    Column::numbers("SYN_R", 6, "in SYN_RECV: half open"),
    Column::numbers("L_ACK", 6, "in LAST_ACK: both have closed, the last ACK is missing"),
    Column::numbers("LISTEN", 6, "in LISTEN"),
];

/// The columns alone, without what each of them shows.
pub(super) const fn columns<T: Copy, const N: usize>(shown: &[(Column, T); N]) -> [Column; N] {
    let mut columns = [COLUMNS[0]; N];
    let mut at = 0;
    while at < N {
        columns[at] = shown[at].0;
        at += 1;
    }
    columns
}

/// Headings and what they mean.
pub(super) const fn help<const N: usize>(columns: &[Column; N]) -> [(&'static str, &'static str); N] {
    let mut help = [("", ""); N];
    let mut at = 0;
    while at < N {
        help[at] = (columns[at].name, columns[at].help);
        at += 1;
    }
    help
}

/// The states of each of them; the first gives the colour.
const OF: [&[TcpState]; COLUMNS.len()] = [
    &[TcpState::Established],
    &[TcpState::CloseWait],
    &[TcpState::TimeWait],
    &[TcpState::FinWait1, TcpState::FinWait2, TcpState::Closing],
    &[TcpState::SynSent],
    &[TcpState::SynRecv],
    &[TcpState::LastAck],
    &[TcpState::Listen],
];

/// How many are in the states of a column.
pub(super) fn of(counts: &[u64; STATES], column: usize) -> u64 {
    let states = OF.get(column).copied().unwrap_or_default();
    states.iter().filter_map(|state| counts.get(place(*state))).sum()
}

/// The same as a cell.
pub(super) fn cell(counts: &[u64; STATES], column: usize, context: &Context<'_>) -> Cell {
    let state = OF.get(column).and_then(|states| states.first());
    number(of(counts, column), state.copied(), context)
}

/// A number in the colour of a state, one that is 0 in the background.
pub(super) fn number(number: u64, state: Option<TcpState>, context: &Context<'_>) -> Cell {
    let style = match (number, state) {
        (0, _) => context.theme.dim(),
        (_, Some(state)) => context.theme.state(state),
        (_, None) => context.theme.text(),
    };
    Cell::new(text::count(number), style)
}

/// In any state but CLOSE.
pub(super) fn open(counts: &[u64; STATES]) -> u64 {
    let all = TcpState::IN_LIFE.into_iter().filter(|state| *state != TcpState::Close);
    all.filter_map(|state| counts.get(place(state))).sum()
}

/// How many there are in a state, in CLOSE those that are held; `None` before the first count.
pub(super) fn in_state(world: &dyn World, state: TcpState) -> Option<u64> {
    world.walked()?;
    let overview = world.overview();
    match state {
        TcpState::Close => Some(overview.held),
        state => overview.states.get(place(state)).map(|state| state.count),
    }
}
