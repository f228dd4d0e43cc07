//! What the view shows of what happens and of what is there: added up event by event, and by walks over all connections.
//!
//! An event moves some numbers and no more. Everything that goes through all connections is a walk, and whoever makes walks
//! decides when: see [`Data::walk`] and [`Data::look`].

mod activity;
mod arrows;
mod counts;
mod found;
mod rows;
mod sink;
mod survey;

use std::num::{NonZeroU32, NonZeroU64};

use rustc_hash::FxHashSet;

use self::{activity::Activity, arrows::Arrows, counts::Counts, found::FoundBefore, rows::Rows};
pub use self::{rows::NameCgroup, sink::DataSink};
use super::world::{About, Arrow, Found, Overview, PortRow, ProcessRow};
use crate::{
    model::{Connection, Counters, Held, KtimeNs, Owner, SocketKey, filter_lists::StateSet},
    output::{
        Moment, Names,
        findings::{Lookout, LookoutOptions},
    },
};

/// Time after the end of a second until what happened in it is told: an end can be unclear for 100 ms.
const TOLD_NS: u64 = 150_000_000;

/// What to gather.
#[derive(Clone, Debug, Default)]
pub struct DataOptions {
    /// What findings are looked for.
    pub lookout: LookoutOptions,
    /// Only transitions from and to these states are told.
    pub states: Option<StateSet>,
}

/// What only whoever feeds it knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outside {
    /// What the table has counted.
    pub counters: Counters,
    /// Closed sockets that are held; `None` where that takes a walk, as not all are asked for.
    pub held: Option<u64>,
    /// SYNs answered with cookies.
    pub syncookies: u64,
    /// Our own share of one processor; `None` before it is known.
    pub own_cpu: Option<f64>,
}

/// All of it.
pub struct Data {
    about: About,
    lookout: Lookout,
    activity: Activity,
    counts: Counts,
    rows: Rows,
    found: FoundBefore,
    overview: Overview,
    arrows: Arrows,
    /// How many seconds are over and told.
    seconds: u64,
    /// Transitions had been so many when the overview was made.
    shown: u64,
    /// What owners and namespaces names were asked for in the walk that is under way.
    asked: FxHashSet<NameQuestion>,
}

/// Cgroup and network namespace.
type NameQuestion = (Option<NonZeroU64>, Option<NonZeroU32>);

impl Data {
    /// Nothing yet.
    pub fn new(options: DataOptions) -> Self {
        Self {
            about: About::default(),
            lookout: Lookout::new(options.lookout),
            activity: Activity::default(),
            counts: Counts::new(options.states),
            rows: Rows::default(),
            found: FoundBefore::default(),
            overview: Overview::default(),
            arrows: Arrows::default(),
            seconds: 0,
            shown: 0,
            asked: FxHashSet::default(),
        }
    }

    /// The first moment after the start tells when that was: of what happened before, no time is known since then.
    fn begin(&mut self, at: Moment) {
        if at.elapsed_ns > 0 {
            self.activity.begin(KtimeNs(at.ktime.0.saturating_sub(at.elapsed_ns)));
        }
    }

    /// Sets where it comes from.
    pub fn set_about(&mut self, about: About) {
        self.about = about;
    }

    /// When the next second will be over and told.
    pub fn next_second(&self) -> KtimeNs {
        KtimeNs(self.activity.end_after(self.seconds).0.saturating_add(TOLD_NS))
    }

