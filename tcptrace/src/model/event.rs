//! What sources tell the model.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::{NonZeroU8, NonZeroU16, NonZeroU32, NonZeroU64},
};

use tcptrace_common::reset_reason::NAMES;

use super::state::TcpState;

/// A moment of `CLOCK_MONOTONIC` in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KtimeNs(pub u64);

impl KtimeNs {
    /// Nanoseconds since `earlier`, `None` when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }
}

/// The identity of a socket: its cookie, or, where the kernel gives none, its address.
///
/// A cookie names a connection from the request socket to the time-wait socket and is never used twice. An
/// address is recycled by the slab; the table begins a new life when one is born under a known address.
/// The two never collide: kernel addresses have the top bit set on all 64-bit architectures, cookies are counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketKey(u64);

impl SocketKey {
    const ADDRESS: u64 = 1 << 63;

    /// A key from the kernel's socket cookie.
    pub const fn from_cookie(cookie: NonZeroU64) -> Self {
        Self(cookie.get() & !Self::ADDRESS)
    }

    /// A key from the address of the `struct sock`.
    pub const fn from_address(sk: u64) -> Self {
        Self(sk | Self::ADDRESS)
    }

    /// The cookie, `None` when the key is an address.
    pub const fn cookie(self) -> Option<NonZeroU64> {
        if self.0 & Self::ADDRESS == 0 { NonZeroU64::new(self.0) } else { None }
    }
}

/// The socket's address family. A v4 client of a dual-stack listener is `V6` with a v4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `AF_INET`
    V4,
    /// `AF_INET6`
    V6,
}

impl Family {
    /// 4 or 6.
    pub const fn number(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }
}

/// One side of a connection as far as it is known. v4-mapped addresses are held as v4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The address; `None` when the kernel has not set it yet.
    pub addr: Option<IpAddr>,
    /// The port, host order; `None` when it is not bound or not known yet.
    pub port: Option<NonZeroU16>,
}

impl Endpoint {
    /// What `self` and the later `other` know together.
    #[must_use]
    pub fn updated_by(self, other: Self) -> Self {
        Self { addr: other.addr.or(self.addr), port: other.port.or(self.port) }
    }
}

/// The address that 16 raw bytes stand for; a v4-mapped one is v4.
pub fn canonical(family: Family, bytes: [u8; 16]) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
        Family::V6 => Ipv6Addr::from(bytes).to_canonical(),
    }
}

/// A task's name as the kernel holds it: up to 15 bytes of anything (`prctl(PR_SET_NAME)`), so hostile input.
/// It has no `Display` on purpose: see `output::escape`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Comm(pub [u8; 16]);

impl Comm {
    /// The name without its padding.
    pub fn bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl From<&str> for Comm {
    /// The first 15 bytes of `name`, as the kernel would keep them.
    fn from(name: &str) -> Self {
        let mut comm = [0; 16];
        for (to, from) in comm.iter_mut().take(15).zip(name.bytes()) {
            *to = from;
        }
        Self(comm)
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Comm(\"{}\")", self.bytes().escape_ascii())
    }
}

/// When a process started: `CLOCK_BOOTTIME` in hundredths of a second, as in field 22 of /proc/PID/stat. With the
/// process id it names a process for as long as the host is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessStart(NonZeroU64);

impl ProcessStart {
    /// From nanoseconds (`task_struct::start_boottime`); `None` for 0, which is not known.
    pub const fn from_ns(ns: u64) -> Option<Self> {
        Self::from_ticks(ns / 10_000_000)
    }

    /// From field 22 of /proc/PID/stat (`USER_HZ` is 100); `None` for 0.
    pub const fn from_ticks(ticks: u64) -> Option<Self> {
        match NonZeroU64::new(ticks) {
            Some(ticks) => Some(Self(ticks)),
            None => None,
        }
    }

    /// Hundredths of a second.
    pub const fn ticks(self) -> u64 {
        self.0.get()
    }
}

/// A process, and the thread of it that made a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// Process id (the kernel's tgid) in the initial pid namespace.
    pub pid: NonZeroU32,
    /// Thread id (the kernel's pid).
    pub tid: NonZeroU32,
    /// Name of the thread.
    pub comm: Comm,
    /// When the process started, where the kernel tells.
    pub started: Option<ProcessStart>,
    /// Id of its cgroup in the v2 hierarchy.
    pub cgroup: Option<NonZeroU64>,
}

