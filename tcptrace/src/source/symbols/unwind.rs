//! Who called whom, by the tables that compilers write for exceptions (`.eh_frame`): code without frame pointers has
//! these, too.

use std::{
    fs::File,
    ops::{Deref, Range},
    path::{Path, PathBuf},
    sync::Arc,
};

use framehop::{
    CacheNative, ExplicitModuleSectionInfo, FrameAddress, MayAllocateDuringUnwind, UnwindRegsNative,
    Unwinder as _, UnwinderNative,
};
use object::{
    Object as _, ObjectSection as _, ObjectSegment as _, ReadCache, elf::FileHeader64, read::elf::ElfFile,
};
use rustc_hash::FxHashMap;

use super::MAX_FRAMES;
use crate::model::StackTop;

/// Of each of the two tables of a file; those of a browser have some ten million bytes.
const MAX_TABLE_BYTES: u64 = 64 << 20;

/// Executable memory of a process, and where it is in a file.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    pub(crate) range: Range<u64>,
    /// Of `range.start` in the file, in bytes.
    pub(crate) offset: u64,
    /// `None` for what is no file or cannot be read: it is taken to have frame pointers.
    pub(crate) path: Option<PathBuf>,
}

/// A table, and where it is in the memory that the file describes.
#[derive(Clone, Debug)]
struct Table {
    range: Range<u64>,
    bytes: Bytes,
}

/// Shared by all stacks that are looked up.
#[derive(Clone, Debug, Default)]
struct Bytes(Arc<[u8]>);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// What a file tells of its callers.
#[derive(Debug)]
struct Tables {
    /// Executable ranges of the file, in bytes, and where each of them begins in memory.
    segments: Vec<(Range<u64>, u64)>,
    eh_frame: Option<Table>,
    eh_frame_hdr: Option<Table>,
}

/// Segments are mapped in whole pages; the largest that there are on the machines that we run on.
const MAX_PAGE: u64 = 0x1_0000;

impl Tables {
    /// Where in memory the file means that to be which is mapped from `offset` on. The page may begin before the segment,
    /// with the end of another one.
    fn address_of(&self, offset: u64) -> Option<u64> {
        let is_mapped =
            |range: &Range<u64>| offset < range.end && range.start < offset.saturating_add(MAX_PAGE);
        let (range, address) = self.segments.iter().find(|(range, _)| is_mapped(range))?;
        Some(address.wrapping_add(offset).wrapping_sub(range.start))
    }
}

/// A program of 32 bits: its stack is not what is expected here.
struct IsSmall;

/// The tables of the files that have been looked into.
#[derive(Debug, Default)]
pub(crate) struct Unwinder {
    files: FxHashMap<PathBuf, Result<Option<Arc<Tables>>, ()>>,
}

impl Unwinder {
    /// The instruction pointer and return addresses, up to the first one that is in none of the modules. Nothing, for
    /// programs of 32 bits.
    pub(crate) fn unwind(&mut self, modules: &[Module], top: &StackTop) -> Vec<u64> {
        let mut unwinder = UnwinderNative::<Bytes, MayAllocateDuringUnwind>::new();
        for module in modules {
            match self.placed(module) {
                Ok(placed) => unwinder.add_module(placed),
                Err(IsSmall) => return Vec::new(),
            }
        }
        let is_known = |addr: u64| modules.iter().any(|module| module.range.contains(&addr));
        let mut read = |addr: u64| word(top, addr).ok_or(());
        let mut cache = CacheNative::<MayAllocateDuringUnwind>::new();
        let mut registers = registers(top);
        let mut address = FrameAddress::from_instruction_pointer(top.ip);
        let mut addrs = vec![top.ip];
        while addrs.len() < MAX_FRAMES && is_known(address.address_for_lookup()) {
            let next = unwinder.unwind_frame(address, &mut registers, &mut cache, &mut read);
            // An error is the end of what was copied, mostly.
            let Some(caller) = next.ok().flatten().and_then(FrameAddress::from_return_address) else { break };
            addrs.push(caller.address());
            address = caller;
        }
        addrs
    }

