//! The full-screen view on a terminal: keys in, frames out, and the terminal as it was at the end.

mod export;
#[cfg(debug_assertions)]
mod faults;
mod keys;
mod lease;
mod modes;
mod pace;
mod suspend;
mod terminal;

use std::{
    env,
    future::Future,
    io, mem,
    path::Path,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use crossterm::event::Event;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::{keys::Keys, lease::Lease, pace::Pace, terminal::Terminal};
use super::{log::Diverted, pipeline::Pipeline, session::Front, world::Gathering};
use crate::{
    cli::Watch,
    model::KtimeNs,
    output::{
        escape,
        tui::{Effect, Tui, world::About, world::FilterLanguage, world::World as _},
    },
    source::clock,
};

const UNUSABLE: &str = "cannot use the terminal";

/// Keys that are taken in before the next frame.
const TAKEN: usize = 256;

/// Between two looks after the gathering, if there is nothing else to do.
const LEAST: Duration = Duration::from_millis(10);

/// What is shown, and on what.
pub(super) struct Screen {
    gathering: Gathering,
    tui: Tui,
    selection: String,
    lease: Arc<Lease>,
    /// Once tracing is on.
    open: Option<Open>,
}

/// The terminal is taken.
struct Open {
    terminal: Terminal,
    keys: Keys,
    signals: Signals,
    pace: Pace,
    came: Came,
    log: Diverted,
    /// When the gathering wants to be looked after.
    due: Instant,
}

/// Signals that are about the terminal.
struct Signals {
    resized: Signal,
    stop: Signal,
    go_on: Signal,
}

/// What [`Front::ready`] has waited for.
#[derive(Default)]
struct Came {
    typed: Vec<Event>,
    is_lost: bool,
    is_resized: bool,
    is_told_to_stop: bool,
    goes_on: bool,
    is_writable: bool,
}

impl Screen {
    /// On standard input and output, which nothing is done to before tracing is on.
    pub(super) fn new(
        watch: &Watch,
        selection: String,
        gathering: Gathering,
        language: Box<dyn FilterLanguage>,
    ) -> Result<Self> {
        let asked = modes::Asked { color: watch.color, theme: watch.theme, ascii: watch.ascii };
        let options = modes::options(asked, |name| env::var_os(name));
        // Now: opening the terminal may need what is given up when tracing is on.
        let lease = Lease::new().context(UNUSABLE)?;
        Ok(Self { gathering, tui: Tui::new(options, language), selection, lease, open: None })
    }
}

impl Open {
    fn begin(lease: &Arc<Lease>) -> io::Result<Self> {
        let signals = Signals {
            resized: signal(SignalKind::window_change())?,
            stop: signal(SignalKind::from_raw(signal_hook::consts::SIGTSTP))?,
            go_on: signal(SignalKind::from_raw(signal_hook::consts::SIGCONT))?,
        };
        let now = Instant::now();
        let log = Diverted::begin();
        let terminal = Terminal::new(Arc::clone(lease))?;
        let keys = Keys::start(Arc::clone(lease))?;
        lease.take()?;
        Ok(Self { terminal, keys, signals, pace: Pace::new(now), came: Came::default(), log, due: now })
    }

    /// Waits until there is something to do, and remembers what.
    async fn ready(&mut self, is_paused: bool) {
        let wake = self.due.min(self.pace.next(is_paused));
        tokio::select! {
            biased;
            _ = self.signals.stop.recv() => self.came.is_told_to_stop = true,
            _ = self.signals.go_on.recv() => self.came.goes_on = true,
            _ = self.signals.resized.recv() => self.came.is_resized = true,
            key = self.keys.next() => match key {
                Some(event) => self.came.typed.push(event),
                None => self.came.is_lost = true,
            },
            () = self.terminal.writable() => self.came.is_writable = true,
            () = tokio::time::sleep_until(wake.into()) => {}
        }
    }

    /// Takes the terminal again, whatever was done to it meanwhile.
    fn take_again(&mut self, lease: &Lease) -> io::Result<()> {
        if lease.take()? {
            self.terminal.forget()?;
            self.pace.owe();
        }
        Ok(())
    }
}

impl Front for Screen {
    fn begin(&mut self, about: About) -> Result<()> {
        self.gathering.set_about(About { selection: mem::take(&mut self.selection), ..about });
        self.open = Some(Open::begin(&self.lease).context(UNUSABLE)?);
        Ok(())
    }

    fn ready(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        let is_paused = self.tui.is_paused();
        match &mut self.open {
            Some(open) => Box::pin(open.ready(is_paused)),
            None => Box::pin(std::future::pending()),
        }
    }

    fn act(&mut self, pipeline: &mut Pipeline, now: KtimeNs) -> Result<bool> {
        match self.turn(pipeline, now) {
            // Nobody sees it any more.
            Err(error) if is_gone(&error) => Ok(false),
            done => done,
        }
    }
}

impl Screen {
    fn turn(&mut self, pipeline: &mut Pipeline, now: KtimeNs) -> Result<bool> {
        let Some(open) = &mut self.open else { return Ok(true) };
        if self.lease.is_over() {
            bail!("a part of tcptrace has failed");
        }
        let came = mem::take(&mut open.came);
        if came.is_lost {
            return Ok(false);
        }
        if came.is_writable {
            open.terminal.send()?;
            // What it shows is old by now.
            open.pace.owe();
        }
        if came.is_told_to_stop {
            suspend::stop(&self.lease)?;
            open.take_again(&self.lease)?;
        }
        if came.goes_on {
            open.take_again(&self.lease)?;
        }
        if came.is_resized {
            open.pace.owe();
        }
        if !self.take_keys(came.typed, pipeline, now)? {
            return Ok(false);
        }
        self.show(pipeline, now)?;
        Ok(true)
    }

    /// Takes what was typed, and does what it asks for. False: to end.
    fn take_keys(&mut self, typed: Vec<Event>, pipeline: &Pipeline, now: KtimeNs) -> Result<bool> {
        let Some(open) = &mut self.open else { return Ok(true) };
        let mut typed = typed.into_iter();
        for _ in 0..TAKEN {
            let Some(event) = typed.next().or_else(|| open.keys.more()) else { break };
            #[cfg(debug_assertions)]
            faults::provoke(&event);
            let world = self.gathering.present(pipeline, now);
            match self.tui.input(&event, &world) {
                Effect::Nothing => {}
                Effect::Draw => open.pace.owe(),
                Effect::DrawAnew => {
                    open.terminal.forget()?;
                    open.pace.owe();
                }
                Effect::Export { name, json } => {
                    let done = export::write(Path::new(""), name, world.now().unix_ns, &json);
                    let text = match done {
                        Ok(path) => format!("written: {}", path.display()),
                        Err(error) => format!("{error:#}"),
                    };
                    self.tui.say(escape::text(&text).into_owned());
                    open.pace.owe();
                }
                Effect::Suspend => {
                    if !suspend::ask()? {
                        self.tui.say("there is no shell to go back to".to_owned());
                        open.pace.owe();
                    }
                }
                Effect::Quit => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Draws, if it is time.
    fn show(&mut self, pipeline: &mut Pipeline, now: KtimeNs) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if let Some(news) = open.log.news() {
            self.tui.say(news);
            open.pace.owe();
        }
        let is_paused = self.tui.is_paused();
        let at = Instant::now();
        if at < open.due && at < open.pace.next(is_paused) {
            return Ok(());
        }
        let is_new = self.gathering.refresh(pipeline, now);
        let wait = Duration::from_nanos(self.gathering.due().since(clock::now()).unwrap_or(0));
        open.due = Instant::now() + wait.max(LEAST);
        if open.pace.is_due(at, is_new, is_paused) {
            if !self.lease.is_taken() {
                open.take_again(&self.lease)?;
            }
            let world = self.gathering.present(pipeline, now);
            open.terminal.draw(|frame| self.tui.draw(frame, &world))?;
            open.pace.drew(Instant::now());
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.lease.end();
    }
}

/// Whether an error says that the terminal is gone.
fn is_gone(error: &anyhow::Error) -> bool {
    let codes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error());
    codes.map(rustix::io::Errno::from_raw_os_error).any(|code| {
        matches!(code, rustix::io::Errno::IO | rustix::io::Errno::NXIO | rustix::io::Errno::NOTTY)
    })
}
