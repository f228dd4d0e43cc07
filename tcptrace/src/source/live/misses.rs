//! Runs of a program that the kernel skipped.
//!
//! A program is not entered again on a CPU where it is running already (`__bpf_trace_run`, `trace_call_bpf`): when an
//! interrupt hits it and softirq work changes another socket's state, that transition is not reported. The kernel
//! counts it as `recursion_misses` (Linux >= 5.12).

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd},
        unix::fs::FileExt as _,
    },
};

/// The counter of one program. Opened once; reading it needs no privilege.
pub(super) struct Misses(File);

impl Misses {
    /// Of the program with this descriptor. `None` where the kernel does not count.
    pub(super) fn of(program: BorrowedFd<'_>) -> Option<Self> {
        let misses = Self(File::open(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).ok()?);
        match misses.read() {
            Ok(_) => Some(misses),
            Err(error) => {
                tracing::warn!("skipped runs of the BPF program cannot be counted on this kernel: {error}");
                None
            }
        }
    }

    /// How often the program was skipped since it was loaded.
    pub(super) fn read(&self) -> io::Result<u64> {
        let mut text = [0; 1024];
        let length = self.0.read_at(&mut text, 0)?;
        parse(&text[..length])
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no recursion_misses in fdinfo"))
    }
}

fn parse(fdinfo: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(fdinfo).ok()?;
    text.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_found_or_not() {
        let fdinfo = b"pos:\t0\nprog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t128\nverified_insns:\t9\n";
        assert_eq!(parse(fdinfo), Some(128));
        assert_eq!(parse(b"pos:\t0\nprog_type:\t26\n"), None, "Linux < 5.12");
        assert_eq!(parse(b"recursion_misses:\tmany\n"), None);
        assert_eq!(parse(b"\xff"), None);
    }
}
