//! `--demo`: synthetic connections.

use std::num::{NonZeroU32, NonZeroUsize};

use clap::Args;

use super::values;
use crate::source::demo::Load;

/// What was typed.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct DemoArgs {
    /// Synthetic connections instead of this host's; needs no privileges
    #[arg(
        long,
        help_heading = "Tracing",
        conflicts_with_all = [
            "netns", "cgroup", "stacks", "mptcp", "ring_size", "audit", "hook", "lifecycle", "accept", "command",
        ]
    )]
    demo: bool,
    /// So many of them, about
    #[arg(long, hide = true, value_name = "N", default_value = "2000", value_parser = values::demo_connections, requires = "demo")]
    demo_connections: NonZeroUsize,
    /// So many events a second, about
    #[arg(long, hide = true, value_name = "N", default_value = "150", value_parser = values::demo_rate, requires = "demo")]
    demo_rate: NonZeroU32,
}

impl DemoArgs {
    /// What it means.
    pub(super) fn meaning(self) -> Option<Load> {
        self.demo.then_some(Load { connections: self.demo_connections, rate: self.demo_rate })
    }
}
