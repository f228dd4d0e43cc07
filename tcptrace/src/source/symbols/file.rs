//! Files that processes run, made safe to be read as memory.
//!
//! A mapped file that somebody truncates kills who reads it (SIGBUS). What only root can write is mapped as it is;
//! everything else is copied first, into memory that nobody else has.

use std::{
    io::{self, Read as _, Write as _},
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
};

use rustix::fs::{self, FileType, MemfdFlags, Mode, OFlags, Stat};

use super::engine::Depth;

/// Larger files have no symbols for us.
pub(super) const MAX_FILE_BYTES: u64 = 256 << 20;

/// In copies that are larger, only the symbol table is read: a line table may say little at great length. Tests copy themselves,
/// and are larger than what they test.
const MAX_DEBUG_COPY_BYTES: u64 = if cfg!(test) { 256 << 20 } else { 64 << 20 };

/// `FUSE_SUPER_MAGIC` (include/uapi/linux/magic.h): its files are what a program answers, or does not answer.
const FUSE: u64 = 0x6573_5546;

/// Names, behind a dot, of sections that lead to other files. Whoever wrote the file says which: any device might be
/// opened. Written so that this program does not look as if it had them; every Rust program names them somewhere.
const LINKS: [&[u8]; 3] = [b"gnu_debuglink", b"gnu_debugaltlink", b"debug_sup"];

/// A file by everything that changes when it becomes another one: device, inode, size, time of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(u64, u64, i64, i64, u64);

/// A file that can be given to the reader of symbols.
#[derive(Debug)]
pub(super) struct Readable {
    file: OwnedFd,
    pub(super) depth: Depth,
    pub(super) bytes: usize,
}

