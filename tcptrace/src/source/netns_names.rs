//! Names of network namespaces, and the namespaces that people name.
//!
//! A namespace has no name of its own: `ip netns` and container engines mount it on a file and go by the file's name.
//! Its inode number is given to another one as soon as it is gone (`proc_alloc_inum`), so that a name has to be
//! looked at again now and then.

use std::{
    fs::File,
    io::Read as _,
    num::NonZeroU32,
    os::fd::{AsRawFd as _, BorrowedFd},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use rustc_hash::FxHashMap;
use rustix::{
    fs::{readlink, stat, statfs},
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use thiserror::Error;

use super::{clock, diag::Namespace};
use crate::model::{KtimeNs, NetnsName};

/// `NSFS_MAGIC`, `include/uapi/linux/magic.h`
const NSFS_MAGIC: u64 = 0x6e73_6673;
/// Where `ip netns` keeps names (and CNI plugins, and Podman), and Docker; the first that has a name wins.
const NAMED: [&str; 3] = ["/run/netns", "/var/run/netns", "/run/docker/netns"];
/// `PID_MAX_LIMIT`, `include/linux/threads.h`. Inode numbers of namespaces are far above (`PROC_DYNAMIC_FIRST`,
/// 0xF0000000; the first network namespace has `NET_NS_INIT_INO`, 0xEFFFFFF9, since 6.18).
const MAX_PID: u32 = 4 * 1024 * 1024;
/// For how long a name is believed, and how long there is between two searches.
const REST_NS: u64 = 1_000_000_000;
/// For how long a name outlives its namespace: for the last events from there.
const LINGER_NS: u64 = 10_000_000_000;
/// Namespaces with a name that are kept.
const MAX_NAMES: usize = 16_384;
/// More than the kernel writes (`proc_task_name`).
const MAX_COMM: u64 = 64;

/// A word that leads to no network namespace, and what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetnsError {
    /// Neither a name nor a number.
    #[error(
        "`{word}` is no network namespace; accepted are a name in /run/netns, a path such as /proc/4242/ns/net, `self`, a process id and an inode number (also as pid:N and inode:N)"
    )]
    Unknown {
        /// What was given.
        word: String,
    },
    /// A number in the wrong place.
    #[error(
        "`{word}` has no number that is accepted: a process id from 1 to {MAX_PID}, or an inode number as `lsns -t net` shows it"
    )]
    Number {
        /// What was given.
        word: String,
    },
    /// A file that cannot be opened.
    #[error(
        "network namespace `{word}` cannot be opened ({error}); accepted are paths such as /run/netns/NAME and /proc/PID/ns/net"
    )]
    Path {
        /// What was given.
        word: String,
        /// Why.
        error: Errno,
    },
    /// A file that is something else.
    #[error(
        "`{word}` is a file, but no network namespace; accepted are paths such as /run/netns/NAME and /proc/PID/ns/net"
    )]
    Other {
        /// What was given.
        word: String,
    },
    /// The process has none that we may see.
    #[error(
        "`{word}`: the network namespace of process {pid} cannot be opened ({error}); accepted is the id of a living process, and another user's takes CAP_SYS_PTRACE"
    )]
    Process {
        /// What was given.
        word: String,
        /// The process.
        pid: u32,
        /// Why.
        error: Errno,
    },
    /// No namespace of that number is to be seen.
    #[error(
        "`{word}`: no process that can be seen is in a network namespace of that inode number, and no name leads to it; accepted are those of `lsns -t net`, and inode:{word} takes it unseen"
    )]
    Absent {
        /// What was given.
        word: String,
    },
}

/// The network namespace that a word means: its inode number.
///
/// In this order: `pid:N`, `inode:N` (any number is taken), `self` (the caller's), a path (it has a slash), a name in
/// `/run/netns` or `/run/docker/netns`, a process id, the inode number of a namespace that is there.
pub fn resolve(word: &str) -> Result<NonZeroU32, NetnsError> {
    Places::default().resolve(word)
}

/// Names that lead to network namespaces, and the inode numbers of those.
pub fn given_names() -> Vec<(NonZeroU32, String)> {
    Places::default().names().into_iter().map(|(inode, name, _)| (inode, name)).collect()
}

/// Finds and remembers the names of network namespaces.
#[derive(Debug, Default)]
pub struct NetnsNames {
    places: Places,
    known: FxHashMap<NonZeroU32, Named>,
    /// No search before this.
    next_search: KtimeNs,
}

#[derive(Debug)]
struct Named {
    name: Arc<str>,
    evidence: Evidence,
    /// When it was last seen to be right.
    seen: KtimeNs,
}

