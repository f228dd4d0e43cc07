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
//! | `duration_ns`, `duration_is` | time spent in `old_state`; `"exact"`, `"at_least"`, `"jiffy"`; both null when unknown |
//! | `pid`, `tid`, `comm`, `process_start` | the owner: process, thread that made the call, its name, start of the process in seconds of `CLOCK_BOOTTIME` (field 22 of /proc/PID/stat, divided by 100); null when unknown |
//! | `owner_is` | `"caller"`: it made a system call of the socket's own; `"listener"`: nobody has accepted the connection yet, as far as we know, and this is its listener's owner; `"holder"`: found holding a descriptor; null when unknown |
//! | `uid` | of the socket (`sk_uid`); null when unknown |
//! | `netns`, `netns_name` | inode of the network namespace, its name where it has one |
//! | `cgroup` | path of the owner's cgroup; null when unknown |
//! | `runtime`, `container`, `pod`, `unit` | what the path tells: `"docker"`, `"containerd"`, `"cri-o"`, `"podman"` or `"lxc"`, the container's id, the pod's uid, the systemd unit; null when it tells nothing |
//! | `closed_by` | `"local"`, `"remote"` or null |
//! | `end_cause` | on `-> CLOSE`: why; null otherwise, and for a listener |
//! | `origin` | `"observed"`, `"seeded"` or `"inferred"` |
//! | `stack` | with `--stacks`: the user stack of the last connect, listen, accept or close, innermost first: `addr`, `symbol`, `offset` (in the symbol, else in the module), `module`, `file`, `line`, `inlined`; null when unknown |
//! | `reset_reason` | why we reset it, in the kernel's words; null otherwise, and where the kernel does not say |
//!
//! The others have `ts` and `ts_ns`, too. `lost`: `count`, `where`. `audit`: `sockets`, `drift`. `syncookies`: `netns`,
//! `sent`, `received`, `failed`. `held`: the fields of a `transition`, as if from
//! CLOSE to CLOSE; `duration_ns` is its age, `duration_is` null when it may have been let go unseen. `summary`, the last: the
//! fields of [`Summary`].

use std::{
    borrow::Cow,
    io::{self, Write},
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32, NonZeroU64},
};

use serde::{Serialize, Serializer};

use super::{
    Audit, Beside, Moment, Names, Notice, Rfc3339, SCHEMA_VERSION, Sink, Summary, SynCookies,
    escape::{self, Medium},
};
use crate::model::{Connection, Dwell, Frame, Held, Observation};

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

    /// Writes an object that is no transition.
    pub(super) fn other<T: Serialize>(&mut self, kind: &'static str, at: Moment, rest: T) -> io::Result<()> {
        let (ts, ts_ns) = (Rfc3339::new(at.unix_ns), at.ktime.0);
        self.object(&NoticeFields { kind, schema_version: SCHEMA_VERSION, ts, ts_ns, rest })
    }
}

/// A `transition` object, in the order of the contract. CSV has the same columns.
#[derive(Serialize)]
pub(super) struct TransitionFields<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema_version: u32,
    ts: Rfc3339,
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
    tid: Option<NonZeroU32>,
    process_start: Option<Hundredths>,
    owner_is: Option<&'static str>,
    uid: Option<u32>,
    netns: Option<NonZeroU32>,
    netns_name: Option<Cow<'a, str>>,
    cgroup: Option<Cow<'a, str>>,
    runtime: Option<&'static str>,
    container: Option<Cow<'a, str>>,
    pod: Option<Cow<'a, str>>,
    unit: Option<Cow<'a, str>>,
    closed_by: Option<&'static str>,
    end_cause: Option<&'static str>,
    origin: &'static str,
    reset_reason: Option<String>,
    stack: StackField<'a>,
}

