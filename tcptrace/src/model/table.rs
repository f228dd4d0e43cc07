//! The table of connections: bounded, keyed by socket.

use hashlink::LinkedHashMap;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use super::{
    connection::{Body, Connection, Step},
    counters::Counters,
    dwell::Since,
    event::{Accepted, Event, KtimeNs, Lost, LostAt, SocketKey, Transition},
    half_open::Requests,
    heal::Drift,
    held::HeldSockets,
    listeners::Listeners,
    observation::Observation,
    ordered::Ordered,
    owner::{Owner, OwnerIs, OwnerRef, Owners},
    pending::Pending,
    state::TcpState,
    time_wait::Connecting,
};

/// Insertion-ordered, so that the front is the oldest. Keys are the kernel's counters and addresses, not input
/// of a peer: a fast hash is safe.
type Closed = LinkedHashMap<SocketKey, Connection, FxBuildHasher>;

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

/// What is reported besides the changes of full sockets' states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sees {
    /// Each event of time-wait and request sockets.
    pub minis: bool,
    /// Looks at the kernel's tables again and again, for want of these events.
    pub samples: bool,
    /// Resets that we send.
    pub resets: bool,
    /// Closed sockets that are let go.
    pub destruction: bool,
    /// On demand, single sockets in the kernel's tables: [`Table::suspects`] will be looked up.
    pub tables: bool,
}