impl Named {
    fn name(&self) -> NetnsName {
        NetnsName { text: Arc::clone(&self.name), is_given: matches!(self.evidence, Evidence::File(_)) }
    }
}

/// What a name is taken from.
#[derive(Debug)]
enum Evidence {
    File(PathBuf),
    Process(NonZeroU32),
}

impl NetnsNames {
    /// Of this host.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name of the namespace of that inode number; where it has none, a process in it: `pid 4242 (nginx)`. Whoever named the file or the process chose the text. It is not older than 1 s, or than
    /// 10 s when the namespace is gone.
    ///
    /// Without CAP_SYS_PTRACE other users' processes are not seen.
    pub fn name(&mut self, inode: NonZeroU32) -> Option<NetnsName> {
        self.name_at(inode, clock::now())
    }

    fn name_at(&mut self, inode: NonZeroU32, now: KtimeNs) -> Option<NetnsName> {
        let age = |named: &Named| now.0.saturating_sub(named.seen.0);
        if let Some(named) = self.known.get_mut(&inode) {
            if age(named) < REST_NS {
                return Some(named.name());
            }
            if let Evidence::File(path) = &named.evidence
                && inode_of(path) == Some(inode)
            {
                named.seen = now;
                return Some(named.name());
            }
        }
        if now >= self.next_search {
            self.search(inode, now);
        }
        self.known.get(&inode).filter(|named| age(named) < LINGER_NS).map(Named::name)
    }

    /// Reads all names, and if need be looks at all processes.
    fn search(&mut self, wanted: NonZeroU32, now: KtimeNs) {
        let begun = clock::now();
        let mut found = FxHashMap::default();
        for (inode, name, path) in self.places.names() {
            found.entry(inode).or_insert_with(|| Named {
                name: name.into(),
                evidence: Evidence::File(path),
                seen: now,
            });
        }
        let places = &self.places;
        let by_process = |pid| Named {
            name: places.process_name(pid).into(),
            evidence: Evidence::Process(pid),
            seen: now,
        };
        for (&inode, named) in &self.known {
            if let Evidence::Process(pid) = named.evidence
                && places.namespace_of(pid) == Some(inode)
            {
                found.entry(inode).or_insert_with(|| by_process(pid));
            }
        }
        if !found.contains_key(&wanted) {
            for pid in places.processes() {
                if let Some(inode) = places.namespace_of(pid)
                    && found.len() < MAX_NAMES
                {
                    found.entry(inode).or_insert_with(|| by_process(pid));
                }
            }
        }
        for (inode, named) in self.known.drain() {
            if found.len() < MAX_NAMES && now.0.saturating_sub(named.seen.0) < LINGER_NS {
                found.entry(inode).or_insert(named);
            }
        }
        self.known = found;
        let cost = clock::now().0.saturating_sub(begun.0);
        self.next_search = KtimeNs(now.0.saturating_add(cost).saturating_add(REST_NS));
    }
}

/// Where namespaces are to be found.
#[derive(Debug)]
struct Places {
    proc: PathBuf,
    named: Vec<PathBuf>,
}

impl Default for Places {
    fn default() -> Self {
        Self { proc: PathBuf::from("/proc"), named: NAMED.map(PathBuf::from).to_vec() }
    }
}

