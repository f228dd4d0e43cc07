//! What the fuzz targets (`fuzz/`) reach and nobody else does: parsers that are nobody's business outside of the
//! crate. Compiled with `--cfg fuzzing` only, which cargo-fuzz sets.

use std::{num::NonZeroUsize, ops::Range, path::PathBuf, time::Duration};

use crate::{
    cli::values,
    model::StackTop,
    source::{
        cgroups::{Membership, Mounted, hierarchies},
        diag::{Dump, Malformed, ReadAt, TcpExt, answer::Answer, counters},
        live::{FormatError, format, kallsyms},
        symbols::{
            demangle,
            maps::Mappings,
            unwind::{self, Module},
        },
    },
};

/// The length that no name of a symbol exceeds, in bytes.
pub const MAX_NAME_BYTES: usize = demangle::MAX_NAME_BYTES;

/// Where a tracepoint's `format` file puts the fields that the kernel half reads.
///
/// # Errors
///
/// Names the field that is missing or of another size.
pub fn tracepoint_fields(format: &str) -> Result<Vec<(&'static str, u32)>, FormatError> {
    format::offsets(format)
}

/// Where a tracepoint's `format` file puts the address of the socket.
pub fn tracepoint_socket(format: &str) -> Option<u32> {
    format::offset_of_socket(format)
}

/// What datagrams of one answer come to, and the code at its end if they hold it. Of a list of sockets, or of one.
///
/// # Errors
///
/// Broken framing, after which nothing can be trusted.
pub fn diag_answer(
    datagrams: &[&[u8]],
    sequence: u32,
    at: ReadAt,
    is_dump: bool,
) -> Result<(Dump, Option<i32>), Malformed> {
    let mut answer = Answer::new(is_dump);
    let mut code = None;
    for datagram in datagrams {
        code = answer.add(datagram, sequence, at)?;
        if code.is_some() {
            break;
        }
    }
    Ok((answer.finish(), code))
}

/// The counters in `/proc/net/netstat`.
pub fn netstat(text: &[u8]) -> TcpExt {
    counters::parse(text)
}

/// The addresses of functions in `/proc/kallsyms`.
pub fn kallsyms<const N: usize>(text: &[u8], functions: [&str; N]) -> [Option<u64>; N] {
    kallsyms::find(text, functions).unwrap_or([None; N])
}

/// The cgroups in `/proc/PID/cgroup`: in the hierarchy of v2, and in the one of v1 that tells most.
pub fn cgroups_of_process(text: &[u8]) -> [Option<Vec<u8>>; 2] {
    let membership = Membership::parse(text);
    [membership.unified, membership.controllers]
}

/// The mounts of cgroup2 in `/proc/PID/mountinfo`, root and directory, and whether v1 is mounted.
pub fn cgroup_mounts(mountinfo: &[u8]) -> (Vec<(Vec<u8>, PathBuf)>, bool) {
    let (mounts, has_v1) = hierarchies(mountinfo);
    (mounts.into_iter().map(|Mounted { root, dir, .. }| (root, dir)).collect(), has_v1)
}

/// The executable mappings in `/proc/PID/maps`.
#[derive(Debug)]
pub struct Maps(Mappings);

impl Maps {
    /// Reads the file's text.
    pub fn of(text: &[u8]) -> Self {
        Self(Mappings::parse(text).unwrap_or_default())
    }

    /// The mapping that an address is in, and where the address is in the mapped file.
    pub fn find(&self, addr: u64) -> Option<(Range<u64>, u64)> {
        self.0.find(addr).map(|mapping| (mapping.range.clone(), mapping.file_offset(addr)))
    }

    /// Memory that they take, in bytes, about.
    pub fn weight(&self) -> usize {
        self.0.weight()
    }
}

/// A symbol's name as a person wrote it.
pub fn demangled(name: &str) -> String {
    demangle::demangled(name)
}

/// Finds callers by the tables of programs.
#[derive(Debug, Default)]
pub struct Unwinder(unwind::Unwinder);

impl Unwinder {
    /// The callers of the code at `top`; the only code that there is lies at `range`, and at `offset` in the file.
    pub fn unwind(
        &mut self,
        range: Range<u64>,
        offset: u64,
        file: Option<PathBuf>,
        top: &StackTop,
    ) -> Vec<u64> {
        self.0.unwind(&[Module { range, offset, path: file }], top)
    }
}

/// The value of `--duration`.
///
/// # Errors
///
/// In words for a person.
pub fn duration(word: &str) -> Result<Duration, String> {
    values::duration(word)
}

/// The value of `--max-connections`.
///
/// # Errors
///
/// In words for a person.
pub fn connections(word: &str) -> Result<NonZeroUsize, String> {
    values::connections(word)
}

/// The value of `--ring-size`.
///
/// # Errors
///
/// In words for a person.
pub fn ring_size(word: &str) -> Result<u32, String> {
    values::ring_size(word)
}
