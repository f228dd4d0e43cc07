//! Load-time settings. Read-only globals: the verifier folds them into constants and drops the dead branches,
//! so a setting that is off costs nothing.

use aya_ebpf::Global;
use tcptrace_common::{IPPROTO_MPTCP, IPPROTO_TCP};

/// 1: report MPTCP-level sockets too.
#[unsafe(no_mangle)]
static MPTCP: Global<u8> = Global::new(0);

/// 1: `bpf_get_socket_cookie` may be called in a BTF-typed tracing program (Linux >= 5.12).
#[unsafe(no_mangle)]
static HAVE_COOKIE: Global<u8> = Global::new(0);

/// Whether sockets of this protocol are reported.
#[inline(always)]
pub(crate) fn wants_protocol(protocol: u16) -> bool {
    protocol == IPPROTO_TCP || (MPTCP.load() != 0 && protocol == IPPROTO_MPTCP)
}

/// Whether this kernel gives socket cookies to tracing programs.
#[inline(always)]
pub(crate) fn have_cookie() -> bool {
    HAVE_COOKIE.load() != 0
}
