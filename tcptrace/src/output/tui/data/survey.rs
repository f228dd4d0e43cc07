//! The light walk: connections by state, by service port and by process, at one moment.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU16,
};

use foldhash::fast::RandomState;

use super::super::world::{STATES, place};
use crate::model::{
    Connection, KtimeNs, Owner, OwnerIs, ProcessStart, Task, TcpState,
    histogram::{By, Key},
};

/// What is counted for a service port.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) number: Option<NonZeroU16>,
    pub(super) counts: [u64; STATES],
    pub(super) held: u64,
    /// Processes by their place, and how many each has; the one with the most first.
    pub(super) processes: Vec<(usize, u64)>,
}

/// What is counted for a process.
#[derive(Clone, Debug)]
pub(super) struct Process {
    /// The first of its threads that was seen; `None` of all whose owner is not known.
    pub(super) owner: Option<Owner>,
    pub(super) counts: [u64; STATES],
    pub(super) held: u64,
    pub(super) not_accepted: u64,
    pub(super) peers: (u64, Option<IpAddr>),
    pub(super) oldest_close_wait: Option<(u64, bool)>,
    /// Ports by their place, and how many it has of each; the busiest first.
    pub(super) ports: Vec<(usize, u64)>,
    /// How many the peer has that it has most of.
    most_of_peer: u32,
    /// Since when one in CLOSE_WAIT is in it is not known, or only a bound.
    pub(super) may_be_older: bool,
}

impl Process {
    fn new(owner: Option<Owner>) -> Self {
        Self {
            owner,
            counts: [0; STATES],
            held: 0,
            not_accepted: 0,
            peers: (0, None),
            oldest_close_wait: None,
            ports: Vec::new(),
            most_of_peer: 0,
            may_be_older: false,
        }
    }
}

/// A walk under way. Places are those in [`Self::ports`] and [`Self::processes`]; 0 is what is not known.
///
/// The tables are kept from walk to walk: nothing is allocated for a connection. Peers' addresses are a peer's choice, so that
/// their hasher has random seeds.
#[derive(Debug)]
pub(super) struct Survey {
    now: KtimeNs,
    pub(super) counts: [u64; STATES],
    pub(super) held: u64,
    pub(super) ports: Vec<Port>,
    pub(super) processes: Vec<Process>,
    /// One more than the place of each port, by number; 0 where it has none.
    places_of_ports: Vec<u32>,
    /// One more than the place of each owner's process, by the owner's number; 0 where it has none.
    places_of_owners: Vec<u32>,
    places_of_processes: HashMap<(u32, Option<ProcessStart>), usize, RandomState>,
    /// Connections of a port's and a process's place.
    pairs: HashMap<(u32, u32), u64, RandomState>,
    /// The last of these and what is not yet added to it: connections of one service often come in rows.
    last_pair: ((u32, u32), u64),
    /// Connections of a process's place with a peer.
    peers_v4: HashMap<u64, u32, RandomState>,
    peers_v6: HashMap<(u32, Ipv6Addr), u32, RandomState>,
}

impl Default for Survey {
    fn default() -> Self {
        Self {
            now: KtimeNs(0),
            counts: [0; STATES],
            held: 0,
            ports: Vec::new(),
            processes: Vec::new(),
            places_of_ports: vec![0; 1 << 16],
            places_of_owners: Vec::new(),
            places_of_processes: HashMap::default(),
            pairs: HashMap::default(),
            last_pair: ((0, 0), 0),
            peers_v4: HashMap::default(),
            peers_v6: HashMap::default(),
        }
    }
}

impl Survey {
    /// A walk begins.
    pub(super) fn begin(&mut self, now: KtimeNs) {
        self.now = now;
        self.counts = [0; STATES];
        self.held = 0;
        self.ports.clear();
        self.processes.clear();
        self.places_of_ports.fill(0);
        self.places_of_owners.clear();
        self.places_of_processes.clear();
        self.pairs.clear();
        self.last_pair = ((0, 0), 0);
        self.peers_v4.clear();
        self.peers_v6.clear();
        self.place_of_port(None);
        self.processes.push(Process::new(None));
    }

    /// The place of a port, which is given one.
    pub(super) fn place_of_port(&mut self, port: Option<NonZeroU16>) -> usize {
        let number = port.map_or(0, |port| usize::from(port.get()));
        let Some(slot) = self.places_of_ports.get_mut(number) else { return 0 };
        if *slot == 0 {
            self.ports.push(Port { number: port, counts: [0; STATES], held: 0, processes: Vec::new() });
            // 65,536 at most.
            *slot = u32::try_from(self.ports.len()).unwrap_or(0);
        }
        usize::try_from(*slot).map_or(0, |slot| slot.saturating_sub(1))
    }

    fn place_of_process(&mut self, number: usize, owner: &Owner) -> usize {
        if number >= self.places_of_owners.len() {
            self.places_of_owners.resize(number + 1, 0);
        }
        let Some(slot) = self.places_of_owners.get_mut(number) else { return 0 };
        if *slot == 0 {
            let Task { pid, started, .. } = owner.task;
            let next = self.processes.len();
            let place = *self.places_of_processes.entry((pid.get(), started)).or_insert(next);
            if place == next {
                self.processes.push(Process::new(Some(*owner)));
            }
            *slot = u32::try_from(place + 1).unwrap_or(0);
        }
        usize::try_from(*slot).map_or(0, |slot| slot.saturating_sub(1))
    }

