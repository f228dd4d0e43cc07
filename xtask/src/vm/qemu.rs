//! Runs a guest, shows what it says, and ends it when it says nothing any more.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    host,
    initramfs::Guest,
    kernels::dir,
    verdict::{Reader, Verdict},
};

/// An emulator. Killed when dropped.
struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Files of one run.
struct Files {
    initramfs: PathBuf,
    kernel_log: PathBuf,
    output: PathBuf,
}

impl Files {
    fn new(name: &str) -> Result<Self> {
        let runs = dir().join("runs");
        fs::create_dir_all(&runs).with_context(|| format!("cannot make {}", runs.display()))?;
        // Runs of two checkouts, or of two terminals, must not meet.
        let file = |what: &str| runs.join(format!("{name}-{}.{what}", std::process::id()));
        Ok(Self { initramfs: file("cpio"), kernel_log: file("kernel.log"), output: file("output.log") })
    }
}

/// How to run a guest.
pub(crate) struct Run<'a> {
    /// For its files.
    pub(crate) name: &'a str,
    /// Give up on a guest that has said nothing for so long.
    pub(crate) patience: Duration,
    pub(crate) keep_log: bool,
    /// Others run at the same time: each line is shown with the name.
    pub(crate) is_one_of_many: bool,
}

impl Run<'_> {
    /// Boots the guest and returns its verdict. The logs are kept when it is asked for, and when not all was well.
    pub(crate) fn guest(&self, guest: &Guest<'_>) -> Result<Verdict> {
        let files = Files::new(self.name)?;
        guest.write(&files.initramfs)?;
        let verdict = self.emulate(guest, &files);
        let _ = fs::remove_file(&files.initramfs);
        if self.keep_log || !matches!(verdict, Ok(Verdict { status: 0, .. })) {
            eprintln!("xtask: see {} and {}", files.kernel_log.display(), files.output.display());
        } else {
            for log in [&files.kernel_log, &files.output] {
                let _ = fs::remove_file(log);
            }
        }
        verdict
    }

    fn emulate(&self, guest: &Guest<'_>, files: &Files) -> Result<Verdict> {
        let begun = Instant::now();
        let mut log = File::create(&files.output)?;
        let mut emulator = start(guest, files)?;
        let output = emulator.0.stdout.take().context("no stdout")?;
        let lines = lines_of(output);
        let mut reader = Reader::default();
        loop {
            match lines.recv_timeout(self.patience) {
                Ok(line) => {
                    reader.line(&line);
                    writeln!(log, "{:6.1} {line}", begun.elapsed().as_secs_f64())?;
                    if self.is_one_of_many {
                        writeln!(io::stdout(), "{:<6}| {line}", self.name)?;
                    } else {
                        writeln!(io::stdout(), "{line}")?;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    bail!(
                        "the guest has said nothing for {} s{}",
                        self.patience.as_secs(),
                        last_words(&files.kernel_log)
                    );
                }
            }
        }
        let status = emulator.0.wait()?;
        reader.finish().with_context(|| format!("{status}{}", last_words(&files.kernel_log)))
    }
}

/// The lines of the guest's terminal, as they come.
fn lines_of(output: ChildStdout) -> Receiver<String> {
    let (lines, received) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            // The guest's terminal makes CR LF of LF.
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            if lines.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    received
}

fn start(guest: &Guest<'_>, files: &Files) -> Result<Emulator> {
    // Killed with us: nobody would miss an emulator that was left behind, but its memory and its processor.
    let mut command = Command::new(host::find("setpriv")?);
    command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    // TCG, never KVM: inside of many virtual machines KVM is there and hangs.
    command.args(["-accel", "tcg,thread=single", "-smp", "2", "-m", "2048"]);
    // Without CMPXCHG16B, which the kernel's slab allocator uses where it is offered: QEMU 7.2 has been seen to take an
    // interrupt right after one with an address for the flags, and the kernel to panic (double fault).
    // Without ERMS, for which the kernel copies and clears byte by byte, as the emulator then does.
    command.args(["-cpu", "max,-cx16,-erms"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.arg("-kernel").arg(&guest.kernel.image).arg("-initrd").arg(&files.initramfs);
    // A panic ends the guest; entropy need not be waited for, nor the emulated processor be protected from itself; both
    // processors' time-stamp counters are one clock of the host, whatever a busy host makes the guest believe.
    command.args(["-append", "console=ttyS0 panic=-1 random.trust_cpu=on mitigations=off tsc=reliable"]);
    command.arg("-serial").arg(format!("file:{}", files.kernel_log.display())).args(["-serial", "stdio"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    child.map(Emulator).with_context(|| format!("cannot start {command:?}"))
}

/// The end of the kernel's log, where it may say what went wrong.
fn last_words(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(30)..].join("\n");
    format!("; the kernel's last words:\n{end}")
}
