//! Starts tcptrace, waits until it traces, ends it, collects what it said.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::{
    capture::{Capture, Row},
    machine::patience,
    netns::{self, Netns},
};

/// How long tcptrace may take to attach, and to end. A debug build on a busy machine is slow to load.
fn attach_or_end() -> Duration {
    patience(Duration::from_secs(30))
}

/// A running tcptrace. Killed when dropped.
pub(crate) struct Tracer {
    child: Child,
    stdout: NamedTempFile,
    stderr: Arc<Mutex<String>>,
}

/// What the kernel says of a BPF program.
#[derive(Debug)]
pub(crate) struct ProgramRuns {
    id: u64,
    pub(crate) runs: u64,
    pub(crate) misses: u64,
}

/// A way of following time-wait and request sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Fentry,
    Timer,
}

impl Way {
    pub(crate) const ALL: [Self; 2] = [Self::Fentry, Self::Timer];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Timer => "timer",
        }
    }

    /// Why this kernel does not offer it; `None` when it does.
    pub(crate) fn refusal(self) -> Option<String> {
        let output = Command::new(program())
            .args(["watch", "--duration", "0.01s", "-o", "json", "--lifecycle", self.name()])
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// The program under test.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("TCPTRACE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_tcptrace").into(), PathBuf::from)
}

impl Tracer {
    /// `tcptrace watch -o json -v ARGS`, with its output going to a file; returns once it traces.
    pub(crate) fn start(args: &[&str]) -> Result<Self> {
        let stdout = NamedTempFile::new().context("temporary file")?;
        let sink = Stdio::from(stdout.reopen()?);
        Self::launch(args, sink, stdout)
    }

    /// `tcptrace hist -o json -v ARGS`.
    pub(crate) fn start_hist(args: &[&str]) -> Result<Self> {
        let stdout = NamedTempFile::new().context("temporary file")?;
        let sink = Stdio::from(stdout.reopen()?);
        Self::launch_command(&["hist", "-o", "json", "-v"], args, sink, stdout)
    }

    /// `tcptrace leaks -o json -v ARGS`.
    pub(crate) fn start_leaks(args: &[&str]) -> Result<Self> {
        let stdout = NamedTempFile::new().context("temporary file")?;
        let sink = Stdio::from(stdout.reopen()?);
        Self::launch_command(&["leaks", "-o", "json", "-v"], args, sink, stdout)
    }

    /// The same with its output going somewhere else.
    pub(crate) fn start_to(args: &[&str], sink: File) -> Result<Self> {
        Self::launch(args, sink.into(), NamedTempFile::new()?)
    }

    /// The same with its output going through a pipe (and from there to a file).
    pub(crate) fn start_piped(args: &[&str]) -> Result<Self> {
        let stdout = NamedTempFile::new().context("temporary file")?;
        let mut tracer = Self::launch(args, Stdio::piped(), stdout)?;
        let mut pipe = tracer.child.stdout.take().context("no pipe")?;
        let mut copy = tracer.stdout.reopen()?;
        thread::spawn(move || io::copy(&mut pipe, &mut copy));
        Ok(tracer)
    }

    fn launch(args: &[&str], sink: Stdio, stdout: NamedTempFile) -> Result<Self> {
        // What the state tracepoint says is the measure of most tests; what follows in `args` overrides it.
        Self::launch_command(&["watch", "-o", "json", "-v", "--lifecycle", "off"], args, sink, stdout)
    }