    /// A connection that is open, or the last one of a socket that is held; and its owner with a number.
    pub(super) fn add(&mut self, is_held: bool, connection: &Connection, owner: Option<(usize, Owner)>) {
        let port = match By::Port.key(connection, None) {
            Key::Port(port) => self.place_of_port(port),
            _ => 0,
        };
        let process = owner.map_or(0, |(number, owner)| self.place_of_process(number, &owner));
        self.count_pair(port, process);
        let (Some(of_port), Some(of_process)) = (self.ports.get_mut(port), self.processes.get_mut(process))
        else {
            return;
        };
        if is_held {
            self.held += 1;
            of_port.held += 1;
            of_process.held += 1;
            return;
        }
        let state = connection.state;
        for counts in [&mut self.counts, &mut of_port.counts, &mut of_process.counts] {
            if let Some(count) = counts.get_mut(place(state)) {
                *count += 1;
            }
        }
        if matches!(state, TcpState::Established | TcpState::CloseWait) {
            let is_waiting = owner.is_some_and(|(_, owner)| owner.is == OwnerIs::Listener);
            of_process.not_accepted += u64::from(is_waiting);
        }
        if state == TcpState::CloseWait {
            let (age, is_at_least) = connection.age(self.now);
            of_process.may_be_older |= is_at_least || age.is_none();
            let oldest = of_process.oldest_close_wait.map(|(oldest, _)| oldest).max(age);
            of_process.oldest_close_wait = oldest.map(|oldest| (oldest, of_process.may_be_older));
        }
        if state != TcpState::Listen
            && let Some(peer) = connection.remote.addr
        {
            self.count_peer(process, peer);
        }
    }

    fn count_pair(&mut self, port: usize, process: usize) {
        let place = |place: usize| u32::try_from(place).unwrap_or(0);
        let pair = (place(port), place(process));
        if self.last_pair.0 == pair {
            self.last_pair.1 += 1;
        } else {
            self.add_last_pair();
            self.last_pair = (pair, 1);
        }
    }

    fn add_last_pair(&mut self) {
        let (pair, count) = self.last_pair;
        if count > 0 {
            *self.pairs.entry(pair).or_default() += count;
        }
    }

    fn count_peer(&mut self, process: usize, peer: IpAddr) {
        let process = u32::try_from(process).unwrap_or(0);
        let count = match peer {
            IpAddr::V4(peer) => {
                let key = u64::from(process) << 32 | u64::from(peer.to_bits());
                self.peers_v4.entry(key).or_default()
            }
            IpAddr::V6(peer) => self.peers_v6.entry((process, peer)).or_default(),
        };
        *count += 1;
    }

    /// All have been gone through: what each port and each process has most of.
    pub(super) fn end(&mut self) {
        self.add_last_pair();
        self.last_pair = ((0, 0), 0);
        for (&(port, process), &count) in &self.pairs {
            let place = |place: u32| usize::try_from(place).unwrap_or(0);
            let (port, process) = (place(port), place(process));
            if let Some(of_port) = self.ports.get_mut(port) {
                of_port.processes.push((process, count));
            }
            if let Some(of_process) = self.processes.get_mut(process) {
                of_process.ports.push((port, count));
            }
        }
        let v4 = self.peers_v4.iter().map(|(key, count)| {
            let addr = u32::try_from(key & u64::from(u32::MAX)).unwrap_or(0);
            (key >> 32, IpAddr::from(addr.to_be_bytes()), *count)
        });
        let v6 = self.peers_v6.iter();
        let v6 = v6.map(|((process, addr), count)| (u64::from(*process), IpAddr::V6(*addr), *count));
        for (process, peer, count) in v4.chain(v6) {
            let of_process = usize::try_from(process).ok().and_then(|place| self.processes.get_mut(place));
            let Some(of_process) = of_process else { continue };
            let (peers, most) = &mut of_process.peers;
            *peers += 1;
            // Ties by address, so that the same is always shown.
            let is_most = count > of_process.most_of_peer
                || count == of_process.most_of_peer && most.is_none_or(|most| peer < most);
            if is_most {
                *most = Some(peer);
                of_process.most_of_peer = count;
            }
        }
        let names: Vec<_> = self.ports.iter().map(|of| of.number).collect();
        for of in &mut self.processes {
            let name = |place: usize| names.get(place).copied().flatten();
            of.ports.sort_unstable_by_key(|(port, count)| (std::cmp::Reverse(*count), name(*port)));
        }
        let names: Vec<_> = self
            .processes
            .iter()
            .map(|of| of.owner.map(|owner| (owner.task.pid, owner.task.started)))
            .collect();
        for of in &mut self.ports {
            let name = |place: usize| names.get(place).copied().flatten();
            of.processes.sort_unstable_by_key(|(process, count)| (std::cmp::Reverse(*count), name(*process)));
        }
    }
}
