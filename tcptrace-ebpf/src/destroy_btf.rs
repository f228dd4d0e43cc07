//! `tcp:tcp_destroy_sock` as a BTF-typed tracepoint: the end of a socket that was closed while a descriptor held it.
//!
//! Kernel prototype (include/trace/events/tcp.h, Linux >= 4.16): `TP_PROTO(struct sock *sk)`, called by
//! `tcp_v4_destroy_sock`, for v6 too. A socket that reaches CLOSE as an orphan is destroyed at once (`tcp_done`,
//! `inet_csk_destroy_sock`); its last transition says so, and nothing is reported here.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tcptrace_common::{KIND_DESTROY, RawRecord, known};

use crate::{emit, filter, filter_owner, sock::Sock, state_btf};

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn destroy_btf(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: argument 0 of this tracepoint is `struct sock *`, see the prototype above.
    let sk = unsafe { Sock::from_typed_argument(ctx.arg(0)) };
    let cookie = sk.existing_cookie();
    // Without a cookie it has never changed its state before our eyes.
    if cookie == 0 || state_btf::was_closed_as_orphan(sk) {
        return 0;
    }
    let state = sk.state();
    if filter::is_on() && !filter::candidate(sk).is_wanted() || !filter_owner::wants_socket(cookie) {
        return 0;
    }
    emit::record(&RawRecord {
        ts_ns: emit::now_ns(),
        cookie,
        sk: sk.address(),
        pid_tgid: 0,
        comm: [0; 2],
        start_ns: 0,
        cgroup: 0,
        laddr: [0; 4],
        raddr: [0; 4],
        netns: sk.netns(),
        uid: 0,
        lport: 0,
        rport: 0,
        family: sk.family(),
        protocol: sk.protocol(),
        sk_err: 0,
        kind: KIND_DESTROY,
        old_state: state,
        new_state: state,
        known: known::COOKIE | known::NETNS,
        flags: 0,
        detail: 0,
    });
    0
}
