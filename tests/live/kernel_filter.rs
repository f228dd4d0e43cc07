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
    machine,
    netns::{self, unique_port},
    traffic::{Pair, close, read_end},
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
        (vec!["--port", &wanted], 2 * connections),
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
            summary.get("opened")? == summary.get("closed")? + summary.get("live")?,
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
            ensure!(
                rows.iter().skip(1).all(|row| row.duration_is.as_deref() == Some("exact")),
                "{}",
                table(rows)
            );
            rows.first().context("no rows")?;
        }
    }
    Ok(())
}
