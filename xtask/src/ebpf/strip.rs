//! Removes DWARF from a BPF object and keeps BTF.

use anyhow::{Context as _, Result};
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

/// Returns the object without its `.debug_*` sections, their relocations, and what only they referred to.
pub(crate) fn debug_sections(elf: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(elf).context("bpf-linker's output is not an ELF file")?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        section.delete |= name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
        // The loaders compute what these would relocate (libbpf, aya) and ignore them.
        section.delete |= name == b".rel.BTF" || name == b".rel.BTF.ext";
    }
    builder.delete_orphans();
    // LLVM keeps the names of sections and of symbols in one table, the writer wants one for each.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped).context("cannot write the stripped object")?;
    Ok(stripped)
}