    fn launch_command(command: &[&str], args: &[&str], sink: Stdio, stdout: NamedTempFile) -> Result<Self> {
        let program = program();
        let mut child = Command::new(&program)
            .args(command)
            .args(args)
            .stdin(Stdio::null())
            .stdout(sink)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let pipe = child.stderr.take().context("no stderr")?;
        let stderr = Arc::new(Mutex::new(String::new()));
        let (attached, wait) = mpsc::channel();
        let collected = Arc::clone(&stderr);
        // Runs until the end of tcptrace, so that it never blocks on a full pipe.
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(io::Result::ok) {
                let is_attached = line.contains("attached");
                let mut text = collected.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&line);
                text.push('\n');
                drop(text);
                if is_attached {
                    let _ = attached.send(());
                }
            }
        });
        let tracer = Self { child, stdout, stderr };
        if wait.recv_timeout(attach_or_end()).is_err() {
            bail!("tcptrace did not say \"attached\" (args {args:?}); its stderr:\n{}", tracer.stderr());
        }
        Ok(tracer)
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until its log has this.
    pub(crate) fn wait_for_log(&self, text: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !self.stderr().contains(text) {
            ensure!(Instant::now() < deadline, "no {text} within {limit:?}; its stderr:\n{}", self.stderr());
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Waits until it has written this.
    pub(crate) fn wait_for(&self, text: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !fs::read_to_string(self.stdout())?.contains(text) {
            ensure!(Instant::now() < deadline, "no {text} within {limit:?}; its stderr:\n{}", self.stderr());
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Waits until it has written a row like that.
    pub(crate) fn wait_for_row(&self, wanted: impl Fn(&Row) -> bool, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let written = fs::read_to_string(self.stdout())?;
            // What comes behind the last end of a line is a beginning.
            let whole = written.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let rows = whole.lines().filter(|line| line.contains("\"transition\""));
            for line in rows {
                if wanted(&Row::read(&serde_json::from_str(line)?)?) {
                    return Ok(());
                }
            }
            ensure!(Instant::now() < deadline, "no such row within {limit:?}:\n{written}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What it has written so far.
    pub(crate) fn stdout(&self) -> &Path {
        self.stdout.path()
    }

    /// Closes our end of its standard output, where that is a pipe nobody has taken yet.
    pub(crate) fn take_pipe(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Output goes to a pipe that the caller reads, or closes.
    pub(crate) fn start_with_open_pipe(args: &[&str]) -> Result<Self> {
        Self::launch(args, Stdio::piped(), NamedTempFile::new()?)
    }

    /// A value of `/proc/PID/status` in KiB.
    pub(crate) fn status_kib(&self, key: &str) -> Result<u64> {
        Ok(self.status(key)?.trim_end_matches(" kB").parse()?)
    }

    /// A value of `/proc/PID/status`.
    pub(crate) fn status(&self, key: &str) -> Result<String> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).with_context(|| path.clone())?;
        let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let value = value.with_context(|| format!("no {key} in {path}"))?;
        Ok(value.trim().to_owned())
    }

    /// Its programs in the order in which they were loaded: how often the kernel ran each (only while
    /// `kernel.bpf_stats_enabled` is set), and how often it skipped it because it was running on that CPU.
    pub(crate) fn programs(&self) -> Result<Vec<ProgramRuns>> {
        let mut programs = Vec::new();
        for file in fs::read_dir(format!("/proc/{}/fdinfo", self.child.id()))? {
            // A descriptor may be gone by now, and most are no programs.
            let info = fs::read_to_string(file?.path()).unwrap_or_default();
            let value =
                |key| info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
            if let (Some(id), Some(runs)) = (value("prog_id:"), value("run_cnt:")) {
                programs.push(ProgramRuns { id, runs, misses: value("recursion_misses:").unwrap_or(0) });
            }
        }
        programs.sort_by_key(|program| program.id);
        Ok(programs)
    }

    /// Waits until it has nothing more to write: its output has not grown for half a second.
    pub(crate) fn wait_idle(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut before = u64::MAX;
        loop {
            let now = fs::metadata(self.stdout.path())?.len();
            if now == before {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "still writing after {limit:?}");
            before = now;
            thread::sleep(Duration::from_millis(500));
        }
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).with_context(|| format!("{signal:?}"))
    }

    /// The numbers that the kernel tells behind `key` of its descriptors.
    pub(crate) fn ids(&self, key: &str) -> Result<Vec<u64>> {
        let mut ids = Vec::new();
        for file in fs::read_dir(format!("/proc/{}/fdinfo", self.child.id()))? {
            // A descriptor may be gone by now, and most are something else.
            let info = fs::read_to_string(file?.path()).unwrap_or_default();
            ids.extend(info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok()));
        }
        Ok(ids)
    }

    /// SIGINT, and the wait for its end.
    pub(crate) fn interrupt(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::INT)?;
        self.wait_end(attach_or_end())
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "tcptrace has not ended within {limit:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Interrupts it; it must end well. Its output stays in the file that is returned.
    pub(crate) fn stop_raw(mut self) -> Result<File> {
        let status = self.interrupt()?;
        ensure!(status.code() == Some(0), "ended with {status}; its stderr:\n{}", self.stderr());
        Ok(self.stdout.reopen()?)
    }

    /// Interrupts it; it must end well, and all it said must be as the JSON contract has it.
    pub(crate) fn stop(self) -> Result<Capture> {
        let stderr = Arc::clone(&self.stderr);
        let output = self.stop_raw()?;
        let text = || stderr.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Capture::read(output).with_context(|| format!("stderr of tcptrace:\n{}", text()))
    }

    /// The same, with all that it has said on stderr.
    pub(crate) fn stop_with_stderr(self) -> Result<(Capture, String)> {
        let stderr = Arc::clone(&self.stderr);
        let capture = self.stop()?;
        // Whoever collects it has a share in it until the end.
        while Arc::strong_count(&stderr) > 1 {
            thread::sleep(Duration::from_millis(1));
        }
        let said = stderr.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok((capture, said))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs `body` in a network namespace of its own with tcptrace watching from outside of it, and gives back what
/// tcptrace said about that namespace. `body` must let go of all its sockets.
pub(crate) fn scene<T: Send>(
    args: &[&str],
    body: impl FnOnce(&Netns) -> Result<T> + Send,
) -> Result<(Capture, T)> {
    let (capture, inode, value) = host_wide(args, body)?;
    Ok((capture.only(|row| row.netns == Some(inode)), value))
}

/// The same with what tcptrace said about the whole host.
pub(crate) fn host_wide<T: Send>(
    args: &[&str],
    body: impl FnOnce(&Netns) -> Result<T> + Send,
) -> Result<(Capture, u64, T)> {
    let tracer = Tracer::start(args)?;
    let (inode, value) = netns::run(|netns| {
        let value = body(netns)?;
        netns::settle()?;
        Ok((netns.inode, value))
    })?;
    Ok((tracer.stop()?, inode, value))
}