    /// Brings the overview up to date. Returns whether anything of it is new.
    pub fn refresh(&mut self, at: Moment, outside: &Outside) -> bool {
        self.begin(at);
        let over = self.activity.over(KtimeNs(at.ktime.0.saturating_sub(TOLD_NS)));
        let is_second = over > self.seconds;
        if is_second {
            self.counts.seconds(over - self.seconds);
            self.seconds = over;
            self.lookout.second(at);
            (self.overview.opened, self.overview.closed) = self.activity.series(over);
            self.overview.transitions_per_s = self.activity.transitions_per_s(over);
            self.overview.own_cpu = outside.own_cpu;
            self.arrows.refresh();
        }
        let (opened, closed, transitions) = self.activity.totals();
        let Counters { lost, evicted, gaps, .. } = outside.counters;
        let held = outside.held.unwrap_or(self.overview.held);
        let Overview { lost: lost_before, evicted: evicted_before, held: held_before, .. } = self.overview;
        let before = (self.shown, lost_before, evicted_before, held_before, self.overview.syncookies);
        let now = (transitions, lost, evicted, held, outside.syncookies);
        if !is_second && before == now {
            return false;
        }
        self.shown = transitions;
        self.show_counts(is_second);
        self.overview.endings = self.activity.endings(over);
        self.overview.opened_total = opened;
        self.overview.closed_total = closed;
        self.overview.transitions = transitions;
        self.overview.held = held;
        self.overview.lost = lost;
        self.overview.evicted = evicted;
        self.overview.gaps = gaps;
        self.overview.syncookies = outside.syncookies;
        true
    }

    fn show_counts(&mut self, with_history: bool) {
        for (shown, counted) in self.overview.states.iter_mut().zip(self.counts.states()) {
            shown.count = counted.count;
            if with_history {
                shown.history.clone_from(&counted.history);
            }
        }
    }

    /// Goes through all connections that are open and asked for, and all closed sockets that are held, and counts them. `go` is
    /// given what is to be told of each: whether it is held, and its owner with a number, see
    /// [`Table::owner_number`](crate::model::Table::owner_number).
    pub fn walk(
        &mut self,
        now: KtimeNs,
        go: impl FnOnce(&mut dyn FnMut(bool, &Connection, Option<(usize, Owner)>)),
        name_cgroup: NameCgroup<'_>,
    ) {
        let survey = self.rows.begin(now);
        go(&mut |is_held, connection, owner| survey.add(is_held, connection, owner));
        let survey = self.rows.end(&self.lookout, name_cgroup);
        self.counts.set(survey.counts);
        self.arrows.add_up(self.lookout.histograms());
        self.overview.held = survey.held;
        self.show_counts(false);
    }

    /// Whether the names of an owner and a network namespace are not yet asked for in this look.
    pub fn wants_names(&mut self, connection: &Connection, owner: Option<&Owner>) -> bool {
        self.asked.insert((owner.and_then(|owner| owner.task.cgroup), connection.netns))
    }

    /// A connection that is open, before a look.
    pub fn open(
        &mut self,
        at: Moment,
        key: SocketKey,
        connection: &Connection,
        owner: Option<&Owner>,
        names: &Names,
    ) {
        self.lookout.open(at, key, connection, owner, names);
    }

    /// A closed socket that is held, before a look.
    pub fn held(&mut self, at: Moment, key: SocketKey, held: &Held, owner: Option<&Owner>, names: &Names) {
        self.lookout.held(at, key, held, owner, names);
    }

    /// Looks for what is wrong among those that were told. `has_lifecycle` says whether time-wait and half-open sockets are seen.
    pub fn look(&mut self, at: Moment, lost: u64, has_lifecycle: bool) {
        self.asked.clear();
        let looked = self.lookout.look(at);
        self.found.note(at, looked, &self.lookout, (lost, has_lifecycle));
    }

    /// Where it comes from.
    pub const fn about(&self) -> &About {
        &self.about
    }

    /// Counts and rates.
    pub const fn overview(&self) -> &Overview {
        &self.overview
    }

    /// By service port.
    pub fn ports(&self) -> &[PortRow] {
        &self.rows.ports
    }

    /// By process.
    pub fn processes(&self) -> &[ProcessRow] {
        &self.rows.processes
    }

    /// Ports and processes that there was no room for.
    pub const fn left_out(&self) -> (usize, usize) {
        self.rows.left_out
    }

    /// When the last walk was.
    pub const fn walked(&self) -> Option<KtimeNs> {
        self.rows.walked
    }

    /// Transitions by kind.
    pub fn arrows(&self) -> &[Arrow] {
        self.arrows.list()
    }

    /// What is wrong.
    pub const fn found(&self) -> &Found {
        self.found.found()
    }
}

#[cfg(test)]
mod tests;
