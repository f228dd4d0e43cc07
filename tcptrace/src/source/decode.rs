//! From the bytes of a record to an event.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};

use tcptrace_common::{
    AF_INET, AF_INET6, IPPROTO_MPTCP, IPPROTO_TCP, KIND_ACCEPT, KIND_DESTROY, KIND_FORK, KIND_REQUEST,
    KIND_RESET_RECEIVED, KIND_RESET_SENT, KIND_TIME_WAIT, KIND_TRANSITION, KIND_TRANSITION_BACKUP, RawMini,
    RawRecord, RawStack, flags, known, tcp_state, timer_action,
};
use thiserror::Error;
use zerocopy::FromBytes as _;

use crate::model::{
    Accepted, Comm, Destroyed, Endpoint, Event, Family, Forked, KtimeNs, ProcessStart, Request, ResetReason,
    ResetReceived, ResetSent, SocketKey, Stack, StackTop, Task, TcpState, ThreadId, TimeWait, TimerAction,
    Transition, Tuple, event::canonical,
};

/// A record that is not what the contract says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Another size.
    #[error("{0} bytes instead of {size}", size = RawRecord::SIZE)]
    Size(usize),
    /// A kind that is not in the contract.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// Not something that happens to a timer.
    #[error("unknown action {0}")]
    Action(u8),
    /// Not a state that a time-wait socket can be in.
    #[error("{0} is no state of a time-wait socket")]
    Substate(u8),
    /// Somebody must have accepted it, or forked.
    #[error("no task has done it")]
    NoTask,
    /// Not a TCP state.
    #[error("{0} is no TCP state")]
    State(u8),
    /// Neither `AF_INET` nor `AF_INET6`.
    #[error("{0} is no address family of TCP")]
    Family(u16),
    /// Neither TCP nor MPTCP.
    #[error("{0} is no protocol that was asked for")]
    Protocol(u16),
}

/// Decodes one record of the ring buffer.
///
/// # Errors
///
/// A record that breaks the contract of `tcptrace-common`. Never panics.
///
/// `tick_ns` is the length of a tick of the kernel's timers (a jiffy), in nanoseconds.
pub fn decode(bytes: &[u8], tick_ns: u64) -> Result<Event, Malformed> {
    let raw = RawRecord::read_from_bytes(bytes).map_err(|_| Malformed::Size(bytes.len()))?;
    match raw.kind {
        KIND_TRANSITION => Ok(Event::Transition(transition(&raw, false)?)),
        KIND_TRANSITION_BACKUP => Ok(Event::Transition(transition(&raw, true)?)),
        KIND_TIME_WAIT => {
            let raw = RawMini::read_from_bytes(bytes).map_err(|_| Malformed::Size(bytes.len()))?;
            Ok(Event::TimeWait(time_wait(&raw, tick_ns)?))
        }
        KIND_REQUEST => {
            let raw = RawMini::read_from_bytes(bytes).map_err(|_| Malformed::Size(bytes.len()))?;
            Ok(Event::Request(request(&raw)?))
        }
        KIND_ACCEPT => Ok(Event::Accepted(Accepted {
            ts: KtimeNs(raw.ts_ns),
            key: key(raw.cookie, raw.sk, raw.known),
            task: task(&raw).ok_or(Malformed::NoTask)?,
        })),
        KIND_FORK => Ok(Event::Forked(forked(&raw).ok_or(Malformed::NoTask)?)),
        KIND_DESTROY => Ok(Event::Destroyed(Destroyed {
            ts: KtimeNs(raw.ts_ns),
            key: key(raw.cookie, raw.sk, raw.known),
        })),
        KIND_RESET_RECEIVED => Ok(Event::ResetReceived(ResetReceived {
            ts: KtimeNs(raw.ts_ns),
            key: key(raw.cookie, raw.sk, raw.known),
        })),
        KIND_RESET_SENT => Ok(Event::ResetSent(reset_sent(&raw)?)),
        other => Err(Malformed::Kind(other)),
    }
}

