//! Other ends of connections: what is on this host at the other side of one.

use std::{cell::OnceCell, num::NonZeroU32};

use rustc_hash::FxHashMap;

use super::Subject;
use crate::model::{Endpoint, TcpState};

/// Ends that are known, at most.
const MOST: usize = 200_000;

/// A socket that is not over, as its other end on this host has it the other way round.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Its state.
    pub state: TcpState,
    /// Its owner and service port.
    pub subject: Subject,
    /// Its owner's process.
    pub pid: Option<NonZeroU32>,
}

/// Our side, the peer's side.
type Pair = (Endpoint, Endpoint);

/// All of them. They are put side by side, and only in order when somebody asks: most often nobody does.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    all: Vec<(Pair, End)>,
    index: OnceCell<Index>,
}

/// Places in the list.
#[derive(Clone, Debug, Default)]
struct Index {
    /// By network namespace, our side and the peer's.
    here: FxHashMap<(Option<NonZeroU32>, Pair), usize>,
    /// The same without the namespace, for addresses that mean something in others, too; `None` where there are several.
    elsewhere: FxHashMap<Pair, Option<usize>>,
}

impl Ends {
    /// Forgets everything but the room that it took.
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.index.take();
    }

    /// Takes one in, if there is room.
    pub(super) fn add(&mut self, local: Endpoint, remote: Endpoint, end: End) {
        if self.all.len() < MOST {
            self.index.take();
            self.all.push(((local, remote), end));
        }
    }

    /// The one that has these two sides: in the namespace, or else the only one in any.
    pub(super) fn get(&self, netns: Option<NonZeroU32>, local: Endpoint, remote: Endpoint) -> Option<&End> {
        let index = self.index.get_or_init(|| Index::of(&self.all));
        let elsewhere = || *index.elsewhere.get(&(local, remote))?;
        let at = index.here.get(&(netns, (local, remote))).copied().or_else(elsewhere)?;
        self.all.get(at).map(|(_, end)| end)
    }
}

impl Index {
    fn of(all: &[(Pair, End)]) -> Self {
        let mut index = Self::default();
        index.here.reserve(all.len());
        for (at, (pair, end)) in all.iter().enumerate() {
            index.here.insert((end.subject.netns, *pair), at);
            if !pair.0.addr.is_some_and(|addr| addr.is_loopback()) {
                index.elsewhere.entry(*pair).and_modify(|at| *at = None).or_insert(Some(at));
            }
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    fn endpoint(addr: [u8; 4], port: u16) -> Endpoint {
        Endpoint { addr: Some(addr.into()), port: NonZeroU16::new(port) }
    }

    fn end(netns: u32, state: TcpState) -> End {
        let subject = Subject { netns: NonZeroU32::new(netns), ..Subject::default() };
        End { state, subject, pid: None }
    }

    #[test]
    fn one_is_found_in_its_namespace_or_where_it_is_the_only_one() {
        let (here, there) = (endpoint([10, 0, 0, 1], 80), endpoint([10, 0, 0, 2], 4000));
        let local = endpoint([127, 0, 0, 1], 80);
        let mut ends = Ends::default();
        ends.add(here, there, end(1, TcpState::CloseWait));
        ends.add(local, there, end(1, TcpState::Established));
        let state = |ends: &Ends, netns, (ours, theirs)| {
            ends.get(NonZeroU32::new(netns), ours, theirs).map(|end| end.state)
        };
        assert_eq!(state(&ends, 1, (here, there)), Some(TcpState::CloseWait));
        assert_eq!(state(&ends, 2, (here, there)), Some(TcpState::CloseWait), "in another namespace");
        assert_eq!(state(&ends, 2, (local, there)), None, "loopback is another one there");
        assert_eq!(state(&ends, 1, (there, here)), None);
        // Asked before, and another one comes.
        ends.add(here, there, end(3, TcpState::LastAck));
        assert_eq!(state(&ends, 3, (here, there)), Some(TcpState::LastAck));
        assert_eq!(state(&ends, 2, (here, there)), None, "it may be either");
        ends.clear();
        assert_eq!(state(&ends, 1, (here, there)), None);
    }
}
