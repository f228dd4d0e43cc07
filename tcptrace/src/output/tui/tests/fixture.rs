//! Worlds to draw, always the same: connections that a table was told of.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::{NonZeroU16, NonZeroU32, NonZeroU64},
    sync::Arc,
};

use crate::{
    model::{
        Cgroup, Comm, Endpoint, Family, KtimeNs, Limits, Sees, SocketKey, Table, Task, TcpState, Transition,
        findings::{Apart, Confidence, Finding, SOCKETS, Severity, Subject},
    },
    output::{
        Moment, Names,
        findings::{FindingReport, Status},
        tui::{
            still::Still,
            world::{
                About, Arrow, Found, Kind, Overview, PortRow, ProcessRow, Row, StateCount, World as _, place,
            },
        },
    },
};

/// Nanoseconds of a millisecond.
pub(in crate::output::tui) const MS: u64 = 1_000_000;

/// The moment that is drawn: a hundred seconds after the start.
const NOW: u64 = 100_000 * MS;

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::output::tui) enum Scene {
    /// Nothing yet.
    Empty,
    /// Many connections of several programs, and nothing wrong.
    Busy,
    /// The same with findings.
    Findings,
    /// The same with losses, SYN cookies and a full table.
    Loss,
}

/// All scenes.
pub(in crate::output::tui) const SCENES: [Scene; 4] =
    [Scene::Empty, Scene::Busy, Scene::Findings, Scene::Loss];

/// A moment so long after the start.
pub(in crate::output::tui) fn moment(ns: u64) -> Moment {
    Moment {
        ktime: KtimeNs(1_000_000_000 + ns),
        unix_ns: 1_795_219_200_000_000_000 + i128::from(ns),
        elapsed_ns: ns,
    }
}

/// The world of a scene.
pub(in crate::output::tui) fn world(scene: Scene) -> Still {
    let mut still = Still {
        now: moment(NOW),
        about: About {
            source: "live".to_owned(),
            host: "web-1".to_owned(),
            ways: "hook btf, lifecycle timer, accept fexit".to_owned(),
            selection: String::new(),
            has_stacks: true,
        },
        overview: Overview::default(),
        ports: Vec::new(),
        processes: Vec::new(),
        walked: None,
        left_out: (0, 0),
        arrows: Vec::new(),
        found: Found::default(),
        rows: Vec::new(),
        places: rustc_hash::FxHashMap::default(),
        names: rustc_hash::FxHashMap::default(),
        stacks: rustc_hash::FxHashMap::default(),
    };
    if scene == Scene::Empty {
        still.now = moment(0);
        return still;
    }
    still.rows = rows();
    still.places = still.rows.iter().enumerate().map(|(at, row)| (row.key, at)).collect();
    still.walked = Some(moment(NOW - 700 * MS).ktime);
    sum_up(&mut still);
    if scene == Scene::Findings {
        find(&mut still);
    }
    if scene == Scene::Loss {
        still.overview.lost = 1_234;
        still.overview.lost_at = Some(moment(NOW - 12_300 * MS).ktime);
        still.overview.evicted = 17;
        still.overview.syncookies = 4_711;
        still.overview.gaps = 3;
        still.found.not_seen =
            vec!["1234 records were lost; open connections were put right afterwards".to_owned()];
    }
    still
}

/// A process.
fn task(pid: u32, comm: &str, cgroup: u64) -> Task {
    let pid = NonZeroU32::new(pid).expect("is not 0");
    Task { pid, tid: pid, comm: Comm::from(comm), started: None, cgroup: NonZeroU64::new(cgroup) }
}

/// Name, process, cgroup, service port, whether it serves, how many connections, and their states.
type Program = (&'static str, u32, u64, u16, bool, u64, &'static [(TcpState, u64)]);

