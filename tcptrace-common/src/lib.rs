//! The wire contract between the kernel half and the user-space half of tcptrace, and nothing else.
//!
//! Both halves are built from this file, so a record means the same on both sides. Integers are in the byte
//! order of the host; addresses are bytes as they stand in the socket (network order).

#![no_std]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Raw values of `enum` in the kernel's `include/net/tcp_states.h`.
pub mod tcp_state {
    /// `TCP_ESTABLISHED`
    pub const ESTABLISHED: u8 = 1;
    /// `TCP_SYN_SENT`
    pub const SYN_SENT: u8 = 2;
    /// `TCP_SYN_RECV`
    pub const SYN_RECV: u8 = 3;
    /// `TCP_FIN_WAIT1`
    pub const FIN_WAIT1: u8 = 4;
    /// `TCP_FIN_WAIT2`
    pub const FIN_WAIT2: u8 = 5;
    /// `TCP_TIME_WAIT`
    pub const TIME_WAIT: u8 = 6;
    /// `TCP_CLOSE`
    pub const CLOSE: u8 = 7;
    /// `TCP_CLOSE_WAIT`
    pub const CLOSE_WAIT: u8 = 8;
    /// `TCP_LAST_ACK`
    pub const LAST_ACK: u8 = 9;
    /// `TCP_LISTEN`
    pub const LISTEN: u8 = 10;
    /// `TCP_CLOSING`
    pub const CLOSING: u8 = 11;
}

/// `AF_INET` of `include/linux/socket.h`.
pub const AF_INET: u16 = 2;
/// `AF_INET6` of `include/linux/socket.h`.
pub const AF_INET6: u16 = 10;
/// `IPPROTO_TCP` of `include/uapi/linux/in.h`.
pub const IPPROTO_TCP: u16 = 6;
/// `IPPROTO_MPTCP` of `include/uapi/linux/in.h`.
pub const IPPROTO_MPTCP: u16 = 262;

/// [`RawRecord::kind`]: the socket changed its state.
pub const KIND_TRANSITION: u8 = 1;
/// [`RawRecord::kind`]: as [`KIND_TRANSITION`], from the second program, because the first one was busy on that CPU.
/// It may have been reported already.
pub const KIND_TRANSITION_BACKUP: u8 = 2;

/// [`RawMini::kind`]: something happened to the timer of a time-wait socket (`struct inet_timewait_sock`).
pub const KIND_TIME_WAIT: u8 = 3;
/// [`RawRecord::kind`]: the socket is destroyed (`tcp:tcp_destroy_sock`). `old_state` and `new_state` are its state.
pub const KIND_DESTROY: u8 = 4;
/// [`RawRecord::kind`]: a reset was sent for the socket (`tcp:tcp_send_reset`). `old_state` and `new_state` are its
/// state, `detail` one of [`reset_reason`] or 0. Of a listener it is about one of its half-open connections, whose
/// addresses and ports it carries.
pub const KIND_RESET_SENT: u8 = 5;
/// [`RawMini::kind`]: something happened to the timer of a request socket (`struct request_sock`).
pub const KIND_REQUEST: u8 = 6;
/// [`RawRecord::kind`]: the socket has taken a reset in (`tcp:tcp_receive_reset`). Where `sk_err` cannot be read.
pub const KIND_RESET_RECEIVED: u8 = 7;

/// [`RawRecord::kind`]: the task has accepted the socket. Besides it, only `cookie` and `sk` are filled.
pub const KIND_ACCEPT: u8 = 8;

/// [`RawRecord::kind`]: a process that is asked for has made another one, which is asked for from now on: `pid_tgid` is the
/// parent's process in the upper half, `sk` the child's process id, `start_ns` the child's start. Nothing else is filled.
pub const KIND_FORK: u8 = 9;

/// Why the kernel sends a reset: [`RawRecord::detail`] of a [`KIND_RESET_SENT`]. Numbers of our own: those of
/// `enum sk_rst_reason` (`include/net/rstreason.h`, Linux >= 6.10) move between versions; user space translates them by
/// name at load. 0 is unknown.
pub mod reset_reason {
    /// The kernel's names without `SK_RST_REASON_`; the number is the place in this list plus 1.
    pub const NAMES: [&str; 25] = [
        "NOT_SPECIFIED",
        "NO_SOCKET",
        "TCP_INVALID_ACK_SEQUENCE",
        "TCP_RFC7323_PAWS",
        "TCP_TOO_OLD_ACK",
        "TCP_ACK_UNSENT_DATA",
        "TCP_FLAGS",
        "TCP_OLD_ACK",
        "TCP_ABORT_ON_DATA",
        "TCP_TIMEWAIT_SOCKET",
        "INVALID_SYN",
        "TCP_ABORT_ON_CLOSE",
        "TCP_ABORT_ON_LINGER",
        "TCP_ABORT_ON_MEMORY",
        "TCP_STATE",
        "TCP_KEEPALIVE_TIMEOUT",
        "TCP_DISCONNECT_WITH_DATA",
        "MPTCP_RST_EUNSPEC",
        "MPTCP_RST_EMPTCP",
        "MPTCP_RST_ERESOURCE",
        "MPTCP_RST_EPROHIBIT",
        "MPTCP_RST_EWQ2BIG",
        "MPTCP_RST_EBADPERF",
        "MPTCP_RST_EMIDDLEBOX",
        "ERROR",
    ];
    /// Entries of the table that translates the kernel's numbers, a power of two.
    pub const TABLE: usize = 64;
}

