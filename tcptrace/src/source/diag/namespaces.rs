//! The network namespaces of the host.

use std::{
    collections::hash_map::Entry,
    num::NonZeroU32,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustc_hash::FxHashMap;
use rustix::{
    fs::{CWD, Dir, Mode, OFlags, fstat, fstatfs, open, stat},
    io::Errno,
};

use super::DiagError;

/// `NSFS_MAGIC`, `include/uapi/linux/magic.h`
const NSFS_MAGIC: u64 = 0x6e73_6673;
/// Where `ip netns` keeps names.
const NAMED: &str = "/run/netns";
const PROC: &str = "/proc";
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace and a hold on it: it lives at least as long as this.
#[derive(Clone, Debug)]
pub struct Namespace {
    inode: NonZeroU32,
    fd: Arc<OwnedFd>,
}

impl Namespace {
    /// The one that the calling thread is in.
    pub fn own() -> Result<Self, DiagError> {
        Self::open(Path::new(OWN)).map_err(|error| DiagError::List { path: OWN, error })
    }

    /// The one behind a file in `/proc/PID/ns` or `/run/netns`. `EINVAL` when there is none behind it.
    pub fn open(path: &Path) -> Result<Self, Errno> {
        // A FIFO in its place must not hold us up.
        let fd = open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
        if u64::try_from(fstatfs(&fd)?.f_type) != Ok(NSFS_MAGIC) {
            return Err(Errno::INVAL);
        }
        let inode = inode_number(fstat(&fd)?.st_ino).ok_or(Errno::INVAL)?;
        Ok(Self { inode, fd: Arc::new(fd) })
    }

    /// Inode of the namespace: what `ss -N`, `lsns` and `readlink /proc/PID/ns/net` show.
    pub fn inode(&self) -> NonZeroU32 {
        self.inode
    }

    /// The open file.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Each once.
    pub namespaces: Vec<Namespace>,
    /// Where each was found.
    pub places: Places,
    /// Processes whose namespace may not be looked at; it may be one of those found or not.
    pub hidden_processes: u64,
    /// Names that lead to no namespace that can be opened, and why.
    pub unreadable_names: Vec<(PathBuf, Errno)>,
}

impl Found {
    /// Opens the namespace behind `path` unless it is known. Most processes share one: a look is enough for them.
    fn add(&mut self, path: PathBuf) -> Result<(), Errno> {
        if inode_number(stat(&path)?.st_ino).is_some_and(|inode| self.places.0.contains_key(&inode)) {
            return Ok(());
        }
        let namespace = Namespace::open(&path)?;
        if let Entry::Vacant(place) = self.places.0.entry(namespace.inode) {
            place.insert(path);
            self.namespaces.push(namespace);
        }
        Ok(())
    }
}

/// Where namespaces were found last. Most are still there, and need not be looked for among all processes again.
#[derive(Debug, Default)]
pub struct Places(FxHashMap<NonZeroU32, PathBuf>);

impl Places {
    /// Opens these, unless one of them is not where it was.
    pub fn open(&self, inodes: &[NonZeroU32]) -> Option<Vec<Namespace>> {
        let open = |inode| Namespace::open(self.0.get(inode)?).ok().filter(|found| found.inode == *inode);
        inodes.iter().map(open).collect()
    }
}

/// How namespaces are found.
#[derive(Debug)]
pub struct Namespaces;

impl Namespaces {
    /// All network namespaces that a process or a thread is in or that `ip netns` has named.
    ///
    /// Not found: those that are held by a mount elsewhere or a descriptor only. Takes CAP_SYS_PTRACE for other users' processes (`proc_ns_readlink`).
    pub fn find() -> Result<Found, DiagError> {
        let mut found = Found::default();
        let failed = |error| DiagError::List { path: PROC, error };
        for entry in directory(PROC).map_err(failed)? {
            let name = entry.map_err(failed)?;
            if !name.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let process = Path::new(PROC).join(name);
            match found.add(process.join("ns/net")) {
                // ENOENT: it has ended. A zombie's link is there, but leads nowhere.
                Ok(()) | Err(Errno::NOENT | Errno::SRCH) => {}
                Err(_) => {
                    found.hidden_processes += 1;
                    continue;
                }
            }
            for thread in threads(&process.join("task")) {
                // As above; and whoever may look at the process may look at its threads.
                let _ = found.add(thread.join("ns/net"));
            }
        }
        // Nobody needs to have used `ip netns`.
        for entry in directory(NAMED).into_iter().flatten() {
            let Ok(name) = entry else { break };
            let path = Path::new(NAMED).join(name);
            match found.add(path.clone()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => found.unreadable_names.push((path, error)),
            }
        }
        Ok(found)
    }
}

/// The threads of a process, in its directory `task`; none when there is but one, as of most processes.
fn threads(tasks: &Path) -> Vec<PathBuf> {
    // A directory has a link for each one in it, besides `.` and its own name (`proc_task_getattr`).
    const LINKS_OF_ONE: u64 = 3;
    if stat(tasks).map_or(0, |tasks| tasks.st_nlink) <= LINKS_OF_ONE {
        return Vec::new();
    }
    directory(tasks).into_iter().flatten().map_while(Result::ok).map(|name| tasks.join(name)).collect()
}

/// The names in a directory.
fn directory(path: impl rustix::path::Arg) -> Result<impl Iterator<Item = Result<String, Errno>>, Errno> {
    let fd =
        rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(Dir::new(fd)?.filter_map(|entry| match entry {
        Ok(entry) => entry
            .file_name()
            .to_str()
            .ok()
            .filter(|name| !matches!(*name, "." | ".."))
            .map(|n| Ok(n.to_owned())),
        Err(error) => Some(Err(error)),
    }))
}

/// The kernel's namespace inodes are `unsigned int` (`struct ns_common`).
fn inode_number(st_ino: u64) -> Option<NonZeroU32> {
    u32::try_from(st_ino).ok().and_then(NonZeroU32::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_one_was_found_it_is_opened_again() {
        let own = Namespace::own().expect("own").inode();
        let Found { namespaces, places, .. } = Namespaces::find().expect("find");
        assert!(namespaces.iter().any(|found| found.inode == own));
        let opened = places.open(&[own]).expect("it is still there");
        assert_eq!(opened.iter().map(Namespace::inode).collect::<Vec<_>>(), [own]);
    }

    #[test]
    fn another_one_in_its_place_is_not_taken_for_it() {
        let own = Namespace::own().expect("own").inode();
        let gone = NonZeroU32::MAX;
        let places = Places(FxHashMap::from_iter([(gone, PathBuf::from(OWN)), (own, PathBuf::from(OWN))]));
        assert!(places.open(&[own]).is_some());
        assert!(places.open(&[own, gone]).is_none());
    }
}
