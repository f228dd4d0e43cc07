//! What is compared, and what is said.

use std::{
    collections::BTreeSet,
    error::Error,
    io,
    net::{Ipv4Addr, SocketAddr},
    num::{NonZeroU16, NonZeroU32, NonZeroU64},
    path::Path,
};

use caps::Capability;

use super::{
    checks,
    compare::{self, Knows},
    connection::{Cookies, Deeds, Span},
    report,
    trials::{Obstacle, Refusal, Trials, Working},
    truth::Truth,
    witness::Row,
};
use crate::{
    model::{
        Comm, Dwell, Endpoint, Event, Family, KtimeNs, Limits, ProcessStart, SocketKey, Table, Task,
        TcpState,
        TcpState::{
            Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent, TimeWait,
        },
        Transition,
    },
    output::doctor::{DoctorReport, Field, Outcome, SelfTest, write_json, write_text},
    source::live::{AcceptWay, Accepts, Extras, Hook, HookChoice, Host, Lifecycle, Privilege, Tracefs, Way},
};

const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 40000);
const ALL: Knows = Knows { typed: true, cookies: true, minis: true };

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
        (|row| row.observed.connection.origin = crate::model::Origin::Seeded, "client origin"),
        (|row| row.observed.connection.netns = NonZeroU32::new(7), "client netns"),
        (|row| row.observed.connection.closed_by = Some(crate::model::ClosedBy::Remote), "client closed_by"),
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
    let knows = Knows { typed: false, cookies: false, minis: false };
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
        "process_start",
        "uid",
    ];
    assert_eq!(unknown, expected.into());
    assert_eq!(faults(knows, &rows), Vec::<String>::new());
}

fn privileges(has: &[Capability]) -> Vec<Privilege> {
    [
        (Capability::CAP_BPF, "to load BPF programs and make their maps", true),
        (Capability::CAP_PERFMON, "to attach to kernel tracepoints and read kernel memory", true),
        (
            Capability::CAP_SYSLOG,
            "to know the timers of time-wait and half-open sockets by /proc/kallsyms",
            false,
        ),
    ]
    .map(|(capability, purpose, is_needed)| Privilege {
        capability,
        purpose,
        is_needed,
        is_there: has.contains(&capability),
    })
    .into()
}

fn good_host() -> Host {
    Host {
        release: "6.12.48-amd64".to_owned(),
        is_new_enough: true,
        btf: Ok(21),
        tracefs: Tracefs::At("/sys/kernel/tracing".into()),
        lockdown: Ok("none".to_owned()),
        calls_functions: Some(true),
        addresses: Ok(()),
        privileges: Ok(privileges(&[Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_SYSLOG])),
    }
}

fn good_trials() -> Trials {
    let extras = Extras { resets: Ok(()), destruction: Ok(()), forks: None };
    let refused = "the kernel refused to load an fentry program (EPERM) after it had taken others: it is hardened or locked \
                   down against these, or a policy forbids it";
    Trials {
        ring_size: 33_554_432,
        asked: Ok(Working {
            hook: Hook::Btf { cookie: true },
            lifecycle: Lifecycle { way: Way::Timer, reasons: vec![(Way::Fentry, refused.to_owned())] },
            accepts: Accepts { way: AcceptWay::Fexit, reasons: Vec::new() },
            extras: extras.clone(),
            counts_skipped_runs: true,
        }),
        extras: Some(extras),
        hooks: [(HookChoice::Btf, Some(Ok(()))), (HookChoice::Classic, Some(Ok(())))],
        has_cookies: Some(true),
        lifecycles: [
            (Way::Fentry, Some(Err(refused.to_owned()))),
            (Way::Timer, Some(Ok(()))),
            (Way::Sample, Some(Ok(()))),
        ],
        accepts: [(AcceptWay::Fexit, Some(Ok(()))), (AcceptWay::Syscall, Some(Ok(())))],
        forks: Some(Ok(())),
    }
}

fn said(report: &DoctorReport) -> Result<String, Box<dyn Error>> {
    let mut out = Vec::new();
    write_text(&mut out, report, false)?;
    Ok(String::from_utf8(out)?)
}

