//! What can go wrong between us and the kernel.

use std::io;

use rustix::io::Errno;
use thiserror::Error;

use super::Malformed;

/// Why the sockets of a network namespace could not be read.
#[derive(Debug, Error)]
pub enum DiagError {
    /// The namespaces could not be listed.
    #[error("the network namespaces cannot be listed ({path}: {error}); is /proc mounted?")]
    List {
        /// The directory.
        path: &'static str,
        /// Why.
        error: Errno,
    },
    /// The namespace could not be entered.
    #[error("network namespace {netns} cannot be entered ({error}); that takes CAP_SYS_ADMIN")]
    Enter {
        /// Inode of the namespace.
        netns: u32,
        /// Why.
        error: Errno,
    },
    /// There is no such namespace that can be found.
    #[error(
        "no process is in network namespace {netns} and no name in /run/netns leads to it; see `lsns -t net`"
    )]
    Absent {
        /// Inode of the namespace.
        netns: u32,
    },
    /// No socket for questions, or one that cannot be set up.
    #[error(
        "no sock_diag socket in network namespace {netns} ({error}); the kernel needs CONFIG_INET_DIAG and CONFIG_INET_TCP_DIAG"
    )]
    Open {
        /// Inode of the namespace.
        netns: u32,
        /// Why.
        error: Errno,
    },
    /// A thread could not be started, or it died.
    #[error("no thread to read sockets with ({0}); see the limits on tasks (ulimit -u, pids.max)")]
    Thread(io::Error),
    /// The question could not be sent, or the answer not be received.
    #[error("the sockets of network namespace {netns} cannot be read ({error}); ask again")]
    Io {
        /// Inode of the namespace.
        netns: u32,
        /// Why.
        error: Errno,
    },
    /// The kernel refused to answer (`NLMSG_ERROR`, or the code of `NLMSG_DONE`).
    #[error(
        "the kernel refuses to list the TCP sockets of network namespace {netns} ({error}); `modprobe tcp_diag` may help, or a policy forbids netlink_tcpdiag_socket"
    )]
    Refused {
        /// Inode of the namespace.
        netns: u32,
        /// The kernel's reason.
        error: Errno,
    },
    /// The answer did not end in time.
    #[error("the kernel did not list the sockets of network namespace {netns} within {seconds} s; ask again")]
    TimedOut {
        /// Inode of the namespace.
        netns: u32,
        /// How long was waited.
        seconds: u64,
    },
    /// The kernel said each time that the table had changed under the dump (`NLM_F_DUMP_INTR`), or that messages were
    /// dropped (`ENOBUFS`, `NLMSG_OVERRUN`).
    #[error(
        "the socket list of network namespace {netns} was incomplete {attempts} times in a row; ask again when it is calmer"
    )]
    Incomplete {
        /// Inode of the namespace.
        netns: u32,
        /// How often it was tried.
        attempts: u32,
    },
    /// The answer is not one: nothing after the broken place can be trusted.
    #[error("the kernel's answer about network namespace {netns} cannot be read: {malformed}")]
    Malformed {
        /// Inode of the namespace.
        netns: u32,
        /// What is wrong with it.
        malformed: Malformed,
    },
    /// The capabilities of the thread could not be given up.
    #[error("the thread that reads sockets cannot give up its capabilities: {0}")]
    Capabilities(#[from] caps::errors::CapsError),
}
