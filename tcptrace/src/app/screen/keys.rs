//! What is typed and clicked, read by a thread: whatever we are busy with, the second signal to end finds somebody who gives
//! the terminal back.

use std::{
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    thread,
    time::Duration,
};

use crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::{
    SigId,
    consts::{SIGINT, SIGTERM},
    low_level::{self, pipe},
};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::lease::Lease;

/// What may be typed ahead; the rest waits in the terminal.
const AHEAD: usize = 64;

/// How long what begins like a key may take to come.
const REST: Duration = Duration::from_millis(1);

/// How often to see whether the keys are ours again.
const AWAY: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Stack of the thread.
const STACK_BYTES: usize = 256 * 1024;

/// The way to the thread. It ends when this is dropped.
pub(super) struct Keys {
    events: Receiver<Event>,
    /// Closed when we are gone.
    _here: UnixStream,
    signals: Vec<SigId>,
}

impl Keys {
    /// Starts the thread.
    pub(super) fn start(lease: Arc<Lease>) -> io::Result<Self> {
        let (sender, events) = channel(AHEAD);
        let (here, gone) = UnixStream::pair()?;
        let mut keys = Self { events, _here: here, signals: Vec::new() };
        let interrupt = keys.catch(SIGINT)?;
        let terminate = keys.catch(SIGTERM)?;
        let reader = Reader { lease, gone, signals: [interrupt, terminate], seen: 0, sender };
        thread::Builder::new().name("keys".to_owned()).stack_size(STACK_BYTES).spawn(move || reader.run())?;
        Ok(keys)
    }

    /// The next one; `None` when there will be no more, as the terminal is gone. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The next one that is there already.
    pub(super) fn more(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    fn catch(&mut self, number: i32) -> io::Result<(i32, UnixStream)> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        self.signals.push(pipe::register(number, writer)?);
        Ok((number, reader))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        for signal in self.signals.drain(..) {
            low_level::unregister(signal);
        }
    }
}

/// The thread.
struct Reader {
    lease: Arc<Lease>,
    /// Tells that nobody waits for keys any more.
    gone: UnixStream,
    signals: [(i32, UnixStream); 2],
    /// Signals to end.
    seen: usize,
    sender: Sender<Event>,
}

impl Reader {
    /// Until nobody waits for keys any more, or there will be none.
    fn run(mut self) {
        // Whoever types needs none of them.
        for set in [caps::CapSet::Ambient, caps::CapSet::Effective, caps::CapSet::Permitted] {
            let _ = caps::clear(None, set);
        }
        while self.turn().is_ok_and(|goes_on| goes_on) {}
    }

    /// Waits for something and does it. False: that was all.
    fn turn(&mut self) -> io::Result<bool> {
        let stdin = io::stdin();
        let [(_, interrupt), (_, terminate)] = &self.signals;
        // In the background, reading would stop us, and what is typed is not for us.
        let has_keys = self.lease.has_keys();
        let wanted = if has_keys { PollFlags::IN } else { PollFlags::empty() };
        let others = [&self.gone, interrupt, terminate].map(UnixStream::as_fd);
        let [keys, gone, signals @ ..] = wait(stdin.as_fd(), wanted, others, (!has_keys).then_some(&AWAY))?;
        let is_closed =
            |flags: PollFlags| flags.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        if !gone.is_empty() {
            return Ok(false);
        }
        for ((number, stream), flags) in self.signals.iter_mut().zip(signals) {
            if flags.is_empty() {
                continue;
            }
            self.seen += stream.read(&mut [0; 16])?;
            // Whoever was to end us at the first one cannot.
            if self.seen > 1 && self.lease.is_taken() {
                self.lease.end();
                low_level::exit(128 + *number);
            }
        }
        if is_closed(keys) {
            return Ok(false);
        }
        if keys.contains(PollFlags::IN) {
            while event::poll(REST)? {
                if self.sender.blocking_send(event::read()?).is_err() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Waits until one of them has something to tell.
fn wait(
    keys: BorrowedFd<'_>,
    wanted: PollFlags,
    [gone, interrupt, terminate]: [BorrowedFd<'_>; 3],
    timeout: Option<&Timespec>,
) -> io::Result<[PollFlags; 4]> {
    let mut polled = [
        PollFd::from_borrowed_fd(keys, wanted),
        PollFd::from_borrowed_fd(gone, PollFlags::IN),
        PollFd::from_borrowed_fd(interrupt, PollFlags::IN),
        PollFd::from_borrowed_fd(terminate, PollFlags::IN),
    ];
    match poll(&mut polled, timeout) {
        Ok(_) => Ok(polled.map(|fd| fd.revents())),
        Err(rustix::io::Errno::INTR) => Ok([PollFlags::empty(); 4]),
        Err(error) => Err(error.into()),
    }
}
