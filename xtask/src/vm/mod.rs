//! `cargo xtask vm`: the live tests, or any command, on other kernels.
//!
//! Debian's cloud kernels are booted in QEMU, which emulates the processor in software: neither KVM nor root is
//! needed, and everything is slower than on a real one by a factor of ten and more. The guest is an initramfs and
//! nothing else: no disk, no network device.

mod cpio;
mod host;
mod initramfs;
mod kernels;
mod modules;
mod programs;
mod qemu;
mod verdict;

use std::{
    num::NonZero,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use clap::Args;

use self::{
    initramfs::{Guest, quote},
    kernels::{Kernel, SERIES, Series},
    programs::Programs,
    verdict::{Tests, Verdict},
};

/// What to run, and on what.
#[derive(Args)]
pub(crate) struct Options {
    /// The kernel series to boot; may be given more than once
    #[arg(long = "kernel", default_value = "all", value_parser = ["5.10", "6.1", "6.12", "7.2", "all"])]
    kernels: Vec<String>,
    /// How many guests to run side by side; each keeps one processor busy [default: one a processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
    /// Keep the kernel's log and the output of each run, not only of those that fail
    #[arg(long)]
    keep_log: bool,
    /// Give up on a guest that has said nothing for so many minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 10)]
    patience: u64,
    /// Run this shell command instead of the live tests; `tcptrace` and `live-tests` are in its PATH
    #[arg(long, value_name = "COMMAND", conflicts_with = "args")]
    exec: Option<String>,
    /// Arguments for the live test program: a filter, `--skip NAME`, `--exact`
    #[arg(value_name = "TEST_FILTER", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

impl Options {
    fn series(&self) -> Vec<&'static Series> {
        let is_asked_for = |name: &str| self.kernels.iter().any(|kernel| kernel == name || kernel == "all");
        SERIES.iter().filter(|series| is_asked_for(series.name)).collect()
    }

    /// In how many guests a kernel's tests are run. All tests, in one, would leave processors without work at the end.
    const fn parts(&self) -> usize {
        if self.exec.is_none() && self.args.is_empty() { 2 } else { 1 }
    }

    /// The command line of the guest's shell.
    fn command(&self, part: usize) -> String {
        self.exec.clone().unwrap_or_else(|| {
            let words = self.args.iter().map(|word| quote(word));
            let part = format!("TCPTRACE_TEST_PART={part}/{}", self.parts());
            [part, "live-tests".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
        })
    }
}

/// One guest's turn.
struct Turn {
    kernel: String,
    verdict: Result<Verdict>,
    took: Duration,
}

/// Boots the kernels, as many at a time as is asked for. The exit status is the guest's own: the first one that is not 0.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    host::install_missing_tools()?;
    let programs = programs::build()?;
    let series = options.series();
    let processors = thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    // One apt after the other.
    let kernels: Vec<_> = series.into_iter().map(|series| (series, kernels::have(series))).collect();
    let parts = (0..kernels.len()).flat_map(|kernel| (1..=options.parts()).map(move |part| (kernel, part)));
    let parts: Vec<_> = parts.collect();
    let jobs = options.jobs.unwrap_or(processors).get().min(parts.len());
    // The newest take longest: a short one comes last.
    let queue = Mutex::new(parts.into_iter().enumerate().rev());
    let turns = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some((position, (kernel, part))) = next(&queue) {
                    let turn = turn(options, &kernels[kernel], &programs, part, jobs > 1);
                    turns.lock().unwrap_or_else(PoisonError::into_inner).push((position, turn));
                }
            });
        }
    });
    let mut turns = turns.into_inner().unwrap_or_else(PoisonError::into_inner);
    turns.sort_by_key(|(position, _)| *position);
    let turns: Vec<Turn> = turns.into_iter().map(|(_, turn)| turn).collect();
    if turns.len() > 1 || options.exec.is_none() {
        eprint!("\n{}", table(&turns));
    }
    let status = turns.iter().map(|turn| turn.verdict.as_ref().map_or(1, |verdict| verdict.status));
    Ok(ExitCode::from(status.into_iter().find(|status| *status != 0).unwrap_or(0)))
}

fn next<T: Iterator>(queue: &Mutex<T>) -> Option<T::Item> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).next()
}

fn turn(
    options: &Options,
    (series, kernel): &(&Series, Result<Kernel>),
    programs: &Programs,
    part: usize,
    is_one_of_many: bool,
) -> Turn {
    let begun = Instant::now();
    let command = options.command(part);
    let of_parts = |name: &str, between: &str| match options.parts() {
        1 => name.to_owned(),
        _ => format!("{name}{between}{part}"),
    };
    let verdict = kernel.as_ref().map_err(|error| anyhow!("{error:#}")).and_then(|kernel| {
        eprintln!("xtask: Linux {}: {command}", kernel.release);
        let guest = Guest { kernel, programs, command: &command };
        let run = qemu::Run {
            name: &of_parts(series.name, "-"),
            patience: Duration::from_mins(options.patience),
            keep_log: options.keep_log,
            is_one_of_many,
        };
        run.guest(&guest)
    });
    let release = kernel.as_ref().map_or(series.name, |kernel| &kernel.release);
    if let Err(error) = &verdict {
        eprintln!("xtask: Linux {release}: {error:#}");
    }
    Turn { kernel: of_parts(release, ", part "), verdict, took: begun.elapsed() }
}

/// A line a guest, and beneath it the names of the tests that failed.
fn table(turns: &[Turn]) -> String {
    let header =
        format!("{:<32} {:>7} {:>7} {:>7} {:>7}", "KERNEL", "PASSED", "FAILED", "IGNORED", "SECONDS");
    let mut lines = vec![header];
    for Turn { kernel, verdict, took } in turns {
        let seconds = took.as_secs();
        match verdict {
            Ok(Verdict { tests: Some(Tests { passed, failed, ignored, again }), .. }) => {
                let count = failed.len();
                lines.push(format!("{kernel:<32} {passed:>7} {count:>7} {ignored:>7} {seconds:>7}"));
                lines.extend(failed.iter().map(|name| format!("    FAILED {name}")));
                lines.extend(again.iter().map(|name| format!("    run again: {name}")));
            }
            Ok(Verdict { status, .. }) => {
                lines.push(format!("{kernel:<32} {:<23} {seconds:>7}", format!("exit status {status}")));
            }
            Err(_) => lines.push(format!("{kernel:<32} {:<23} {seconds:>7}", "no verdict")),
        }
    }
    lines.join("\n") + "\n"
}
