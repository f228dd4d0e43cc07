//! `tcptrace leaks`: what is stuck or leaked, who does it, and what to do.

use std::{
    io::{self, BufWriter},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;

use super::{
    session::{self, Ended, Intervals},
    terminal, thresholds,
};
use crate::{
    cli::{LeaksCommand, LeaksFormat},
    output::findings::{
        FindingReporter, Findings, FindingsJson, FindingsOptions, FindingsText, FindingsTextOptions,
        LookoutOptions,
    },
};

/// The condition of `--fail-on` holds.
const FAILED: u8 = 1;

/// How often to look.
const EVERY: Duration = Duration::from_secs(1);

/// Looks until it is told to end.
pub(super) fn run(leaks: &LeaksCommand) -> Result<ExitCode> {
    let lookout = LookoutOptions {
        only: leaks.only.clone(),
        thresholds: thresholds::of(leaks)?,
        with_stacks: leaks.with_stacks,
        needs_owner: leaks.session.settings.filter.asks_for_owners()
            || leaks.session.places.cgroup.is_some()
            || !leaks.session.command.is_empty(),
        condition: leaks.fail_on.clone(),
    };
    let options = FindingsOptions { lookout, is_watch: leaks.is_watch };
    let findings = Findings::new(options, reporter(leaks));
    let has_held = findings.has_held();
    let intervals = Intervals { every: EVERY, count: None };
    let Ended { code, summary } = session::run(&leaks.session, Box::new(findings), Some(intervals))?;
    if let Some(summary) = summary
        && leaks.output != LeaksFormat::Json
    {
        eprintln!("tcptrace: {summary}");
    }
    Ok(if has_held.get() { ExitCode::from(FAILED) } else { code })
}

fn reporter(leaks: &LeaksCommand) -> Box<dyn FindingReporter> {
    let out = BufWriter::new(io::stdout());
    match leaks.output {
        LeaksFormat::Json => Box::new(FindingsJson::new(out)),
        LeaksFormat::Text => Box::new(FindingsText::new(
            out,
            FindingsTextOptions {
                width: terminal::width(),
                color: terminal::wants_color(leaks.color),
                has_times: leaks.is_watch,
            },
        )),
    }
}
