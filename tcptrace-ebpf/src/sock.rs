//! The only file that reads kernel memory.
//!
//! rustc emits no CO-RE relocations. User space resolves the offsets from the running kernel's BTF and sets them
//! at load; every one defaults to `u32::MAX`, so one that was forgotten is refused by the verifier.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext, Global, TASK_COMM_LEN,
    cty::c_void,
    helpers::{bpf_get_socket_cookie, bpf_probe_read_kernel, generated::bpf_get_current_comm},
};
use tcptrace_common::{AF_INET6, tcp_state};

/// Declares offsets that user space sets at load.
macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        $( $(#[$doc])* #[unsafe(no_mangle)] static $name: Global<u32> = Global::new(u32::MAX); )+
    };
}

offsets! {
    /// `sock.__sk_common.skc_family`, u16
    SKC_FAMILY,
    /// `sock.__sk_common.skc_num`, u16, host order
    SKC_NUM,
    /// `sock.__sk_common.skc_dport`, u16, network order
    SKC_DPORT,
    /// `sock.__sk_common.skc_rcv_saddr`, 4 bytes
    SKC_RCV_SADDR,
    /// `sock.__sk_common.skc_daddr`, 4 bytes
    SKC_DADDR,
    /// `sock.__sk_common.skc_v6_rcv_saddr`, 16 bytes
    SKC_V6_RCV_SADDR,
    /// `sock.__sk_common.skc_v6_daddr`, 16 bytes
    SKC_V6_DADDR,
    /// `sock.__sk_common.skc_net.net`, `struct net *`
    SKC_NET,
    /// `net.ns.inum`, u32
    NET_NS_INUM,
    /// `inet_sock.inet_sport`, u16, network order
    INET_SPORT,
    /// `sock.sk_protocol`, u16 (Linux >= 5.6)
    SK_PROTOCOL,
    /// `sock.sk_uid`, u32
    SK_UID,
    /// `sock.sk_err`, int
    SK_ERR,
}

/// A `struct sock *` that the verifier knows as such (argument of a BTF-typed program).
#[derive(Clone, Copy)]
pub(crate) struct Sock(*const u8);

impl Sock {
    /// Wraps the argument of a BTF-typed program.
    ///
    /// # Safety
    ///
    /// `sk` must be a `struct sock *` argument of the running BTF-typed program, unchanged: then the verifier
    /// checks every access made here against the kernel's own BTF.
    #[inline(always)]
    pub(crate) unsafe fn from_typed_argument(sk: *const c_void) -> Self {
        Self(sk.cast())
    }

    #[inline(always)]
    fn field<T>(self, offset: &Global<u32>) -> *const T {
        // SAFETY: only an address is computed. The kernel aligns its members.
        unsafe { self.0.add(offset.load() as usize) }.cast()
    }

    #[inline(always)]
    fn load<T: Copy>(self, offset: &Global<u32>) -> T {
        // SAFETY: `self.0` is a typed socket pointer and the offset a load-time constant: an access outside of
        // `struct sock` is refused by the verifier at load. Volatile, because the kernel may change it at any moment.
        unsafe { self.field::<T>(offset).read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0 as u64
    }

    #[inline(always)]
    pub(crate) fn protocol(self) -> u16 {
        self.load(&SK_PROTOCOL)
    }

    #[inline(always)]
    pub(crate) fn family(self) -> u16 {
        self.load(&SKC_FAMILY)
    }

    /// The local port, 0 when the socket is not bound.
    ///
    /// `tcp_set_state` gives an automatic port back before it reports CLOSE (`inet_put_port` clears `skc_num`), but
    /// `inet_sport` keeps it, as the classic tracepoint shows. That member lies behind `struct sock`, where a typed
    /// load is refused.
    #[inline(always)]
    pub(crate) fn local_port(self, new_state: u8) -> u16 {
        let port = self.load(&SKC_NUM);
        if port != 0 || new_state != tcp_state::CLOSE {
            return port;
        }
        // SAFETY: every TCP and MPTCP socket begins with a `struct inet_sock`; the helper fails on a bad address.
        u16::from_be(unsafe { bpf_probe_read_kernel(self.field::<u16>(&INET_SPORT)) }.unwrap_or(0))
    }

    #[inline(always)]
    pub(crate) fn remote_port(self) -> u16 {
        u16::from_be(self.load(&SKC_DPORT))
    }

    #[inline(always)]
    pub(crate) fn uid(self) -> u32 {
        self.load(&SK_UID)
    }

    #[inline(always)]
    pub(crate) fn error(self) -> u16 {
        // An errno is at most 4095 (MAX_ERRNO): the lower half holds it.
        self.load::<u32>(&SK_ERR) as u16
    }

    /// Inode of the network namespace. `sk->sk_net.net` is never NULL while the socket lives.
    #[inline(always)]
    pub(crate) fn netns(self) -> u32 {
        let net = Self(self.load::<*const u8>(&SKC_NET));
        net.load(&NET_NS_INUM)
    }

    /// Local and remote address, network order, a v4 address in the first word.
    #[inline(always)]
    pub(crate) fn addresses(self, family: u16) -> ([u32; 4], [u32; 4]) {
        if family == AF_INET6 {
            (self.load(&SKC_V6_RCV_SADDR), self.load(&SKC_V6_DADDR))
        } else {
            ([self.load(&SKC_RCV_SADDR), 0, 0, 0], [self.load(&SKC_DADDR), 0, 0, 0])
        }
    }

    /// The kernel's socket cookie, made at the first call (`sock_gen_cookie`). Linux >= 5.12 only.
    #[inline(always)]
    pub(crate) fn cookie(self) -> u64 {
        // SAFETY: the helper takes a typed socket pointer, which `self.0` is.
        unsafe { bpf_get_socket_cookie(self.0.cast_mut().cast()) }
    }
}

/// The name of the current task, NUL-padded by the kernel.
#[inline(always)]
pub(crate) fn current_comm() -> [u64; 2] {
    let mut comm = MaybeUninit::<[u64; 2]>::uninit();
    // SAFETY: the buffer has the 16 bytes that are announced. The helper writes all of them: the name and zeros,
    // and zeros alone where it fails (bpf_get_current_comm, kernel/bpf/helpers.c).
    unsafe { bpf_get_current_comm(comm.as_mut_ptr().cast(), TASK_COMM_LEN as u32) };
    // SAFETY: written in full, see above.
    unsafe { comm.assume_init() }
}

/// Reads a field of a classic tracepoint's record.
#[inline(always)]
pub(crate) fn context_field<T: Copy>(ctx: &impl EbpfContext, offset: &Global<u32>) -> Option<T> {
    // SAFETY: only an address is computed; the helper below checks it.
    let field = unsafe { ctx.as_ptr().cast::<u8>().add(offset.load() as usize) }.cast::<T>();
    // SAFETY: the helper validates the address and fails on a bad one.
    unsafe { bpf_probe_read_kernel(field) }.ok()
}
