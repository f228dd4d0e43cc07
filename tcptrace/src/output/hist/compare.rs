//! Histograms beside those of another time, which `hist -o json` has written.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Write},
};

use serde::{Deserialize, Serialize};

use super::{
    Report, Reporter,
    report::{Group, Stays},
    text::{known, title},
};
use crate::{
    model::histogram::By,
    output::{
        Json, Moment, Notice, Sink as _, Summary,
        compared::{CompareError, Compared, MOST_KEYS},
        escape,
        text::write_notice,
    },
};

/// What has written the file.
const COMMAND: &str = "hist";

/// What was counted at another time.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    groups: HashMap<Name, Object>,
}

/// A key, or all others.
type Name = (Option<String>, bool);

/// A `histogram` object.
#[derive(Clone, Debug, Deserialize)]
struct Object {
    span: String,
    seconds: f64,
    by: String,
    #[serde(flatten)]
    group: Group,
}

impl Earlier {
    /// Reads JSON lines. Of a key's intervals the last counts, unless there is a total.
    pub fn read(text: &str, by: By) -> Result<Self, CompareError> {
        let mut groups = HashMap::<Name, Object>::new();
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let problem = |error: serde_json::Error| CompareError::line(COMMAND, i + 1, &error);
            let value: serde_json::Value = serde_json::from_str(line).map_err(problem)?;
            if value["type"] != "histogram" {
                continue;
            }
            let object: Object = serde_json::from_value(value).map_err(problem)?;
            if object.by != by.name() {
                return Err(CompareError::by(&object.by));
            }
            let name = name(&object.group);
            let is_better =
                groups.get(&name).is_none_or(|before| before.span != "total" || object.span == "total");
            if is_better {
                groups.insert(name, object);
            }
            if groups.len() > MOST_KEYS {
                return Err(CompareError::TooMany);
            }
        }
        if groups.is_empty() { Err(CompareError::Nothing { command: COMMAND }) } else { Ok(Self { groups }) }
    }
}

/// A key then and now.
#[derive(Debug, Serialize)]
struct Comparison<'a> {
    by: &'static str,
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    others: Option<u64>,
    span: &'static str,
    seconds: f64,
    before_seconds: Option<f64>,
    states: Vec<States<'a>>,
}

/// A state then and now.
#[derive(Debug, Serialize)]
struct States<'a> {
    state: &'a str,
    count: Compared,
    p50_ns: Compared,
    p99_ns: Compared,
}

impl<'a> Comparison<'a> {
    /// Those of all keys: what is there now, and at the end of all what was there before and is not.
    fn all(report: &'a Report, earlier: &'a Earlier) -> Vec<Self> {
        let now = report.groups.iter().map(|group| (name(group), Some(group)));
        let mut names: Vec<(Name, Option<&Group>)> = now.collect();
        if report.is_total {
            let there: HashSet<Name> = names.iter().map(|(name, _)| name.clone()).collect();
            let mut gone: Vec<Name> =
                earlier.groups.keys().filter(|name| !there.contains(*name)).cloned().collect();
            gone.sort();
            names.extend(gone.into_iter().map(|name| (name, None)));
        }
        names.into_iter().map(|(name, group)| Self::new(report, &name, group, earlier)).collect()
    }

