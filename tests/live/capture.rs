//! What tcptrace said, read strictly: a line that is not as the JSON contract has it is an error.

use std::{
    fmt::{self, Write as _},
    fs::File,
    io::{BufRead, BufReader},
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

const STATES: &[&str] = &[
    "CLOSE",
    "LISTEN",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "CLOSING",
];

/// A `transition` object.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) ts_ns: u64,
    /// By the wall clock.
    pub(crate) wall: jiff::Timestamp,
    pub(crate) cookie: Option<u64>,
    pub(crate) family: u64,
    pub(crate) protocol: String,
    pub(crate) laddr: Option<IpAddr>,
    pub(crate) lport: Option<u16>,
    pub(crate) raddr: Option<IpAddr>,
    pub(crate) rport: Option<u16>,
    pub(crate) role: Option<String>,
    pub(crate) old: String,
    pub(crate) new: String,
    pub(crate) duration_ns: Option<u64>,
    pub(crate) duration_is: Option<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) comm: Option<String>,
    pub(crate) uid: Option<u64>,
    pub(crate) netns: Option<u64>,
    pub(crate) closed_by: Option<String>,
    pub(crate) end_cause: Option<String>,
    pub(crate) origin: String,
    pub(crate) reset_reason: Option<String>,
    pub(crate) owner_is: Option<String>,
    pub(crate) netns_name: Option<String>,
    pub(crate) cgroup: Option<String>,
    pub(crate) container: Option<String>,
    pub(crate) process_start: Option<f64>,
}

impl Row {
    /// Reads a `transition` object. Every field of the contract must be there, null or not.
    pub(crate) fn read(value: &Value) -> Result<Self> {
        let ts = text(value, "ts")?.context("ts is null")?;
        // RFC 3339 with nanoseconds: 2026-01-31T12:34:56.123456789Z, or an offset for the Z.
        ensure!(ts.len() >= 30 && ts.as_bytes()[10] == b'T' && ts.as_bytes()[19] == b'.', "ts is {ts}");
        value.get("stack").context("no field stack")?;
        for field in ["runtime", "pod", "unit"] {
            text(value, field)?;
        }
        let row = Self {
            ts_ns: number(value, "ts_ns")?.context("ts_ns is null")?,
            cookie: number(value, "cookie")?,
            family: number(value, "family")?.context("family is null")?,
            protocol: text(value, "protocol")?.context("protocol is null")?,
            laddr: parsed(value, "laddr")?,
            lport: port(value, "lport")?,
            raddr: parsed(value, "raddr")?,
            rport: port(value, "rport")?,
            role: text(value, "role")?,
            old: text(value, "old_state")?.context("old_state is null")?,
            new: text(value, "new_state")?.context("new_state is null")?,
            wall: ts.parse()?,
            duration_ns: number(value, "duration_ns")?,
            duration_is: text(value, "duration_is")?,
            pid: number(value, "pid")?.map(u32::try_from).transpose()?,
            comm: text(value, "comm")?,
            uid: number(value, "uid")?,
            netns: number(value, "netns")?,
            closed_by: text(value, "closed_by")?,
            end_cause: text(value, "end_cause")?,
            origin: text(value, "origin")?.context("origin is null")?,
            reset_reason: text(value, "reset_reason")?,
            owner_is: text(value, "owner_is")?,
            netns_name: text(value, "netns_name")?,
            cgroup: text(value, "cgroup")?,
            container: text(value, "container")?,
            process_start: value.get("process_start").context("no field process_start")?.as_f64(),
        };
        ensure!(row.pid.is_some() == row.owner_is.is_some(), "pid and owner_is");
        ensure!(number(value, "tid")?.is_some() == row.pid.is_some(), "pid and tid");
        for state in [&row.old, &row.new] {
            ensure!(STATES.contains(&state.as_str()), "{state} is no state");
        }
        ensure!(matches!(row.family, 4 | 6), "family {}", row.family);
        Ok(row)
    }

    /// Whether a socket with this port listens here, or one with this port is a child of such a listener.
    pub(crate) fn is_server_of(&self, port: u16) -> bool {
        self.lport == Some(port) && !self.is_listener()
    }

    /// Whether this is a client of that port.
    pub(crate) fn is_client_of(&self, port: u16) -> bool {
        self.rport == Some(port)
    }

    /// Whether this is about a listening socket itself. (LISTEN -> SYN_RECV is about the child.)
    pub(crate) fn is_listener(&self) -> bool {
        self.new == "LISTEN" || (self.old == "LISTEN" && self.new != "SYN_RECV")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ts_ns, cookie, laddr, lport, raddr, rport, role, old, new, .. } = self;
        write!(f, "{ts_ns} {cookie:?} {laddr:?} {lport:?} {raddr:?} {rport:?} {role:?} {old} -> {new}")?;
        let Self { duration_ns, duration_is, pid, comm, closed_by, end_cause, origin, .. } = self;
        write!(f, " {duration_ns:?} {duration_is:?} {pid:?} {comm:?} {closed_by:?} {end_cause:?} {origin}")
    }
}

/// Since the last question, a capture had a transition from another state than the one before had led to, without a loss.
static UNREPORTED: AtomicBool = AtomicBool::new(false);

