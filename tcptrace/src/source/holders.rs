//! Who holds a descriptor of a socket: a look at the file tables of all processes (/proc/PID/fd).
//!
//! Takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH for the processes of other users (`proc_fd_permission`,
//! `proc_pid_readlink`).

use std::{fs, num::NonZeroU32};

use procfs::{
    ProcError, ProcResult,
    process::{FDTarget, LimitValue, Process, all_processes},
};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::model::{Comm, ProcessStart, Task, findings::host::Descriptors};

/// Who holds the wanted sockets.
#[derive(Debug, Default)]
pub struct Holders {
    /// For each inode of a socket's file its holders, the process that was started first before the others. Their
    /// cgroups are not read.
    pub of: FxHashMap<NonZeroU32, Vec<Task>>,
    /// Descriptors of each process that has one of any socket.
    pub descriptors: Vec<Descriptors>,
    /// Processes whose descriptors could not be read.
    pub hidden_processes: u64,
    /// Why no process was looked at.
    pub failure: Option<String>,
}

impl Holders {
    /// Whether a socket that is not in it has no holder.
    pub const fn is_complete(&self) -> bool {
        self.hidden_processes == 0 && self.failure.is_none()
    }

    /// Looks for the holders of these sockets, given by the inodes of their files.
    ///
    /// # Errors
    ///
    /// /proc cannot be listed.
    pub fn find(wanted: &FxHashSet<NonZeroU32>) -> ProcResult<Self> {
        let mut found = Self::default();
        if wanted.is_empty() {
            return Ok(found);
        }
        for process in all_processes()? {
            // It has ended meanwhile.
            let Ok(process) = process else { continue };
            match held_by(&process, wanted) {
                Ok(held) if held.sockets == 0 => {}
                Ok(Held { inodes, open, sockets }) => {
                    let Some(task) = task(&process) else { continue };
                    found.descriptors.push(Descriptors { task, open, sockets, limit: limit(&process) });
                    for inode in inodes {
                        found.of.entry(inode).or_default().push(task);
                    }
                }
                Err(error) => found.hidden_processes += u64::from(!is_gone(&error)),
            }
        }
        for holders in found.of.values_mut() {
            holders.sort_unstable_by_key(|task| (task.started, task.pid));
        }
        Ok(found)
    }
}

/// What descriptors a process has.
#[derive(Default)]
struct Held {
    /// The wanted sockets, each once.
    inodes: FxHashSet<NonZeroU32>,
    /// All descriptors.
    open: u64,
    /// Those of sockets.
    sockets: u64,
}

fn held_by(process: &Process, wanted: &FxHashSet<NonZeroU32>) -> ProcResult<Held> {
    let mut held = Held::default();
    // A descriptor can be closed while it is looked at.
    for descriptor in process.fd()?.flatten() {
        held.open += 1;
        let FDTarget::Socket(inode) = descriptor.target else { continue };
        held.sockets += 1;
        if let Some(inode) = u32::try_from(inode).ok().and_then(NonZeroU32::new)
            && wanted.contains(&inode)
        {
            held.inodes.insert(inode);
        }
    }
    // They may be listed where what they are may not be read (`proc_pid_readlink`); procfs passes over them.
    let listed = || fs::read_dir(format!("/proc/{}/fd", process.pid)).ok()?.next();
    if held.open == 0 && listed().is_some() {
        return Err(ProcError::PermissionDenied(None));
    }
    Ok(held)
}

fn limit(process: &Process) -> Option<u64> {
    match process.limits().ok()?.max_open_files.soft_limit {
        LimitValue::Value(limit) => Some(limit),
        LimitValue::Unlimited => None,
    }
}

/// `None` when it has ended meanwhile.
pub(super) fn task(process: &Process) -> Option<Task> {
    let stat = process.stat().ok()?;
    let pid = u32::try_from(stat.pid).ok().and_then(NonZeroU32::new)?;
    Some(Task {
        pid,
        tid: pid,
        comm: comm(pid)?,
        started: ProcessStart::from_ticks(stat.starttime),
        cgroup: None,
    })
}

/// As bytes: a name need not be UTF-8.
fn comm(pid: NonZeroU32) -> Option<Comm> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let mut comm = [0; 16];
    for (to, from) in comm.iter_mut().take(15).zip(name.strip_suffix(b"\n").unwrap_or(&name)) {
        *to = *from;
    }
    Some(Comm(comm))
}

fn is_gone(error: &procfs::ProcError) -> bool {
    match error {
        procfs::ProcError::NotFound(_) => true,
        // ESRCH: between opening and reading.
        procfs::ProcError::Io(error, _) => {
            error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::fs::MetadataExt as _};

    use super::*;

    fn inode_of(socket: &impl std::os::fd::AsFd) -> NonZeroU32 {
        let file = fs::File::from(socket.as_fd().try_clone_to_owned().expect("is duplicated"));
        let inode = file.metadata().expect("has metadata").ino();
        u32::try_from(inode).ok().and_then(NonZeroU32::new).expect("fits")
    }

    #[test]
    fn a_socket_is_ours_and_nobody_elses() {
        let socket = TcpListener::bind(("127.0.0.1", 0)).expect("is bound");
        let other = TcpListener::bind(("127.0.0.1", 0)).expect("is bound");
        let inode = inode_of(&socket);
        let wanted: FxHashSet<_> = [inode, NonZeroU32::MAX].into_iter().collect();
        let holders = Holders::find(&wanted).expect("is read");
        let pids: Vec<u32> = holders.of[&inode].iter().map(|task| task.pid.get()).collect();
        assert_eq!(pids, [std::process::id()]);
        let task = holders.of[&inode][0];
        assert!(task.started.is_some(), "{task:?}");
        let name = fs::read_to_string("/proc/self/comm").expect("is read");
        assert_eq!(task.comm, Comm::from(name.trim_end()));
        assert_eq!(holders.of.len(), 1);
        drop(other);
    }

    /// Prints how long it takes on this host, for docs/LIMITATIONS.md: `cargo test --release -p tcptrace --lib -- --ignored
    /// --nocapture on_this_host`, as root.
    #[test]
    #[ignore = "tells a time and asserts none"]
    fn how_long_it_takes_on_this_host() {
        let socket = TcpListener::bind(("127.0.0.1", 0)).expect("is bound");
        let wanted: FxHashSet<_> = std::iter::once(inode_of(&socket)).collect();
        let descriptors = |process: Process| process.fd_count().unwrap_or(0);
        let count: usize = all_processes().expect("is read").flatten().map(descriptors).sum();
        for _ in 0..5 {
            let start = std::time::Instant::now();
            assert_eq!(Holders::find(&wanted).expect("is read").of.len(), 1);
            println!("{count} descriptors: {:?}", start.elapsed());
        }
    }

    #[test]
    fn nothing_wanted_is_nothing_read() {
        let holders = Holders::find(&FxHashSet::default()).expect("is read");
        assert!(holders.of.is_empty() && holders.hidden_processes == 0);
    }
}
