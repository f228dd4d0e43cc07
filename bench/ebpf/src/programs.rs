//! The programs. Kernel prototype: see `tcptrace-ebpf/src/state_btf.rs`.

use aya_ebpf::{
    helpers::bpf_ktime_get_ns,
    macros::{btf_tracepoint, map},
    maps::{PerCpuArray, RingBuf},
    programs::BtfTracePointContext,
};
use tcptrace_common::{AF_INET, IPPROTO_TCP, KIND_TRANSITION, RawRecord};

/// As large as that of tcptrace, see `--ring-size`.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(32 << 20, 0);

/// Records that found the ring full.
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

#[btf_tracepoint(function = "inet_sock_set_state")]
fn empty(_: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "inet_sock_set_state")]
fn bare_record(_: BtfTracePointContext) -> i32 {
    let Some(mut slot) = EVENTS.reserve::<RawRecord>(0) else {
        if let Some(lost) = LOST.get_ptr_mut(0) {
            // SAFETY: a valid, aligned entry of this CPU's. An interrupt in between would cost a count, no more.
            unsafe { *lost += 1 };
        }
        return 0;
    };
    slot.write(RawRecord {
        // SAFETY: the helper takes no argument and cannot fail.
        ts_ns: unsafe { bpf_ktime_get_ns() },
        cookie: 0,
        sk: 0,
        pid_tgid: 0,
        comm: [0; 2],
        start_ns: 0,
        cgroup: 0,
        laddr: [0; 4],
        raddr: [0; 4],
        netns: 0,
        uid: 0,
        lport: 0,
        rport: 0,
        family: AF_INET,
        protocol: IPPROTO_TCP,
        sk_err: 0,
        kind: KIND_TRANSITION,
        old_state: 0,
        new_state: 0,
        known: 0,
        flags: 0,
        detail: 0,
    });
    slot.submit(0);
    0
}