/// The version would be new in each release.
fn snapshot(name: &str, text: &str) {
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::with_settings!({ prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}

fn of_good_host() -> DoctorReport {
    let fields = compare::all(&deeds(), &truth(), ALL, &rows(&told()));
    let (host, trials) = (good_host(), good_trials());
    report(&host, &trials, checks::of(&host, &trials), SelfTest::new(0.42, None, fields))
}

#[test]
fn a_good_host() -> Result<(), Box<dyn Error>> {
    let report = of_good_host();
    assert!(report.works, "{:?}", report.problems);
    snapshot("good_host", &said(&report)?);
    let mut json = Vec::new();
    write_json(&mut json, 1_795_219_200_000_000_000, &report)?;
    snapshot("good_host_json", &String::from_utf8(json)?);
    let mut colored = Vec::new();
    write_text(&mut colored, &report, true)?;
    let colored = String::from_utf8(colored)?;
    assert!(colored.contains("\u{1b}["), "{colored}");
    Ok(())
}

#[test]
fn a_wrong_field_is_shown_and_watch_does_not_work() -> Result<(), Box<dyn Error>> {
    let mut rows = rows(&told());
    for row in rows.iter_mut().filter(|row| row.observed.transition.new == TimeWait) {
        owner(row).comm = Comm::from("\u{1b}[2J");
    }
    rows.retain(|row| row.observed.transition.new != LastAck);
    let fields = compare::all(&deeds(), &truth(), ALL, &rows);
    let late = Some("gave up after 3 s: not everything had come".to_owned());
    let (host, trials) = (good_host(), good_trials());
    let report = report(&host, &trials, checks::of(&host, &trials), SelfTest::new(3.2, late, fields));
    assert!(!report.works);
    let said = said(&report)?;
    let begin = said.find("self-test").ok_or("no self-test")?;
    snapshot("wrong_fields", &said[begin..]);
    Ok(())
}

/// Nothing is tried, and what is needed is said.
#[test]
fn an_unprivileged_process() -> Result<(), Box<dyn Error>> {
    let host = Host {
        tracefs: Tracefs::Closed("/sys/kernel/tracing".into()),
        lockdown: Err(io::Error::from_raw_os_error(2)),
        addresses: Err("/proc/kallsyms hides addresses (kernel.kptr_restrict, CAP_SYSLOG)".to_owned()),
        privileges: Ok(privileges(&[])),
        ..good_host()
    };
    let text = "tracing needs CAP_BPF (to load BPF programs and make their maps) and CAP_PERFMON (to attach to kernel \
                tracepoints and read kernel memory), which this process does not have; run it with sudo";
    let trials = Trials {
        asked: Err(Refusal::of(Obstacle::Capabilities, text)),
        hooks: [(HookChoice::Btf, None), (HookChoice::Classic, None)],
        has_cookies: None,
        extras: None,
        lifecycles: [(Way::Fentry, None), (Way::Timer, None), (Way::Sample, None)],
        accepts: [(AcceptWay::Fexit, None), (AcceptWay::Syscall, None)],
        forks: None,
        ..good_trials()
    };
    let test = SelfTest::not_made("tracing does not begin, see above".to_owned());
    let report = report(&host, &trials, checks::of(&host, &trials), test);
    assert!(!report.works);
    snapshot("unprivileged", &said(&report)?);
    Ok(())
}

#[test]
fn no_btf_and_no_tracefs() -> Result<(), Box<dyn Error>> {
    let no_btf = "/sys/kernel/btf/vmlinux cannot be read (No such file or directory (os error 2))";
    let no_tracefs = "classic tracepoints need tracefs, which is not mounted and could not be mounted (Operation not \
                      permitted (os error 1)); mount it: sudo mount -t tracefs tracefs /sys/kernel/tracing";
    let host = Host {
        btf: Err(no_btf.to_owned()),
        tracefs: Tracefs::Nowhere,
        calls_functions: Some(false),
        ..good_host()
    };
    let refused = |text: &str| Some(Err(text.to_owned()));
    let needs_btf = || refused("no BTF");
    let trials = Trials {
        asked: Err(Refusal::of(Obstacle::Tracefs, no_tracefs)),
        hooks: [(HookChoice::Btf, refused(no_btf)), (HookChoice::Classic, refused(no_tracefs))],
        has_cookies: None,
        extras: None,
        lifecycles: [(Way::Fentry, needs_btf()), (Way::Timer, needs_btf()), (Way::Sample, needs_btf())],
        accepts: [(AcceptWay::Fexit, needs_btf()), (AcceptWay::Syscall, needs_btf())],
        forks: None,
        ..good_trials()
    };
    let test = SelfTest::not_made("tracing does not begin, see above".to_owned());
    let report = report(&host, &trials, checks::of(&host, &trials), test);
    assert!(!report.works);
    snapshot("no_btf_and_no_tracefs", &said(&report)?);
    Ok(())
}

/// Whatever is said to be set can be set.
#[test]
fn every_sysctl_that_is_named_exists() -> Result<(), Box<dyn Error>> {
    let hidden = Err("hidden (kernel.kptr_restrict)".to_owned());
    let bad = Host { calls_functions: Some(false), addresses: hidden, ..good_host() };
    let refused = |way| (way, Some(Err("refused".to_owned())));
    let trials = Trials { lifecycles: [Way::Fentry, Way::Timer, Way::Sample].map(refused), ..good_trials() };
    let mut rows = rows(&told());
    for row in &mut rows {
        row.observed.connection.end_cause = Some(crate::model::EndCause::TwOverflow);
    }
    let fields = compare::all(&deeds(), &truth(), ALL, &rows);
    let test = SelfTest::new(0.0, None, fields);
    let text = said(&report(&bad, &trials, checks::of(&bad, &trials), test))?;
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'));
    let names: BTreeSet<&str> = words
        .filter(|word| word.starts_with("kernel.") || word.starts_with("net."))
        .map(|word| word.trim_end_matches('.'))
        .collect();
    let expected = ["kernel.ftrace_enabled", "kernel.kptr_restrict", "net.ipv4.tcp_max_tw_buckets"];
    assert_eq!(names, expected.into(), "all that is said was looked at");
    for name in names {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        // There is no such switch without CONFIG_FUNCTION_TRACER, and then it is not named.
        let may_lack = name == "kernel.ftrace_enabled" && Host::look().calls_functions.is_none();
        assert!(path.exists() || may_lack, "{} is not there", path.display());
    }
    Ok(())
}
