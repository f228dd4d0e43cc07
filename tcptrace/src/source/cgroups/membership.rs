//! `/proc/PID/cgroup`: the cgroups that a process is in.

use std::{num::NonZeroU32, path::Path};

use super::{mountinfo::is_outside, read_at_most};

/// More than the kernel writes for one process: a path of `PATH_MAX` for each of its hierarchies.
const MAX_CGROUP_FILE: u64 = 128 * 1024;

/// The cgroups that a process is in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Membership {
    /// In cgroup2.
    pub(crate) unified: Option<Vec<u8>>,
    /// In the hierarchy of v1 that tells most.
    pub(crate) controllers: Option<Vec<u8>>,
}

impl Membership {
    pub(super) fn read(proc: &Path, pid: NonZeroU32) -> Option<Self> {
        let text = read_at_most(&proc.join(pid.to_string()).join("cgroup"), MAX_CGROUP_FILE).ok()?;
        Some(Self::parse(&text))
    }

    /// Lines of `HIERARCHY:CONTROLLERS:PATH`. The kernel allows no newline in a name (`cgroup_mkdir`).
    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut unified = None;
        let mut controllers: Option<((bool, usize), &[u8])> = None;
        for line in text.split(|byte| *byte == b'\n') {
            let mut fields = line.splitn(3, |byte| *byte == b':');
            let (Some(hierarchy), Some(names), Some(path)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if !path.starts_with(b"/") {
                continue;
            }
            if hierarchy == b"0" && names.is_empty() {
                unified = Some(path.to_owned());
                continue;
            }
            let rank = |name: &[u8]| {
                [&b"name=systemd"[..], b"pids", b"memory", b"cpu"].iter().position(|known| *known == name)
            };
            let Some(rank) = names.split(|byte| *byte == b',').filter_map(rank).min() else { continue };
            // The root is where a process is that nobody has put anywhere.
            let order = (path == b"/", rank);
            if controllers.is_none_or(|(best, _)| order < best) {
                controllers = Some((order, path));
            }
        }
        Self { unified, controllers: controllers.map(|(_, path)| path.to_owned()) }
    }
}

/// The name in a path of `/proc/PID/cgroup`: without the way out of our cgroup namespace, and without the mark of a
/// cgroup that has been removed (`proc_cgroup_show`).
pub(super) fn outside_and_gone(mut path: &[u8]) -> &[u8] {
    while is_outside(path) {
        path = &path[3..];
    }
    path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    if path.is_empty() { b"/" } else { path }
}
