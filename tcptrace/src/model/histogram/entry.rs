//! What is counted for one key.

use super::dwells::Dwells;
use crate::model::{ClosedBy, Dwell, EndCause, Observation, TcpState};

/// How connections ended, in the words of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Both sides closed.
    Orderly,
    /// We reset it.
    ResetByUs,
    /// The peer reset it.
    ResetByPeer,
    /// The peer refused it.
    Refused,
    /// Nobody answered.
    Timeout,
    /// The accept queue had no room for it.
    Overflow,
    /// Not known.
    Unknown,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Orderly,
        Self::ResetByUs,
        Self::ResetByPeer,
        Self::Refused,
        Self::Timeout,
        Self::Overflow,
        Self::Unknown,
    ];

    /// That of a cause. What takes a time-wait socket away comes after both sides have closed.
    pub const fn of(cause: EndCause) -> Self {
        match cause {
            EndCause::Fin
            | EndCause::TwExpired
            | EndCause::TwReused
            | EndCause::TwKilled
            | EndCause::TwOverflow => Self::Orderly,
            EndCause::ResetLocal => Self::ResetByUs,
            EndCause::ResetRemote => Self::ResetByPeer,
            EndCause::Refused => Self::Refused,
            EndCause::Timeout => Self::Timeout,
            EndCause::Overflow => Self::Overflow,
            EndCause::Unknown => Self::Unknown,
        }
    }
}

/// Stays of which only a lower bound is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// How many.
    pub count: u64,
    /// The longest is at least this long.
    pub max_ns: u64,
}

impl Bounds {
    /// One more.
    pub fn add(&mut self, ns: u64) {
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.max_ns = self.max_ns.max(other.max_ns);
    }
}

/// All transitions from one state to another.
#[derive(Clone, Debug, Default)]
pub struct Arrow {
    /// How often.
    pub count: u64,
    /// Completed stays in the state that was left.
    pub stays: Dwells,
    /// Stays whose beginning was not seen.
    pub at_least: Bounds,
}

/// What is counted for one key.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Transitions, of any kind.
    pub transitions: u64,
    arrows: Vec<((TcpState, TcpState), Arrow)>,
    /// For each pair of states one more than its place in `arrows`; 0 when it is not there.
    places: Places,
    endings: [u64; Ending::ALL.len()],
    /// Those that ended, by who closed first: us, the peer, nobody or not known.
    closed_by: [u64; 3],
    /// Something of it may have been counted among the others.
    pub is_partial: bool,
}

impl Entry {
    pub(super) fn new(is_partial: bool) -> Self {
        Self { is_partial, ..Self::default() }
    }

    /// One more transition.
    pub fn add(&mut self, observed: &Observation) {
        let transition = &observed.transition;
        self.transitions += 1;
        let arrow = self.arrow_mut(transition.old, transition.new);
        arrow.count += 1;
        match observed.dwell {
            Some(Dwell::Exact(ns) | Dwell::Jiffy(ns)) => arrow.stays.add(ns),
            Some(Dwell::AtLeast(ns)) => arrow.at_least.add(ns),
            None => {}
        }
        if let Some(cause) = observed.connection.end_cause.filter(|_| transition.new == TcpState::Close) {
            self.endings[Ending::of(cause) as usize] += 1;
            self.closed_by[closer(observed.connection.closed_by)] += 1;
        }
    }

    /// What another has counted, too.
    pub fn merge(&mut self, other: &Self) {
        self.transitions += other.transitions;
        for ((old, new), theirs) in &other.arrows {
            let arrow = self.arrow_mut(*old, *new);
            arrow.count += theirs.count;
            arrow.stays.merge(&theirs.stays);
            arrow.at_least.merge(theirs.at_least);
        }
        for (mine, theirs) in self.endings.iter_mut().zip(other.endings) {
            *mine += theirs;
        }
        for (mine, theirs) in self.closed_by.iter_mut().zip(other.closed_by) {
            *mine += theirs;
        }
        self.is_partial |= other.is_partial;
    }

    /// The transitions that were seen, in the order of a life.
    pub fn arrows(&self) -> Vec<(TcpState, TcpState, &Arrow)> {
        let mut arrows: Vec<_> = self.arrows.iter().map(|((old, new), arrow)| (*old, *new, arrow)).collect();
        // What begins a life comes first.
        arrows.sort_by_key(|(old, new, _)| (*old != TcpState::Close, old.in_life(), new.in_life()));
        arrows
    }

    /// Transitions from one state to another.
    pub fn arrow(&self, old: TcpState, new: TcpState) -> Option<&Arrow> {
        self.arrows.iter().find(|(states, _)| *states == (old, new)).map(|(_, arrow)| arrow)
    }

    /// Completed stays in a state, whatever came next, and those with a lower bound only.
    pub fn stays(&self, state: TcpState) -> (Dwells, Bounds) {
        let (mut stays, mut at_least) = (Dwells::default(), Bounds::default());
        for (_, arrow) in self.arrows.iter().filter(|((old, _), _)| *old == state) {
            stays.merge(&arrow.stays);
            at_least.merge(arrow.at_least);
        }
        (stays, at_least)
    }

    /// How many sockets ended so.
    pub const fn ended(&self, ending: Ending) -> u64 {
        self.endings[ending as usize]
    }

    /// How many of those that ended were closed first by us, by the peer, by nobody or nobody knows.
    pub const fn closed_by(&self, who: Option<ClosedBy>) -> u64 {
        self.closed_by[closer(who)]
    }

    fn arrow_mut(&mut self, old: TcpState, new: TcpState) -> &mut Arrow {
        let place = self.places.of(old, new);
        if *place == 0 {
            self.arrows.push(((old, new), Arrow::default()));
            // 121 at most.
            *place = u8::try_from(self.arrows.len()).unwrap_or(u8::MAX);
        }
        &mut self.arrows[usize::from(*place) - 1].1
    }
}

/// Looked up for every transition: a walk along the arrows would touch all of their memory.
#[derive(Clone, Debug)]
struct Places([u8; STATES * STATES]);

/// Raw values of states go from 1.
const STATES: usize = TcpState::ALL.len() + 1;

impl Default for Places {
    fn default() -> Self {
        Self([0; STATES * STATES])
    }
}

impl Places {
    fn of(&mut self, old: TcpState, new: TcpState) -> &mut u8 {
        &mut self.0[usize::from(old.raw()) * STATES + usize::from(new.raw())]
    }
}

const fn closer(who: Option<ClosedBy>) -> usize {
    match who {
        Some(ClosedBy::Local) => 0,
        Some(ClosedBy::Remote) => 1,
        None => 2,
    }
}
