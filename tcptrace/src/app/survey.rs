//! Looks at the kernel's socket tables beside tracing: what was open before the start, and where orphans are.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
};

use tokio::sync::mpsc::{Receiver, channel};

use super::facts;
use crate::{
    model::{
        Connection, Family, KtimeNs, Look, NetnsName, Sampled, SocketKey, Task, TcpState, findings::Host,
    },
    source::diag::{DiagReply, DiagRequest, DiagSocket, DiagWorker, Lookup, Scope, StateMask, TcpExt},
};

/// Sockets looked up at once, at most: about 2 ms of work for the kernel.
const LOOKUPS: usize = 2_000;

/// The states that time-wait and request sockets are in.
const MINIS: StateMask = StateMask::only(TcpState::SynRecv).with(TcpState::FinWait2).with(TcpState::TimeWait);

/// The states of sockets that have descriptors.
const WITH_HOLDERS: StateMask =
    StateMask::ALL.without(TcpState::SynRecv).without(TcpState::TimeWait).without(TcpState::Close);

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All sockets of the host, at the start.
    Seed,
    /// All sockets of the host, after a loss.
    Heal,
    /// All sockets of the host, because the user wants to know whether the table is right.
    Audit,
    /// All time-wait and half-open sockets of the host.
    Sample,
    /// Single sockets: orphans and suspects.
    Correct,
    /// What the kernel counts, and no sockets.
    Count,
    /// Who holds sockets.
    Holders,
    /// Everything that findings are made of.
    Facts,
}

impl Asked {
    const ALL: [Self; 8] = [
        Self::Seed,
        Self::Heal,
        Self::Audit,
        Self::Sample,
        Self::Correct,
        Self::Count,
        Self::Holders,
        Self::Facts,
    ];

    /// The number that the reply carries.
    const fn tag(self) -> u64 {
        self as u64
    }
}

/// What a look has shown.
pub(super) struct Shown {
    pub(super) asked: Asked,
    /// Single sockets that were looked for in namespaces that could be read.
    pub(super) keys: Vec<SocketKey>,
    pub(super) sampled: Vec<Sampled>,
    /// Who holds sockets, where that was asked for.
    pub(super) holders: Vec<(SocketKey, Task)>,
    pub(super) namespaces: Vec<NonZeroU32>,
    /// All were read that a process is in.
    pub(super) is_complete: bool,
    /// Names of namespaces.
    pub(super) names: Vec<(NonZeroU32, NetnsName)>,
    /// What the kernel counts in each namespace.
    pub(super) counters: Vec<(NonZeroU32, TcpExt)>,
    /// What findings are made of, where that was asked for.
    pub(super) host: Option<Host>,
    pub(super) started: KtimeNs,
    pub(super) ended: KtimeNs,
}

impl Shown {
    /// As the model wants it.
    pub(super) fn look(&self) -> Look<'_> {
        Look {
            sampled: &self.sampled,
            namespaces: &self.namespaces,
            is_complete: self.is_complete,
            started: self.started,
            ended: self.ended,
        }
    }
}

/// The way to the thread that looks.
pub(super) struct Survey {
    worker: Option<DiagWorker>,
    replies: Receiver<DiagReply>,
    /// Single sockets that are looked for, each with its namespace.
    keys: Vec<(NonZeroU32, SocketKey)>,
}

impl Survey {
    /// Starts the thread; before the process gives up its capabilities, which the thread needs for other namespaces.
    pub(super) fn start() -> Self {
        let (sender, replies) = channel(4);
        // When nobody waits for replies any more, we are about to end.
        let worker = DiagWorker::start(Box::new(move |reply| drop(sender.blocking_send(reply))));
        let worker = worker.map_err(|error| tracing::warn!("open connections cannot be read: {error}")).ok();
        Self { worker, replies, keys: Vec::new() }
    }

    /// Whether there is anybody to ask.
    pub(super) const fn is_there(&self) -> bool {
        self.worker.is_some()
    }

    /// Asks for all sockets of the host in the states that matter for it. Returns whether there will be an answer.
    pub(super) fn ask_for_all(&self, asked: Asked) -> bool {
        self.ask(DiagRequest {
            tag: asked.tag(),
            states: match asked {
                Asked::Sample => MINIS,
                Asked::Count => StateMask::NONE,
                Asked::Holders => WITH_HOLDERS,
                _ => StateMask::ALL,
            },
            with_times: asked == Asked::Facts,
            with_counters: matches!(asked, Asked::Seed | Asked::Count | Asked::Facts),
            with_settings: asked == Asked::Facts,
            with_holders: matches!(asked, Asked::Holders | Asked::Facts),
            scope: Scope::All,
            lookups: Vec::new(),
        })
    }

    /// Asks where these connections are, [`LOOKUPS`] of them at most. Returns whether there will be an answer.
    pub(super) fn ask_for(&mut self, connections: impl Iterator<Item = (SocketKey, Connection)>) -> bool {
        let mut lookups = Vec::new();
        self.keys.clear();
        for (key, connection) in connections.take(LOOKUPS) {
            if let (Some(netns), Some(lookup)) = (connection.netns, lookup(key, &connection)) {
                lookups.push((netns, lookup));
                self.keys.push((netns, key));
            }
        }
        let mut inodes: Vec<_> = lookups.iter().map(|(netns, _)| *netns).collect();
        inodes.sort_unstable();
        inodes.dedup();
        !inodes.is_empty()
            && self.ask(DiagRequest {
                tag: Asked::Correct.tag(),
                states: StateMask::NONE,
                with_times: false,
                with_counters: false,
                with_settings: false,
                with_holders: false,
                scope: Scope::Only(inodes),
                lookups,
            })
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
        let sampled = reply.sockets.iter().filter_map(DiagSocket::sampled).collect();
        let asked = Asked::ALL.into_iter().find(|asked| asked.tag() == reply.tag).unwrap_or(Asked::Correct);
        let keys = match asked {
            Asked::Correct => self
                .keys
                .drain(..)
                .filter(|(netns, _)| reply.namespaces.contains(netns))
                .map(|(_, key)| key)
                .collect(),
            _ => Vec::new(),
        };
        Shown {
            asked,
            keys,
            sampled,
            host: (asked == Asked::Facts).then(|| facts::host(&reply)),
            holders: holders(&reply),
            is_complete: reply.errors.is_empty() && reply.hidden_processes == 0,
            names: reply.names,
            namespaces: reply.namespaces,
            counters: reply.counters,
            started: reply.started,
            ended: reply.ended,
        }
    }
}

/// The first holder of each socket that has one. A cgroup is the socket's own.
fn holders(reply: &DiagReply) -> Vec<(SocketKey, Task)> {
    let first = |socket: &DiagSocket| {
        let task = reply.holders.of.get(&socket.inode?)?.first()?;
        Some((socket.key()?, Task { cgroup: socket.cgroup, ..*task }))
    };
    reply.sockets.iter().filter_map(first).collect()
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
