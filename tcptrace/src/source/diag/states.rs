//! Which states a dump is asked for.

use std::ops::BitOr;

use crate::model::TcpState;

/// A set of TCP states: `idiag_states`, bit n for the state with the raw value n (`TCPF_*`,
/// `include/net/tcp_states.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateMask(u32);

impl StateMask {
    /// Every state, half-open ones included. CLOSE is asked for too, though the kernel lists no such socket.
    pub const ALL: Self = Self(0x0ffe);

    /// No state.
    pub const NONE: Self = Self(0);

    /// One state. SYN_RECV includes request sockets: `inet_diag_dump_icsk` adds `TCPF_NEW_SYN_RECV` by itself.
    /// TIME_WAIT and FIN_WAIT2 select time-wait sockets by their substate.
    pub const fn only(state: TcpState) -> Self {
        Self(1 << state.raw())
    }

    /// These states and `state`.
    #[must_use]
    pub const fn with(self, state: TcpState) -> Self {
        Self(self.0 | 1 << state.raw())
    }

    /// These states without `state`.
    #[must_use]
    pub const fn without(self, state: TcpState) -> Self {
        Self(self.0 & !(1 << state.raw()))
    }

    /// Whether `state` is among them.
    pub const fn contains(self, state: TcpState) -> bool {
        self.0 & 1 << state.raw() != 0
    }

    /// The bits as the kernel wants them.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl BitOr for StateMask {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_every_state_and_nothing_else() {
        let all = TcpState::ALL.into_iter().fold(StateMask::NONE, StateMask::with);
        assert_eq!(all, StateMask::ALL);
        for state in TcpState::ALL {
            assert!(StateMask::only(state).contains(state));
            assert!(!StateMask::ALL.without(state).contains(state));
        }
        let closing = StateMask::only(TcpState::TimeWait) | StateMask::only(TcpState::FinWait2);
        assert_eq!(closing.bits(), 1 << 6 | 1 << 5);
    }
}