    fn new(report: &Report, name: &Name, group: Option<&'a Group>, earlier: &'a Earlier) -> Self {
        let (key, before) = match earlier.groups.get_key_value(name) {
            Some((name, before)) => (name.0.as_deref(), Some(before)),
            None => (group.and_then(|group| group.key.as_deref()), None),
        };
        // What was counted for a longer time is no more for that.
        let scale = before.map_or(1.0, |before| before.seconds / report.seconds);
        // A key that is not among those that are shown may be among the others.
        let is_known = |is_there: bool, has_others: bool| is_there || !has_others;
        let is_now_known =
            is_known(group.is_some(), report.groups.iter().any(|group| group.others.is_some()));
        let was_known = is_known(before.is_some(), earlier.groups.keys().any(|(_, is_others)| *is_others));
        let is = group.map(|group| group.states.as_slice()).unwrap_or_default();
        let was = before.map(|before| before.group.states.as_slice()).unwrap_or_default();
        let gone = was.iter().filter(|was| !is.iter().any(|now| now.state == was.state));
        let find = |list: &'a [Stays], state: &str| list.iter().find(|stays| stays.state == state);
        let states = is.iter().chain(gone).map(|either| {
            let state = either.state.as_str();
            let (now, then) = (find(is, state), find(was, state));
            let count = |stays: Option<&Stays>, is_known: bool| {
                stays.map(|stays| stays.count).or(is_known.then_some(0))
            };
            let count = Compared::new(count(now, is_now_known), count(then, was_known), scale);
            (!count.is_nothing()).then(|| States {
                state,
                count,
                p50_ns: Compared::new(now.and_then(|now| now.p50_ns), then.and_then(|then| then.p50_ns), 1.0),
                p99_ns: Compared::new(now.and_then(|now| now.p99_ns), then.and_then(|then| then.p99_ns), 1.0),
            })
        });
        Self {
            by: report.by.name(),
            key,
            others: group.map_or_else(|| before.and_then(|before| before.group.others), |group| group.others),
            span: if report.is_total { "total" } else { "interval" },
            seconds: report.seconds,
            before_seconds: before.map(|before| before.seconds),
            states: states.flatten().collect(),
        }
    }
}

fn name(group: &Group) -> Name {
    (group.key.clone(), group.others.is_some())
}

/// For people: a table a key.
pub struct CompareText<W> {
    out: W,
    earlier: Earlier,
}

impl<W: Write> CompareText<W> {
    /// Writes to `out`, which should be buffered.
    pub const fn new(out: W, earlier: Earlier) -> Self {
        Self { out, earlier }
    }
}

impl<W: Write> Reporter for CompareText<W> {
    fn report(&mut self, _: Moment, report: &Report) -> io::Result<()> {
        for comparison in Comparison::all(report, &self.earlier) {
            let before = comparison.before_seconds;
            let before =
                before.map_or_else(|| "not there before".to_owned(), |s| format!("before: {s:.1} s"));
            writeln!(self.out, "{}; {before}", title(report, comparison.key, comparison.others))?;
            writeln!(
                self.out,
                "  {:<11} {:>8} {:>8} {:>8}  {:>9} {:>9} {:>8}  {:>9} {:>9} {:>8}",
                "STATE", "COUNT", "BEFORE", "PER S", "P50", "BEFORE", "RATIO", "P99", "BEFORE", "RATIO"
            )?;
            for States { state, count, p50_ns, p99_ns } in &comparison.states {
                let (now, before) = count.plain();
                writeln!(
                    self.out,
                    "  {:<11} {:>8} {:>8} {:>8}  {:>9} {:>9} {:>8}  {:>9} {:>9} {:>8}",
                    escape::text(state),
                    now,
                    before,
                    count.times(),
                    known(p50_ns.now),
                    known(p50_ns.before),
                    p50_ns.times(),
                    known(p99_ns.now),
                    known(p99_ns.before),
                    p99_ns.times(),
                )?;
            }
            writeln!(self.out)?;
        }
        Ok(())
    }

    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()> {
        write_notice(&mut self.out, at, None, notice)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// For programs: a `comparison` object a key.
pub struct CompareJson<W> {
    json: Json<W>,
    earlier: Earlier,
}

impl<W: Write> CompareJson<W> {
    /// Writes to `out`, which should be buffered.
    pub const fn new(out: W, earlier: Earlier) -> Self {
        Self { json: Json::new(out), earlier }
    }
}

impl<W: Write> Reporter for CompareJson<W> {
    fn report(&mut self, at: Moment, report: &Report) -> io::Result<()> {
        let mut comparisons = Comparison::all(report, &self.earlier).into_iter();
        comparisons.try_for_each(|comparison| self.json.other("comparison", at, comparison))
    }

    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()> {
        self.json.notice(at, notice)
    }

    fn end(&mut self, at: Moment, summary: &Summary) -> io::Result<()> {
        self.json.end(at, summary)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.json.flush()
    }
}
