//! `tcptrace snapshot`: one look, in every format.

mod compare;
mod csv;
mod text;

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

pub use self::{
    compare::{Comparison, write_comparison, write_json_comparison},
    csv::write_csv,
    text::write_text,
};
use super::{
    Rfc3339, SCHEMA_VERSION,
    compared::{CompareError, MOST_KEYS},
    escape,
};
use crate::model::{
    TcpState,
    snapshot::{By, Counts, Key, Snapshot},
};

/// What there is to say of one look.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotReport {
    /// By what it is counted.
    pub by: String,
    /// How long the look took.
    pub took_s: f64,
    /// Network namespaces that were read.
    pub namespaces: u64,
    /// What could not be seen, in words.
    pub missing: Vec<String>,
    /// All sockets together.
    pub all: Group,
    /// By key, the most numerous first.
    pub groups: Vec<Group>,
    /// Keys that are not shown.
    pub other_keys: u64,
}

/// Sockets that are counted together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// What it is called; `None` is what is not known, or stands for all.
    pub key: Option<String>,
    /// How many sockets.
    pub total: u64,
    /// How many in each state, those without any included. null: the kernel lists none that are closed.
    pub states: BTreeMap<String, Option<u64>>,
    /// The longest time that one is in TIME_WAIT, to a tick of the kernel's timer.
    pub oldest_time_wait_ns: Option<u64>,
    /// The longest time that one has neither sent nor received data, to 4 ms or so.
    pub longest_idle_ns: Option<u64>,
    /// Bytes that have come and were not read.
    pub unread_bytes: u64,
    /// Bytes that the peer has not acknowledged, or that were not yet sent.
    pub unsent_bytes: u64,
    /// Connections that wait to be accepted, of the listener whose queue is fullest.
    pub accept_queue: Option<u32>,
    /// The limit of that queue.
    pub accept_queue_limit: Option<u32>,
    /// The names of processes that hold them, three at most.
    pub processes: Vec<String>,
    /// Sockets that no process has a descriptor of.
    pub unheld: u64,
    /// Sockets that a process may have a descriptor of that could not be looked at.
    pub holder_unknown: u64,
}

impl Group {
    /// From counts; `key` is what they are called.
    pub fn new(key: Option<String>, counts: &Counts) -> Self {
        let count = |state: TcpState| (state != TcpState::Close).then(|| counts.of(state));
        Self {
            key,
            total: counts.total(),
            states: TcpState::ALL.map(|state| (state.name().to_owned(), count(state))).into(),
            oldest_time_wait_ns: counts.oldest_time_wait_ns,
            longest_idle_ns: counts.longest_idle_ns,
            unread_bytes: counts.unread,
            unsent_bytes: counts.unsent,
            accept_queue: counts.accept_queue.map(|(length, _)| length),
            accept_queue_limit: counts.accept_queue.map(|(_, limit)| limit),
            processes: counts.owners.iter().map(|comm| escape::comm_json(comm).into_owned()).collect(),
            unheld: counts.unheld,
            holder_unknown: counts.holder_unknown,
        }
    }

    fn count(&self, state: TcpState) -> Option<u64> {
        self.states.get(state.name()).copied().flatten()
    }
}

impl SnapshotReport {
    /// Reads JSON lines; the last look counts.
    ///
    /// # Errors
    ///
    /// It is not a look, or not by this key.
    pub fn read(text: &str, by: By) -> Result<Self, CompareError> {
        const COMMAND: &str = "snapshot";
        let line = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).last();
        let (i, line) = line.ok_or(CompareError::Nothing { command: COMMAND })?;
        let report: Self =
            serde_json::from_str(line).map_err(|error| CompareError::line(COMMAND, i + 1, &error))?;
        if report.by != by.name() {
            return Err(CompareError::by(&report.by));
        }
        if report.groups.len() > MOST_KEYS {
            return Err(CompareError::TooMany);
        }
        Ok(report)
    }

    /// Of a look; cgroups are called by these names.
    pub fn new(snapshot: &Snapshot, cgroups: &FxHashMap<Key, String>, shown: usize) -> Self {
        let named = |key: &Key| match key {
            Key::State(state) => Some(state.name().to_owned()),
            Key::Port(port) => port.map(|port| port.to_string()),
            Key::Process(comm) => comm.map(|comm| escape::comm_json(&comm).into_owned()),
            Key::Peer(addr) => addr.map(|addr| addr.to_string()),
            Key::Cgroup(id) => {
                id.map(|id| cgroups.get(key).cloned().unwrap_or_else(|| format!("cgroup {id}")))
            }
        };
        let groups = snapshot.groups.iter().take(shown);
        Self {
            by: snapshot.by.name().to_owned(),
            took_s: 0.0,
            namespaces: 0,
            missing: Vec::new(),
            all: Group::new(None, &snapshot.all),
            groups: groups.map(|(key, counts)| Group::new(named(key), counts)).collect(),
            other_keys: snapshot.groups.len().saturating_sub(shown) as u64,
        }
    }
}

/// One JSON object, of type `snapshot`.
///
/// # Errors
///
/// The output cannot be written.
pub fn write_json(out: &mut impl Write, unix_ns: i128, report: &SnapshotReport) -> io::Result<()> {
    write_object(out, "snapshot", unix_ns, report)
}

fn write_object<T: Serialize>(
    out: &mut impl Write,
    kind: &'static str,
    unix_ns: i128,
    inner: &T,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Fields<'a, T> {
        r#type: &'static str,
        schema_version: u32,
        ts: Rfc3339,
        #[serde(flatten)]
        inner: &'a T,
    }
    let fields = Fields { r#type: kind, schema_version: SCHEMA_VERSION, ts: Rfc3339::new(unix_ns), inner };
    fields.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, escape::SafeJson))?;
    out.write_all(b"\n")
}
