//! `tcptrace watch`.

use clap::{Args, ValueEnum};

use super::{
    selection::SelectionArgs,
    session::{Session, TracingArgs},
};

/// What was typed.
#[derive(Debug, Args)]
pub struct WatchArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Format of the lines
    #[arg(short, long, value_enum, default_value_t, help_heading = "Output")]
    output: OutputFormat,
    /// Colours; the variable NO_COLOR turns `auto` off
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", help_heading = "Output")]
    color: ColorChoice,
    /// No line with the names of the columns
    #[arg(short = 'H', long, help_heading = "Output")]
    no_header: bool,
    /// Wall clock (local time) instead of seconds since the start
    #[arg(short = 'T', long = "time", help_heading = "Output")]
    time: bool,
    /// More columns (role, who closed, cause of the end, uid, netns, cookie, origin) and room for v6 addresses
    #[arg(short, long, help_heading = "Output")]
    wide: bool,
    /// Show the user stack of the last connect, listen, accept or close of each connection, with function, file and line
    #[arg(long, help_heading = "Tracing")]
    stacks: bool,
    #[command(flatten)]
    tracing: TracingArgs,
}

/// `-o`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Columns for people
    #[default]
    Text,
    /// One object a line
    Json,
    /// Comma-separated values
    Csv,
    /// No lines, only the summary at the end
    Summary,
}

/// `--color`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// What to trace, and how.
    pub session: Session,
    /// Format of the lines.
    pub output: OutputFormat,
    /// Colours.
    pub color: ColorChoice,
    /// Names of the columns first.
    pub header: bool,
    /// Wall clock instead of seconds since the start.
    pub wall_clock: bool,
    /// More columns.
    pub wide: bool,
}

impl WatchArgs {
    /// What it means; `verbose` is the number of `-v`.
    pub fn meaning(self, verbose: u8) -> Watch {
        let mut session = self.tracing.meaning(self.selection, verbose);
        session.settings.stacks = self.stacks;
        Watch {
            session,
            output: self.output,
            color: self.color,
            header: !self.no_header,
            wall_clock: self.time,
            wide: self.wide,
        }
    }
}