impl Task {
    /// Its thread.
    pub fn thread(&self) -> ThreadId {
        ThreadId(u64::from(self.pid.get()) << 32 | u64::from(self.tid.get()))
    }
}

/// A socket went from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub ts: KtimeNs,
    /// Which socket.
    pub key: SocketKey,
    /// Its address family.
    pub family: Family,
    /// An MPTCP-level socket, not a TCP one.
    pub mptcp: bool,
    /// Reported by a second observer, because the first may have missed it: it may be known already.
    pub is_backup: bool,
    /// Our side.
    pub local: Endpoint,
    /// The peer's side.
    pub remote: Endpoint,
    /// The state it leaves.
    pub old: TcpState,
    /// The state it enters.
    pub new: TcpState,
    /// Inode of the network namespace.
    pub netns: Option<NonZeroU32>,
    /// `sk_uid`.
    pub uid: Option<u32>,
    /// `sk_err`: `Some(0)` is "no error", `None` is "not known".
    pub error: Option<u16>,
    /// The owner; only where the current task is the owner.
    pub task: Option<Task>,
    /// The owner's thread (`bpf_get_current_pid_tgid`), with `task`.
    pub thread: Option<ThreadId>,
    /// No descriptor holds it (`SOCK_DEAD`): entering CLOSE, it is destroyed at once.
    pub is_orphan: bool,
    /// A listener's child that has no identity of its own yet: `key` is its address, and its next transition has another
    /// key and this [`address`](Self::address).
    pub is_newborn: bool,
    /// Its address as a key, whatever `key` is.
    pub address: SocketKey,
    /// Of a birth from LISTEN, the address of the listener as a key, where it is known.
    pub listener: Option<SocketKey>,
}

impl Transition {
    /// From one state to another, and nothing else is known of it.
    pub fn bare(ts: KtimeNs, key: SocketKey, family: Family, (old, new): (TcpState, TcpState)) -> Self {
        Self {
            ts,
            key,
            family,
            mptcp: false,
            is_backup: false,
            local: Endpoint::default(),
            remote: Endpoint::default(),
            old,
            new,
            netns: None,
            uid: None,
            error: None,
            task: None,
            thread: None,
            is_orphan: false,
            is_newborn: false,
            address: key,
            listener: None,
        }
    }
}

/// A thread: process id in the upper, thread id in the lower half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ThreadId(pub u64);

/// What happened to the timer of a time-wait or request socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimerAction {
    /// It was armed: the socket is new, or its time begins again.
    Start,
    /// It was taken off: to expire, to be armed again, or for good.
    Cancel,
    /// It has expired.
    Expire,
}

/// Something happened to a time-wait socket (`struct inet_timewait_sock`), which stands for a full one whose
/// application has closed it, or whose FINs are both through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWait {
    /// When.
    pub ts: KtimeNs,
    /// The socket that it stands for.
    pub key: SocketKey,
    /// Its address family.
    pub family: Family,
    /// Our side.
    pub local: Endpoint,
    /// The peer's side.
    pub remote: Endpoint,
    /// Inode of the network namespace.
    pub netns: Option<NonZeroU32>,
    /// What happened.
    pub action: TimerAction,
    /// `tw_substate`: FIN_WAIT2 or TIME_WAIT.
    pub state: TcpState,
    /// When it entered that state, to a millisecond, where the kernel keeps it (`tw_entry_stamp`).
    pub entered: Option<KtimeNs>,
    /// The thread on the CPU, which is not the owner.
    pub thread: ThreadId,
}

/// Something happened to a request socket (`struct request_sock`): a half-open connection, from the peer's SYN to the
/// third ACK of the handshake. The socket that is made then is another one, with the same addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When.
    pub ts: KtimeNs,
    /// Which one: by address until somebody asks for its cookie (by listing it), which most often nobody does.
    pub key: SocketKey,
    /// Its address as a key, whatever `key` is.
    pub address: SocketKey,
    /// Its address family: the listener's.
    pub family: Family,
    /// Our side.
    pub local: Endpoint,
    /// The peer's side.
    pub remote: Endpoint,
    /// Inode of the network namespace.
    pub netns: Option<NonZeroU32>,
    /// What happened.
    pub action: TimerAction,
    /// The address of its listener as a key.
    pub listener: Option<SocketKey>,
    /// The third ACK has come, and the accept queue had no room.
    pub is_acked: bool,
}

