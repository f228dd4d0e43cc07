//! A terminal that a program runs on: what it shows, what is typed, and what is left of it at the end.

use std::{
    error::Error,
    ffi::OsStr,
    fs::{self, File},
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};

pub(super) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// How long anything may take. A machine may be slow; nobody waits that long unless something is wrong.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Starts the program that its arguments are, and stays.
const SHELL: [&str; 4] = ["sh", "-c", "\"$@\"; exit $?", "sh"];

/// How often to look.
const STEP: Duration = Duration::from_millis(2);

/// What has come from the program.
struct Shown {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

/// A program on a terminal of its own.
pub(super) struct Terminal {
    /// `None` when the terminal is gone.
    master: Option<File>,
    /// Held open, so that its attributes can be read when the program has ended.
    slave: OwnedFd,
    before: Termios,
    shown: Arc<Mutex<Shown>>,
    /// Has a copy of the master.
    reader: Option<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
    child: Child,
    /// The program itself; the child is the shell that it runs in.
    pid: Pid,
}

/// What a program is on its terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// One that a shell has started.
    #[default]
    InShell,
    /// There is no shell: it leads its session.
    Leader,
    /// The terminal is not that of its session: nobody tells it that the terminal is gone.
    Stranger,
}

/// What to start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Start<'a> {
    pub(super) args: &'a [&'a str],
    pub(super) env: &'a [(&'a str, &'a str)],
    pub(super) dir: Option<&'a Path>,
    pub(super) place: Place,
}

impl Terminal {
    /// Starts the demo on a terminal of 80 columns and 24 rows.
    pub(super) fn start(start: Start<'_>) -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty())?;
        let (rows, columns) = (24, 80);
        tcsetwinsize(&slave, size(columns, rows))?;
        let before = tcgetattr(&slave)?;
        let shown = Shown { parser: vt100::Parser::new(rows, columns, 0), bytes: Vec::new() };
        let shown = Arc::new(Mutex::new(shown));
        let is_over = Arc::<AtomicBool>::default();
        let reader = read(File::from(master.try_clone()?), Arc::clone(&shown), Arc::clone(&is_over));
        let mut command = Command::new("setsid");
        match start.place {
            Place::InShell => command.arg("--ctty").args(SHELL),
            Place::Leader => command.arg("--ctty"),
            Place::Stranger => command.args(SHELL),
        };
        command.arg(env!("CARGO_BIN_EXE_tcptrace")).args(["watch", "--demo"]).args(start.args);
        command.env_clear();
        for name in ["PATH", "HOME"] {
            command.env(name, std::env::var_os(name).unwrap_or_default());
        }
        command.envs([("TERM", "xterm-256color"), ("LANG", "C.UTF-8")]);
        command.envs(start.env.iter().copied());
        if let Some(dir) = start.dir {
            command.current_dir(dir);
        }
        let stdio = || slave.try_clone().map(Stdio::from);
        let child = command.stdin(stdio()?).stdout(stdio()?).stderr(stdio()?).spawn()?;
        let mut terminal = Self {
            pid: Pid::from_child(&child),
            master: Some(File::from(master)),
            slave,
            before,
            shown,
            reader: Some(reader),
            is_over,
            child,
        };
        terminal.pid = terminal.wait_for("the program", |terminal| Ok(program_of(terminal.pid)))?;
        Ok(terminal)
    }

    /// The same, and the first page is there.
    pub(super) fn open(start: Start<'_>) -> Result<Self> {
        let terminal = Self::start(start)?;
        terminal.shows("Overview")?;
        Ok(terminal)
    }

    pub(super) fn type_keys(&mut self, keys: &[u8]) -> Result {
        Ok(self.master.as_mut().ok_or("the terminal is gone")?.write_all(keys)?)
    }

    pub(super) fn resize(&mut self, columns: u16, rows: u16) -> Result {
        lock(&self.shown).parser.screen_mut().set_size(rows, columns);
        // Tells the program, too.
        Ok(tcsetwinsize(self.master.as_ref().ok_or("the terminal is gone")?, size(columns, rows))?)
    }

    /// What is to be seen now.
    pub(super) fn screen(&self) -> String {
        lock(&self.shown).parser.screen().contents()
    }

    /// What is to be seen in the first line the other way round.
    pub(super) fn inverse(&self) -> String {
        let shown = lock(&self.shown);
        let screen = shown.parser.screen();
        let cells = (0..screen.size().1).filter_map(|column| screen.cell(0, column));
        cells.filter(|cell| cell.inverse()).map(vt100::Cell::contents).collect()
    }