fn transition(raw: &RawRecord, is_backup: bool) -> Result<Transition, Malformed> {
    let (old, new) = (state(raw.old_state)?, state(raw.new_state)?);
    let family = family(raw.family)?;
    let mptcp = match raw.protocol {
        IPPROTO_TCP => false,
        IPPROTO_MPTCP => true,
        other => return Err(Malformed::Protocol(other)),
    };
    let is_known = |field| raw.known & field != 0;
    // Only a listener can really have the address 0.0.0.0; elsewhere it is not set yet.
    let is_listener = new == TcpState::Listen || (old == TcpState::Listen && new == TcpState::Close);
    let task = task(raw);
    Ok(Transition {
        ts: KtimeNs(raw.ts_ns),
        key: key(raw.cookie, raw.sk, raw.known),
        family,
        mptcp,
        is_backup,
        local: endpoint(family, raw.laddr, raw.lport, is_listener),
        remote: endpoint(family, raw.raddr, raw.rport, false),
        old,
        new,
        netns: NonZeroU32::new(raw.netns).filter(|_| is_known(known::NETNS)),
        uid: is_known(known::UID).then_some(raw.uid),
        error: is_known(known::SK_ERR).then_some(raw.sk_err),
        task,
        thread: task.map(|_| ThreadId(raw.pid_tgid)),
        is_orphan: raw.flags & flags::ORPHAN != 0,
        is_newborn: raw.flags & flags::NEWBORN != 0,
        address: SocketKey::from_address(raw.sk),
        listener: None,
    })
}

/// Decodes the user stack of a call, where a record is one by its size.
pub fn decode_stack(bytes: &[u8]) -> Option<Result<Stack, Malformed>> {
    let raw = RawStack::read_from_bytes(bytes).ok()?;
    let filled = usize::try_from(raw.head.bytes).unwrap_or(0) / size_of::<u64>();
    let frames = raw.frames.iter().take(filled).take_while(|addr| **addr != 0);
    let pid = u32::try_from(raw.head.pid_tgid >> 32).ok().and_then(NonZeroU32::new);
    Some(pid.ok_or(Malformed::NoTask).map(|pid| Stack {
        ts: KtimeNs(raw.head.ts_ns),
        key: key(raw.head.cookie, 0, known::COOKIE),
        pid,
        thread: ThreadId(raw.head.pid_tgid),
        started_ns: Some(raw.head.start_ns).filter(|start| *start != 0),
        addrs: frames.copied().collect(),
        top: top(&raw),
    }))
}

/// `None` where nothing of the memory is known.
fn top(raw: &RawStack) -> Option<StackTop> {
    let memory =
        raw.memory.get(..usize::try_from(raw.head.copied).ok()?).filter(|memory| !memory.is_empty())?;
    let [ip, sp, fp, lr] = raw.head.registers;
    Some(StackTop { ip, sp, fp, lr, memory: memory.into() })
}

/// The owner; `None` where the task on the CPU is not it, and for pid 0, which owns no socket.
fn task(raw: &RawRecord) -> Option<Task> {
    (raw.known & known::TASK != 0).then_some(())?;
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).ok().and_then(NonZeroU32::new);
    Some(Task {
        pid: half(raw.pid_tgid >> 32)?,
        tid: half(raw.pid_tgid)?,
        comm: Comm(zerocopy::transmute!(raw.comm)),
        started: ProcessStart::from_ns(raw.start_ns),
        cgroup: NonZeroU64::new(raw.cgroup),
    })
}

/// `None` for process ids that there are not.
fn forked(raw: &RawRecord) -> Option<Forked> {
    let pid = |number: u64| u32::try_from(number).ok().and_then(NonZeroU32::new);
    Some(Forked {
        ts: KtimeNs(raw.ts_ns),
        parent: pid(raw.pid_tgid >> 32)?,
        child: pid(raw.sk)?,
        started: ProcessStart::from_ns(raw.start_ns),
    })
}

fn request(raw: &RawMini) -> Result<Request, Malformed> {
    let family = family(raw.family)?;
    Ok(Request {
        ts: KtimeNs(raw.ts_ns),
        key: key(raw.cookie, raw.sk, raw.known),
        address: SocketKey::from_address(raw.sk),
        family,
        local: endpoint(family, raw.laddr, raw.lport, false),
        remote: endpoint(family, raw.raddr, raw.rport, false),
        netns: NonZeroU32::new(raw.netns).filter(|_| raw.known & known::NETNS != 0),
        action: action(raw.action)?,
        listener: (raw.listener != 0).then(|| SocketKey::from_address(raw.listener)),
        is_acked: raw.flags & flags::ACKED != 0,
    })
}