/// What happened to a timer ([`RawMini::action`]).
pub mod timer_action {
    /// Armed (`timer:timer_start`).
    pub const START: u8 = 1;
    /// Taken off (`timer:timer_cancel`): before it expires, before it is armed again, or for good.
    pub const CANCEL: u8 = 2;
    /// Expired (`timer:timer_expire_entry`).
    pub const EXPIRE: u8 = 3;
}

/// The filter of the kernel half: how its maps are laid out. Which conditions there are is set at load.
pub mod filter {
    /// Bits of conditions, and places in the maps: our side.
    pub const LOCAL: u32 = 0;
    /// The peer's side.
    pub const REMOTE: u32 = 1;
    /// The service's port, on either side.
    pub const SERVICE: u32 = 2;
    /// Ports are bits of 64-bit words; the words of a side begin at its number times this.
    pub const PORT_WORDS: u32 = 65_536 / 64;
    /// A network or an address: side, 4 or 6, and the address as it stands in the socket, a v4 one in the first word; a
    /// v4-mapped address is v4. A prefix has 64 bits more than the network's.
    pub type NetworkKey = [u32; 6];
    /// Bits that a prefix has before those of the address.
    pub const PREFIX_BEFORE: u32 = 64;
    /// Start of a process, in hundredths of a second, of one whose children alone are asked for.
    pub const ONLY_CHILDREN: u64 = u64::MAX;
    /// Words that a candidate has for the program that only decides: addresses, then the rest.
    pub const TEST_ARGUMENTS: usize = 7;
}

/// Entries of the per-CPU array of lost records: of [`KIND_TRANSITION`].
pub const LOST_RECORDS: u32 = 0;
/// Entries of the per-CPU array of lost records: of [`KIND_TRANSITION_BACKUP`].
pub const LOST_BACKUPS: u32 = 1;
/// Entries of the same array: not lost, but not asked for, and seen by the second program only.
pub const UNWANTED_BACKUPS: u32 = 2;
/// Entries of the same array: stacks that were not taken, because more than half of the ring was full.
pub const LOST_STACKS: u32 = 3;

/// Bits of [`RawRecord::known`]: which fields the kernel half could fill. A field whose bit is clear is zero
/// and means "unknown".
pub mod known {
    /// `cookie`
    pub const COOKIE: u8 = 1 << 0;
    /// `netns`
    pub const NETNS: u8 = 1 << 1;
    /// `uid`
    pub const UID: u8 = 1 << 2;
    /// `sk_err`; zero then means "no error"
    pub const SK_ERR: u8 = 1 << 3;
    /// [`RawMini::entry_stamp_ms`](super::RawMini::entry_stamp_ms)
    pub const ENTRY_STAMP: u8 = 1 << 5;
    /// [`RawMini::jiffies_left`](super::RawMini::jiffies_left)
    pub const JIFFIES_LEFT: u8 = 1 << 6;
    /// `pid_tgid`, `comm`, `start_ns` and `cgroup`, which are filled only where [`current_is_owner`](super::current_is_owner) holds
    pub const TASK: u8 = 1 << 4;
}

/// Bits of [`RawRecord::flags`] and [`RawMini::flags`].
pub mod flags {
    /// `SOCK_DEAD`: no descriptor holds the socket any more. One that reaches CLOSE so is destroyed at once
    /// (`tcp_done`), and no [`KIND_DESTROY`](super::KIND_DESTROY) need follow.
    pub const ORPHAN: u8 = 1 << 0;
    /// `inet_request_sock::acked`: the third ACK has come, but the accept queue had no room.
    pub const ACKED: u8 = 1 << 1;
    /// A listener's child that is still a copy of its parent (`inet_csk_clone_lock`; seen on Linux 5.10, 6.1, 6.12 and 7.2, not on 6.18): it has
    /// the parent's cookie, which is therefore not reported, and no peer yet. Known by its address until its next record.
    pub const NEWBORN: u8 = 1 << 2;
}

