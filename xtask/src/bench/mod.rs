//! `cargo xtask bench`: what tracing costs, beside the tools that people know.
//!
//! Everything is measured in one run, contenders take turns round by round, and medians and ratios are told: absolute
//! numbers are the machine's, ratios are ours. A file for each measurement. What needs a BPF loader or tcptrace itself is in
//! the bench program (`bench/`), which is built here and nowhere else.

mod churn;
mod contender;
mod kernel;
mod kit;
mod machine;
mod micro;
mod model;
mod netns;
mod peers;
mod programs;
mod sample;
mod startup;
mod table;
mod user;
mod view;

use std::fs;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

use self::{
    kit::Kit,
    table::{Row, Section, Table},
};
use crate::{privileged::is_root, workspace::target_dir};

/// What was typed.
#[derive(Args)]
pub(crate) struct Options {
    /// What to measure [default: all]
    #[arg(value_enum, value_name = "NAME")]
    names: Vec<Name>,
    /// One object of JSON instead of the table
    #[arg(long)]
    json: bool,
    /// One short round of each: whether it works, no more
    #[arg(long)]
    quick: bool,
}

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Time in BPF programs for each change of state
    Kernel,
    /// By how much connections are slowed down
    Churn,
    /// Processor time, memory, losses in user space at full churn
    User,
    /// Records a second and bytes a connection, from 10 thousand to 10 million
    Model,
    /// Steps of one event in user space
    Micro,
    /// Start, seeding, size
    Start,
    /// The full-screen view: processor time, and how soon it answers
    View,
}

impl Name {
    fn measure(self, kit: &Kit) -> Result<Vec<Section>> {
        match self {
            Self::Kernel => kernel::measure(kit),
            Self::Churn => churn::measure(kit),
            Self::User => user::measure(kit).map(|section| vec![section]),
            Self::Model => model::measure(kit).map(|section| vec![section]),
            Self::Micro => micro::measure(kit).map(|section| vec![section]),
            Self::Start => startup::measure(kit).map(|section| vec![section]),
            Self::View => view::measure(kit).map(|section| vec![section]),
        }
    }

    /// Whether it loads BPF programs or makes network namespaces.
    const fn needs_root(self) -> bool {
        !matches!(self, Self::Model | Self::Micro)
    }
}

/// In place of a measurement.
fn failed(name: Name, error: &anyhow::Error) -> Section {
    let name = name.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let row = Row::absent(&name, &name, format!("failed: {error:#}"));
    Section { title: format!("{name}: not measured"), rows: vec![row] }
}

/// Measures what was asked for, prints the table and keeps it as JSON.
pub(crate) fn run(options: &Options) -> Result<()> {
    let names = if options.names.is_empty() { Name::value_variants() } else { &options.names };
    ensure!(
        is_root()? || !names.iter().any(|name| name.needs_root()),
        "this needs root (tracing, network namespaces); `model` and `micro` do not"
    );
    netns::remove_stale();
    progress("building");
    let kit = Kit::build(options.quick)?;
    let mut table = Table { machine: machine::describe(), ..Table::default() };
    if options.quick {
        table.machine.push(("quick", "one short round: no numbers to rely on".to_owned()));
    }
    for name in names {
        // What was measured before is not thrown away because something cannot be measured here.
        table.sections.extend(name.measure(&kit).unwrap_or_else(|error| vec![failed(*name, &error)]));
    }
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    table.machine.push(("load average after", load.trim().to_owned()));
    let json = serde_json::to_string_pretty(&table.json())?;
    let kept = target_dir().join("bench/last.json");
    fs::write(&kept, &json).with_context(|| format!("cannot write {}", kept.display()))?;
    if options.json {
        println!("{json}");
    } else {
        print!("{table}");
    }
    progress(&format!("{} targets missed; kept as {}", table.missed(), kept.display()));
    Ok(())
}

/// Says what is under way.
fn progress(what: &str) {
    eprintln!("xtask: {what}");
}
