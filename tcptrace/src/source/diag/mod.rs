//! All TCP sockets of the host, read with `NETLINK_SOCK_DIAG` (`net/ipv4/inet_diag.c`, Linux 3.3 and later).
//!
//! A sample, not a story: it tells what is open before tracing starts, heals a table after lost records, and tells the
//! substate and the time left of time-wait sockets. [`DiagClient`] reads one network namespace, [`DiagWorker`] all of
//! them in a thread that keeps the capabilities for it.

pub(crate) mod answer;
mod client;
pub(crate) mod counters;
mod error;
#[cfg(all(test, target_endian = "little"))]
mod fixtures;
mod namespaces;
#[cfg(all(test, target_endian = "little"))]
mod proptests;
mod sampled;
mod settings;
mod socket;
mod states;
mod wire;
mod worker;

pub use client::{DiagClient, Dump, Lookup};
pub use counters::TcpExt;
pub use error::DiagError;
pub use namespaces::{Found, Namespace, Namespaces, Places};
pub use socket::{DiagSocket, ReadAt, SocketKind, TcpTimes, Timer, TimerKind};
pub use states::StateMask;
pub use wire::{Malformed, parse};
pub use worker::{DiagReply, DiagRequest, DiagWorker, NamespaceError, NotTaken, Scope};
