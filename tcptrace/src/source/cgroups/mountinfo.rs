//! `/proc/self/mountinfo`: where cgroup hierarchies are mounted.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::PathBuf};

use rustix::fs::{major, minor};

use super::mount::Mount;

/// A line of mountinfo.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(super) dev: (u32, u32),
    pub(crate) root: Vec<u8>,
    pub(crate) dir: PathBuf,
}

impl Mounted {
    /// `None` when another mount hides it.
    pub(super) fn open(&self) -> Option<Mount> {
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
pub(super) fn unescape(text: &[u8]) -> Vec<u8> {
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

/// Whether a path leads out of our cgroup namespace (`kernfs_path_from_node`).
pub(super) fn is_outside(path: &[u8]) -> bool {
    path == b"/.." || path.starts_with(b"/../")
}
