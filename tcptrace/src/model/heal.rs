//! After a loss: the table is held against the kernel's own.

use std::num::NonZeroU32;

use rustc_hash::FxHashSet;

use super::{
    connection::{Body, Origin},
    event::KtimeNs,
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
    /// Before anything was read.
    pub started: KtimeNs,
    /// After everything was read.
    pub ended: KtimeNs,
}

impl Table {
    /// Corrects what events that were lost have left wrong. Every event that the kernel made up to `look.ended` and that
    /// was not lost must have been applied; connections with events since `look.started` are left alone.
    ///
    /// A connection that is not there any more is closed when a second look in a row misses it too: a single one can
    /// overlook a socket whose neighbour in the hash table goes just then (`inet_diag_dump_icsk`). Returns how many
    /// connections were put right.
    pub fn heal(&mut self, look: &Look<'_>) -> u64 {
        let mut drift = 0;
        let mut present = FxHashSet::default();
        for socket in look.sampled {
            present.insert(socket.key);
            if socket.kind == SampledKind::Request {
                present.extend(self.request_of(socket));
            }
            if !self.is_known_socket(socket) {
                self.insert_sampled(socket, None, Origin::Inferred, look.ended);
                drift += 1;
            } else if let Some(connection) = self.live.get_mut(&socket.key)
                && connection.state != socket.state
                && connection.since_ns() < look.started
                && !self.pending.is_waiting(socket.key)
            {
                let before = *connection;
                connection.resume(socket.state, Some(look.ended));
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
                drift += 1;
            }
        }
        let namespaces: FxHashSet<NonZeroU32> = look.namespaces.iter().copied().collect();
        let absent: FxHashSet<_> = self
            .live
            .iter()
            .filter(|(key, connection)| {
                !present.contains(key)
                    && !self.pending.is_waiting(**key)
                    && connection.since_ns() < look.started
                    && connection.netns.is_some_and(|netns| namespaces.contains(&netns))
            })
            .map(|(key, _)| *key)
            .collect();
        for key in absent.intersection(&self.absent).copied().collect::<Vec<_>>() {
            if let Some(mut connection) = self.live.remove(&key) {
                self.forget_request(key, &connection);
                connection.resume(TcpState::Close, None);
                connection.end_cause = Some(super::EndCause::Unknown);
                self.orphans.remove(&key);
                self.insert_closed(key, connection);
                drift += 1;
            }
        }
        self.absent = absent;
        self.counters.corrected += drift;
        self.make_room(look.ended);
        drift
    }
}
