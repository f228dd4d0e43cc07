//! `tcp:tcp_send_reset` and `tcp:tcp_receive_reset` as classic tracepoints (Linux >= 4.16): for kernels without BTF, where
//! `sk_err` cannot be read.
//!
//! Both records have `skaddr`, at an offset that user space takes from the `format` file. `tcp_reset` reports the second
//! right before `-> CLOSE`.

use aya_ebpf::{Global, macros::tracepoint, programs::TracePointContext};
use tcptrace_common::{AF_INET, IPPROTO_TCP, KIND_RESET_RECEIVED, KIND_RESET_SENT, RawRecord};

use crate::{emit, sock::context_field};

/// Place of `skaddr` in the record of `tcp_send_reset`.
#[unsafe(no_mangle)]
static FMT_SENT_SKADDR: Global<u32> = Global::new(u32::MAX);

/// Place of `skaddr` in the record of `tcp_receive_reset`.
#[unsafe(no_mangle)]
static FMT_RECEIVED_SKADDR: Global<u32> = Global::new(u32::MAX);

#[tracepoint(category = "tcp", name = "tcp_send_reset")]
fn send_reset_classic(ctx: TracePointContext) -> u32 {
    report(&ctx, &FMT_SENT_SKADDR, KIND_RESET_SENT)
}

#[tracepoint(category = "tcp", name = "tcp_receive_reset")]
fn receive_reset_classic(ctx: TracePointContext) -> u32 {
    report(&ctx, &FMT_RECEIVED_SKADDR, KIND_RESET_RECEIVED)
}

#[inline(always)]
fn report(ctx: &TracePointContext, skaddr: &Global<u32>, kind: u8) -> u32 {
    // A reset for nobody's connection has no socket.
    let Some(sk) = context_field::<u64>(ctx, skaddr).filter(|sk| *sk != 0) else { return 0 };
    emit::record(&RawRecord {
        ts_ns: emit::now_ns(),
        cookie: 0,
        sk,
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
        kind,
        old_state: 0,
        new_state: 0,
        known: 0,
        flags: 0,
        detail: 0,
    });
    0
}
