//! The only file that writes to user space: the ring buffer and the count of what did not fit.

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use tcptrace_common::RawRecord;

/// Records for user space. The size is set at load (`--ring-size`).
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Records that found the ring full, per CPU.
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Puts one record into the ring, or counts it as lost. Returns whether it was put.
///
/// Submitting without flags wakes the reader only when it has caught up (adaptive notification).
#[inline(always)]
pub(crate) fn record(record: &RawRecord) -> bool {
    match EVENTS.reserve::<RawRecord>(0) {
        Some(mut slot) => {
            slot.write(*record);
            slot.submit(0);
            true
        }
        None => {
            if let Some(lost) = LOST.get_ptr_mut(0) {
                // SAFETY: the entry of this CPU, and a tracepoint program is not interrupted by itself on it.
                unsafe { *lost += 1 };
            }
            false
        }
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: the helper takes no argument and cannot fail.
    unsafe { bpf_ktime_get_ns() }
}
