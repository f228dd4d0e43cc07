//! Comma-separated values, RFC 4180: a row for each number of changes, state, bar and kind of ending. Which columns a row
//! fills depends on its `type`; unknown is an empty cell.

use std::io::{self, Write};

use csv::{Writer, WriterBuilder};
use serde::Serialize;

use super::{
    Report, Reporter,
    report::{AtLeast, Group},
};
use crate::output::{Moment, Notice, Rfc3339, SCHEMA_VERSION, escape};

/// Writes CSV lines.
pub struct HistCsv<W: Write> {
    out: Writer<W>,
}

impl<W: Write> HistCsv<W> {
    /// Writes to `out`; the names of the columns come first if `header` is set.
    pub fn new(out: W, header: bool) -> Self {
        Self { out: WriterBuilder::new().has_headers(header).from_writer(out) }
    }

    fn group(&mut self, row: &Row<'_>, group: &Group) -> io::Result<()> {
        for arrow in &group.transitions {
            self.out.serialize(Row {
                r#type: "transition",
                from: &arrow.from,
                to: &arrow.to,
                count: Some(arrow.count),
                p50_ns: arrow.p50_ns,
                ..row.clone()
            })?;
        }
        for stays in &group.states {
            let AtLeast { open, began_unseen } = stays.at_least;
            self.out.serialize(Row {
                r#type: "state",
                from: &stays.state,
                count: Some(stays.count),
                p50_ns: stays.p50_ns,
                p90_ns: stays.p90_ns,
                p99_ns: stays.p99_ns,
                p999_ns: stays.p999_ns,
                max_ns: stays.max_ns,
                sum_ns: Some(stays.sum_ns),
                open: Some(open.count),
                open_oldest_ns: open.oldest_ns,
                open_oldest_is_at_least: open.oldest_ns.map(|_| open.oldest_is_at_least),
                began_unseen: Some(began_unseen.count),
                began_unseen_max_ns: began_unseen.max_ns,
                ..row.clone()
            })?;
            for bucket in &stays.buckets {
                self.out.serialize(Row {
                    r#type: "bucket",
                    from: &stays.state,
                    count: Some(bucket.count),
                    from_ns: Some(bucket.from_ns),
                    to_ns: bucket.to_ns,
                    ..row.clone()
                })?;
            }
        }
        let first = &group.closed_first;
        let endings = group.endings.by_name().map(|(count, name)| ("ending", count, name));
        let first = [(first.local, "local"), (first.remote, "remote"), (first.unknown, "unknown")];
        let first = first.map(|(count, name)| ("closed_first", count, name));
        for (kind, count, name) in endings.into_iter().chain(first) {
            self.out.serialize(Row { r#type: kind, to: name, count: Some(count), ..row.clone() })?;
        }
        Ok(())
    }
}

/// All columns.
#[derive(Clone, Default, Serialize)]
struct Row<'a> {
    r#type: &'a str,
    schema_version: u32,
    ts: &'a str,
    ts_ns: u64,
    span: &'a str,
    seconds: Option<f64>,
    by: &'a str,
    key: Option<&'a str>,
    others: Option<u64>,
    complete: Option<bool>,
    from: &'a str,
    to: &'a str,
    count: Option<u64>,
    p50_ns: Option<u64>,
    p90_ns: Option<u64>,
    p99_ns: Option<u64>,
    p999_ns: Option<u64>,
    max_ns: Option<u64>,
    sum_ns: Option<u64>,
    open: Option<u64>,
    open_oldest_ns: Option<u64>,
    open_oldest_is_at_least: Option<bool>,
    began_unseen: Option<u64>,
    began_unseen_max_ns: Option<u64>,
    from_ns: Option<u64>,
    to_ns: Option<u64>,
}

impl<W: Write> Reporter for HistCsv<W> {
    fn report(&mut self, at: Moment, report: &Report) -> io::Result<()> {
        let ts = Rfc3339::new(at.unix_ns);
        for group in &report.groups {
            // A table of a program that interprets cells: see `escape::text`.
            let key = group.key.as_deref().map(escape::text);
            let row = Row {
                schema_version: SCHEMA_VERSION,
                ts: ts.as_str(),
                ts_ns: at.ktime.0,
                span: if report.is_total { "total" } else { "interval" },
                seconds: Some(report.seconds),
                by: report.by.name(),
                key: key.as_deref(),
                others: group.others,
                complete: Some(group.complete),
                ..Row::default()
            };
            self.group(&row, group)?;
        }
        Ok(())
    }

    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()> {
        let (kind, count, to) = match notice {
            Notice::Lost(lost) => ("lost", lost.count, lost.at.name().to_owned()),
            Notice::Audit(audit) => ("audit", audit.drift, format!("{} sockets", audit.sockets)),
            Notice::SynCookies(cookies) => ("syncookies", cookies.sent, format!("netns {}", cookies.netns)),
            Notice::Held(..) => return Ok(()),
        };
        let ts = Rfc3339::new(at.unix_ns);
        Ok(self.out.serialize(Row {
            r#type: kind,
            schema_version: SCHEMA_VERSION,
            ts: ts.as_str(),
            ts_ns: at.ktime.0,
            to: &to,
            count: Some(count),
            ..Row::default()
        })?)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
