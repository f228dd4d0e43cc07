//! Connections by subject and state, at one moment.

use std::{
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32},
};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    Subject,
    ends::{End, Ends},
    host::{Details, Host},
    routes::{Route, Routes},
};
use crate::model::{Connection, Endpoint, Held, KtimeNs, Owner, OwnerIs, Role, SocketKey, TcpState, Tuple};

/// Subjects that are told apart, at most: the rest is counted and not looked at.
const MOST_SUBJECTS: usize = 20_000;

/// Sockets of one state that are looked at one by one, at most.
const MOST_MEMBERS: u64 = 50_000;

/// A socket that a rule may want to look at.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Which.
    pub key: SocketKey,
    /// How long it has been in its state, as far as known.
    pub age_ns: Option<u64>,
    /// It may be older.
    pub is_at_least: bool,
    /// Its owner's process.
    pub pid: Option<NonZeroU32>,
    /// The owner has made a call of it, so that it was accepted or connected.
    pub has_caller: bool,
    /// Our side.
    pub local: Endpoint,
    /// The peer's side.
    pub remote: Endpoint,
    /// What the kernel's table tells of it, as long as it is in the same state.
    pub details: Option<Details>,
}

impl Member {
    /// Whether it is known to have been in its state for so long.
    pub fn is_older_than(&self, ns: u64) -> bool {
        self.age_ns.is_some_and(|age| age >= ns)
    }
}

/// Connections of one subject in one state.
#[derive(Clone, Debug, Default)]
pub struct Crowd {
    /// How many.
    pub count: u64,
    /// Closed ones that may have been let go, as records were lost.
    pub doubtful: u64,
    /// Those that were worth a look; of TIME_WAIT none is, of ESTABLISHED those that nobody holds or that are idle.
    pub members: Vec<Member>,
}

/// All connections, counted.
#[derive(Clone, Debug, Default)]
pub struct Census {
    crowds: FxHashMap<(Subject, TcpState), Crowd>,
    states: [(u64, Option<u64>); TcpState::ALL.len()],
    members: [u64; TcpState::ALL.len()],
    /// Connections from here to one service.
    pub routes: Routes,
    /// Connections that there was no room for: counted, and not looked at.
    pub uncounted: u64,
    /// Where a rule may ask for the other end.
    ends: Ends,
    /// Closed sockets that are held, by subject.
    held: FxHashMap<Subject, Crowd>,
    /// Network namespaces that sockets were seen in.
    pub namespaces: FxHashSet<NonZeroU32>,
    /// Processes that own some.
    pub pids: FxHashSet<NonZeroU32>,
}

impl Census {
    /// Forgets everything but the room that it took: there will be as much again.
    pub fn clear(&mut self) {
        self.crowds.clear();
        self.states = Default::default();
        self.members = Default::default();
        self.routes.clear();
        self.uncounted = 0;
        self.ends.clear();
        self.held.clear();
        self.namespaces.clear();
        self.pids.clear();
    }

    /// Takes in a connection as it is at `now`.
    pub fn add(
        &mut self,
        key: SocketKey,
        connection: &Connection,
        owner: Option<&Owner>,
        host: &Host,
        now: KtimeNs,
    ) {
        let subject = Subject::of(connection, owner);
        let tuple = || Tuple::new(connection.netns, connection.local, connection.remote);
        let details = match connection.state {
            TcpState::SynRecv => tuple().and_then(|tuple| host.requests.get(&tuple)),
            _ => None,
        };
        let details = details.or_else(|| host.sockets.get(&key)).copied();
        let (state, age_ns, is_at_least) = now_in(connection, details.as_ref(), now);
        let details = details.filter(|details| details.state == state);
        let pid = owner.map(|owner| owner.task.pid);
        let local = Endpoint {
            port: connection.local.port.or_else(|| details.and_then(|details| details.local_port)),
            ..connection.local
        };
        let has_caller = owner.is_some_and(|owner| owner.is == OwnerIs::Caller);
        let remote = connection.remote;
        let member = Member { key, age_ns, is_at_least, pid, has_caller, local, remote, details };
        self.namespaces.extend(connection.netns);
        self.pids.extend(pid);
        let of_state = &mut self.states[usize::from(state.raw() - 1)];
        *of_state = (of_state.0 + 1, of_state.1.max(age_ns));
        if subject.role == Some(Role::Client) && state != TcpState::Listen {
            let tuple = Tuple::new(connection.netns, local, connection.remote);
            if let Some(route) = tuple.and_then(|_| Route::of(connection.netns, local, connection.remote)) {
                self.routes.add(route, state, subject, &member);
            }
        }
        if !matches!(state, TcpState::Listen | TcpState::SynSent | TcpState::SynRecv) {
            self.ends.add(local, connection.remote, End { state, subject, pid });
        }
        let place = (subject, state);
        if self.crowds.len() >= MOST_SUBJECTS && !self.crowds.contains_key(&place) {
            self.uncounted += 1;
            return;
        }
        let is_kept = is_worth_a_look(&member, state) && self.has_room(state);
        let crowd = self.crowds.entry(place).or_default();
        crowd.count += 1;
        if is_kept {
            crowd.members.push(member);
        }
    }

