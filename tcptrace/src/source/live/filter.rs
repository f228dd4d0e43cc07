//! The filter for the kernel half: constants at load, then maps.

use std::{net::IpAddr, num::NonZeroU64, ops::RangeInclusive};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, LpmTrie, MapError, lpm_trie::Key},
    programs::{RawTracePoint, RawTracePointRunOptions, TestRun as _},
};
use ipnet::IpNet;
use tcptrace_common::{
    AF_INET, AF_INET6,
    filter::{LOCAL, NetworkKey, ONLY_CHILDREN, PORT_WORDS, PREFIX_BEFORE, REMOTE, SERVICE, TEST_ARGUMENTS},
};

use super::{error::OpenError, object, programs::program};
use crate::model::{
    Candidate, Endpoint, Family, Filter, ProcessStart, Processes, TcpState,
    filter_lists::{CommList, NetworkList, PortList},
    prefilter::Transitions,
};

const PORTS: &str = "PORTS";
const NETWORKS: &str = "NETWORKS";
const NAMESPACES: &str = "NAMESPACES";
const PROCESSES: &str = "PROCESSES";
const COMMS: &str = "COMMS";

/// Processes that are remembered, with those that have ended.
const MAX_PROCESSES: u32 = 65_536;
/// Sockets that are remembered as not asked for; the least recently used are forgotten and pass again.
const MAX_UNWANTED: u32 = 262_144;
const DECIDES: &str = "filter_decides";

/// A cgroup of the v2 hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupPlace {
    /// Its id.
    pub id: NonZeroU64,
    /// How far it is below the root.
    pub level: u32,
}

/// A filter as constants of the kernel half.
pub(super) struct Constants {
    family: u16,
    ports: u8,
    networks: u8,
    netns: u8,
    states: u8,
    transitions: Transitions,
    no_time_wait: u8,
    no_requests: u8,
    processes: u8,
    comms: u8,
    cgroup: u64,
    cgroup_level: u32,
    process_entries: u32,
    comm_entries: u32,
    unwanted_entries: u32,
    network_entries: u32,
    namespace_entries: u32,
}

fn port_lists(filter: &Filter) -> [(u32, Option<&PortList>); 3] {
    [
        (LOCAL, filter.local_ports.as_ref()),
        (REMOTE, filter.remote_ports.as_ref()),
        (SERVICE, filter.service_ports.as_ref()),
    ]
}

fn network_lists(filter: &Filter) -> [(u32, Option<&NetworkList>); 2] {
    [(LOCAL, filter.local_networks.as_ref()), (REMOTE, filter.remote_networks.as_ref())]
}

/// A bit for each side that has a condition.
fn sides<T>(lists: &[(u32, Option<T>)]) -> u8 {
    lists.iter().filter(|(_, list)| list.is_some()).fold(0, |bits, (side, _)| bits | 1 << side)
}

impl Constants {
    /// `cgroup` is the one that is asked for, where the kernel half can tell.
    pub(super) fn of(filter: &Filter, cgroup: Option<CgroupPlace>) -> Self {
        let networks = network_lists(filter).into_iter().filter_map(|(_, list)| list);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).max(1);
        Self {
            family: match filter.family {
                None => 0,
                Some(Family::V4) => AF_INET,
                Some(Family::V6) => AF_INET6,
            },
            ports: sides(&port_lists(filter)),
            networks: sides(&network_lists(filter)),
            netns: u8::from(filter.netns.is_some()),
            states: u8::from(filter.states.is_some()),
            transitions: filter.transitions().unwrap_or_default(),
            no_time_wait: u8::from(!filter.wants_time_wait()),
            no_requests: u8::from(!filter.wants_requests()),
            processes: u8::from(filter.processes.is_some()),
            comms: u8::from(filter.comms.is_some()),
            cgroup: cgroup.map_or(0, |cgroup| cgroup.id.get()),
            cgroup_level: cgroup.map_or(0, |cgroup| cgroup.level),
            process_entries: if filter.processes.is_some() { MAX_PROCESSES } else { 1 },
            comm_entries: count(filter.comms.as_ref().map_or(0, |list| list.comms().len())),
            unwanted_entries: if filter.asks_for_owners() { MAX_UNWANTED } else { 1 },
            network_entries: count(networks.map(|list| list.networks().len()).sum()),
            namespace_entries: count(filter.netns.as_ref().map_or(0, Vec::len)),
        }
    }

    pub(super) fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        loader
            .override_global("FILTER_FAMILY", &self.family, true)
            .override_global("FILTER_PORTS", &self.ports, true)
            .override_global("FILTER_NETWORKS", &self.networks, true)
            .override_global("FILTER_NETNS", &self.netns, true)
            .override_global("FILTER_STATES", &self.states, true)
            .override_global("TRANSITIONS", &self.transitions, true)
            .override_global("NO_TIME_WAIT", &self.no_time_wait, true)
            .override_global("NO_REQUESTS", &self.no_requests, true)
            .override_global("FILTER_PROCESSES", &self.processes, true)
            .override_global("FILTER_COMMS", &self.comms, true)
            .override_global("FILTER_CGROUP", &self.cgroup, true)
            .override_global("FILTER_CGROUP_LEVEL", &self.cgroup_level, true)
            .map_max_entries(PROCESSES, self.process_entries)
            .map_max_entries(COMMS, self.comm_entries)
            .map_max_entries("UNWANTED", self.unwanted_entries)
            .map_max_entries(NETWORKS, self.network_entries)
            .map_max_entries(NAMESPACES, self.namespace_entries);
    }
}

