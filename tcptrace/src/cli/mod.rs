//! The command line: what was typed ([`Cli`] and the types below it, by clap), and what it means
//! ([`Watch`] and the types of the other layers). No input or output here.

mod error;
mod selection;
pub(crate) mod values;
mod watch;

use clap::{ArgAction, Parser, Subcommand};

pub use self::{
    error::one_line,
    selection::Places,
    watch::{ColorChoice, OutputFormat, Watch, WatchArgs},
};

/// What was typed.
#[derive(Debug, Parser)]
#[command(
    name = "tcptrace",
    version,
    about = "Shows every TCP state of every connection on this host, with the true time spent in it",
    after_help = "Exit codes: 0 ok, 2 usage or runtime error.",
    max_term_width = 110
)]
pub struct Cli {
    /// Say more on standard error: -v what is attached, -vv the kernel half's diagnostics too
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every change of state as it happens, a line each
    ///
    /// Columns: TIME since the start in seconds (-T: wall clock), PID and COMM of the owner of the socket (never of
    /// the task that happened to be on the CPU), IP version, local and remote address and port, the state left and
    /// the state entered, and the time spent in the state left in milliseconds. Unknown is `-`. A time that began
    /// before tracing is a lower bound: `>=12.3`.
    #[command(args_override_self = true)]
    Watch(WatchArgs),
}
