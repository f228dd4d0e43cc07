//! What a look at the kernel's tables shows: no transitions, but where a connection is.

use std::num::NonZeroU32;

use rustc_hash::FxHashSet;

use super::{
    connection::{Body, Connection, Origin, Role},
    dwell::Since,
    ending,
    event::{Endpoint, Family, KtimeNs, SocketKey, Transition},
    state::TcpState,
    table::{Observation, Table},
};

/// A socket that was seen in a state at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// Which socket.
    pub key: SocketKey,
    /// Its address family.
    pub family: Family,
    /// Our side.
    pub local: Endpoint,
    /// The peer's side.
    pub remote: Endpoint,
    /// The state it was in.
    pub state: TcpState,
    /// It is a time-wait socket and no full one.
    pub is_time_wait: bool,
    /// Inode of the network namespace.
    pub netns: NonZeroU32,
    /// `sk_uid`, of a full socket.
    pub uid: Option<u32>,
    /// When it entered the state, to one tick of the kernel's timer, where its timer tells.
    pub entered: Option<KtimeNs>,
}

impl Table {
    /// From now on until [`Self::seed`] every closed connection is remembered, so that one that closes after it was
    /// sampled is not taken for an open one.
    pub fn expect_seed(&mut self) {
        self.remembers_all_closed = true;
    }

    /// Takes in what was open before. Every event that the kernel made up to the sampling must have been applied: then
    /// whatever the table knows is as new as the sample or newer, and the sample tells only what it does not know.
    pub fn seed(&mut self, sampled: &[Sampled]) {
        let listening: FxHashSet<_> = sampled
            .iter()
            .filter(|socket| socket.state == TcpState::Listen)
            .filter_map(|socket| Some((socket.netns, socket.local.port?)))
            .collect();
        for socket in sampled {
            if !self.is_known(socket.key) {
                let is_accepted =
                    socket.local.port.is_some_and(|port| listening.contains(&(socket.netns, port)));
                // Nothing happened to it since the horizon, or we would know it.
                let since = self.horizon();
                self.insert_sampled(socket, is_accepted.then_some(Role::Server), Origin::Seeded, since);
                self.counters.seeded += 1;
            }
        }
        self.remembers_all_closed = false;
    }

    /// Adds a connection that was in its state by `by` at the latest.
    pub(super) fn insert_sampled(
        &mut self,
        socket: &Sampled,
        role: Option<Role>,
        origin: Origin,
        by: KtimeNs,
    ) {
        let first = Transition {
            ts: socket.entered.unwrap_or_default(),
            key: socket.key,
            family: socket.family,
            mptcp: false,
            is_backup: false,
            local: socket.local,
            remote: socket.remote,
            old: socket.state,
            new: socket.state,
            netns: Some(socket.netns),
            uid: socket.uid,
            error: None,
            task: None,
            thread: None,
        };
        let (since, since_ns) = match socket.entered {
            Some(entered) => (Since::Jiffy, entered),
            None => (Since::AtLeast, by),
        };
        let mut connection = Connection::begin(&first, since, since_ns);
        connection.origin = origin;
        connection.role = if socket.state == TcpState::SynSent { Some(Role::Client) } else { role };
        connection.closed_by = ending::closed_by(&first);
        connection.set_uid(socket.uid);
        if socket.is_time_wait {
            connection.body = Body::Mini;
            self.note_orphan(socket.key, socket.state);
        }
        self.insert_live(socket.key, connection, by);
    }

    /// Takes in where time-wait sockets are that the table believes to be in FIN_WAIT2: the peer's FIN can take them to
    /// TIME_WAIT without an event.
    pub fn correct(&mut self, sampled: &[Sampled], tell: &mut dyn FnMut(&Observation)) {
        for socket in sampled {
            if socket.is_time_wait
                && socket.state == TcpState::TimeWait
                && let Some(entered) = socket.entered
            {
                self.enter_time_wait(socket.key, entered, tell);
            }
        }
    }
}