/// Fills the maps. Nothing may be attached yet.
pub(super) fn fill(ebpf: &mut Ebpf, filter: &Filter) -> Result<(), OpenError> {
    let failed =
        |source: MapError| OpenError::Load { what: "fill the filter's maps", source: Box::new(source) };
    let mut ports: Array<_, u64> = map(ebpf, PORTS)?;
    for (side, list) in port_lists(filter) {
        for (word, bits) in list.map(PortList::ranges).unwrap_or_default().iter().flat_map(words) {
            let index = side * PORT_WORDS + word;
            let before = ports.get(&index, 0).map_err(failed)?;
            ports.set(index, before | bits, 0).map_err(failed)?;
        }
    }
    let mut networks: LpmTrie<_, NetworkKey, u8> = map(ebpf, NETWORKS)?;
    for (side, list) in network_lists(filter) {
        for network in list.map(NetworkList::networks).unwrap_or_default() {
            let (address, bits) = network_key(*network);
            let key = Key::new(PREFIX_BEFORE + bits, with_side(side, address));
            networks.insert(&key, 1, 0).map_err(failed)?;
        }
    }
    let mut namespaces: HashMap<_, u32, u8> = map(ebpf, NAMESPACES)?;
    for inode in filter.netns.iter().flatten() {
        namespaces.insert(inode.get(), 1, 0).map_err(failed)?;
    }
    let mut comms: HashMap<_, [u64; 2], u8> = map(ebpf, COMMS)?;
    for comm in filter.comms.as_ref().map(CommList::comms).unwrap_or_default() {
        let words: [u64; 2] = zerocopy::transmute!(comm.0);
        comms.insert(words, 1, 0).map_err(failed)?;
    }
    let mut processes: HashMap<_, u32, u64> = map(ebpf, PROCESSES)?;
    for (pid, started) in filter.processes.iter().flat_map(Processes::members) {
        processes.insert(pid.get(), started.map_or(0, ProcessStart::ticks), 0).map_err(failed)?;
    }
    for pid in filter.processes.iter().flat_map(Processes::parents) {
        processes.insert(pid.get(), ONLY_CHILDREN, 0).map_err(failed)?;
    }
    Ok(())
}

fn map<'a, M: TryFrom<&'a mut aya::maps::Map>>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<M, OpenError> {
    ebpf.map_mut(name).and_then(|map| map.try_into().ok()).ok_or(OpenError::Object(name))
}

/// The words of a bit map that a range of ports has bits in.
fn words(range: &RangeInclusive<u16>) -> impl Iterator<Item = (u32, u64)> + use<> {
    let (first, last) = (u32::from(*range.start()), u32::from(*range.end()));
    (first / 64..=last / 64).map(move |word| {
        let from = first.saturating_sub(word * 64);
        let to = (last - word * 64).min(63);
        (word, (u64::MAX << from) & (u64::MAX >> (63 - to)))
    })
}

/// Family and address as the kernel half has them, and how many bits count.
fn network_key(network: IpNet) -> ([u32; 5], u32) {
    (address_key(network.network()), u32::from(network.prefix_len()))
}

