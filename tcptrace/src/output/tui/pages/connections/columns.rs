//! The columns of the connections: what stands in them, and by what they are sorted.

use std::{borrow::Cow, net::IpAddr};

use ratatui::style::Style;

use crate::{
    model::{ClosedBy, EndCause, Endpoint, Family, KtimeNs, Origin, Role, TcpState},
    output::{
        Names, escape,
        tui::{
            page::Context,
            pages::{
                staleness::{self, Staleness},
                words,
            },
            table::{Cell, Column},
            text::{self, UNKNOWN},
            world::{Kind, Row},
        },
    },
};

/// What is in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Name of the owner.
    Owner,
    /// Its process.
    Pid,
    /// State.
    State,
    /// Time in it.
    Age,
    /// That time against what is normal.
    Stale,
    /// The service's port, and whether it is ours.
    Port,
    /// The peer.
    Peer,
    /// Who closed first.
    Closed,
    /// Why it ended.
    End,
    /// Container, unit or cgroup.
    Where,
    /// Our side.
    Local,
    /// Client or server.
    Role,
    /// Network namespace.
    Netns,
    /// User.
    Uid,
    /// Address family.
    Family,
    /// How we came to know of it.
    Origin,
    /// The kernel's socket cookie.
    Cookie,
}

/// How many.
pub(super) const COUNT: usize = 17;

/// In the order of the table: what is needed to see who has to do what comes first, and eight of them fit 80 columns.
pub(super) const ORDER: [What; COUNT] = [
    What::Owner,
    What::Pid,
    What::State,
    What::Age,
    What::Stale,
    What::Port,
    What::Peer,
    What::Closed,
    What::End,
    What::Where,
    What::Local,
    What::Role,
    What::Netns,
    What::Uid,
    What::Family,
    What::Origin,
    What::Cookie,
];

/// As the table takes them.
pub(super) const COLUMNS: [Column; COUNT] = {
    let mut columns = [What::Owner.column(); COUNT];
    let mut at = 0;
    while at < COUNT {
        columns[at] = ORDER[at].column();
        at += 1;
    }
    columns
};

/// Their names and what they mean.
pub(super) const HELP: [(&str, &str); COUNT] = {
    let mut help = [("", ""); COUNT];
    let mut at = 0;
    while at < COUNT {
        help[at] = (COLUMNS[at].name, COLUMNS[at].help);
        at += 1;
    }
    help
};

impl What {
    /// Its place in [`ORDER`].
    pub(super) fn place(self) -> usize {
        ORDER.iter().position(|what| *what == self).unwrap_or_default()
    }

    const fn column(self) -> Column {
        match self {
            Self::Owner => Column::words(
                "OWNER",
                13,
                "the process that owns the socket; in parentheses the owner of its listener, as nobody has \
                 accepted the connection yet, as far as is known",
            ),
            Self::Pid => Column::numbers("PID", 7, "its process id"),
            Self::State => Column::words(
                "STATE",
                11,
                "TCP state; `CLOSE held`: the kernel has closed it, and a descriptor still holds it; with `?` unless it \
                 was let go when records were lost; `gone`: \
                 nothing is known of it any more",
            ),
            Self::Age => Column::numbers(
                "AGE",
                9,
                "time in that state, of a closed one since its end; a lower bound is marked, and ~ is known to \
                 one tick of the kernel's timer",
            ),
            Self::Stale => Column::numbers(
                "STALE",
                5,
                "how many times longer than it should be in that state, from 1.0x; blank: it is not, or there \
                 is no limit (ESTABLISHED, LISTEN). The limits: SYN_SENT and SYN_RECV 3 s; FIN_WAIT1, CLOSING, \
                 LAST_ACK and CLOSE_WAIT 30 s; FIN_WAIT2 60 s; TIME_WAIT 124 s; CLOSE held 10 s",
            ),
            Self::Port => Column::words(
                "PORT",
                6,
                "the service's port: `:443` is served here, with an arrow it is the peer's",
            ),
            Self::Peer => Column::words("PEER", 21, "the peer's address and port").growing(),
            Self::Closed => Column::words("CLOSED", 6, "who sent the first FIN or RST: local or remote; blank: nobody yet"),
            Self::End => Column::words("END", 12, "why a closed connection ended"),
            Self::Where => Column::words(
                "WHERE",
                19,
                "the owner's container, else its systemd unit, else its cgroup; sorted by the cgroup's number: \
                 those of one stand together",
            )
            .growing(),
            Self::Local => Column::words("LOCAL", 21, "our address and port").growing(),
            Self::Role => Column::words("ROLE", 6, "client: we connected; server: the peer did"),
            Self::Netns => {
                Column::words("NETNS", 10, "network namespace: its name where it has one, else its inode")
            }
            Self::Uid => Column::numbers("UID", 5, "user of the socket"),
            Self::Family => Column::words("IP", 2, "4 or 6"),
            Self::Origin => Column::words(
                "ORIGIN",
                8,
                "observed: its birth was seen; seeded: it was open when tracing began; inferred: a later event \
                 told of it",
            ),
            Self::Cookie => Column::words(
                "COOKIE",
                9,
                "the kernel's socket cookie in hexadecimal, as `ss -e` shows it behind `sk:`",
            ),
        }
    }

