//! `tcptrace snapshot`.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, ValueEnum};

use super::{
    selection::{Places, SelectionArgs},
    values,
};
use crate::model::{Filter, snapshot::By};

/// What was typed.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// What to count by
    #[arg(long, value_enum, default_value_t, value_name = "KEY", help_heading = "Output")]
    by: ByArg,
    /// Format of the answer
    #[arg(short, long, value_enum, default_value_t, help_heading = "Output")]
    output: SnapshotFormat,
    /// Show the N most numerous keys
    #[arg(long, value_name = "N", default_value = "50", value_parser = values::entries, help_heading = "Output")]
    max_entries: NonZeroUsize,
    /// Show beside each count what it was in this file, which `snapshot -o json` has written
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    compare: Option<PathBuf>,
    /// No line with the names of the columns (csv)
    #[arg(short = 'H', long, help_heading = "Output")]
    no_header: bool,
}

/// `--by`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ByArg {
    /// The state: all eleven
    #[default]
    State,
    /// The service port: where somebody listens on our port, ours, else the peer's
    Port,
    /// The name of the process that holds the socket
    Process,
    /// The remote address
    Peer,
    /// The cgroup that the socket was made in
    Cgroup,
}

/// `-o`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SnapshotFormat {
    /// A table for people
    #[default]
    Text,
    /// One object
    Json,
    /// Comma-separated values
    Csv,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotCommand {
    /// Which sockets.
    pub filter: Filter,
    /// Conditions of the filter that only the host knows the meaning of.
    pub places: Places,
    /// What to count by.
    pub by: By,
    /// Format of the answer.
    pub output: SnapshotFormat,
    /// How many keys to show.
    pub shown: usize,
    /// Compare with this file.
    pub compare: Option<PathBuf>,
    /// Names of the columns first.
    pub header: bool,
}

impl SnapshotArgs {
    /// What it means.
    pub fn meaning(self) -> SnapshotCommand {
        let (filter, places) = self.selection.meaning();
        SnapshotCommand {
            filter,
            places,
            by: match self.by {
                ByArg::State => By::State,
                ByArg::Port => By::Port,
                ByArg::Process => By::Process,
                ByArg::Peer => By::Peer,
                ByArg::Cgroup => By::Cgroup,
            },
            output: self.output,
            shown: self.max_entries.get(),
            compare: self.compare,
            header: !self.no_header,
        }
    }
}
