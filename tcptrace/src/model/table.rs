//! The table of connections: bounded, keyed by socket.

use hashlink::LinkedHashMap;
use rustc_hash::{FxBuildHasher, FxHashSet};

use super::{
    connection::{Body, Connection, Step},
    dwell::{Dwell, Since},
    ending::EndCause,
    event::{Event, KtimeNs, Lost, LostAt, SocketKey, Transition},
    state::TcpState,
    time_wait::{Connecting, Endings},
};

/// Insertion-ordered, so that the front is the oldest. Keys are the kernel's counters and addresses, not input
/// of a peer: a fast hash is safe.
type Ordered = LinkedHashMap<SocketKey, Connection, FxBuildHasher>;

/// How much the table may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections, live and closed together, at least 1.
    pub max_connections: usize,
    /// Closed ones that are remembered; the oldest are forgotten first.
    pub max_closed: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_connections: 1_000_000, max_closed: 10_000 }
    }
}

/// What the table has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Transitions told.
    pub transitions: u64,
    /// Full sockets swapped for time-wait ones, which the kernel reports as `-> CLOSE` and which is no transition.
    pub swaps: u64,
    /// Lives begun. Always `closed + evicted + live`.
    pub opened: u64,
    /// Of these, connections that were open when tracing began.
    pub seeded: u64,
    /// Lives ended, those whose end was missed included.
    pub closed: u64,
    /// Live connections given up because the table was full.
    pub evicted: u64,
    /// Transitions whose old state was not the one the connection was in: events are missing.
    pub gaps: u64,
    /// Transitions that no kernel is known to make.
    pub illegal: u64,
    /// Transitions that lie before the last one of their socket.
    pub backwards: u64,
    /// Transitions that only the second observer saw.
    pub recovered: u64,
    /// Records that were made but did not arrive.
    pub lost: u64,
}

/// What one transition told.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// The transition itself.
    pub transition: Transition,
    /// Its connection, after the transition.
    pub connection: Connection,
    /// Time spent in the old state, `None` when unknown.
    pub dwell: Option<Dwell>,
}

/// All connections that are known.
#[derive(Debug)]
pub struct Table {
    pub(super) live: Ordered,
    closed: Ordered,
    limits: Limits,
    pub(super) counters: Counters,
    /// A connection that is not in the table has not changed since this moment.
    horizon: KtimeNs,
    /// The last moment at which a loss was noticed.
    lost_until: Option<KtimeNs>,
    /// Transitions that both observers missed.
    missed_for_good: u64,
    /// Time-wait sockets whose timer was taken off, and it is not clear yet for what.
    pub(super) endings: Endings,
    /// Time-wait sockets believed to be in FIN_WAIT2, which can leave it without an event.
    pub(super) orphans: FxHashSet<SocketKey>,
    /// See [`Self::expect_seed`].
    pub(super) remembers_all_closed: bool,
    /// Threads that have just begun to connect.
    pub(super) connecting: Connecting,
}

impl Table {
    /// An empty table. `started` is a moment at which tracing was already on: a connection that first shows up
    /// later in a state that it did not just enter has been in that state since then at least.
    pub fn new(started: KtimeNs, limits: Limits) -> Self {
        let limits = Limits { max_connections: limits.max_connections.max(1), ..limits };
        Self {
            live: Ordered::default(),
            closed: Ordered::default(),
            limits,
            counters: Counters::default(),
            horizon: started,
            lost_until: None,
            missed_for_good: 0,
            endings: Endings::default(),
            connecting: Connecting::default(),
            orphans: FxHashSet::default(),
            remembers_all_closed: false,
        }
    }

    /// Takes an event in and hands on what it tells: nothing, one transition, or several.
    pub fn apply(&mut self, event: &Event, tell: &mut dyn FnMut(&Observation)) {
        self.settle(event.ts(), tell);
        match event {
            Event::Transition(transition) => {
                if let Some(observed) = self.transition(transition) {
                    tell(&observed);
                }
            }
            Event::TimeWait(time_wait) => self.time_wait(time_wait, tell),
        }
    }

