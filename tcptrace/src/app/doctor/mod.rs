//! `tcptrace doctor`: what this kernel and these privileges allow, tried out.

mod checks;
mod compare;
mod connection;
mod ladders;
mod self_test;
#[cfg(test)]
mod tests;
mod trials;
mod truth;
mod witness;

use std::{
    io::{self, BufWriter, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result};

use self::trials::Trials;
use super::{FAILURE, complain, terminal};
use crate::{
    cli::{DoctorCommand, DoctorFormat},
    output::doctor::{Check, DoctorReport, SelfTest, write_json, write_text},
    source::{
        clock::{self, WallClock},
        live::{Host, Tracefs},
    },
};

/// Looks, tries, and says what came of it.
pub(super) fn run(command: &DoctorCommand) -> Result<ExitCode> {
    let report = examine(command);
    let mut out = BufWriter::new(io::stdout());
    let written = match command.output {
        DoctorFormat::Text => write_text(&mut out, &report, terminal::wants_color(command.color)),
        DoctorFormat::Json => write_json(&mut out, WallClock::read().unix_ns(clock::now()), &report),
    };
    written.and_then(|()| out.flush()).context("cannot write to standard output")?;
    if report.works {
        return Ok(ExitCode::SUCCESS);
    }
    let first = report.problems.first().map_or("it is not known why", String::as_str);
    complain(&format!("`watch` will not work here: {first}"));
    Ok(ExitCode::from(FAILURE))
}

fn examine(command: &DoctorCommand) -> DoctorReport {
    let host = Host::look();
    let trials = Trials::make(&command.session.settings);
    let self_test = match &trials.asked {
        Ok(working) => self_test::run(&command.session, working),
        Err(_) => SelfTest::not_made("tracing does not begin, see above".to_owned()),
    };
    let mut checks = checks::of(&host, &trials);
    checks.extend(checks::beside());
    checks.extend(take_back_mount(&host));
    report(&host, &trials, checks, self_test)
}

fn report(host: &Host, trials: &Trials, checks: Vec<Check>, self_test: SelfTest) -> DoctorReport {
    let problems = problems(trials, &self_test);
    DoctorReport {
        version: env!("CARGO_PKG_VERSION"),
        kernel: host.release.clone(),
        works: problems.is_empty(),
        problems,
        ladders: ladders::of(host, trials),
        checks,
        self_test,
    }
}

/// Why `watch` will not work.
fn problems(trials: &Trials, self_test: &SelfTest) -> Vec<String> {
    match &trials.asked {
        Err(refusal) => vec![refusal.text.clone()],
        Ok(_) if self_test.is_right() => Vec::new(),
        Ok(_) => {
            let (right, compared) = (self_test.right, self_test.compared);
            let fields = (right < compared).then(|| {
                format!("the self-test: {} of {compared} fields are wrong or missing", compared - right)
            });
            self_test.why_not.iter().map(|why| format!("the self-test: {why}")).chain(fields).collect()
        }
    }
}

/// tracefs that was mounted for the trials, as `watch` does, is not left behind.
fn take_back_mount(before: &Host) -> Option<Check> {
    if before.tracefs != Tracefs::Nowhere {
        return None;
    }
    let Tracefs::At(path) = Tracefs::find() else { return None };
    let error = Tracefs::unmount().err()?;
    Some(checks::left_mounted(&path, &error))
}