impl<'a> TransitionFields<'a> {
    pub(super) fn new(at: Moment, observed: &'a Observation, beside: Beside<'a>, medium: Medium) -> Self {
        let names = beside.names;
        let Observation { transition, connection, dwell, owner, reset_reason, .. } = observed;
        let Connection { local, remote, role, netns, closed_by, end_cause, origin, .. } = connection;
        let cgroup = names.cgroup.as_deref();
        let workload = cgroup.map(|cgroup| &cgroup.workload);
        let container = workload.and_then(|workload| workload.container.as_ref());
        Self {
            kind: "transition",
            schema_version: SCHEMA_VERSION,
            ts: Rfc3339::new(at.unix_ns),
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
            pid: owner.map(|owner| owner.task.pid),
            comm: owner.as_ref().map(|owner| medium.comm(&owner.task.comm)),
            tid: owner.map(|owner| owner.task.tid),
            process_start: owner.and_then(|owner| owner.task.started).map(|start| Hundredths(start.ticks())),
            owner_is: owner.map(|owner| owner.is.name()),
            uid: connection.uid(),
            netns: *netns,
            netns_name: names.netns.as_ref().map(|name| medium.text(&name.text)),
            cgroup: cgroup.map(|cgroup| medium.text(&cgroup.path)),
            runtime: container.and_then(|container| container.runtime).map(crate::model::Runtime::name),
            container: container.map(|container| medium.text(&container.id)),
            pod: workload.and_then(|workload| workload.pod.as_deref()).map(|pod| medium.text(pod)),
            unit: workload.and_then(|workload| workload.unit.as_deref()).map(|unit| medium.text(unit)),
            closed_by: closed_by.map(crate::model::ClosedBy::name),
            end_cause: end_cause.map(crate::model::EndCause::name),
            origin: origin.name(),
            reset_reason: reset_reason.map(|reason| reason.name().to_ascii_lowercase()),
            stack: StackField { frames: beside.stack, medium },
        }
    }

    /// A closed socket that is held, as a stay in CLOSE that goes on: `observed` is what [`Held::observation`] makes of it.
    pub(super) fn held(
        at: Moment,
        observed: &'a Observation,
        held: &Held,
        names: &'a Names,
        medium: Medium,
    ) -> Self {
        Self {
            kind: "held",
            ts_ns: at.ktime.0,
            duration_ns: at.ktime.since(held.since),
            // A record that was lost may have been its end.
            duration_is: (!held.is_doubtful).then_some("exact"),
            ..Self::new(at, observed, Beside { names, stack: None, is_new_stack: false }, medium)
        }
    }
}

/// A stack: a list of frames, or, where a cell has no lists, one string.
pub(super) struct StackField<'a> {
    frames: Option<&'a [Frame]>,
    medium: Medium,
}

#[derive(Serialize)]
struct FrameFields<'a> {
    addr: u64,
    symbol: Option<&'a str>,
    offset: Option<u64>,
    module: Option<&'a str>,
    file: Option<&'a str>,
    line: Option<u32>,
    inlined: bool,
}

impl Serialize for StackField<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(frames) = self.frames else { return serializer.serialize_none() };
        match self.medium {
            Medium::Json => serializer.collect_seq(frames.iter().map(|frame| FrameFields {
                addr: frame.addr,
                symbol: frame.symbol.as_deref(),
                offset: frame.offset,
                module: frame.module.as_deref(),
                file: frame.file.as_deref(),
                line: frame.line,
                inlined: frame.inlined,
            })),
            Medium::Csv => {
                let frames: Vec<String> = frames.iter().map(escape::frame).collect();
                serializer.serialize_str(&frames.join("; "))
            }
        }
    }
}

/// A number with two decimals.
pub(super) struct Hundredths(u64);

impl Serialize for Hundredths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[expect(clippy::cast_precision_loss, reason = "2^52 hundredths are a million years")]
        serializer.serialize_f64(self.0 as f64 / 100.0)
    }
}

/// What every object that is no transition begins with.
#[derive(Serialize)]
struct NoticeFields<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema_version: u32,
    ts: Rfc3339,
    ts_ns: u64,
    #[serde(flatten)]
    rest: T,
}

#[derive(Serialize)]
struct LostFields {
    count: u64,
    r#where: &'static str,
}

#[derive(Serialize)]
struct AuditFields {
    sockets: u64,
    drift: u64,
}

#[derive(Serialize)]
struct SynCookiesFields {
    netns: NonZeroU32,
    sent: u64,
    received: u64,
    failed: u64,
}

impl<W: Write> Sink for Json<W> {
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn transition(&mut self, at: Moment, observed: &Observation, beside: Beside<'_>) -> io::Result<()> {
        self.object(&TransitionFields::new(at, observed, beside, Medium::Json))
    }

    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()> {
        match notice {
            Notice::Lost(lost) => {
                self.other("lost", at, LostFields { count: lost.count, r#where: lost.at.name() })
            }
            Notice::Audit(Audit { sockets, drift }) => {
                self.other("audit", at, AuditFields { sockets: *sockets, drift: *drift })
            }
            Notice::SynCookies(SynCookies { netns, sent, received, failed }) => {
                let fields =
                    SynCookiesFields { netns: *netns, sent: *sent, received: *received, failed: *failed };
                self.other("syncookies", at, fields)
            }
            Notice::Held(key, held, owner, names) => {
                let observed = held.observation(*key, *owner);
                self.object(&TransitionFields::held(at, &observed, held, names, Medium::Json))
            }
        }
    }

    fn end(&mut self, at: Moment, summary: &Summary) -> io::Result<()> {
        self.other("summary", at, summary)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
