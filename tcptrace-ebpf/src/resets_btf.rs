//! `tcp:tcp_send_reset` as a BTF-typed tracepoint: that we reset a connection, and why.
//!
//! Kernel prototype (include/trace/events/tcp.h): `TP_PROTO(const struct sock *sk, const struct sk_buff *skb)` since Linux
//! 4.16, `const enum sk_rst_reason reason` as a third argument since 6.10. Called by `tcp_send_active_reset` (no skb)
//! right after `-> CLOSE` or right before, and by `tcp_v4_send_reset`, `tcp_v6_send_reset` (skb is the segment that is
//! answered), where `sk` may be a mini-socket, a listener that has refused a third ACK, or NULL.
//!
//! `tcp:tcp_receive_reset` is not needed: `tcp_reset` sets `sk_err` between it and `-> CLOSE`.

use core::ptr;

use aya_ebpf::{Global, macros::btf_tracepoint, programs::BtfTracePointContext};
use tcptrace_common::{AF_INET6, KIND_RESET_SENT, RawRecord, known, reset_reason, tcp_state};

use crate::{
    emit, settings,
    sock::{SkBuff, Sock},
};

/// 1: the tracepoint has a third argument.
#[unsafe(no_mangle)]
static HAVE_RESET_REASON: Global<u8> = Global::new(0);

/// Our number for each of the kernel's.
#[unsafe(no_mangle)]
static RESET_REASONS: [u8; reset_reason::TABLE] = [0; reset_reason::TABLE];

#[btf_tracepoint(function = "tcp_send_reset")]
fn send_reset_btf(ctx: BtfTracePointContext) -> i32 {
    let address: *const core::ffi::c_void = ctx.arg(0);
    // Nobody's connection.
    if address.is_null() {
        return 0;
    }
    // SAFETY: argument 0 of this tracepoint is `const struct sock *`, see the prototype above. A mini-socket has the
    // fields that are loaded from one.
    let sk = unsafe { Sock::from_typed_argument(address) };
    let state = sk.state();
    if !is_of_interest(state) {
        return 0;
    }
    let family = sk.family();
    let is_listener = state == tcp_state::LISTEN;
    let (mut lport, mut rport, mut laddr, mut raddr) = (0, 0, [0; 4], [0; 4]);
    if is_listener {
        // SAFETY: argument 1 of this tracepoint is `const struct sk_buff *`, see the prototype above.
        let Some(tuple) = unsafe { SkBuff::from_typed_argument(ctx.arg(1)) }.and_then(SkBuff::tuple) else {
            return 0;
        };
        (laddr, raddr) = (tuple.destination, tuple.source);
        (lport, rport) = (tuple.destination_port, tuple.source_port);
        if family == AF_INET6 && !tuple.is_v6 {
            (laddr, raddr) = (mapped(laddr[0]), mapped(raddr[0]));
        }
    }
    emit::record(&RawRecord {
        ts_ns: emit::now_ns(),
        cookie: sk.existing_cookie(),
        sk: sk.address(),
        pid_tgid: 0,
        comm: [0; 2],
        start_ns: 0,
        cgroup: 0,
        laddr,
        raddr,
        netns: sk.netns(),
        uid: 0,
        lport,
        rport,
        family,
        protocol: tcptrace_common::IPPROTO_TCP,
        sk_err: 0,
        kind: KIND_RESET_SENT,
        old_state: state,
        new_state: state,
        known: known::NETNS | if settings::have_cookie() { known::COOKIE } else { 0 },
        flags: 0,
        detail: if HAVE_RESET_REASON.load() != 0 { reason(ctx.arg::<u32>(2)) } else { 0 },
    });
    0
}

/// Not a time-wait socket's, and not a request's (`TCP_NEW_SYN_RECV`, 12).
#[inline(always)]
fn is_of_interest(state: u8) -> bool {
    state != 0 && state != tcp_state::TIME_WAIT && state <= tcp_state::CLOSING
}

#[inline(always)]
fn reason(of_kernel: u32) -> u8 {
    let index = of_kernel as usize & (reset_reason::TABLE - 1);
    // SAFETY: the mask keeps it inside the table.
    let entry = unsafe { (&raw const RESET_REASONS).cast::<u8>().add(index) };
    // SAFETY: as above. Volatile, because user space sets the table at load.
    unsafe { ptr::read_volatile(entry) }
}

/// `::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2.
#[inline(always)]
fn mapped(v4: u32) -> [u32; 4] {
    [0, 0, u32::from_be(0xffff), v4]
}
