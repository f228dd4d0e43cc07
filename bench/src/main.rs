//! What `cargo xtask bench` runs: loads on the kernel, what tcptrace is measured against, and the synthetic source.
//! Each command prints one object of JSON, with raw numbers; what to make of them is xtask's business.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

mod attach;
mod churn;
mod model;
mod names;
mod seed;
mod sockets;
mod stats;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Attaches a program of the bench object until standard input is closed
    Attach {
        /// The object
        object: PathBuf,
        /// `empty` or `bare_record`
        program: String,
    },
    /// Makes connections over loopback, as fast as they go; in a network namespace of its own, please
    Churn {
        #[arg(long)]
        connections: u64,
        #[arg(long, default_value_t = 1)]
        threads: u16,
        #[arg(long, value_enum)]
        kind: Kind,
        /// Rest between two connections of a thread
        #[arg(long, default_value_t = 0)]
        rest_us: u64,
        /// A run that takes so long measures nothing
        #[arg(long, default_value_t = 300)]
        time_limit_s: u64,
    },
    /// Makes a connection every so often until standard input is closed
    Trickle {
        #[arg(long, default_value_t = 1)]
        every_ms: u64,
    },
    /// Opens sockets and keeps them until standard input is closed
    Sockets {
        count: usize,
        /// Of the listener
        #[arg(long, default_value_t = 900)]
        port: u16,
    },
    /// Feeds synthetic records to decoder and table
    Model {
        #[arg(long)]
        connections: usize,
        #[arg(long)]
        events: usize,
    },
    /// Reads the sockets of all network namespaces and takes them into a table
    Seed,
    /// The names of all BPF programs by their ids
    Names,
    /// Lets the kernel measure BPF programs until standard input is closed
    Stats,
}

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Nothing: it is opened and closed, by one thread on both ends, which never waits
    Bare,
    /// A request and a response, between a thread that asks and one that answers
    Request,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Attach { object, program } => attach::run(&object, &program),
        Command::Churn { connections, threads, kind, rest_us, time_limit_s } => churn::run(
            connections,
            threads,
            kind,
            Duration::from_micros(rest_us),
            Duration::from_secs(time_limit_s),
        ),
        Command::Trickle { every_ms } => churn::trickle(every_ms),
        Command::Sockets { count, port } => sockets::run(count, port),
        Command::Model { connections, events } => model::run(connections, events),
        Command::Seed => seed::run(),
        Command::Names => names::run(),
        Command::Stats => stats::run(),
    }
}

/// Tells that what was asked for is the case, and keeps it so until standard input is closed.
fn hold() -> Result<()> {
    println!("ready");
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    Ok(())
}

/// As JSON has it.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
