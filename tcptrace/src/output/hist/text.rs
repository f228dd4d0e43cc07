//! For people: a block a key, with counts, quantiles and bars as bcc's tools draw them.

use std::{
    fmt::Display,
    io::{self, Write},
};

use anstyle::Style;

use super::{
    Reporter,
    report::{Arrow, Group, Report, Stays, Still},
    units::{edge, time},
};
use crate::output::{Moment, Notice, escape, text::write_notice};

/// Bars are not drawn narrower.
const NARROWEST_BAR: usize = 10;

/// What stands left of the bars, and the line at their right.
const BESIDE_BARS: usize = 38;

/// How it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistTextOptions {
    /// Columns of the terminal.
    pub width: usize,
    /// Colours.
    pub color: bool,
}

/// Writes blocks of text.
pub struct HistText<W> {
    out: W,
    options: HistTextOptions,
}

impl<W: Write> HistText<W> {
    /// Writes to `out`, which should be buffered.
    pub const fn new(out: W, options: HistTextOptions) -> Self {
        Self { out, options }
    }

    const fn bold(&self) -> Style {
        if self.options.color { Style::new().bold() } else { Style::new() }
    }

    fn group(&mut self, report: &Report, group: &Group) -> io::Result<()> {
        let bold = self.bold();
        let count = group.count;
        let marked = match (group.complete, group.others) {
            (true, _) => "",
            (false, None) => ">=",
            (false, Some(_)) => "<=",
        };
        writeln!(
            self.out,
            "{bold}{}{bold:#}: {marked}{count} transitions",
            title(report, group.key.as_deref(), group.others)
        )?;
        let endings: Vec<String> = group
            .endings
            .in_words()
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, words)| format!("{count} {words}"))
            .collect();
        if !endings.is_empty() {
            let first = &group.closed_first;
            writeln!(
                self.out,
                "  ended: {}; closed first: {} by us, {} by the peer, {} by nobody or unknown",
                endings.join(", "),
                first.local,
                first.remote,
                first.unknown
            )?;
        }
        if !group.transitions.is_empty() {
            writeln!(
                self.out,
                "\n  {:<11} -> {:<11} {:>10} {:>10} {:>9}",
                "FROM", "TO", "COUNT", "PER S", "P50"
            )?;
        }
        for Arrow { from, to, count, per_s, p50_ns } in &group.transitions {
            writeln!(self.out, "  {from:<11} -> {to:<11} {count:>10} {per_s:>10.1} {:>9}", known(*p50_ns))?;
        }
        let completed = || group.states.iter().filter(|stays| stays.count > 0);
        if completed().next().is_some() {
            writeln!(
                self.out,
                "\n  {:<11} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9}",
                "STATE", "COUNT", "P50", "P90", "P99", "P99.9", "MAX"
            )?;
        }
        for stays in completed() {
            self.stays(stays)?;
        }
        self.bounds(group)?;
        for stays in completed() {
            self.bars(stays)?;
        }
        writeln!(self.out)
    }

    fn stays(&mut self, stays: &Stays) -> io::Result<()> {
        writeln!(
            self.out,
            "  {:<11} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9}",
            stays.state,
            stays.count,
            known(stays.p50_ns),
            known(stays.p90_ns),
            known(stays.p99_ns),
            known(stays.p999_ns),
            known(stays.max_ns),
        )
    }

    /// What is in no histogram: stays whose beginning was not seen, and those that are not over.
    fn bounds(&mut self, group: &Group) -> io::Result<()> {
        let open = |stays: &Stays| {
            let open = &stays.at_least.open;
            (open.count > 0).then(|| format!("{} {} (oldest {})", stays.state, open.count, oldest(open)))
        };
        let began_unseen = |stays: &Stays| {
            let unseen = stays.at_least.began_unseen;
            let longest = unseen.max_ns.map_or_else(|| "-".to_owned(), time);
            (unseen.count > 0).then(|| format!("{} {} (longest >={longest})", stays.state, unseen.count))
        };
        let open: Vec<String> = group.states.iter().filter_map(open).collect();
        let began_unseen: Vec<String> = group.states.iter().filter_map(began_unseen).collect();
        for (what, parts) in [("still open", open), ("began unseen", began_unseen)] {
            if !parts.is_empty() {
                writeln!(self.out, "\n  at least, {what}: {}", parts.join(", "))?;
            }
        }
        Ok(())
    }

    /// From the shortest to the longest that there are, those between that there are not included.
    fn bars(&mut self, stays: &Stays) -> io::Result<()> {
        let width = self.options.width.saturating_sub(BESIDE_BARS).max(NARROWEST_BAR);
        writeln!(self.out, "\n  {:<22} : {:<8} distribution", stays.state, "count")?;
        let most = stays.buckets.iter().map(|bucket| bucket.count).max().unwrap_or(1);
        let mut end = stays.buckets.first().map(|bucket| bucket.from_ns);
        for bucket in &stays.buckets {
            for between in empty_between(end, bucket.from_ns) {
                self.bar(between, 0, width)?;
            }
            let filled = u128::from(bucket.count) * width as u128 / u128::from(most.max(1));
            self.bar(
                (bucket.from_ns, bucket.to_ns),
                bucket.count,
                usize::try_from(filled).unwrap_or(width).max(1),
            )?;
            end = bucket.to_ns;
        }
        Ok(())
    }

    fn bar(&mut self, (from, to): (u64, Option<u64>), count: u64, filled: usize) -> io::Result<()> {
        let width = self.options.width.saturating_sub(BESIDE_BARS).max(NARROWEST_BAR);
        let stars = if count > 0 { filled.min(width) } else { 0 };
        let (from, to) =
            (if from == 0 { "0".to_owned() } else { edge(from) }, to.map_or_else(String::new, edge));
        writeln!(self.out, "  {from:>9} -> {to:<9} : {count:<8} |{:<width$}|", "*".repeat(stars))
    }
}