    /// What stands in a row.
    pub(super) fn cell(self, row: &Row, names: &Names, context: &Context<'_>) -> Cell {
        let connection = &row.connection;
        let (theme, now) = (context.theme, context.world.now().ktime);
        let plain = |text: Cow<'static, str>| {
            let style = if text == UNKNOWN { theme.dim() } else { theme.text() };
            Cell::new(text, style)
        };
        let stale = || staleness::of(row, now);
        let stale_style =
            |stale: Option<Staleness>| stale.map_or_else(Style::new, |stale| theme.staleness(stale.share));
        match self {
            Self::Owner => plain(text::owner(row.owner.as_ref())),
            Self::Pid => plain(text::pid(row.owner.as_ref()).into()),
            Self::State => Cell::new(state(row), theme.state(row.state())),
            Self::Age if row.kind == Kind::Closed => Cell::new(age(row, context), theme.dim()),
            Self::Age => Cell::new(age(row, context), stale_style(stale())),
            Self::Stale => {
                let stale = stale().filter(|stale| stale.thousandths >= 1000);
                let text = stale.map_or_else(String::new, |stale| times(stale, context));
                Cell::new(text, stale_style(stale))
            }
            Self::Port => plain(service(row, context)),
            Self::Peer => plain(endpoint(connection.remote, connection.family)),
            Self::Closed if row.connection.closed_by.is_none() && !words::is_closing(row.state()) => {
                Cell::default()
            }
            Self::Closed => plain(text::closed_by(row).into()),
            Self::End => {
                let style = connection
                    .end_cause
                    .and_then(words::tone)
                    .map_or_else(Style::new, |tone| theme.tone(tone));
                match connection.end_cause.filter(|_| row.kind != Kind::Open) {
                    Some(cause) => Cell::new(cause.name(), style),
                    None => plain(if row.kind == Kind::Open { "".into() } else { UNKNOWN.into() }),
                }
            }
            Self::Where => plain(place(names)),
            Self::Local => plain(endpoint(connection.local, connection.family)),
            Self::Role => plain(connection.role.map_or(UNKNOWN, Role::name).into()),
            Self::Netns => plain(netns(row, names)),
            Self::Uid => plain(connection.uid().map_or_else(|| UNKNOWN.into(), |uid| uid.to_string().into())),
            Self::Family => plain(if connection.family == Family::V4 { "4".into() } else { "6".into() }),
            Self::Origin => plain(connection.origin.name().into()),
            Self::Cookie => plain(cookie(row)),
        }
    }

    /// By what it is sorted: the value, and a second one among equals. `None` is what is not known.
    pub(super) fn key(self, row: &Row, now: KtimeNs) -> (Option<u128>, Option<u64>) {
        let connection = &row.connection;
        let key = match self {
            Self::Owner => row.owner.map(|owner| u128::from_be_bytes(owner.task.comm.0)),
            Self::Pid => row.owner.map(|owner| owner.task.pid.get().into()),
            Self::State => Some(2 * in_life(row.state()) + u128::from(row.kind == Kind::Held)),
            Self::Age => row.age(now).0.map(u128::from),
            Self::Stale => Some(stale_key(row, now)),
            Self::Port => service_port(row).map(|(port, _)| port.into()),
            Self::Peer => return address(connection.remote),
            Self::Local => return address(connection.local),
            Self::Closed => connection.closed_by.map(|by| u128::from(by == ClosedBy::Remote)),
            Self::End => {
                let cause = connection.end_cause.filter(|_| row.kind != Kind::Open);
                cause
                    .and_then(|cause| (0..).zip(END_CAUSES).find(|(_, known)| *known == cause))
                    .map(|(at, _)| at)
            }
            Self::Where => row.owner.and_then(|owner| owner.task.cgroup).map(|cgroup| cgroup.get().into()),
            Self::Role => connection.role.map(|role| u128::from(role == Role::Server)),
            Self::Netns => connection.netns.map(|netns| netns.get().into()),
            Self::Uid => connection.uid().map(u128::from),
            Self::Family => Some(connection.family.number().into()),
            Self::Origin => Some(match connection.origin {
                Origin::Inferred => 0,
                Origin::Observed => 1,
                Origin::Seeded => 2,
            }),
            Self::Cookie => row.key.cookie().map(|cookie| cookie.get().into()),
        };
        (key, None)
    }
}

/// The place of a state in the order of a life.
fn in_life(state: TcpState) -> u128 {
    (0..).zip(TcpState::IN_LIFE).find(|(_, known)| *known == state).map_or(0, |(at, _)| at)
}

