//! The clocks that events are stamped and shown with.

use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

use crate::model::KtimeNs;

/// `CLOCK_MONOTONIC` now: the clock of the kernel's records (`bpf_ktime_get_ns`).
pub fn now() -> KtimeNs {
    KtimeNs(u64::try_from(nanoseconds(clock_gettime(ClockId::Monotonic))).unwrap_or(0))
}

/// Length of a tick of the kernel's timers (a jiffy, 1 / `CONFIG_HZ`), in nanoseconds: the coarse clock advances by it
/// (`posix_get_coarse_res`, kernel/time/posix-timers.c).
pub fn tick_ns() -> u64 {
    u64::try_from(nanoseconds(clock_getres(ClockId::MonotonicCoarse))).unwrap_or(0)
}

/// CPU time that this process has used, in seconds.
pub fn own_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // Both are far below 2^52.
    #[expect(clippy::cast_precision_loss, reason = "a process does not use 10^8 years of CPU")]
    let (seconds, nanoseconds) = (time.tv_sec as f64, time.tv_nsec as f64);
    seconds + nanoseconds / 1e9
}

/// The relation of `CLOCK_MONOTONIC` to the wall clock at one moment. It changes when the wall clock is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// `CLOCK_REALTIME` minus `CLOCK_MONOTONIC`, in nanoseconds.
    offset_ns: i128,
}

impl WallClock {
    /// Reads both clocks.
    pub fn read() -> Self {
        let before = nanoseconds(clock_gettime(ClockId::Monotonic));
        let wall = nanoseconds(clock_gettime(ClockId::Realtime));
        let after = nanoseconds(clock_gettime(ClockId::Monotonic));
        Self { offset_ns: wall - i128::midpoint(before, after) }
    }

    /// A relation that is known from elsewhere.
    pub const fn with_offset_ns(offset_ns: i128) -> Self {
        Self { offset_ns }
    }

    /// The wall clock at `ts`, in nanoseconds since 1970.
    pub fn unix_ns(self, ts: KtimeNs) -> i128 {
        i128::from(ts.0) + self.offset_ns
    }
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}
