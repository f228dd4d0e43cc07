//! What is compared.

mod report;

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    num::{NonZeroU16, NonZeroU32, NonZeroU64},
};

use super::{
    compare::{self, Knows},
    connection::{Cookies, Deeds, Span},
    truth::Truth,
    witness::Row,
};
use crate::{
    model::{
        ClosedBy, Comm, Dwell, EndCause, Endpoint, Event, Family, KtimeNs, Limits, Origin, OwnerIs,
        ProcessStart, SocketKey, Table, Task, TcpState,
        TcpState::{
            Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent, TimeWait,
        },
        Transition,
    },
    output::doctor::{Field, Outcome},
};

const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 40000);
const ALL: Knows = Knows { typed: true, cookies: true, minis: true, accepts: true };

/// In milliseconds of the test's clock.
const fn at(ms: u64) -> KtimeNs {
    KtimeNs(1_000_000_000_000 + ms * 1_000_000)
}

const fn span(from: u64, to: u64) -> Span {
    Span { from: at(from), to: at(to) }
}

fn cookies(number: u64) -> Cookies {
    Cookies { by_option: NonZeroU64::new(number), by_diag: NonZeroU64::new(number) }
}

fn deeds() -> Deeds {
    Deeds {
        server: SERVER,
        client: CLIENT,
        listener_cookies: cookies(1),
        client_cookies: cookies(2),
        server_cookies: cookies(3),
        listened: span(0, 2),
        connected: span(10, 12),
        accepted: span(10, 14),
        client_closed: span(70, 72),
        end_seen: span(70, 74),
        server_closed: span(130, 132),
        listener_closed: span(132, 134),
    }
}

fn task() -> Task {
    let pid = NonZeroU32::new(4242).unwrap_or(NonZeroU32::MIN);
    let cgroup = NonZeroU64::new(77);
    Task { pid, tid: pid, comm: Comm::from("tcptrace"), started: ProcessStart::from_ticks(5), cgroup }
}

fn truth() -> Truth {
    Truth {
        task: Some(task()),
        are_initial_pids: true,
        uid: Some(0),
        netns: NonZeroU32::new(4_026_531_833),
        cgroup: Some("/user.slice".to_owned()),
    }
}

/// What the kernel tells of it: cookie, ends, states, milliseconds.
fn told() -> Vec<Transition> {
    let one = |cookie: u64, local: SocketAddr, remote: Option<SocketAddr>, states, ms| {
        let key = NonZeroU64::new(cookie).map_or(SocketKey::from_address(1), SocketKey::from_cookie);
        let end = |addr: SocketAddr| Endpoint { addr: Some(addr.ip()), port: NonZeroU16::new(addr.port()) };
        Transition {
            local: end(local),
            remote: remote.map(end).unwrap_or_default(),
            netns: truth().netns,
            uid: Some(0),
            error: Some(0),
            task: Some(task()),
            ..Transition::bare(at(ms), key, Family::V4, states)
        }
    };
    let (server, client) = (Some(SERVER), Some(CLIENT));
    vec![
        one(1, SERVER, None, (Close, Listen), 1),
        one(2, CLIENT, server, (Close, SynSent), 11),
        one(3, SERVER, client, (Listen, SynRecv), 11),
        one(2, CLIENT, server, (SynSent, Established), 11),
        one(3, SERVER, client, (SynRecv, Established), 12),
        one(2, CLIENT, server, (Established, FinWait1), 71),
        one(3, SERVER, client, (Established, CloseWait), 71),
        one(2, CLIENT, server, (FinWait1, FinWait2), 73),
        one(3, SERVER, client, (CloseWait, LastAck), 131),
        one(2, CLIENT, server, (FinWait2, TimeWait), 131),
        one(3, SERVER, client, (LastAck, Close), 132),
        one(1, SERVER, None, (Listen, Close), 133),
    ]
}

/// As the table tells it where request sockets are followed, too: SYN_RECV begins with one.
fn rows(told: &[Transition]) -> Vec<Row> {
    let mut rows = rows_of_full_sockets(told);
    for Row { observed, .. } in &mut rows {
        if observed.transition.old == SynRecv {
            observed.dwell = observed.dwell.map(|dwell| Dwell::Exact(dwell.ns()));
        }
    }
    rows
}

