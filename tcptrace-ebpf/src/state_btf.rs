//! `sock:inet_sock_set_state` as a BTF-typed tracepoint.
//!
//! Kernel prototype (include/trace/events/sock.h, Linux >= 4.16):
//! `TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)`, called by `tcp_set_state` and
//! `inet_sk_state_store` before the new state is stored. BTF-typed tracepoints exist since Linux 5.5.

use aya_ebpf::{
    cty::c_void, helpers::bpf_get_current_pid_tgid, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;
use tcptrace_common::{KIND_TRANSITION, RawRecord, current_is_owner, known};

use crate::{emit, settings, sock, sock::Sock};

#[btf_tracepoint(function = "inet_sock_set_state")]
fn state_btf(ctx: BtfTracePointContext) -> i32 {
    let old = ctx.arg::<u32>(1) as u8;
    let new = ctx.arg::<u32>(2) as u8;
    // SAFETY: argument 0 of this tracepoint is `const struct sock *`, see the prototype above.
    let sk = unsafe { Sock::from_typed_argument(ctx.arg::<*const c_void>(0)) };
    // MPTCP subflows report FIN_WAIT2 -> FIN_WAIT2 and the like: not a transition.
    if old == new {
        return 0;
    }
    let protocol = sk.protocol();
    if !settings::wants_protocol(protocol) {
        debug!(&ctx, "protocol {} is not asked for", protocol);
        return 0;
    }

    let family = sk.family();
    let (laddr, raddr) = sk.addresses(family);
    let have_cookie = settings::have_cookie();
    let is_owner = current_is_owner(old, new);
    let put = emit::record(&RawRecord {
        ts_ns: emit::now_ns(),
        cookie: if have_cookie { sk.cookie() } else { 0 },
        sk: sk.address(),
        pid_tgid: if is_owner { bpf_get_current_pid_tgid() } else { 0 },
        comm: if is_owner { sock::current_comm() } else { [0; 2] },
        laddr,
        raddr,
        netns: sk.netns(),
        uid: sk.uid(),
        lport: sk.local_port(new),
        rport: sk.remote_port(),
        family,
        protocol,
        sk_err: sk.error(),
        kind: KIND_TRANSITION,
        old_state: old,
        new_state: new,
        known: known::NETNS
            | known::UID
            | known::SK_ERR
            | if have_cookie { known::COOKIE } else { 0 }
            | if is_owner { known::TASK } else { 0 },
        reserved: [0; 2],
    });
    if !put {
        debug!(&ctx, "ring full: {} -> {} lost", old, new);
    }
    0
}