    /// Whether the program has the other screen.
    pub(super) fn is_on_other_screen(&self) -> bool {
        lock(&self.shown).parser.screen().alternate_screen()
    }

    /// All that has come.
    pub(super) fn bytes(&self) -> Vec<u8> {
        lock(&self.shown).bytes.clone()
    }

    /// Waits until it is to be seen, and returns how long that took.
    pub(super) fn shows(&self, text: &str) -> Result<Duration> {
        let start = Instant::now();
        let what = format!("`{text}` on the screen");
        self.wait_for(&what, |terminal| Ok(terminal.screen().contains(text).then_some(())))?;
        Ok(start.elapsed())
    }

    pub(super) fn signal(&self, signal: Signal) -> Result {
        Ok(kill_process(self.pid, signal)?)
    }

    /// State of the program, as in /proc: `S`, `T` when it is stopped; `None` when it is gone.
    pub(super) fn state(&self) -> Option<char> {
        stat(self.pid)?.split(' ').next()?.chars().next()
    }

    /// CPU time that it has used, in clock ticks.
    pub(super) fn cpu_ticks(&self) -> Option<u64> {
        let stat = stat(self.pid)?;
        let fields: Vec<&str> = stat.split(' ').collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    }

    /// From now on the terminal takes nothing any more.
    pub(super) fn stall(&mut self) {
        self.is_over.store(true, Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    /// The terminal goes away.
    pub(super) fn close(&mut self) {
        self.stall();
        self.master = None;
    }

    /// Waits until it is there.
    pub(super) fn wait_for<T>(&self, what: &str, look: impl Fn(&Self) -> Result<Option<T>>) -> Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self)? {
                return Ok(found);
            }
            if Instant::now() > until {
                return Err(format!("{what} did not come; on the screen is:\n{}", self.screen()).into());
            }
            thread::sleep(STEP);
        }
    }

    /// Waits for the end.
    pub(super) fn ended(&mut self) -> Result<ExitStatus> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > until {
                return Err(format!("it did not end; on the screen is:\n{}", self.screen()).into());
            }
            thread::sleep(STEP);
        }
    }

    /// Waits for the end, with this exit code, and sees that the terminal is as it was.
    pub(super) fn ended_in_order(&mut self, code: i32) -> Result {
        let status = self.ended()?;
        assert_eq!(status.code(), Some(code), "{status}, signal {:?}:\n{}", status.signal(), self.screen());
        self.is_as_it_was()
    }

    /// Sees that the terminal is as it was.
    pub(super) fn is_as_it_was(&self) -> Result {
        let after = tcgetattr(self.slave.as_fd())?;
        let before = &self.before;
        assert_eq!(after.local_modes, before.local_modes);
        assert_eq!(after.input_modes, before.input_modes);
        assert_eq!(after.output_modes, before.output_modes);
        assert_eq!(after.control_modes, before.control_modes);
        self.wait_for("the screen as it was", |terminal| {
            let shown = lock(&terminal.shown);
            let screen = shown.parser.screen();
            let is_left = !screen.alternate_screen()
                && !screen.hide_cursor()
                && !screen.bracketed_paste()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None;
            Ok(is_left.then_some(()))
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = kill_process(self.pid, Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.close();
    }
}

fn lock(shown: &Mutex<Shown>) -> std::sync::MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Takes in what the program writes, until it is over.
fn read(mut master: File, shown: Arc<Mutex<Shown>>, is_over: Arc<AtomicBool>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while !is_over.load(Relaxed) {
            let mut polled = [PollFd::new(&master, PollFlags::IN)];
            let timeout = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            if poll(&mut polled, Some(&timeout)).is_ok_and(|ready| ready > 0)
                && let Ok(count) = master.read(&mut buffer)
            {
                let mut shown = lock(&shown);
                shown.parser.process(&buffer[..count]);
                shown.bytes.extend_from_slice(&buffer[..count]);
            }
        }
    })
}

/// The program, started by a shell or not.
fn program_of(pid: Pid) -> Option<Pid> {
    if is_program(pid) {
        return Some(pid);
    }
    let pid = pid.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let child = children.split_whitespace().next()?.parse().ok().and_then(Pid::from_raw)?;
    is_program(child).then_some(child)
}

fn is_program(pid: Pid) -> bool {
    let program = fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero()));
    program.is_ok_and(|program| program.file_name() == Some(OsStr::new("tcptrace")))
}

/// What follows the name in /proc/PID/stat.
fn stat(pid: Pid) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // A zombie is gone, whoever it waits for.
    stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()).filter(|rest| !rest.starts_with(['Z', 'X']))
}
