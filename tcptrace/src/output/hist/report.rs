//! What there is to say of histograms, for every format.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::model::{
    ClosedBy, TcpState,
    filter_lists::StateSet,
    histogram::{
        Bounds, By, Dwells, Ending, Entry, Histograms, Key, Open, OpenStays,
        dwells::{BARS, EDGES},
    },
};

/// What is to be said at the end of an interval, or of all.
#[derive(Clone, Debug)]
pub struct Report {
    /// By what it is counted.
    pub by: By,
    /// How long it was counted.
    pub seconds: f64,
    /// Of all the time, not of an interval.
    pub is_total: bool,
    /// The busiest first; the last may be all others.
    pub groups: Vec<Group>,
    /// All groups together.
    pub all: Entry,
}

/// One key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// What it is called; `None` is what is not known.
    pub key: Option<String>,
    /// It stands for so many keys that are not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<u64>,
    /// Nothing of it was counted among the others; of the others, nothing of the keys that are shown was counted there.
    pub complete: bool,
    /// Changes of state, of any kind.
    pub count: u64,
    /// Changes of state by kind, in the order of a life.
    pub transitions: Vec<Arrow>,
    /// Time spent in states, in the order of a life.
    pub states: Vec<Stays>,
    /// How sockets ended.
    pub endings: Endings,
    /// Who closed those that ended first.
    pub closed_first: ClosedFirst,
}

/// Changes from one state to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Arrow {
    /// The state that was left.
    pub from: String,
    /// The state that was entered.
    pub to: String,
    /// How many.
    pub count: u64,
    /// How many a second.
    pub per_s: f64,
    /// Median of the time in the state that was left.
    pub p50_ns: Option<u64>,
}

/// Time spent in one state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stays {
    /// The state.
    pub state: String,
    /// Completed stays of which beginning and end were seen. What follows is of these.
    pub count: u64,
    /// Quantiles, with an error of 1 % at most.
    pub p50_ns: Option<u64>,
    /// 90 %.
    pub p90_ns: Option<u64>,
    /// 99 %.
    pub p99_ns: Option<u64>,
    /// 99.9 %.
    pub p999_ns: Option<u64>,
    /// The longest, exactly.
    pub max_ns: Option<u64>,
    /// All of them together.
    pub sum_ns: u64,
    /// Stays of which only a lower bound is known: in none of the figures above.
    pub at_least: AtLeast,
    /// How many there are of which length. Empty ones are left out.
    pub buckets: Vec<Bucket>,
}

/// Stays with a lower bound only.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct AtLeast {
    /// Not over.
    pub open: Still,
    /// Over; the beginning was not seen.
    pub began_unseen: BeganUnseen,
}

/// Completed stays whose beginning was not seen.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct BeganUnseen {
    /// How many.
    pub count: u64,
    /// The longest was at least so long.
    pub max_ns: Option<u64>,
}

/// Connections that are in the state now.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Still {
    /// How many.
    pub count: u64,
    /// How long the one is in it that is known to be in it for the longest time.
    pub oldest_ns: Option<u64>,
    /// It may be longer: since when was not seen.
    pub oldest_is_at_least: bool,
}

/// So many stays between two lengths.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Bucket {
    /// This long or longer.
    pub from_ns: u64,
    /// Shorter than that; null for the last.
    pub to_ns: Option<u64>,
    /// How many.
    pub count: u64,
}

/// How sockets ended.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Endings {
    /// Both sides closed.
    pub orderly: u64,
    /// We reset it.
    pub reset_local: u64,
    /// The peer reset it.
    pub reset_remote: u64,
    /// The peer refused it.
    pub refused: u64,
    /// Nobody answered.
    pub timeout: u64,
    /// There was no room in the accept queue.
    pub overflow: u64,
    /// Not known.
    pub unknown: u64,
}

impl Endings {
    fn of(entry: &Entry) -> Self {
        Self {
            orderly: entry.ended(Ending::Orderly),
            reset_local: entry.ended(Ending::ResetByUs),
            reset_remote: entry.ended(Ending::ResetByPeer),
            refused: entry.ended(Ending::Refused),
            timeout: entry.ended(Ending::Timeout),
            overflow: entry.ended(Ending::Overflow),
            unknown: entry.ended(Ending::Unknown),
        }
    }

    /// Each with its name.
    pub fn by_name(&self) -> [(u64, &'static str); 7] {
        [
            (self.orderly, "orderly"),
            (self.reset_local, "reset_local"),
            (self.reset_remote, "reset_remote"),
            (self.refused, "refused"),
            (self.timeout, "timeout"),
            (self.overflow, "overflow"),
            (self.unknown, "unknown"),
        ]
    }

    /// Each with the words that people use.
    pub fn in_words(&self) -> [(u64, &'static str); 7] {
        [
            (self.orderly, "orderly"),
            (self.reset_local, "reset by us"),
            (self.reset_remote, "reset by the peer"),
            (self.refused, "refused"),
            (self.timeout, "timed out"),
            (self.overflow, "no room in the accept queue"),
            (self.unknown, "unknown why"),
        ]
    }
}

/// Who sent the first FIN or RST on sockets that ended.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct ClosedFirst {
    /// We.
    pub local: u64,
    /// The peer.
    pub remote: u64,
    /// Nobody, or it is not known.
    pub unknown: u64,
}

/// How to report.
pub(super) struct Asked<'a> {
    pub(super) shown: usize,
    pub(super) states: Option<&'a StateSet>,
    pub(super) names: &'a FxHashMap<Key, String>,
}

