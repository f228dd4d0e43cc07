//! What the self-test knows of itself, without tracing.

use std::{fs, num::NonZeroU32, os::unix::fs::MetadataExt as _};

use rustix::process::geteuid;

use crate::{
    model::Task,
    source::{cgroups::Cgroups, diag::Namespace, processes},
};

/// `PROC_PID_INIT_INO`, include/linux/proc_ns.h
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// What is known; `None` is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Truth {
    /// This process, which does it all in its first thread.
    pub(super) task: Option<Task>,
    /// Whether its numbers are those of the initial pid namespace, which the trace has.
    pub(super) are_initial_pids: bool,
    pub(super) uid: Option<u32>,
    pub(super) netns: Option<NonZeroU32>,
    pub(super) cgroup: Option<String>,
}

impl Truth {
    /// Looks it up.
    pub(super) fn find() -> Self {
        let pid_namespace = fs::metadata("/proc/self/ns/pid").map(|file| file.ino());
        Self {
            task: processes::own(),
            are_initial_pids: pid_namespace.is_ok_and(|inode| inode == INITIAL_PID_NAMESPACE),
            uid: Some(geteuid().as_raw()),
            netns: Namespace::own().ok().map(|namespace| namespace.inode()),
            cgroup: Cgroups::new().own().map(|cgroup| cgroup.path),
        }
    }
}
