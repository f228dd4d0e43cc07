//! The terminal on loan: taken for the view, and given back as it was, by whoever comes first.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    process::getpgrp,
    termios::{
        OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
    },
};

/// The other screen, cleared, without a cursor; pastes are marked; buttons and the wheel of the mouse are told, with places
/// beyond column 223.
const TAKE: &[u8] = b"\x1b[?1049h\x1b[0m\x1b[2J\x1b[?25l\x1b[?2004h\x1b[?1000h\x1b[?1006h";

/// The opposite of [`TAKE`], after the end of a frame that may be half written.
const GIVE_BACK: &[u8] = b"\x1b[?2026l\x1b[0m\x1b[?1006l\x1b[?1000l\x1b[?2004l\x1b[?1049l\x1b[?25h";

/// How long a terminal may take nothing before it is left as it is.
const PATIENCE: Duration = Duration::from_millis(200);

/// A terminal that can be taken and given back.
pub(super) struct Lease {
    /// An own opening of the terminal that is standard output: that it does not block is nobody else's business.
    output: OwnedFd,
    /// As it was before.
    original: Termios,
    is_taken: AtomicBool,
    /// Nobody may take it any more.
    is_over: AtomicBool,
}

impl Lease {
    /// Of standard input and output.
    pub(super) fn new() -> io::Result<Arc<Self>> {
        let lease = Arc::new(Self {
            output: open_output()?,
            original: tcgetattr(io::stdin())?,
            is_taken: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        give_back_on_panic(&lease);
        Ok(lease)
    }

    /// Takes it. False: it is not ours to take, as we run in the background.
    pub(super) fn take(&self) -> io::Result<bool> {
        if self.is_over() || !is_foreground() {
            self.is_taken.store(false, SeqCst);
            return Ok(false);
        }
        // Before anything has changed, so that nothing is left as it is by an error in between.
        self.is_taken.store(true, SeqCst);
        let mut raw = self.original.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        self.write_all(TAKE);
        Ok(true)
    }

    /// Gives it back, if it is taken. What was typed and not read is nobody's.
    pub(super) fn give_back(&self) {
        // In the background, this would stop us, and the terminal is as the shell wants it.
        if self.is_taken.swap(false, SeqCst) && is_foreground() {
            self.write_all(GIVE_BACK);
            let _ = tcflush(io::stdin(), QueueSelector::IFlush);
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.original);
        }
    }

    /// Gives it back for good.
    pub(super) fn end(&self) {
        self.is_over.store(true, SeqCst);
        self.give_back();
    }

    /// Whether it was given back for good.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(SeqCst)
    }

    /// Whether it is taken.
    pub(super) fn is_taken(&self) -> bool {
        self.is_taken.load(SeqCst)
    }

    /// Whether what is typed is for us.
    pub(super) fn has_keys(&self) -> bool {
        self.is_taken() && is_foreground()
    }

    /// Columns and rows; `None` when that is not known (any more).
    pub(super) fn size(&self) -> Option<(u16, u16)> {
        let size = tcgetwinsize(&self.output).ok()?;
        (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
    }

    /// Writes as much as the terminal takes now.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match rustix::io::write(&self.output, rest) {
                Ok(count) => written += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(written)
    }

    /// Writes all of it, unless the terminal takes nothing for too long.
    fn write_all(&self, bytes: &[u8]) {
        let mut written = 0;
        let mut until = Instant::now() + PATIENCE;
        while written < bytes.len() {
            match self.write(&bytes[written..]) {
                Ok(0) => {
                    let Some(left) = until.checked_duration_since(Instant::now()) else { return };
                    let left = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
                    let _ = poll(&mut [PollFd::new(&self.output, PollFlags::OUT)], Some(&left));
                }
                Ok(count) => {
                    written += count;
                    until = Instant::now() + PATIENCE;
                }
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Lease {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }
}

/// Whether the terminal is ours to use. One that is not our session's, or whose foreground is in another PID namespace, knows no
/// background.
fn is_foreground() -> bool {
    match tcgetpgrp(io::stdin()) {
        Ok(group) => group == getpgrp(),
        Err(error) => matches!(error, rustix::io::Errno::NOTTY | rustix::io::Errno::OPNOTSUPP),
    }
}

/// Opens the terminal once more, so that it need not block. Where it cannot be opened, standard output itself.
fn open_output() -> io::Result<OwnedFd> {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or(0);
    match File::options().write(true).custom_flags(flags).open("/proc/self/fd/1") {
        Ok(file) => Ok(file.into()),
        Err(_) => io::stdout().as_fd().try_clone_to_owned(),
    }
}

/// First the terminal, then the message, which would be gone with the other screen.
fn give_back_on_panic(lease: &Arc<Lease>) {
    static ONCE: Once = Once::new();
    let lease = Arc::clone(lease);
    ONCE.call_once(move || {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            lease.end();
            earlier(panic);
        }));
    });
}
