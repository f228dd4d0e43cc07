//! A mounted cgroup2 hierarchy: directories, and the ids that the kernel gives for them.

use std::{
    ffi::OsStr,
    io,
    num::NonZeroU64,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, open, stat, statat};

use super::mountinfo::is_outside;
use crate::model::Cgroup;

/// The cgroup2 hierarchy, or the part of it that is mounted here.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    pub(super) dir: PathBuf,
    /// Path of the mounted part from the root that our cgroup namespace shows, without a slash at the end.
    root: Vec<u8>,
    pub(super) dev: u64,
    /// The cgroup at `dir`.
    pub(super) id: NonZeroU64,
    pub(super) root_cgroup: Arc<Cgroup>,
}

/// A directory in a directory.
pub(super) struct Child {
    pub(super) name: Vec<u8>,
    pub(super) id: NonZeroU64,
    pub(super) has_children: bool,
}

impl Mount {
    pub(super) fn at(dir: &Path, root: &[u8]) -> io::Result<Self> {
        let stat = stat(dir)?;
        let id = directory_id(&stat).ok_or(io::ErrorKind::NotADirectory)?;
        let root = if is_outside(root) { b"" } else { root.strip_suffix(b"/").unwrap_or(root) };
        let name = if root.is_empty() { b"/" } else { root };
        let root_cgroup = Arc::new(Cgroup::at(name));
        Ok(Self { dir: dir.to_owned(), root: root.to_owned(), dev: stat.st_dev, id, root_cgroup })
    }

    /// The path below the mount that a person means: empty, or with a leading slash.
    pub(super) fn below(&self, path: &Path) -> Option<Vec<u8>> {
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
    pub(super) fn path_of(&self, below: &[u8]) -> Vec<u8> {
        let path = [&self.root, below].concat();
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    fn file(&self, below: &[u8]) -> PathBuf {
        self.dir.join(OsStr::from_bytes(below.strip_prefix(b"/").unwrap_or(below)))
    }

    pub(super) fn id_below(&self, below: &[u8]) -> io::Result<NonZeroU64> {
        let stat = stat(self.file(below))?;
        if stat.st_dev != self.dev {
            return Err(io::Error::new(io::ErrorKind::CrossesDevices, "on another file system"));
        }
        directory_id(&stat).ok_or_else(|| io::ErrorKind::NotADirectory.into())
    }

    /// What is below the mount of a path of `/proc/PID/cgroup`, when it has that id.
    pub(super) fn verified(&self, path: &[u8], id: NonZeroU64) -> Option<Vec<u8>> {
        let below = path.strip_prefix(&self.root[..])?;
        let is_path = below.starts_with(b"/") && !below.split(|byte| *byte == b'/').any(|name| name == b"..");
        (is_path && self.id_below(below).ok()? == id).then(|| below.to_owned())
    }

    pub(super) fn children(&self, below: &[u8]) -> io::Result<Vec<Child>> {
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

pub(super) fn directory_id(stat: &Stat) -> Option<NonZeroU64> {
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    is_directory.then(|| NonZeroU64::new(stat.st_ino)).flatten()
}
