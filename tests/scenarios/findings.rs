//! Findings: scenarios in `findings/*.scn`, with what is told at each look, and every format.

use std::{fmt::Write as _, io};

use tcptrace::output::{
    Moment, Notice,
    findings::{
        FindingReport, FindingReporter, Findings, FindingsJson, FindingsOptions, FindingsText,
        FindingsTextOptions, LookReport,
    },
};

use crate::{Result, Shared, check_files, script::read};

/// A line a finding: when, what, whose, how many, how old, how fast, why.
struct Lines(Shared);

impl FindingReporter for Lines {
    fn finding(&mut self, at: Moment, finding: &FindingReport) -> io::Result<()> {
        let number =
            |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |number| format!("{number:.1}"));
        let mut line = String::new();
        let _ = write!(
            line,
            "{} {:?} {} {} ({}) {} pid {} port {} {} peer {} {} count {} age {}{} slope {}",
            at.ktime.0 / 1_000_000_000,
            finding.status,
            finding.severity,
            finding.rule,
            finding.confidence,
            finding.comm.as_deref().unwrap_or("-"),
            finding.pid.map_or(0, std::num::NonZeroU32::get),
            finding.port.map_or(0, std::num::NonZeroU16::get),
            finding.role.unwrap_or("-"),
            finding.peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string()),
            finding.state.unwrap_or("-"),
            finding.count,
            if finding.age_is == Some("at_least") { ">=" } else { "" },
            number(finding.age_s),
            number(finding.slope_per_min),
        );
        if let Some(culprit) = &finding.culprit {
            let _ = write!(line, " culprit {}", culprit.comm.as_deref().unwrap_or("-"));
        }
        let _ = writeln!(line, ": {}", finding.evidence.join("; "));
        io::Write::write_all(&mut self.0, line.as_bytes())
    }

    fn looked(&mut self, _: Moment, look: &LookReport) -> io::Result<()> {
        let line = format!("{} findings, {} sockets\n", look.findings, look.sockets);
        io::Write::write_all(&mut self.0, line.as_bytes())
    }

    fn notice(&mut self, _: Moment, _: &Notice<'_>) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn findings() -> Result<()> {
    check_files("../tests/scenarios/findings", 10, run)
}

fn run(input: &str) -> Result<String> {
    let scenario = read(input)?;
    let out = Shared::default();
    let options = FindingsOptions { is_watch: true, ..FindingsOptions::default() };
    let (_, mut pipeline) =
        scenario.play(|_| Box::new(Findings::new(options, Box::new(Lines(out.clone())))))?;
    pipeline.end(scenario.end(), |summary| summary)?;
    let printed = String::from_utf8(out.0.borrow().clone())?;
    Ok(printed)
}

type MakeReporter = fn(Shared) -> Box<dyn FindingReporter>;

#[test]
fn findings_are_as_reviewed() -> Result<()> {
    let mut script = include_str!("findings/close_wait_rises.scn").to_owned();
    script.truncate(script.find("expect\n").unwrap_or(script.len()));
    // A name that would do something to a terminal.
    let scenario = read(&script.replace("/leaky", "/a\u{1b}[2J"))?;
    let formats: [(&str, MakeReporter); 3] = [
        ("findings_text", |out| {
            let options = FindingsTextOptions { width: 80, color: false, has_times: false };
            Box::new(FindingsText::new(out, options))
        }),
        ("findings_text_wide", |out| {
            let options = FindingsTextOptions { width: 200, color: true, has_times: true };
            Box::new(FindingsText::new(out, options))
        }),
        ("findings_json", |out| Box::new(FindingsJson::new(out))),
    ];
    for (name, make) in formats {
        let out = Shared::default();
        let findings = Findings::new(FindingsOptions::default(), make(out.clone()));
        let (_, mut pipeline) = scenario.play(move |_| Box::new(findings))?;
        pipeline.end(scenario.end(), |summary| summary)?;
        let printed = String::from_utf8(out.0.borrow().clone())?;
        insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, printed);
        });
        assert!(!printed.contains("\u{1b}[2J"), "{name}");
    }
    Ok(())
}

#[test]
fn facts_that_are_overdue_at_the_end_are_said_to_be() -> Result<()> {
    let said = |end: &str| -> Result<String> {
        let scenario = read(&format!("events\nstarted 1.0\nexpect-seed\nseed\nfacts 1.5\nlook {end}\n"))?;
        let out = Shared::default();
        let reporter = Box::new(FindingsJson::new(out.clone()));
        let findings = Findings::new(FindingsOptions::default(), reporter);
        let (_, mut pipeline) = scenario.play(move |_| Box::new(findings))?;
        pipeline.end(scenario.end(), |summary| summary)?;
        Ok(String::from_utf8(out.0.borrow().clone())?)
    };
    assert!(!said("11.4")?.contains("in the last"));
    let late = said("22.6")?;
    assert!(late.contains("descriptors) in the last 21 s: they take long to read"), "{late}");
    Ok(())
}
