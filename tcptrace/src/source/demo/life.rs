//! A connection from its first segment to the last trace of it, seen from those of its ends that are on this host.

use std::{net::IpAddr, num::NonZeroU16};

use super::tell::{End, Teller};
use crate::model::{
    KtimeNs, TcpState,
    TcpState::{CloseWait, Established, FinWait1, FinWait2, LastAck, SynSent, TimeWait},
};

/// `TCP_TIMEWAIT_LEN`, and `tcp_fin_timeout` as it is most often.
pub(super) const TIME_WAIT_NS: u64 = 60_000_000_000;

/// Six SYNs are sent again, each after twice the time of the one before (`tcp_syn_retries`).
const SYN_RETRIES_NS: u64 = 127_000_000_000;

/// Five SYN-ACKs (`tcp_synack_retries`).
const SYNACK_RETRIES_NS: u64 = 63_000_000_000;

/// `tcp_orphan_retries` of a FIN without an answer.
const ORPHAN_RETRIES_NS: u64 = 102_400_000_000;

const ETIMEDOUT: u16 = 110;
const ECONNRESET: u16 = 104;
const ECONNREFUSED: u16 = 111;

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// How it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// With a handshake.
    Answered,
    /// Nobody answers the SYN.
    Silent,
    /// It is answered with a reset.
    Refused,
    /// The SYN-ACK is never answered.
    HalfOpen,
    /// The SYN-ACK is answered with a reset.
    Denied,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// Who begins it.
    pub(super) by: Side,
    pub(super) how: How,
}

/// What is done to end it, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// A FIN, and the other end closes, too.
    Fin,
    /// A FIN, and the other end never closes by itself.
    Leaked,
    /// A FIN that is acknowledged, and nothing more.
    Forgotten,
    /// A FIN that nobody answers.
    Gone,
    /// A reset.
    Reset,
}

/// What happens to it next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Connect,
    SynArrives,
    SynAckArrives,
    AckArrives,
    Accept,
    Close,
    ResetArrives,
    FinArrives,
    FinIsAcked,
    /// Somebody has to say when it goes on.
    Leaked,
    OtherCloses,
    LastFinArrives,
    LastAckArrives,
    TimeWaitExpires,
    OrphanExpires,
    FinIsGivenUp,
    SynIsGivenUp,
    SynIsRefused,
    RequestEnds,
    LetGo(Side),
}

/// A connection.
#[derive(Clone, Debug)]
pub(super) struct Life {
    /// `None` where it is on another host.
    pub(super) client: Option<End>,
    pub(super) server: Option<End>,
    pub(super) client_at: (IpAddr, NonZeroU16),
    pub(super) server_at: (IpAddr, NonZeroU16),
    pub(super) opening: Opening,
    pub(super) ending: Ending,
    pub(super) next: Stage,
    /// In ESTABLISHED.
    pub(super) stay_ns: u64,
    /// Until the other end has closed or let go, too.
    pub(super) linger_ns: u64,
    /// Of a segment and its acknowledgement.
    pub(super) rtt_ns: u64,
    /// When the time-wait socket entered its state.
    pub(super) entered: KtimeNs,
}

impl Life {
    /// The end of a side, where it is on this host.
    pub(super) const fn end(&self, side: Side) -> Option<&End> {
        match side {
            Side::Client => self.client.as_ref(),
            Side::Server => self.server.as_ref(),
        }
    }

    /// Our side and the peer's, as an end sees them.
    pub(super) const fn ends(&self, side: Side) -> [(IpAddr, NonZeroU16); 2] {
        match side {
            Side::Client => [self.client_at, self.server_at],
            Side::Server => [self.server_at, self.client_at],
        }
    }

    /// The states of its ends on this host before its next stage, as far as a look at the start can find one there.
    pub(super) fn states(&self) -> impl Iterator<Item = (Side, &End, TcpState)> {
        let by = self.ending.by;
        let states = match self.next {
            Stage::Close => [Some((Side::Client, Established)), Some((Side::Server, Established))],
            Stage::Leaked => [Some((by.other(), CloseWait)), None],
            Stage::TimeWaitExpires => [Some((by, TimeWait)), None],
            _ => [None, None],
        };
        states.into_iter().flatten().filter_map(|(side, state)| Some((side, self.end(side)?, state)))
    }

    /// Makes its next step at a moment, and tells of it. Returns how long to wait for the one after that; `None` when it is
    /// over, or waits for somebody.
    pub(super) fn step(&mut self, at: u64, teller: &mut Teller<'_>) -> Option<u64> {
        let (wait, next) = self.go(at, teller)?;
        self.next = next;
        (next != Stage::Leaked).then_some(wait)
    }

