//! Without events of time-wait and request sockets: their life as far as looks at the kernel's tables show it.

use rustc_hash::FxHashSet;

use super::{
    connection::{Body, Connection, Origin},
    ending::EndCause,
    event::{KtimeNs, SocketKey},
    heal::Look,
    observation::Observation,
    sample::SampledKind,
    state::TcpState,
    table::Table,
    time_wait::synthetic,
};

/// `TCP_TIMEWAIT_LEN` (include/net/tcp.h).
const TIME_WAIT_NS: u64 = 60_000_000_000;

impl Table {
    /// Takes in a look at all time-wait and request sockets. Every event that the kernel made up to `look.ended` must have
    /// been applied.
    ///
    /// One that is missing in two looks in a row has ended, at the last moment at which it was seen or later: its time is
    /// a lower bound. (A single look can overlook a socket, see [`Self::heal`].)
    pub fn resample(&mut self, look: &Look<'_>, tell: &mut dyn FnMut(&Observation)) {
        let mut present = FxHashSet::default();
        for socket in look.sampled {
            match socket.kind {
                SampledKind::Full => continue,
                SampledKind::TimeWait => {
                    present.insert(socket.key);
                    self.swap_unseen(socket.key);
                }
                SampledKind::Request => {
                    present.insert(self.request_of(socket).unwrap_or(socket.key));
                }
            }
            if !self.is_known_socket(socket) {
                self.insert_sampled(socket, None, Origin::Inferred, look.ended);
            } else if socket.state == TcpState::TimeWait
                && let Some(entered) = socket.entered
            {
                self.enter_time_wait(socket.key, entered, tell);
            }
        }
        let absent = self.live.iter().filter(|(key, connection)| {
            matches!(connection.body, Body::Mini | Body::Request)
                && !present.contains(key)
                && connection.since_ns() < look.started
                && connection.netns.is_some_and(|netns| look.namespaces.contains(&netns))
        });
        // The oldest are told first.
        let mut absent: Vec<(KtimeNs, SocketKey)> =
            absent.map(|(key, connection)| (connection.since_ns(), *key)).collect();
        absent.sort_unstable();
        let suspects = self
            .pending
            .suspects
            .iter()
            .filter_map(|(key, end)| (end.ts < look.started && !present.contains(key)).then_some(*key));
        let absent: Vec<SocketKey> = absent.into_iter().map(|(_, key)| key).chain(suspects).collect();
        let absent_before = std::mem::take(&mut self.absent_minis);
        for key in absent {
            match absent_before.get(&key) {
                // There is no time-wait socket in its place; or it has ended already.
                Some(_) if self.pending.suspects.contains_key(&key) => {
                    self.acquit(key, EndCause::Unknown, tell);
                }
                Some(last_seen) => self.end_unseen(key, *last_seen, look.ended, tell),
                // The look before has seen it, or it is younger.
                None => {
                    self.absent_minis.insert(key, self.last_look);
                }
            }
        }
        self.last_look = look.started;
    }

    fn end_unseen(
        &mut self,
        key: SocketKey,
        last_seen: KtimeNs,
        now: KtimeNs,
        tell: &mut dyn FnMut(&Observation),
    ) {
        let Some(connection) = self.live.get_mut(&key) else { return };
        let entered = connection.since_ns();
        let is_expired = connection.state == TcpState::TimeWait
            && now.since(entered).is_some_and(|elapsed| elapsed >= TIME_WAIT_NS);
        connection.entered_at_the_latest();
        let connection: Connection = *connection;
        self.forget_request(key, &connection);
        let end = synthetic(&connection, key, last_seen.max(entered), TcpState::Close);
        let mut observed = self.step(&end);
        observed.connection.end_cause =
            Some(if is_expired { EndCause::TwExpired } else { EndCause::Unknown });
        self.rewrite_end(key, &observed.connection);
        tell(&observed);
    }
}
