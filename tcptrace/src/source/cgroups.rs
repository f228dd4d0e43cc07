//! Control groups by the ids that the kernel's records carry.
//!
//! The id of a cgroup v2 is the inode number of its directory (`cgroup_id`, include/linux/cgroup.h: `kn->id`; on a 64-bit
//! kernel `kernfs_ino` is the whole of it) and is never given to another (`__kernfs_new_node` counts a generation in its
//! upper half), and a cgroup v2 cannot be renamed (`cgroup1_rename` is for v1 alone): a name that was found once stays
//! right. No capability is needed.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    fs::File,
    io::{self, Read as _},
    num::{NonZeroU32, NonZeroU64},
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use hashlink::LinkedHashMap;
use rustc_hash::FxBuildHasher;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, major, minor, open, stat, statat};
use thiserror::Error;

use super::clock;
use crate::model::{Cgroup, KtimeNs};

/// Names that are kept.
const MAX_KNOWN: usize = 65_536;
/// Answers that hold for a while only.
const MAX_GUESSES: usize = 8_192;
/// For how long those hold.
const GUESS_NS: u64 = 1_000_000_000;
/// Directories that one walk looks at.
const MAX_DIRECTORIES: usize = 100_000;
/// Longer paths are found by their processes only: a deep tree of somebody's must not fill our memory.
const MAX_PATH: usize = 1024;
/// A walk that took less is cheap.
const CHEAP_NS: u64 = 5_000_000;
/// Rest after a cheap walk.
const CHEAP_REST_NS: u64 = 20_000_000;
/// Rest after any other.
const REST_NS: u64 = 250_000_000;
/// More than the kernel writes for one process: a path of `PATH_MAX` for each of its hierarchies.
const MAX_CGROUP_FILE: u64 = 128 * 1024;
/// Of a file that has a line for each mount; a host of many containers has thousands.
const MAX_MOUNTINFO: u64 = 16 * 1024 * 1024;

/// Why a path that somebody has given leads to no cgroup.
#[derive(Debug, Error)]
pub enum CgroupError {
    /// Only v1, or nothing.
    #[error(
        "`{word}` cannot be looked up: no cgroup2 hierarchy is mounted here; `mount -t cgroup2 none DIRECTORY` adds one"
    )]
    NoHierarchy {
        /// What was given.
        word: String,
    },
    /// It is not there, or it is something else.
    #[error(
        "`{word}` is no cgroup ({error}); accepted are a path below {mount} and a path from its root, such as {mount}/system.slice/nginx.service or system.slice/nginx.service"
    )]
    Absent {
        /// What was given.
        word: String,
        /// Where the hierarchy is.
        mount: String,
        /// Why.
        error: io::Error,
    },
}

/// Finds and remembers the cgroups of a host.
///
/// Memory is bounded; looking up an unknown id reads files, and now and then the tree of all cgroups.
#[derive(Debug)]
pub struct Cgroups {
    proc: PathBuf,
    mount: Option<Mount>,
    /// There are hierarchies of v1 too.
    has_v1: bool,
    /// The most recently used last.
    known: LinkedHashMap<NonZeroU64, Arc<Cgroup>, FxBuildHasher>,
    /// What could not be found, or be found by a process but not verified. The oldest first.
    guesses: LinkedHashMap<(NonZeroU64, Option<NonZeroU32>), Guess, FxBuildHasher>,
    /// No walk before this.
    next_walk: KtimeNs,
    /// That there are too many.
    has_warned: bool,
}

#[derive(Debug)]
struct Guess {
    cgroup: Option<Arc<Cgroup>>,
    until: KtimeNs,
}

/// What a search has come to.
enum Answer {
    /// The id's own name.
    Verified(Arc<Cgroup>),
    /// The process's.
    Guessed { cgroup: Option<Arc<Cgroup>>, until: KtimeNs },
}

impl Default for Cgroups {
    fn default() -> Self {
        Self::new()
    }
}

impl Cgroups {
    /// Of this host, with the cgroup2 hierarchy that `/proc/self/mountinfo` shows, if there is any.
    pub fn new() -> Self {
        let proc = PathBuf::from("/proc");
        let (mounts, has_v1) = read_at_most(&proc.join("self/mountinfo"), MAX_MOUNTINFO)
            .map_or_else(|_| Default::default(), |text| hierarchies(&text));
        Self::over(proc, mounts.iter().find_map(Mounted::open), has_v1)
    }

    fn over(proc: PathBuf, mount: Option<Mount>, has_v1: bool) -> Self {
        Self {
            proc,
            mount,
            has_v1,
            known: LinkedHashMap::default(),
            guesses: LinkedHashMap::default(),
            next_walk: KtimeNs(0),
            has_warned: false,
        }
    }

