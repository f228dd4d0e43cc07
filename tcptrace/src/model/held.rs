//! Closed but held: a socket that is in CLOSE, or whose connection has gone on as a time-wait socket, while a descriptor
//! still holds it. No socket table of the kernel lists it any more.

use hashlink::LinkedHashMap;
use rustc_hash::FxBuildHasher;

use super::{
    connection::Connection,
    event::{KtimeNs, SocketKey, Transition},
    observation::Observation,
    owner::Owner,
    state::TcpState,
    table::Table,
};

/// A socket that was closed by the kernel and not by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its last connection.
    pub connection: Connection,
    /// When the socket entered CLOSE.
    pub since: KtimeNs,
    /// Records were lost since: it may have been let go.
    pub is_doubtful: bool,
}

impl Held {
    /// As a transition from CLOSE to CLOSE.
    pub fn observation(&self, key: SocketKey, owner: Option<Owner>) -> Observation {
        let observed = Observation::of_state(key, &self.connection, owner);
        let transition =
            Transition { ts: self.since, old: TcpState::Close, new: TcpState::Close, ..observed.transition };
        Observation { transition, ..observed }
    }
}

/// Those that are held, the oldest first.
pub(super) type HeldSockets = LinkedHashMap<SocketKey, Held, FxBuildHasher>;

impl Table {
    /// The full socket is in CLOSE. `connection` is what it stood for.
    pub(super) fn note_closed(&mut self, transition: &Transition, connection: &Connection) {
        // `tcp_destroy_sock` is not for MPTCP-level sockets.
        if self.sees.destruction && !transition.is_orphan && !transition.mptcp {
            let held = Held { connection: *connection, since: transition.ts, is_doubtful: false };
            self.held.insert(transition.key, held);
            if self.held.len() > self.max_connections() {
                self.held.pop_front();
                self.counters.held_forgotten += 1;
            }
        }
    }

    /// A socket is destroyed, or begins a new life.
    pub(super) fn note_let_go(&mut self, key: SocketKey) {
        if !self.held.is_empty() {
            self.held.remove(&key);
        }
    }

    /// Records were lost: any of them may have been let go.
    pub(super) fn doubt_held(&mut self) {
        for (_, held) in &mut self.held {
            held.is_doubtful = true;
        }
    }

    /// Sockets that are closed while a descriptor holds them, the oldest first. Empty where the kernel half cannot see when
    /// they are let go, and without those that were closed before tracing began.
    pub fn held(&self) -> impl ExactSizeIterator<Item = (&SocketKey, &Held)> {
        self.held.iter()
    }
}
