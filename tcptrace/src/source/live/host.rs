//! What this host has for tracing, as its files tell: nothing is loaded, attached or mounted.

use std::io;

use super::{
    ftrace::Switch,
    kallsyms,
    lifecycle::TIMER_HANDLERS,
    lockdown,
    privileges::{self, Privilege},
    release,
    tracefs::Tracefs,
    types::{self, Types},
};

/// What there is, and what not.
#[derive(Debug)]
pub struct Host {
    /// `uname -r`
    pub release: String,
    /// Whether kernels of this version have BPF ring buffers (Linux 5.8).
    pub is_new_enough: bool,
    /// How many members of kernel structures that we read are where the kernel's types (BTF) say, or what is wrong with
    /// these.
    pub btf: Result<usize, String>,
    /// Where tracefs is.
    pub tracefs: Tracefs,
    /// The mode of kernel lockdown.
    pub lockdown: io::Result<String>,
    /// Whether programs at functions are called (`kernel.ftrace_enabled`); `None` where the kernel has no such switch.
    pub calls_functions: Option<bool>,
    /// Whether /proc/kallsyms tells the addresses that are needed to know the timers of sockets.
    pub addresses: Result<(), String>,
    /// Capabilities that are of use.
    pub privileges: Result<Vec<Privilege>, String>,
}

impl Host {
    /// The file with the kernel's types.
    pub const BTF: &str = types::VMLINUX;
    /// The file with the mode of kernel lockdown.
    pub const LOCKDOWN: &str = lockdown::LOCKDOWN;

    /// Looks.
    pub fn look() -> Self {
        let members = Types::of_the_kernel().and_then(|types| types.for_states());
        Self {
            release: release::release(),
            is_new_enough: release::is_at_least(5, 8),
            btf: members.map(|members| members.len()).map_err(|problem| problem.to_string()),
            tracefs: Tracefs::find(),
            lockdown: lockdown::mode(),
            calls_functions: Switch::open().map(|switch| !switch.is_off()),
            addresses: kallsyms::addresses_of(TIMER_HANDLERS).map(drop),
            privileges: privileges::all().map_err(|error| error.to_string()),
        }
    }
}
