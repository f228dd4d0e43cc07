//! FIN_WAIT2 of orphans and TIME_WAIT: the part of a life that a time-wait socket stands for.

use std::collections::VecDeque;

use super::{
    connection::{Body, Connection},
    dwell::Since,
    ending::{self, EndCause},
    event::{Endpoint, KtimeNs, SocketKey, ThreadId, TimeWait, TimerAction, Transition},
    observation::Observation,
    pending::Ending,
    state::TcpState,
    table::Table,
};

/// How long a `connect` may take from SYN_SENT to the choice of a port (`__inet_hash_connect`), preempted or not.
const CONNECT_NS: u64 = 100_000_000;

/// A connection that begins: which thread, to where.
#[derive(Clone, Copy, Debug)]
struct Begun {
    ts: KtimeNs,
    thread: ThreadId,
    remote: Endpoint,
}

/// Threads that have just begun to connect. Only the latest are of interest: the time-wait socket whose port a
/// `connect` takes is taken away within the system call.
#[derive(Debug, Default)]
pub(super) struct Connecting(VecDeque<Begun>);

impl Connecting {
    const LATEST: usize = 256;

    pub(super) fn note(&mut self, transition: &Transition) {
        if let (TcpState::Close, TcpState::SynSent, Some(thread)) =
            (transition.old, transition.new, transition.thread)
        {
            self.0.retain(|begun| begun.thread != thread);
            if self.0.len() == Self::LATEST {
                self.0.pop_front();
            }
            self.0.push_back(Begun { ts: transition.ts, thread, remote: transition.remote });
        }
    }

    /// Whether this thread was about to connect to the peer of the time-wait socket that lost its timer.
    fn took_the_place_of(&self, ending: &TimeWait) -> bool {
        self.0.iter().any(|begun| {
            begun.thread == ending.thread
                && begun.remote == ending.remote
                && ending.ts.since(begun.ts).is_some_and(|elapsed| elapsed < CONNECT_NS)
        })
    }
}

/// A time-wait socket whose timer was taken off.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeWaitEnding {
    pub(super) event: TimeWait,
}

impl Table {
    /// Something happened to a time-wait socket.
    pub(super) fn time_wait(&mut self, event: &TimeWait, tell: &mut dyn FnMut(&Observation)) {
        self.swap_unseen(event.key);
        if self.live.get(&event.key).is_none() {
            self.adopt(event);
        }
        match event.action {
            TimerAction::Start => {
                self.pending.endings.remove(&event.key);
                let Some(connection) = self.live.get_mut(&event.key) else { return };
                let state = connection.state;
                if connection.body == Body::Full {
                    connection.body = Body::Swapping;
                    self.note_orphan(event.key, event.state);
                }
                if state != event.state
                    && let Some(connection) = self.live.get(&event.key)
                {
                    let step = synthetic(connection, event.key, event.ts, event.state);
                    tell(&self.step(&step));
                }
            }
            TimerAction::Cancel => {
                // Last, so that the queue is in the order of time.
                self.pending.endings.remove(&event.key);
                self.pending.endings.insert(event.key, Ending::TimeWait(TimeWaitEnding { event: *event }));
            }
            TimerAction::Expire => {
                self.pending.endings.remove(&event.key);
                self.end_time_wait(event, EndCause::TwExpired, tell);
            }
        }
    }

    /// A time-wait socket shows up whose full socket seemed to have ended: it was swapped, and that was not reported.
    pub(super) fn swap_unseen(&mut self, key: SocketKey) {
        let ended = match self.pending.suspects.remove(&key) {
            Some(transition) => Some(transition),
            None => match self.pending.waiting.get(&key) {
                Some(transition) if ending::may_be_a_swap(transition) => {
                    let transition = *transition;
                    self.pending.waiting.remove(&key);
                    Some(transition)
                }
                _ => None,
            },
        };
        if ended.is_some()
            && let Some(connection) = self.live.get_mut(&key)
        {
            let before = *connection;
            connection.body = Body::Mini;
            self.forget_request(key, &before);
            self.counters.swaps += 1;
            self.note_orphan(key, before.state);
        }
    }

