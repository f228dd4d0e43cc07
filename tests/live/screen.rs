//! The full-screen view on the real kernel, from end to end: on a terminal of tmux, with keys that are pressed there.

use std::{
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{harness::program, leaks::stage, netns, worker::Worker};

/// Until something is on the screen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connections that the server does not close.
const LEAKED: usize = 7;

/// Connections that stay open.
const OPEN: usize = 4;

/// Whether there is a terminal to be had.
pub(crate) fn has_tmux() -> bool {
    Command::new("tmux")
        .arg("-V")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|it| it.success())
}

/// A tmux server of our own, with one terminal. It ends with the value.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs a command line on it.
    fn start(command: &str) -> Result<Self> {
        let terminal = Self { socket: format!("tcptrace-test-{}", std::process::id()) };
        let size = ["-x", "120", "-y", "36"];
        let session = ["new-session", "-d", "-s", "tour"];
        terminal.tmux(&[&session[..], &size, &[command]].concat())?;
        Ok(terminal)
    }

    fn tmux(&self, args: &[&str]) -> Result<Output> {
        let output = Command::new("tmux")
            .args(["-L", &self.socket, "-f", "/dev/null"])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .context("cannot start tmux")?;
        ensure!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output)
    }

    /// Presses keys, by tmux's names.
    fn press(&self, keys: &[&str]) -> Result<()> {
        self.tmux(&[&["send-keys", "-t", "tour"], keys].concat()).map(drop)
    }

    /// Types text as it is.
    fn enter(&self, text: &str) -> Result<()> {
        self.tmux(&["send-keys", "-t", "tour", "-l", "--", text]).map(drop)
    }

    /// What is on the screen.
    fn screen(&self) -> Result<String> {
        let output = self.tmux(&["capture-pane", "-p", "-t", "tour"])?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the screen is so.
    fn wait_until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen()?;
            if is_so(&screen) {
                return Ok(screen);
            }
            if Instant::now() > deadline {
                bail!("not after {PATIENCE:?}: {what}\n{screen}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

/// Lines that have all of these words.
fn lines_with(screen: &str, words: &[&str]) -> usize {
    screen.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

/// Start, traffic, pages, sort, filter, a connection, the end.
pub(crate) fn tour() -> Result<()> {
    netns::run(|netns| {
        let at = stage::address();
        let (mut server, mut gone, mut stays) =
            (Worker::start("leaky-server")?, Worker::start("gone-client")?, Worker::start("stays-client")?);
        let program = program().display().to_string();
        ensure!(!program.contains('\''), "no quotes in {program}");
        let terminal = Terminal::start(&format!(
            "'{program}' watch -N inode:{}; echo exit status $?; exec sleep 600",
            netns.inode
        ))?;
        terminal.wait_until("the overview", |screen| {
            screen.contains("1 Overview") && screen.contains("0 lost")
        })?;

        server.order(&format!("backlog {at} 64"))?;
        gone.order(&format!("open {at} {LEAKED}"))?;
        server.order(&format!("take {LEAKED}"))?;
        gone.order("let-go")?;
        stays.order(&format!("open {at} {OPEN}"))?;
        server.order(&format!("take {OPEN}"))?;
        terminal.wait_until("the states are counted", |screen| {
            lines_with(screen, &["CLOSE_WAIT", &LEAKED.to_string()]) > 0
                && lines_with(screen, &["ESTABLISHED", &(2 * OPEN).to_string()]) > 0
        })?;

        terminal.press(&["2"])?;
        terminal.wait_until("all connections, each with its owner", |screen| {
            lines_with(screen, &["leaky-server", "CLOSE_WAIT"]) == LEAKED
                && lines_with(screen, &["leaky-server", "ESTABLISHED"]) == OPEN
                && lines_with(screen, &["stays-client", "ESTABLISHED"]) == OPEN
        })?;

        // A typing error is shown where it is, and mended.
        terminal.press(&["/"])?;
        terminal.enter("--state closewiat")?;
        terminal.press(&["Enter"])?;
        terminal.wait_until("a marker at the error", |screen| screen.contains("^^^^^^^^^"))?;
        terminal.press(&["C-u"])?;
        terminal.enter(&format!("--state close-wait --port {}", at.port()))?;
        terminal.press(&["Enter"])?;
        terminal.wait_until("what leaks, and no more", |screen| {
            lines_with(screen, &["leaky-server", "CLOSE_WAIT"]) == LEAKED
                && lines_with(screen, &["ESTABLISHED"]) == 0
        })?;

        let before = terminal.screen()?;
        terminal.press(&["s"])?;
        terminal.wait_until("sorted otherwise", |screen| {
            screen != before && lines_with(screen, &["leaky-server", "CLOSE_WAIT"]) == LEAKED
        })?;

        terminal.press(&["Enter"])?;
        terminal.wait_until("the life of one of them", |screen| {
            screen.contains("leaky-server")
                && screen.contains(&server.pid().to_string())
                && lines_with(screen, &["ESTABLISHED"]) > 0
                && lines_with(screen, &["CLOSE_WAIT"]) > 0
                && lines_with(screen, &["SYN_RECV"]) > 0
        })?;
        terminal.press(&["Escape"])?;
        terminal
            .wait_until("back", |screen| lines_with(screen, &["leaky-server", "CLOSE_WAIT"]) == LEAKED)?;

        // The picture stands still while events are collected; then it goes on.
        terminal.press(&["1"])?;
        terminal.press(&["p"])?;
        terminal.wait_until("paused", |screen| screen.contains("PAUSED"))?;
        stays.order("let-go")?;
        terminal.wait_until("what was missed is counted", |screen| {
            screen.contains("PAUSED") && !screen.contains("since then 0 transitions")
        })?;
        terminal.press(&["p"])?;
        terminal.wait_until("all are leaked now", |screen| {
            !screen.contains("PAUSED")
                && lines_with(screen, &["CLOSE_WAIT", &(LEAKED + OPEN).to_string()]) > 0
        })?;

        terminal.press(&["6"])?;
        terminal.wait_until("the state machine", |screen| {
            ["SYN_SENT", "FIN_WAIT2", "LAST_ACK", "TIME_WAIT"].iter().all(|state| screen.contains(state))
        })?;
        terminal.press(&["q"])?;
        let end = terminal.wait_until("the end", |screen| screen.contains("exit status"))?;
        ensure!(end.contains("exit status 0"), "it has not ended well:\n{end}");
        ensure!(end.contains("tcptrace: ") && end.contains("0 lost"), "no summary after the end:\n{end}");
        ensure!(!end.contains("1 Overview"), "the screen is not as it was:\n{end}");
        Ok(())
    })
}
