//! Where the code of a process lies: `/proc/PID/maps` (`show_map_vma`, fs/proc/task_mmu.c).

use std::{
    ffi::OsStr,
    io::{self, BufRead},
    ops::Range,
    os::unix::ffi::OsStrExt as _,
    sync::Arc,
};

/// Executable mappings of a process that are kept; a browser has some 300.
const MAX_MAPPINGS: usize = 2048;

/// What is read at most: `vm.max_map_count` (65,530) lines of 256 bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Executable memory of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) range: Range<u64>,
    /// Of `range.start` in the file, in bytes.
    pub(super) offset: u64,
    /// 0 for what is no file.
    pub(super) inode: u64,
    /// As the kernel tells it: a path as the process sees it, `[vdso]`, or nothing for memory without a file.
    pub(super) name: Arc<OsStr>,
}

impl Mapping {
    /// Where `addr` is in the file.
    pub(crate) fn file_offset(&self, addr: u64) -> u64 {
        addr.wrapping_sub(self.range.start).wrapping_add(self.offset)
    }
}

/// The executable mappings of one process, in the order of their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mappings(Box<[Mapping]>);

impl Mappings {
    /// Lines that are not understood are passed over.
    pub(crate) fn parse(maps: impl BufRead) -> io::Result<Self> {
        let mut mappings: Vec<Mapping> = Vec::new();
        let mut maps = maps.take(MAX_BYTES);
        let mut line = Vec::new();
        while mappings.len() < MAX_MAPPINGS {
            line.clear();
            if maps.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let last = mappings.last().map(|mapping| &mapping.name);
            if let Some(mapping) = parse_line(line.strip_suffix(b"\n").unwrap_or(&line), last) {
                mappings.push(mapping);
            }
        }
        // The kernel walks the addresses upwards, but what it tells while they change is not one moment's truth.
        mappings.sort_by_key(|mapping| mapping.range.start);
        Ok(Self(mappings.into()))
    }

    pub(crate) fn find(&self, addr: u64) -> Option<&Mapping> {
        let after = self.0.partition_point(|mapping| mapping.range.start <= addr);
        let mapping = self.0.get(after.checked_sub(1)?)?;
        mapping.range.contains(&addr).then_some(mapping)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Memory that this takes, in bytes, about.
    pub(crate) fn weight(&self) -> usize {
        let names: usize = self.0.chunk_by(|a, b| a.name == b.name).map(|same| same[0].name.len()).sum();
        size_of_val(&*self.0) + names
    }
}

/// `START-END PERM OFFSET MAJOR:MINOR INODE NAME`, numbers in hexadecimal but for the inode. `last` spares a name of
/// its own for each part of a file.
fn parse_line(line: &[u8], last: Option<&Arc<OsStr>>) -> Option<Mapping> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let mut field = || fields.next();
    let (range, permissions, offset, _device, inode) = (field()?, field()?, field()?, field()?, field()?);
    if permissions.get(2) != Some(&b'x') {
        return None;
    }
    let (start, end) = str::from_utf8(range).ok()?.split_once('-')?;
    let range = u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?;
    let name = OsStr::from_bytes(field().unwrap_or_default().trim_ascii_start());
    let name = match last {
        Some(last) if **last == *name => Arc::clone(last),
        _ => Arc::from(name),
    };
    Some(Mapping {
        range,
        offset: u64::from_str_radix(str::from_utf8(offset).ok()?, 16).ok()?,
        inode: str::from_utf8(inode).ok()?.parse().ok()?,
        name,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAPS: &[u8] = b"\
55d0c0000000-55d0c0001000 r--p 00000000 fe:00 42                         /usr/bin/a b (deleted)\n\
55d0c0001000-55d0c0002000 r-xp 00001000 fe:00 42                         /usr/bin/a b (deleted)\n\
55d0c0003000-55d0c0004000 r-xp 00003000 fe:00 42                         /usr/bin/a b (deleted)\n\
nonsense\n\
7f0000000000-7f0000001000 rwxp 00000000 00:00 0 \n\
7ffe5ff00000-7ffe5ff02000 r-xp 00000000 00:00 0                          [vdso]";

    #[test]
    fn executable_mappings_are_found() {
        let mappings = Mappings::parse(MAPS).expect("a slice is readable");
        assert_eq!(mappings.0.len(), 4);
        let first = mappings.find(0x55d0_c000_1fff).expect("is mapped");
        assert_eq!((first.inode, first.name.to_str()), (42, Some("/usr/bin/a b (deleted)")));
        assert_eq!(first.file_offset(0x55d0_c000_1fff), 0x1fff);
        assert!(Arc::ptr_eq(&mappings.0[0].name, &mappings.0[1].name));
        assert_eq!(mappings.find(0x7f00_0000_0000).map(|mapping| mapping.name.len()), Some(0));
        assert_eq!(mappings.find(0x7ffe_5ff0_0000).and_then(|mapping| mapping.name.to_str()), Some("[vdso]"));
        for addr in [0, 0x55d0_c000_0000, 0x55d0_c000_2000, 0x7f00_0000_1000, u64::MAX] {
            assert_eq!(mappings.find(addr), None, "{addr:#x}");
        }
    }

    #[test]
    fn a_process_of_many_mappings_is_cut() {
        let many: Vec<u8> =
            (1..5000).flat_map(|i| format!("{i:x}000-{i:x}800 r-xp 0 0:0 0\n").into_bytes()).collect();
        let mappings = Mappings::parse(&many[..]).expect("a slice is readable");
        assert_eq!(mappings.0.len(), MAX_MAPPINGS);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            numbers in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()), 0..20),
        ) {
            let _ = Mappings::parse(&bytes[..]);
            let line = |(a, b, c, _): &(u64, u64, u64, u64)| format!("{a:x}-{b:x} r-xp {c:x} 0:0 {a} x\n").into_bytes();
            let text: Vec<u8> = numbers.iter().flat_map(line).collect();
            let mappings = Mappings::parse(&text[..]).expect("a slice is readable");
            for (a, _, _, addr) in numbers {
                for addr in [a, addr] {
                    if let Some(mapping) = mappings.find(addr) {
                        let _ = mapping.file_offset(addr);
                    }
                }
            }
        }
    }
}
