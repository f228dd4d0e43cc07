//! `cargo xtask VERB`: what cargo cannot do by itself.

mod bench;
mod ebpf;
mod fuzz;
mod picture;
mod privileged;
mod pty;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the tcptrace workspace")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the kernel half and write it to tcptrace/bpf/
    Ebpf {
        /// Build it and compare with the committed object instead of writing it
        #[arg(long)]
        check: bool,
        /// Run clippy on the kernel half instead of building it
        #[arg(long, conflicts_with = "check")]
        clippy: bool,
    },
    /// Give the parsers any bytes at all, for a bounded time, and see that they hold
    Fuzz(fuzz::Options),
    /// Build tcptrace (release) and start it, through sudo when not root
    Run {
        /// Arguments for tcptrace [default: watch]
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run all tests, those on the live kernel through sudo when not root
    Test {
        /// Arguments for `cargo test`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Boot other kernels in QEMU and run the live tests there, or a command
    Vm(vm::Options),
    /// Take the pictures of the full-screen view in docs/pictures, of the real program
    Picture,
    /// Measure what tracing costs, beside the tools that people know
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Ebpf { clippy: true, .. } => ebpf::clippy(),
        Verb::Ebpf { check: true, .. } => ebpf::check(),
        Verb::Ebpf { .. } => ebpf::build(),
        Verb::Fuzz(options) => fuzz::run(&options),
        Verb::Run { args } => privileged::run(&args),
        Verb::Test { args } => privileged::test(&args),
        Verb::Vm(options) => match vm::run(&options) {
            // The guest's own status.
            Ok(status) => return status,
            Err(error) => Err(error),
        },
        Verb::Picture => picture::run(),
        Verb::Bench(options) => bench::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