impl Readable {
    /// Good for as long as this lives.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// `file` is open as `O_PATH`: what it is must be known before it is really opened, since opening a device may do
    /// something. `is_ours`: it belongs to a process in our own root directory, where root is root.
    pub(super) fn open(file: &OwnedFd, stat: &Stat, is_ours: bool) -> io::Result<Self> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || is_fuse(file)? {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        let bytes = usize::try_from(size).unwrap_or(usize::MAX);
        if size > MAX_FILE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let file = fs::open(link, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
        if is_ours && stat.st_uid == 0 && stat.st_mode & 0o022 == 0 {
            return Ok(Self { file, depth: Depth::DebugAndLinks, bytes });
        }
        let (file, has_links) = copy(file, size)?;
        let depth = if has_links || size > MAX_DEBUG_COPY_BYTES { Depth::Symbols } else { Depth::Debug };
        Ok(Self { file, depth, bytes })
    }
}

/// The identity of what is open.
pub(super) fn id(stat: &Stat) -> Id {
    Id(stat.st_dev, stat.st_ino, stat.st_size, stat.st_ctime, stat.st_ctime_nsec)
}

fn is_fuse(file: &OwnedFd) -> io::Result<bool> {
    Ok(u64::try_from(fs::fstatfs(file)?.f_type).is_ok_and(|kind| kind == FUSE))
}

/// Copies at most `size` bytes, holes as holes, and tells whether it may have a section of [`LINKS`].
fn copy(from: OwnedFd, size: u64) -> io::Result<(OwnedFd, bool)> {
    const CHUNK: usize = 1 << 20;
    /// Of the chunk before, so that a name across both is found.
    const OVERLAP: usize = 32;
    let mut from = std::fs::File::from(from).take(size);
    let mut to = std::fs::File::from(fs::memfd_create("symbols", MemfdFlags::CLOEXEC)?);
    let mut buffer = vec![0; OVERLAP + CHUNK];
    let mut has_links = false;
    let mut length = 0_u64;
    loop {
        let read = match from.read(&mut buffer[OVERLAP..]) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let new = &buffer[OVERLAP..OVERLAP + read];
        if new.iter().all(|byte| *byte == 0) {
            io::Seek::seek_relative(&mut to, i64::try_from(read).unwrap_or_default())?;
        } else {
            to.write_all(new)?;
        }
        has_links = has_links || names_link(&buffer[..OVERLAP + read]);
        length += read as u64;
        buffer.copy_within(read..read + OVERLAP, 0);
    }
    to.set_len(length)?;
    Ok((to.into(), has_links))
}

/// Whether the name of such a section is there, with the zero byte that ends it. Without one no section is called so,
/// whatever the headers say; with one it may be.
fn names_link(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(dot) = rest.iter().position(|byte| *byte == b'.') {
        rest = &rest[dot + 1..];
        if LINKS.iter().any(|name| rest.strip_prefix(*name).is_some_and(|behind| behind.first() == Some(&0)))
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd as _};

    use super::*;

    fn copied(content: &[u8]) -> (Vec<u8>, bool) {
        let mut file = tempfile::tempfile().expect("can be made");
        file.write_all(content).expect("is written");
        io::Seek::rewind(&mut file).expect("is a file");
        let (copy, has_links) = copy(file.into(), content.len() as u64).expect("is copied");
        let mut text = Vec::new();
        let mut copy = File::from(copy);
        io::Seek::rewind(&mut copy).expect("is a file");
        copy.read_to_end(&mut text).expect("is readable");
        (text, has_links)
    }

    #[test]
    fn a_copy_is_equal_and_tells_of_links() {
        for length in [0, 1, 100, 1 << 20, (1 << 20) + 7, 3 << 20] {
            let zeros = vec![0; length];
            assert_eq!(copied(&zeros), (zeros, false), "{length}");
            let ones = vec![b'.'; length];
            assert!(copied(&ones) == (ones, false), "{length}");
        }
        for link in LINKS {
            let name = [b".", link, b"\0"].concat();
            let end = (2 << 20) + 100;
            for at in [
                0,
                5,
                (1 << 20) - name.len(),
                (1 << 20) - name.len() + 1,
                (1 << 20) - 5,
                1 << 20,
                end - name.len(),
            ] {
                let mut content = vec![0; end];
                content[at..at + name.len()].copy_from_slice(&name);
                assert!(copied(&content) == (content.clone(), true), "{at}");
                content[at + name.len() - 1] = b'x';
                assert!(
                    copied(&content) == (content.clone(), false),
                    "{at}: it is the name of something else"
                );
            }
        }
    }

    fn open(path: &std::path::Path, is_ours: bool) -> io::Result<Readable> {
        let file = fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Readable::open(&file, &fs::fstat(&file)?, is_ours)
    }

    #[test]
    fn only_what_root_alone_can_write_is_read_in_place() {
        let dir = tempfile::tempdir().expect("can be made");
        let path = dir.path().join("program");
        std::fs::write(&path, "text").expect("is written");
        let file = File::open(&path).expect("is there");
        let is_root = rustix::process::geteuid().is_root();
        for (mode, is_ours, is_in_place) in
            [(0o755, true, is_root), (0o755, false, false), (0o775, true, false), (0o757, true, false)]
        {
            fs::fchmod(file.as_fd(), Mode::from_raw_mode(mode)).expect("is ours");
            let readable = open(&path, is_ours).expect("is readable");
            assert_eq!(readable.depth == Depth::DebugAndLinks, is_in_place, "{mode:o} {is_ours}");
            assert_eq!(std::fs::read(readable.path()).expect("is readable"), b"text");
        }
    }

    #[test]
    fn a_pipe_a_device_and_a_giant_are_not_opened() {
        let dir = tempfile::tempdir().expect("can be made");
        let path = dir.path().join("pipe");
        fs::mknodat(fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("can be made");
        assert!(open(&path, true).is_err(), "and it does not wait for a writer");
        assert!(open(std::path::Path::new("/dev/null"), true).is_err());
        let path = dir.path().join("giant");
        File::create(&path).and_then(|file| file.set_len(MAX_FILE_BYTES + 1)).expect("is sparse");
        assert!(open(&path, true).is_err());
    }
}