    /// A full socket changed its state. `None`: known already, or no change of the connection's.
    fn transition(&mut self, transition: &Transition) -> Option<Observation> {
        let Transition { key, old, new, .. } = *transition;
        if transition.is_backup {
            // A socket does not enter the state that it is in.
            if self.live.get(&key).or_else(|| self.closed.get(&key)).is_some_and(|known| known.state == new) {
                return None;
            }
            self.counters.recovered += 1;
        }
        self.connecting.note(transition);
        if new == TcpState::Close
            && let Some(connection) = self.live.get_mut(&key)
            && connection.body == Body::Swapping
        {
            // The kernel merely swapped the socket for a time-wait one (`tcp_time_wait`).
            connection.body = Body::Mini;
            self.counters.swaps += 1;
            return None;
        }
        self.counters.illegal += u64::from(!old.leads_to(new));
        Some(self.step(transition))
    }

    /// Makes a connection take its next step.
    pub(super) fn step(&mut self, transition: &Transition) -> Observation {
        let Transition { key, old, new, .. } = *transition;
        self.counters.transitions += 1;
        let begins = old.begins_life(new);
        let known = if begins { None } else { self.live.to_back(&key) };
        let (step, connection) = if let Some(connection) = known {
            self.counters.gaps += u64::from(connection.state != old);
            if let Some(lost) = self.lost_until
                && lost >= connection.since_ns()
                && (connection.state != old || is_reentered(old))
            {
                // Whatever happened unseen was over when the loss was noticed: since then it is in `old`.
                connection.resume(old, Some(lost).filter(|lost| *lost <= transition.ts));
            }
            (connection.step(transition), *connection)
        } else {
            let (step, connection) = self.begin(transition, begins);
            self.live.insert(key, connection);
            (step, connection)
        };
        self.counters.backwards += u64::from(step.is_backwards);
        if connection.state != TcpState::FinWait2 && !self.orphans.is_empty() {
            self.orphans.remove(&key);
        }
        if connection.state == TcpState::Close {
            self.live.remove(&key);
            self.closed.insert(key, connection);
            self.counters.closed += 1;
        }
        self.make_room(transition.ts);
        Observation { transition: *transition, connection, dwell: step.dwell }
    }

    /// Begins a life: at its birth, or in the middle when the birth was not seen.
    fn begin(&mut self, transition: &Transition, is_birth: bool) -> (Step, Connection) {
        self.counters.opened += 1;
        if self.live.remove(&transition.key).is_some() {
            // A new life under a key that was alive: the end of the old one was missed.
            self.counters.gaps += 1;
            self.counters.closed += 1;
        }
        let closed_at = self.closed.remove(&transition.key).map(|before| before.since_ns());
        let is_lost_since = |moment: KtimeNs| self.lost_until.is_some_and(|lost| lost >= moment);
        let (since, since_ns) = match (transition.old, closed_at) {
            // The same socket connects again: its time in CLOSE is known. Under an address it may be another one.
            (TcpState::Close, Some(closed))
                if transition.key.cookie().is_some() && !is_lost_since(closed) =>
            {
                (Since::Exact, closed)
            }
            (TcpState::Close, _) => (Since::Unknown, KtimeNs(0)),
            _ if is_birth => (Since::Unknown, KtimeNs(0)),
            _ if closed_at.is_none_or(|closed| closed <= self.horizon) => self.known_since(transition.ts),
            _ => (Since::Unknown, KtimeNs(0)),
        };
        let mut connection = Connection::begin(transition, since, since_ns);
        (connection.step(transition), connection)
    }

