//! Time spent in a state, with what is known about it.

use super::state::TcpState;

/// How long a socket was in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dwell {
    /// Both ends were seen.
    Exact(u64),
    /// It began before we could see it: at least this long.
    AtLeast(u64),
    /// Known to one tick of the kernel's timer, at most 10 ms.
    Jiffy(u64),
}

impl Dwell {
    /// Nanoseconds, exact or the lower bound.
    pub const fn ns(self) -> u64 {
        match self {
            Self::Exact(ns) | Self::AtLeast(ns) | Self::Jiffy(ns) => ns,
        }
    }

    /// The same, known to one tick of the kernel's timer only. A lower bound stays one.
    #[must_use]
    pub const fn to_a_jiffy(self) -> Self {
        match self {
            Self::Exact(ns) | Self::Jiffy(ns) => Self::Jiffy(ns),
            Self::AtLeast(ns) => Self::AtLeast(ns),
        }
    }

    /// The value of `duration_is` in outputs.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Exact(_) => "exact",
            Self::AtLeast(_) => "at_least",
            Self::Jiffy(_) => "jiffy",
        }
    }
}

/// When a state was entered, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// The transition was seen.
    Exact,
    /// The transition was told later, to one tick of the kernel's timer.
    Jiffy,
    /// The connection is known to have been in the state by then.
    AtLeast,
    /// Not known at all.
    Unknown,
}

/// The completed stays of one life, in order: a state and its dwell in 8 bytes each.
///
/// The longest legal life (simultaneous open and close, SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT1 CLOSING TIME_WAIT)
/// has six. What does not fit, after lost or illegal events, is dropped and the life says so (`is_truncated`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Bits 60..64 the raw state (0: empty), bits 58..60 the kind, the rest nanoseconds (9 years).
    slots: [u64; History::CAPACITY],
}

impl History {
    const CAPACITY: usize = 6;
    const STATE_SHIFT: u32 = 60;
    const KIND_SHIFT: u32 = 58;
    const EXACT: u64 = 0;
    const AT_LEAST: u64 = 1;
    const UNKNOWN: u64 = 2;
    const JIFFY: u64 = 3;
    const NS_MASK: u64 = (1 << Self::KIND_SHIFT) - 1;

    /// Adds a completed stay. Returns false when there is no room left.
    pub(crate) fn push(&mut self, state: TcpState, dwell: Option<Dwell>) -> bool {
        let Some(slot) = self.slots.iter_mut().find(|slot| **slot == 0) else {
            return false;
        };
        let (kind, ns) = match dwell {
            Some(Dwell::Exact(ns)) => (Self::EXACT, ns),
            Some(Dwell::AtLeast(ns)) => (Self::AT_LEAST, ns),
            Some(Dwell::Jiffy(ns)) => (Self::JIFFY, ns),
            None => (Self::UNKNOWN, 0),
        };
        *slot =
            u64::from(state.raw()) << Self::STATE_SHIFT | kind << Self::KIND_SHIFT | ns.min(Self::NS_MASK);
        true
    }

    /// The stays, oldest first; a dwell of `None` is unknown.
    pub fn iter(&self) -> impl Iterator<Item = (TcpState, Option<Dwell>)> {
        self.slots.iter().map_while(|slot| {
            let state = TcpState::from_raw(u8::try_from(slot >> Self::STATE_SHIFT).ok()?)?;
            let ns = slot & Self::NS_MASK;
            let dwell = match slot >> Self::KIND_SHIFT & 3 {
                Self::EXACT => Some(Dwell::Exact(ns)),
                Self::AT_LEAST => Some(Dwell::AtLeast(ns)),
                Self::JIFFY => Some(Dwell::Jiffy(ns)),
                _ => None,
            };
            Some((state, dwell))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_come_back_as_they_were_put_and_the_seventh_is_refused() {
        let stays = [
            (TcpState::SynSent, Some(Dwell::Exact(1))),
            (TcpState::Closing, Some(Dwell::AtLeast(u64::from(u32::MAX) * 1000))),
            (TcpState::Established, None),
            (TcpState::FinWait1, Some(Dwell::Jiffy(0))),
            (TcpState::CloseWait, Some(Dwell::Exact(History::NS_MASK))),
            (TcpState::LastAck, Some(Dwell::AtLeast(7))),
        ];
        let mut history = History::default();
        for (state, dwell) in stays {
            assert!(history.push(state, dwell));
        }
        assert!(!history.push(TcpState::Listen, None));
        assert_eq!(history.iter().collect::<Vec<_>>(), stays);
    }
}
