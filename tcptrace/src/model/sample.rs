//! What a look at the kernel's tables shows: no transitions, but where a connection is.

use std::num::NonZeroU32;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    connection::{Body, Connection, Origin, Role},
    dwell::Since,
    ending::{self, EndCause},
    event::{Endpoint, Family, KtimeNs, SocketKey, Transition, Tuple},
    observation::Observation,
    state::TcpState,
    table::Table,
};

/// Which of the kernel's structures a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampledKind {
    /// A full socket.
    Full,
    /// A time-wait socket: TIME_WAIT, or an orphan in FIN_WAIT2.
    TimeWait,
    /// A request socket: half-open.
    Request,
}

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
    /// What the kernel holds of it.
    pub kind: SampledKind,
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
            if !self.is_known_socket(socket) {
                let is_accepted =
                    socket.local.port.is_some_and(|port| listening.contains(&(socket.netns, port)));
                // Nothing happened to it since the horizon, or we would know it.
                let since = self.horizon();
                self.insert_sampled(socket, is_accepted.then_some(Role::Server), Origin::Seeded, since);
                self.counters.seeded += 1;
            }
        }
        self.remembers_all_closed = false;
        self.accepted_early = FxHashMap::default();
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
            local: socket.local,
            remote: socket.remote,
            netns: Some(socket.netns),
            uid: socket.uid,
            ..Transition::bare(
                socket.entered.unwrap_or_default(),
                socket.key,
                socket.family,
                (socket.state, socket.state),
            )
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
        if socket.state == TcpState::Listen {
            self.listeners.begin(&connection);
        }
        connection.owner = self.accepted_early.remove(&socket.key);
        match socket.kind {
            SampledKind::Full => {}
            SampledKind::TimeWait => {
                connection.body = Body::Mini;
                self.note_orphan(socket.key, socket.state);
            }
            SampledKind::Request => {
                connection.body = Body::Request;
                connection.role = Some(Role::Server);
                connection.owner = self.listeners.owner_for(&connection, None);
                self.note_request(socket.key, &connection);
            }
        }
        self.insert_live(socket.key, connection, by);
    }

    /// Whether anything is known of a sampled socket. A request is known by its addresses: its cookie may be new.
    pub(super) fn is_known_socket(&self, socket: &Sampled) -> bool {
        self.is_known(socket.key)
            || self.pending.waiting.contains_key(&socket.key)
            || socket.kind == SampledKind::Request && self.request_of(socket).is_some()
    }

    /// The request that is known by the addresses of a sampled one.
    pub(super) fn request_of(&self, socket: &Sampled) -> Option<SocketKey> {
        let tuple = Tuple::new(Some(socket.netns), socket.local, socket.remote)?;
        self.requests.get(&tuple).copied()
    }

    /// Takes in where time-wait sockets are that the table believes to be in FIN_WAIT2 (the peer's FIN can take them to
    /// TIME_WAIT without an event), and whether there is one in place of a socket that has ended, see
    /// [`Self::suspects`]. `asked` are all that were looked for in namespaces that could be read.
    pub fn correct(&mut self, sampled: &[Sampled], asked: &[SocketKey], tell: &mut dyn FnMut(&Observation)) {
        for socket in sampled.iter().filter(|socket| socket.kind == SampledKind::TimeWait) {
            self.swap_unseen(socket.key);
            if socket.state == TcpState::TimeWait
                && let Some(entered) = socket.entered
            {
                self.enter_time_wait(socket.key, entered, tell);
            }
        }
        // Those that were found are no suspects any more. Where each time-wait socket is reported, there was none.
        let cause = if self.sees.minis { EndCause::TwOverflow } else { EndCause::Unknown };
        for key in asked {
            self.acquit(*key, cause, tell);
        }
    }
}
