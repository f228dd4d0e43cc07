//! What there is to say besides transitions.

use std::num::NonZeroU32;

use super::Names;
use crate::model::{Held, Lost, Owner, SocketKey};

/// A line that is no transition.
#[derive(Clone, Debug)]
pub enum Notice<'a> {
    /// Records were lost.
    Lost(&'a Lost),
    /// The table was held against the kernel's own.
    Audit(Audit),
    /// The kernel has answered SYNs with cookies.
    SynCookies(SynCookies),
    /// At the end of tracing: a closed socket that a descriptor still holds.
    Held(SocketKey, &'a Held, Option<Owner>, Names),
}

/// What an audit has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Sockets that the kernel listed.
    pub sockets: u64,
    /// Connections that were not as the kernel has them, and were put right.
    pub drift: u64,
}

/// Half-open connections that cannot be seen, because the kernel keeps nothing of them: increments of its own counters
/// in a network namespace (`/proc/net/netstat`, TcpExt) since the last such line, or since tracing began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynCookies {
    /// Inode of the network namespace.
    pub netns: NonZeroU32,
    /// `SyncookiesSent`: SYNs answered with a cookie.
    pub sent: u64,
    /// `SyncookiesRecv`: valid cookies that came back: connections made.
    pub received: u64,
    /// `SyncookiesFailed`: invalid ones.
    pub failed: u64,
}
