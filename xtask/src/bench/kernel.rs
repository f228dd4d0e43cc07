//! What tracing costs in the kernel, for each change of state, by the kernel's own measurement of BPF programs.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    contender::{Contender, Sink},
    kit::{Kit, Load},
    peers::Peer,
    programs::{self, Programs},
    progress,
    sample::{Samples, float},
    table::{Row, Section, Target},
};

/// For what comes after the last connection: the namespace is taken apart, and its time-wait sockets end.
const AFTERMATH: Duration = Duration::from_millis(1_200);

/// One of those that are measured.
struct Entry {
    contender: Contender,
    name: String,
    what: String,
    missing: Option<String>,
    /// Nanoseconds for each change of state, all programs together.
    cost: Samples,
    /// Of each program by its name.
    programs: BTreeMap<String, ProgramCost>,
}

/// Of one program.
#[derive(Default)]
struct ProgramCost {
    /// Nanoseconds for each run.
    each: Samples,
    /// Runs for each change of state.
    runs: Samples,
}

impl Entry {
    fn new(contender: Contender, name: &str, what: &str) -> Self {
        Self {
            contender,
            name: name.to_owned(),
            what: what.to_owned(),
            missing: contender.missing(),
            cost: Samples::default(),
            programs: BTreeMap::new(),
        }
    }

    fn note(&mut self, spent: &Programs, names: &BTreeMap<u32, String>, transitions: u64) {
        self.cost.push(float(programs::total_ns(spent)) / float(transitions));
        for (id, runs) in spent.iter().filter(|(_, runs)| runs.count > 0) {
            let name = names.get(id).map_or("?", String::as_str).to_owned();
            let program = self.programs.entry(name).or_default();
            program.each.push(float(runs.ns) / float(runs.count));
            program.runs.push(float(runs.count) / float(transitions));
        }
    }
}

/// Measures both loads.
pub(crate) fn measure(kit: &Kit) -> Result<Vec<Section>> {
    let full = measure_load(kit, Load::Bare, kit.size(20_000, 2_000), "as fast as one thread makes them")?;
    let paced = measure_load(kit, Load::Paced, kit.size(3_000, 500), "1,000 a second")?;
    Ok(vec![full, paced])
}

/// Measures all contenders, one after the other in each round.
fn measure_load(kit: &Kit, load: Load, connections: u64, pace: &str) -> Result<Section> {
    let mut entries = vec![
        Entry::new(Contender::Empty, "empty", "empty program: a call, and its measurement"),
        Entry::new(Contender::BareRecord, "bare_record", "bare record: reserve, fill, submit 120 bytes"),
        Entry::new(Contender::DEFAULT_WATCH, "watch", "tcptrace watch, the whole life, all programs"),
        Entry::new(Contender::STATES_ONLY, "states_only", "tcptrace watch, no lifecycle, no accept"),
    ];
    entries.extend(Peer::ALL.map(|peer| Entry::new(Contender::Peer(peer), peer.name(), peer.description())));
    let _statistics = kit.statistics()?;
    for round in 1..=kit.rounds {
        for entry in entries.iter_mut().filter(|entry| entry.missing.is_none()) {
            progress(&format!("kernel, {}: round {round} of {}: {}", load.name(), kit.rounds, entry.name));
            let running = entry.contender.start(kit, Sink::Null)?.context("a contender runs")?;
            let before = running.programs()?;
            let churned = kit.churn(connections, 1, load)?;
            thread::sleep(AFTERMATH);
            let spent = programs::since(&before, &running.programs()?);
            entry.note(&spent, &kit.program_names()?, churned.transitions);
            running.stop()?;
        }
    }
    let title = format!(
        "Kernel, {}: time in BPF programs for each change of state ({connections} connections, 10 changes each, {pace})",
        load.name()
    );
    Ok(Section { title, rows: rows(&entries, load) })
}