/// A connection was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// When.
    pub ts: KtimeNs,
    /// Which socket.
    pub key: SocketKey,
    /// By whom.
    pub task: Task,
}

/// A process that is asked for has made another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forked {
    /// When.
    pub ts: KtimeNs,
    /// The process that made it.
    pub parent: NonZeroU32,
    /// The new process.
    pub child: NonZeroU32,
    /// When it started.
    pub started: Option<ProcessStart>,
}

/// A socket in CLOSE was destroyed: no descriptor holds it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destroyed {
    /// When.
    pub ts: KtimeNs,
    /// Which socket.
    pub key: SocketKey,
}

/// A socket takes a reset in: it ends right after. Told where `sk_err` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetReceived {
    /// When.
    pub ts: KtimeNs,
    /// Which socket.
    pub key: SocketKey,
}

/// We sent a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetSent {
    /// When.
    pub ts: KtimeNs,
    /// For which socket; a listener sends them for its half-open connections.
    pub key: SocketKey,
    /// Of a listener: for which connection.
    pub half_open: Option<Tuple>,
    /// Why, where the kernel says so.
    pub reason: Option<ResetReason>,
}

/// Why the kernel sent a reset: a number of [`tcptrace_common::reset_reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResetReason(NonZeroU8);

impl ResetReason {
    /// From the number; `None` for one that is not known.
    pub fn from_number(number: u8) -> Option<Self> {
        NonZeroU8::new(number).filter(|number| usize::from(number.get()) <= NAMES.len()).map(Self)
    }

    /// The kernel's name (`enum sk_rst_reason`) without its prefix.
    pub fn name(self) -> &'static str {
        NAMES.get(usize::from(self.0.get()) - 1).copied().unwrap_or_default()
    }
}

/// Addresses and ports of a connection and its network namespace: no two half-open ones are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    netns: Option<NonZeroU32>,
    local: Endpoint,
    remote: Endpoint,
}

impl Tuple {
    /// `None` while one of them is not known.
    pub fn new(netns: Option<NonZeroU32>, local: Endpoint, remote: Endpoint) -> Option<Self> {
        let is_known = |end: Endpoint| end.addr.is_some() && end.port.is_some();
        (is_known(local) && is_known(remote)).then_some(Self { netns, local, remote })
    }
}

/// What a source tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A full socket changed its state.
    Transition(Transition),
    /// Something happened to a time-wait socket.
    TimeWait(TimeWait),
    /// Something happened to a request socket.
    Request(Request),
    /// A connection was accepted.
    Accepted(Accepted),
    /// A process that is asked for has made another one.
    Forked(Forked),
    /// A closed socket is gone.
    Destroyed(Destroyed),
    /// We sent a reset.
    ResetSent(ResetSent),
    /// We got one.
    ResetReceived(ResetReceived),
}

impl Event {
    /// When it happened.
    pub const fn ts(&self) -> KtimeNs {
        match self {
            Self::Transition(transition) => transition.ts,
            Self::TimeWait(time_wait) => time_wait.ts,
            Self::Request(request) => request.ts,
            Self::Accepted(accepted) => accepted.ts,
            Self::Forked(forked) => forked.ts,
            Self::Destroyed(destroyed) => destroyed.ts,
            Self::ResetSent(reset) => reset.ts,
            Self::ResetReceived(reset) => reset.ts,
        }
    }

    /// Whether the second observer has seen it, because the first one missed it.
    pub const fn is_backup(&self) -> bool {
        matches!(self, Self::Transition(Transition { is_backup: true, .. }))
    }
}

/// Where records were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LostAt {
    /// The ring buffer was full.
    Ring,
    /// The kernel did not run the program because it was running on that CPU already.
    Recursion,
    /// A record could not be decoded.
    Decode,
}

impl LostAt {
    /// The word in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Recursion => "recursion",
            Self::Decode => "decode",
        }
    }
}

/// Records that were made but did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// When it was noticed. All of them were lost before that.
    pub noticed: KtimeNs,
    /// How many, at least 1.
    pub count: u64,
    /// Where.
    pub at: LostAt,
}