fn address_key(addr: IpAddr) -> [u32; 5] {
    match addr {
        IpAddr::V4(addr) => [4, u32::from_ne_bytes(addr.octets()), 0, 0, 0],
        IpAddr::V6(addr) => {
            let [a, b, c, d] = socket_words(addr.octets());
            [6, a, b, c, d]
        }
    }
}

fn socket_words(octets: [u8; 16]) -> [u32; 4] {
    zerocopy::transmute!(octets)
}

const fn with_side(side: u32, [family, a, b, c, d]: [u32; 5]) -> NetworkKey {
    [side, family, a, b, c, d]
}

/// The kernel half's own decisions, without any traffic: to be compared with [`Filter::may_want`].
pub struct KernelFilter(Ebpf);

impl KernelFilter {
    /// Loads a filter into the kernel and attaches nothing.
    ///
    /// # Errors
    ///
    /// What is missing and what to do about it.
    pub fn load(filter: &Filter) -> Result<Self, OpenError> {
        let mut ebpf = object::load_filter(filter)?;
        let decides: &mut RawTracePoint = program(&mut ebpf, DECIDES)?;
        decides.load().map_err(|error| OpenError::from_aya("load the filter", 0, error))?;
        Ok(Self(ebpf))
    }

    /// Whether the kernel half wants this socket, and a transition between these states.
    ///
    /// # Errors
    ///
    /// The kernel does not run the program (`BPF_PROG_TEST_RUN` of raw tracepoints: Linux 5.10).
    pub fn decide(
        &mut self,
        candidate: &Candidate,
        old: TcpState,
        new: TcpState,
    ) -> Result<(bool, bool), OpenError> {
        let decides: &mut RawTracePoint = program(&mut self.0, DECIDES)?;
        let mut options = RawTracePointRunOptions::new();
        options.args[..TEST_ARGUMENTS].copy_from_slice(&arguments(candidate, old, new));
        let result = decides
            .test_run(options)
            .map_err(|error| OpenError::from_aya("have the kernel run the filter", 0, error))?;
        Ok((result.return_value & 1 != 0, result.return_value & 2 != 0))
    }
}

/// As the program takes them apart.
fn arguments(candidate: &Candidate, old: TcpState, new: TcpState) -> [u64; TEST_ARGUMENTS] {
    let address = |end: Endpoint| -> [u64; 2] {
        let words = match (candidate.family, end.addr) {
            (_, None) => [0; 4],
            (Family::V4, Some(IpAddr::V4(addr))) => [u32::from_ne_bytes(addr.octets()), 0, 0, 0],
            (Family::V6, Some(IpAddr::V4(addr))) => socket_words(addr.to_ipv6_mapped().octets()),
            (_, Some(IpAddr::V6(addr))) => socket_words(addr.octets()),
        };
        [[words[0], words[1]], [words[2], words[3]]].map(|[low, high]| u64::from(low) | u64::from(high) << 32)
    };
    let port = |end: Endpoint| end.port.map_or(0, |port| u64::from(port.get()));
    let family = match candidate.family {
        Family::V4 => AF_INET,
        Family::V6 => AF_INET6,
    };
    let rest = port(candidate.local)
        | port(candidate.remote) << 16
        | u64::from(family) << 32
        | u64::from(candidate.is_listener) << 48;
    let ([l0, l1], [r0, r1]) = (address(candidate.local), address(candidate.remote));
    let netns = candidate.netns.map_or(0, |netns| u64::from(netns.get()));
    [l0, l1, r0, r1, rest, netns, u64::from(old.raw()) | u64::from(new.raw()) << 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_its_bits_and_no_others() {
        let bits = |range: RangeInclusive<u16>| words(&range).collect::<Vec<_>>();
        assert_eq!(bits(80..=80), [(1, 1 << 16)]);
        assert_eq!(bits(63..=64), [(0, 1 << 63), (1, 1)]);
        assert_eq!(bits(0..=u16::MAX).len(), 1024);
        assert!(bits(0..=u16::MAX).iter().all(|(_, bits)| *bits == u64::MAX));
        let count: u32 = bits(1000..=1999).iter().map(|(_, bits)| bits.count_ones()).sum();
        assert_eq!(count, 1000);
    }
}