/// In the order of their words.
const END_CAUSES: [EndCause; 11] = [
    EndCause::Fin,
    EndCause::Overflow,
    EndCause::Refused,
    EndCause::ResetLocal,
    EndCause::ResetRemote,
    EndCause::Timeout,
    EndCause::TwExpired,
    EndCause::TwKilled,
    EndCause::TwOverflow,
    EndCause::TwReused,
    EndCause::Unknown,
];

/// The most stale is the largest; among those without a limit what is open is larger than what is over. What may be stale, as
/// its age is not known, comes right behind what is.
fn stale_key(row: &Row, now: KtimeNs) -> u128 {
    const OPEN: u128 = 1;
    const LIMITED: u128 = 2;
    match (row.kind, staleness::thousandths(row, now)) {
        (_, Some(thousandths)) => LIMITED + u128::from(thousandths),
        (Kind::Closed, None) => 0,
        (kind, None) if staleness::span(kind, row.state()).is_some() => LIMITED + 999,
        (_, None) => OPEN,
    }
}

fn address(end: Endpoint) -> (Option<u128>, Option<u64>) {
    let bits = end.addr.map(|addr| match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().to_bits(),
        IpAddr::V6(addr) => addr.to_bits(),
    });
    (bits, end.port.map(|port| port.get().into()))
}

/// The state in words.
pub(in crate::output::tui::pages) fn state(row: &Row) -> &'static str {
    match row.kind {
        Kind::Held if row.is_doubtful => "CLOSE held?",
        Kind::Held => "CLOSE held",
        Kind::Open | Kind::Closed => row.state().name(),
    }
}

/// How long it has been in its state.
pub(super) fn age(row: &Row, context: &Context<'_>) -> String {
    let age = row.age(context.world.now().ktime);
    let is_to_a_jiffy = row.closed.is_none() && row.connection.is_entered_to_a_jiffy();
    let mark = if is_to_a_jiffy && age.0.is_some() { "~" } else { "" };
    format!("{mark}{}", text::age(age, context.glyphs))
}

/// `3.2x`, `14x`, `12kx`
pub(in crate::output::tui::pages) fn times(stale: Staleness, context: &Context<'_>) -> String {
    let mark = if stale.is_at_least { context.glyphs.at_least } else { "" };
    let thousandths = stale.thousandths;
    let text = match thousandths / 1000 {
        0..10 => format!("{}.{}x", thousandths / 1000, thousandths / 100 % 10),
        whole @ 10..1_000 => format!("{whole}x"),
        whole @ 1_000..1_000_000 => format!("{}kx", whole / 1_000),
        whole => format!("{}Mx", whole / 1_000_000),
    };
    format!("{mark}{text}")
}

/// The service's port, and whether it is ours.
fn service_port(row: &Row) -> Option<(u16, bool)> {
    let connection = &row.connection;
    let (end, is_ours) = match connection.role? {
        Role::Server => (connection.local, true),
        Role::Client => (connection.remote, false),
    };
    Some((end.port?.get(), is_ours))
}

fn service(row: &Row, context: &Context<'_>) -> Cow<'static, str> {
    match service_port(row) {
        None => UNKNOWN.into(),
        Some((port, true)) => format!(":{port}").into(),
        // In one cell, as there is room for no more.
        Some((port, false)) if context.glyphs.is_ascii => format!(">{port}").into(),
        Some((port, false)) => format!("{}{port}", context.glyphs.right).into(),
    }
}

/// An endpoint of which something is known, or else that nothing is.
fn endpoint(end: Endpoint, family: Family) -> Cow<'static, str> {
    if end == Endpoint::default() { UNKNOWN.into() } else { text::endpoint(end, family).into() }
}

/// What the owner's cgroup is for those who run things in it.
pub(in crate::output::tui::pages) fn place(names: &Names) -> Cow<'static, str> {
    let Some(cgroup) = names.cgroup.as_deref() else { return UNKNOWN.into() };
    let workload = &cgroup.workload;
    if let Some(container) = &workload.container {
        let runtime = container.runtime.map_or("container", crate::model::Runtime::name);
        return format!("{runtime}:{}", escape::text(container.short_id())).into();
    }
    escape::text(workload.unit.as_deref().unwrap_or(&cgroup.path)).into_owned().into()
}

/// A namespace by its name, where somebody has given it one, else by its inode.
fn netns(row: &Row, names: &Names) -> Cow<'static, str> {
    match (&names.netns, row.connection.netns) {
        (Some(name), _) if name.is_given => escape::text(&name.text).into_owned().into(),
        (_, Some(inode)) => inode.to_string().into(),
        (_, None) => UNKNOWN.into(),
    }
}

/// As `ss -e` shows it.
pub(in crate::output::tui::pages) fn cookie(row: &Row) -> Cow<'static, str> {
    row.key.cookie().map_or_else(|| UNKNOWN.into(), |cookie| format!("{cookie:x}").into())
}
