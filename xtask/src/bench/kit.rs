//! The programs that measure, built, and what they print.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::netns::Netns;
use crate::{
    ebpf,
    workspace::{cargo, output, succeed, target_dir},
};

/// What is built for the measurements, and how long they may take.
pub(crate) struct Kit {
    pub(crate) tcptrace: PathBuf,
    pub(crate) bench: PathBuf,
    /// The bench object.
    pub(crate) object: PathBuf,
    /// Times that each contender has its turn.
    pub(crate) rounds: usize,
    pub(crate) is_quick: bool,
}

/// What connections do, see the bench program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Opened and closed by one thread, as fast as it goes.
    Bare,
    /// The same, a thousand a second: the tracer has caught up before the next.
    Paced,
    /// A request and a response, a thread on each end.
    Request,
}

impl Load {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Paced => "paced",
            Self::Request => "request",
        }
    }
}

/// What a churn has taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Churned {
    pub(crate) connections: u64,
    /// Those included that warm up.
    pub(crate) transitions: u64,
    pub(crate) wall_ns: u64,
    pub(crate) cpu_ns: u64,
}

impl Kit {
    pub(crate) fn build(is_quick: bool) -> Result<Self> {
        // One by one: what the bench program wants of a library must not get into tcptrace.
        for package in ["tcptrace", "tcptrace-bench"] {
            succeed(cargo().args(["build", "--quiet", "--release", "--locked", "--package", package]))?;
        }
        let dir = target_dir().join("bench");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let object = dir.join("bench.bpf.o");
        ebpf::build_bench(&object)?;
        let built = target_dir().join("release");
        Ok(Self {
            tcptrace: built.join("tcptrace"),
            bench: built.join("tcptrace-bench"),
            object,
            rounds: if is_quick { 1 } else { 5 },
            is_quick,
        })
    }

    /// The larger one, or the smaller where it shall be quick.
    pub(crate) const fn size(&self, usual: u64, quick: u64) -> u64 {
        if self.is_quick { quick } else { usual }
    }

    /// Runs the bench program to its end; returns what it printed.
    pub(crate) fn ask(&self, args: &[&str]) -> Result<Value> {
        answer(Command::new(&self.bench).args(args))
    }

    /// A load in a namespace that is gone afterwards.
    pub(crate) fn churn(&self, connections: u64, threads: u64, load: Load) -> Result<Churned> {
        let netns = Netns::make()?;
        let mut command = netns.command(&self.bench);
        command.arg("churn");
        command.args(match load {
            Load::Bare => ["--kind", "bare", "--rest-us", "0"],
            Load::Paced => ["--kind", "bare", "--rest-us", "1000"],
            Load::Request => ["--kind", "request", "--rest-us", "0"],
        });
        command.args(["--connections", &connections.to_string(), "--threads", &threads.to_string()]);
        let answer = answer(&mut command)?;
        Ok(Churned {
            connections: number(&answer, "connections")?,
            transitions: number(&answer, "transitions")?,
            wall_ns: number(&answer, "wall_ns")?,
            cpu_ns: number(&answer, "cpu_ns")?,
        })
    }

    /// The names of the BPF programs that are loaded, by their ids.
    pub(crate) fn program_names(&self) -> Result<BTreeMap<u32, String>> {
        let answer = self.ask(&["names"])?;
        let names = answer.as_object().context("an object")?.iter();
        names.map(|(id, name)| Ok((id.parse()?, name.as_str().unwrap_or("?").to_owned()))).collect()
    }

    /// Lets the kernel measure BPF programs until the value is dropped.
    pub(crate) fn statistics(&self) -> Result<Held> {
        Held::start(Command::new(&self.bench).arg("stats"))
    }
}

/// A number in an answer of the bench program.
pub(crate) fn number(answer: &Value, name: &str) -> Result<u64> {
    answer[name].as_u64().with_context(|| format!("no number `{name}` in {answer}"))
}

fn answer(command: &mut Command) -> Result<Value> {
    let text = output(command)?;
    serde_json::from_str(&text).with_context(|| format!("{command:?} printed {text}"))
}

/// A program that keeps something as it is until it is dropped.
pub(crate) struct Held(Child);

impl Held {
    /// Starts it and waits until it says that it is so.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut held = Self(started.with_context(|| format!("cannot start {command:?}"))?);
        let stdout = held.0.stdout.take().context("is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line.trim() == "ready", "{command:?} is not ready");
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