    /// Where the cgroup2 hierarchy is mounted.
    pub fn mount(&self) -> Option<&Path> {
        self.mount.as_ref().map(|mount| mount.dir.as_path())
    }

    /// The cgroup of that id. `pid` is a process that is likely in it: the quick way, where it is right.
    ///
    /// The cgroup of the process is taken for the one of that id, without proof, where the id tells nothing: in the root of
    /// cgroup2 while v1 has the processes (a hybrid host, or v1 alone), when the cgroup has been removed and was not
    /// seen before, and when it is outside of our own cgroup namespace. Such an answer holds for 1 s and is asked
    /// for again; it is kept when the process has gone.
    pub fn name(&mut self, id: NonZeroU64, pid: Option<NonZeroU32>) -> Option<Arc<Cgroup>> {
        self.name_at(id, pid, clock::now())
    }

    /// Whether the cgroup of that id is `ancestor` or below it; `None` when it cannot be found. The path is what
    /// [`Self::id_of`] takes, and need not exist any more.
    pub fn is_within(&mut self, id: NonZeroU64, ancestor: &Path) -> Option<bool> {
        let path = self.mount.as_ref()?.path_of(&self.mount.as_ref()?.below(ancestor)?);
        self.name(id, None).map(|cgroup| cgroup.is_within(&String::from_utf8_lossy(&path)))
    }

    /// The id of a cgroup that a person names: by a path below the mount, or by one from the root of cgroup2, with or
    /// without the leading slash.
    pub fn id_of(&self, path: &Path) -> Result<NonZeroU64, CgroupError> {
        let word = path.display().to_string();
        let Some(mount) = &self.mount else { return Err(CgroupError::NoHierarchy { word }) };
        let found = match mount.below(path) {
            Some(below) => mount.id_below(&below),
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, "empty, or with `..` in it")),
        };
        found.map_err(|error| CgroupError::Absent { word, mount: mount.dir.display().to_string(), error })
    }

    fn name_at(&mut self, id: NonZeroU64, pid: Option<NonZeroU32>, now: KtimeNs) -> Option<Arc<Cgroup>> {
        if let Some(mount) = self.mount.as_ref().filter(|mount| mount.id == id) {
            let root = Arc::clone(&mount.root_cgroup);
            // Where v1 has the processes, all of them are in the root of v2.
            let has_more = self.has_v1 && pid.is_some() && root.path == "/";
            let more = has_more.then(|| self.guess(id, pid, now)).flatten();
            return Some(more.unwrap_or(root));
        }
        match self.known.to_back(&id) {
            Some(cgroup) => Some(Arc::clone(cgroup)),
            None => self.guess(id, pid, now),
        }
    }

    /// What was found within the last second, or what is found now.
    fn guess(&mut self, id: NonZeroU64, pid: Option<NonZeroU32>, now: KtimeNs) -> Option<Arc<Cgroup>> {
        let key = (id, pid);
        let old = self.guesses.get(&key);
        if let Some(guess) = old.filter(|guess| now < guess.until) {
            return guess.cgroup.clone();
        }
        let old = old.and_then(|guess| guess.cgroup.clone());
        match self.search(id, pid, now) {
            Answer::Verified(cgroup) => {
                self.guesses.remove(&key);
                Some(cgroup)
            }
            Answer::Guessed { cgroup, until } => {
                let cgroup = cgroup.or(old);
                self.guesses.insert(key, Guess { cgroup: cgroup.clone(), until });
                if self.guesses.len() > MAX_GUESSES {
                    self.guesses.pop_front();
                }
                cgroup
            }
        }
    }

    fn search(&mut self, id: NonZeroU64, pid: Option<NonZeroU32>, now: KtimeNs) -> Answer {
        let membership = pid.and_then(|pid| Membership::read(&self.proc, pid)).unwrap_or_default();
        let in_a_second = KtimeNs(now.0.saturating_add(GUESS_NS));
        let guessed = |path: Option<&[u8]>, until| {
            let cgroup = path.map(|path| Arc::new(Cgroup::at(path)));
            Answer::Guessed { cgroup, until }
        };
        let Some(mount) = self.mount.as_ref().filter(|mount| mount.id != id) else {
            return guessed(membership.controllers.as_deref().map(outside_and_gone), in_a_second);
        };
        let unified = membership.unified.as_deref();
        if let Some(below) = unified.and_then(|path| mount.verified(path, id)) {
            let cgroup = Arc::new(Cgroup::at(&mount.path_of(&below)));
            self.remember(id, &cgroup);
            return Answer::Verified(cgroup);
        }
        let until = if now < self.next_walk {
            // What was seen in the last walk is known: this one was made since, or it is gone.
            self.next_walk
        } else {
            if let Some(cgroup) = self.walk(id, now) {
                return Answer::Verified(cgroup);
            }
            in_a_second
        };
        // A path without a mark is that of a living cgroup with another id: the process has moved.
        let marked = unified.map(|path| (path, outside_and_gone(path))).filter(|(path, name)| path != name);
        guessed(marked.map(|(_, name)| name), until)
    }

    /// Records all cgroups that there are.
    fn walk(&mut self, wanted: NonZeroU64, now: KtimeNs) -> Option<Arc<Cgroup>> {
        let mount = self.mount.clone()?;
        let begun = clock::now();
        let mut found = None;
        let mut seen = 0;
        let mut open_ends = VecDeque::from([Vec::new()]);
        // The outer ones first: nobody hides others behind a deep tree of their own.
        'tree: while let Some(above) = open_ends.pop_front() {
            // It may be gone by now.
            for child in mount.children(&above).into_iter().flatten() {
                seen += 1;
                if seen > MAX_DIRECTORIES {
                    if !std::mem::replace(&mut self.has_warned, true) {
                        tracing::warn!(
                            "there are more than {MAX_DIRECTORIES} cgroups: some have no name here"
                        );
                    }
                    break 'tree;
                }
                let below = [&above[..], b"/", &child.name].concat();
                if below.len() > MAX_PATH {
                    continue;
                }
                if !self.known.contains_key(&child.id) {
                    let cgroup = Arc::new(Cgroup::at(&mount.path_of(&below)));
                    self.remember(child.id, &cgroup);
                    if child.id == wanted {
                        found = Some(cgroup);
                    }
                }
                if child.has_children {
                    open_ends.push_back(below);
                }
            }
        }
        let cost = clock::now().0.saturating_sub(begun.0);
        let rest = if cost < CHEAP_NS { CHEAP_REST_NS } else { REST_NS };
        self.next_walk = KtimeNs(now.0.saturating_add(cost).saturating_add(rest));
        found
    }

    fn remember(&mut self, id: NonZeroU64, cgroup: &Arc<Cgroup>) {
        self.known.insert(id, Arc::clone(cgroup));
        if self.known.len() > MAX_KNOWN {
            self.known.pop_front();
        }
    }
}