    /// Takes a place among those in a state that are looked at one by one, if there is one.
    fn has_room(&mut self, state: TcpState) -> bool {
        let members = &mut self.members[usize::from(state.raw() - 1)];
        let has_room = *members < MOST_MEMBERS;
        *members += u64::from(has_room);
        self.uncounted += u64::from(!has_room);
        has_room
    }

    /// Takes in a closed socket that a descriptor holds.
    pub fn add_held(&mut self, key: SocketKey, held: &Held, owner: Option<&Owner>, now: KtimeNs) {
        let connection = &held.connection;
        let subject = Subject::of(connection, owner);
        self.pids.extend(owner.map(|owner| owner.task.pid));
        if self.held.len() >= MOST_SUBJECTS && !self.held.contains_key(&subject) {
            self.uncounted += 1;
            return;
        }
        let is_kept = self.has_room(TcpState::Close);
        let crowd = self.held.entry(subject).or_default();
        crowd.count += 1;
        crowd.doubtful += u64::from(held.is_doubtful);
        if is_kept {
            crowd.members.push(Member {
                key,
                age_ns: now.since(held.since),
                is_at_least: false,
                pid: owner.map(|owner| owner.task.pid),
                has_caller: true,
                local: connection.local,
                remote: connection.remote,
                details: None,
            });
        }
    }

    /// Those in a state, by subject.
    pub fn in_state(&self, state: TcpState) -> impl Iterator<Item = (&Subject, &Crowd)> {
        self.crowds
            .iter()
            .filter(move |((_, of), _)| *of == state)
            .map(|((subject, _), crowd)| (subject, crowd))
    }

    /// All that are counted, by subject and state.
    pub fn crowds(&self) -> impl Iterator<Item = (&Subject, TcpState, u64)> {
        self.crowds.iter().map(|((subject, state), crowd)| (subject, *state, crowd.count))
    }

    /// Closed sockets that are held.
    pub fn held(&self) -> impl Iterator<Item = (&Subject, &Crowd)> {
        self.held.iter()
    }

    /// How many of a subject are in a state.
    pub fn count(&self, subject: &Subject, state: TcpState) -> u64 {
        self.crowds.get(&(*subject, state)).map_or(0, |crowd| crowd.count)
    }

    /// How many are in a state, and the age of the oldest, as far as known.
    pub fn total(&self, state: TcpState) -> (u64, Option<u64>) {
        self.states[usize::from(state.raw() - 1)]
    }

    /// How many there are in all.
    pub fn sockets(&self) -> u64 {
        self.states.iter().map(|(count, _)| count).sum()
    }

    /// The other end of a connection, where it is on this host and not over.
    pub fn other_end(&self, netns: Option<NonZeroU32>, local: Endpoint, remote: Endpoint) -> Option<&End> {
        // Not known as long as one of its ports or addresses is not.
        Tuple::new(netns, local, remote)?;
        self.ends.get(netns, remote, local)
    }

    /// Who listens on a port of a network namespace.
    pub fn listener(&self, netns: Option<NonZeroU32>, port: Option<NonZeroU16>) -> Option<&Subject> {
        let mut listeners = self.in_state(TcpState::Listen).map(|(subject, _)| subject);
        listeners.find(|subject| subject.netns == netns && subject.port == port)
    }
}

