//! `tcptrace snapshot`: one look at all sockets, without BPF.

use std::{
    io::{self, BufWriter, Write as _},
    path::Path,
    process::ExitCode,
    sync::mpsc::sync_channel,
};

use anyhow::{Context as _, Result, bail};
use rustc_hash::FxHashMap;
use rustix::process::geteuid;

use super::{earlier, selection};
use crate::{
    cli::{SnapshotCommand, SnapshotFormat},
    model::{
        Candidate, Filter, Owner, OwnerIs, SampledKind, TcpState,
        snapshot::{Key, Seen, Snapshot},
    },
    output::{
        escape,
        snapshot::{
            Comparison, SnapshotReport, write_comparison, write_csv, write_json, write_json_comparison,
            write_text,
        },
    },
    source::{
        cgroups::Cgroups,
        clock::{self, WallClock},
        diag::{DiagReply, DiagRequest, DiagSocket, DiagWorker, Scope, StateMask},
    },
};

const UNWRITABLE: &str = "cannot write to standard output";

/// Looks, and says what it saw.
pub(super) fn run(command: &SnapshotCommand) -> Result<ExitCode> {
    let before = command.compare.as_deref().map(|path| read_earlier(path, command)).transpose()?;
    let mut cgroups = Cgroups::new();
    let (filter, _) = selection::resolve(command.filter.clone(), &command.places, &mut cgroups)?;
    let reply = look(&filter)?;
    let ended = clock::now();
    let mut seen: Vec<Seen> = Vec::with_capacity(reply.sockets.len());
    for socket in &reply.sockets {
        let as_seen = self::seen(socket, &reply);
        if is_wanted(&filter, socket, &as_seen, &mut cgroups) {
            seen.push(as_seen);
        }
    }
    let snapshot = Snapshot::new(command.by, &seen);
    let named = snapshot.groups.iter().take(command.shown).filter_map(|(key, _)| {
        let Key::Cgroup(Some(id)) = key else { return None };
        Some((*key, cgroups.name(*id, None)?.path.clone()))
    });
    let names: FxHashMap<Key, String> = named.collect();
    let report = SnapshotReport {
        #[expect(clippy::cast_precision_loss, reason = "2^52 ns are 52 days")]
        took_s: ended.since(reply.started).unwrap_or(0) as f64 / 1e9,
        namespaces: reply.namespaces.len() as u64,
        missing: missing(&reply),
        ..SnapshotReport::new(&snapshot, &names, command.shown)
    };
    let mut out = BufWriter::new(io::stdout());
    let compared = before.as_ref().map(|before| Comparison::new(&report, before));
    let unix_ns = WallClock::read().unix_ns(ended);
    let written = match (&compared, command.output) {
        (Some(compared), SnapshotFormat::Json) => write_json_comparison(&mut out, unix_ns, compared),
        (Some(compared), _) => write_comparison(&mut out, compared),
        (None, SnapshotFormat::Text) => write_text(&mut out, &report),
        (None, SnapshotFormat::Json) => write_json(&mut out, unix_ns, &report),
        (None, SnapshotFormat::Csv) => write_csv(&mut out, &report, command.header),
    };
    written.and_then(|()| out.flush()).context(UNWRITABLE)?;
    if command.output != SnapshotFormat::Text || before.is_some() {
        for missing in &report.missing {
            eprintln!("tcptrace: not seen: {}", escape::text(missing));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether it is asked for. What cannot be decided is.
fn is_wanted(filter: &Filter, socket: &DiagSocket, seen: &Seen, cgroups: &mut Cgroups) -> bool {
    let owner = seen.owner.map(|task| Owner { task, is: OwnerIs::Holder });
    let cgroup = filter.cgroup.is_some().then(|| seen.cgroup.and_then(|id| cgroups.name(id, None))).flatten();
    socket.sampled().is_none_or(|sampled| filter.may_want(&Candidate::sampled(&sampled)))
        && filter.states.is_none_or(|states| states.contains(seen.state))
        && filter.keeps_owner(owner.as_ref(), cgroup.as_deref())
}

/// All sockets of the network namespaces that are asked for and that we may enter.
fn look(filter: &Filter) -> Result<DiagReply> {
    let (sender, replies) = sync_channel(1);
    let worker = DiagWorker::start(Box::new(move |reply| drop(sender.send(reply))))?;
    worker.request(DiagRequest {
        tag: 0,
        states: StateMask::ALL,
        with_times: true,
        with_counters: false,
        with_settings: false,
        with_holders: true,
        scope: filter.netns.clone().map_or(Scope::All, Scope::Only),
        lookups: Vec::new(),
    })?;
    let mut reply = replies.recv().context("the thread that reads sockets has ended")?;
    // Not a single namespace: there is nothing to show.
    if reply.namespaces.is_empty() && !reply.errors.is_empty() {
        return Err(reply.errors.swap_remove(0).error.into());
    }
    Ok(reply)
}

fn seen(socket: &DiagSocket, reply: &DiagReply) -> Seen {
    let holders = socket.inode.and_then(|inode| reply.holders.of.get(&inode));
    let sampled = socket.sampled();
    let entered = sampled.as_ref().and_then(|sampled| sampled.entered);
    let idle_ms = socket.times.map(|times| times.last_data_sent_ms.min(times.last_data_recv_ms));
    Seen {
        netns: socket.at.netns,
        local: socket.local,
        remote: socket.remote,
        state: socket.state,
        kind: sampled.map_or(SampledKind::Full, |sampled| sampled.kind),
        age_ns: (socket.state == TcpState::TimeWait)
            .then(|| entered.and_then(|entered| socket.at.not_after.since(entered)))
            .flatten(),
        idle_ns: idle_ms.map(|ms| u64::from(ms) * 1_000_000),
        rqueue: socket.rqueue,
        wqueue: socket.wqueue,
        owner: holders.and_then(|holders| holders.first().copied()),
        is_unheld: holders.is_none() && (socket.inode.is_none() || reply.holders.is_complete()),
        cgroup: socket.cgroup,
    }
}

/// What there was to see and was not seen.
fn missing(reply: &DiagReply) -> Vec<String> {
    let mut missing = Vec::new();
    // `__ptrace_may_access`: of other users, or with capabilities that we do not have.
    let why = if geteuid().is_root() {
        "with more capabilities than this one"
    } else {
        "of other users (run it with sudo)"
    };
    let processes =
        |count: u64| if count == 1 { "a process".to_owned() } else { format!("{count} processes") };
    if reply.hidden_processes > 0 {
        missing.push(format!("the network namespaces of {} {why}", processes(reply.hidden_processes)));
    }
    if reply.holders.hidden_processes > 0 {
        missing.push(format!("the descriptors of {} {why}", processes(reply.holders.hidden_processes)));
    }
    missing.extend(
        reply.holders.failure.iter().map(|error| format!("the descriptors of all processes: {error}")),
    );
    if reply.malformed > 0 {
        missing.push(format!("{} sockets that the kernel reported in a way we do not know", reply.malformed));
    }
    missing.extend(reply.errors.iter().map(|error| error.error.to_string()));
    missing
}

/// What another run has written.
fn read_earlier(path: &Path, command: &SnapshotCommand) -> Result<SnapshotReport> {
    if command.output == SnapshotFormat::Csv {
        bail!("--compare is for -o text and -o json");
    }
    let text = earlier::read(path).context("--compare")?;
    SnapshotReport::read(&text, command.by).with_context(|| format!("--compare {}", path.display()))
}