/// The programs of this host: name, process, cgroup, service port, whether it serves, and the states that its connections go
/// through with the milliseconds between.
const PROGRAMS: [Program; 7] = {
    use TcpState::{Close, CloseWait, Established, FinWait1, FinWait2, LastAck, SynRecv, SynSent, TimeWait};
    [
        (
            "nginx",
            811,
            1,
            443,
            true,
            60,
            &[(SynRecv, 0), (Established, 1), (CloseWait, 40), (LastAck, 1), (Close, 1)],
        ),
        ("nginx", 812, 1, 443, true, 40, &[(SynRecv, 0), (Established, 2)]),
        ("orders", 3530, 2, 8080, true, 30, &[(SynRecv, 0), (Established, 1), (CloseWait, 900)]),
        ("orders", 3530, 2, 5432, false, 10, &[(SynSent, 0), (Established, 3)]),
        (
            "curl",
            9001,
            3,
            443,
            false,
            25,
            &[(SynSent, 0), (Established, 2), (FinWait1, 30), (FinWait2, 40), (TimeWait, 3)],
        ),
        ("scan\x1b[2J", 6666, 3, 23, false, 20, &[(SynSent, 0)]),
        ("mailer", 77, 0, 25, false, 5, &[(SynSent, 0), (Close, 1)]),
    ]
};

/// What a table makes of their connections.
fn rows() -> Vec<Row> {
    let mut table = Table::new(KtimeNs(0), Limits::default());
    table.set_sees(Sees { destruction: true, ..Sees::default() });
    let mut events: Vec<Transition> = Vec::new();
    let mut cookie = 0_u64;
    for (program, (comm, pid, cgroup, port, serves, count, path)) in PROGRAMS.into_iter().enumerate() {
        for number in 0..count {
            cookie += 1;
            let key = SocketKey::from_cookie(NonZeroU64::new(cookie).expect("is not 0"));
            let begun = 1_000 + number * 1_500 + u64::try_from(program).expect("is small") * 37;
            let peer = u8::try_from(number % 7 + 1).expect("is small");
            let (v4, v6) = (
                Ipv4Addr::new(192, 0, 2, peer),
                Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(peer)),
            );
            let is_v6 = number % 9 == 8;
            let addr = if is_v6 { IpAddr::V6(v6) } else { IpAddr::V4(v4) };
            let ours: IpAddr = if is_v6 {
                Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, 1).into()
            } else {
                Ipv4Addr::new(10, 0, 0, 5).into()
            };
            let ephemeral = u16::try_from(40_000 + cookie).expect("fits");
            let (lport, rport) = if serves { (port, ephemeral) } else { (ephemeral, port) };
            let mut at = begun;
            let mut old = if serves { TcpState::Listen } else { TcpState::Close };
            for (new, after) in path {
                at += after + number;
                let family = if is_v6 { Family::V6 } else { Family::V4 };
                let bare = Transition::bare(moment(at * MS).ktime, key, family, (old, *new));
                events.push(Transition {
                    local: Endpoint { addr: Some(ours), port: NonZeroU16::new(lport) },
                    remote: Endpoint { addr: Some(addr), port: NonZeroU16::new(rport) },
                    netns: NonZeroU32::new(4_026_531_833),
                    uid: Some(33),
                    error: Some(if old == TcpState::SynSent && *new == TcpState::Close { 111 } else { 0 }),
                    task: (!serves || *new != TcpState::SynRecv).then(|| task(pid, comm, cgroup)),
                    is_orphan: *new == TcpState::Close && number % 10 != 0,
                    ..bare
                });
                old = *new;
            }
        }
    }
    events.retain(|event| event.ts <= moment(NOW).ktime);
    events.sort_by_key(|event| event.ts);
    for event in events {
        table.apply(&crate::model::Event::Transition(event), &mut |_| {});
    }
    let held: Vec<SocketKey> = table.held().map(|(key, _)| *key).collect();
    let row = |key: &SocketKey, connection: &crate::model::Connection, kind, closed| Row {
        key: *key,
        kind,
        connection: *connection,
        owner: table.owner_of(connection),
        closed,
        is_doubtful: false,
    };
    let mut rows: Vec<Row> = Vec::new();
    rows.extend(table.live().map(|(key, connection)| row(key, connection, Kind::Open, None)));
    rows.extend(table.held().map(|(key, held)| row(key, &held.connection, Kind::Held, Some(held.since))));
    let closed = table.closed().filter(|(key, _)| !held.contains(key));
    rows.extend(closed.map(|(key, connection)| row(key, connection, Kind::Closed, connection.entered())));
    rows
}

