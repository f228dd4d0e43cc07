//! What has happened in the last ten to twenty seconds, by subject.

use std::net::IpAddr;

use hashlink::LinkedHashMap;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use super::Subject;
use crate::model::{
    Dwell, EndCause, Endpoint, KtimeNs, Observation, Owner, Role, TcpState, Tuple, histogram::Ending,
};

/// Subjects that are told apart in one half of the time, at most. Those that find no room are not looked at.
const MOST_SUBJECTS: usize = 10_000;

/// Hosts of one owner that are told apart.
const MOST_HOSTS: usize = 10_000;

/// Tuples of lives that are over which are remembered.
const MOST_TUPLES: usize = 65_536;

/// What happens less often than it could by chance is one thing, what goes on second after second another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// How many.
    pub count: u64,
    /// In how many of the seconds that were looked at there was one.
    pub seconds: u64,
    last: u64,
}

impl Events {
    fn add(&mut self, second: u64) {
        self.count += 1;
        if self.last != second {
            self.last = second;
            self.seconds += 1;
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.seconds += other.seconds;
    }
}

/// The peers with the most events: exact for any that has more than an eighth of them (Misra and Gries, 1982).
#[derive(Clone, Debug, Default)]
pub struct TopPeers(Vec<(IpAddr, u64)>);

impl TopPeers {
    const MOST: usize = 8;

    fn add(&mut self, peer: IpAddr) {
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| *known == peer) {
            *count += 1;
        } else if self.0.len() < Self::MOST {
            self.0.push((peer, 1));
        } else {
            self.0.retain_mut(|(_, count)| {
                *count -= 1;
                *count > 0
            });
        }
    }

    fn merge(&mut self, other: &Self) {
        for (peer, count) in &other.0 {
            match self.0.iter_mut().find(|(known, _)| known == peer) {
                Some((_, known)) => *known += count,
                None => self.0.push((*peer, *count)),
            }
        }
    }

    /// The one that has at least half of all, if there is one.
    pub fn half_of(&self, all: u64) -> Option<IpAddr> {
        self.0.iter().find(|(_, count)| count * 2 >= all).map(|(peer, _)| *peer)
    }
}

/// What a subject's connections have done, whoever their peers are.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// The process that was seen last.
    pub owner: Option<Owner>,
    /// Ended, whatever way.
    pub ended: u64,
    /// Ended by a reset of ours.
    pub reset_by_us: Events,
    /// Ended by one of the peer's.
    pub reset_by_peer: Events,
    /// Whose connections were reset.
    pub reset_peers: TopPeers,
    /// CLOSE_WAIT was left.
    pub close_wait_left: u64,
    /// Ended for want of a time-wait socket.
    pub time_wait_overflows: u64,
}

/// What a client's connections to one peer and port have done.
#[derive(Clone, Debug, Default)]
pub struct ToPeer {
    /// The process that was seen last.
    pub owner: Option<Owner>,
    /// SYN_SENT was entered.
    pub opened: Events,
    /// SYN_SENT was left.
    pub tried: u64,
    /// The peer refused.
    pub refused: Events,
    /// ESTABLISHED was left, and how long it had lasted is known.
    pub lives: u64,
    /// After less than what counts as short.
    pub short: u64,
}

/// Hosts that an owner has opened connections to.
#[derive(Clone, Debug, Default)]
pub struct FanOut {
    /// The process that was seen last.
    pub owner: Option<Owner>,
    /// All of them.
    pub hosts: FxHashSet<IpAddr>,
    /// Those that have answered with a SYN-ACK.
    pub answered: FxHashSet<IpAddr>,
}

/// One half of the time.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    /// By owner, service port and role.
    pub owners: FxHashMap<Subject, Flow>,
    /// By owner, service port and peer; clients only.
    pub peers: FxHashMap<Subject, ToPeer>,
    /// By owner alone.
    pub fan_out: FxHashMap<Subject, FanOut>,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Activity {
    short_ns: u64,
    second: u64,
    current: Flows,
    previous: Flows,
    /// Lives that are over, and when they were; the oldest first.
    over: LinkedHashMap<Tuple, KtimeNs, FxBuildHasher>,
}

impl Activity {
    /// Nothing yet. A connection that was established for less than `short_ns` was short.
    pub fn new(short_ns: u64) -> Self {
        // 0 is the second of events that have had none.
        Self {
            short_ns,
            second: 1,
            current: Flows::default(),
            previous: Flows::default(),
            over: LinkedHashMap::default(),
        }
    }

    /// A second is over.
    pub const fn next_second(&mut self) {
        self.second += 1;
    }

    /// Half of the time is over: what was before is forgotten.
    pub fn rotate(&mut self) {
        self.previous = std::mem::take(&mut self.current);
    }

