//! The running kernel.

mod accepts;
mod error;
mod filter;
pub(crate) mod format;
mod ftrace;
mod host;
pub(crate) mod kallsyms;
mod lifecycle;
mod lockdown;
mod misses;
mod object;
mod offsets;
mod privileges;
mod programs;
mod release;
mod ring;
mod tracefs;
mod types;

pub use self::{
    accepts::{AcceptChoice, AcceptWay, Accepts},
    error::{BtfProblem, OpenError},
    filter::{CgroupPlace, KernelFilter},
    format::FormatError,
    host::Host,
    lifecycle::{Lifecycle, LifecycleChoice, Way},
    object::Extras,
    privileges::Privilege,
    ring::Live,
    tracefs::Tracefs,
};

use crate::model::Filter;

/// Which hook to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    /// The best that the kernel gives.
    #[default]
    Auto,
    /// The BTF-typed tracepoint or nothing.
    Btf,
    /// The classic tracepoint or nothing.
    Classic,
}

/// The hook in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The BTF-typed tracepoint.
    Btf {
        /// Whether the kernel gives socket cookies to it.
        cookie: bool,
    },
    /// The classic tracepoint: fewer fields.
    Classic,
}

impl Hook {
    /// The word in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Btf { .. } => "btf",
            Self::Classic => "classic",
        }
    }

    /// What it is, in words.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Btf { cookie: true } => "BTF-typed tracepoint sock:inet_sock_set_state",
            Self::Btf { cookie: false } => {
                "BTF-typed tracepoint sock:inet_sock_set_state, sockets told apart by address"
            }
            Self::Classic => {
                "classic tracepoint sock:inet_sock_set_state (no cookie, netns, uid, error; sockets told apart by \
                 address)"
            }
        }
    }
}

/// How to trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which hook to use.
    pub hook: HookChoice,
    /// Size of the ring buffer in bytes: a power of two and a multiple of the page size.
    pub ring_size: u32,
    /// How to follow time-wait and half-open sockets.
    pub lifecycle: LifecycleChoice,
    /// How to learn who accepts a connection.
    pub accept: AcceptChoice,
    /// What is asked for: the kernel half leaves out what it can.
    pub filter: Filter,
    /// The filter's cgroup.
    pub cgroup: Option<CgroupPlace>,
    /// Report the user stacks of calls.
    pub stacks: bool,
    /// Report MPTCP-level sockets too.
    pub mptcp: bool,
    /// Pass the kernel half's own diagnostics on to the log.
    pub kernel_log: bool,
}
