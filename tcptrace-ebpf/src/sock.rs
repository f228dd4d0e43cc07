//! The only file that reads kernel memory.
//!
//! rustc emits no CO-RE relocations. User space resolves the offsets from the running kernel's BTF and sets them
//! at load; every one defaults to `u32::MAX`, so one that was forgotten is refused by the verifier.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext, Global,
    cty::c_void,
    helpers::{
        bpf_get_socket_cookie, bpf_probe_read_kernel,
        generated::{bpf_jiffies64, bpf_probe_read_kernel as read_kernel},
    },
};
use tcptrace_common::{AF_INET6, tcp_state};

/// Declares offsets that user space sets at load.
macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        $( $(#[$doc])* #[unsafe(no_mangle)] pub(crate) static $name: Global<u32> = Global::new(u32::MAX); )+
    };
}

pub(crate) use offsets;

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
    /// `timer_list.entry.pprev`, pointer
    TIMER_PPREV,
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
    /// `sock.__sk_common.skc_state`, u8
    SKC_STATE,
    /// `sock.__sk_common.skc_flags`, unsigned long
    SKC_FLAGS,
    /// `sock.__sk_common.skc_listener`, pointer, of a request socket
    SKC_LISTENER,
    /// `request_sock.rsk_timer`, struct timer_list
    RSK_TIMER,
    /// The byte of `inet_request_sock` that has the bit `acked`
    IR_ACKED_BYTE,
    /// That bit's mask
    IR_ACKED_MASK,
    /// `sk_buff.head`, pointer
    SKB_HEAD,
    /// `sk_buff.network_header`, u16
    SKB_NETWORK_HEADER,
    /// `sk_buff.transport_header`, u16
    SKB_TRANSPORT_HEADER,
}

/// `SOCK_DEAD`, the first of `enum sock_flags` (include/net/sock.h, Linux 5.8 to 7.2).
const SOCK_DEAD: u64 = 1 << 0;

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
        member(self.0, offset)
    }

    #[inline(always)]
    fn load<T: Copy>(self, offset: &Global<u32>) -> T {
        // SAFETY: `self.0` is a typed socket pointer, see above.
        unsafe { load_typed(self.0, offset) }
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
        // Every TCP and MPTCP socket begins with a `struct inet_sock`.
        u16::from_be(read_at(self.field::<u16>(&INET_SPORT) as u64).unwrap_or(0))
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

    #[inline(always)]
    pub(crate) fn state(self) -> u8 {
        self.load(&SKC_STATE)
    }

    /// Whether no descriptor holds it any more.
    #[inline(always)]
    pub(crate) fn is_orphan(self) -> bool {
        self.load::<u64>(&SKC_FLAGS) & SOCK_DEAD != 0
    }

    /// The cookie that it has by now; 0 when nobody has asked for one.
    #[inline(always)]
    pub(crate) fn existing_cookie(self) -> u64 {
        self.load(&SKC_COOKIE)
    }

    /// The kernel's socket cookie, made at the first call (`sock_gen_cookie`). Linux >= 5.12 only.
    #[inline(always)]
    pub(crate) fn cookie(self) -> u64 {
        // SAFETY: the helper takes a typed socket pointer, which `self.0` is.
        unsafe { bpf_get_socket_cookie(self.0.cast_mut().cast()) }
    }
}

/// Where a member of a structure is.
#[inline(always)]
fn member<T>(structure: *const u8, offset: &Global<u32>) -> *const T {
    // SAFETY: only an address is computed. The kernel aligns its members.
    unsafe { structure.add(offset.load() as usize) }.cast()
}

