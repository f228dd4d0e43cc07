//! Comma-separated values, RFC 4180: the columns of the JSON `transition` object, then `count` and `where`, which
//! only rows of other types have. Unknown is an empty cell.

use std::io::{self, Write};

use csv::{Writer, WriterBuilder};

use super::{
    Beside, Moment, Notice, Rfc3339, SCHEMA_VERSION, Sink, Summary, SynCookies, escape::Medium,
    json::TransitionFields,
};
use crate::model::Observation;

const COLUMNS: [&str; 36] = [
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
    "tid",
    "process_start",
    "owner_is",
    "uid",
    "netns",
    "netns_name",
    "cgroup",
    "runtime",
    "container",
    "pod",
    "unit",
    "closed_by",
    "end_cause",
    "origin",
    "reset_reason",
    "stack",
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

impl<W: Write> Csv<W> {
    /// A row that is no transition.
    fn other(&mut self, kind: &str, at: Moment, count: u64, r#where: String) -> io::Result<()> {
        let before = [
            kind.to_owned(),
            SCHEMA_VERSION.to_string(),
            Rfc3339::new(at.unix_ns).as_str().to_owned(),
            at.ktime.0.to_string(),
        ];
        let after = [count.to_string(), r#where];
        let empty = COLUMNS.len() - before.len() - after.len();
        let row = before.into_iter().chain(std::iter::repeat_n(String::new(), empty)).chain(after);
        Ok(self.out.write_record(row)?)
    }
}

impl<W: Write> Sink for Csv<W> {
    fn begin(&mut self) -> io::Result<()> {
        if self.header {
            self.out.write_record(COLUMNS)?;
        }
        Ok(())
    }

    fn transition(&mut self, at: Moment, observed: &Observation, beside: Beside<'_>) -> io::Result<()> {
        let nothing: [Option<u64>; 2] = [None; 2];
        Ok(self.out.serialize((TransitionFields::new(at, observed, beside, Medium::Csv), nothing))?)
    }

    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()> {
        match notice {
            Notice::Lost(lost) => self.other("lost", at, lost.count, lost.at.name().to_owned()),
            Notice::Audit(audit) => {
                self.other("audit", at, audit.drift, format!("{} sockets", audit.sockets))
            }
            Notice::SynCookies(SynCookies { netns, sent, .. }) => {
                self.other("syncookies", at, *sent, format!("netns {netns}"))
            }
            Notice::Held(key, held, owner, names) => {
                let nothing: [Option<u64>; 2] = [None; 2];
                let observed = held.observation(*key, *owner);
                let fields = TransitionFields::held(at, &observed, held, names, Medium::Csv);
                Ok(self.out.serialize((fields, nothing))?)
            }
        }
    }

    fn end(&mut self, _: Moment, _: &Summary) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
