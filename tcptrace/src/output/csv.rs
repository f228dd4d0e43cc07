//! Comma-separated values, RFC 4180: the columns of the JSON `transition` object, then `count` and `where`, which
//! only rows of type `lost` have. Unknown is an empty cell.

use std::io::{self, Write};

use csv::{Writer, WriterBuilder};

use super::{LineFormat, Moment, SCHEMA_VERSION, Summary, escape, json::TransitionFields, rfc3339};
use crate::model::{Lost, Observation};

const COLUMNS: [&str; 26] = [
    "type",
    "schema_version",
    "ts",
    "ts_ns",
    "cookie",
    "family",
    "protocol",
    "laddr",
    "lport",
    "raddr",
    "rport",
    "role",
    "old_state",
    "new_state",
    "duration_ns",
    "duration_is",
    "pid",
    "comm",
    "uid",
    "netns",
    "cgroup",
    "closed_by",
    "end_cause",
    "origin",
    "count",
    "where",
];

/// Writes CSV lines.
#[derive(Debug)]
pub struct Csv<W: Write> {
    out: Writer<W>,
    header: bool,
}

impl<W: Write> Csv<W> {
    /// Writes to `out`; the names of the columns come first if `header` is set.
    pub fn new(out: W, header: bool) -> Self {
        Self { out: WriterBuilder::new().has_headers(false).from_writer(out), header }
    }
}

impl<W: Write> LineFormat for Csv<W> {
    fn begin(&mut self) -> io::Result<()> {
        if self.header {
            self.out.write_record(COLUMNS)?;
        }
        Ok(())
    }

    fn transition(&mut self, at: Moment, observed: &Observation) -> io::Result<()> {
        let nothing: [Option<u64>; 2] = [None; 2];
        Ok(self.out.serialize((TransitionFields::new(at, observed, escape::comm), nothing))?)
    }

    fn lost(&mut self, at: Moment, lost: &Lost) -> io::Result<()> {
        let before =
            ["lost".to_owned(), SCHEMA_VERSION.to_string(), rfc3339(at.unix_ns), at.ktime.0.to_string()];
        let after = [lost.count.to_string(), lost.at.name().to_owned()];
        let empty = COLUMNS.len() - before.len() - after.len();
        let row = before.into_iter().chain(std::iter::repeat_n(String::new(), empty)).chain(after);
        Ok(self.out.write_record(row)?)
    }

    fn end(&mut self, _: Moment, _: &Summary) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