    /// One more transition; `owner` is known by the name of his process.
    pub fn add(&mut self, observed: &Observation, owner: Option<&Owner>) {
        let (transition, connection) = (&observed.transition, &observed.connection);
        let (old, new) = (transition.old, transition.new);
        let subject = Subject::of(connection, owner);
        if old == TcpState::SynSent || new == TcpState::SynSent || old == TcpState::Established {
            self.client(subject, observed, owner);
        }
        if new != TcpState::Close && old != TcpState::CloseWait || old == TcpState::Listen {
            return;
        }
        if new == TcpState::Close
            && old != TcpState::SynSent
            && let Some(tuple) = Tuple::new(connection.netns, connection.local, connection.remote)
        {
            self.remember(tuple, transition.ts);
        }
        let Some(flow) = room(&mut self.current.owners, subject) else { return };
        flow.owner = owner.copied().or(flow.owner);
        flow.close_wait_left += u64::from(old == TcpState::CloseWait);
        if let (TcpState::Close, Some(cause)) = (new, connection.end_cause) {
            flow.ended += 1;
            flow.time_wait_overflows += u64::from(cause == EndCause::TwOverflow);
            let events = match Ending::of(cause) {
                Ending::ResetByUs => &mut flow.reset_by_us,
                Ending::ResetByPeer => &mut flow.reset_by_peer,
                _ => return,
            };
            events.add(self.second);
            if let Some(peer) = connection.remote.addr {
                flow.reset_peers.add(peer);
            }
        }
    }

    fn client(&mut self, subject: Subject, observed: &Observation, owner: Option<&Owner>) {
        let (transition, connection) = (&observed.transition, &observed.connection);
        let (old, new) = (transition.old, transition.new);
        if subject.role != Some(Role::Client) {
            return;
        }
        let Some(peer) = connection.remote.addr else { return };
        if (old == TcpState::SynSent || new == TcpState::SynSent)
            && let Some(fan_out) = room(&mut self.current.fan_out, subject.owner_alone())
            && fan_out.hosts.len() < MOST_HOSTS
        {
            fan_out.owner = owner.copied().or(fan_out.owner);
            fan_out.hosts.insert(peer);
            // A host that refuses has answered, too, but not with a SYN-ACK.
            if matches!(new, TcpState::Established | TcpState::SynRecv) {
                fan_out.answered.insert(peer);
            }
        }
        let Some(to) = room(&mut self.current.peers, subject.with_peer(Some(peer))) else { return };
        to.owner = owner.copied().or(to.owner);
        if new == TcpState::SynSent {
            to.opened.add(self.second);
        }
        if old == TcpState::SynSent {
            to.tried += 1;
            if connection.end_cause == Some(EndCause::Refused) {
                to.refused.add(self.second);
            }
        }
        if let (TcpState::Established, Some(Dwell::Exact(ns))) = (old, observed.dwell) {
            to.lives += 1;
            to.short += u64::from(ns < self.short_ns);
        }
    }

    fn remember(&mut self, tuple: Tuple, at: KtimeNs) {
        self.over.remove(&tuple);
        self.over.insert(tuple, at);
        if self.over.len() > MOST_TUPLES {
            self.over.pop_front();
        }
    }

    /// When the last life of this tuple was over, as far as it is remembered.
    pub fn was_over(&self, subject: &Subject, local: Endpoint, remote: Endpoint) -> Option<KtimeNs> {
        self.over.get(&Tuple::new(subject.netns, local, remote)?).copied()
    }

    /// What has happened in both halves.
    pub fn recent(&self) -> Flows {
        let mut all = self.previous.clone();
        for (subject, now) in &self.current.owners {
            let flow = all.owners.entry(*subject).or_default();
            flow.owner = now.owner.or(flow.owner);
            flow.ended += now.ended;
            flow.reset_by_us.merge(now.reset_by_us);
            flow.reset_by_peer.merge(now.reset_by_peer);
            flow.reset_peers.merge(&now.reset_peers);
            flow.close_wait_left += now.close_wait_left;
            flow.time_wait_overflows += now.time_wait_overflows;
        }
        for (subject, now) in &self.current.peers {
            let to = all.peers.entry(*subject).or_default();
            to.owner = now.owner.or(to.owner);
            to.opened.merge(now.opened);
            to.tried += now.tried;
            to.refused.merge(now.refused);
            to.lives += now.lives;
            to.short += now.short;
        }
        for (subject, now) in &self.current.fan_out {
            let fan_out = all.fan_out.entry(*subject).or_default();
            fan_out.owner = now.owner.or(fan_out.owner);
            fan_out.hosts.extend(&now.hosts);
            fan_out.answered.extend(&now.answered);
        }
        all
    }
}

/// The entry of a subject; `None` when there is no room for one more.
fn room<T: Default>(entries: &mut FxHashMap<Subject, T>, subject: Subject) -> Option<&mut T> {
    let has_room = entries.len() < MOST_SUBJECTS || entries.contains_key(&subject);
    has_room.then(|| entries.entry(subject).or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_and_their_seconds() {
        let mut events = Events::default();
        for second in [1, 1, 1, 2, 5, 5] {
            events.add(second);
        }
        assert_eq!((events.count, events.seconds), (6, 3));
    }

    #[test]
    fn the_peer_with_most_is_found_among_many() {
        let mut peers = TopPeers::default();
        for i in 0..200_u8 {
            peers.add(IpAddr::from([10, 0, 0, i]));
            for _ in 0..3 {
                peers.add(IpAddr::from([192, 0, 2, 1]));
            }
        }
        assert_eq!(peers.half_of(800), Some(IpAddr::from([192, 0, 2, 1])));
        assert!(peers.0.len() <= TopPeers::MOST);
    }
}
