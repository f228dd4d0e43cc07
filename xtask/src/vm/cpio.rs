//! A writer of the archive format that the kernel unpacks at boot (Documentation/driver-api/early-userspace/
//! buffer-format.rst): "newc", with no owner but root. With it no root, no device node and no cpio is needed.

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;

pub(crate) struct Archive<W> {
    out: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    pub(crate) const fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    pub(crate) fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY, &[])
    }

    pub(crate) fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.entry(path, EXECUTABLE, content)
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.out.flush()
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.inode += 1;
        let links = if mode == DIRECTORY { 2 } else { 1 };
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let name_size = u32::try_from(path.len() + 1).map_err(io::Error::other)?;
        write!(self.out, "070701")?;
        // Inode, mode, uid, gid, links, time, size, device and special device in two halves each, name, checksum.
        for field in [self.inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0] {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        // The header has 110 bytes; the name and the content are padded to a multiple of 4.
        self.pad(110 + path.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..length.wrapping_neg() % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned() -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.directory("a")?;
        archive.file("a/bc", b"12345")?;
        archive.finish()?;
        assert_eq!(bytes.len() % 4, 0);
        let headers: Vec<usize> = (0..bytes.len() - 6).filter(|i| &bytes[*i..*i + 6] == b"070701").collect();
        // 110 + "a" and its NUL = 112; 110 + 5 = 115, padded to 116, and 8 for the content.
        assert_eq!(headers, [0, 112, 112 + 124]);
        assert_eq!(&bytes[112 + 116..112 + 121], b"12345");
        Ok(())
    }
}
