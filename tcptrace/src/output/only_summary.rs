//! No lines, only the summary at the end.

use std::io::{self, Write};

use super::{Beside, Moment, Notice, Sink, Summary};
use crate::model::Observation;

/// Writes the summary and nothing else.
pub struct OnlySummary<W>(W);

impl<W: Write> OnlySummary<W> {
    /// To `out`.
    pub const fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write> Sink for OnlySummary<W> {
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn transition(&mut self, _: Moment, _: &Observation, _: Beside<'_>) -> io::Result<()> {
        Ok(())
    }

    fn wants_names(&self) -> bool {
        false
    }

    fn notice(&mut self, _: Moment, _: &Notice<'_>) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _: Moment, summary: &Summary) -> io::Result<()> {
        writeln!(self.0, "{summary}")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