    fn go(&mut self, at: u64, teller: &mut Teller<'_>) -> Option<(u64, Stage)> {
        let (half, stay, linger) = (self.rtt_ns / 2, self.stay_ns, self.linger_ns);
        let mut to = teller.of(at, self);
        Some(match self.next {
            Stage::Connect => {
                to.connect();
                match self.opening {
                    Opening::Silent => (SYN_RETRIES_NS, Stage::SynIsGivenUp),
                    Opening::Refused => (half * 2, Stage::SynIsRefused),
                    _ => (half, Stage::SynArrives),
                }
            }
            Stage::SynIsGivenUp | Stage::SynIsRefused => {
                let error = if self.next == Stage::SynIsRefused { ECONNREFUSED } else { ETIMEDOUT };
                to.end(Side::Client, SynSent, error, false);
                (linger, Stage::LetGo(Side::Client))
            }
            Stage::SynArrives => {
                to.request_starts();
                match self.opening {
                    Opening::HalfOpen => (SYNACK_RETRIES_NS, Stage::RequestEnds),
                    Opening::Denied => (half * 2, Stage::RequestEnds),
                    _ => (half, Stage::SynAckArrives),
                }
            }
            Stage::RequestEnds => {
                to.request_ends(self.opening == Opening::HalfOpen);
                return None;
            }
            Stage::SynAckArrives => {
                to.change(Side::Client, SynSent, Established);
                (half, Stage::AckArrives)
            }
            Stage::AckArrives => {
                to.child();
                if self.server.is_some() { (60_000 + half / 8, Stage::Accept) } else { (stay, Stage::Close) }
            }
            Stage::Accept => {
                to.accept();
                (stay, Stage::Close)
            }
            _ => return self.go_on(at, teller),
        })
    }

    /// The same once it is open.
    fn go_on(&mut self, at: u64, teller: &mut Teller<'_>) -> Option<(u64, Stage)> {
        let (half, linger) = (self.rtt_ns / 2, self.linger_ns);
        let by = self.ending.by;
        let other = by.other();
        let mut to = teller.of(at, self);
        Some(match self.next {
            Stage::Close if self.ending.how == How::Reset => {
                to.end(by, Established, 0, false);
                to.reset_sent(by);
                to.let_go(by);
                (half, Stage::ResetArrives)
            }
            Stage::Close => {
                to.change(by, Established, FinWait1);
                if self.ending.how == How::Gone {
                    (ORPHAN_RETRIES_NS, Stage::FinIsGivenUp)
                } else {
                    (half, Stage::FinArrives)
                }
            }
            Stage::FinIsGivenUp => {
                to.end(by, FinWait1, ETIMEDOUT, true);
                return None;
            }
            Stage::ResetArrives => {
                self.end(other)?;
                to.end(other, Established, ECONNRESET, false);
                (linger, Stage::LetGo(other))
            }
            Stage::LetGo(side) => {
                to.let_go(side);
                return None;
            }
            Stage::FinArrives => {
                to.change(other, Established, CloseWait);
                (half, Stage::FinIsAcked)
            }
            Stage::FinIsAcked => {
                to.change(by, FinWait1, FinWait2);
                let entered = to.time_wait_starts(by, FinWait2);
                to.end(by, FinWait2, 0, true);
                self.entered = entered;
                match self.ending.how {
                    How::Leaked => (0, Stage::Leaked),
                    How::Forgotten => (TIME_WAIT_NS, Stage::OrphanExpires),
                    _ => (linger, Stage::OtherCloses),
                }
            }
            Stage::OrphanExpires => {
                to.time_wait_expires(by, FinWait2);
                return None;
            }
            Stage::Leaked
            | Stage::Connect
            | Stage::SynArrives
            | Stage::SynAckArrives
            | Stage::AckArrives
            | Stage::Accept
            | Stage::SynIsGivenUp
            | Stage::SynIsRefused
            | Stage::RequestEnds => return None,
            Stage::OtherCloses => {
                to.change(other, CloseWait, LastAck);
                (half, Stage::LastFinArrives)
            }
            Stage::LastFinArrives => {
                self.entered = to.time_wait_starts(by, TimeWait);
                (half, Stage::LastAckArrives)
            }
            Stage::LastAckArrives => {
                to.end(other, LastAck, 0, true);
                self.end(by)?;
                (TIME_WAIT_NS.saturating_sub(half), Stage::TimeWaitExpires)
            }
            Stage::TimeWaitExpires => {
                to.time_wait_expires(by, TimeWait);
                return None;
            }
        })
    }
}