    /// Since when a connection that is not in the table is in the state that it leaves at `ts`: nothing happened to it
    /// since the horizon, or we would know it.
    pub(super) fn known_since(&self, ts: KtimeNs) -> (Since, KtimeNs) {
        if ts > self.horizon { (Since::AtLeast, self.horizon) } else { (Since::Unknown, KtimeNs(0)) }
    }

    /// Notes why a connection that has just closed did so.
    pub(super) fn set_end_cause(&mut self, key: SocketKey, cause: EndCause) {
        if let Some(connection) = self.closed.get_mut(&key) {
            connection.end_cause = Some(cause);
        }
    }

    /// A connection that is not in the table has not changed since this moment.
    pub(super) const fn horizon(&self) -> KtimeNs {
        self.horizon
    }

    /// Whether anything is known of this socket, open or closed.
    pub(super) fn is_known(&self, key: SocketKey) -> bool {
        self.live.contains_key(&key) || self.closed.contains_key(&key)
    }

    /// Adds a connection that was open before.
    pub(super) fn insert_live(&mut self, key: SocketKey, connection: Connection) {
        self.counters.opened += 1;
        self.counters.seeded += 1;
        self.live.insert(key, connection);
        self.make_room(self.horizon);
    }

    /// Keeps the limits: first the oldest closed ones go, then those that were idle for longest.
    pub(super) fn make_room(&mut self, now: KtimeNs) {
        let Limits { max_connections, max_closed } = self.limits;
        let max_closed = if self.remembers_all_closed { usize::MAX } else { max_closed };
        let room_for_closed = max_closed.min(max_connections.saturating_sub(self.live.len()));
        while self.closed.len() > room_for_closed {
            self.closed.pop_front();
        }
        while self.live.len() > max_connections {
            if let Some((key, _)) = self.live.pop_front() {
                self.orphans.remove(&key);
            }
            self.counters.evicted += 1;
            // Should it show up again, all we know is that nothing happened to it since now.
            self.horizon = self.horizon.max(now);
        }
    }

    /// Records were lost: what is not in the table is known only from here on.
    pub fn lost(&mut self, lost: &Lost) {
        self.counters.lost += lost.count;
        self.horizon = self.horizon.max(lost.noticed);
        self.lost_until = self.lost_until.max(Some(lost.noticed));
    }

    /// `missed` transitions in all were missed by the first observer, and the second has reported all it saw of
    /// them. Returns the loss that this makes known, if any.
    pub fn missed(&mut self, missed: u64, noticed: KtimeNs) -> Option<Lost> {
        let count =
            missed.checked_sub(self.counters.recovered + self.missed_for_good).filter(|count| *count > 0)?;
        self.missed_for_good += count;
        let lost = Lost { noticed, count, at: LostAt::Recursion };
        self.lost(&lost);
        Some(lost)
    }

    /// What was counted.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Connections that are alive.
    pub fn live(&self) -> impl ExactSizeIterator<Item = (&SocketKey, &Connection)> {
        self.live.iter()
    }

    /// Connections that are closed and remembered, oldest first.
    pub fn closed(&self) -> impl ExactSizeIterator<Item = (&SocketKey, &Connection)> {
        self.closed.iter()
    }

    /// Connections in the table, live and closed.
    pub fn len(&self) -> usize {
        self.live.len() + self.closed.len()
    }

    /// Whether the table holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// States that one socket can be in more than once, by connecting or listening again.
const fn is_reentered(state: TcpState) -> bool {
    matches!(state, TcpState::Close | TcpState::SynSent | TcpState::Listen)
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Endpoint, Family, Sampled, ThreadId, TimeWait, TimerAction};

    #[derive(Clone, Debug)]
    enum Input {
        Transition(Transition),
        TimeWait(TimeWait),
        Seed(Vec<Sampled>),
        Correct(Vec<Sampled>),
        Lost(Lost),
    }

    fn state() -> impl Strategy<Value = TcpState> {
        (0..TcpState::ALL.len()).prop_map(|index| TcpState::ALL[index])
    }

