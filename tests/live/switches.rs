//! What the kernel can be told to leave out: functions that call no programs, kprobes that do not fire.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::mount::{MountFlags, mount};

use crate::{
    capture::table,
    harness::{Tracer, Way, program},
    machine::{self, pause},
    netns::{self, unique_port},
    time_wait::the_row,
    traffic::{Pair, close},
};

const FUNCTIONS: &str = "/proc/sys/kernel/ftrace_enabled";
const DEBUGFS: &str = "/sys/kernel/debug";
const KPROBES: &str = "/sys/kernel/debug/kprobes/enabled";

/// A file of the kernel with another value. The old one comes back when dropped.
struct Changed {
    path: PathBuf,
    before: String,
}

impl Changed {
    /// `None`, said loudly, where the kernel has no such switch, and where others use it.
    fn to(path: &str, value: &str) -> Result<Option<Self>> {
        if !machine::is_own() {
            eprintln!("SKIPPED: {path}: only where the whole machine is the test's own (cargo xtask vm)");
            return Ok(None);
        }
        if !Path::new(path).exists() {
            eprintln!("SKIPPED: this kernel has no {path}");
            return Ok(None);
        }
        let before = fs::read_to_string(path).context(path.to_owned())?;
        fs::write(path, value).with_context(|| format!("cannot write {value} to {path}"))?;
        Ok(Some(Self { path: path.into(), before: before.trim().to_owned() }))
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        let _ = fs::write(&self.path, &self.before);
    }
}

/// One life whose client waits for its peer's FIN. Returns the port.
fn a_life() -> Result<u16> {
    let mut pair = Pair::v4(unique_port())?;
    let port = pair.server_addr.port();
    close(pair.client);
    ensure!(pair.server.read(&mut [0; 1])? == 0, "data from nowhere");
    thread::sleep(pause(Duration::from_millis(300)));
    close(pair.server);
    thread::sleep(pause(Duration::from_millis(300)));
    Ok(port)
}

/// Where the kernel would take programs at functions and never call them, they are not used, and why is said.
pub(crate) fn functions_off() -> Result<()> {
    let Some(_off) = Changed::to(FUNCTIONS, "0")? else { return Ok(()) };
    let tracer = Tracer::start(&["--lifecycle", "auto", "--accept", "auto"])?;
    let port = netns::run(|_| a_life())?;
    let said = tracer.stderr();
    let capture = tracer.stop()?;
    for part in ["not fentry: kernel.ftrace_enabled is 0", "not fexit: kernel.ftrace_enabled is 0"] {
        ensure!(said.contains(part), "no {part:?} in {said}");
    }
    let row = the_row(&capture, port, "FIN_WAIT2", "TIME_WAIT")?;
    ensure!(row.duration_is.as_deref() != Some("at_least"), "not by the timers: {row}");
    let owners = capture.select(|row| row.is_server_of(port) && row.new == "CLOSE_WAIT");
    ensure!(
        owners.iter().all(|row| row.owner_is.as_deref() == Some("caller")),
        "not by the system call:\n{}",
        table(owners)
    );

    for flag in ["--lifecycle=fentry", "--accept=fexit"] {
        let output = Command::new(program()).args(["watch", flag]).stdin(Stdio::null()).output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(2) && said.lines().count() == 1, "{flag}: {said}");
        ensure!(said.contains("sysctl kernel.ftrace_enabled=1"), "{flag}: no remedy in {said}");
    }
    Ok(())
}

/// Turned off while it traces: that is said, and nothing is claimed to be seen that is not.
pub(crate) fn functions_turned_off() -> Result<()> {
    if let Some(reason) = Way::Fentry.refusal() {
        eprintln!("SKIPPED: switches::functions_turned_off: {reason}");
        return Ok(());
    }
    let tracer = Tracer::start(&["--lifecycle", "fentry"])?;
    let before = netns::run(|_| a_life())?;
    let Some(off) = Changed::to(FUNCTIONS, "0")? else { return Ok(()) };
    thread::sleep(pause(Duration::from_millis(500)));
    let after = netns::run(|_| a_life())?;
    thread::sleep(pause(Duration::from_millis(500)));
    let said = tracer.stderr();
    let (capture, said_last) = tracer.stop_with_stderr()?;
    ensure!(said.contains("kernel.ftrace_enabled was set to 0"), "{said}");
    let warning = "then start and end tcptrace once more";
    ensure!(!said.contains(warning) && said_last.contains(warning), "{said_last}");
    let is_of = |port| {
        let row = the_row(&capture, port, "FIN_WAIT2", "TIME_WAIT")?;
        anyhow::Ok(row.duration_is.clone().unwrap_or_default())
    };
    ensure!(is_of(before)? == "exact", "{}", is_of(before)?);
    ensure!(is_of(after)? != "exact", "nobody saw it: {}", is_of(after)?);

    // What is said to help does: then the end of the last program at a function leaves the function tracer alone.
    drop(off);
    for flags in [["--lifecycle", "fentry"].as_slice(), &["--lifecycle", "off", "--accept", "fexit"]] {
        let (_, said) = Tracer::start(flags)?.stop_with_stderr()?;
        ensure!(!said.contains(warning), "{said}");
    }
    ensure!(Way::Fentry.refusal().is_none(), "{:?}", Way::Fentry.refusal());
    Ok(())
}

/// No kprobe is needed, and none is used.
pub(crate) fn kprobes_off() -> Result<()> {
    if machine::is_own() && !Path::new(KPROBES).exists() {
        mount("none", DEBUGFS, "debugfs", MountFlags::empty(), None).context(DEBUGFS)?;
    }
    let Some(_off) = Changed::to(KPROBES, "0")? else { return Ok(()) };
    let tracer = Tracer::start(&["--lifecycle", "auto", "--accept", "auto"])?;
    let port = netns::run(|_| a_life())?;
    let list = fs::read_to_string("/sys/kernel/debug/kprobes/list")?;
    let said = tracer.stderr();
    let capture = tracer.stop()?;
    ensure!(list.trim().is_empty(), "kprobes: {list}");
    ensure!(!said.contains("kprobe"), "{said}");
    let rows = capture.select(|row| row.is_client_of(port));
    ensure!(rows.iter().any(|row| row.old == "ESTABLISHED" && row.new == "FIN_WAIT1"), "{}", table(rows));
    Ok(())
}
