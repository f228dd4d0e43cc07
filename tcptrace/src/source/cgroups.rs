//! Control groups by the ids that the kernel's records carry.
//!
//! The id of a cgroup v2 is the inode number of its directory (`cgroup_id`, include/linux/cgroup.h: `kn->id`; on a 64-bit
//! kernel `kernfs_ino` is the whole of it) and is never given to another (`__kernfs_new_node` counts a generation in its
//! upper half), and a cgroup v2 cannot be renamed (`cgroup1_rename` is for v1 alone): a name that was found once stays
//! right. No capability is needed.

mod membership;
mod mount;
mod mountinfo;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read as _},
    num::{NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
    sync::Arc,
};

use hashlink::LinkedHashMap;
use rustc_hash::FxBuildHasher;
use thiserror::Error;

pub(crate) use membership::Membership;
pub(crate) use mountinfo::{Mounted, hierarchies};

use membership::outside_and_gone;
use mount::Mount;

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

    /// The cgroup of this process, as /proc tells it: that of cgroup2, or of v1 where that has the processes. `None` where
    /// /proc does not tell, and for one that is outside of our own cgroup namespace.
    pub fn own(&self) -> Option<Cgroup> {
        let text = read_at_most(&self.proc.join("self/cgroup"), MAX_MOUNTINFO).ok()?;
        let Membership { unified, controllers } = Membership::parse(&text);
        let unified = unified.filter(|_| self.mount.is_some());
        let path = match (unified, controllers) {
            (Some(root), Some(of_v1)) if root == b"/" => of_v1,
            (Some(path), _) | (None, Some(path)) => path,
            (None, None) => return None,
        };
        (outside_and_gone(&path) == path).then(|| Cgroup::at(&path))
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

/// The beginning of a file, up to a limit.
fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut text)?;
    Ok(text)
}
