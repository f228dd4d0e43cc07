//! The filter in the kernel half decides as the model does, and what it leaves out costs nothing and breaks nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use tcptrace::{
    model::{
        Candidate, Endpoint, Family, Filter, TcpState,
        filter_lists::{NetworkList, PortList},
    },
    source::live::KernelFilter,
};

use crate::{
    capture::table,
    harness::Tracer,
    load::hammer,
    machine::{self, Feature},
    netns::{self, unique_port},
    traffic::{Pair, close, read_end},
    worker::Worker,
};

/// Few values of each kind, so that filters and sockets meet.
fn port() -> impl Strategy<Value = u16> {
    prop_oneof![0..4_u16, 79..82_u16, Just(u16::MAX), any::<u16>()]
}

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        Just(Ipv4Addr::UNSPECIFIED),
        (0..3_u8, 0..3_u8).prop_map(|(a, b)| Ipv4Addr::new(10, a, 0, b)),
        any::<Ipv4Addr>()
    ]
}

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    prop_oneof![
        Just(Ipv6Addr::UNSPECIFIED),
        (0..3_u16, 0..3_u16).prop_map(|(a, b)| Ipv6Addr::new(0x2001, 0xdb8, a, 0, 0, 0, 0, b)),
        v4().prop_map(|addr| addr.to_ipv6_mapped()),
        any::<Ipv6Addr>(),
    ]
}

fn port_list() -> impl Strategy<Value = PortList> {
    let range = (port(), port()).prop_map(|(a, b)| {
        let (first, last) = (a.min(b).max(1), a.max(b).max(1));
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    });
    proptest::collection::vec(range, 1..4).prop_map(|words| words.join(",").parse().expect("are ranges"))
}

fn network_list() -> impl Strategy<Value = NetworkList> {
    let network = prop_oneof![
        (v4(), 0..=32_u8).prop_map(|(addr, bits)| format!("{addr}/{bits}")),
        (v6(), 0..=128_u8).prop_map(|(addr, bits)| format!("{addr}/{bits}")),
        v4().prop_map(|addr| addr.to_string()),
        v6().prop_map(|addr| addr.to_string()),
    ];
    proptest::collection::vec(network, 1..4).prop_map(|words| words.join(",").parse().expect("are networks"))
}

fn state() -> impl Strategy<Value = TcpState> {
    (0..TcpState::ALL.len()).prop_map(|index| TcpState::ALL[index])
}

fn filter() -> impl Strategy<Value = Filter> {
    use proptest::option::of;
    let family = of(prop_oneof![Just(Family::V4), Just(Family::V6)]);
    let netns = of(proptest::collection::vec(1..4_u32, 1..3));
    let states = of(proptest::collection::vec(state(), 1..3));
    let ports = (of(port_list()), of(port_list()), of(port_list()));
    (family, netns, states, ports, (of(network_list()), of(network_list()))).prop_map(
        |(family, netns, states, ports, networks)| Filter {
            family,
            local_ports: ports.0,
            remote_ports: ports.1,
            service_ports: ports.2,
            local_networks: networks.0,
            remote_networks: networks.1,
            netns: netns.map(|inodes| inodes.into_iter().filter_map(std::num::NonZeroU32::new).collect()),
            states: states.map(|states| {
                let names: Vec<&str> = states.into_iter().map(TcpState::name).collect();
                names.join(",").parse().expect("are states")
            }),
            ..Filter::default()
        },
    )
}

fn endpoint(family: Family) -> BoxedStrategy<Endpoint> {
    let addr = match family {
        Family::V4 => v4().prop_map(IpAddr::V4).boxed(),
        Family::V6 => v6().prop_map(|addr| IpAddr::V6(addr).to_canonical()).boxed(),
    };
    (addr, port())
        .prop_map(|(addr, port)| Endpoint {
            addr: Some(addr).filter(|addr| !addr.is_unspecified()),
            port: std::num::NonZeroU16::new(port),
        })
        .boxed()
}

fn candidate() -> impl Strategy<Value = Candidate> {
    prop_oneof![Just(Family::V4), Just(Family::V6)].prop_flat_map(|family| {
        (endpoint(family), endpoint(family), 0..4_u32, any::<bool>()).prop_map(
            move |(local, remote, netns, is_listener)| Candidate {
                family,
                local,
                remote,
                netns: std::num::NonZeroU32::new(netns),
                is_listener,
            },
        )
    })
}