/// True where `current` is the task that owns the socket and not merely the one that was on the CPU.
///
/// These transitions are made by system calls of the owner (`connect`, `listen`, `close`, `shutdown`, exit):
/// `tcp_v4_connect`/`tcp_v6_connect`, `inet_csk_listen_start`, and `tcp_close_state`, which alone of all callers
/// enters FIN_WAIT1 and LAST_ACK (Linux 5.8 to 6.18). Everything else may run in softirq.
#[inline(always)]
pub const fn current_is_owner(old: u8, new: u8) -> bool {
    use tcp_state::{CLOSE, FIN_WAIT1, LAST_ACK, LISTEN, SYN_SENT};
    (old == CLOSE && (new == SYN_SENT || new == LISTEN)) || new == FIN_WAIT1 || new == LAST_ACK
}

/// One record of the ring buffer. Fixed size; every byte is written by the kernel half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RawRecord {
    /// `CLOCK_MONOTONIC` in nanoseconds (`bpf_ktime_get_ns`).
    pub ts_ns: u64,
    /// The kernel's socket cookie (`sock_gen_cookie`).
    pub cookie: u64,
    /// Kernel address of the `struct sock`. Recycled by the slab: an identity only while no cookie is known.
    pub sk: u64,
    /// `bpf_get_current_pid_tgid`: the process (tgid) in the upper, the thread in the lower half.
    pub pid_tgid: u64,
    /// `task_struct::comm`, NUL-padded, any bytes at all: hostile input.
    pub comm: [u64; 2],
    /// When its process started: `task_struct::start_boottime` of the group leader, `CLOCK_BOOTTIME` in nanoseconds; 0
    /// when not known.
    pub start_ns: u64,
    /// Its cgroup in the v2 hierarchy (`bpf_get_current_cgroup_id`); 0 when not known.
    pub cgroup: u64,
    /// Local address; a v4 address stands in the first word.
    pub laddr: [u32; 4],
    /// Remote address; a v4 address stands in the first word.
    pub raddr: [u32; 4],
    /// Inode of the network namespace (`ns_common::inum`).
    pub netns: u32,
    /// `sock::sk_uid` in the initial user namespace.
    pub uid: u32,
    /// Local port, host order; 0 when not bound yet.
    pub lport: u16,
    /// Remote port, host order; 0 when not known yet.
    pub rport: u16,
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// `IPPROTO_TCP` or `IPPROTO_MPTCP`.
    pub protocol: u16,
    /// `sock::sk_err`, a positive errno, or 0 for none.
    pub sk_err: u16,
    /// What this record says, one of the `KIND_` constants.
    pub kind: u8,
    /// Old state, one of [`tcp_state`].
    pub old_state: u8,
    /// New state, one of [`tcp_state`].
    pub new_state: u8,
    /// Which optional fields are filled, bits of [`known`].
    pub known: u8,
    /// What else there is to say, bits of [`flags`].
    pub flags: u8,
    /// Depends on the kind, see there; else 0.
    pub detail: u8,
}

impl RawRecord {
    /// Size in the ring buffer, without the ring's own 8-byte header.
    pub const SIZE: usize = size_of::<Self>();
}

/// A record about a socket that is no full one: a time-wait or a request socket. The same size as [`RawRecord`], and what they share at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RawMini {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub ts_ns: u64,
    /// The one of the socket that it stands for; 0 when nobody has asked for it (of a request socket: most often).
    pub cookie: u64,
    /// Kernel address of the mini-socket.
    pub sk: u64,
    /// `bpf_get_current_pid_tgid`: the task on the CPU, which is **not** the owner.
    pub pid_tgid: u64,
    /// Jiffies until the timer expires; negative when that is over.
    pub jiffies_left: i64,
    /// `tw_entry_stamp`: when it entered its state, milliseconds of `CLOCK_MONOTONIC`, the lower 32 bits.
    pub entry_stamp_ms: u32,
    /// Zero.
    pub reserved: u32,
    /// Of a request socket, the kernel address of its listener; else 0.
    pub listener: u64,
    /// Zero.
    pub reserved_5: u64,
    /// Local address; a v4 address stands in the first word.
    pub laddr: [u32; 4],
    /// Remote address; a v4 address stands in the first word.
    pub raddr: [u32; 4],
    /// Inode of the network namespace.
    pub netns: u32,
    /// Zero.
    pub reserved_2: u32,
    /// Local port, host order.
    pub lport: u16,
    /// Remote port, host order.
    pub rport: u16,
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// `IPPROTO_TCP`.
    pub protocol: u16,
    /// Zero.
    pub reserved_3: u16,
    /// What this record says, one of the `KIND_` constants.
    pub kind: u8,
    /// One of [`timer_action`].
    pub action: u8,
    /// `tw_substate`, one of [`tcp_state`]; of a request socket SYN_RECV.
    pub state: u8,
    /// Which optional fields are filled, bits of [`known`].
    pub known: u8,
    /// What else there is to say, bits of [`flags`].
    pub flags: u8,
    /// Zero.
    pub reserved_4: u8,
}

