//! After a loss: the table is held against the kernel's own.

use std::{fmt, num::NonZeroU32};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    connection::{Body, Origin},
    event::{KtimeNs, SocketKey},
    sample::{Sampled, SampledKind},
    state::TcpState,
    table::Table,
};

/// A look at all sockets of some network namespaces.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// What was there.
    pub sampled: &'a [Sampled],
    /// The namespaces that were read to the end.
    pub namespaces: &'a [NonZeroU32],
    /// All namespaces were read that a process is in. One that is not among them is gone, or only a descriptor or a mount
    /// elsewhere holds it.
    pub is_complete: bool,
    /// Before anything was read.
    pub started: KtimeNs,
    /// After everything was read.
    pub ended: KtimeNs,
}

/// A connection that the table and the kernel's own tables disagree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Which socket.
    pub key: SocketKey,
    /// The state that it had for the table, and since when; `None` when the table did not know it.
    pub believed: Option<(TcpState, KtimeNs)>,
    /// The state that it has for the kernel; `None` when it is gone.
    pub found: Option<TcpState>,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.cookie() {
            Some(cookie) => write!(f, "socket {cookie}: ")?,
            None => write!(f, "a socket without a cookie: ")?,
        }
        match self.believed {
            Some((state, _)) => write!(f, "{} in the table", state.name())?,
            None => write!(f, "not in the table")?,
        }
        write!(f, ", {} in the kernel", self.found.map_or("gone", TcpState::name))
    }
}

impl Table {
    /// Corrects what events that were lost have left wrong. Every event that the kernel made up to `look.ended` and that
    /// was not lost should have been applied; connections with events since `look.started` are left alone.
    ///
    /// Only what two looks in a row show alike is wrong. A single one can overlook a socket whose neighbour in the hash
    /// table goes just then (`inet_diag_dump_icsk`); and where a processor is taken away between the report of a state
    /// and its store (`inet_sk_state_store`), or while it writes a record, behind which the ring seems to be empty,
    /// either side is behind the other for that long. Returns what was put right.
    ///
    /// Connections of a namespace that is not there any more are gone, too. Where it was only hidden, their next events tell
    /// of them again.
    pub fn heal(&mut self, look: &Look<'_>) -> Vec<Drift> {
        let mut present = FxHashSet::default();
        let mut doubts = FxHashMap::default();
        let mut drifts = Vec::new();
        for socket in look.sampled {
            present.insert(socket.key);
            if socket.kind == SampledKind::Request {
                present.extend(self.request_of(socket));
            }
            let believed = if !self.is_known_socket(socket) {
                None
            } else if let Some(connection) = self.live.get(&socket.key)
                && connection.state != socket.state
                && connection.since_ns() < look.started
                && !self.pending.is_waiting(socket.key)
            {
                Some((connection.state, connection.since_ns()))
            } else {
                continue;
            };
            let drift = Drift { key: socket.key, believed, found: Some(socket.state) };
            if let Some((_, by)) = self.doubts.get(&socket.key).filter(|(doubt, _)| *doubt == drift) {
                self.mend(socket, *by);
                drifts.push(drift);
            } else {
                doubts.insert(socket.key, (drift, look.ended));
            }
        }
        let namespaces: FxHashSet<NonZeroU32> = look.namespaces.iter().copied().collect();
        let absent = self.live.iter().filter(|(key, connection)| {
            !present.contains(key)
                && !self.pending.is_waiting(**key)
                && connection.since_ns() < look.started
                && connection.netns.is_some_and(|netns| look.is_complete || namespaces.contains(&netns))
        });
        for (key, connection) in absent {
            let believed = Some((connection.state, connection.since_ns()));
            doubts.insert(*key, (Drift { key: *key, believed, found: None }, look.ended));
        }
        let is_confirmed =
            |doubt: &Drift| self.doubts.get(&doubt.key).is_some_and(|(before, _)| before == doubt);
        let gone: Vec<Drift> = doubts
            .values()
            .map(|(doubt, _)| *doubt)
            .filter(|doubt| doubt.found.is_none() && is_confirmed(doubt))
            .collect();
        for drift in gone {
            doubts.remove(&drift.key);
            self.bury(drift.key);
            drifts.push(drift);
        }
        self.doubts = doubts;
        self.counters.corrected += drifts.len() as u64;
        self.make_room(look.ended);
        drifts
    }

    /// It is where the kernel says.
    fn mend(&mut self, socket: &Sampled, by: KtimeNs) {
        let Some(connection) = self.live.get_mut(&socket.key) else {
            self.insert_sampled(socket, None, Origin::Inferred, by);
            return;
        };
        let before = *connection;
        connection.resume(socket.state, Some(by));
        connection.body = match socket.kind {
            SampledKind::Full => Body::Full,
            SampledKind::TimeWait => Body::Mini,
            SampledKind::Request => before.body,
        };
        self.orphans.remove(&socket.key);
        if socket.kind == SampledKind::TimeWait {
            self.note_orphan(socket.key, socket.state);
        }
        if socket.kind != SampledKind::Request {
            self.forget_request(socket.key, &before);
        }
    }

    /// It is gone.
    fn bury(&mut self, key: SocketKey) {
        let Some(mut connection) = self.live.remove(&key) else { return };
        self.forget_request(key, &connection);
        connection.resume(TcpState::Close, None);
        connection.end_cause = Some(super::EndCause::Unknown);
        self.orphans.remove(&key);
        self.insert_closed(key, connection);
    }
}
