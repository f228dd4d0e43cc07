//! One look at all sockets, counted by state, port, process, peer or cgroup.

use std::{
    cmp::Reverse,
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32, NonZeroU64},
};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Comm, Endpoint, SampledKind, Task, TcpState};

/// A socket as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Inode of the network namespace.
    pub netns: NonZeroU32,
    /// Our side.
    pub local: Endpoint,
    /// The peer's side.
    pub remote: Endpoint,
    /// Its state.
    pub state: TcpState,
    /// What the kernel holds of it.
    pub kind: SampledKind,
    /// How long it has been in its state, where a timer tells: in TIME_WAIT.
    pub age_ns: Option<u64>,
    /// How long no data has come or gone.
    pub idle_ns: Option<u64>,
    /// Bytes not read, of a listener connections not accepted.
    pub rqueue: u32,
    /// Bytes not acknowledged, of a listener the limit of what waits to be accepted.
    pub wqueue: u32,
    /// The process that has held a descriptor for the longest time.
    pub owner: Option<Task>,
    /// No process has one: it was not yet accepted, or was closed by its process.
    pub is_unheld: bool,
    /// The cgroup that made it.
    pub cgroup: Option<NonZeroU64>,
}

/// By what to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum By {
    /// The state.
    #[default]
    State,
    /// The service port.
    Port,
    /// The name of the process.
    Process,
    /// The remote address.
    Peer,
    /// The cgroup.
    Cgroup,
}

impl By {
    /// The word in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Port => "port",
            Self::Process => "process",
            Self::Peer => "peer",
            Self::Cgroup => "cgroup",
        }
    }
}

/// What is counted together. `None` is what is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A state.
    State(TcpState),
    /// A service port.
    Port(Option<NonZeroU16>),
    /// A process name.
    Process(Option<Comm>),
    /// An address.
    Peer(Option<IpAddr>),
    /// A cgroup's id.
    Cgroup(Option<NonZeroU64>),
}

/// Sockets that are counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    states: [u64; TcpState::ALL.len()],
    /// The longest time that one is in TIME_WAIT.
    pub oldest_time_wait_ns: Option<u64>,
    /// The longest time that one has neither sent nor received data.
    pub longest_idle_ns: Option<u64>,
    /// Bytes that came and were not read.
    pub unread: u64,
    /// Bytes that were sent and not acknowledged, or not yet sent.
    pub unsent: u64,
    /// The accept queue that is fullest, and its limit.
    pub accept_queue: Option<(u32, u32)>,
    /// Names of processes, the first few.
    pub owners: Vec<Comm>,
    /// Sockets that no process has a descriptor of: not yet accepted, or closed by their process.
    pub unheld: u64,
    /// Sockets that a process may have a descriptor of that we could not look at.
    pub holder_unknown: u64,
}

/// Names of processes that are remembered for a key.
const OWNERS: usize = 3;

impl Counts {
    /// How many are in a state.
    pub const fn of(&self, state: TcpState) -> u64 {
        self.states[state.raw() as usize - 1]
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.states.iter().sum()
    }

    fn add(&mut self, seen: &Seen) {
        self.states[usize::from(seen.state.raw() - 1)] += 1;
        self.oldest_time_wait_ns = self.oldest_time_wait_ns.max(seen.age_ns);
        self.longest_idle_ns = self.longest_idle_ns.max(seen.idle_ns);
        if seen.state == TcpState::Listen {
            let fullness = |(length, limit): (u32, u32)| f64::from(length) / f64::from(limit.max(1));
            let queue = (seen.rqueue, seen.wqueue);
            if self.accept_queue.is_none_or(|before| fullness(queue) > fullness(before)) {
                self.accept_queue = Some(queue);
            }
        } else {
            self.unread += u64::from(seen.rqueue);
            self.unsent += u64::from(seen.wqueue);
        }
        match seen.owner {
            Some(owner) if self.owners.len() < OWNERS && !self.owners.contains(&owner.comm) => {
                self.owners.push(owner.comm);
            }
            Some(_) => {}
            None if seen.is_unheld => self.unheld += 1,
            None => self.holder_unknown += 1,
        }
    }
}

/// All sockets, counted.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// By what.
    pub by: By,
    /// The most numerous first; states in the order of a life.
    pub groups: Vec<(Key, Counts)>,
    /// All together.
    pub all: Counts,
}

