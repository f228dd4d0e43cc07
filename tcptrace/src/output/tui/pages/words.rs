//! What the words of the outputs mean, for people.

use crate::{
    model::{ClosedBy, EndCause, Origin, OwnerIs, Role, TcpState},
    output::tui::theme::Tone,
};

/// Why a connection ended.
pub(super) const fn end_cause(cause: EndCause) -> &'static str {
    match cause {
        EndCause::Fin => "both FINs were sent and acknowledged",
        EndCause::ResetLocal => "we reset it: linger 0, unread data at close, or an abort",
        EndCause::ResetRemote => "the peer reset it",
        EndCause::Refused => "the peer refused the connection: RST in answer to our SYN",
        EndCause::Timeout => "the peer did not answer any more",
        EndCause::Overflow => "the handshake was complete, but the accept queue had no room",
        EndCause::TwExpired => "the time in TIME_WAIT, or FIN_WAIT2 of an orphan, was over, as it should be",
        EndCause::TwReused => "a new connection took the place of the one in TIME_WAIT",
        EndCause::TwKilled => {
            "the one in TIME_WAIT was taken away: killed, reset, or its network namespace is gone"
        }
        EndCause::TwOverflow => "there was no room for one more in TIME_WAIT (tcp_max_tw_buckets)",
        EndCause::Unknown => "the kernel does not tell why",
    }
}

/// How urgent that is; `None` where it is as it should be, or not known.
pub(super) const fn tone(cause: EndCause) -> Option<Tone> {
    match cause {
        EndCause::ResetLocal | EndCause::ResetRemote | EndCause::Refused | EndCause::Timeout => {
            Some(Tone::Warning)
        }
        EndCause::Overflow | EndCause::TwOverflow => Some(Tone::Critical),
        EndCause::Fin | EndCause::TwExpired | EndCause::TwReused | EndCause::TwKilled | EndCause::Unknown => {
            None
        }
    }
}

/// Who closed first.
pub(super) const fn closed_by(by: ClosedBy) -> &'static str {
    match by {
        ClosedBy::Local => "we closed first",
        ClosedBy::Remote => "the peer closed first",
    }
}

/// Whether one side at least has closed.
pub(super) const fn is_closing(state: TcpState) -> bool {
    !matches!(state, TcpState::Listen | TcpState::SynSent | TcpState::SynRecv | TcpState::Established)
}

/// How we came to know of a connection.
pub(super) const fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Observed => "its birth was seen",
        Origin::Seeded => "it was open when tracing began; what was before is not known",
        Origin::Inferred => "a later event told of it; it was open before, or its birth was lost",
    }
}

/// How we know who owns it.
pub(super) const fn owner_is(is: OwnerIs) -> &'static str {
    match is {
        OwnerIs::Caller => "it made a system call of the socket's own",
        OwnerIs::Listener => {
            "it owns the listener, and nobody has accepted the connection yet, as far as is known"
        }
        OwnerIs::Holder => "it was found to hold a descriptor",
    }
}

/// Which side it is.
pub(super) const fn role(role: Option<Role>) -> &'static str {
    match role {
        Some(Role::Client) => "client: we connected",
        Some(Role::Server) => "server: the peer connected to us",
        None => "client or server is not known",
    }
}
