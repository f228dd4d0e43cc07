//! A look beside an earlier one: counts then and now.

use std::{
    collections::HashMap,
    io::{self, Write},
};

use serde::Serialize;

use super::{Group, SnapshotReport, write_object};
use crate::{
    model::TcpState,
    output::{compared::Compared, escape, hist::units::time},
};

/// A look then and now.
#[derive(Debug, Serialize)]
pub struct Comparison<'a> {
    by: &'a str,
    all: Counts<'a>,
    groups: Vec<Counts<'a>>,
}

/// A key then and now. What is not among the keys that were shown is not known, unless all were.
#[derive(Debug, Serialize)]
struct Counts<'a> {
    key: Option<&'a str>,
    total: Compared,
    /// In the order of a life; those that nothing was in and is in are left out.
    states: Vec<InState>,
    oldest_time_wait_ns: Compared,
    unread_bytes: Compared,
    unsent_bytes: Compared,
}

#[derive(Debug, Serialize)]
struct InState {
    state: &'static str,
    count: Compared,
}

impl<'a> Comparison<'a> {
    /// Compares.
    pub fn new(now: &'a SnapshotReport, before: &'a SnapshotReport) -> Self {
        let by_key = |report: &'a SnapshotReport| -> HashMap<Option<&'a str>, &'a Group> {
            report.groups.iter().map(|group| (group.key.as_deref(), group)).collect()
        };
        let (is, was) = (by_key(now), by_key(before));
        let gone = before.groups.iter().filter(|group| !is.contains_key(&group.key.as_deref()));
        let groups = now.groups.iter().chain(gone).map(|either| {
            let key = either.key.as_deref();
            let (is, was) = (is.get(&key).copied(), was.get(&key).copied());
            Counts::new((is, now.other_keys == 0), (was, before.other_keys == 0))
        });
        Self {
            by: &now.by,
            all: Counts::new((Some(&now.all), true), (Some(&before.all), true)),
            groups: groups.collect(),
        }
    }
}

impl<'a> Counts<'a> {
    /// `None` is none where all keys are there.
    fn new((now, is_all): (Option<&'a Group>, bool), (before, was_all): (Option<&'a Group>, bool)) -> Self {
        let compare = |get: &dyn Fn(&Group) -> Option<u64>| {
            let number = |group: Option<&Group>, is_all: bool| group.map_or(is_all.then_some(0), get);
            Compared::new(number(now, is_all), number(before, was_all), 1.0)
        };
        let states = TcpState::IN_LIFE.into_iter().filter_map(|state| {
            let count = compare(&|group| group.count(state));
            (!count.is_nothing()).then(|| InState { state: state.name(), count })
        });
        let oldest = |group: Option<&Group>| group.and_then(|group| group.oldest_time_wait_ns);
        Self {
            key: now.or(before).and_then(|group| group.key.as_deref()),
            total: compare(&|group| Some(group.total)),
            states: states.collect(),
            oldest_time_wait_ns: Compared::new(oldest(now), oldest(before), 1.0),
            unread_bytes: compare(&|group| Some(group.unread_bytes)),
            unsent_bytes: compare(&|group| Some(group.unsent_bytes)),
        }
    }
}

/// Writes it for people.
///
/// # Errors
///
/// The output cannot be written.
pub fn write_comparison(out: &mut impl Write, comparison: &Comparison<'_>) -> io::Result<()> {
    let Comparison { by, all, groups } = comparison;
    writeln!(
        out,
        "{:<24} {:<11} {:>9} {:>9} {:>9} {:>8}",
        by.to_uppercase(),
        "STATE",
        "NOW",
        "BEFORE",
        "MORE",
        "RATIO"
    )?;
    for group in groups {
        let name = group.key.map_or_else(|| "-".into(), escape::text);
        line(out, &name, "all", group.total)?;
        if *by != "state" {
            group.states.iter().try_for_each(|of| line(out, "", of.state, of.count))?;
        }
    }
    line(out, "all", "all", all.total)?;
    let age = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), time);
    let oldest = all.oldest_time_wait_ns;
    writeln!(out, "\noldest in TIME_WAIT: {}, before {}", age(oldest.now), age(oldest.before))
}

/// Writes it for programs: an object of type `comparison`.
///
/// # Errors
///
/// The output cannot be written.
pub fn write_json_comparison(
    out: &mut impl Write,
    unix_ns: i128,
    comparison: &Comparison<'_>,
) -> io::Result<()> {
    write_object(out, "comparison", unix_ns, comparison)
}

fn line(out: &mut impl Write, name: &str, state: &str, count: Compared) -> io::Result<()> {
    let more = count.now.zip(count.before).map(|(now, before)| i128::from(now) - i128::from(before));
    let more = more.map_or_else(|| "-".to_owned(), |more| format!("{more:+}"));
    let (now, before) = count.plain();
    writeln!(out, "{name:<24} {state:<11} {now:>9} {before:>9} {more:>9} {:>8}", count.times())
}