/// As the table tells it.
fn rows_of_full_sockets(told: &[Transition]) -> Vec<Row> {
    let mut table = Table::new(at(0), Limits::default());
    let mut rows = Vec::new();
    for transition in told {
        table.apply(&Event::Transition(*transition), &mut |observed| {
            rows.push(Row { observed: *observed, cgroup: truth().cgroup });
        });
    }
    table.settle_all(&mut |observed| rows.push(Row { observed: *observed, cgroup: truth().cgroup }));
    rows
}

/// The fields that are not right.
fn faults(knows: Knows, rows: &[Row]) -> Vec<String> {
    let fields = compare::all(&deeds(), &truth(), knows, rows);
    let bad = fields.iter().filter(|field| matches!(field.outcome, Outcome::Wrong | Outcome::Missing));
    bad.map(|field| format!("{} {}", field.of, field.name)).collect()
}

#[test]
fn what_was_done_is_right_and_complete() {
    let rows = rows(&told());
    let fields = compare::all(&deeds(), &truth(), ALL, &rows);
    let others: Vec<&Field> = fields.iter().filter(|field| field.outcome != Outcome::Right).collect();
    assert!(others.is_empty(), "{others:#?}");
    assert!(fields.len() > 60, "{}", fields.len());
    assert!(compare::is_complete(&deeds(), ALL, &rows));
    let unfinished = &rows[..rows.len() - 1];
    assert!(!compare::is_complete(&deeds(), ALL, unfinished));
    assert!(rows.iter().all(|row| compare::is_about(&deeds(), row)));
}

#[test]
fn each_fault_is_found_where_it_is() {
    type Fault = fn(&mut Row);
    let of_row: [(Fault, &str); 14] = [
        (|row| row.observed.connection.family = Family::V6, "client family"),
        (|row| row.observed.connection.mptcp = true, "client protocol"),
        (|row| row.observed.connection.local.addr = Some([127, 0, 0, 2].into()), "client laddr"),
        (|row| row.observed.connection.remote.addr = None, "client raddr"),
        (|row| row.observed.connection.role = None, "client role"),
        (|row| row.observed.connection.origin = Origin::Seeded, "client origin"),
        (|row| row.observed.connection.netns = NonZeroU32::new(7), "client netns"),
        (|row| row.observed.connection.closed_by = Some(ClosedBy::Remote), "client closed_by"),
        (|row| owner(row).pid = NonZeroU32::MIN, "client pid"),
        (|row| owner(row).tid = NonZeroU32::MIN, "client tid"),
        (|row| owner(row).comm = Comm::from("ksoftirqd/0"), "client comm"),
        (|row| owner(row).started = None, "client process_start"),
        (|row| row.cgroup = None, "client cgroup"),
        (|row| row.observed.transition.ts = at(9_000), "client ts_ns"),
    ];
    for (fault, name) in of_row {
        let mut rows = rows(&told());
        // The last one of the client.
        let last = rows.iter_mut().find(|row| row.observed.transition.new == TimeWait);
        fault(last.expect("is told"));
        assert_eq!(faults(ALL, &rows), [name]);
    }
}

/// The owner of a row, to be changed.
fn owner(row: &mut Row) -> &mut Task {
    &mut row.observed.owner.as_mut().expect("is known").task
}

