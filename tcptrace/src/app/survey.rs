//! Looks at the kernel's socket tables beside tracing: what was open before the start, and where orphans are.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
};

use tokio::sync::mpsc::{Receiver, channel};

use crate::{
    model::{Connection, Family, KtimeNs, Look, Sampled, SocketKey},
    source::diag::{DiagReply, DiagRequest, DiagWorker, Lookup, Scope, StateMask},
};

/// Orphans looked up at once, at most: about 2 ms of work for the kernel.
const LOOKUPS: usize = 2_000;

/// The request that reads everything.
const SEED: u64 = 0;
/// A request that looks orphans up.
const CORRECT: u64 = 1;

/// A request that reads everything again, after a loss.
const HEAL: u64 = 2;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All sockets of the host, at the start.
    Seed,
    /// All sockets of the host, after a loss.
    Heal,
    /// Orphans.
    Correct,
}

/// What a look has shown.
pub(super) struct Shown {
    pub(super) asked: Asked,
    pub(super) sampled: Vec<Sampled>,
    pub(super) namespaces: Vec<NonZeroU32>,
    pub(super) started: KtimeNs,
    pub(super) ended: KtimeNs,
}

impl Shown {
    /// As the model wants it.
    pub(super) fn look(&self) -> Look<'_> {
        Look {
            sampled: &self.sampled,
            namespaces: &self.namespaces,
            started: self.started,
            ended: self.ended,
        }
    }
}

/// The way to the thread that looks.
pub(super) struct Survey {
    worker: Option<DiagWorker>,
    replies: Receiver<DiagReply>,
}

impl Survey {
    /// Starts the thread; before the process gives up its capabilities, which the thread needs for other namespaces.
    pub(super) fn start() -> Self {
        let (sender, replies) = channel(4);
        // When nobody waits for replies any more, we are about to end.
        let worker = DiagWorker::start(Box::new(move |reply| drop(sender.blocking_send(reply))));
        let worker = worker.map_err(|error| tracing::warn!("open connections cannot be read: {error}")).ok();
        Self { worker, replies }
    }

    /// Asks for all sockets at the start. Returns whether there will be an answer.
    pub(super) fn ask_for_seed(&self) -> bool {
        self.ask_for_all(SEED)
    }

    /// Asks for all sockets after a loss. Returns whether there will be an answer.
    pub(super) fn ask_for_healing(&self) -> bool {
        self.ask_for_all(HEAL)
    }

    fn ask_for_all(&self, tag: u64) -> bool {
        self.ask(DiagRequest {
            tag,
            states: StateMask::ALL,
            with_times: false,
            scope: Scope::All,
            lookups: Vec::new(),
        })
    }

    /// Asks where these connections are.
    pub(super) fn ask_for(&self, connections: impl Iterator<Item = (SocketKey, Connection)>) {
        let mut lookups = Vec::new();
        for (key, connection) in connections.take(LOOKUPS) {
            if let (Some(netns), Some(lookup)) = (connection.netns, lookup(key, &connection)) {
                lookups.push((netns, lookup));
            }
        }
        let mut inodes: Vec<_> = lookups.iter().map(|(netns, _)| *netns).collect();
        inodes.sort_unstable();
        inodes.dedup();
        if !inodes.is_empty() {
            self.ask(DiagRequest {
                tag: CORRECT,
                states: StateMask::NONE,
                with_times: false,
                scope: Scope::Only(inodes),
                lookups,
            });
        }
    }

    fn ask(&self, request: DiagRequest) -> bool {
        let asked = self.worker.as_ref().map(|worker| worker.request(request));
        if let Some(Err(reason)) = &asked {
            tracing::debug!("sockets were not looked at: {reason}");
        }
        matches!(asked, Some(Ok(())))
    }

    /// Waits for an answer. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Shown {
        let Some(reply) = self.replies.recv().await else {
            return std::future::pending().await;
        };
        for problem in &reply.errors {
            // A namespace can go between two looks.
            tracing::info!("a network namespace was not read: {}", problem.error);
        }
        let sampled = reply.sockets.iter().filter_map(crate::source::diag::DiagSocket::sampled).collect();
        Shown {
            asked: match reply.tag {
                SEED => Asked::Seed,
                HEAL => Asked::Heal,
                _ => Asked::Correct,
            },
            sampled,
            namespaces: reply.namespaces,
            started: reply.started,
            ended: reply.ended,
        }
    }
}

fn lookup(key: SocketKey, connection: &Connection) -> Option<Lookup> {
    let address = |endpoint: crate::model::Endpoint| {
        let addr = match (connection.family, endpoint.addr?) {
            (Family::V6, IpAddr::V4(mapped)) => IpAddr::V6(mapped.to_ipv6_mapped()),
            (_, addr) => addr,
        };
        Some(SocketAddr::new(addr, endpoint.port?.get()))
    };
    Some(Lookup {
        local: address(connection.local)?,
        remote: address(connection.remote)?,
        cookie: Some(key.cookie()?),
    })
}
