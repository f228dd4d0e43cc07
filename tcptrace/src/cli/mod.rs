//! The command line: what was typed ([`Cli`] and the types below it, by clap), and what it means
//! ([`Watch`] and the types of the other layers). No input or output here.

mod demo;
mod doctor;
mod error;
mod explain;
pub(crate) mod filter_line;
mod hist;
mod leaks;
mod selection;
mod session;
mod snapshot;
pub(crate) mod values;
mod watch;
mod words;

use std::ffi::OsString;

use clap::{ArgAction, CommandFactory as _, Parser, Subcommand};

pub(crate) use self::leaks::given;
pub use self::{
    doctor::{DoctorArgs, DoctorCommand, DoctorFormat},
    error::one_line,
    explain::{ExplainArgs, ExplainCommand, Language, Topic},
    hist::{DiagramFormat, HistArgs, HistCommand, HistFormat},
    leaks::{LeaksArgs, LeaksCommand, LeaksFormat, Setting},
    selection::Places,
    session::Session,
    snapshot::{SnapshotArgs, SnapshotCommand, SnapshotFormat},
    watch::{ColorChoice, OutputFormat, Theme, Watch, WatchArgs},
};

/// What was typed.
#[derive(Debug, Parser)]
#[command(
    name = "tcptrace",
    version,
    about = "Shows every TCP state of every connection on this host, with the true time spent in it",
    after_help = "Exit codes: 0 ok, 1 a --fail-on condition holds, 2 usage or runtime error.",
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
    /// Show every change of state as it happens: on a terminal in a full-screen view, otherwise a line each
    ///
    /// Columns of `-o text`: TIME since the start in seconds (-T: wall clock), PID and COMM of the owner of the socket (never of
    /// the task that happened to be on the CPU), IP version, local and remote address and port, the state left and
    /// the state entered, and the time spent in the state left in milliseconds. Unknown is `-`. A time that began
    /// before tracing is a lower bound: `>=12.3`.
    #[command(args_override_self = true)]
    Watch(WatchArgs),
    /// Count changes of state and the time spent in states, by port or another key, and report them at the end
    ///
    /// For each key: how often which state followed which, and for each state how long connections were in it: quantiles (true
    /// to 1 %) and a histogram. Stays whose beginning was not seen are counted apart (at least), and so are those that are
    /// not over (still). Of a connection whose both ends are on this host both sockets are counted.
    #[command(args_override_self = true)]
    Hist(HistArgs),
    /// Look for connections that are stuck or leaked: what is wrong, who does it, since when, whether it grows, what to do
    ///
    /// Traces for some seconds, starting from what is open already, so that what leaked before is found at once. Each finding
    /// names the owner, the service port, the evidence, and what to do; `explain RULE` tells more. The age of what began
    /// before the start is a lower bound (at least). It looks each second; what is shown is the last look.
    #[command(args_override_self = true)]
    Leaks(LeaksArgs),
    /// One look at all sockets, without tracing: counts by state, port, process, peer or cgroup
    ///
    /// Reads the kernel's socket tables in all network namespaces (sock_diag); needs no BPF. Without root it shows the sockets
    /// of its own network namespace and what its own user's processes hold, and says what is missing. OLDEST is the longest
    /// time that one is in TIME_WAIT, IDLE the longest time without data, ACCEPT QUEUE the fullest one and its limit.
    #[command(args_override_self = true)]
    Snapshot(SnapshotArgs),
    /// Explain a TCP state or a finding, with the settings of this host; without one, draw the state diagram
    ///
    /// Of a state: what it is, who is in it, which segments lead in and out, how long it should last, what too many of it
    /// mean, what to do. Of a finding: what it means, when it is found and when wrongly, its thresholds with their reasons,
    /// what to do, and commands that tell more. Settings are shown as this network namespace has them. Needs no privileges.
    #[command(args_override_self = true)]
    Explain(ExplainArgs),
    /// What this kernel and these privileges allow, which of the kernel's ways `watch` will use, and a test of every field
    ///
    /// Loads and attaches each of the ways in turn, as `watch` would, and lets go of it; for those that do not work it says why,
    /// and what they would take. Then it traces one loopback connection of its own, and compares every field with what it did
    /// itself. Leaves nothing behind but the TIME_WAIT of that connection. Give it the flags that `watch` will get. Exit code 0
    /// when `watch` will work, else 2, with the reasons.
    #[command(args_override_self = true)]
    Doctor(DoctorArgs),
}

/// The flags among these arguments of the program that select, in the order of the help and under their long names; empty when
/// there are none.
pub fn selection_typed(args: impl IntoIterator<Item = OsString>) -> String {
    let matches = Cli::command().try_get_matches_from(args);
    matches.ok().and_then(|matches| Some(selection::typed(matches.subcommand()?.1))).unwrap_or_default()
}
