//! What `tcptrace leaks` said, read strictly: a line that is not as the JSON contract has it is an error.

use std::{fmt, net::IpAddr};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    capture::{number, parsed, port, text},
    machine,
};

const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];

/// A process at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Culprit {
    pub(super) pid: u32,
    pub(super) comm: String,
    pub(super) port: u16,
}

/// A `finding` object.
#[derive(Clone)]
pub(super) struct Finding {
    value: Value,
    pub(super) ts: Timestamp,
    pub(super) rule: String,
    pub(super) severity: String,
    pub(super) status: String,
    pub(super) pid: Option<u32>,
    pub(super) comm: Option<String>,
    pub(super) processes: Option<u64>,
    pub(super) cgroup: Option<String>,
    pub(super) netns: Option<u64>,
    pub(super) port: Option<u16>,
    pub(super) role: Option<String>,
    pub(super) peer: Option<IpAddr>,
    pub(super) state: Option<String>,
    pub(super) count: u64,
    pub(super) age_s: Option<f64>,
    pub(super) age_is: Option<String>,
    pub(super) slope: Option<f64>,
    pub(super) culprit: Option<Culprit>,
    /// How many of its sockets each stack has made, and its functions.
    pub(super) stacks: Vec<(u64, Vec<String>)>,
    /// How many.
    pub(super) commands: usize,
}

impl Finding {
    fn read(value: &Value) -> Result<Self> {
        let word = |field: &str| text(value, field)?.with_context(|| format!("{field} is null"));
        let ts = word("ts")?;
        let fraction =
            |field: &str| value.get(field).map(Value::as_f64).with_context(|| format!("no {field}"));
        let finding = Self {
            ts: ts.parse().with_context(|| format!("ts is {ts}"))?,
            rule: word("rule")?,
            severity: word("severity")?,
            status: word("status")?,
            pid: number(value, "pid")?.map(u32::try_from).transpose()?,
            comm: text(value, "comm")?,
            processes: number(value, "processes")?,
            cgroup: text(value, "cgroup")?,
            netns: number(value, "netns")?,
            port: port(value, "port")?,
            role: text(value, "role")?,
            peer: parsed(value, "peer")?,
            state: text(value, "state")?,
            count: number(value, "count")?.context("count is null")?,
            age_s: fraction("age_s")?,
            age_is: text(value, "age_is")?,
            slope: fraction("slope_per_min")?,
            culprit: culprit(value)?,
            stacks: stacks(value)?,
            commands: words(value, "commands")?,
            value: value.clone(),
        };
        ensure!(["low", "medium", "high"].contains(&&*word("confidence")?), "confidence");
        ensure!(SEVERITIES.contains(&&*finding.severity), "severity");
        ensure!(finding.age_s.is_some() == finding.age_is.is_some(), "age_s and age_is");
        ensure!(finding.pid.is_some() == finding.comm.is_some(), "pid and comm");
        ensure!(finding.pid.is_some() == finding.processes.is_some(), "pid and processes");
        ensure!(!word("meaning")?.is_empty() && !word("remedy")?.is_empty(), "no words");
        ensure!(words(value, "evidence")? > 0, "no evidence");
        Ok(finding)
    }

    pub(super) fn is_at_least(&self, severity: &str) -> bool {
        let rank = |of: &str| SEVERITIES.iter().position(|severity| *severity == of);
        rank(&self.severity) >= rank(severity)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.value.clone();
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|name, _| !["schema_version", "meaning", "remedy", "commands"].contains(&&**name));
        }
        value.fmt(f)
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How many words or sentences there are in a list.
fn words(finding: &Value, field: &str) -> Result<usize> {
    let list = finding.get(field).and_then(Value::as_array).with_context(|| format!("no {field}"))?;
    ensure!(list.iter().all(|one| one.as_str().is_some_and(|one| !one.is_empty())), "{field}");
    Ok(list.len())
}

fn culprit(finding: &Value) -> Result<Option<Culprit>> {
    let value = finding.get("culprit").context("no culprit")?;
    if value.is_null() {
        return Ok(None);
    }
    Ok(Some(Culprit {
        pid: u32::try_from(number(value, "pid")?.context("culprit without a pid")?)?,
        comm: text(value, "comm")?.context("culprit without a name")?,
        port: port(value, "port")?.context("culprit without a port")?,
    }))
}

fn stacks(finding: &Value) -> Result<Vec<(u64, Vec<String>)>> {
    let all = finding.get("stacks").and_then(Value::as_array);
    let stack = |stack: &Value| -> Result<(u64, Vec<String>)> {
        let frames = stack.get("frames").and_then(Value::as_array).context("no frames")?;
        let names = frames.iter().map(|frame| frame.as_str().map(str::to_owned).context("a frame"));
        Ok((number(stack, "count")?.context("no count")?, names.collect::<Result<_>>()?))
    };
    all.into_iter().flatten().map(stack).collect()
}

/// Everything that was said in one run.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) findings: Vec<Finding>,
    /// How many sockets were looked at in the end.
    pub(super) sockets: u64,
}

/// Reads a whole output, which ends with the summary.
pub(super) fn read_all(output: &str) -> Result<Said> {
    let mut said = Said::default();
    let mut is_over = false;
    for line in output.lines() {
        ensure!(!is_over, "a line after the summary: {line}");
        let value: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let context = || format!("in the line {line}");
        ensure!(number(&value, "schema_version").with_context(context)? == Some(1), "schema_version: {line}");
        match value.get("type").and_then(Value::as_str) {
            Some("finding") => said.findings.push(Finding::read(&value).with_context(context)?),
            Some("looked") => {
                said.sockets = number(&value, "sockets")?.with_context(context)?;
            }
            Some("summary") => {
                // Where programs are preempted (Linux 7.0), a processor that is emulated and busy with all scenes lets some
                // transitions go unseen, which is counted.
                let most = if machine::is_slow() { number(&value, "events")?.unwrap_or(0) / 100 } else { 0 };
                ensure!(number(&value, "lost")?.is_some_and(|lost| lost <= most), "{line}");
                is_over = true;
            }
            Some("lost" | "audit" | "syncookies") => {}
            _ => bail!("an object of unexpected type: {line}"),
        }
    }
    ensure!(is_over, "no summary in {output}");
    Ok(said)
}
