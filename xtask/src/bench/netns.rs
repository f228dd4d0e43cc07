//! A network namespace for one load, gone with it, and all of its sockets.

use std::{
    fs,
    path::Path,
    process::{Command, id},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result};

use crate::workspace::{output, succeed};

const PREFIX: &str = "tcptrace-bench-";

/// A network namespace with loopback up.
pub(crate) struct Netns(String);

impl Netns {
    pub(crate) fn make() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}", id(), NEXT.fetch_add(1, Ordering::Relaxed));
        output(&mut ip(&["netns", "add", &name]))
            .context("cannot make a network namespace (`ip` is of the package iproute2)")?;
        let made = Self(name);
        succeed(&mut ip(&["-n", &made.0, "link", "set", "lo", "up"]))?;
        Ok(made)
    }

    /// A program to start in it.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(program);
        command
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Err(error) = output(&mut ip(&["netns", "del", &self.0])) {
            eprintln!("xtask: {error:#}");
        }
    }
}

/// Removes what a run has left behind that was killed.
pub(crate) fn remove_stale() {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).map(str::to_owned);
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            drop(Netns(name));
        }
    }
}

fn ip(args: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(args);
    command
}
