//! One connection: a fold over its events.

use std::num::NonZeroU32;

use super::{
    dwell::{Dwell, History, Since},
    ending::{self, ClosedBy, EndCause},
    event::{Endpoint, Family, KtimeNs, Transition},
    owner::OwnerRef,
    state::TcpState,
};

/// Which side of the connection this socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It called `connect`.
    Client,
    /// It listens, or a listener made it.
    Server,
}

impl Role {
    /// The word in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// How we came to know of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Its birth was seen.
    Observed,
    /// It was open when we started.
    Seeded,
    /// A later event told us; it was open before.
    Inferred,
}

impl Origin {
    /// The word in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Seeded => "seeded",
            Self::Inferred => "inferred",
        }
    }
}

/// What stands for a connection in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// A full socket.
    Full,
    /// A time-wait socket was made; the full socket's end has yet to be reported.
    Swapping,
    /// A time-wait socket.
    Mini,
    /// A request socket: it is half-open.
    Request,
}

/// What is known of one connection. At most 128 bytes: there may be a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Our side.
    pub local: Endpoint,
    /// The peer's side.
    pub remote: Endpoint,
    /// Inode of the network namespace.
    pub netns: Option<NonZeroU32>,
    /// The process that owns the socket, see `Table::owner_of`.
    pub(super) owner: Option<OwnerRef>,
    /// Its address family.
    pub family: Family,
    /// An MPTCP-level socket, not a TCP one.
    pub mptcp: bool,
    /// Client or server, `None` when its birth was not seen.
    pub role: Option<Role>,
    /// How we came to know of it.
    pub origin: Origin,
    /// Who sent the first FIN or RST.
    pub closed_by: Option<ClosedBy>,
    /// Why it ended.
    pub end_cause: Option<EndCause>,
    /// The state it is in.
    pub state: TcpState,
    /// True when stays were dropped from the history.
    pub is_truncated: bool,
    /// What stands for it in the kernel.
    pub(crate) body: Body,
    /// `sk_uid`, or `Connection::NO_UID`.
    uid: u32,
    since: Since,
    since_ns: KtimeNs,
    history: History,
}

const _: () = assert!(size_of::<Connection>() <= 128);

/// What one transition told about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Time spent in the old state.
    pub(crate) dwell: Option<Dwell>,
    /// The time-stamp lies before the one of the last event.
    pub(crate) is_backwards: bool,
}

impl Connection {
    /// `(uid_t)-1` is no uid (`uid_valid`, include/linux/uidgid.h).
    const NO_UID: u32 = u32::MAX;

    /// A connection whose first event is `first`. `since` says when it entered `first.old`, as far as known.
    pub(crate) fn begin(first: &Transition, since: Since, since_ns: KtimeNs) -> Self {
        let is_birth = first.old.begins_life(first.new);
        Self {
            local: first.local,
            remote: first.remote,
            netns: first.netns,
            owner: None,
            family: first.family,
            mptcp: first.mptcp,
            role: match (first.old, first.new) {
                (TcpState::Close, TcpState::SynSent) | (TcpState::SynSent, _) => Some(Role::Client),
                (TcpState::Listen, _) | (_, TcpState::Listen) => Some(Role::Server),
                _ => None,
            },
            origin: if is_birth { Origin::Observed } else { Origin::Inferred },
            closed_by: None,
            end_cause: None,
            state: first.old,
            is_truncated: false,
            body: Body::Full,
            uid: Self::NO_UID,
            since,
            since_ns,
            history: History::default(),
        }
    }

    /// Takes the next transition in, and who made it, where that is the owner.
    pub(super) fn step(&mut self, next: &Transition, owner: Option<OwnerRef>) -> Step {
        let is_gap = next.old != self.state;
        let elapsed = next.ts.since(self.since_ns);
        let is_backwards = self.since != Since::Unknown && elapsed.is_none();
        let dwell = elapsed.filter(|_| !is_gap).and_then(|ns| match self.since {
            Since::Exact => Some(Dwell::Exact(ns)),
            Since::AtLeast => Some(Dwell::AtLeast(ns)),
            Since::Jiffy => Some(Dwell::Jiffy(ns)),
            Since::Unknown => None,
        });

        // CLOSE and, for a child, LISTEN are where a life begins, not stays within it.
        if next.old != TcpState::Close && !next.old.begins_life(next.new) {
            self.is_truncated |= !self.history.push(next.old, dwell);
        }
        self.local = self.local.updated_by(next.local);
        self.remote = self.remote.updated_by(next.remote);
        self.netns = next.netns.or(self.netns);
        self.owner = owner.or(self.owner);
        self.uid = next.uid.unwrap_or(self.uid);
        self.closed_by = self.closed_by.or_else(|| ending::closed_by(next));
        self.end_cause = ending::end_cause(next);
        self.state = next.new;
        self.since = Since::Exact;
        self.since_ns = next.ts;
        Step { dwell, is_backwards }
    }

    /// `sk_uid`, the user that made the socket.
    pub const fn uid(&self) -> Option<u32> {
        if self.uid == Self::NO_UID { None } else { Some(self.uid) }
    }

    /// Sets what [`Self::uid`] gives.
    pub(crate) fn set_uid(&mut self, uid: Option<u32>) {
        self.uid = uid.unwrap_or(Self::NO_UID);
    }

    /// When it entered the state it is in, `None` when that was not seen.
    pub const fn entered(&self) -> Option<KtimeNs> {
        match self.since {
            Since::Exact | Since::Jiffy => Some(self.since_ns),
            Since::AtLeast | Since::Unknown => None,
        }
    }

    /// Whether [`Self::entered`] is known to one tick of the kernel's timer only.
    pub const fn is_entered_to_a_jiffy(&self) -> bool {
        matches!(self.since, Since::Jiffy)
    }

    /// How long it has been in its state, as far as known, and whether that is a lower bound.
    pub fn age(&self, now: KtimeNs) -> (Option<u64>, bool) {
        match self.since {
            Since::Exact | Since::Jiffy => (now.since(self.since_ns), false),
            Since::AtLeast => (now.since(self.since_ns), true),
            Since::Unknown => (None, true),
        }
    }

    /// The stays of this life that are over, oldest first.
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// After a loss: it is in `state`, and all that is known is since when at the latest.
    pub(crate) fn resume(&mut self, state: TcpState, since: Option<KtimeNs>) {
        self.state = state;
        self.since = if since.is_some() { Since::AtLeast } else { Since::Unknown };
        self.since_ns = since.unwrap_or_default();
    }

    /// The entry into its state was told later, to one tick of the kernel's timer: its dwell was so, too.
    pub(crate) fn entered_to_a_jiffy(&mut self) {
        self.since = Since::Jiffy;
    }

    /// Its state was entered by now, but it may have been before.
    pub(crate) fn entered_at_the_latest(&mut self) {
        if matches!(self.since, Since::Exact | Since::Jiffy) {
            self.since = Since::AtLeast;
        }
    }

    /// The full socket that takes the place of a request socket is known: what it knows more.
    pub(crate) fn become_full(&mut self, child: &Transition) {
        self.body = Body::Full;
        self.local = self.local.updated_by(child.local);
        self.remote = self.remote.updated_by(child.remote);
        self.netns = child.netns.or(self.netns);
        self.mptcp = child.mptcp;
        self.set_uid(child.uid);
    }

    /// When it entered its state, whatever the quality.
    pub(crate) const fn since_ns(&self) -> KtimeNs {
        self.since_ns
    }
}
