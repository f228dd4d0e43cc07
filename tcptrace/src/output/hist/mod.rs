//! `tcptrace hist`: adds up instead of writing lines, and reports at the end of an interval or of all.

mod compare;
mod csv;
mod json;
pub mod report;
mod text;
pub mod units;

use std::io;

use rustc_hash::FxHashMap;

pub use self::{
    compare::{CompareJson, CompareText, Earlier},
    csv::HistCsv,
    json::HistJson,
    report::Report,
    text::{HistText, HistTextOptions},
};
use super::{Beside, Moment, Names, Notice, Sink, Summary, escape};
use crate::model::{
    Connection, KtimeNs, Observation, Owner, Role, SocketKey,
    filter_lists::StateSet,
    histogram::{By, Histograms, Key, OpenStays},
};

/// A format of reports.
pub trait Reporter {
    /// What comes first, once.
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// An interval is over, or all is.
    fn report(&mut self, at: Moment, report: &Report) -> io::Result<()>;
    /// Anything else that happens, but for closed sockets that are held.
    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()>;
    /// The end.
    fn end(&mut self, _at: Moment, _summary: &Summary) -> io::Result<()> {
        Ok(())
    }
    /// Passes on what was written.
    fn flush(&mut self) -> io::Result<()>;
}

/// What to count, and how much of it to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistOptions {
    /// By what.
    pub by: By,
    /// The busiest so many keys; the rest together.
    pub shown: usize,
    /// Only these states.
    pub states: Option<StateSet>,
    /// Whether intervals are reported, and not only the end.
    pub has_intervals: bool,
}

/// Adds up.
pub struct Hist {
    options: HistOptions,
    reporter: Box<dyn Reporter>,
    current: Histograms,
    /// Of all intervals that are over.
    total: Option<Histograms>,
    open: Option<OpenStays>,
    names: FxHashMap<Key, String>,
    began: Option<KtimeNs>,
    interval_began: Option<KtimeNs>,
}

impl Hist {
    /// Reports to `reporter`. `began` is when tracing began.
    pub fn new(options: HistOptions, reporter: Box<dyn Reporter>) -> Self {
        let empty = Histograms::new(options.by, options.shown);
        Self {
            total: options.has_intervals.then(|| empty.clone()),
            current: empty,
            options,
            reporter,
            open: None,
            names: FxHashMap::default(),
            began: None,
            interval_began: None,
        }
    }

    /// Remembers what a key is called. Bounded as the keys are.
    fn name(&mut self, key: Key, names: &Names) {
        if let Some(name) = name_of(key, names) {
            if self.names.len() > 16 * self.options.shown.max(64) {
                let (current, total) = (&self.current, self.total.as_ref());
                self.names.retain(|key, _| {
                    current.contains(*key) || total.is_some_and(|total| total.contains(*key))
                });
            }
            self.names.insert(key, name);
        }
    }

    fn report(&mut self, at: Moment, histograms: &Histograms, is_total: bool) -> io::Result<()> {
        let since = if is_total { self.began } else { self.interval_began };
        #[expect(clippy::cast_precision_loss, reason = "2^52 ns are 52 days, then microseconds are lost")]
        let seconds = since.and_then(|since| at.ktime.since(since)).unwrap_or(at.elapsed_ns) as f64 / 1e9;
        let asked = report::Asked {
            shown: self.options.shown,
            states: self.options.states.as_ref(),
            names: &self.names,
        };
        let report = Report::new(histograms, self.open.as_ref(), &asked, (seconds, is_total));
        self.open = None;
        self.reporter.report(at, &report)
    }
}

impl Sink for Hist {
    fn begin(&mut self) -> io::Result<()> {
        self.reporter.begin()
    }

    fn transition(&mut self, _: Moment, observed: &Observation, beside: Beside<'_>) -> io::Result<()> {
        if let Some(key) = self.current.add(observed) {
            self.name(key, beside.names);
        }
        Ok(())
    }

    fn wants_names(&self) -> bool {
        matches!(self.options.by, By::Cgroup | By::Netns)
    }

    fn wants_open(&self) -> bool {
        true
    }

    fn open(
        &mut self,
        at: Moment,
        _: SocketKey,
        connection: &Connection,
        owner: Option<&Owner>,
        names: &Names,
    ) {
        let (current, total, shown) = (&self.current, self.total.as_ref(), self.options.shown);
        let open = self.open.get_or_insert_with(|| {
            let keys = |histograms: &Histograms| histograms.top_keys(shown);
            let keys = keys(current).into_iter().chain(total.map(keys).unwrap_or_default());
            OpenStays::of_keys(current.by(), keys, 4 * shown.max(1))
        });
        if let Some(key) = open.add(connection, owner, at.ktime)
            && !self.names.contains_key(&key)
        {
            self.name(key, names);
        }
    }

    fn interval(&mut self, at: Moment) -> io::Result<()> {
        let mut current =
            std::mem::replace(&mut self.current, Histograms::new(self.options.by, self.options.shown));
        let reported = self.report(at, &current, false);
        if let Some(total) = &mut self.total {
            total.merge(&current);
        }
        current.clear();
        self.current = current;
        self.interval_began = Some(at.ktime);
        reported
    }

    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()> {
        match notice {
            // What is held is listed by `watch` and `leaks`.
            Notice::Held(..) => Ok(()),
            notice => self.reporter.notice(at, notice),
        }
    }

    fn end(&mut self, at: Moment, summary: &Summary) -> io::Result<()> {
        let mut all = std::mem::replace(&mut self.current, Histograms::new(self.options.by, 1));
        if let Some(mut total) = self.total.take() {
            total.merge(&all);
            all = total;
        }
        self.report(at, &all, true)?;
        self.reporter.end(at, summary)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.reporter.flush()
    }
}

/// What a key is called in outputs; `None` for what is not known.
fn name_of(key: Key, names: &Names) -> Option<String> {
    match key {
        Key::Port(port) => port.map(|port| port.to_string()),
        Key::Process(comm) => comm.map(|comm| escape::comm_json(&comm).into_owned()),
        Key::Peer(addr) => addr.map(|addr| addr.to_string()),
        Key::Cgroup(id) => id.map(|id| {
            names.cgroup.as_ref().map_or_else(|| format!("cgroup {id}"), |cgroup| cgroup.path.clone())
        }),
        Key::Netns(inode) => inode.map(|inode| {
            let given = names.netns.as_ref().filter(|name| name.is_given);
            given.map_or_else(|| inode.to_string(), |name| format!("{} ({inode})", name.text))
        }),
        Key::Role(role) => role.map(Role::name).map(str::to_owned),
    }
}
