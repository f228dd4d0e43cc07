//! Who closed, and why a connection ended.

use super::{
    event::{ResetReason, Transition},
    state::TcpState,
};

/// Who sent the first FIN or RST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClosedBy {
    /// We did.
    Local,
    /// The peer did.
    Remote,
}

impl ClosedBy {
    /// The word in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

/// Why a connection reached CLOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndCause {
    /// Orderly: both FINs were sent and acknowledged.
    Fin,
    /// We reset it: linger 0, unread data at close, abort.
    ResetLocal,
    /// The peer reset it.
    ResetRemote,
    /// The peer refused the connection (RST in answer to our SYN).
    Refused,
    /// The peer did not answer any more.
    Timeout,
    /// A half-open connection whose handshake the peer had completed, but the accept queue had no room for it.
    Overflow,
    /// Its time in TIME_WAIT (or, orphaned, in FIN_WAIT2) is over: the orderly end of the side that closed first.
    TwExpired,
    /// A new connection took the place of the time-wait socket: `tcp_tw_reuse`, or the peer's new SYN.
    TwReused,
    /// The time-wait socket was taken away: killed, reset, or its network namespace is gone.
    TwKilled,
    /// There was no time-wait socket to be had (`tcp_max_tw_buckets`).
    TwOverflow,
    /// The kernel's error does not tell, or is not known.
    Unknown,
}

impl EndCause {
    /// The word in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::ResetLocal => "reset_local",
            Self::ResetRemote => "reset_remote",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Overflow => "overflow",
            Self::TwExpired => "tw_expired",
            Self::TwReused => "tw_reused",
            Self::TwKilled => "tw_killed",
            Self::TwOverflow => "tw_overflow",
            Self::Unknown => "unknown",
        }
    }
}

// asm-generic/errno.h; the same numbers on every architecture that tcptrace runs on.
const EPIPE: u16 = 32;
const ECONNABORTED: u16 = 103;
const ECONNRESET: u16 = 104;
const ETIMEDOUT: u16 = 110;
const ECONNREFUSED: u16 = 111;
const ENETUNREACH: u16 = 101;
const EHOSTUNREACH: u16 = 113;

/// Why a transition to CLOSE happened; `None` for other transitions and for the end of a listener.
///
/// `sk_err` is set before the state for what comes from outside (`tcp_reset`, `tcp_write_err`, Linux 5.8 to 6.18)
/// and is 0 when we reset (`tcp_disconnect` sets it afterwards, `__tcp_close` never).
pub fn end_cause(transition: &Transition) -> Option<EndCause> {
    if transition.new != TcpState::Close || transition.old == TcpState::Listen {
        return None;
    }
    Some(match (transition.error, transition.old) {
        (Some(ECONNREFUSED), _) => EndCause::Refused,
        // EPIPE is what `tcp_reset` sets in CLOSE_WAIT.
        (Some(ECONNRESET), _) | (Some(EPIPE), TcpState::CloseWait) => EndCause::ResetRemote,
        (Some(ETIMEDOUT), _) => EndCause::Timeout,
        // `tcp_write_err` prefers what an ICMP error has said meanwhile; while connecting such an error ends it at once.
        (Some(ENETUNREACH | EHOSTUNREACH), old) if old != TcpState::SynSent => EndCause::Timeout,
        // `tcp_abort`: `ss -K`, an interface or namespace that went away.
        (Some(ECONNABORTED), _) => EndCause::ResetLocal,
        // An error that did not end it may have been left (IP_RECVERR).
        (Some(_), TcpState::LastAck) => EndCause::Fin,
        // `close` with linger 0 or unread data, `connect(AF_UNSPEC)`, data after close (`tcp_rcv_state_process`).
        (Some(0), TcpState::Established | TcpState::CloseWait | TcpState::FinWait1 | TcpState::SynRecv) => {
            EndCause::ResetLocal
        }
        // FIN_WAIT2 and CLOSING -> CLOSE is most often the swap to a time-wait socket, which is no end.
        _ => EndCause::Unknown,
    })
}

/// Who closed first, as far as this transition tells.
///
/// FIN_WAIT1 and what follows it are entered by our FIN, CLOSE_WAIT and LAST_ACK by the peer's (RFC 9293 figure 5),
/// so any later transition tells it too when the first one was not seen.
pub fn closed_by(transition: &Transition) -> Option<ClosedBy> {
    use TcpState::{CloseWait, Closing, FinWait1, FinWait2, LastAck, TimeWait};
    let by_state = |state| match state {
        FinWait1 | FinWait2 | Closing | TimeWait => Some(ClosedBy::Local),
        CloseWait | LastAck => Some(ClosedBy::Remote),
        _ => None,
    };
    by_state(transition.old)
        .or_else(|| by_state(transition.new))
        .or_else(|| who_ended(end_cause(transition)?))
}

/// Who sent the RST, if one was sent.
pub(crate) const fn who_ended(cause: EndCause) -> Option<ClosedBy> {
    match cause {
        EndCause::ResetLocal => Some(ClosedBy::Local),
        EndCause::ResetRemote | EndCause::Refused => Some(ClosedBy::Remote),
        _ => None,
    }
}

/// What `tcp_reset` sets `sk_err` to.
pub(crate) const fn error_of_reset(old: TcpState) -> u16 {
    match old {
        TcpState::SynSent => ECONNREFUSED,
        TcpState::CloseWait => EPIPE,
        _ => ECONNRESET,
    }
}

/// A reset that we sent around the moment of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OurReset {
    /// Why, where the kernel says so.
    pub(crate) reason: Option<ResetReason>,
}

/// Whether a reset of our own may be reported right after this end and would tell more about it.
///
/// `tcp_disconnect` and `__tcp_close` send it after `-> CLOSE`. `tcp_reset`, which sets ECONNRESET, is called for data
/// after the end, too (`tcp_rcv_state_process`: TCP_ABORT_ON_DATA), and then it is we who reset.
pub(crate) fn awaits_our_reset(transition: &Transition) -> bool {
    use TcpState::{CloseWait, Closing, FinWait1, FinWait2, LastAck};
    match end_cause(transition) {
        Some(EndCause::ResetLocal | EndCause::Unknown) => true,
        Some(EndCause::ResetRemote) => {
            matches!(transition.old, FinWait1 | FinWait2 | Closing | LastAck | CloseWait)
        }
        _ => false,
    }
}

/// Whether this may be the swap of a full socket for a time-wait one that was not reported, or one for which there was
/// no time-wait socket to be had (`tcp_time_wait`).
pub(crate) fn may_be_a_swap(transition: &Transition) -> bool {
    transition.new == TcpState::Close
        && matches!(transition.old, TcpState::FinWait2 | TcpState::Closing)
        && transition.error.is_none_or(|error| error == 0)
}

/// The cause of an end around which we sent a reset.
pub(crate) fn cause_with_our_reset(transition: &Transition) -> EndCause {
    match end_cause(transition) {
        // Keep-alive and retransmission time-outs send one, too.
        Some(cause @ (EndCause::Timeout | EndCause::Refused)) => cause,
        _ => EndCause::ResetLocal,
    }
}
