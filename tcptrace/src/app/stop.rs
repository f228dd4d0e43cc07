//! When to stop: a signal, the end of `--duration`, whoever started us has seen enough, or a reader of our output that went
//! away.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use signal_hook::flag;
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::Instant,
};

use crate::source::poll;

/// Why we stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// SIGINT, SIGTERM or SIGHUP.
    Signal,
    /// `--duration` is over.
    Duration,
    /// Whoever started us has seen enough.
    Enough,
    /// Nobody reads standard output any more.
    OutputClosed,
}

/// Waits for the first reason to stop.
pub(super) struct Stop {
    /// The next signal kills.
    is_fatal: Arc<AtomicBool>,
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    until: Option<Instant>,
    enough: Option<oneshot::Receiver<()>>,
    output: Option<AsyncFd<OwnedFd>>,
}

impl Stop {
    /// From here on signals no longer kill the process, unless they come twice: while nobody reads our output, we cannot end in
    /// good order. Where somebody `has_screen`, that takes care of it as long as it is there: see [`Self::alone`].
    pub(super) fn prepare(has_screen: bool) -> io::Result<Self> {
        let is_fatal = Arc::new(AtomicBool::new(false));
        for number in [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| kind.as_raw_value()) {
            let has_come = if has_screen { Arc::clone(&is_fatal) } else { Arc::default() };
            // In this order: the first one finds that none has come.
            flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&has_come))?;
            if !has_screen {
                flag::register(number, has_come)?;
            }
        }
        Ok(Self {
            is_fatal,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            until: None,
            enough: None,
            // A file or /dev/null cannot be polled and is never closed from outside.
            output: io::stdout()
                .as_fd()
                .try_clone_to_owned()
                .and_then(|output| poll::register(output, Interest::ERROR))
                .ok(),
        })
    }

    /// Whoever had the screen has left it: from now on, a signal kills.
    pub(super) fn alone(&self) {
        self.is_fatal.store(true, Ordering::SeqCst);
    }

    /// `--duration` begins now.
    pub(super) fn after(&mut self, duration: Option<Duration>) {
        self.until = duration.and_then(|duration| Instant::now().checked_add(duration));
    }

    /// Whoever holds the other end says, or drops it, when there is enough.
    pub(super) fn when(&mut self, enough: Option<oneshot::Receiver<()>>) {
        self.enough = enough;
    }

    /// The end is near, unless it is nearer.
    pub(super) fn within(&mut self, duration: Duration) {
        let until = Instant::now() + duration;
        self.until = Some(self.until.map_or(until, |before| before.min(until)));
    }

    /// Waits. Dropping the future loses nothing.
    pub(super) async fn requested(&mut self) -> Reason {
        let duration_is_over = async {
            match self.until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let is_enough = async {
            match &mut self.enough {
                Some(enough) => drop(enough.await),
                None => std::future::pending().await,
            }
        };
        let output_is_closed = async {
            if let Some(output) = &self.output
                && output.ready(Interest::ERROR).await.is_ok()
            {
                return;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = self.interrupt.recv() => Reason::Signal,
            _ = self.terminate.recv() => Reason::Signal,
            _ = self.hang_up.recv() => Reason::Signal,
            () = duration_is_over => Reason::Duration,
            () = is_enough => Reason::Enough,
            () = output_is_closed => Reason::OutputClosed,
        }
    }
}
