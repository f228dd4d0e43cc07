//! `tcptrace hist`.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    selection::SelectionArgs,
    session::{Session, TracingArgs},
    values,
    watch::ColorChoice,
};
use crate::model::{filter_lists::StateSet, histogram::By};

/// What was typed.
#[derive(Debug, Args)]
pub struct HistArgs {
    /// Report every so often (seconds, or such as 500ms, 5m) what has changed meanwhile, and at the end the total
    #[arg(value_name = "INTERVAL", value_parser = values::interval)]
    interval: Option<Duration>,
    /// End after so many intervals
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    selection: SelectionArgs,
    /// What to count by
    #[arg(long, value_enum, default_value_t, value_name = "KEY", help_heading = "Output")]
    by: ByArg,
    /// Format of the report
    #[arg(short, long, value_enum, default_value_t, help_heading = "Output")]
    output: HistFormat,
    /// Show the N busiest keys, and all others together
    #[arg(long, value_name = "N", default_value = "20", value_parser = values::entries, help_heading = "Output")]
    max_entries: NonZeroUsize,
    /// Draw the state machine with the counts and median times on its arrows, of all keys together, at the end
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Output")]
    diagram: Option<DiagramFormat>,
    /// Show beside each count, p50 and p99 what it was in this file, which `hist -o json` has written
    #[arg(long, value_name = "FILE", conflicts_with = "diagram", help_heading = "Output")]
    compare: Option<PathBuf>,
    /// Colours; the variable NO_COLOR turns `auto` off
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", help_heading = "Output")]
    color: ColorChoice,
    /// No line with the names of the columns (csv)
    #[arg(short = 'H', long, help_heading = "Output")]
    no_header: bool,
    #[command(flatten)]
    tracing: TracingArgs,
}

/// `--by`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ByArg {
    /// The service port: the listening side's, whichever side we see
    #[default]
    Port,
    /// The remote port
    Rport,
    /// The name of the owner's process
    Process,
    /// The remote address
    Peer,
    /// The owner's cgroup
    Cgroup,
    /// The network namespace
    Netns,
    /// Client or server
    Role,
}

/// `-o`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum HistFormat {
    /// Tables and bars for people
    #[default]
    Text,
    /// One object a line and key
    Json,
    /// Comma-separated values
    Csv,
}

/// `--diagram`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DiagramFormat {
    /// For terminals
    Text,
    /// A picture
    Svg,
    /// For Graphviz
    Dot,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistCommand {
    /// What to trace, and how.
    pub session: Session,
    /// How often to report.
    pub interval: Option<Duration>,
    /// End after so many intervals.
    pub count: Option<u64>,
    /// What to count by.
    pub by: By,
    /// How many keys to show.
    pub shown: usize,
    /// States to show.
    pub states: Option<StateSet>,
    /// Format of the report.
    pub output: HistFormat,
    /// Draw a diagram instead.
    pub diagram: Option<DiagramFormat>,
    /// Compare with this file.
    pub compare: Option<PathBuf>,
    /// Colours.
    pub color: ColorChoice,
    /// Names of the columns first.
    pub header: bool,
}

impl HistArgs {
    /// What it means; `verbose` is the number of `-v`.
    pub fn meaning(self, verbose: u8) -> HistCommand {
        let session = self.tracing.meaning(self.selection, verbose);
        HistCommand {
            states: session.settings.filter.states,
            session,
            interval: self.interval,
            count: self.count,
            by: match self.by {
                ByArg::Port => By::Port,
                ByArg::Rport => By::RemotePort,
                ByArg::Process => By::Process,
                ByArg::Peer => By::Peer,
                ByArg::Cgroup => By::Cgroup,
                ByArg::Netns => By::Netns,
                ByArg::Role => By::Role,
            },
            shown: self.max_entries.get(),
            output: self.output,
            diagram: self.diagram,
            compare: self.compare,
            color: self.color,
            header: !self.no_header,
        }
    }
}