impl Report {
    pub(super) fn new(
        histograms: &Histograms,
        open: Option<&OpenStays>,
        asked: &Asked<'_>,
        (seconds, is_total): (f64, bool),
    ) -> Self {
        let (top, others) = histograms.top(asked.shown);
        let mut keys: Vec<Key> = top.iter().map(|(key, _)| *key).collect();
        let nothing = Entry::default();
        let mut groups = Vec::new();
        for (key, entry) in top {
            let still = |state| open.map_or_else(Open::default, |open| open.of(key, state));
            groups.push(group(asked, seconds, entry, still, asked.names.get(&key).cloned()));
        }
        // Quiet ones: connections are open, and nothing has changed.
        for key in open.map(OpenStays::keys).unwrap_or_default() {
            if keys.len() < asked.shown && !keys.contains(&key) && others.is_none() {
                let still = |state| open.map_or_else(Open::default, |open| open.of(key, state));
                groups.push(group(asked, seconds, &nothing, still, asked.names.get(&key).cloned()));
                keys.push(key);
            }
        }
        let still = |state| open.map_or_else(Open::default, |open| open.of_others(&keys, state));
        let has_open = TcpState::ALL.into_iter().any(|state| still(state).count > 0);
        if others.is_some() || has_open {
            let entry = others.as_ref().map_or(&nothing, |others| &others.entry);
            let group = group(asked, seconds, entry, still, None);
            let keys = others.as_ref().map_or(0, |others| others.keys);
            // What of the keys that are shown was counted here is missing there.
            let complete = groups.iter().all(|shown: &Group| shown.complete);
            groups.push(Group { others: Some(keys), complete, ..group });
        }
        Self { by: histograms.by(), seconds, is_total, groups, all: histograms.all() }
    }
}

fn group(
    asked: &Asked<'_>,
    seconds: f64,
    entry: &Entry,
    open: impl Fn(TcpState) -> Open,
    key: Option<String>,
) -> Group {
    let is_asked_for = |state| asked.states.is_none_or(|states| states.contains(state));
    let arrows = entry.arrows().into_iter();
    let transitions = arrows.map(|(from, to, arrow)| {
        #[expect(clippy::cast_precision_loss, reason = "2^52 transitions are enough")]
        let per_s = if seconds > 0.0 { arrow.count as f64 / seconds } else { 0.0 };
        Arrow {
            from: from.name().to_owned(),
            to: to.name().to_owned(),
            count: arrow.count,
            per_s,
            p50_ns: arrow.stays.quantile(0.5),
        }
    });
    let states = TcpState::IN_LIFE.into_iter().filter(|state| is_asked_for(*state)).filter_map(|state| {
        let ((stays, unseen), open) = (entry.stays(state), open(state));
        let is_there = stays.count() > 0 || unseen.count > 0 || open.count > 0;
        is_there.then(|| Stays::new(state, &stays, unseen, open))
    });
    Group {
        key,
        others: None,
        complete: !entry.is_partial,
        count: entry.transitions,
        transitions: transitions.collect(),
        states: states.collect(),
        endings: Endings::of(entry),
        closed_first: ClosedFirst {
            local: entry.closed_by(Some(ClosedBy::Local)),
            remote: entry.closed_by(Some(ClosedBy::Remote)),
            unknown: entry.closed_by(None),
        },
    }
}

impl Stays {
    fn new(state: TcpState, stays: &Dwells, unseen: Bounds, open: Open) -> Self {
        let bucket = |(i, count): (usize, &u64)| Bucket {
            from_ns: if i == 0 { 0 } else { EDGES[i - 1] },
            to_ns: (i + 1 < BARS).then(|| EDGES[i]),
            count: *count,
        };
        Self {
            state: state.name().to_owned(),
            count: stays.count(),
            p50_ns: stays.quantile(0.5),
            p90_ns: stays.quantile(0.9),
            p99_ns: stays.quantile(0.99),
            p999_ns: stays.quantile(0.999),
            max_ns: stays.max_ns(),
            sum_ns: u64::try_from(stays.sum_ns()).unwrap_or(u64::MAX),
            at_least: AtLeast {
                open: Still {
                    count: open.count,
                    oldest_ns: open.oldest_ns,
                    oldest_is_at_least: open.is_at_least,
                },
                began_unseen: BeganUnseen {
                    count: unseen.count,
                    max_ns: (unseen.count > 0).then_some(unseen.max_ns),
                },
            },
            buckets: stays.bars().iter().enumerate().filter(|(_, count)| **count > 0).map(bucket).collect(),
        }
    }
}