/// Random filters, each asked of random sockets and transitions: the kernel answers as the model does.
pub(crate) fn decides_as_the_model() -> Result<()> {
    let cases = u32::try_from(machine::rounds(150))?;
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let asked = proptest::collection::vec((candidate(), state(), state()), 100);
    let counts = std::cell::Cell::new((0_u32, 0_u32));
    runner.run(&(filter(), asked), |(filter, asked)| {
        let failed = |error: &dyn std::fmt::Display| TestCaseError::fail(error.to_string());
        let mut kernel = KernelFilter::load(&filter).map_err(|error| failed(&error))?;
        let transitions = filter.transitions();
        for (candidate, old, new) in asked {
            let decided = kernel.decide(&candidate, old, new).map_err(|error| failed(&error))?;
            let wants = filter.may_want(&candidate);
            let wants_transition =
                transitions.is_none_or(|rows| rows[usize::from(old.raw())] & (1 << new.raw()) != 0);
            prop_assert_eq!(decided, (wants, wants_transition), "{:?} {} -> {}", candidate, old, new);
            let (yes, no) = counts.get();
            counts.set((yes + u32::from(wants), no + u32::from(!wants)));
        }
        Ok(())
    })?;
    // A property that is always true of one kind says nothing.
    let (yes, no) = counts.get();
    ensure!(yes > 500 && no > 500, "{yes} wanted, {no} not");
    Ok(())
}

/// Of a load on another port, the kernel half reports nothing but a client's first two transitions (its port is not known
/// before), and keeps no connection of it; the one that is asked for is whole.
pub(crate) fn the_rest_costs_nothing() -> Result<()> {
    let connections = machine::load(2_000);
    let port = unique_port();
    let wanted = port.to_string();
    for (args, most) in [
        // By the local port of the server: known from the start on.
        (vec!["-L", &wanted], 2 * connections),
        // Of a child the peer is not known before its second event, except on newer kernels.
        (vec!["--port", &wanted], 3 * connections),
        (vec!["-6"], 0),
        (vec!["-N", "inode:1"], 0),
        (vec!["--state", "SYN_SENT"], 2 * connections),
    ] {
        let tracer = Tracer::start(&[&["--lifecycle", "auto"], &args[..]].concat())?;
        let inode = netns::run(|netns| {
            hammer(connections)?;
            let mut pair = Pair::v4(port)?;
            close(pair.client);
            read_end(&mut pair.server)?;
            close(pair.server);
            netns::settle_but_listeners()?;
            Ok(netns.inode)
        })?;
        tracer.wait_idle(machine::patience(std::time::Duration::from_secs(30)))?;
        let capture = tracer.stop()?;
        let summary = &capture.summary;
        let events = usize::try_from(summary.get("events")?)?;
        // A second event of each that was undecided: the one by which it is decided. Some other sockets of the host.
        ensure!(events <= most + connections + 100, "{args:?}: {events} events of {connections} connections");
        ensure!(summary.get("live")? < 50, "{args:?}: connections are kept: {summary:?}");
        ensure!(summary.get("lost")? == 0 && summary.get("gaps")? == 0, "{args:?}: {summary:?}");
        ensure!(
            summary.get("opened")?
                == summary.get("closed")? + summary.get("live")? + summary.get("let_go")?,
            "{args:?}: {summary:?}"
        );
        if args.contains(&&wanted[..]) {
            let rows = capture.select(|row| row.netns == Some(inode) && row.is_server_of(port));
            let path: Vec<&str> = rows.iter().map(|row| row.new.as_str()).collect();
            ensure!(
                path == ["SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"],
                "{args:?}:\n{}",
                table(rows)
            );
            // Without cookies the half-open state is not followed.
            let known_from = if Feature::Cookies.is_there() { 1 } else { 2 };
            ensure!(
                rows.iter().skip(known_from).all(|row| row.duration_is.as_deref() == Some("exact")),
                "{}",
                table(rows)
            );
            rows.first().context("no rows")?;
        }
    }
    Ok(())
}

