//! The only file that reads kernel memory.
//!
//! rustc emits no CO-RE relocations. User space resolves the offsets from the running kernel's BTF and sets them
//! at load; every one defaults to `u32::MAX`, so one that was forgotten is refused by the verifier.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext, Global, TASK_COMM_LEN,
    cty::c_void,
    helpers::{
        bpf_get_socket_cookie, bpf_probe_read_kernel,
        generated::{bpf_get_current_comm, bpf_jiffies64},
    },
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
    /// `timer_list.function`, pointer
    TIMER_FUNCTION,
    /// `timer_list.expires`, unsigned long
    TIMER_EXPIRES,
    /// `inet_timewait_sock.tw_timer`, struct timer_list
    TW_TIMER,
    /// `inet_timewait_sock.tw_substate`, u8
    TW_SUBSTATE,
    /// `inet_timewait_sock.tw_entry_stamp`, u32 (Linux >= 6.14); 0 where the kernel has none
    TW_ENTRY_STAMP,
    /// `sock.__sk_common.skc_cookie`, u64
    SKC_COOKIE,
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

/// A `struct timer_list *` that the verifier knows as such.
#[derive(Clone, Copy)]
pub(crate) struct Timer(*const u8);

impl Timer {
    /// Wraps the argument of a BTF-typed program.
    ///
    /// # Safety
    ///
    /// `timer` must be a `struct timer_list *` argument of the running BTF-typed program, unchanged.
    #[inline(always)]
    pub(crate) unsafe fn from_typed_argument(timer: *const c_void) -> Self {
        Self(timer.cast())
    }

    #[inline(always)]
    pub(crate) fn function(self) -> u64 {
        // A typed pointer like any other: the verifier checks the access against `struct timer_list`.
        Sock(self.0).load(&TIMER_FUNCTION)
    }

    /// Jiffies.
    #[inline(always)]
    pub(crate) fn expires(self) -> u64 {
        Sock(self.0).load(&TIMER_EXPIRES)
    }
}

/// `jiffies_64`
#[inline(always)]
pub(crate) fn jiffies() -> u64 {
    // SAFETY: the helper takes no argument and cannot fail.
    unsafe { bpf_jiffies64() }
}

/// A copy of the head of a mini-socket, which begins with a `struct sock_common` as a full one does.
///
/// The way from a timer to the object that holds it leads backwards, which the verifier refuses on typed pointers:
/// these fields are read by helper, each with 0 for a failure that cannot happen while the timer is on.
#[derive(Clone, Copy)]
pub(crate) struct Mini(*const u8);

impl Mini {
    /// The time-wait socket that holds this timer.
    #[inline(always)]
    pub(crate) fn of_time_wait_timer(timer: Timer) -> Option<Self> {
        let address = (timer.0 as u64).wrapping_sub(u64::from(TW_TIMER.load()));
        (address != 0).then_some(Self(address as *const u8))
    }

    #[inline(always)]
    fn read<T: Copy + Default>(self, offset: &Global<u32>) -> T {
        // SAFETY: the helper validates the address and fails on a bad one.
        unsafe { bpf_probe_read_kernel(Sock(self.0).field::<T>(offset)) }.unwrap_or_default()
    }

    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0 as u64
    }

    #[inline(always)]
    pub(crate) fn cookie(self) -> u64 {
        self.read(&SKC_COOKIE)
    }

    #[inline(always)]
    pub(crate) fn family(self) -> u16 {
        self.read(&SKC_FAMILY)
    }

    #[inline(always)]
    pub(crate) fn local_port(self) -> u16 {
        self.read(&SKC_NUM)
    }

    #[inline(always)]
    pub(crate) fn remote_port(self) -> u16 {
        u16::from_be(self.read(&SKC_DPORT))
    }

    #[inline(always)]
    pub(crate) fn local_address(self) -> [u32; 4] {
        if self.family() == AF_INET6 {
            self.read(&SKC_V6_RCV_SADDR)
        } else {
            [self.read(&SKC_RCV_SADDR), 0, 0, 0]
        }
    }

    #[inline(always)]
    pub(crate) fn remote_address(self) -> [u32; 4] {
        if self.family() == AF_INET6 { self.read(&SKC_V6_DADDR) } else { [self.read(&SKC_DADDR), 0, 0, 0] }
    }

    #[inline(always)]
    pub(crate) fn netns(self) -> u32 {
        Self(self.read::<u64>(&SKC_NET) as *const u8).read(&NET_NS_INUM)
    }

    #[inline(always)]
    pub(crate) fn substate(self) -> u8 {
        self.read(&TW_SUBSTATE)
    }

    /// Milliseconds of `CLOCK_MONOTONIC`, the lower 32 bits.
    #[inline(always)]
    pub(crate) fn entry_stamp(self) -> Option<u32> {
        if TW_ENTRY_STAMP.load() == 0 { None } else { Some(self.read(&TW_ENTRY_STAMP)) }
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