/// A tick of the kernel's timer at most: a difference of two stamps in ticks may be longer than the truth by that.
const TICK_NS: u64 = 10_000_000;

/// From the report of a state until it is stored, at most, and much more than that.
const STORED_NS: u64 = 1_000_000;

/// Its state, how long it has been in it, and whether that is a lower bound.
///
/// What tracing knows, or what the kernel's table proves, if that is more. In these states the last acknowledgement is not older
/// than the state, because a segment with one led into it (`tcp_ack` stamps it, Linux 5.8 to 6.18). And a socket that was in
/// another state after it entered the one that tracing knows has made a transition that the kernel did not report.
fn now_in(connection: &Connection, details: Option<&Details>, now: KtimeNs) -> (TcpState, Option<u64>, bool) {
    let (known, is_at_least) = connection.age(now);
    let Some(details) = details else { return (connection.state, known, is_at_least) };
    let since_look = now.since(details.at);
    if details.state != connection.state {
        // The tracepoint comes before the kernel stores the state. Of one whose beginning is not known nothing can be said.
        let entered_before = KtimeNs(connection.since_ns().0.saturating_add(STORED_NS)) < details.not_before;
        return if known.is_some() && entered_before {
            (details.state, since_look, true)
        } else {
            (connection.state, known, is_at_least)
        };
    }
    let is_entered_by_ack =
        matches!(connection.state, TcpState::CloseWait | TcpState::FinWait2 | TcpState::Established);
    // What has passed since the look has passed for it, too.
    let proven =
        details.ack_idle_ns.zip(since_look).map(|(idle, since)| idle.saturating_sub(TICK_NS) + since);
    let proven = proven.filter(|_| is_entered_by_ack && is_at_least);
    (connection.state, known.max(proven), is_at_least)
}

fn is_worth_a_look(member: &Member, state: TcpState) -> bool {
    match (state, member.details) {
        (TcpState::TimeWait, _) | (TcpState::Established, None) => false,
        (TcpState::Established, Some(details)) => {
            !details.has_file || !details.has_keepalive && details.data_idle_ns >= Some(1_000_000_000)
        }
        _ => true,
    }
}

/// Members of a crowd that a finding is about, summed up.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// The oldest.
    pub oldest_ns: Option<u64>,
    /// That may be older.
    pub is_at_least: bool,
    /// Processes, the one with the most of them first.
    pub pids: Vec<(NonZeroU32, u64)>,
    /// Peers, the one with the most of them first.
    pub peers: Vec<(IpAddr, u64)>,
    /// Some of the sockets.
    pub keys: Vec<SocketKey>,
}

/// Sockets of a sum that are named.
const MOST_KEYS: usize = 10_000;

impl Sum {
    /// Of these.
    pub fn of<'a>(members: impl Iterator<Item = &'a Member>) -> Self {
        let mut sum = Self::default();
        let mut pids: FxHashMap<NonZeroU32, u64> = FxHashMap::default();
        let mut peers: FxHashMap<IpAddr, u64> = FxHashMap::default();
        for member in members {
            sum.count += 1;
            sum.oldest_ns = sum.oldest_ns.max(member.age_ns);
            // Any of which only a bound is known may be the oldest.
            sum.is_at_least |= member.is_at_least || member.age_ns.is_none();
            if let Some(pid) = member.pid {
                *pids.entry(pid).or_default() += 1;
            }
            if let Some(peer) = member.remote.addr {
                *peers.entry(peer).or_default() += 1;
            }
            if sum.keys.len() < MOST_KEYS {
                sum.keys.push(member.key);
            }
        }
        sum.pids = most_first(pids);
        sum.peers = most_first(peers);
        sum
    }
}

/// Ties in the order of their names, so that the same is always shown the same.
pub(super) fn most_first<T: Copy + Ord>(counts: FxHashMap<T, u64>) -> Vec<(T, u64)> {
    let mut counts: Vec<(T, u64)> = counts.into_iter().collect();
    counts.sort_unstable_by_key(|(what, count)| (std::cmp::Reverse(*count), *what));
    counts
}
