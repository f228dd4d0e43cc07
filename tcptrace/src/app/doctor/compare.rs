//! What was seen against what was done, field by field.

use std::{fmt::Display, net::SocketAddr};

use super::{
    connection::{Cookies, Deeds, Span},
    trials::Working,
    truth::Truth,
    witness::Row,
};
use crate::{
    model::{
        ClosedBy, Connection, Dwell, EndCause, Endpoint, Family, KtimeNs, OwnerIs, ProcessStart, Role, Task,
        TcpState,
        TcpState::{
            Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent, TimeWait,
        },
    },
    output::{
        doctor::{Field, Outcome},
        escape,
    },
    source::live::{AcceptWay, Hook},
};

/// What the kernel does on its own after the last thing that we do may take so long.
const SLACK_NS: u64 = 250_000_000;

/// A tick of the kernel's timer, at most.
const TICK_NS: u64 = 10_000_000;

/// How far the clock of the records (`ktime_get_mono_fast_ns`) and ours may be apart.
const APART_NS: u64 = 1_000_000;

const BY_STEP: &str = "as the ways in use cannot tell it";
const BY_TEST: &str = "as the test cannot know it here";
const BY_KERNEL: &str = "as the kernel made no time-wait socket (see net.ipv4.tcp_max_tw_buckets)";

/// What the ways in use can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Knows {
    /// All that the BTF-typed hook tells.
    pub(super) typed: bool,
    /// The same with socket cookies.
    pub(super) cookies: bool,
    /// Each event of time-wait and half-open sockets.
    pub(super) minis: bool,
    /// Who accepts.
    pub(super) accepts: bool,
}

impl Knows {
    pub(super) const fn of(working: &Working) -> Self {
        Self {
            typed: matches!(working.hook, Hook::Btf { .. }),
            cookies: matches!(working.hook, Hook::Btf { cookie: true }),
            minis: working.lifecycle.way.sees_events(),
            accepts: !matches!(working.accepts.way, AcceptWay::Off),
        }
    }
}

/// One of the three sockets, and what is expected of it.
struct Side<'a> {
    of: &'static str,
    rows: Vec<&'a Row>,
    local: SocketAddr,
    remote: Option<SocketAddr>,
    role: Role,
    path: &'static [TcpState],
    cookies: Cookies,
    closed_by: Option<ClosedBy>,
    end_cause: Option<EndCause>,
    /// The client was to become a time-wait socket, and the kernel had no room for one: it answers the server's FIN with a
    /// reset then.
    is_refused_time_wait: bool,
    /// States, and for how long it was in each, in nanoseconds.
    stays: Vec<(TcpState, Stay)>,
}

/// At least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stay {
    least: u64,
    most: u64,
}

impl Stay {
    /// From within `entered` to within `left`.
    fn between(entered: Span, left: Span) -> Self {
        Self {
            least: left.from.since(entered.to).unwrap_or(0).saturating_sub(APART_NS),
            most: left.to.since(entered.from).unwrap_or(0) + APART_NS,
        }
    }

    /// Nobody has seen when it ended.
    const fn with_slack(self) -> Self {
        Self { least: 0, most: self.most + SLACK_NS }
    }

    const fn at_most(self) -> Self {
        Self { least: 0, ..self }
    }
}

/// Whether a row may be about one of our sockets.
pub(super) fn is_about(deeds: &Deeds, row: &Row) -> bool {
    let Connection { local, remote, .. } = row.observed.connection;
    let (server, client) = (deeds.server.port(), deeds.client.port());
    match local.port.map(std::num::NonZero::get) {
        Some(port) => port == server || port == client && is_port(remote, server),
        // A client that is not bound yet.
        None => is_port(remote, server),
    }
}

fn is_port(endpoint: Endpoint, port: u16) -> bool {
    endpoint.port.is_some_and(|known| known.get() == port)
}

