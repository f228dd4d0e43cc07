//! A program on a terminal of our own, whose screen we read and whose keys we press.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// How often to look at the screen.
const LOOK: Duration = Duration::from_micros(200);

/// Columns and lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) columns: u16,
    pub(crate) lines: u16,
}

/// A program that runs on a terminal.
pub(crate) struct OnTerminal {
    child: Child,
    /// Our end of the terminal.
    keyboard: File,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl OnTerminal {
    /// Starts `program` with `setsid`, which makes the terminal the one that controls it.
    pub(crate) fn start(program: &Path, args: &[&str], size: Size) -> Result<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .context("cannot make a terminal")?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let theirs =
            rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
                .context("cannot open the terminal")?;
        let winsize = Winsize { ws_row: size.lines, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&theirs, winsize)?;
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program).args(args);
        command.env("TERM", "xterm-256color").env("COLORTERM", "truecolor").env("LC_ALL", "C.UTF-8");
        command.env_remove("NO_COLOR");
        command.stdin(Stdio::from(theirs.try_clone()?));
        command.stdout(Stdio::from(theirs.try_clone()?)).stderr(Stdio::from(theirs));
        let child = command.spawn().context("cannot start setsid (package util-linux)")?;
        drop(command);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size.lines, size.columns, 0)));
        let keyboard = File::from(ours);
        let mut output = keyboard.try_clone()?;
        let parser = Arc::clone(&screen);
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            // EIO: nobody has the other end any more.
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                parser.lock().unwrap_or_else(PoisonError::into_inner).process(&buffer[..length]);
            }
        });
        Ok(Self { child, keyboard, screen })
    }

    /// The program's process: `setsid` became it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) -> Result<()> {
        self.keyboard.write_all(keys.as_bytes()).context("cannot press keys")
    }

    /// What is on the screen.
    pub(crate) fn text(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).screen().contents()
    }

    /// The same with its colours, as lines of escape sequences that set nothing but colours and weights.
    pub(crate) fn colored(&self) -> String {
        let parser = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, columns) = parser.screen().size();
        let mut text = String::new();
        for line in 0..lines {
            let mut style = String::new();
            for cell in (0..columns).filter_map(|column| parser.screen().cell(line, column)) {
                if cell.is_wide_continuation() {
                    continue;
                }
                let now = sequence(cell);
                if now != style {
                    text.push_str(&now);
                    style = now;
                }
                text.push_str(if cell.has_contents() { cell.contents() } else { " " });
            }
            text.push_str("\x1b[0m\n");
        }
        text
    }

    /// Waits until something is on the screen; returns how long that took.
    pub(crate) fn wait_for(&mut self, what: &str, patience: Duration) -> Result<Duration> {
        let begun = Instant::now();
        loop {
            if self.text().contains(what) {
                return Ok(begun.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it has ended with {status}:\n{}", self.text());
            }
            if begun.elapsed() > patience {
                bail!("`{what}` is not on the screen after {patience:?}:\n{}", self.text());
            }
            thread::sleep(LOOK);
        }
    }

    /// Presses `q` and waits for the end.
    pub(crate) fn quit(mut self, patience: Duration) -> Result<String> {
        self.press("q")?;
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                // What was written last is read by now, or in a moment.
                thread::sleep(Duration::from_millis(50));
                let text = self.text();
                return if status.success() {
                    Ok(text)
                } else {
                    bail!("it has ended with {status}:\n{text}")
                };
            }
            if begun.elapsed() > patience {
                bail!("it has not ended after {patience:?}");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What sets the looks of a cell.
fn sequence(cell: &vt100::Cell) -> String {
    let mut codes = vec!["0".to_owned()];
    let flags = [(cell.bold(), "1"), (cell.dim(), "2"), (cell.underline(), "4"), (cell.inverse(), "7")];
    codes.extend(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, code)| code.to_owned()));
    for (color, code) in [(cell.fgcolor(), 38), (cell.bgcolor(), 48)] {
        match color {
            vt100::Color::Default => {}
            vt100::Color::Idx(number) => codes.push(format!("{code};5;{number}")),
            vt100::Color::Rgb(red, green, blue) => codes.push(format!("{code};2;{red};{green};{blue}")),
        }
    }
    format!("\x1b[{}m", codes.join(";"))
}