/// The bars between the end of one and the beginning of the next, which are empty.
fn empty_between(end: Option<u64>, next: u64) -> Vec<(u64, Option<u64>)> {
    use crate::model::histogram::dwells::EDGES;
    let Some(end) = end else { return Vec::new() };
    let edges = EDGES.iter().copied().filter(|edge| *edge > end && *edge <= next);
    let mut from = end;
    edges
        .map(|to| {
            let bar = (from, Some(to));
            from = to;
            bar
        })
        .collect()
}

pub(super) fn title(report: &Report, key: Option<&str>, others: Option<u64>) -> String {
    let by = report.by.name();
    let name = match (key, others) {
        (_, Some(0)) => format!("all other {by}s"),
        (_, Some(keys)) => format!("{keys} other {by}s"),
        (Some(key), None) => format!("{by} {}", escape::text(key)),
        (None, None) => format!("{by} unknown"),
    };
    format!("{name}, {:.1} s{}", report.seconds, if report.is_total { "" } else { " (interval)" })
}

pub(super) fn known(ns: Option<u64>) -> impl Display {
    ns.map_or_else(|| "-".to_owned(), time)
}

fn oldest(open: &Still) -> String {
    match (open.oldest_ns, open.oldest_is_at_least) {
        (Some(ns), true) => format!(">={}", time(ns)),
        (Some(ns), false) => time(ns),
        (None, _) => "-".to_owned(),
    }
}

impl<W: Write> Reporter for HistText<W> {
    fn report(&mut self, _: Moment, report: &Report) -> io::Result<()> {
        if report.groups.is_empty() {
            let what = if report.is_total { "" } else { " (interval)" };
            writeln!(self.out, "nothing in {:.1} s{what}\n", report.seconds)?;
        }
        for group in &report.groups {
            self.group(report, group)?;
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