impl Snapshot {
    /// Counts.
    pub fn new(by: By, seen: &[Seen]) -> Self {
        let services = Services::of(seen);
        let mut all = Counts::default();
        let mut groups: FxHashMap<Key, Counts> = FxHashMap::default();
        if by == By::State {
            groups.extend(TcpState::ALL.map(|state| (Key::State(state), Counts::default())));
        }
        for socket in seen {
            all.add(socket);
            let key = match by {
                By::State => Key::State(socket.state),
                By::Port => Key::Port(services.port(socket)),
                By::Process => Key::Process(socket.owner.map(|owner| owner.comm)),
                By::Peer => Key::Peer(socket.remote.addr),
                By::Cgroup => Key::Cgroup(socket.cgroup),
            };
            groups.entry(key).or_default().add(socket);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_cached_key(|(key, counts)| match key {
            Key::State(state) => (Reverse(0), state.in_life(), String::new()),
            key => (Reverse(counts.total()), 0, format!("{key:?}")),
        });
        Self { by, groups, all }
    }
}

/// Who listens where.
struct Services(FxHashSet<(NonZeroU32, NonZeroU16)>);

impl Services {
    fn of(seen: &[Seen]) -> Self {
        let listeners = seen.iter().filter(|socket| socket.state == TcpState::Listen);
        Self(listeners.filter_map(|socket| Some((socket.netns, socket.local.port?))).collect())
    }

    /// The listening side's port. Where somebody listens on our port, that is ours; where nobody does, we are taken for the
    /// client: only a server that has closed its listener is not.
    fn port(&self, socket: &Seen) -> Option<NonZeroU16> {
        let listens =
            |port: Option<NonZeroU16>| port.is_some_and(|port| self.0.contains(&(socket.netns, port)));
        match socket.state {
            TcpState::Listen => socket.local.port,
            TcpState::SynSent => socket.remote.port,
            _ if socket.kind == SampledKind::Request || listens(socket.local.port) => socket.local.port,
            _ => socket.remote.port,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(state: TcpState, local: u16, remote: u16) -> Seen {
        let endpoint = |port| Endpoint { addr: "10.0.0.1".parse().ok(), port: NonZeroU16::new(port) };
        Seen {
            netns: NonZeroU32::MIN,
            local: endpoint(local),
            remote: endpoint(remote),
            state,
            kind: SampledKind::Full,
            age_ns: None,
            idle_ns: None,
            rqueue: 0,
            wqueue: 0,
            owner: None,
            is_unheld: false,
            cgroup: None,
        }
    }

    #[test]
    fn all_states_are_there() {
        let snapshot = Snapshot::new(By::State, &[seen(TcpState::CloseWait, 80, 40_000)]);
        assert_eq!(snapshot.groups.len(), TcpState::ALL.len());
        let counts: Vec<u64> = snapshot.groups.iter().map(|(_, counts)| counts.total()).collect();
        assert_eq!(counts, [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn the_service_is_where_somebody_listens() {
        let sockets = [
            seen(TcpState::Listen, 80, 0),
            seen(TcpState::Established, 80, 40_000),
            seen(TcpState::Established, 40_000, 80),
            seen(TcpState::Established, 40_001, 5432),
            seen(TcpState::SynSent, 80, 81),
        ];
        let snapshot = Snapshot::new(By::Port, &sockets);
        let port = |port| Key::Port(NonZeroU16::new(port));
        let totals: Vec<_> = snapshot.groups.iter().map(|(key, counts)| (*key, counts.total())).collect();
        assert_eq!(totals, [(port(80), 3), (port(5432), 1), (port(81), 1)]);
    }

    #[test]
    fn the_fullest_queue_and_the_oldest() {
        let listener = |rqueue, wqueue| Seen { rqueue, wqueue, ..seen(TcpState::Listen, 80, 0) };
        let waiting = |age_ns| Seen { age_ns, ..seen(TcpState::TimeWait, 80, 9) };
        let unread = Seen { rqueue: 7, wqueue: 5, ..seen(TcpState::Established, 80, 9) };
        let sockets = [
            listener(1, 4096),
            listener(100, 128),
            listener(200, 4096),
            waiting(Some(3)),
            waiting(None),
            unread,
        ];
        let all = Snapshot::new(By::State, &sockets).all;
        assert_eq!(all.accept_queue, Some((100, 128)));
        assert_eq!((all.oldest_time_wait_ns, all.unread, all.unsent), (Some(3), 7, 5));
    }
}
