//! What of a filter can be decided of a socket alone, before its connection is known: what the kernel half decides too
//! (`tcptrace-ebpf/src/filter.rs`), so that what is not asked for costs nothing.

use std::num::NonZeroU32;

use super::{
    connection::Connection,
    event::{Endpoint, Family},
    filter::Filter,
    filter_lists::StateSet,
    sample::{Sampled, SampledKind},
    state::TcpState,
};

/// What is known of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its address family.
    pub family: Family,
    /// Our side.
    pub local: Endpoint,
    /// The peer's side.
    pub remote: Endpoint,
    /// Inode of the network namespace.
    pub netns: Option<NonZeroU32>,
    /// It listens: it has no peer, and its children may be asked for where it is not.
    pub is_listener: bool,
}

impl Candidate {
    /// Of a connection.
    pub fn of(connection: &Connection) -> Self {
        let Connection { family, local, remote, netns, state, .. } = *connection;
        Self { family, local, remote, netns, is_listener: state == TcpState::Listen }
    }

    /// What a look at the kernel's tables tells.
    pub fn sampled(socket: &Sampled) -> Self {
        let Sampled { family, local, remote, netns, state, .. } = *socket;
        Self { family, local, remote, netns: Some(netns), is_listener: state == TcpState::Listen }
    }
}

/// For each raw old state the raw new states, as bits, of transitions that are of interest.
pub type Transitions = [u16; 16];

impl Filter {
    /// Whether nothing that is known of a socket speaks against it. What is not known yet does not; nor does an address that
    /// a listener has for all of the host's. Where this is false, [`Self::keeps`] is and will stay so.
    pub fn may_want(&self, candidate: &Candidate) -> bool {
        let Candidate { family, local, remote, netns, is_listener } = *candidate;
        let is_specific = |end: Endpoint| end.addr.filter(|addr| !addr.is_unspecified());
        self.family.is_none_or(|wanted| wanted == family)
            && self.netns.as_ref().is_none_or(|wanted| netns.is_none_or(|netns| wanted.contains(&netns)))
            && self.local_ports.as_ref().is_none_or(|ports| ports.may_contain(local.port))
            && self.remote_ports.as_ref().is_none_or(|ports| is_listener || ports.may_contain(remote.port))
            && self.service_ports.as_ref().is_none_or(|ports| {
                ports.may_contain(local.port) || !is_listener && ports.may_contain(remote.port)
            })
            && self.local_networks.as_ref().is_none_or(|networks| networks.may_contain(is_specific(local)))
            && self
                .remote_networks
                .as_ref()
                .is_none_or(|networks| is_listener || networks.may_contain(is_specific(remote)))
    }

    /// Whether a socket that was seen in the kernel's tables is, or may become, of interest.
    pub fn may_want_sampled(&self, socket: &Sampled) -> bool {
        self.may_want(&Candidate::sampled(socket))
            && match (self.states, socket.kind) {
                (None, _) => true,
                (Some(wanted), SampledKind::TimeWait) => wants_time_wait(wanted),
                (Some(wanted), _) => is_on_the_way(wanted, socket.state),
            }
    }

    /// Whether a connection is of interest still, or may become so. A listener is: it tells whose its children are.
    pub fn may_want_more(&self, connection: &Connection) -> bool {
        connection.state == TcpState::Listen
            || self.may_want(&Candidate::of(connection))
                && self.states.is_none_or(|wanted| {
                    // One that has ended is remembered: its socket may begin another life.
                    connection.state == TcpState::Close || is_on_the_way(wanted, connection.state)
                })
    }

    /// Whether any condition can be decided of a socket alone.
    pub const fn is_decidable_early(&self) -> bool {
        self.family.is_some()
            || self.netns.is_some()
            || self.local_ports.is_some()
            || self.remote_ports.is_some()
            || self.service_ports.is_some()
            || self.local_networks.is_some()
            || self.remote_networks.is_some()
            || self.states.is_some()
    }

    /// The transitions that are of interest; `None` when all are.
    pub fn transitions(&self) -> Option<Transitions> {
        let wanted = self.states?;
        let mut rows = Transitions::default();
        for (old, new) in TcpState::ALL.into_iter().flat_map(|old| TcpState::ALL.map(|new| (old, new))) {
            let is_shown = wanted.contains(old) || wanted.contains(new);
            // One that no kernel is known to make is for user space to judge.
            let is_wanted = is_shown || !old.leads_to(new) || is_on_the_way(wanted, new);
            rows[usize::from(old.raw())] |= u16::from(is_wanted) << new.raw();
        }
        Some(rows)
    }

    /// Whether time-wait sockets are of interest.
    pub fn wants_time_wait(&self) -> bool {
        self.states.is_none_or(wants_time_wait)
    }

    /// Whether request sockets are of interest.
    pub fn wants_requests(&self) -> bool {
        self.states.is_none_or(|wanted| is_on_the_way(wanted, TcpState::SynRecv))
    }
}

/// Whether a transition that will be shown can follow for a socket in this state, before a new life begins.
const fn is_on_the_way(wanted: StateSet, state: TcpState) -> bool {
    !matches!(state, TcpState::Close) && wanted.is_within_reach(state)
}

/// A swap for one is told by it alone: `FIN_WAIT2 -> CLOSE` would be taken for an end.
const fn wants_time_wait(wanted: StateSet) -> bool {
    is_on_the_way(wanted, TcpState::FinWait2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(states: &str) -> Filter {
        Filter { states: Some(states.parse().expect("are states")), ..Filter::default() }
    }

    fn is_wanted(filter: &Filter, old: TcpState, new: TcpState) -> bool {
        let rows = filter.transitions().expect("there are states");
        rows[usize::from(old.raw())] & (1 << new.raw()) != 0
    }

    #[test]
    fn what_leads_to_a_wanted_state_is_of_interest_and_what_follows_is_not() {
        use TcpState::{
            Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent, TimeWait,
        };
        let close_wait = filter("CLOSE_WAIT");
        for (old, new, is_it) in [
            (Close, Listen, true),
            (Close, SynSent, true),
            (Listen, SynRecv, true),
            (SynRecv, Established, true),
            (Established, CloseWait, true),
            (CloseWait, LastAck, true),
            (LastAck, Close, false),
            (Established, FinWait1, false),
            (FinWait1, FinWait2, false),
            (FinWait2, TimeWait, false),
            (FinWait2, Close, false),
        ] {
            assert_eq!(is_wanted(&close_wait, old, new), is_it, "{old} -> {new}");
        }
        assert!(!close_wait.wants_time_wait() && close_wait.wants_requests());
        let syn_sent = filter("SYN_SENT");
        assert!(is_wanted(&syn_sent, SynSent, Established) && !is_wanted(&syn_sent, Established, FinWait1));
        assert!(!syn_sent.wants_requests(), "a half-open connection cannot get there");
        let close = filter("CLOSE");
        assert!(close.wants_time_wait() && close.wants_requests());
        assert!(is_wanted(&close, FinWait2, Close));
        assert_eq!(Filter::default().transitions(), None);
    }
}
