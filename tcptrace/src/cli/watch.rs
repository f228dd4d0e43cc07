//! `tcptrace watch`.

use clap::{Args, ValueEnum};

use super::{
    demo::DemoArgs,
    selection::SelectionArgs,
    session::{Session, TracingArgs},
};

/// What was typed.
#[derive(Debug, Args)]
pub struct WatchArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// How to show it; on a terminal (standard input and output) `tui`, unless there is a COMMAND, -w, -T or -H, else `text`
    #[arg(short, long, value_enum, help_heading = "Output")]
    output: Option<OutputFormat>,
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
    /// Colours of the full-screen view
    #[arg(long, value_enum, default_value_t, value_name = "NAME", help_heading = "Output")]
    theme: Theme,
    /// No Unicode in the full-screen view
    #[arg(long, help_heading = "Output")]
    ascii: bool,
    /// Show the user stack of the last connect, listen, accept or close of each connection, with function, file and line
    #[arg(long, help_heading = "Tracing")]
    stacks: bool,
    #[command(flatten)]
    demo: DemoArgs,
    #[command(flatten)]
    tracing: TracingArgs,
}

/// `-o`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// A full-screen view, on a terminal
    Tui,
    /// Columns for people
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

/// `--theme`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Theme {
    /// What suits the terminal
    #[default]
    Auto,
    /// For a dark background
    Dark,
    /// For a light background
    Light,
    /// No colours
    Mono,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// What to trace, and how.
    pub session: Session,
    /// How to show it; `None` when that depends on what standard output is.
    pub output: Option<OutputFormat>,
    /// Colours.
    pub color: ColorChoice,
    /// Names of the columns first.
    pub header: bool,
    /// Wall clock instead of seconds since the start.
    pub wall_clock: bool,
    /// More columns.
    pub wide: bool,
    /// Colours of the view.
    pub theme: Theme,
    /// No Unicode in the view.
    pub ascii: bool,
}

impl WatchArgs {
    /// What it means; `verbose` is the number of `-v`.
    pub fn meaning(self, verbose: u8) -> Watch {
        let mut session = self.tracing.meaning(self.selection, verbose);
        session.settings.stacks = self.stacks;
        session.demo = self.demo.meaning();
        Watch {
            session,
            output: self.output,
            color: self.color,
            header: !self.no_header,
            wall_clock: self.time,
            wide: self.wide,
            theme: self.theme,
            ascii: self.ascii,
        }
    }
}