impl Places {
    fn resolve(&self, word: &str) -> Result<NonZeroU32, NetnsError> {
        let number = |digits: &str| {
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits
                .parse()
                .ok()
                .filter(|_| is_number)
                .ok_or_else(|| NetnsError::Number { word: word.to_owned() })
        };
        if let Some(digits) = word.strip_prefix("pid:") {
            return self.of_process(word, number(digits)?);
        }
        if let Some(digits) = word.strip_prefix("inode:") {
            return number(digits);
        }
        if word == "self" {
            return open(&self.proc.join("thread-self/ns/net"), word);
        }
        if word.contains('/') {
            return open(Path::new(word), word);
        }
        if let Some(path) = self.named(word) {
            return open(&path, word);
        }
        if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NetnsError::Unknown { word: word.to_owned() });
        }
        let number: NonZeroU32 = number(word)?;
        if number.get() <= MAX_PID {
            return self.of_process(word, number);
        }
        let has_name = || self.names().iter().any(|(inode, ..)| *inode == number);
        let has_process = || self.processes().into_iter().any(|pid| self.namespace_of(pid) == Some(number));
        if has_name() || has_process() {
            Ok(number)
        } else {
            Err(NetnsError::Absent { word: word.to_owned() })
        }
    }

    fn of_process(&self, word: &str, pid: NonZeroU32) -> Result<NonZeroU32, NetnsError> {
        let failed = |error| NetnsError::Process { word: word.to_owned(), pid: pid.get(), error };
        Namespace::open(&self.namespace_file(pid)).map(|namespace| namespace.inode()).map_err(failed)
    }

    /// The file of that name. It may be there and lead nowhere: `ip netns` makes it before it mounts.
    fn named(&self, word: &str) -> Option<PathBuf> {
        let is_name = !matches!(word, "" | "." | "..");
        self.named.iter().filter(|_| is_name).map(|dir| dir.join(word)).find(|path| stat(path).is_ok())
    }

    /// Files of namespaces, with their names; those of a directory in the order of names.
    fn names(&self) -> Vec<(NonZeroU32, String, PathBuf)> {
        let mut names = Vec::new();
        for dir in &self.named {
            // Nobody needs to have named any.
            let entries = std::fs::read_dir(dir).into_iter().flatten().map_while(Result::ok);
            let mut paths: Vec<_> = entries.take(MAX_NAMES).map(|entry| entry.path()).collect();
            paths.sort_unstable();
            for path in paths {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if let Some(inode) = inode_of(&path).filter(|_| names.len() < MAX_NAMES) {
                    names.push((inode, name, path));
                }
            }
        }
        names
    }

    /// In ascending order.
    fn processes(&self) -> Vec<NonZeroU32> {
        let entries = std::fs::read_dir(&self.proc).into_iter().flatten().map_while(Result::ok);
        let mut pids: Vec<_> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse::<NonZeroU32>().ok()).collect();
        pids.sort_unstable();
        pids
    }

    fn namespace_file(&self, pid: NonZeroU32) -> PathBuf {
        self.proc.join(pid.to_string()).join("ns/net")
    }

    fn namespace_of(&self, pid: NonZeroU32) -> Option<NonZeroU32> {
        inode_of(&self.namespace_file(pid))
    }

    fn process_name(&self, pid: NonZeroU32) -> String {
        let mut comm = Vec::new();
        let read = File::open(self.proc.join(pid.to_string()).join("comm"))
            .and_then(|file| file.take(MAX_COMM).read_to_end(&mut comm));
        match read {
            Ok(_) => {
                format!("pid {pid} ({})", String::from_utf8_lossy(comm.strip_suffix(b"\n").unwrap_or(&comm)))
            }
            Err(_) => format!("pid {pid}"),
        }
    }
}

/// Inode of the namespace, of any kind, behind a file; nothing is opened.
fn inode_of(path: &Path) -> Option<NonZeroU32> {
    let is_nsfs = u64::try_from(statfs(path).ok()?.f_type) == Ok(NSFS_MAGIC);
    let inode = stat(path).ok().filter(|_| is_nsfs)?.st_ino;
    // The kernel's are `unsigned int` (`struct ns_common`).
    u32::try_from(inode).ok().and_then(NonZeroU32::new)
}

/// The network namespace behind a file.
fn open(path: &Path, word: &str) -> Result<NonZeroU32, NetnsError> {
    let other = || NetnsError::Other { word: word.to_owned() };
    let failed = |error| NetnsError::Path { word: word.to_owned(), error };
    // A look first: opening a device can do something.
    stat(path).map_err(failed)?;
    inode_of(path).ok_or_else(other)?;
    let namespace = Namespace::open(path).map_err(failed)?;
    if is_network(namespace.fd()) { Ok(namespace.inode()) } else { Err(other()) }
}

/// Whether an open namespace is one of networks.
fn is_network(namespace: BorrowedFd<'_>) -> bool {
    let link = readlink(format!("/proc/self/fd/{}", namespace.as_raw_fd()), Vec::new());
    match link.as_ref().map(|link| link.to_bytes()) {
        // `ns_dname`
        Ok(link) if !link.starts_with(b"/") => link.starts_with(b"net:["),
        // It is mounted on a file, and the link is that file's path.
        _ => may_be_entered(namespace),
    }
}

/// Whether the kernel takes it for one of networks. It looks at that first and then for the privilege to enter
/// (`setns`, kernel/nsproxy.c); a thread of its own enters, and ends there. A sandbox that forbids the question is taken
/// for a yes.
fn may_be_entered(namespace: BorrowedFd<'_>) -> bool {
    let enter = || move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network));
    let entered = thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns-look".to_owned()).spawn_scoped(scope, enter);
        thread.ok().and_then(|thread| thread.join().ok())
    });
    entered != Some(Err(Errno::INVAL))
}

#[cfg(test)]
mod tests;
