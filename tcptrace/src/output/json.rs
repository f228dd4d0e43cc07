//! One JSON object a line.
//!
//! `transition`, one for each change of state:
//!
//! | field | meaning |
//! | --- | --- |
//! | `type`, `schema_version` | `"transition"`, 1 |
//! | `ts`, `ts_ns` | wall clock, RFC 3339 with nanoseconds; `CLOCK_MONOTONIC` in ns |
//! | `cookie` | the kernel's socket cookie, null where the hook has none |
//! | `family`, `protocol` | 4 or 6; `"tcp"` or `"mptcp"` |
//! | `laddr`, `lport`, `raddr`, `rport` | v4-mapped addresses are printed as v4; null when unknown |
//! | `role` | `"client"`, `"server"` or null |
//! | `old_state`, `new_state` | the kernel's spelling |
//! | `duration_ns`, `duration_is` | time spent in `old_state`; `"exact"`, `"at_least"`; both null when unknown |
//! | `pid`, `comm`, `uid`, `netns`, `cgroup` | the owner's, null when unknown |
//! | `closed_by` | `"local"`, `"remote"` or null |
//! | `end_cause` | on `-> CLOSE`: why; null otherwise, and for a listener |
//! | `origin` | `"observed"` or `"inferred"` |
//!
//! `lost`: `ts`, `ts_ns`, `count`, `where`. `summary`, the last: the fields of [`Summary`].

use std::{
    borrow::Cow,
    io::{self, Write},
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32, NonZeroU64},
};

use serde::Serialize;

use super::{LineFormat, Moment, SCHEMA_VERSION, Summary, escape, rfc3339};
use crate::model::{Connection, Dwell, Lost, Observation};

/// Writes JSON lines.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
}

impl<W: Write> Json<W> {
    /// Writes to `out`, which should be buffered.
    pub const fn new(out: W) -> Self {
        Self { out }
    }

    fn object(&mut self, object: &impl Serialize) -> io::Result<()> {
        object.serialize(&mut serde_json::Serializer::with_formatter(&mut self.out, escape::SafeJson))?;
        self.out.write_all(b"\n")
    }
}

/// A `transition` object, in the order of the contract. CSV has the same columns.
#[derive(Serialize)]
pub(super) struct TransitionFields<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema_version: u32,
    ts: String,
    ts_ns: u64,
    cookie: Option<NonZeroU64>,
    family: u8,
    protocol: &'static str,
    laddr: Option<IpAddr>,
    lport: Option<NonZeroU16>,
    raddr: Option<IpAddr>,
    rport: Option<NonZeroU16>,
    role: Option<&'static str>,
    old_state: &'static str,
    new_state: &'static str,
    duration_ns: Option<u64>,
    duration_is: Option<&'static str>,
    pid: Option<NonZeroU32>,
    comm: Option<Cow<'a, str>>,
    uid: Option<u32>,
    netns: Option<NonZeroU32>,
    cgroup: Option<&'a str>,
    closed_by: Option<&'static str>,
    end_cause: Option<&'static str>,
    origin: &'static str,
}

impl<'a> TransitionFields<'a> {
    /// `escape` makes the owner's name fit for the format.
    pub(super) fn new(
        at: Moment,
        observed: &'a Observation,
        escape: impl Fn(&'a crate::model::Comm) -> Cow<'a, str>,
    ) -> Self {
        let Observation { transition, connection, dwell } = observed;
        let Connection { local, remote, role, owner, netns, closed_by, end_cause, origin, .. } = connection;
        Self {
            kind: "transition",
            schema_version: SCHEMA_VERSION,
            ts: rfc3339(at.unix_ns),
            ts_ns: transition.ts.0,
            cookie: transition.key.cookie(),
            family: connection.family.number(),
            protocol: if connection.mptcp { "mptcp" } else { "tcp" },
            laddr: local.addr,
            lport: local.port,
            raddr: remote.addr,
            rport: remote.port,
            role: role.map(crate::model::Role::name),
            old_state: transition.old.name(),
            new_state: transition.new.name(),
            duration_ns: dwell.map(Dwell::ns),
            duration_is: dwell.map(Dwell::kind),
            pid: owner.map(|owner| owner.pid),
            comm: owner.as_ref().map(|owner| escape(&owner.comm)),
            uid: connection.uid(),
            netns: *netns,
            cgroup: None,
            closed_by: closed_by.map(crate::model::ClosedBy::name),
            end_cause: end_cause.map(crate::model::EndCause::name),
            origin: origin.name(),
        }
    }
}

#[derive(Serialize)]
struct LostFields {
    #[serde(rename = "type")]
    kind: &'static str,
    schema_version: u32,
    ts: String,
    ts_ns: u64,
    count: u64,
    r#where: &'static str,
}

#[derive(Serialize)]
struct SummaryFields<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema_version: u32,
    ts: String,
    ts_ns: u64,
    #[serde(flatten)]
    summary: &'a Summary,
}

impl<W: Write> LineFormat for Json<W> {
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn transition(&mut self, at: Moment, observed: &Observation) -> io::Result<()> {
        self.object(&TransitionFields::new(at, observed, escape::comm_json))
    }

    fn lost(&mut self, at: Moment, lost: &Lost) -> io::Result<()> {
        self.object(&LostFields {
            kind: "lost",
            schema_version: SCHEMA_VERSION,
            ts: rfc3339(at.unix_ns),
            ts_ns: at.ktime.0,
            count: lost.count,
            r#where: lost.at.name(),
        })
    }

    fn end(&mut self, at: Moment, summary: &Summary) -> io::Result<()> {
        self.object(&SummaryFields {
            kind: "summary",
            schema_version: SCHEMA_VERSION,
            ts: rfc3339(at.unix_ns),
            ts_ns: at.ktime.0,
            summary,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