/// The rows of a socket: those with these ports, and all others with their identity.
fn rows_of(rows: &[Row], local: SocketAddr, remote: Option<SocketAddr>) -> Vec<&Row> {
    let has_ports = |row: &&Row| {
        let connection = row.observed.connection;
        is_port(connection.local, local.port())
            && remote
                .map_or(connection.remote.port.is_none(), |remote| is_port(connection.remote, remote.port()))
    };
    // A listener's child that has no peer yet is no listener.
    let is_listener = |row: &&Row| {
        let transition = row.observed.transition;
        (transition.old, transition.new) == (Close, Listen)
            || (transition.old, transition.new) == (Listen, Close)
    };
    let keys: Vec<_> = rows
        .iter()
        .filter(|row| has_ports(row) && (remote.is_some() || is_listener(row)))
        .map(|row| row.observed.transition.key)
        .collect();
    let is_child = |row: &&Row| {
        let transition = row.observed.transition;
        let is_birth = (transition.old, transition.new) == (Listen, SynRecv);
        remote.is_some()
            && is_birth
            && row.observed.connection.remote.port.is_none()
            && is_port(row.observed.connection.local, local.port())
    };
    let is_wanted = |row: &&Row| {
        keys.contains(&row.observed.transition.key) && (remote.is_some() || is_listener(row))
            || remote.is_some() && has_ports(row)
            || is_child(row)
    };
    rows.iter().filter(is_wanted).collect()
}

/// Whether the last row of each of our sockets is there.
pub(super) fn is_complete(deeds: &Deeds, knows: Knows, rows: &[Row]) -> bool {
    let enters = |local, remote, states: &[TcpState]| {
        rows_of(rows, local, remote).iter().any(|row| states.contains(&row.observed.transition.new))
    };
    let last: &[TcpState] = if knows.minis { &[TimeWait, Close] } else { &[FinWait2] };
    enters(deeds.client, Some(deeds.server), last)
        && enters(deeds.server, Some(deeds.client), &[Close])
        && enters(deeds.server, None, &[Close])
}

/// Every field of all three.
pub(super) fn all(deeds: &Deeds, truth: &Truth, knows: Knows, rows: &[Row]) -> Vec<Field> {
    let mut sides = [listener(deeds, rows), client(deeds, rows), server(deeds, rows)];
    let refused = |row: &&Row| row.observed.connection.end_cause == Some(EndCause::TwOverflow);
    let is_refused = sides.iter().any(|side| side.rows.iter().any(refused));
    for side in &mut sides {
        side.is_refused_time_wait = is_refused;
    }
    sides.iter().flat_map(|side| side.fields(deeds, truth, knows)).collect()
}

fn listener<'a>(deeds: &Deeds, rows: &'a [Row]) -> Side<'a> {
    Side {
        of: "listener",
        rows: rows_of(rows, deeds.server, None),
        local: deeds.server,
        remote: None,
        role: Role::Server,
        path: &[Close, Listen, Close],
        cookies: deeds.listener_cookies,
        closed_by: None,
        end_cause: None,
        is_refused_time_wait: false,
        stays: vec![(Listen, Stay::between(deeds.listened, deeds.listener_closed))],
    }
}

fn client<'a>(deeds: &Deeds, rows: &'a [Row]) -> Side<'a> {
    let rows = rows_of(rows, deeds.client, Some(deeds.server));
    let in_both = Stay::between(deeds.client_closed, deeds.server_closed);
    let in_first = dwell_in(&rows, FinWait1).map_or(0, Dwell::ns);
    let in_second = Stay {
        // Both together are what we have waited.
        least: in_both.least.saturating_sub(in_first + TICK_NS),
        most: in_both.with_slack().most + TICK_NS,
    };
    Side {
        of: "client",
        rows,
        local: deeds.client,
        remote: Some(deeds.server),
        role: Role::Client,
        path: &[Close, SynSent, Established, FinWait1, FinWait2, TimeWait],
        cookies: deeds.client_cookies,
        closed_by: Some(ClosedBy::Local),
        end_cause: None,
        is_refused_time_wait: false,
        stays: vec![
            (SynSent, Stay::between(deeds.connected, deeds.connected).at_most()),
            (Established, Stay::between(deeds.connected, deeds.client_closed)),
            (FinWait1, in_both.with_slack()),
            (FinWait2, in_second),
        ],
    }
}