    /// Nothing has followed: it is gone.
    pub(super) fn settle_time_wait(&mut self, ending: &TimeWaitEnding, tell: &mut dyn FnMut(&Observation)) {
        let is_reused = self.connecting.took_the_place_of(&ending.event);
        self.end_time_wait(
            &ending.event,
            if is_reused { EndCause::TwReused } else { EndCause::TwKilled },
            tell,
        );
    }

    /// Whether something is waiting for [`Self::settle`].
    pub fn is_unsettled(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn end_time_wait(
        &mut self,
        event: &TimeWait,
        cause: EndCause,
        tell: &mut dyn FnMut(&Observation),
    ) {
        if event.state == TcpState::TimeWait
            && let Some(entered) = event.entered
        {
            self.enter_time_wait(event.key, entered.min(event.ts), tell);
        }
        let Some(connection) = self.live.get(&event.key) else { return };
        let step = synthetic(connection, event.key, event.ts, TcpState::Close);
        let mut observed = self.step(&step);
        observed.connection.end_cause = Some(cause);
        self.rewrite_end(event.key, &observed.connection);
        tell(&observed);
    }

    /// The peer's FIN re-armed the timer within its wheel bucket, which is not reported; the kernel noted when.
    pub(super) fn enter_time_wait(
        &mut self,
        key: SocketKey,
        entered: KtimeNs,
        tell: &mut dyn FnMut(&Observation),
    ) {
        let Some(connection) = self.live.get(&key) else { return };
        if connection.body != Body::Mini && connection.body != Body::Swapping
            || connection.state != TcpState::FinWait2
        {
            return;
        }
        let entered = entered.max(connection.since_ns());
        let mut observed = self.step(&synthetic(connection, key, entered, TcpState::TimeWait));
        observed.dwell = observed.dwell.map(super::Dwell::to_a_jiffy);
        if let Some(connection) = self.live.get_mut(&key) {
            connection.entered_to_a_jiffy();
        }
        tell(&observed);
    }

    /// Remembers a time-wait socket in FIN_WAIT2.
    pub(super) fn note_orphan(&mut self, key: SocketKey, state: TcpState) {
        if state == TcpState::FinWait2 {
            self.orphans.insert(key);
        }
    }

    /// Connections that can go from FIN_WAIT2 to TIME_WAIT without an event, for [`Self::correct`].
    pub fn orphans(&self) -> impl Iterator<Item = (SocketKey, Connection)> {
        self.orphans.iter().filter_map(|key| Some((*key, *self.live.get(key)?)))
    }

    /// A time-wait socket that we have never heard of: older than tracing, or its events were lost.
    fn adopt(&mut self, event: &TimeWait) {
        let first = Transition {
            local: event.local,
            remote: event.remote,
            netns: event.netns,
            ..Transition::bare(event.ts, event.key, event.family, (event.state, event.state))
        };
        let (since, since_ns) = match event.entered {
            Some(entered) => (Since::Jiffy, entered),
            None => self.known_since(event.ts),
        };
        let mut connection = Connection::begin(&first, since, since_ns);
        // A new one stands for a full socket whose end has yet to be reported.
        connection.body = if event.action == TimerAction::Start { Body::Swapping } else { Body::Mini };
        // Only the side that closes first gets here.
        connection.closed_by = super::ending::closed_by(&first);
        self.counters.opened += 1;
        self.live.insert(event.key, connection);
        self.make_room(event.ts);
    }
}

/// The step of a connection that no tracepoint reports.
pub(super) fn synthetic(connection: &Connection, key: SocketKey, ts: KtimeNs, new: TcpState) -> Transition {
    Transition {
        mptcp: connection.mptcp,
        local: connection.local,
        remote: connection.remote,
        netns: connection.netns,
        uid: connection.uid(),
        ..Transition::bare(ts, key, connection.family, (connection.state, new))
    }
}
