//! The only file that writes to user space: the ring buffer and the count of what did not fit.

use core::arch::asm;

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE},
    helpers::bpf_ktime_get_ns,
    macros::map,
    maps::{PerCpuArray, RingBuf, ring_buf::RingBufEntry},
};
use tcptrace_common::{KIND_TRANSITION_BACKUP, LOST_BACKUPS, LOST_RECORDS, RawMini, RawRecord};

/// Records for user space. The size is set at load (`--ring-size`).
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Records that found the ring full, per CPU, with an entry for each kind.
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(4, 0);

/// Puts one record into the ring, or counts it as lost. Returns whether it was put.
#[inline(always)]
pub(crate) fn record(record: &RawRecord) -> bool {
    put(record, if record.kind == KIND_TRANSITION_BACKUP { LOST_BACKUPS } else { LOST_RECORDS })
}

/// As [`record`], for a mini-socket.
#[inline(always)]
pub(crate) fn mini(record: &RawMini) -> bool {
    put(record, LOST_RECORDS)
}

/// Room for something large that is filled in place. It takes no room that transitions may need: it is counted as lost when
/// more than half of the ring is full.
#[inline(always)]
pub(crate) fn reserve_large<T: 'static>(entry: u32) -> Option<RingBufEntry<T>> {
    let is_half_full = EVENTS.query(BPF_RB_AVAIL_DATA.into()) > EVENTS.query(BPF_RB_RING_SIZE.into()) / 2;
    let slot = if is_half_full { None } else { EVENTS.reserve::<T>(0) };
    if slot.is_none() {
        count(entry);
    }
    slot
}

/// Submitting without flags wakes the reader only when it has caught up (adaptive notification).
#[inline(always)]
fn put<T: Copy + 'static>(record: &T, entry: u32) -> bool {
    let Some(mut slot) = EVENTS.reserve::<T>(0) else {
        count(entry);
        return false;
    };
    slot.write(*record);
    slot.submit(0);
    true
}

/// Adds one to an entry of [`LOST`].
#[inline(always)]
pub(crate) fn count(entry: u32) {
    if let Some(lost) = LOST.get_ptr_mut(entry) {
        // Atomic, because before Linux 6.1 a program can be entered again by an interrupt while it runs, and several
        // programs share an entry. Rust has no atomic addition for this target.
        // SAFETY: a valid, aligned entry of the map, of 8 bytes.
        unsafe {
            asm!("lock *(u64 *)({lost} + 0) += {one}", lost = in(reg) lost, one = in(reg) 1_u64);
        }
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: the helper takes no argument and cannot fail.
    unsafe { bpf_ktime_get_ns() }
}