#[test]
fn what_the_kernel_tells_late_or_not_is_found() {
    let without = |old: TcpState, new: TcpState| {
        let told: Vec<_> = told().into_iter().filter(|one| (one.old, one.new) != (old, new)).collect();
        faults(ALL, &rows(&told))
    };
    assert!(without(Close, SynSent).contains(&"client states".to_owned()));
    assert!(without(FinWait2, TimeWait).contains(&"client states".to_owned()));
    assert!(without(CloseWait, LastAck).contains(&"server CLOSE_WAIT duration_ns".to_owned()));
    for row in 0..rows(&told()).len() {
        let mut rows = rows(&told());
        rows.remove(row);
        assert!(faults(ALL, &rows).iter().any(|name| name.ends_with("states")), "without row {row}");
    }
    assert!(without(Close, Listen).contains(&"listener states".to_owned()));
    assert_eq!(
        faults(ALL, &[]).len(),
        compare::all(&deeds(), &truth(), ALL, &[]).len(),
        "nothing is all missing"
    );

    let mut unaccepted = rows(&told());
    for Row { observed, .. } in &mut unaccepted {
        if observed.transition.new == CloseWait {
            observed.owner.as_mut().expect("is known").is = OwnerIs::Listener;
        }
    }
    assert_eq!(faults(ALL, &unaccepted), ["server owner_is from accept on"]);

    let bound = faults(ALL, &rows_of_full_sockets(&told()));
    assert_eq!(bound, ["server SYN_RECV duration_ns"], "a lower bound where more is to be known");

    let shifted = |old: TcpState, new: TcpState, ms: u64| {
        let mut told = told();
        let moved = told.iter_mut().find(|one| (one.old, one.new) == (old, new));
        moved.expect("is told").ts = at(ms);
        faults(ALL, &rows(&told))
    };
    assert_eq!(shifted(Established, FinWait1, 60), ["client ESTABLISHED duration_ns"]);
    assert_eq!(
        shifted(SynRecv, Established, 30),
        ["server SYN_RECV duration_ns", "server ESTABLISHED duration_ns"]
    );
    assert_eq!(shifted(CloseWait, LastAck, 100), ["server CLOSE_WAIT duration_ns"]);
    assert_eq!(shifted(FinWait2, TimeWait, 90), ["client FIN_WAIT2 duration_ns"]);
    assert_eq!(shifted(Listen, Close, 5), ["listener LISTEN duration_ns"]);
}

#[test]
fn what_a_way_cannot_tell_is_no_fault() {
    let classic: Vec<Transition> = told()
        .into_iter()
        .filter(|one| one.new != TimeWait)
        .map(|one| Transition {
            key: SocketKey::from_address(one.key.cookie().map_or(0, NonZeroU64::get) << 8),
            netns: None,
            uid: None,
            error: None,
            task: one.task.map(|task| Task { started: None, cgroup: None, ..task }),
            ..one
        })
        .collect();
    let mut rows = rows_of_full_sockets(&classic);
    for row in &mut rows {
        row.cgroup = None;
    }
    let knows = Knows { typed: false, cookies: false, minis: false, accepts: false };
    assert!(compare::is_complete(&deeds(), knows, &rows));
    let fields = compare::all(&deeds(), &truth(), knows, &rows);
    let unknown: BTreeSet<&str> = fields
        .iter()
        .filter(|field| field.outcome == Outcome::NotKnown)
        .map(|field| field.name.as_str())
        .collect();
    let expected = [
        "FIN_WAIT2 duration_ns",
        "TIME_WAIT",
        "cgroup",
        "cookie",
        "cookie (sock_diag)",
        "end_cause",
        "netns",
        "owner_is from accept on",
        "process_start",
        "uid",
    ];
    assert_eq!(unknown, expected.into());
    assert_eq!(faults(knows, &rows), Vec::<String>::new());
}

/// The kernel keeps nothing of the client then, and answers its peer with a reset.
#[test]
fn a_full_table_of_time_wait_sockets_is_no_fault() {
    let mut rows = rows(&told());
    for Row { observed, .. } in &mut rows {
        match (observed.transition.old, observed.transition.new) {
            (FinWait2, TimeWait) => {
                observed.transition.new = Close;
                observed.connection.end_cause = Some(EndCause::TwOverflow);
            }
            (LastAck, Close) => observed.connection.end_cause = Some(EndCause::ResetRemote),
            _ => {}
        }
    }
    assert_eq!(faults(ALL, &rows), Vec::<String>::new());
    let fields = compare::all(&deeds(), &truth(), ALL, &rows);
    let unknown = fields.iter().filter(|field| field.outcome == Outcome::NotKnown);
    let names: Vec<String> = unknown.map(|field| format!("{} {}", field.of, field.name)).collect();
    assert_eq!(names, ["client TIME_WAIT", "client FIN_WAIT2 duration_ns", "server end_cause"]);
    assert!(compare::is_complete(&deeds(), ALL, &rows));
}