fn server<'a>(deeds: &Deeds, rows: &'a [Row]) -> Side<'a> {
    Side {
        of: "server",
        rows: rows_of(rows, deeds.server, Some(deeds.client)),
        local: deeds.server,
        remote: Some(deeds.client),
        role: Role::Server,
        path: &[Listen, SynRecv, Established, CloseWait, LastAck, Close],
        cookies: deeds.server_cookies,
        closed_by: Some(ClosedBy::Remote),
        end_cause: Some(EndCause::Fin),
        is_refused_time_wait: false,
        stays: vec![
            (SynRecv, Stay::between(deeds.connected, deeds.accepted).at_most()),
            (Established, Stay::between(deeds.accepted, deeds.end_seen)),
            (CloseWait, Stay::between(deeds.end_seen, deeds.server_closed)),
            (LastAck, Stay::between(deeds.server_closed, deeds.server_closed).with_slack()),
        ],
    }
}

fn dwell_in(rows: &[&Row], state: TcpState) -> Option<Dwell> {
    rows.iter().find(|row| row.observed.transition.old == state)?.observed.dwell
}

impl Side<'_> {
    fn fields(&self, deeds: &Deeds, truth: &Truth, knows: Knows) -> Vec<Field> {
        let mut fields = vec![self.states(knows), self.times(deeds)];
        if self.path.contains(&TimeWait) && (!knows.minis || self.is_refused_time_wait) {
            fields.push(self.not_known(TimeWait.name(), if knows.minis { BY_KERNEL } else { BY_STEP }));
        }
        fields.extend(self.stays.iter().map(|(state, stay)| self.stay(*state, *stay, knows)));
        fields.extend(self.addresses());
        fields.extend(self.identity(truth, knows));
        fields.extend(self.owner(truth, knows));
        fields.extend(self.accepted(knows));
        fields.extend(self.ending(knows));
        fields
    }

    fn field(
        &self,
        name: impl Into<String>,
        outcome: Outcome,
        expected: String,
        found: Option<String>,
    ) -> Field {
        Field { of: self.of, name: name.into(), outcome, expected: Some(expected), found, why: None }
    }

    fn not_known(&self, name: impl Into<String>, why: &str) -> Field {
        let name = name.into();
        Field {
            of: self.of,
            name,
            outcome: Outcome::NotKnown,
            expected: None,
            found: None,
            why: Some(why.to_owned()),
        }
    }

    /// Every row that knows the field must know it right, and the last row must know it.
    fn known<T: PartialEq + Display>(
        &self,
        name: &str,
        expected: &T,
        of: impl Fn(&Row) -> Option<T>,
    ) -> Field {
        let known: Vec<Option<T>> = self.rows.iter().map(|row| of(row)).collect();
        let wrong = known.iter().flatten().find(|found| *found != expected);
        let last = known.last().and_then(Option::as_ref);
        let outcome = match (wrong, last) {
            (Some(_), _) => Outcome::Wrong,
            (None, Some(_)) => Outcome::Right,
            (None, None) => Outcome::Missing,
        };
        self.field(name, outcome, expected.to_string(), wrong.or(last).map(T::to_string))
    }

    /// The same where it can be told and is known to the test.
    fn known_if<T: PartialEq + Display>(
        &self,
        name: &str,
        is_told: bool,
        expected: Option<T>,
        of: impl Fn(&Row) -> Option<T>,
    ) -> Field {
        match expected {
            _ if !is_told => self.not_known(name, BY_STEP),
            None => self.not_known(name, BY_TEST),
            Some(expected) => self.known(name, &expected, of),
        }
    }

    /// Every state, in order.
    fn states(&self, knows: Knows) -> Field {
        let mut path = self.path;
        let mut rows = &self.rows[..];
        if self.is_refused_time_wait || !knows.minis {
            // What follows on FIN_WAIT2 is not told, or is another state.
            let until = |state| state == FinWait2;
            if let Some(end) = path.iter().position(|state| until(*state)) {
                path = &path[..=end];
                let end = rows.iter().position(|row| until(row.observed.transition.new));
                rows = &rows[..end.map_or(rows.len(), |end| end + 1)];
            }
        }
        let expected = path.iter().map(|state| state.name()).collect::<Vec<_>>().join(" ");
        let mut found: Vec<&str> = Vec::new();
        for row in rows {
            let transition = row.observed.transition;
            if found.last() != Some(&transition.old.name()) {
                // Something between the two was not told.
                found.extend((!found.is_empty()).then_some("(gap)"));
                found.push(transition.old.name());
            }
            found.push(transition.new.name());
        }
        let found = found.join(" ");
        let outcome = if found == expected {
            Outcome::Right
        } else if found.is_empty() {
            Outcome::Missing
        } else {
            Outcome::Wrong
        };
        self.field("states", outcome, expected, (!found.is_empty()).then_some(found))
    }

    /// Time-stamps are within the test.
    fn times(&self, deeds: &Deeds) -> Field {
        let from = KtimeNs(deeds.listened.from.0.saturating_sub(APART_NS));
        // What the kernel does on its own comes later; to a tick of its timer, when its timers tell.
        let to = KtimeNs(deeds.listener_closed.to.0 + SLACK_NS + TICK_NS);
        let expected = format!("{} to {}", from.0, to.0);
        let times: Vec<KtimeNs> = self.rows.iter().map(|row| row.observed.transition.ts).collect();
        let wrong = times.iter().find(|ts| !(from..=to).contains(*ts));
        let outcome = match (wrong, times.is_empty()) {
            (_, true) => Outcome::Missing,
            (None, false) => Outcome::Right,
            (Some(_), false) => Outcome::Wrong,
        };
        self.field("ts_ns", outcome, expected, wrong.or(times.last()).map(|ts| ts.0.to_string()))
    }

    fn stay(&self, state: TcpState, stay: Stay, knows: Knows) -> Field {
        let name = format!("{state} duration_ns");
        if state == FinWait2 && !knows.minis {
            return self.not_known(name, BY_STEP);
        }
        if state == FinWait2 && self.is_refused_time_wait {
            return self.not_known(name, BY_KERNEL);
        }
        let expected = format!("{} to {}", stay.least, stay.most);
        let Some(dwell) = dwell_in(&self.rows, state) else {
            return self.field(name, Outcome::Missing, expected, None);
        };
        // How long it was half-open before that was reported is a lower bound.
        let is_bound_right = state == SynRecv && !knows.minis;
        let is_right = match dwell {
            Dwell::AtLeast(ns) => is_bound_right && ns <= stay.most,
            Dwell::Exact(ns) => (stay.least..=stay.most).contains(&ns),
            Dwell::Jiffy(ns) => state == FinWait2 && (stay.least..=stay.most).contains(&ns),
        };
        let outcome = if is_right { Outcome::Right } else { Outcome::Wrong };
        let found = match dwell {
            Dwell::AtLeast(ns) => format!("at least {ns}"),
            Dwell::Exact(ns) => ns.to_string(),
            Dwell::Jiffy(ns) => format!("{ns} to a tick"),
        };
        self.field(name, outcome, expected, Some(found))
    }

    fn addresses(&self) -> Vec<Field> {
        let connection = |row: &Row| row.observed.connection;
        let mut fields = vec![
            self.known("family", &Family::V4.number(), |row| Some(connection(row).family.number())),
            self.known("protocol", &"tcp", |row| Some(if connection(row).mptcp { "mptcp" } else { "tcp" })),
            self.known("laddr", &self.local.ip(), |row| connection(row).local.addr),
            self.known("lport", &self.local.port(), |row| Some(connection(row).local.port?.get())),
        ];
        if let Some(remote) = self.remote {
            fields.push(self.known("raddr", &remote.ip(), |row| connection(row).remote.addr));
            fields.push(self.known("rport", &remote.port(), |row| Some(connection(row).remote.port?.get())));
        }
        fields.push(self.known("role", &self.role.name(), |row| Some(connection(row).role?.name())));
        fields.push(self.known("origin", &"observed", |row| Some(connection(row).origin.name())));
        fields
    }

    fn identity(&self, truth: &Truth, knows: Knows) -> Vec<Field> {
        let cookie = |row: &Row| row.observed.transition.key.cookie();
        let connection = |row: &Row| row.observed.connection;
        let mut fields = vec![self.known_if("cookie", knows.cookies, self.cookies.by_option, cookie)];
        if self.remote.is_some() {
            fields.push(self.known_if("cookie (sock_diag)", knows.cookies, self.cookies.by_diag, cookie));
        }
        fields.push(self.known_if("netns", knows.typed, truth.netns, |row| connection(row).netns));
        fields.push(self.known_if("uid", knows.typed, truth.uid, |row| connection(row).uid()));
        fields
    }

    fn owner(&self, truth: &Truth, knows: Knows) -> Vec<Field> {
        let task = |row: &Row| row.observed.owner.map(|owner| owner.task);
        let of_pids = truth.task.filter(|_| truth.are_initial_pids);
        let comm = |task: Task| escape::comm_json(&task.comm).into_owned();
        let started = |task: Task| task.started.map(ProcessStart::ticks);
        vec![
            self.known_if("pid", true, of_pids.map(|task| task.pid), |row| Some(task(row)?.pid)),
            self.known_if("tid", true, of_pids.map(|task| task.tid), |row| Some(task(row)?.tid)),
            self.known_if("comm", true, truth.task.map(comm), |row| task(row).map(comm)),
            self.known_if("process_start", knows.cookies, truth.task.and_then(started), |row| {
                started(task(row)?)
            }),
            self.last("owner_is", &OwnerIs::Caller.name(), |row| Some(row.observed.owner?.is.name())),
            self.known_if("cgroup", knows.cookies, truth.cgroup.clone(), |row| row.cgroup.clone()),
        ]
    }

    /// Between accept and its own close a server's connection is no longer its listener's owner's.
    fn accepted(&self, knows: Knows) -> Option<Field> {
        const NAME: &str = "owner_is from accept on";
        if !self.path.contains(&CloseWait) {
            return None;
        }
        if !knows.accepts {
            return Some(self.not_known(NAME, BY_STEP));
        }
        let row = self.rows.iter().find(|row| row.observed.transition.new == CloseWait);
        let found = row.and_then(|row| Some(row.observed.owner?.is));
        let outcome = match found {
            Some(OwnerIs::Caller) => Outcome::Right,
            Some(_) => Outcome::Wrong,
            None => Outcome::Missing,
        };
        let found = found.map(|found| found.name().to_owned());
        Some(self.field(NAME, outcome, OwnerIs::Caller.name().to_owned(), found))
    }

    fn ending(&self, knows: Knows) -> Vec<Field> {
        let mut fields = Vec::new();
        if let Some(closed_by) = self.closed_by {
            let of = |row: &Row| Some(row.observed.connection.closed_by?.name());
            fields.push(self.known("closed_by", &closed_by.name(), of));
        }
        if self.end_cause.is_some() && self.is_refused_time_wait {
            fields.push(self.not_known("end_cause", BY_KERNEL));
        } else if let Some(cause) = self.end_cause {
            let of = |row: &Row| Some(row.observed.connection.end_cause?.name());
            fields.push(self.known_if("end_cause", knows.typed, Some(cause.name()), of));
        }
        fields
    }

    /// What the last row says: it can become known, or better known, on the way.
    fn last<T: PartialEq + Display>(
        &self,
        name: &str,
        expected: &T,
        of: impl Fn(&Row) -> Option<T>,
    ) -> Field {
        let found = self.rows.last().and_then(|row| of(row));
        let outcome = match &found {
            Some(found) if found == expected => Outcome::Right,
            Some(_) => Outcome::Wrong,
            None => Outcome::Missing,
        };
        self.field(name, outcome, expected.to_string(), found.map(|found| found.to_string()))
    }
}
