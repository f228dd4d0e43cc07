//! From a filter back to the words of a command line that ask for it.

use std::{ffi::OsString, fmt::Display};

use tcptrace::{
    cli::Places,
    model::{
        Family, Filter, TcpState,
        filter_lists::{CommList, NetworkList, PidList, PortList, StateSet},
    },
};

/// As `--port` takes them.
pub fn ports(list: &PortList) -> String {
    joined(list.ranges().iter().map(|range| format!("{}-{}", range.start(), range.end())))
}

/// As `--pid` takes them.
pub fn pids(list: &PidList) -> String {
    joined(list.pids())
}

/// As `--laddr` takes them.
pub fn networks(list: &NetworkList) -> String {
    joined(list.networks())
}

/// As `--comm` takes them.
pub fn comms(list: &CommList) -> String {
    joined(list.comms().iter().map(|comm| String::from_utf8_lossy(comm.bytes())))
}

/// As `--state` takes them.
pub fn states(set: StateSet) -> String {
    joined(TcpState::ALL.into_iter().filter(|state| set.contains(*state)))
}

/// The flags that make this filter.
pub fn selection(filter: &Filter, places: &Places) -> Vec<OsString> {
    let pids = filter.processes.as_ref().map(|processes| joined(processes.members().map(|(pid, _)| pid)));
    let lists = [
        ("--pid", pids),
        ("--comm", filter.comms.as_ref().map(comms)),
        ("--lport", filter.local_ports.as_ref().map(ports)),
        ("--rport", filter.remote_ports.as_ref().map(ports)),
        ("--port", filter.service_ports.as_ref().map(ports)),
        ("--laddr", filter.local_networks.as_ref().map(networks)),
        ("--raddr", filter.remote_networks.as_ref().map(networks)),
        ("--state", filter.states.map(states)),
        ("--netns", (!places.netns.is_empty()).then(|| joined(&places.netns))),
    ];
    let family = filter.family.map(|family| match family {
        Family::V4 => "--ipv4",
        Family::V6 => "--ipv6",
    });
    let lists = lists.into_iter().filter_map(|(flag, list)| Some(format!("{flag}={}", list?)));
    let cgroup = places.cgroup.iter().map(|path| {
        let mut word = OsString::from("--cgroup=");
        word.push(path);
        word
    });
    family.map(OsString::from).into_iter().chain(lists.map(OsString::from)).chain(cgroup).collect()
}

fn joined(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}
