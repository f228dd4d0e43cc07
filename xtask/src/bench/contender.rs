//! What is measured, and what it is measured against.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    kit::Kit,
    peers,
    programs::{self, Programs},
};

/// For a contender to attach.
const PATIENCE: Duration = Duration::from_secs(30);

/// Its programs have been the same for so long: it is attached.
const SETTLED: Duration = Duration::from_millis(600);

/// What of the output is kept: the end, which has the summary.
const TAIL: usize = 64 << 10;

/// A tracer, or what stands for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// No tracer at all.
    Nothing,
    /// A program of the bench object that does nothing.
    Empty,
    /// One that puts an empty record into the ring.
    BareRecord,
    /// `tcptrace watch` with these arguments.
    Watch(&'static [&'static str]),
    /// `tcptrace hist` with these arguments.
    Hist(&'static [&'static str]),
    /// Another tool.
    Peer(peers::Peer),
}

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sink {
    /// Nowhere.
    Null,
    /// Through a pipe to us, who throw them away.
    Pipe,
}

impl Contender {
    /// `tcptrace watch` as it is when nothing is said.
    pub(crate) const DEFAULT_WATCH: Self = Self::Watch(&[]);

    /// The state tracepoint alone: no time-wait sockets, nobody who accepts.
    pub(crate) const STATES_ONLY: Self = Self::Watch(&["--lifecycle", "off", "--accept", "off"]);

    /// Why it cannot be used here.
    pub(crate) fn missing(self) -> Option<String> {
        match self {
            Self::Peer(peer) => peer.missing(),
            _ => None,
        }
    }

    /// Starts it, and waits until it is attached. `None` for [`Self::Nothing`].
    pub(crate) fn start(self, kit: &Kit, sink: Sink) -> Result<Option<Running>> {
        let mut command = match self {
            Self::Nothing => return Ok(None),
            Self::Empty => bench_program(kit, "empty"),
            Self::BareRecord => bench_program(kit, "bare_record"),
            Self::Watch(args) => tcptrace(kit, "watch", args),
            Self::Hist(args) => tcptrace(kit, "hist", args),
            Self::Peer(peer) => peer.command(),
        };
        let stdout =
            if sink == Sink::Pipe || self.is_bench_program() { Stdio::piped() } else { Stdio::null() };
        command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stdout = child.stdout.take().map(drain);
        let stderr = child.stderr.take().map(|mut stderr| {
            thread::spawn(move || {
                let mut text = String::new();
                // What cannot be read was not said.
                let _ = stderr.read_to_string(&mut text);
                text
            })
        });
        let mut running = Running { child, stdout, stderr, ends_with_input: self.is_bench_program() };
        running.wait_until_attached().with_context(|| format!("{command:?}"))?;
        Ok(Some(running))
    }

    const fn is_bench_program(self) -> bool {
        matches!(self, Self::Empty | Self::BareRecord)
    }
}

fn tcptrace(kit: &Kit, command: &str, args: &[&str]) -> Command {
    let mut tcptrace = Command::new(&kit.tcptrace);
    tcptrace.arg(command).args(args);
    tcptrace
}

fn bench_program(kit: &Kit, program: &str) -> Command {
    let mut command = Command::new(&kit.bench);
    command.arg("attach").arg(&kit.object).arg(program);
    command
}

/// What came out at the end.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) last_line: String,
    pub(crate) stderr: String,
}

/// Of a process: what it has used up to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time of all its threads.
    pub(crate) cpu_ns: u64,
    /// The most memory that it had.
    pub(crate) peak_bytes: u64,
}

/// A contender that is attached. Ended when it is dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    ends_with_input: bool,
}

impl Running {
    pub(crate) fn programs(&self) -> Result<Programs> {
        programs::of_process(self.child.id())
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        usage_of(self.child.id())
    }

    /// Waits until it has nothing to do any more.
    pub(crate) fn wait_until_idle(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE * 4;
        let mut before = self.usage()?.cpu_ns;
        loop {
            thread::sleep(Duration::from_millis(300));
            let now = self.usage()?.cpu_ns;
            // Its ticks and looks go on: 3 % of a processor at most.
            if now - before < 10_000_000 {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("it is still busy after {:?}", PATIENCE * 4);
            }
            before = now;
        }
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn stop(mut self) -> Result<Ended> {
        self.ask_to_end();
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                // bpftrace was seen to go on for minutes with what it had not printed yet.
                self.child.kill()?;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let said = |reader: Option<JoinHandle<String>>| reader?.join().ok();
        let last_line = said(self.stdout.take()).unwrap_or_default();
        let stderr = said(self.stderr.take()).unwrap_or_default();
        Ok(Ended { last_line, stderr })
    }

    fn ask_to_end(&mut self) {
        drop(self.child.stdin.take());
        if !self.ends_with_input {
            // It may have ended by itself.
            let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        }
    }

    fn wait_until_attached(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut known = Programs::new();
        let mut since = Instant::now();
        while known.is_empty() || since.elapsed() < SETTLED {
            if let Some(status) = self.child.try_wait()? {
                let said = self.stderr.take().map(|reader| reader.join().unwrap_or_default());
                bail!("ended with {status}: {}", said.unwrap_or_default().trim());
            }
            if Instant::now() > deadline {
                bail!("has attached nothing in {PATIENCE:?}");
            }
            thread::sleep(Duration::from_millis(20));
            let now = self.programs()?;
            if !now.keys().eq(known.keys()) {
                since = Instant::now();
            }
            known = now;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.ask_to_end();
            let _ = self.child.wait();
        }
    }
}

/// What a process has used up to now.
pub(crate) fn usage_of(pid: u32) -> Result<Usage> {
    let dir = format!("/proc/{pid}");
    let mut cpu_ns = 0;
    for task in fs::read_dir(format!("{dir}/task")).with_context(|| dir.clone())? {
        // A thread may be gone by now.
        let schedstat = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        cpu_ns += first_number(&schedstat).unwrap_or(0);
    }
    let status = fs::read_to_string(format!("{dir}/status")).with_context(|| dir.clone())?;
    let peak = status.lines().find_map(|line| first_number(line.strip_prefix("VmHWM:")?));
    Ok(Usage { cpu_ns, peak_bytes: peak.context("no VmHWM")? * 1024 })
}

/// Reads to the end; keeps the last line.
fn drain(stdout: ChildStdout) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut reader = BufReader::with_capacity(1 << 20, stdout);
        let mut tail = Vec::new();
        loop {
            let read = match reader.fill_buf() {
                Ok([]) | Err(_) => break,
                Ok(read) => read,
            };
            let length = read.len();
            tail.extend_from_slice(&read[length.saturating_sub(TAIL)..]);
            let too_much = tail.len().saturating_sub(TAIL);
            tail.drain(..too_much);
            reader.consume(length);
        }
        let text = String::from_utf8_lossy(&tail);
        text.lines().last().unwrap_or_default().to_owned()
    })
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// A program in the directories where administrators' tools are.
pub(crate) fn find(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/bin", "/sbin"].map(Into::into));
    dirs.map(|dir| dir.join(name)).find(|file| Path::is_file(file))
}