fn reset_sent(raw: &RawRecord) -> Result<ResetSent, Malformed> {
    let family = family(raw.family)?;
    let netns = NonZeroU32::new(raw.netns).filter(|_| raw.known & known::NETNS != 0);
    let half_open = || {
        let local = endpoint(family, raw.laddr, raw.lport, false);
        Tuple::new(netns, local, endpoint(family, raw.raddr, raw.rport, false))
    };
    Ok(ResetSent {
        ts: KtimeNs(raw.ts_ns),
        key: key(raw.cookie, raw.sk, raw.known),
        half_open: (raw.old_state == tcp_state::LISTEN).then(half_open).flatten(),
        reason: ResetReason::from_number(raw.detail),
    })
}

fn action(raw: u8) -> Result<TimerAction, Malformed> {
    match raw {
        timer_action::START => Ok(TimerAction::Start),
        timer_action::CANCEL => Ok(TimerAction::Cancel),
        timer_action::EXPIRE => Ok(TimerAction::Expire),
        other => Err(Malformed::Action(other)),
    }
}

fn time_wait(raw: &RawMini, tick_ns: u64) -> Result<TimeWait, Malformed> {
    let state = state(raw.state)?;
    if !matches!(state, TcpState::FinWait2 | TcpState::TimeWait) {
        return Err(Malformed::Substate(raw.state));
    }
    let family = family(raw.family)?;
    let ts = KtimeNs(raw.ts_ns);
    Ok(TimeWait {
        ts,
        key: key(raw.cookie, raw.sk, raw.known),
        family,
        local: endpoint(family, raw.laddr, raw.lport, false),
        remote: endpoint(family, raw.raddr, raw.rport, false),
        netns: NonZeroU32::new(raw.netns).filter(|_| raw.known & known::NETNS != 0),
        action: action(raw.action)?,
        state,
        entered: if raw.known & known::ENTRY_STAMP != 0 {
            Some(expand_ms(raw.entry_stamp_ms, ts))
        } else if raw.known & known::JIFFIES_LEFT != 0 && state == TcpState::TimeWait {
            entered_by_timer(raw.jiffies_left, tick_ns, ts)
        } else {
            None
        },
        thread: ThreadId(raw.pid_tgid),
    })
}

/// A socket in TIME_WAIT has had its timer set to `TCP_TIMEWAIT_LEN` (include/net/tcp.h) when it entered the state.
fn entered_by_timer(jiffies_left: i64, tick_ns: u64, ts: KtimeNs) -> Option<KtimeNs> {
    const TIME_WAIT_NS: i128 = 60_000_000_000;
    let entered = i128::from(ts.0) + i128::from(jiffies_left) * i128::from(tick_ns) - TIME_WAIT_NS;
    u64::try_from(entered).ok().map(|entered| KtimeNs(entered.min(ts.0)))
}

/// The moment before `now` whose milliseconds end in these 32 bits.
fn expand_ms(stamp: u32, now: KtimeNs) -> KtimeNs {
    const MS: u64 = 1_000_000;
    let now_ms = now.0 / MS;
    let ago = now_ms.wrapping_sub(u64::from(stamp)) & u64::from(u32::MAX);
    // A stamp that lies a little in the future (a torn read) means now.
    if ago > u64::from(u32::MAX / 2) { now } else { KtimeNs(now_ms.saturating_sub(ago) * MS) }
}

fn state(raw: u8) -> Result<TcpState, Malformed> {
    TcpState::from_raw(raw).ok_or(Malformed::State(raw))
}

fn family(raw: u16) -> Result<Family, Malformed> {
    match raw {
        AF_INET => Ok(Family::V4),
        AF_INET6 => Ok(Family::V6),
        other => Err(Malformed::Family(other)),
    }
}

fn key(cookie: u64, sk: u64, known_fields: u8) -> SocketKey {
    NonZeroU64::new(cookie)
        // Cookies are counters: none gets as far as the bit that tells addresses from them.
        .filter(|cookie| known_fields & known::COOKIE != 0 && cookie.leading_zeros() > 0)
        .map_or(SocketKey::from_address(sk), SocketKey::from_cookie)
}

fn endpoint(family: Family, words: [u32; 4], port: u16, is_wildcard_possible: bool) -> Endpoint {
    let addr = canonical(family, zerocopy::transmute!(words));
    Endpoint {
        addr: (is_wildcard_possible || !addr.is_unspecified()).then_some(addr),
        port: NonZeroU16::new(port),
    }
}

#[cfg(test)]
mod tests;