    /// Any transition at all, legal or not, in any order of time, for a handful of sockets.
    fn transition() -> impl Strategy<Value = Transition> {
        let error = prop_oneof![Just(None), (0..200_u16).prop_map(Some)];
        (0..50_u64, 1..6_u64, any::<[bool; 2]>(), state(), state(), 0..3_u16, error).prop_map(
            |(ts, socket, [has_cookie, is_backup], old, new, port, error)| Transition {
                ts: KtimeNs(ts),
                key: match NonZeroU64::new(socket) {
                    Some(cookie) if has_cookie => SocketKey::from_cookie(cookie),
                    _ => SocketKey::from_address(socket),
                },
                family: Family::V4,
                mptcp: false,
                is_backup,
                local: Endpoint { addr: None, port: NonZeroU16::new(port) },
                remote: Endpoint::default(),
                old,
                new,
                netns: None,
                uid: None,
                error,
                task: None,
                thread: None,
            },
        )
    }

    fn time_wait() -> impl Strategy<Value = TimeWait> {
        let action =
            prop_oneof![Just(TimerAction::Start), Just(TimerAction::Cancel), Just(TimerAction::Expire)];
        (transition(), action, any::<bool>(), proptest::option::of(0..60_u64)).prop_map(
            |(of, action, is_orphan, entered)| TimeWait {
                // Far enough apart for endings to settle.
                ts: KtimeNs(of.ts.0 * 10_000_000),
                key: of.key,
                family: of.family,
                local: of.local,
                remote: of.remote,
                netns: of.netns,
                action,
                state: if is_orphan { TcpState::FinWait2 } else { TcpState::TimeWait },
                entered: entered.map(KtimeNs),
                thread: ThreadId(of.ts.0 % 3),
            },
        )
    }

    fn sampled() -> impl Strategy<Value = Vec<Sampled>> {
        let one = (transition(), any::<bool>(), proptest::option::of(0..60_u64)).prop_map(
            |(of, is_time_wait, entered)| Sampled {
                key: of.key,
                family: of.family,
                local: of.local,
                remote: of.remote,
                // sock_diag lists no socket in CLOSE.
                state: if of.new == TcpState::Close { TcpState::TimeWait } else { of.new },
                is_time_wait,
                netns: NonZeroU32::MIN,
                uid: None,
                entered: entered.map(KtimeNs),
            },
        );
        proptest::collection::vec(one, 0..5)
    }

    fn input() -> impl Strategy<Value = Input> {
        prop_oneof![
            3 => time_wait().prop_map(Input::TimeWait),
            1 => sampled().prop_map(Input::Seed),
            1 => sampled().prop_map(Input::Correct),
            9 => transition().prop_map(Input::Transition),
            1 => (0..50_u64, 1..9_u64).prop_map(|(noticed, count)| {
                Input::Lost(Lost { noticed: KtimeNs(noticed), count, at: LostAt::Ring })
            }),
        ]
    }

    #[test]
    fn what_both_observers_missed_is_a_loss_once() {
        let mut table = Table::new(KtimeNs(0), Limits::default());
        assert_eq!(table.missed(0, KtimeNs(1)), None);
        let lost = table.missed(5, KtimeNs(2)).expect("five are missing");
        assert_eq!((lost.count, lost.at), (5, LostAt::Recursion));
        assert_eq!(table.missed(5, KtimeNs(3)), None, "they were reported");
        let recovered = Transition {
            ts: KtimeNs(4),
            key: SocketKey::from_address(1),
            family: Family::V4,
            mptcp: false,
            is_backup: true,
            local: Endpoint::default(),
            remote: Endpoint::default(),
            old: TcpState::Close,
            new: TcpState::SynSent,
            netns: None,
            uid: None,
            error: None,
            task: None,
            thread: None,
        };
        assert!(table.transition(&recovered).is_some());
        assert!(table.transition(&recovered).is_none(), "it is known");
        assert_eq!(table.missed(6, KtimeNs(5)), None, "the sixth was seen by the second observer");
        assert_eq!(table.counters().lost, 5);
    }