/// Loads a member of a structure without a helper.
///
/// # Safety
///
/// The verifier must know the type behind `structure`. The offset is a load-time constant: an access outside of the
/// structure is refused at load.
#[inline(always)]
pub(crate) unsafe fn load_typed<T: Copy>(structure: *const u8, offset: &Global<u32>) -> T {
    // SAFETY: see above. Volatile, because the kernel may change it at any moment.
    unsafe { member::<T>(structure, offset).read_volatile() }
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

    /// Whether it is armed (`timer_pending`).
    #[inline(always)]
    pub(crate) fn is_pending(self) -> bool {
        Sock(self.0).load::<u64>(&TIMER_PPREV) != 0
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

/// Bytes copied of a mini-socket: its `struct sock_common` and what lies before the timer. The fields are loaded from the
/// copy, so one that lies behind it is refused by the verifier at load.
const HEAD: usize = 160;

/// A mini-socket (`struct inet_timewait_sock`, `struct request_sock`): the copy of its head, which is that of a full
/// socket (`struct sock_common`), and where it is.
///
/// The way from a timer to the object that holds it leads backwards, which the verifier refuses on typed pointers: it is
/// read by helper, in one go, with zeros for a failure that cannot happen while the timer is on.
pub(crate) struct Mini {
    address: u64,
    head: [u64; HEAD / 8],
}

impl Mini {
    /// The time-wait socket that holds this timer.
    #[inline(always)]
    pub(crate) fn of_time_wait_timer(timer: Timer) -> Self {
        Self::at((timer.0 as u64).wrapping_sub(u64::from(TW_TIMER.load())))
    }

    /// The address of the timer of the time-wait socket at this address.
    #[inline(always)]
    pub(crate) fn time_wait_timer_of(tw: u64) -> u64 {
        tw.wrapping_add(u64::from(TW_TIMER.load()))
    }

    /// The request socket that holds this timer.
    #[inline(always)]
    pub(crate) fn of_request_timer(timer: Timer) -> Self {
        Self::at((timer.0 as u64).wrapping_sub(u64::from(RSK_TIMER.load())))
    }

    #[inline(always)]
    pub(crate) fn at(address: u64) -> Self {
        let mut head = MaybeUninit::<[u64; HEAD / 8]>::uninit();
        // SAFETY: the buffer has the bytes that are announced; the helper checks the address, and writes zeros where it
        // fails (bpf_probe_read_kernel_common, kernel/trace/bpf_trace.c).
        unsafe { read_kernel(head.as_mut_ptr().cast(), HEAD as u32, address as *const c_void) };
        // SAFETY: written in full, see above.
        Self { address, head: unsafe { head.assume_init() } }
    }

    #[inline(always)]
    fn load<T: Copy>(&self, offset: &Global<u32>) -> T {
        // SAFETY: the offset is a load-time constant; an access outside of the copy is refused by the verifier at load.
        let field = unsafe { self.head.as_ptr().cast::<u8>().add(offset.load() as usize) }.cast::<T>();
        // SAFETY: as above; the kernel aligns its members. Volatile, so that the access stays where the verifier sees it.
        unsafe { field.read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    #[inline(always)]
    pub(crate) fn cookie(&self) -> u64 {
        self.load(&SKC_COOKIE)
    }

    #[inline(always)]
    pub(crate) fn family(&self) -> u16 {
        self.load(&SKC_FAMILY)
    }

    #[inline(always)]
    pub(crate) fn local_port(&self) -> u16 {
        self.load(&SKC_NUM)
    }

    #[inline(always)]
    pub(crate) fn remote_port(&self) -> u16 {
        u16::from_be(self.load(&SKC_DPORT))
    }

    #[inline(always)]
    pub(crate) fn local_address(&self) -> [u32; 4] {
        if self.family() == AF_INET6 {
            self.load(&SKC_V6_RCV_SADDR)
        } else {
            [self.load(&SKC_RCV_SADDR), 0, 0, 0]
        }
    }

    #[inline(always)]
    pub(crate) fn remote_address(&self) -> [u32; 4] {
        if self.family() == AF_INET6 { self.load(&SKC_V6_DADDR) } else { [self.load(&SKC_DADDR), 0, 0, 0] }
    }

    #[inline(always)]
    pub(crate) fn netns(&self) -> u32 {
        read_at(self.load::<u64>(&SKC_NET).wrapping_add(u64::from(NET_NS_INUM.load()))).unwrap_or_default()
    }

    /// Of a time-wait socket.
    #[inline(always)]
    pub(crate) fn substate(&self) -> u8 {
        self.load(&TW_SUBSTATE)
    }

    /// Of a time-wait socket: milliseconds of `CLOCK_MONOTONIC`, the lower 32 bits.
    #[inline(always)]
    pub(crate) fn entry_stamp(&self) -> Option<u32> {
        if TW_ENTRY_STAMP.load() == 0 { None } else { Some(self.load(&TW_ENTRY_STAMP)) }
    }

    /// Of a request socket: the address of its listener.
    #[inline(always)]
    pub(crate) fn listener(&self) -> u64 {
        self.load(&SKC_LISTENER)
    }

    /// Of a request socket: whether the third ACK has come and the accept queue had no room.
    #[inline(always)]
    pub(crate) fn is_acked(&self) -> bool {
        let byte: Option<u8> = read_at(self.address.wrapping_add(u64::from(IR_ACKED_BYTE.load())));
        byte.is_some_and(|byte| u32::from(byte) & IR_ACKED_MASK.load() != 0)
    }
}

/// A `struct sk_buff *` that the verifier knows as such.
#[derive(Clone, Copy)]
pub(crate) struct SkBuff(*const u8);

/// Addresses and ports as they stand in a packet, the sender's first.
pub(crate) struct PacketTuple {
    pub(crate) is_v6: bool,
    pub(crate) source: [u32; 4],
    pub(crate) destination: [u32; 4],
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
}

impl SkBuff {
    /// Wraps the argument of a BTF-typed program. `None` for NULL.
    ///
    /// # Safety
    ///
    /// `skb` must be a `struct sk_buff *` argument of the running BTF-typed program, unchanged.
    #[inline(always)]
    pub(crate) unsafe fn from_typed_argument(skb: *const c_void) -> Option<Self> {
        (!skb.is_null()).then_some(Self(skb.cast()))
    }

    /// Of a TCP segment with IP and TCP headers in place. `None` where they cannot be read.
    #[inline(always)]
    pub(crate) fn tuple(self) -> Option<PacketTuple> {
        let skb = Sock(self.0);
        let head = skb.load::<u64>(&SKB_HEAD);
        let network = head.wrapping_add(u64::from(skb.load::<u16>(&SKB_NETWORK_HEADER)));
        let transport = head.wrapping_add(u64::from(skb.load::<u16>(&SKB_TRANSPORT_HEADER)));
        // RFC 791 section 3.1, RFC 8200 section 3.
        let is_v6 = read_at::<u8>(network)? >> 4 == 6;
        let ports = read_at::<[u16; 2]>(transport)?;
        let (source, destination) = if is_v6 {
            (read_at(network + 8)?, read_at(network + 24)?)
        } else {
            let v4 = read_at::<[u32; 2]>(network + 12)?;
            ([v4[0], 0, 0, 0], [v4[1], 0, 0, 0])
        };
        Some(PacketTuple {
            is_v6,
            source,
            destination,
            source_port: u16::from_be(ports[0]),
            destination_port: u16::from_be(ports[1]),
        })
    }
}

/// Reads kernel memory through a pointer that was chased. `None` for a bad address.
#[inline(always)]
pub(crate) fn read_at<T>(address: u64) -> Option<T> {
    // SAFETY: the helper validates the address and fails on a bad one.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

/// Reads a field of a classic tracepoint's record.
#[inline(always)]
pub(crate) fn context_field<T: Copy>(ctx: &impl EbpfContext, offset: &Global<u32>) -> Option<T> {
    // SAFETY: only an address is computed; the helper below checks it.
    let field = unsafe { ctx.as_ptr().cast::<u8>().add(offset.load() as usize) }.cast::<T>();
    // SAFETY: the helper validates the address and fails on a bad one.
    unsafe { bpf_probe_read_kernel(field) }.ok()
}
