//! `tcptrace hist`: where connections spend their time.

use std::{
    io::{self, BufWriter},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};

use super::{
    earlier,
    session::{self, Ended, Intervals},
    terminal,
};
use crate::{
    cli::{self, HistCommand, HistFormat},
    output::diagram::{DiagramFormat, DiagramReporter},
    output::hist::{
        CompareJson, CompareText, Earlier, Hist, HistCsv, HistJson, HistOptions, HistText, HistTextOptions,
        Reporter,
    },
};

/// Traces until it is told to end.
pub(super) fn run(hist: &HistCommand) -> Result<ExitCode> {
    let options = HistOptions {
        by: hist.by,
        shown: hist.shown,
        states: hist.states,
        has_intervals: hist.interval.is_some(),
    };
    let intervals = hist.interval.map(|every| Intervals { every, count: hist.count });
    let sink = Box::new(Hist::new(options, reporter(hist)?));
    let Ended { code, summary } = session::run(&hist.session, sink, intervals)?;
    if let Some(summary) = summary
        && hist.output != HistFormat::Json
    {
        eprintln!("tcptrace: {summary}");
    }
    Ok(code)
}

fn reporter(hist: &HistCommand) -> Result<Box<dyn Reporter>> {
    let out = BufWriter::new(io::stdout());
    if let Some(format) = hist.diagram {
        let format = match format {
            cli::DiagramFormat::Text => DiagramFormat::Text,
            cli::DiagramFormat::Svg => DiagramFormat::Svg,
            cli::DiagramFormat::Dot => DiagramFormat::Dot,
        };
        return Ok(Box::new(DiagramReporter::new(out, format)));
    }
    if let Some(path) = &hist.compare {
        let text = earlier::read(path).context("--compare")?;
        let earlier =
            Earlier::read(&text, hist.by).with_context(|| format!("--compare {}", path.display()))?;
        return match hist.output {
            HistFormat::Text => Ok(Box::new(CompareText::new(out, earlier))),
            HistFormat::Json => Ok(Box::new(CompareJson::new(out, earlier))),
            HistFormat::Csv => bail!("--compare is for -o text and -o json"),
        };
    }
    Ok(match hist.output {
        HistFormat::Json => Box::new(HistJson::new(out)),
        HistFormat::Csv => Box::new(HistCsv::new(out, hist.header)),
        HistFormat::Text => Box::new(HistText::new(
            out,
            HistTextOptions { width: terminal::width(), color: terminal::wants_color(hist.color) },
        )),
    })
}
