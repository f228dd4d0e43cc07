//! Runs of a program that the kernel skipped.
//!
//! A program is not entered again on a CPU where it is running already (`__bpf_trace_run`, `trace_call_bpf`): when an
//! interrupt hits it and softirq work changes another socket's state, that transition is not reported. The kernel
//! counts it as `recursion_misses` (Linux >= 5.12).

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd},
        unix::fs::FileExt as _,
    },
};

use crate::model::KtimeNs;

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

/// Since Linux 7.0 a task can be preempted in a tracepoint's programs (`tracepoint_srcu`): between two of them, too.
const SETTLED_NS: u64 = 250_000_000;

/// How often to remember a count.
const REMEMBER_NS: u64 = 25_000_000;

/// The counts of the last moments: what was missed a while ago has been seen by the second program by now, or never will.
#[derive(Debug, Default)]
pub(super) struct Settling {
    /// At most one more than there is room for in the time that it takes.
    counts: VecDeque<(KtimeNs, u64)>,
    settled: u64,
    last: u64,
}

impl Settling {
    /// What was counted long enough ago.
    pub(super) fn at(&mut self, now: KtimeNs) -> u64 {
        let is_old = |at: KtimeNs| now.since(at).is_some_and(|ns| ns >= SETTLED_NS);
        while let Some((_, count)) = self.counts.pop_front_if(|(at, _)| is_old(*at)) {
            self.settled = count;
        }
        self.settled
    }

    /// What was counted the last time.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// What is counted now.
    pub(super) fn note(&mut self, now: KtimeNs, count: u64) {
        self.last = count;
        let last = self.counts.back().map(|(at, _)| *at);
        if last.and_then(|last| now.since(last)).is_none_or(|ns| ns >= REMEMBER_NS) {
            self.counts.push_back((now, count));
        }
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
    fn what_was_missed_just_now_may_still_come() {
        let at = |ms: u64| KtimeNs(ms * 1_000_000);
        let mut counts = Settling::default();
        let mut most = 0;
        for ms in 0..1000 {
            let settled = counts.at(at(ms));
            assert_eq!(settled, if ms < 251 { 0 } else { (ms - 250) / 25 * 25 }, "at {ms} ms");
            counts.note(at(ms), ms);
            most = most.max(counts.counts.len());
        }
        assert_eq!(counts.last(), 999);
        assert!(most <= 12, "{most} counts are remembered");
    }

    #[test]
    fn the_counter_is_found_or_not() {
        let fdinfo = b"pos:\t0\nprog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t128\nverified_insns:\t9\n";
        assert_eq!(parse(fdinfo), Some(128));
        assert_eq!(parse(b"pos:\t0\nprog_type:\t26\n"), None, "Linux < 5.12");
        assert_eq!(parse(b"recursion_misses:\tmany\n"), None);
        assert_eq!(parse(b"\xff"), None);
    }
}