/// All connections that are known.
#[derive(Debug)]
pub struct Table {
    /// The front is the one that was idle for longest.
    pub(super) live: Ordered<SocketKey, Connection>,
    pub(super) closed: Closed,
    limits: Limits,
    pub(super) counters: Counters,
    /// A connection that is not in the table has not changed since this moment.
    horizon: KtimeNs,
    /// The last moment at which a loss was noticed.
    lost_until: Option<KtimeNs>,
    /// Transitions that both observers missed.
    missed_for_good: u64,
    /// What is reported.
    pub(super) sees: Sees,
    /// What is not clear yet.
    pub(super) pending: Pending,
    /// Half-open connections.
    pub(super) requests: Requests,
    /// Closed sockets that a descriptor holds.
    pub(super) held: HeldSockets,
    /// Who listens where.
    pub(super) listeners: Listeners,
    /// Processes that own sockets.
    pub(super) owners: Owners,
    /// Who accepted connections that are not known, until they are read: see [`Self::expect_seed`].
    pub(super) accepted_early: FxHashMap<SocketKey, OwnerRef>,
    /// Time-wait sockets believed to be in FIN_WAIT2, which can leave it without an event.
    pub(super) orphans: FxHashSet<SocketKey>,
    /// What the last look at all of the kernel's tables has shown otherwise for the first time, and when it had ended.
    pub(super) doubts: FxHashMap<SocketKey, (Drift, KtimeNs)>,
    /// Time-wait and request sockets that the last [`Self::resample`] did not find, and when they were last seen.
    pub(super) absent_minis: FxHashMap<SocketKey, KtimeNs>,
    /// When the last [`Self::resample`] began to look.
    pub(super) last_look: KtimeNs,
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
            closed: Closed::default(),
            limits,
            counters: Counters::default(),
            horizon: started,
            lost_until: None,
            missed_for_good: 0,
            sees: Sees::default(),
            pending: Pending::default(),
            requests: Requests::default(),
            held: HeldSockets::default(),
            listeners: Listeners::default(),
            owners: Owners::default(),
            accepted_early: FxHashMap::default(),
            connecting: Connecting::default(),
            orphans: FxHashSet::default(),
            doubts: FxHashMap::default(),
            absent_minis: FxHashMap::default(),
            last_look: started,
            remembers_all_closed: false,
        }
    }

    /// What the source reports. Without it, only what the state tracepoint says is made use of.
    pub const fn set_sees(&mut self, sees: Sees) {
        self.sees = sees;
    }

    /// Takes an event in and hands on what it tells: nothing, one transition, or several.
    pub fn apply(&mut self, event: &Event, tell: &mut dyn FnMut(&Observation)) {
        // Between two events, when nothing is on its way that refers to an owner and is in no list yet.
        self.forget_owners();
        self.settle(event.ts(), tell);
        match event {
            Event::Transition(transition) => self.transition(transition, tell),
            Event::TimeWait(time_wait) => self.time_wait(time_wait, tell),
            Event::Request(request) => self.request(request, tell),
            Event::Accepted(accepted) => self.accepted(accepted),
            // It is about no socket.
            Event::Forked(_) => {}
            Event::Destroyed(destroyed) => self.note_let_go(destroyed.key),
            Event::ResetSent(reset) => self.reset_sent(reset, tell),
            Event::ResetReceived(reset) => self.reset_received(reset),
        }
    }

    /// A full socket changed its state.
    fn transition(&mut self, transition: &Transition, tell: &mut dyn FnMut(&Observation)) {
        let Transition { key, old, new, .. } = *transition;
        if transition.is_backup {
            if self.is_told(transition) {
                return;
            }
            self.counters.recovered += 1;
        }
        self.connecting.note(transition);
        if new == TcpState::Close
            && let Some(connection) = self.live.get_mut(&key)
            && matches!(connection.body, Body::Swapping | Body::Mini)
        {
            // The kernel merely swapped the socket for a time-wait one (`tcp_time_wait`).
            connection.body = Body::Mini;
            let connection = *connection;
            self.counters.swaps += 1;
            self.note_closed(transition, &connection);
            return;
        }
        self.counters.illegal += u64::from(!old.leads_to(new));
        if (old, new) == (TcpState::Listen, TcpState::SynRecv) {
            return self.child(transition, tell);
        }
        self.first_change(transition, tell);
        self.clear_up(key, tell);
        if old.begins_life(new) {
            self.note_let_go(key);
        }
        if new == TcpState::Close {
            let connection = self.live.get(&key).copied();
            self.note_end(transition, tell);
            // As it is now, or, while its end is not clear, as it was.
            if let Some(connection) = self.closed.get(&key).copied().or(connection) {
                self.note_closed(transition, &connection);
            }
        } else {
            let observed = self.step(transition);
            tell(&observed);
        }
    }

    /// Whether the second observer reports what is known. A socket does not enter the state that it is in.
    fn is_told(&self, transition: &Transition) -> bool {
        let key = transition.key;
        let pending = &self.pending;
        let mut waiting = [&pending.births, &pending.waiting, &pending.suspects].into_iter();
        if let Some(waiting) = waiting.find_map(|queue| queue.get(&key)) {
            return waiting.new == transition.new;
        }
        self.live.get(&key).or_else(|| self.closed.get(&key)).is_some_and(|known| {
            match known.body {
                // Its child has the same cookie.
                Body::Request => false,
                // A full socket in CLOSE, for which a time-wait socket stands.
                Body::Mini if transition.new == TcpState::Close => true,
                _ => known.state == transition.new,
            }
        })
    }

    /// Makes a connection take its next step.
    pub(super) fn step(&mut self, transition: &Transition) -> Observation {
        let Transition { key, old, new, .. } = *transition;
        self.counters.transitions += 1;
        let begins = old.begins_life(new);
        let owner = transition.task.map(|task| self.owners.refer(Owner { task, is: OwnerIs::Caller }));
        let known = if begins { None } else { self.live.renew(&key) };
        let mut request = None;
        let (step, connection, before) = if let Some(connection) = known {
            let before = connection.state;
            if connection.body == Body::Request {
                // Whatever follows, it is no request socket any more.
                request = Some(*connection);
                connection.body = Body::Full;
            }
            self.counters.gaps += u64::from(connection.state != old);
            if let Some(lost) = self.lost_until
                && lost >= connection.since_ns()
                && (connection.state != old || is_reentered(old))
            {
                // Whatever happened unseen was over when the loss was noticed: since then it is in `old`.
                connection.resume(old, Some(lost).filter(|lost| *lost <= transition.ts));
            }
            (connection.step(transition, owner), *connection, Some(before))
        } else {
            let (step, connection, before) = self.begin(transition, begins, owner);
            self.live.insert(key, connection);
            (step, connection, before)
        };
        if let Some(request) = request {
            self.forget_request(key, &request);
        }
        match (old, new) {
            (_, TcpState::Listen) => {
                self.listeners.begin(&connection);
                if let Some(owner) = connection.owner {
                    self.listeners.note_socket(transition.address, owner);
                }
            }
            (TcpState::Listen, TcpState::Close) => {
                self.listeners.end(&connection);
                self.listeners.forget_socket(transition.address);
            }
            _ => {}
        }
        self.counters.backwards += u64::from(step.is_backwards);
        if connection.state != TcpState::FinWait2 && !self.orphans.is_empty() {
            self.orphans.remove(&key);
        }
        if connection.state == TcpState::Close {
            self.live.remove(&key);
            self.insert_closed(key, connection);
        }
        self.make_room(transition.ts);
        let owner = self.owner_of(&connection);
        let (transition, dwell) = (*transition, step.dwell);
        Observation { transition, connection, before, dwell, owner, reset_reason: None }
    }

    /// Begins a life: at its birth, or in the middle when the birth was not seen. With the state of one that was alive under
    /// its key.
    fn begin(
        &mut self,
        transition: &Transition,
        is_birth: bool,
        owner: Option<OwnerRef>,
    ) -> (Step, Connection, Option<TcpState>) {
        self.counters.opened += 1;
        let before = self.live.remove(&transition.key);
        if let Some(before) = &before {
            self.forget_request(transition.key, before);
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
        if transition.old == TcpState::Listen || transition.old == TcpState::SynRecv {
            connection.owner = self.listeners.owner_for(&connection, transition.listener);
        }
        (connection.step(transition, owner), connection, before.map(|before| before.state))
    }

    /// Since when a connection that is not in the table is in the state that it leaves at `ts`: nothing happened to it
    /// since the horizon, or we would know it.
    pub(super) fn known_since(&self, ts: KtimeNs) -> (Since, KtimeNs) {
        if ts > self.horizon { (Since::AtLeast, self.horizon) } else { (Since::Unknown, KtimeNs(0)) }
    }

    /// More is known of the end of a connection that has just closed.
    pub(super) fn rewrite_end(&mut self, key: SocketKey, ended: &Connection) {
        if let Some(connection) = self.closed.get_mut(&key) {
            *connection = *ended;
        }
    }

    /// Another life begins under this key.
    pub(super) fn forget_closed(&mut self, key: SocketKey) {
        self.closed.remove(&key);
    }

    /// Whether a listener has the local port of a connection; `None` when none was ever known.
    pub(super) fn is_listening(&self, connection: &Connection) -> Option<bool> {
        self.listeners.is_listening(connection)
    }

    /// A connection was accepted.
    fn accepted(&mut self, event: &Accepted) {
        let owner = self.owners.refer(Owner { task: event.task, is: OwnerIs::Caller });
        let mut is_known = false;
        // It may have ended before.
        let held = self.held.get_mut(&event.key).map(|held| &mut held.connection);
        for connection in
            [self.live.get_mut(&event.key), self.closed.get_mut(&event.key), held].into_iter().flatten()
        {
            connection.owner = Some(owner);
            is_known = true;
        }
        if !is_known && self.remembers_all_closed {
            self.accepted_early.insert(event.key, owner);
        }
    }

    /// All connections that are remembered in any way.
    pub(super) fn connections(&self) -> impl Iterator<Item = &Connection> {
        let held = self.held.values().map(|held| &held.connection);
        self.live.values().chain(self.closed.values()).chain(held)
    }

    /// How many connections there may be.
    pub(super) const fn max_connections(&self) -> usize {
        self.limits.max_connections
    }

    /// A connection that is not in the table has not changed since this moment.
    pub(super) const fn horizon(&self) -> KtimeNs {
        self.horizon
    }

    /// Of a connection that is not in the table, nothing is known before this moment.
    pub(super) fn forget_before(&mut self, moment: KtimeNs) {
        self.horizon = self.horizon.max(moment);
    }

    /// Whether anything is known of this socket, open or closed.
    pub(super) fn is_known(&self, key: SocketKey) -> bool {
        self.live.contains_key(&key) || self.closed.contains_key(&key)
    }

    /// Adds a connection that no event has told of.
    pub(super) fn insert_live(&mut self, key: SocketKey, connection: Connection, now: KtimeNs) {
        self.counters.opened += 1;
        self.live.insert(key, connection);
        self.make_room(now);
    }

    /// A connection was asked for, and what may become of it is not.
    pub fn let_go(&mut self, key: SocketKey) {
        if self.remove_live(key) {
            self.counters.let_go += 1;
            self.note_let_go(key);
        }
    }

    fn remove_live(&mut self, key: SocketKey) -> bool {
        let Some(connection) = self.live.remove(&key) else { return false };
        self.forget_request(key, &connection);
        self.orphans.remove(&key);
        self.pending.forget(key);
        true
    }

    /// A connection is not asked for, nor what may become of it: as if it had never been told of.
    pub fn forget(&mut self, key: SocketKey) {
        if self.remove_live(key) {
            self.counters.opened -= 1;
        } else if self.closed.remove(&key).is_some() {
            self.counters.closed -= 1;
            self.counters.opened -= 1;
        }
        self.note_let_go(key);
    }

    /// Remembers a connection that has ended.
    pub(super) fn insert_closed(&mut self, key: SocketKey, connection: Connection) {
        self.counters.closed += 1;
        self.closed.insert(key, connection);
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
            if let Some((key, connection)) = self.live.pop_front() {
                self.orphans.remove(&key);
                self.forget_request(key, &connection);
                self.pending.forget(key);
            }
            self.counters.evicted += 1;
            // Should it show up again, all we know is that nothing happened to it since now.
            self.forget_before(now);
        }
    }

    /// Records were lost: what is not in the table is known only from here on.
    pub fn lost(&mut self, lost: &Lost) {
        self.counters.lost += lost.count;
        self.horizon = self.horizon.max(lost.noticed);
        self.lost_until = self.lost_until.max(Some(lost.noticed));
        self.doubt_held();
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

    /// Connections that are alive, in no order.
    pub fn live(&self) -> impl ExactSizeIterator<Item = (&SocketKey, &Connection)> {
        self.live.iter()
    }

    /// Those in so many places from `start` on, and where to go on, if there are more. What stays alive from one part to the next
    /// is in one of them.
    pub fn live_part(
        &self,
        start: usize,
        places: usize,
    ) -> (impl Iterator<Item = (&SocketKey, &Connection)>, Option<usize>) {
        self.live.part(start, places)
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
mod tests;