/// What the rows add up to.
fn sum_up(still: &mut Still) {
    let mut overview = Overview::default();
    for row in &still.rows {
        match row.kind {
            Kind::Open => overview.states[place(row.state())].count += 1,
            Kind::Held => overview.held += 1,
            Kind::Closed => overview.closed_total += 1,
        }
    }
    for state in &mut overview.states {
        let StateCount { count, history } = state;
        history.extend((0..100).map(|second| *count * second / 100 + second % 3));
    }
    overview.opened = (0..100).map(|second| 20 + second * 7 % 31).collect();
    overview.closed = (0..100).map(|second| 15 + second * 11 % 37).collect();
    overview.opened_total = still.rows.len() as u64;
    overview.endings = [(52, 30), (3, 0), (2, 1), (5, 5), (0, 0), (0, 0), (1, 0)];
    overview.transitions = 987;
    overview.transitions_per_s = 151;
    overview.own_cpu = Some(0.0042);
    still.overview = overview;

    let names = |path: &[u8]| Names { cgroup: Some(Arc::new(Cgroup::at(path))), netns: None };
    let netns = NonZeroU32::new(4_026_531_833);
    let container = format!("/system.slice/docker-{}.scope", "3f".repeat(32));
    for (id, path) in [(1, "/system.slice/nginx.service"), (2, &*container), (3, "/user.slice")] {
        still.names.insert((NonZeroU64::new(id), netns), names(path.as_bytes()));
    }
    ports_and_processes(still);
    let arrow = |from, to, count, p50_ns| Arrow { from, to, count, p50_ns };
    still.arrows = vec![
        arrow(TcpState::Listen, TcpState::SynRecv, 130, None),
        arrow(TcpState::SynRecv, TcpState::Established, 130, Some(MS)),
        arrow(TcpState::Close, TcpState::SynSent, 60, None),
        arrow(TcpState::SynSent, TcpState::Established, 35, Some(2 * MS)),
        arrow(TcpState::SynSent, TcpState::Close, 5, Some(MS)),
        arrow(TcpState::Established, TcpState::CloseWait, 90, Some(40 * MS)),
        arrow(TcpState::Established, TcpState::FinWait1, 25, Some(30 * MS)),
        arrow(TcpState::FinWait1, TcpState::FinWait2, 25, Some(40 * MS)),
        arrow(TcpState::FinWait2, TcpState::TimeWait, 25, Some(3 * MS)),
        arrow(TcpState::CloseWait, TcpState::LastAck, 60, Some(MS)),
        arrow(TcpState::LastAck, TcpState::Close, 60, Some(MS)),
    ];
    let frames =
        ["connect+0x4f (libc.so.6)", "Pool::open+0x12 (src/pool.rs:88)", "main+0x3 (src/main.rs:12)"];
    if let Some(row) = still.rows.first() {
        still.stacks.insert(row.key, frames.map(str::to_owned).to_vec());
    }
}

