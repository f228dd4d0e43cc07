//! What tracers use in user space when both processors make connections as fast as they can, and what they lose.

use anyhow::{Context as _, Result};

use super::{
    contender::{Contender, Ended, Sink},
    kit::{Kit, Load},
    peers::{self, Peer},
    progress,
    sample::{Samples, float},
    table::{Row, Section, Target},
};

/// Threads of the load, each on both ends of its connections.
const THREADS: u64 = 2;

/// One of those that are measured.
struct Entry {
    contender: Contender,
    name: &'static str,
    what: &'static str,
    /// Seconds of processor time for a million changes of state.
    cpu: Samples,
    /// MiB.
    peak: Samples,
    lost: Samples,
    /// Thousands of changes of state a second.
    rate: Samples,
}

impl Entry {
    fn new(contender: Contender, name: &'static str, what: &'static str) -> Self {
        let [cpu, peak, lost, rate] = std::array::from_fn(|_| Samples::default());
        Self { contender, name, what, cpu, peak, lost, rate }
    }
}

/// Measures them all, one after the other in each round.
pub(crate) fn measure(kit: &Kit) -> Result<Section> {
    let connections = kit.size(100_000, 10_000);
    let mut entries = [
        Entry::new(Contender::Watch(&["-o", "json"]), "json", "tcptrace watch -o json"),
        Entry::new(Contender::DEFAULT_WATCH, "text", "tcptrace watch -o text"),
        Entry::new(Contender::Watch(&["-o", "csv"]), "csv", "tcptrace watch -o csv"),
        Entry::new(Contender::Watch(&["-o", "summary"]), "summary", "tcptrace watch -o summary"),
        Entry::new(Contender::Hist(&["-o", "json"]), "hist", "tcptrace hist -o json"),
        Entry::new(Contender::Peer(Peer::Tcpstates), "tcpstates", Peer::Tcpstates.description()),
    ];
    for round in 1..=kit.rounds {
        for entry in entries.iter_mut().filter(|entry| entry.contender.missing().is_none()) {
            progress(&format!("user space: round {round} of {}: {}", kit.rounds, entry.name));
            let running = entry.contender.start(kit, Sink::Pipe)?.context("a contender runs")?;
            let before = running.usage()?;
            let churned = kit.churn(connections, THREADS, Load::Bare)?;
            running.wait_until_idle()?;
            let after = running.usage()?;
            let transitions = float(churned.transitions);
            entry.cpu.push(float(after.cpu_ns - before.cpu_ns) / 1e9 / (transitions / 1e6));
            entry.peak.push(float(after.peak_bytes) / float(1 << 20));
            entry.rate.push(float(churned.connections) * 10.0 / 1e3 / (float(churned.wall_ns) / 1e9));
            entry.lost.push(float(lost(entry.contender, &running.stop()?)?));
        }
    }
    let title = format!(
        "User space at full churn: {connections} connections by {THREADS} threads, lines through a pipe"
    );
    let is_tcpstates = |entry: &&Entry| entry.contender == Contender::Peer(Peer::Tcpstates);
    let tcpstates = entries.iter().find(is_tcpstates).context("tcpstates is an entry")?;
    let rows = entries.iter().flat_map(|entry| rows(entry, tcpstates)).collect();
    Ok(Section { title, rows })
}

fn lost(contender: Contender, ended: &Ended) -> Result<u64> {
    match contender {
        Contender::Peer(_) => Ok(peers::lost_by_libbpf_tools(&ended.stderr)),
        _ => peers::lost_by_tcptrace(&ended.stderr, &ended.last_line)
            .with_context(|| format!("no summary in {ended:?}")),
    }
}

fn rows(entry: &Entry, tcpstates: &Entry) -> Vec<Row> {
    let Entry { contender, name, what, .. } = *entry;
    let name = format!("user.{name}");
    if let Some(why) = contender.missing() {
        return vec![Row::absent(name, what, why)];
    }
    let lost = Row::new(format!("{name}.lost"), "  lost", "records", entry.lost.clone());
    let is_ours = !matches!(contender, Contender::Peer(_));
    vec![
        Row::new(format!("{name}.cpu"), format!("{what}, a million changes"), "s CPU", entry.cpu.clone())
            .ratio(&entry.cpu.ratio_to(&tcpstates.cpu), "tcpstates"),
        Row::new(format!("{name}.peak"), "  peak memory", "MiB", entry.peak.clone()),
        if is_ours { lost.target(Target::at_most(0.0)) } else { lost },
        Row::new(format!("{name}.rate"), "  changes of state made meanwhile", "k/s", entry.rate.clone()),
    ]
}
