//! What to trace and how: the same flags for every command that traces.

use std::{ffi::OsString, num::NonZeroUsize, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    selection::{Places, SelectionArgs},
    values,
};
use crate::{
    model::{Filter, Limits},
    source::{
        demo::Load,
        live::{AcceptChoice, HookChoice, LifecycleChoice, Settings},
    },
};

/// What was typed.
#[derive(Debug, Args)]
pub(super) struct TracingArgs {
    /// End after this time, such as 90s, 5m, 1h30m
    #[arg(long, value_name = "TIME", value_parser = values::duration, help_heading = "Tracing")]
    duration: Option<Duration>,
    /// Report MPTCP-level sockets too
    #[arg(long, help_heading = "Tracing")]
    mptcp: bool,
    /// Remember at most so many connections; the oldest closed, then the longest idle are given up and counted
    #[arg(long, value_name = "N", default_value = "1000000", value_parser = values::connections, help_heading = "Tracing")]
    max_connections: NonZeroUsize,
    /// Size of the ring buffer between kernel and user space: a power of two from 4K to 1G
    #[arg(long, value_name = "BYTES", default_value = "32M", value_parser = values::ring_size, help_heading = "Tracing")]
    ring_size: u32,
    /// Every so often (10s), compare with the kernel's own tables; say how many connections differ, and mend them
    #[arg(
        long,
        value_name = "TIME",
        value_parser = values::duration,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "10s",
        help_heading = "Tracing"
    )]
    audit: Option<Duration>,
    #[command(flatten)]
    ways: WayArgs,
    /// Start this command, show only its connections and those of its children, and end with it, with its exit code; its
    /// standard output goes to standard error
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "pid")]
    command: Vec<OsString>,
}

/// Which of the kernel's ways to use.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct WayArgs {
    /// How to hook into the kernel; `classic` needs no BTF and knows fewer fields
    #[arg(long, value_enum, default_value_t, help_heading = "Tracing")]
    hook: HookArg,
    /// How to follow what the state tracepoint cannot see: half-open connections, orphans, TIME_WAIT
    #[arg(long, value_enum, default_value_t, value_name = "WAY", help_heading = "Tracing")]
    lifecycle: LifecycleArg,
    /// How to learn who accepts a connection
    #[arg(long, value_enum, default_value_t, value_name = "WAY", help_heading = "Tracing")]
    accept: AcceptArg,
}

/// `--accept`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum AcceptArg {
    /// The best that the kernel gives
    #[default]
    Auto,
    /// At the kernel function that accepts (fexit), or an error
    Fexit,
    /// At the exits of the system calls, or an error; costs each system call of the host about 90 ns
    Syscall,
    /// Not at all: until it closes, a connection is its listener's owner's
    Off,
}

/// `--lifecycle`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LifecycleArg {
    /// The best that the kernel gives
    #[default]
    Auto,
    /// At the kernel functions that make and end these sockets (fentry), or an error
    Fentry,
    /// By the timers of these sockets, or an error
    Timer,
    /// By looking at the kernel's socket tables again and again
    Sample,
    /// Not at all: `FIN_WAIT2 -> CLOSE` when the kernel swaps the socket
    Off,
}

/// `--hook`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum HookArg {
    /// The best that the kernel gives
    #[default]
    Auto,
    /// BTF-typed tracepoint
    Btf,
    /// Classic tracepoint
    Classic,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Conditions of the filter that only the host knows the meaning of.
    pub places: Places,
    /// When to end by itself.
    pub duration: Option<Duration>,
    /// How much the table may hold.
    pub limits: Limits,
    /// How often to compare the table with the kernel's own.
    pub audit: Option<Duration>,
    /// What to start, with its arguments.
    pub command: Vec<OsString>,
    /// How to trace.
    pub settings: Settings,
    /// Synthetic connections instead of this host's, and how many.
    pub demo: Option<Load>,
}

impl TracingArgs {
    /// What it means, of what is selected; `verbose` is the number of `-v`.
    pub(super) fn meaning(self, selection: SelectionArgs, verbose: u8) -> Session {
        let (filter, places) = selection.meaning();
        Session {
            places,
            duration: self.duration,
            limits: Limits { max_connections: self.max_connections.get(), ..Limits::default() },
            audit: self.audit,
            command: self.command,
            demo: None,
            settings: Settings {
                filter,
                mptcp: self.mptcp,
                kernel_log: verbose >= 2,
                ..self.ways.meaning(self.ring_size)
            },
        }
    }
}

impl WayArgs {
    /// What it means: everything is asked for, and nothing besides.
    pub(super) fn meaning(self, ring_size: u32) -> Settings {
        Settings {
            hook: match self.hook {
                HookArg::Auto => HookChoice::Auto,
                HookArg::Btf => HookChoice::Btf,
                HookArg::Classic => HookChoice::Classic,
            },
            ring_size,
            lifecycle: match self.lifecycle {
                LifecycleArg::Auto => LifecycleChoice::Auto,
                LifecycleArg::Fentry => LifecycleChoice::Fentry,
                LifecycleArg::Timer => LifecycleChoice::Timer,
                LifecycleArg::Sample => LifecycleChoice::Sample,
                LifecycleArg::Off => LifecycleChoice::Off,
            },
            accept: match self.accept {
                AcceptArg::Auto => AcceptChoice::Auto,
                AcceptArg::Fexit => AcceptChoice::Fexit,
                AcceptArg::Syscall => AcceptChoice::Syscall,
                AcceptArg::Off => AcceptChoice::Off,
            },
            filter: Filter::default(),
            cgroup: None,
            stacks: false,
            mptcp: false,
            kernel_log: false,
        }
    }
}
