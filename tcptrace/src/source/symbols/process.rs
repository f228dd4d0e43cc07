//! A process as `/proc` shows it: who it is, where its code lies, and how its files can be opened.

use std::{
    ffi::OsStr,
    io::{self, BufReader},
    num::NonZeroU32,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    sync::{Arc, Weak},
};

use rustc_hash::FxHashMap;
use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags};

use super::maps::{Mapping, Mappings};

/// Directories that are held open for the sake of processes that may end, all different.
const MAX_ROOTS: usize = 64;

/// Of `start_boottime` in a tick of `/proc/PID/stat`: `USER_HZ` is 100 on all machines that we run on.
pub(super) const NS_PER_TICK: u64 = 10_000_000;

/// A process: its number, and when it began, in ticks since boot, lest another of the same number be taken for it.
pub(super) type Identity = (NonZeroU32, u64);

/// A file: device and inode.
pub(super) type Node = (u64, u64);

/// A process that exists. All that is read goes through one directory of `/proc`, which stays that of this process even
/// if the number is given to another one (`proc_pid_make_inode`, fs/proc/base.c).
#[derive(Debug)]
pub(super) struct Alive {
    dir: OwnedFd,
    pub(super) identity: Identity,
}

impl Alive {
    /// `None` if there is none, or if it is another one than that of `ticks`.
    pub(super) fn open(pid: NonZeroU32, ticks: Option<u64>) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = fs::open(format!("/proc/{pid}"), flags, Mode::empty()).ok()?;
        let began = start_ticks(&read(&dir, "stat").ok()?)?;
        let same = ticks.is_none_or(|ticks| ticks == began);
        same.then_some(Self { dir, identity: (pid, began) })
    }

    pub(super) fn mappings(&self) -> io::Result<Mappings> {
        let maps = fs::openat(&self.dir, "maps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Mappings::parse(BufReader::new(std::fs::File::from(maps)))
    }

    /// The file that it runs; another one after `execve`. `None` for threads of the kernel.
    pub(super) fn executable(&self) -> Option<Node> {
        node_at(&self.dir, "exe").ok()
    }

    /// Opens what is mapped, as `O_PATH`. Neither way depends on a name: the file may be deleted or hidden.
    pub(super) fn open_mapped(&self, mapping: &Mapping) -> io::Result<OwnedFd> {
        // Following these links needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE (proc_map_files_get_link) ..
        let link = format!("map_files/{:x}-{:x}", mapping.range.start, mapping.range.end);
        match self.open_path(&link) {
            Ok(file) => Ok(file),
            // .. this one only the right to trace it.
            Err(_) => same_inode(self.open_path("exe")?, mapping),
        }
    }

    fn open_path(&self, name: &str) -> io::Result<OwnedFd> {
        Ok(fs::openat(&self.dir, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
    }
}

/// The root directory of a process, open even when the process is gone. What is mounted below it is gone then, too, if
/// the process was the last one of its mount namespace (`put_mnt_ns`, fs/namespace.c).
#[derive(Debug)]
pub(super) struct Root {
    dir: OwnedFd,
    /// Whether it is ours.
    pub(super) is_ours: bool,
}

impl Root {
    /// Opens what is mapped by its name, as `O_PATH`. Symbolic links do not lead out of the root (`openat2`, Linux 5.6). A name may mean another file by now.
    pub(super) fn open_named(&self, mapping: &Mapping) -> io::Result<OwnedFd> {
        let name = mapping.name.as_bytes();
        if !name.starts_with(b"/") {
            return Err(io::ErrorKind::NotFound.into());
        }
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = fs::openat2(&self.dir, OsStr::from_bytes(name), flags, Mode::empty(), resolve)?;
        same_inode(file, mapping)
    }
}

/// Root directories by mount namespace and inode: one for all processes of a container.
#[derive(Debug, Default)]
pub(super) struct Roots(FxHashMap<(Node, Node), Weak<Root>>);

impl Roots {
    pub(super) fn of(&mut self, process: &Alive) -> Option<Arc<Root>> {
        let root = node_at(&process.dir, "root").ok()?;
        let key = (node_at(&process.dir, "ns/mnt").ok()?, root);
        if let Some(known) = self.0.get(&key).and_then(Weak::upgrade) {
            return Some(known);
        }
        self.0.retain(|_, root| root.strong_count() > 0);
        if self.0.len() >= MAX_ROOTS {
            return None;
        }
        let is_ours = node_at(fs::CWD, "/").is_ok_and(|ours| ours == root);
        // Names are told from our root where they can be (`d_path`, fs/d_path.c), whatever the root of the process.
        let is_reachable = node_at(fs::CWD, "/proc/self/ns/mnt").is_ok_and(|ours| ours == key.0);
        let dir = if is_reachable {
            fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?
        } else {
            process.open_path("root").ok()?
        };
        let root = Arc::new(Root { dir, is_ours });
        self.0.insert(key, Arc::downgrade(&root));
        Some(root)
    }
}

/// The inode only: `maps` and `stat` tell different devices on btrfs and overlayfs.
fn same_inode(file: OwnedFd, mapping: &Mapping) -> io::Result<OwnedFd> {
    if fs::fstat(&file)?.st_ino == mapping.inode { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

fn node_at(dir: impl AsFd, name: &str) -> io::Result<Node> {
    let stat = fs::statat(dir, name, AtFlags::empty())?;
    Ok((stat.st_dev, stat.st_ino))
}

fn read(dir: &OwnedFd, name: &str) -> io::Result<Vec<u8>> {
    let file = fs::openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = vec![0; 4096];
    let length = rustix::io::read(&file, &mut text)?;
    text.truncate(length);
    Ok(text)
}

/// Field 22 of `/proc/PID/stat` (`do_task_stat`, fs/proc/array.c). The second one is the name of the process, in
/// parentheses, and may hold anything.
fn start_ticks(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let text = str::from_utf8(stat.get(end + 1..)?).ok()?;
    text.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_behind_any_name() {
        let stat = b"7 (a) 9 (b) S 1 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1";
        assert_eq!(start_ticks(stat), Some(4711));
        assert_eq!(start_ticks(b"7 (a) S"), None);
        assert_eq!(start_ticks(b"7 (a)"), None);
        assert_eq!(start_ticks(b""), None);
    }

    #[test]
    fn another_process_of_the_same_number_is_not_taken_for_it() {
        let pid = NonZeroU32::new(std::process::id()).expect("has a number");
        let (_, began) = Alive::open(pid, None).expect("we are alive").identity;
        assert!(Alive::open(pid, Some(began)).is_some());
        assert!(Alive::open(pid, Some(began + 1)).is_none());
    }

    #[test]
    fn a_root_is_opened_once() {
        let pid = NonZeroU32::new(std::process::id()).expect("has a number");
        let process = Alive::open(pid, None).expect("we are alive");
        let mut roots = Roots::default();
        let root = roots.of(&process).expect("is open");
        assert!(root.is_ours);
        assert!(Arc::ptr_eq(&root, &roots.of(&process).expect("is open")));
    }
}
