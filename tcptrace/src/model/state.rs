//! The eleven TCP states and the transitions the kernel makes between them.

use std::{fmt, str::FromStr};

use tcptrace_common::tcp_state as raw;
use thiserror::Error;

/// A TCP state, RFC 9293 section 3.3.2, with the kernel's spelling (`include/net/tcp_states.h`).
///
/// `TCP_NEW_SYN_RECV` and `TCP_BOUND_INACTIVE` are internal to the kernel and never reported by the tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum TcpState {
    /// `TCP_ESTABLISHED`
    Established = raw::ESTABLISHED,
    /// `TCP_SYN_SENT`
    SynSent = raw::SYN_SENT,
    /// `TCP_SYN_RECV`
    SynRecv = raw::SYN_RECV,
    /// `TCP_FIN_WAIT1`
    FinWait1 = raw::FIN_WAIT1,
    /// `TCP_FIN_WAIT2`
    FinWait2 = raw::FIN_WAIT2,
    /// `TCP_TIME_WAIT`
    TimeWait = raw::TIME_WAIT,
    /// `TCP_CLOSE`
    Close = raw::CLOSE,
    /// `TCP_CLOSE_WAIT`
    CloseWait = raw::CLOSE_WAIT,
    /// `TCP_LAST_ACK`
    LastAck = raw::LAST_ACK,
    /// `TCP_LISTEN`
    Listen = raw::LISTEN,
    /// `TCP_CLOSING`
    Closing = raw::CLOSING,
}

impl TcpState {
    /// All states, in the kernel's order.
    pub const ALL: [Self; 11] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
    ];

    /// The state with this raw value, `None` for a value that is no TCP state.
    pub fn from_raw(raw: u8) -> Option<Self> {
        Self::ALL.into_iter().nth(usize::from(raw).checked_sub(1)?)
    }

    /// All states in the order of a life.
    pub const IN_LIFE: [Self; 11] = [
        Self::Listen,
        Self::SynSent,
        Self::SynRecv,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::Closing,
        Self::TimeWait,
        Self::CloseWait,
        Self::LastAck,
        Self::Close,
    ];

    /// Its place in the order of a life.
    pub fn in_life(self) -> usize {
        Self::IN_LIFE.into_iter().position(|state| state == self).unwrap_or_default()
    }

    /// The raw value, 1 to 11.
    pub const fn raw(self) -> u8 {
        self as u8
    }

    /// The kernel's spelling, as in the JSON contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait1 => "FIN_WAIT1",
            Self::FinWait2 => "FIN_WAIT2",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
        }
    }

    /// Whether the kernel makes this transition.
    ///
    /// From `tcp_set_state` and `inet_sk_state_store` callers, Linux 5.8 to 6.18: RFC 9293 figure 5, and what
    /// Linux adds to it. Every state can end in CLOSE (reset, abort, timeout).
    pub const fn leads_to(self, new: Self) -> bool {
        use TcpState::{
            Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
            TimeWait,
        };
        matches!(
            (self, new),
            (Close, SynSent | Listen)
                // The child of a listener is reported with the state that its parent has.
                | (Listen, SynRecv)
                // SYN_RECV: simultaneous open.
                | (SynSent, Established | SynRecv)
                // FIN_WAIT1: closed before the third ACK; CLOSE_WAIT: `tcp_fin` on a fast-open child.
                | (SynRecv, Established | FinWait1 | CloseWait)
                | (Established, FinWait1 | CloseWait)
                | (FinWait1, FinWait2 | Closing | TimeWait)
                | (FinWait2 | Closing, TimeWait)
                | (CloseWait, LastAck)
                | (
                    Established | SynSent | SynRecv | FinWait1 | FinWait2 | TimeWait | CloseWait | LastAck | Listen
                        | Closing,
                    Close
                )
        )
    }

    /// Whether this transition begins the life of a socket: `connect`, `listen`, or a child of a listener.
    pub const fn begins_life(self, new: Self) -> bool {
        matches!((self, new), (Self::Close, Self::SynSent | Self::Listen) | (Self::Listen, Self::SynRecv))
    }
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no TCP state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no TCP state; accepted are {all}", all = TcpState::ALL.map(TcpState::name).join(" "))]
pub struct UnknownState(pub String);

impl FromStr for TcpState {
    type Err = UnknownState;

    /// Any common spelling: `close-wait`, `CLOSE_WAIT`, `TCP_CLOSE_WAIT`, `fin-wait-1`, and the short forms of
    /// `ss` and `netstat` (`estab`, `unconn`, `closed`).
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let plain: String =
            word.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).map(|c| c.to_ascii_uppercase()).collect();
        let plain = plain.strip_prefix("TCP").unwrap_or(&plain);
        let state = match plain {
            "ESTAB" => Self::Established,
            "SYNRCV" | "SYNRECEIVED" | "SYNRCVD" => Self::SynRecv,
            "CLOSED" | "UNCONN" => Self::Close,
            "LISTENING" => Self::Listen,
            _ => Self::ALL
                .into_iter()
                .find(|state| state.name().replace('_', "") == plain)
                .ok_or_else(|| UnknownState(word.to_owned()))?,
        };
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values_round_trip_and_others_are_refused() {
        for state in TcpState::ALL {
            assert_eq!(TcpState::from_raw(state.raw()), Some(state));
        }
        for raw in [0, 12, 13, 255] {
            assert_eq!(TcpState::from_raw(raw), None, "{raw}");
        }
    }

    #[test]
    fn any_common_spelling_is_read() {
        for (word, state) in [
            ("close-wait", TcpState::CloseWait),
            ("CLOSE_WAIT", TcpState::CloseWait),
            ("closewait", TcpState::CloseWait),
            ("TCP_CLOSE_WAIT", TcpState::CloseWait),
            ("fin-wait-1", TcpState::FinWait1),
            ("FIN_WAIT2", TcpState::FinWait2),
            ("estab", TcpState::Established),
            ("established", TcpState::Established),
            ("syn-recv", TcpState::SynRecv),
            ("SYN_RCVD", TcpState::SynRecv),
            ("time-wait", TcpState::TimeWait),
            ("unconn", TcpState::Close),
            ("closed", TcpState::Close),
            ("listening", TcpState::Listen),
        ] {
            assert_eq!(word.parse(), Ok(state), "{word}");
        }
        for state in TcpState::ALL {
            assert_eq!(state.name().parse(), Ok(state));
        }
        for word in ["", "open", "close-wait-3", "tcp"] {
            assert!(word.parse::<TcpState>().is_err(), "{word}");
        }
    }

    #[test]
    fn the_life_of_a_connection_is_legal_and_its_reverse_is_not() {
        use TcpState::{
            Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent, TimeWait,
        };
        for life in [
            &[Close, SynSent, Established, FinWait1, FinWait2, TimeWait, Close][..],
            &[Listen, SynRecv, Established, CloseWait, LastAck, Close][..],
            &[Close, Listen, Close][..],
        ] {
            for pair in life.windows(2) {
                assert!(pair[0].leads_to(pair[1]), "{} -> {}", pair[0], pair[1]);
            }
        }
        assert!(!Established.leads_to(SynSent));
        assert!(!TimeWait.leads_to(Established));
        assert!(!Close.leads_to(Close));
        assert!(TcpState::ALL.iter().all(|state| !state.leads_to(*state)), "self-transitions are none");
    }
}