/// A load of a process that is not asked for: of its clients nothing is reported, of its listener's children what comes before
/// they are accepted. The process that is asked for, and what it starts, is whole.
pub(crate) fn other_processes_cost_little() -> Result<()> {
    let connections = machine::load(2_000);
    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], unique_port()));
    for selects_by_pid in [true, false] {
        netns::run(|netns| {
            let mut server = Worker::start("asked-for")?;
            let pid = server.pid().to_string();
            let args = if selects_by_pid { ["-p", &pid] } else { ["--comm", "asked-for"] };
            let tracer = Tracer::start(&[&["--lifecycle", "auto"], &args[..]].concat())?;
            hammer(connections)?;
            server.order(&format!("listen {addr}"))?;
            let client = std::net::TcpStream::connect(addr)?;
            server.order("accept")?;
            close(client);
            server.order("wait")?;
            server.order("close")?;
            server.order("stop")?;
            netns::settle_but_listeners()?;
            tracer.wait_idle(machine::patience(std::time::Duration::from_secs(30)))?;
            let capture = tracer.stop()?;
            let summary = &capture.summary;
            let events = usize::try_from(summary.get("events")?)?;
            // Its listener's children: two, and a third where the client closes before it is accepted; and what other sockets
            // of the host do meanwhile. With all of it there would be ten and more of each.
            ensure!(events < 4 * connections, "{args:?}: {events} events of {connections} connections");
            let kept = summary.get("live")?.saturating_sub(summary.get("seeded")?);
            ensure!(kept < 100, "{args:?}: connections are kept: {summary:?}");
            ensure!(summary.get("lost")? == 0 && summary.get("gaps")? == 0, "{args:?}: {summary:?}");
            let rows = capture.select(|row| row.netns == Some(netns.inode) && row.is_server_of(addr.port()));
            let path: Vec<&str> = rows.iter().map(|row| row.new.as_str()).collect();
            ensure!(
                path == ["SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"],
                "{args:?}:\n{}",
                table(rows)
            );
            Ok(())
        })?;
    }
    Ok(())
}

/// `tcptrace watch -- COMMAND`: its connections, its children's, nobody else's; its exit code.
pub(crate) fn command() -> Result<()> {
    let script = "import os,socket,sys\n\
                  server = socket.create_server(('127.0.0.1', 0))\n\
                  if os.fork() == 0:\n    \
                      socket.create_connection(server.getsockname()).close()\n    \
                      os._exit(0)\n\
                  peer, _ = server.accept()\n\
                  peer.recv(1)\n\
                  peer.close()\n\
                  os.wait()\n\
                  print(os.getpid())\n\
                  sys.exit(7)\n";
    if !std::path::Path::new("/usr/bin/python3").exists() {
        eprintln!("SKIPPED: kernel_filter::command: no /usr/bin/python3");
        return Ok(());
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        let noise = scope.spawn(|| {
            netns::run(|_| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    hammer(20)?;
                }
                Ok(())
            })
        });
        let output = std::process::Command::new(crate::harness::program())
            .args(["watch", "-o", "json", "--", "/usr/bin/python3", "-c", script])
            .output();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        noise.join().map_err(|_| anyhow::anyhow!("the noise panicked"))??;
        Ok::<_, anyhow::Error>(output?)
    })?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(7), "{:?}: {stderr}", output.status);
    let pid: u32 = stderr.lines().last().context("no pid")?.parse()?;
    let rows: Vec<crate::capture::Row> = String::from_utf8(output.stdout)?
        .lines()
        .map(|line| Ok(serde_json::from_str::<serde_json::Value>(line)?))
        .filter(|value| value.as_ref().is_ok_and(|value| value["type"] == "transition"))
        .map(|value: Result<_>| crate::capture::Row::read(&value?))
        .collect::<Result<_>>()?;
    let others: std::collections::BTreeSet<u32> =
        rows.iter().filter_map(|row| row.pid).filter(|of| *of != pid).collect();
    ensure!(others.len() == 1, "the command {pid}, its child, and others: {others:?}\n{}", table(&rows));
    ensure!(rows.iter().all(|row| row.pid.is_some()), "{}", table(&rows));
    // A listener; a server's side to its end; a client's to TIME_WAIT.
    let count = |new: &str| rows.iter().filter(|row| row.new == new).count();
    ensure!(count("LISTEN") == 1 && count("SYN_SENT") == 1 && count("ESTABLISHED") == 2, "{}", table(&rows));
    ensure!(count("LAST_ACK") == 1 && count("FIN_WAIT1") == 1, "{}", table(&rows));
    Ok(())
}