/// The cgroup2 hierarchy, or the part of it that is mounted here.
#[derive(Clone, Debug)]
struct Mount {
    dir: PathBuf,
    /// Path of the mounted part from the root that our cgroup namespace shows, without a slash at the end.
    root: Vec<u8>,
    dev: u64,
    /// The cgroup at `dir`.
    id: NonZeroU64,
    root_cgroup: Arc<Cgroup>,
}

/// A directory in a directory.
struct Child {
    name: Vec<u8>,
    id: NonZeroU64,
    has_children: bool,
}

impl Mount {
    fn at(dir: &Path, root: &[u8]) -> io::Result<Self> {
        let stat = stat(dir)?;
        let id = directory_id(&stat).ok_or(io::ErrorKind::NotADirectory)?;
        let root = if is_outside(root) { b"" } else { root.strip_suffix(b"/").unwrap_or(root) };
        let name = if root.is_empty() { b"/" } else { root };
        let root_cgroup = Arc::new(Cgroup::at(name));
        Ok(Self { dir: dir.to_owned(), root: root.to_owned(), dev: stat.st_dev, id, root_cgroup })
    }

    /// The path below the mount that a person means: empty, or with a leading slash.
    fn below(&self, path: &Path) -> Option<Vec<u8>> {
        if path.as_os_str().is_empty() {
            return None;
        }
        let mut below = Vec::new();
        for component in path.strip_prefix(&self.dir).unwrap_or(path).components() {
            match component {
                Component::Normal(name) => {
                    below.push(b'/');
                    below.extend_from_slice(name.as_bytes());
                }
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir | Component::Prefix(_) => return None,
            }
        }
        Some(below)
    }

