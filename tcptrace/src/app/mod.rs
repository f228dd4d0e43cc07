//! Wires source, model and output; signals and exit codes.

mod doctor;
mod earlier;
mod explain;
mod facts;
mod filter_language;
mod hist;
mod launch;
mod leaks;
mod log;
mod looks;
mod names;
mod pipeline;
mod rows;
mod screen;
mod selection;
mod session;
mod snapshot;
mod stop;
mod survey;
mod symbols;
mod terminal;
mod thresholds;
mod watch;
mod world;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::Parser as _;
use tracing::level_filters::LevelFilter;

pub use self::{filter_language::SelectionLanguage, pipeline::Pipeline};
use crate::{
    cli::{self, Cli, Command},
    output::escape,
};

/// Usage or runtime error.
const FAILURE: u8 = 2;

/// The program: reads the command line, runs the command, and says how it went.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                eprint!("{error}");
            } else {
                complain(&cli::one_line(&error));
            }
            return ExitCode::from(FAILURE);
        }
        // Help and version. A closed pipe is no error.
        Err(text) => {
            let _ = text.print();
            return ExitCode::SUCCESS;
        }
    };
    // What a doctor would warn of is in its report.
    start_log(cli.verbose, matches!(cli.command, Command::Doctor(_)));
    let result = match cli.command {
        Command::Watch(args) => watch::run(&args.meaning(cli.verbose)),
        Command::Hist(args) => hist::run(&args.meaning(cli.verbose)),
        Command::Leaks(args) => leaks::run(&args.meaning(cli.verbose)),
        Command::Snapshot(args) => snapshot::run(&args.meaning()),
        Command::Explain(args) => explain::run(&args.meaning()),
        Command::Doctor(args) => doctor::run(&args.meaning(cli.verbose)),
    };
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&with_causes(&error));
            ExitCode::from(FAILURE)
        }
    }
}

/// Diagnostics go to standard error: warnings, unless something else tells them, `-v` and `-vv` more.
fn start_log(verbose: u8, tells_warnings: bool) {
    let level = match verbose {
        0 if tells_warnings => LevelFilter::ERROR,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(log::ToLog)
        // It would say so on standard error, and fail if that is gone.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        .without_time()
        .init();
}

/// Says what went wrong, in one line: what was typed and what files are called may be in it, and do nothing to a terminal.
fn complain(error: &str) {
    eprintln!("tcptrace: {}", escape::text(error));
}

/// An error with its causes in one line; a cause that is in the text already is not said twice.
fn with_causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text {
        text if text.is_empty() => cause,
        text if text.contains(&cause) => text,
        text => format!("{text}: {cause}"),
    })
}

/// Whether whoever read our output went away, which ends us quietly.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
