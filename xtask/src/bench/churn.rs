//! By how much tracing slows down connections that come and go as fast as they can.

use std::thread::available_parallelism;

use anyhow::Result;

use super::{
    contender::{Contender, Sink},
    kit::{Churned, Kit, Load},
    peers::Peer,
    progress,
    sample::{Samples, float},
    table::{Row, Section, Target},
};

/// One of those that are measured.
struct Entry {
    contender: Contender,
    name: &'static str,
    what: &'static str,
    /// Microseconds for each connection.
    wall: Samples,
    /// Of processor time, of the load alone.
    cpu: Samples,
}

impl Entry {
    fn note(&mut self, churned: &Churned) {
        let each = |ns: u64| float(ns) / 1e3 / float(churned.connections);
        self.wall.push(each(churned.wall_ns));
        self.cpu.push(each(churned.cpu_ns));
    }
}

fn entries() -> Vec<Entry> {
    let entry = |contender, name, what| Entry {
        contender,
        name,
        what,
        wall: Samples::default(),
        cpu: Samples::default(),
    };
    vec![
        entry(Contender::Nothing, "none", "no tracer"),
        entry(Contender::BareRecord, "bare_record", "bare record: the least that reports events"),
        entry(Contender::DEFAULT_WATCH, "watch", "tcptrace watch"),
        entry(Contender::STATES_ONLY, "states_only", "tcptrace watch, no lifecycle, no accept"),
        entry(Contender::Peer(Peer::Tcpstates), "tcpstates", Peer::Tcpstates.description()),
    ]
}

/// Measures both loads.
pub(crate) fn measure(kit: &Kit) -> Result<Vec<Section>> {
    let cores = available_parallelism()?.get() as u64;
    let bare = measure_load(
        kit,
        Load::Bare,
        1,
        "connections that are opened and closed and do nothing, one thread on both ends",
    )?;
    let request = measure_load(
        kit,
        Load::Request,
        cores,
        "a request of 200 and a response of 1,000 bytes a connection, as many threads on each end as cores",
    )?;
    Ok(vec![bare, request])
}

fn measure_load(kit: &Kit, load: Load, threads: u64, what: &str) -> Result<Section> {
    let connections = kit.size(30_000, 3_000);
    let mut entries = entries();
    for round in 1..=kit.rounds {
        for entry in entries.iter_mut().filter(|entry| entry.contender.missing().is_none()) {
            progress(&format!("churn, {}: round {round} of {}: {}", load.name(), kit.rounds, entry.name));
            let running = entry.contender.start(kit, Sink::Null)?;
            entry.note(&kit.churn(connections, threads, load)?);
            if let Some(running) = running {
                running.stop()?;
            }
        }
    }
    let title = format!("Churn, {}: {connections} connections over loopback, {what}", load.name());
    Ok(Section { title, rows: rows(&entries, load) })
}

fn rows(entries: &[Entry], load: Load) -> Vec<Row> {
    let of = |contender| {
        let entry = entries.iter().find(|entry| entry.contender == contender);
        entry.map(|entry| added(&entry.cpu, &entries[0].cpu)).unwrap_or_default()
    };
    let mut rows = Vec::new();
    for entry in entries {
        let name = format!("churn.{}.{}", load.name(), entry.name);
        if let Some(why) = entry.contender.missing() {
            rows.push(Row::absent(name, entry.what, why));
            continue;
        }
        rows.push(Row::new(
            format!("{name}.wall"),
            format!("{}, a connection", entry.what),
            "us",
            entry.wall.clone(),
        ));
        rows.push(Row::new(format!("{name}.cpu"), "  processor time of the load", "us", entry.cpu.clone()));
        if entry.contender == Contender::Nothing {
            continue;
        }
        let added = added(&entry.cpu, &entries[0].cpu);
        let row = Row::new(format!("{name}.added"), "  added to a change of state", "ns", added.clone());
        rows.push(match entry.contender {
            Contender::Peer(_) => row.ratio(&added.median_ratio_to(&of(Contender::DEFAULT_WATCH)), "watch"),
            _ => row.ratio(&added.median_ratio_to(&of(Contender::BareRecord)), "bare record"),
        });
        for (which, what, ours, none) in [
            ("slowdown", "  slow-down", &entry.wall, &entries[0].wall),
            ("cpu_slowdown", "  slow-down in processor time", &entry.cpu, &entries[0].cpu),
        ] {
            let row = Row::new(format!("{name}.{which}"), what, "%", slow_down(ours, none));
            rows.push(match (entry.contender, which) {
                (Contender::DEFAULT_WATCH, "slowdown") => row.target(Target::at_most(3.0)),
                _ => row,
            });
        }
    }
    rows
}

/// Nanoseconds for each of the ten changes of a connection: all that tracing costs whoever makes them, wake-ups and the
/// kernel's way to the programs included, which the kernel's own measurement leaves out.
fn added(ours: &Samples, none: &Samples) -> Samples {
    ours.minus(none).map(|us| us * 1e3 / 10.0)
}

/// In percent, round by round.
fn slow_down(ours: &Samples, none: &Samples) -> Samples {
    ours.ratio_to(none).map(|ratio| (ratio - 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_down_is_what_a_round_takes_longer() {
        let none = [100.0, 200.0].into_iter().collect();
        let ours = [103.0, 206.0].into_iter().collect();
        let percent = slow_down(&ours, &none).median().expect("measured");
        assert!((percent - 3.0).abs() < 1e-9, "{percent}");
        assert_eq!(added(&ours, &none).median(), Some(450.0));
    }
}
