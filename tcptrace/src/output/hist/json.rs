//! One `histogram` object a key, with the fields of [`Group`], and a `summary` at the end.

use std::io::{self, Write};

use serde::Serialize;

use super::{Report, Reporter, report::Group};
use crate::output::{Json, Moment, Notice, Sink as _, Summary};

/// Writes JSON lines.
pub struct HistJson<W>(Json<W>);

impl<W: Write> HistJson<W> {
    /// Writes to `out`, which should be buffered.
    pub const fn new(out: W) -> Self {
        Self(Json::new(out))
    }
}

#[derive(Serialize)]
struct Fields<'a> {
    /// `interval` or `total`.
    span: &'static str,
    seconds: f64,
    by: &'static str,
    #[serde(flatten)]
    group: &'a Group,
}

impl<W: Write> Reporter for HistJson<W> {
    fn begin(&mut self) -> io::Result<()> {
        self.0.begin()
    }

    fn report(&mut self, at: Moment, report: &Report) -> io::Result<()> {
        let span = if report.is_total { "total" } else { "interval" };
        for group in &report.groups {
            let fields = Fields { span, seconds: report.seconds, by: report.by.name(), group };
            self.0.other("histogram", at, fields)?;
        }
        Ok(())
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