    /// Path in the hierarchy of what is below the mount.
    fn path_of(&self, below: &[u8]) -> Vec<u8> {
        let path = [&self.root, below].concat();
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    fn file(&self, below: &[u8]) -> PathBuf {
        self.dir.join(OsStr::from_bytes(below.strip_prefix(b"/").unwrap_or(below)))
    }

    fn id_below(&self, below: &[u8]) -> io::Result<NonZeroU64> {
        let stat = stat(self.file(below))?;
        if stat.st_dev != self.dev {
            return Err(io::Error::new(io::ErrorKind::CrossesDevices, "on another file system"));
        }
        directory_id(&stat).ok_or_else(|| io::ErrorKind::NotADirectory.into())
    }

    /// What is below the mount of a path of `/proc/PID/cgroup`, when it has that id.
    fn verified(&self, path: &[u8], id: NonZeroU64) -> Option<Vec<u8>> {
        let below = path.strip_prefix(&self.root[..])?;
        let is_path = below.starts_with(b"/") && !below.split(|byte| *byte == b'/').any(|name| name == b"..");
        (is_path && self.id_below(below).ok()? == id).then(|| below.to_owned())
    }

    fn children(&self, below: &[u8]) -> io::Result<Vec<Child>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut dir = Dir::new(open(self.file(below), flags, Mode::empty())?)?;
        let mut children = Vec::new();
        while let Some(Ok(entry)) = dir.read() {
            let name = entry.file_name();
            let is_directory = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
            if !is_directory || matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = statat(dir.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let Some(id) = directory_id(&stat).filter(|_| stat.st_dev == self.dev) else { continue };
            // `kernfs_refresh_inode`: a link for each subdirectory and two more.
            children.push(Child { name: name.to_bytes().to_owned(), id, has_children: stat.st_nlink != 2 });
        }
        Ok(children)
    }
}

fn directory_id(stat: &Stat) -> Option<NonZeroU64> {
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    is_directory.then(|| NonZeroU64::new(stat.st_ino)).flatten()
}

/// Whether a path leads out of our cgroup namespace (`kernfs_path_from_node`).
fn is_outside(path: &[u8]) -> bool {
    path == b"/.." || path.starts_with(b"/../")
}

/// The name in a path of `/proc/PID/cgroup`: without the way out of our cgroup namespace, and without the mark of a
/// cgroup that has been removed (`proc_cgroup_show`).
fn outside_and_gone(mut path: &[u8]) -> &[u8] {
    while is_outside(path) {
        path = &path[3..];
    }
    path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    if path.is_empty() { b"/" } else { path }
}

/// The cgroups that a process is in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Membership {
    /// In cgroup2.
    pub(crate) unified: Option<Vec<u8>>,
    /// In the hierarchy of v1 that tells most.
    pub(crate) controllers: Option<Vec<u8>>,
}

impl Membership {
    fn read(proc: &Path, pid: NonZeroU32) -> Option<Self> {
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

/// A line of mountinfo.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    dev: (u32, u32),
    pub(crate) root: Vec<u8>,
    pub(crate) dir: PathBuf,
}

impl Mounted {
    /// `None` when another mount hides it.
    fn open(&self) -> Option<Mount> {
        let mount = Mount::at(&self.dir, &self.root).ok()?;
        ((major(mount.dev), minor(mount.dev)) == self.dev).then_some(mount)
    }
}

/// The mounts of cgroup2, the most complete first, and whether there are any of v1.
pub(crate) fn hierarchies(mountinfo: &[u8]) -> (Vec<Mounted>, bool) {
    let mut mounts = Vec::new();
    let mut has_v1 = false;
    for line in mountinfo.split(|byte| *byte == b'\n') {
        // `ID PARENT MAJOR:MINOR ROOT DIRECTORY OPTIONS [FIELD..] - TYPE SOURCE OPTIONS` (`show_mountinfo`)
        let mut fields = line.split(|byte| *byte == b' ');
        let mut head = fields.by_ref().skip(2);
        let (Some(dev), Some(root), Some(dir)) = (head.next(), head.next(), head.next()) else { continue };
        match fields.skip_while(|field| *field != b"-").nth(1) {
            Some(b"cgroup") => has_v1 = true,
            Some(b"cgroup2") => {
                let Some(dev) = device(dev) else { continue };
                let dir = PathBuf::from(OsStr::from_bytes(&unescape(dir)));
                mounts.push(Mounted { dev, root: unescape(root), dir });
            }
            _ => {}
        }
    }
    mounts.sort_by_key(|mount| (is_outside(&mount.root), mount.root.len()));
    (mounts, has_v1)
}

fn device(text: &[u8]) -> Option<(u32, u32)> {
    let (major, minor) = str::from_utf8(text).ok()?.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Undoes `mangle_path`: space, tab, newline and backslash are written in octal.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.first_chunk::<3>().filter(|_| byte == b'\\');
        let octal = octal.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        plain.push(octal.unwrap_or(byte));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    plain
}

fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