    /// Lets go of all files.
    pub(super) fn forget(&mut self) {
        self.files.clear();
    }

    fn placed(&mut self, module: &Module) -> Result<framehop::Module<Bytes>, IsSmall> {
        let tables = match &module.path {
            None => None,
            Some(path) => {
                let known = self.files.entry(path.clone()).or_insert_with(|| {
                    read_tables(path).map(|tables| tables.map(Arc::new)).map_err(|IsSmall| ())
                });
                known.clone().map_err(|()| IsSmall)?
            }
        };
        let address = tables.as_deref().and_then(|tables| tables.address_of(module.offset));
        let sections = match (tables, address) {
            (Some(tables), Some(_)) => ExplicitModuleSectionInfo {
                eh_frame_svma: tables.eh_frame.as_ref().map(|table| table.range.clone()),
                eh_frame: tables.eh_frame.as_ref().map(|table| table.bytes.clone()),
                eh_frame_hdr_svma: tables.eh_frame_hdr.as_ref().map(|table| table.range.clone()),
                eh_frame_hdr: tables.eh_frame_hdr.as_ref().map(|table| table.bytes.clone()),
                ..ExplicitModuleSectionInfo::default()
            },
            _ => ExplicitModuleSectionInfo::default(),
        };
        let base = module.range.start.wrapping_sub(address.unwrap_or(module.range.start));
        Ok(framehop::Module::new(String::new(), module.range.clone(), base, sections))
    }
}

#[cfg(target_arch = "x86_64")]
fn registers(top: &StackTop) -> UnwindRegsNative {
    UnwindRegsNative::new(top.ip, top.sp, top.fp)
}

#[cfg(target_arch = "aarch64")]
fn registers(top: &StackTop) -> UnwindRegsNative {
    let mask = framehop::aarch64::PtrAuthMask::new_24_40();
    UnwindRegsNative::new_with_ptr_auth_mask(mask, top.lr, top.sp, top.fp)
}

/// What is at an address of the stack, as far as it was copied.
fn word(top: &StackTop, addr: u64) -> Option<u64> {
    let at = usize::try_from(addr.checked_sub(top.sp)?).ok()?;
    let bytes = top.memory.get(at..at.checked_add(size_of::<u64>())?)?;
    bytes.try_into().ok().map(u64::from_ne_bytes)
}

/// `None` for what is no program.
fn read_tables(path: &Path) -> Result<Option<Tables>, IsSmall> {
    let Ok(file) = File::open(path) else { return Ok(None) };
    let data = ReadCache::new(file);
    let Ok(file) = ElfFile::<FileHeader64<object::Endianness>, _>::parse(&data) else {
        let is_small = object::FileKind::parse(&data).is_ok_and(|kind| kind == object::FileKind::Elf32);
        return if is_small { Err(IsSmall) } else { Ok(None) };
    };
    let table = |name: &str| {
        let section = file.section_by_name(name).filter(|section| section.size() <= MAX_TABLE_BYTES)?;
        let range = section.address()..section.address().checked_add(section.size())?;
        Some(Table { range, bytes: Bytes(section.data().ok()?.into()) })
    };
    let segment = |segment: object::read::elf::ElfSegment<'_, '_, _, _>| {
        if !segment.permissions().executable() {
            return None;
        }
        let (start, size) = segment.file_range();
        Some((start..start.checked_add(size)?, segment.address()))
    };
    Ok(Some(Tables {
        segments: file.segments().filter_map(segment).collect(),
        eh_frame: table(".eh_frame"),
        eh_frame_hdr: table(".eh_frame_hdr"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_need_not_begin_with_a_page() {
        let segments = vec![(0x24_d9c0..0x65_0000, 0x24_e9c0)];
        let tables = Tables { segments, eh_frame: None, eh_frame_hdr: None };
        assert_eq!(tables.address_of(0x24_d000), Some(0x24_e000));
        assert_eq!(tables.address_of(0x30_0000), Some(0x30_1000), "a part of it");
        assert_eq!(tables.address_of(0x65_0000), None);
        assert_eq!(tables.address_of(0x10_0000), None);
    }
}
