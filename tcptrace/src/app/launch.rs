//! A command that is traced: started when tracing is on, by a thread that has kept its capabilities for that.

use std::{
    ffi::OsString,
    io,
    num::NonZeroU32,
    os::{fd::AsFd as _, unix::process::ExitStatusExt as _},
    process::{Command, ExitStatus},
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use caps::CapSet;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;

/// A command that waits to be started, or runs, or has ended.
pub(super) struct Launch {
    name: String,
    go: SyncSender<()>,
    started: Option<oneshot::Receiver<io::Result<Pid>>>,
    ended: Option<oneshot::Receiver<io::Result<ExitStatus>>>,
    running: Option<Pid>,
}

impl Launch {
    /// Starts the thread, before the process gives up its capabilities, which are each thread's own.
    pub(super) fn prepare(command: &[OsString]) -> Result<Option<Self>> {
        let [program, args @ ..] = command else { return Ok(None) };
        let name = program.to_string_lossy().into_owned();
        // Our standard output has lines for programs: the command's goes where messages for people go.
        let stdout = io::stderr().as_fd().try_clone_to_owned().context("standard error")?;
        let mut command = Command::new(program);
        command.args(args).stdout(stdout);
        let (go, is_time) = sync_channel(1);
        let (tell_started, started) = oneshot::channel();
        let (tell_ended, ended) = oneshot::channel();
        let work = move || {
            // Nobody says so when tracing could not begin.
            if is_time.recv().is_err() {
                return;
            }
            let spawned = command.spawn();
            for set in [CapSet::Effective, CapSet::Permitted] {
                let _ = caps::clear(None, set);
            }
            match spawned {
                Ok(mut child) => {
                    let _ = tell_started.send(Ok(Pid::from_child(&child)));
                    let _ = tell_ended.send(child.wait());
                }
                Err(error) => drop(tell_started.send(Err(error))),
            }
        };
        thread::Builder::new().name("launch".to_owned()).spawn(work).context("cannot start a thread")?;
        Ok(Some(Self { name, go, started: Some(started), ended: Some(ended), running: None }))
    }

    /// The process whose child the command will be: this one.
    pub(super) fn parent() -> Option<NonZeroU32> {
        NonZeroU32::new(std::process::id())
    }

    /// Starts the command.
    pub(super) async fn go(&mut self) -> Result<()> {
        let gone = || anyhow!("the thread that starts it has ended");
        let started = self.started.take().ok_or_else(gone)?;
        self.go.send(()).map_err(|_| gone())?;
        let pid = started.await.map_err(|_| gone())?;
        self.running = Some(pid.with_context(|| format!("cannot start {}", self.name.escape_debug()))?);
        Ok(())
    }

    /// Waits until it has ended; for ever when it has. Dropping the future loses nothing.
    pub(super) async fn ended(&mut self) -> Result<u8> {
        let Some(ended) = &mut self.ended else { return std::future::pending().await };
        let status = ended.await;
        self.ended = None;
        self.running = None;
        let status = status.map_err(|_| anyhow!("the thread that waits for it has ended"))?;
        Ok(code(status.context("cannot wait for it")?))
    }

    /// We end before it.
    pub(super) fn stop(&self) {
        if let Some(pid) = self.running {
            // It may end by itself just now.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// As a shell would say it: 128 and the signal's number for one that was killed.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
