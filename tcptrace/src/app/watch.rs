//! `tcptrace watch`: a line for each transition.

use std::{
    io::{self, BufWriter},
    process::ExitCode,
};

use anyhow::Result;
use jiff::tz::TimeZone;

use super::{
    session::{self, Ended},
    terminal,
};
use crate::{
    cli::{OutputFormat, Watch},
    output::{Csv, Json, OnlySummary, Sink, Text, TextOptions},
};

/// Room for a few hundred lines: one write for a batch under load, one a line when it is quiet.
const OUTPUT_BUFFER: usize = 64 * 1024;

/// Traces until it is told to end.
pub(super) fn run(watch: &Watch) -> Result<ExitCode> {
    let Ended { code, summary } = session::run(&watch.session, format(watch), None)?;
    if let Some(summary) = summary
        && matches!(watch.output, OutputFormat::Text | OutputFormat::Csv)
    {
        eprintln!("tcptrace: {summary}");
    }
    Ok(code)
}

fn format(watch: &Watch) -> Box<dyn Sink> {
    let out = BufWriter::with_capacity(OUTPUT_BUFFER, io::stdout());
    match watch.output {
        OutputFormat::Json => Box::new(Json::new(out)),
        OutputFormat::Csv => Box::new(Csv::new(out, watch.header)),
        OutputFormat::Summary => Box::new(OnlySummary::new(out)),
        OutputFormat::Text => Box::new(Text::new(
            out,
            TextOptions {
                header: watch.header,
                color: terminal::wants_color(watch.color),
                wide: watch.wide,
                wall_clock: watch.wall_clock.then(TimeZone::system),
            },
        )),
    }
}