    proptest! {
        #[test]
        fn lives_are_neither_lost_nor_invented_and_the_limits_hold(
            inputs in proptest::collection::vec(input(), 0..300),
            max_connections in 1..8_usize,
            max_closed in 0..8_usize,
            started in 0..50_u64,
        ) {
            let mut table = Table::new(KtimeNs(started), Limits { max_connections, max_closed });
            for input in &inputs {
                match input {
                    Input::Lost(lost) => table.lost(lost),
                    Input::TimeWait(event) => table.apply(&Event::TimeWait(*event), &mut |_| ()),
                    Input::Seed(sampled) => table.seed(sampled),
                    Input::Correct(sampled) => table.correct(sampled, &mut |_| ()),
                    Input::Transition(transition) => {
                        let observed = table.transition(transition);
                        // The end of a full socket that was swapped for a time-wait one is none of the connection's.
                        let is_swap = transition.new == TcpState::Close;
                        prop_assert!(observed.is_some() || transition.is_backup || is_swap);
                        if let Some(observed) = observed {
                            prop_assert_eq!(observed.connection.state, transition.new);
                            // Nothing can have lasted longer than the time that there was.
                            prop_assert!(observed.dwell.is_none_or(|dwell| dwell.ns() <= transition.ts.0));
                        }
                        // The same again, by the second observer, changes nothing.
                        let again = Transition { is_backup: true, ..*transition };
                        prop_assert!(table.transition(&again).is_none() || transition.new == TcpState::Close);
                    }
                }
                let counters = table.counters();
                prop_assert_eq!(counters.opened, counters.closed + counters.evicted + table.live().len() as u64);
                prop_assert!(table.len() <= max_connections);
                prop_assert!(table.closed().len() <= max_closed);
                prop_assert!(table.orphans().all(|(_, orphan)| orphan.state == TcpState::FinWait2));
                prop_assert!(table.orphans.iter().all(|key| table.live.contains_key(key)));
                prop_assert!(table.live().all(|(_, connection)| connection.state != TcpState::Close));
                prop_assert!(table.closed().all(|(_, connection)| connection.state == TcpState::Close));
            }
        }

        #[test]
        fn with_nothing_missing_every_stay_is_exact_and_they_add_up(
            stays in proptest::collection::vec(1..1_000_000_u64, 6),
            started in 0..1000_u64,
        ) {
            use TcpState::{Close, Closing, Established, FinWait1, SynRecv, SynSent, TimeWait};
            let life = [Close, SynSent, SynRecv, Established, FinWait1, Closing, TimeWait, Close];
            let mut table = Table::new(KtimeNs(started), Limits::default());
            let mut now = started;
            for (index, pair) in life.windows(2).enumerate() {
                now += index.checked_sub(1).map_or(5, |stay| stays[stay]);
                let transition = Transition {
                    ts: KtimeNs(now),
                    key: SocketKey::from_address(1),
                    family: Family::V6,
                    mptcp: false,
                    is_backup: false,
                    local: Endpoint::default(),
                    remote: Endpoint::default(),
                    old: pair[0],
                    new: pair[1],
                    netns: None,
                    uid: None,
                    error: Some(0),
                    task: None,
                    thread: None,
                };
                table.transition(&transition);
            }
            let (_, connection) = table.closed().next().expect("the life is over");
            let seen: Vec<_> = connection.history().iter().collect();
            let expected: Vec<_> = life[1..7].iter().zip(&stays).map(|(state, ns)| (*state, Some(Dwell::Exact(*ns)))).collect();
            prop_assert_eq!(seen, expected);
            prop_assert!(!connection.is_truncated);
            let counters = table.counters();
            prop_assert_eq!((counters.gaps, counters.illegal, counters.backwards), (0, 0, 0));
        }
    }
}