/// Whether the kernel has, since the last question, changed a state without calling the tracepoint (docs/LIMITATIONS.md):
/// rare, and nothing that a test could expect or avoid.
pub(crate) fn were_transitions_unreported() -> bool {
    UNREPORTED.swap(false, Ordering::Relaxed)
}

/// Everything tcptrace said in one run.
pub(crate) struct Capture {
    pub(crate) rows: Vec<Row>,
    /// The sum of `count` of all `lost` objects.
    pub(crate) lost: u64,
    /// The part of it that the ring buffer had no room for.
    pub(crate) lost_objects: usize,
    /// Closed sockets that were held at the end.
    pub(crate) held: Vec<Row>,
    /// What each audit found.
    pub(crate) drifts: Vec<u64>,
    /// SYNs that the kernel answered with cookies.
    pub(crate) cookies: u64,
    pub(crate) summary: Summary,
}

/// The last object.
#[derive(Clone, Debug)]
pub(crate) struct Summary(Value);

impl Summary {
    pub(crate) fn get(&self, field: &str) -> Result<u64> {
        let value = self.0.get(field).and_then(Value::as_u64);
        value.with_context(|| format!("no number {field} in the summary {}", self.0))
    }
}

impl Capture {
    /// Reads the whole output of a run that has ended.
    pub(crate) fn read(output: File) -> Result<Self> {
        let mut rows = Vec::new();
        let (mut lost, mut lost_objects, mut summary) = (0, 0, None);
        let (mut held, mut drifts, mut cookies) = (Vec::new(), Vec::new(), 0);
        for line in BufReader::new(output).lines() {
            let line = line.context("output")?;
            let context = || format!("in the line {line}");
            let value: Value = serde_json::from_str(&line).with_context(context)?;
            ensure!(summary.is_none(), "a line after the summary: {line}");
            ensure!(
                number(&value, "schema_version").with_context(context)? == Some(1),
                "schema_version: {line}"
            );
            match value.get("type").and_then(Value::as_str) {
                Some("transition") => {
                    let row = Row::read(&value).with_context(context)?;
                    ensure!(row.old != row.new, "not a transition: {line}");
                    rows.push(row);
                }
                Some("held") => held.push(Row::read(&value).with_context(context)?),
                Some("audit") => {
                    let drift = number(&value, "drift").with_context(context)?;
                    drifts.push(drift.with_context(context)?);
                }
                Some("syncookies") => {
                    cookies += number(&value, "sent").with_context(context)?.with_context(context)?;
                }
                Some("lost") => {
                    let count = number(&value, "count").with_context(context)?.with_context(context)?;
                    text(&value, "where").with_context(context)?.with_context(context)?;
                    lost += count;
                    lost_objects += 1;
                }
                Some("summary") => summary = Some(Summary(value)),
                _ => bail!("an object of unexpected type: {line}"),
            }
        }
        let summary = summary.context("no summary")?;
        for field in ["events", "lost", "seeded", "opened", "closed"] {
            summary.get(field)?;
        }
        ensure!(summary.0.get("lifecycle").is_some(), "no lifecycle in the summary {}", summary.0);
        ensure!(
            summary.0.get("cpu_s").is_some_and(Value::is_number),
            "no cpu_s in the summary {}",
            summary.0
        );
        if lost == 0 && summary.get("gaps")? > 0 {
            UNREPORTED.store(true, Ordering::Relaxed);
        }
        ensure!(
            summary.get("lost")? == lost,
            "summary says {} lost, the lost objects {lost}",
            summary.get("lost")?
        );
        Ok(Self { rows, lost, lost_objects, held, drifts, cookies, summary })
    }

    /// Keeps the rows that `wanted` wants.
    pub(crate) fn only(mut self, wanted: impl Fn(&Row) -> bool) -> Self {
        self.rows.retain(&wanted);
        self.held.retain(&wanted);
        self
    }

    /// The rows that `wanted` wants.
    pub(crate) fn select(&self, wanted: impl Fn(&Row) -> bool) -> Vec<&Row> {
        self.rows.iter().filter(|row| wanted(row)).collect()
    }
}

/// Rows for people, a line each.
pub(crate) fn table<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let mut text = String::new();
    for row in rows {
        let _ = writeln!(text, "  {row}");
    }
    text
}

fn present<'a>(value: &'a Value, field: &str) -> Result<Option<&'a Value>> {
    let value = value.get(field).with_context(|| format!("no field {field}"))?;
    Ok((!value.is_null()).then_some(value))
}

pub(crate) fn number(value: &Value, field: &str) -> Result<Option<u64>> {
    present(value, field)?.map(|v| v.as_u64().with_context(|| format!("{field} is {v}"))).transpose()
}

pub(crate) fn text(value: &Value, field: &str) -> Result<Option<String>> {
    present(value, field)?
        .map(|v| v.as_str().map(str::to_owned).with_context(|| format!("{field} is {v}")))
        .transpose()
}

pub(crate) fn parsed(value: &Value, field: &str) -> Result<Option<IpAddr>> {
    text(value, field)?.map(|text| text.parse().with_context(|| format!("{field} is {text}"))).transpose()
}

/// A port. Unknown is null, never 0.
pub(crate) fn port(value: &Value, field: &str) -> Result<Option<u16>> {
    let port = number(value, field)?;
    ensure!(port != Some(0), "{field} is 0");
    Ok(port.map(u16::try_from).transpose()?)
}