/// The same by service port and by process.
fn ports_and_processes(still: &mut Still) {
    for (comm, pid, cgroup, port, serves, _, _) in PROGRAMS {
        let port = NonZeroU16::new(port);
        let of = |row: &&Row| row.owner.is_some_and(|owner| owner.task.pid.get() == pid);
        if !still.ports.iter().any(|row| row.port == port) {
            let mut row =
                PortRow { port, owner: Some((Comm::from(comm), 1)), transitions: 321, ..PortRow::default() };
            let service = |of: &&Row| {
                let connection = &of.connection;
                (if serves { connection.local } else { connection.remote }).port == port
            };
            for of in still.rows.iter().filter(service) {
                match of.kind {
                    Kind::Open => row.counts[place(of.state())] += 1,
                    Kind::Held => row.held += 1,
                    Kind::Closed => row.endings[0] += 1,
                }
            }
            row.stays[place(TcpState::Established)] = Some((40 * MS, 900 * MS));
            row.stays[place(TcpState::CloseWait)] = Some((MS, 20 * MS));
            row.endings[2] = 2;
            still.ports.push(row);
        }
        if !still.processes.iter().any(|row| row.pid.is_some_and(|known| known.get() == pid)) {
            let mut row = ProcessRow {
                pid: NonZeroU32::new(pid),
                comm: Some(Comm::from(comm)),
                peers: (7, Some(Ipv4Addr::new(192, 0, 2, 1).into())),
                ports: port.into_iter().collect(),
                oldest_close_wait: (comm == "orders").then_some((98_000 * MS, true)),
                ..ProcessRow::default()
            };
            for of in still.rows.iter().filter(of) {
                match of.kind {
                    Kind::Open => row.counts[place(of.state())] += 1,
                    Kind::Held => row.held += 1,
                    Kind::Closed => {}
                }
                row.cgroup = row.cgroup.or_else(|| still.names(of).cgroup).filter(|_| cgroup > 0);
            }
            still.processes.push(row);
        }
    }
}

/// Two findings, and one that is over.
fn find(still: &mut Still) {
    let subject = Subject {
        comm: Some(Comm::from("orders")),
        port: NonZeroU16::new(8080),
        role: Some(crate::model::Role::Server),
        netns: NonZeroU32::new(4_026_531_833),
        ..Subject::default()
    };
    let keys =
        still.rows.iter().filter(|row| row.state() == TcpState::CloseWait).map(|row| row.key).collect();
    let finding = |rule, severity, subject, state, count| Finding {
        rule,
        severity,
        confidence: Confidence::High,
        subject,
        apart: Apart::Nothing,
        pids: vec![(NonZeroU32::new(3530).expect("is not 0"), count)],
        state: Some(state),
        count,
        counted: SOCKETS,
        oldest_ns: Some(98_000 * MS),
        oldest_is_at_least: true,
        per_minute: Some(18.2),
        culprit: None,
        evidence: vec![
            "30 of 30 for longer than 30 s".to_owned(),
            "12 more in 40 s, and none was closed".to_owned(),
        ],
        keys: Vec::new(),
    };
    let leak = finding("close-wait-leak", Severity::Critical, subject, TcpState::CloseWait, 30);
    let scanner = Subject { comm: Some(Comm::from("scan\x1b[2J")), port: NonZeroU16::new(23), ..subject };
    let fanout = finding("syn-sent-fanout", Severity::Warning, scanner, TcpState::SynSent, 20);
    let report = |finding: &Finding, status| {
        FindingReport::new(finding, status, (Some("/system.slice/orders.service".to_owned()), None), None)
    };
    let leak = Finding { keys, ..leak };
    still.found = Found {
        looked: Some(moment(NOW - 900 * MS).ktime),
        sockets: 190,
        findings: vec![
            (moment(31_000 * MS), report(&leak, Status::New)),
            (moment(52_000 * MS), report(&fanout, Status::Worse)),
        ],
        over: vec![(moment(40_000 * MS), report(&fanout, Status::Gone))],
        not_seen: vec![
            "the descriptors or network namespaces of a process with more capabilities".to_owned(),
        ],
    };
}

#[test]
fn the_scenes_are_what_they_are_called() {
    let busy = world(Scene::Busy);
    for kind in [Kind::Open, Kind::Held, Kind::Closed] {
        assert!(busy.rows.iter().any(|row| row.kind == kind), "{kind:?}");
    }
    assert!(world(Scene::Empty).rows.is_empty());
    assert_eq!(world(Scene::Findings).found.findings.len(), 2);
    assert!(world(Scene::Loss).overview.lost > 0);
}
