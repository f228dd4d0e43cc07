//! One `finding` object for each, a `looked` object and a `summary` at the end.

use std::io::{self, Write};

use super::{FindingReport, FindingReporter, LookReport};
use crate::output::{Json, Moment, Notice, Sink as _, Summary};

/// Writes JSON lines.
pub struct FindingsJson<W>(Json<W>);

impl<W: Write> FindingsJson<W> {
    /// Writes to `out`, which should be buffered.
    pub const fn new(out: W) -> Self {
        Self(Json::new(out))
    }
}

impl<W: Write> FindingReporter for FindingsJson<W> {
    fn begin(&mut self) -> io::Result<()> {
        self.0.begin()
    }

    fn finding(&mut self, at: Moment, finding: &FindingReport) -> io::Result<()> {
        self.0.other("finding", at, finding)
    }

    fn looked(&mut self, at: Moment, look: &LookReport) -> io::Result<()> {
        self.0.other("looked", at, look)
    }

    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()> {
        self.0.notice(at, notice)
    }

    fn end(&mut self, at: Moment, summary: &Summary) -> io::Result<()> {
        self.0.end(at, summary)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