/// Addresses of a stack that are kept, the innermost first.
pub const MAX_STACK: usize = 64;

/// Bytes at the top of a stack that are kept.
pub const STACK_BYTES: usize = 4096;

/// They are copied in so many bytes at a time, until a piece cannot be read.
pub const STACK_PIECE: usize = 256;

/// The user stack of a task that makes a call of a socket's own (`--stacks`). It comes before the record of what the call
/// does; told from other records by its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RawStack {
    /// Whose it is, and how much of it is there.
    pub head: RawStackHead,
    /// Return addresses, the innermost first, found by the kernel by frame pointers; zeros follow.
    pub frames: [u64; MAX_STACK],
    /// The stack, from the stack pointer upwards. What was not copied holds anything.
    pub memory: [u8; STACK_BYTES],
}

/// See [`RawStack::head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RawStackHead {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub ts_ns: u64,
    /// The socket's.
    pub cookie: u64,
    /// `bpf_get_current_pid_tgid`.
    pub pid_tgid: u64,
    /// As [`RawRecord::start_ns`].
    pub start_ns: u64,
    /// Bytes of [`RawStack::frames`] that are filled, or a negative errno (`bpf_get_stack`).
    pub bytes: i64,
    /// Bytes of [`RawStack::memory`] that are filled. 0: the registers and the memory are not known (Linux before 5.15).
    pub copied: u64,
    /// Where user space made the call: instruction pointer, stack pointer, frame pointer, and the link register where there
    /// is one.
    pub registers: [u64; 4],
}

impl RawStack {
    /// Size in the ring buffer.
    pub const SIZE: usize = size_of::<Self>();
}

// The layout is a contract: a change of it is a change of this table.
const _: () = {
    use core::mem::{align_of, offset_of};
    assert!(RawRecord::SIZE == 120);
    assert!(align_of::<RawRecord>() == 8);
    assert!(offset_of!(RawRecord, ts_ns) == 0);
    assert!(offset_of!(RawRecord, cookie) == 8);
    assert!(offset_of!(RawRecord, sk) == 16);
    assert!(offset_of!(RawRecord, pid_tgid) == 24);
    assert!(offset_of!(RawRecord, comm) == 32);
    assert!(offset_of!(RawRecord, start_ns) == 48);
    assert!(offset_of!(RawRecord, cgroup) == 56);
    assert!(offset_of!(RawRecord, laddr) == 64);
    assert!(offset_of!(RawRecord, raddr) == 80);
    assert!(offset_of!(RawRecord, netns) == 96);
    assert!(offset_of!(RawRecord, uid) == 100);
    assert!(offset_of!(RawRecord, lport) == 104);
    assert!(offset_of!(RawRecord, rport) == 106);
    assert!(offset_of!(RawRecord, family) == 108);
    assert!(offset_of!(RawRecord, protocol) == 110);
    assert!(offset_of!(RawRecord, sk_err) == 112);
    assert!(offset_of!(RawRecord, kind) == 114);
    assert!(offset_of!(RawRecord, old_state) == 115);
    assert!(offset_of!(RawRecord, new_state) == 116);
    assert!(offset_of!(RawRecord, known) == 117);
    assert!(offset_of!(RawRecord, flags) == 118);
    assert!(offset_of!(RawRecord, detail) == 119);

    assert!(size_of::<RawMini>() == RawRecord::SIZE);
    assert!(RawStack::SIZE == 4688 && RawStack::SIZE != RawRecord::SIZE);
    assert!(offset_of!(RawStack, head) == 0 && offset_of!(RawStackHead, registers) == 48);
    assert!(offset_of!(RawStack, frames) == 80);
    assert!(offset_of!(RawStack, memory) == 592);
    assert!(STACK_BYTES.is_multiple_of(STACK_PIECE));
    assert!(offset_of!(RawMini, jiffies_left) == 32);
    assert!(offset_of!(RawMini, entry_stamp_ms) == 40);
    assert!(offset_of!(RawMini, laddr) == offset_of!(RawRecord, laddr));
    assert!(offset_of!(RawMini, netns) == offset_of!(RawRecord, netns));
    assert!(offset_of!(RawMini, lport) == offset_of!(RawRecord, lport));
    assert!(offset_of!(RawMini, kind) == offset_of!(RawRecord, kind));
    assert!(offset_of!(RawMini, action) == offset_of!(RawRecord, old_state));
    assert!(offset_of!(RawMini, state) == offset_of!(RawRecord, new_state));
    assert!(offset_of!(RawMini, known) == offset_of!(RawRecord, known));
    assert!(offset_of!(RawMini, flags) == offset_of!(RawRecord, flags));
};