fn rows(entries: &[Entry], load: Load) -> Vec<Row> {
    let cost = |name: &str| {
        entries.iter().find(|entry| entry.name == name).map(|entry| &entry.cost).cloned().unwrap_or_default()
    };
    let (empty, bare, watch) = (cost("empty"), cost("bare_record"), cost("watch"));
    let mut rows = Vec::new();
    for entry in entries {
        let name = format!("kernel.{}.{}", load.name(), entry.name);
        if let Some(why) = &entry.missing {
            rows.push(Row::absent(name, &entry.what, why));
            continue;
        }
        let row = Row::new(&name, &entry.what, "ns", entry.cost.clone());
        rows.push(match entry.contender {
            Contender::Peer(Peer::Tcpstates) => {
                row.ratio(&entry.cost.ratio_to(&watch), "watch").target(Target::at_least(25.0))
            }
            Contender::Peer(_) => row.ratio(&entry.cost.ratio_to(&watch), "watch"),
            _ => row.ratio(&entry.cost.ratio_to(&bare), "bare record"),
        });
        if entry.contender == Contender::DEFAULT_WATCH {
            rows.extend(program_rows(entry, &name, &empty, &bare));
        }
    }
    rows
}

/// Each program of the default `watch`.
fn program_rows(watch: &Entry, prefix: &str, empty: &Samples, bare: &Samples) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, program) in &watch.programs {
        let runs = program.runs.median().unwrap_or(0.0);
        let row =
            Row::new(format!("{prefix}.{name}"), format!("  {name}, a run"), "ns", program.each.clone())
                .note(format!("{runs:.2} runs a change"));
        if name != STATE_PROGRAM {
            rows.push(row.ratio(&program.each.ratio_to(empty), "empty"));
            continue;
        }
        rows.push(row.ratio(&program.each.ratio_to(bare), "bare record").target(Target::at_most(1.25)));
        let (ours, limit) = (program.each.minus(empty), bare.minus(empty));
        rows.push(
            Row::new(
                format!("{prefix}.{name}.net"),
                format!("  {name}, less the empty program"),
                "ns",
                ours.clone(),
            )
            .ratio(&ours.ratio_to(&limit), "bare record, less the same"),
        );
    }
    rows
}

/// The program that reports changes of state.
const STATE_PROGRAM: &str = "state_btf";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{programs::Runs, table::Table};

    #[test]
    fn rows_have_ratios_and_absent_tools_are_named() {
        let names = BTreeMap::from([(1, "state_btf".to_owned()), (2, "timer_start".to_owned())]);
        let mut entries = [
            Entry::new(Contender::Empty, "empty", "empty"),
            Entry::new(Contender::BareRecord, "bare_record", "bare"),
            Entry::new(Contender::DEFAULT_WATCH, "watch", "watch"),
            Entry::new(Contender::Peer(Peer::Tcpstates), "tcpstates", "tcpstates"),
        ];
        entries[3].missing = Some("tcpstates is not installed".to_owned());
        let runs = |count, ns| Runs { count, ns };
        entries[0].note(&Programs::from([(9, runs(10, 1_000))]), &names, 10);
        entries[1].note(&Programs::from([(9, runs(10, 3_000))]), &names, 10);
        let ours = Programs::from([(1, runs(10, 3_500)), (2, runs(5, 600)), (3, runs(0, 0))]);
        entries[2].note(&ours, &names, 10);
        let json = Table {
            machine: Vec::new(),
            sections: vec![Section { title: String::new(), rows: rows(&entries, Load::Bare) }],
        }
        .json();
        let row = |name: &str| {
            let rows = json["rows"].as_array().expect("rows");
            rows.iter()
                .find(|row| row["name"] == name)
                .cloned()
                .unwrap_or_else(|| panic!("no {name} in {json}"))
        };
        assert_eq!(row("kernel.bare.watch")["median"], 410.0);
        assert_eq!(row("kernel.bare.watch.state_btf")["median"], 350.0);
        assert_eq!(row("kernel.bare.watch.state_btf")["met"], true);
        assert_eq!(row("kernel.bare.watch.state_btf.net")["ratio"], 1.25);
        assert_eq!(row("kernel.bare.watch.timer_start")["median"], 120.0);
        assert_eq!(row("kernel.bare.watch.timer_start")["note"], "0.50 runs a change");
        assert_eq!(row("kernel.bare.tcpstates")["note"], "tcpstates is not installed");
    }
}
