//! Drawing: a frame is made in memory and goes out in one write, and what a terminal does not take at once waits.

use std::{
    cell::RefCell,
    io::{self, Write},
    mem,
    os::fd::{AsFd as _, OwnedFd},
    rc::Rc,
    sync::Arc,
};

use ratatui::{
    Frame,
    backend::{Backend, ClearType, CrosstermBackend, WindowSize},
    buffer::Cell,
    layout::{Position, Rect, Size},
};
use tokio::io::{Interest, unix::AsyncFd};

use super::lease::Lease;
use crate::source::poll;

/// The terminal may wait for [`END`] before it shows anything.
const BEGIN: &[u8] = b"\x1b[?2026h";

/// It is complete.
const END: &[u8] = b"\x1b[?2026l";

/// What a terminal is believed to have that does not tell its size.
const SIZE: (u16, u16) = (80, 24);

/// The largest side: no terminal is larger, and a made-up size must not take all memory.
const LARGEST: u16 = 1_000;

/// A terminal to draw on.
pub(super) struct Terminal {
    lease: Arc<Lease>,
    inner: ratatui::Terminal<Memory>,
    frame: Bytes,
    /// What the terminal has not taken yet.
    unsent: Vec<u8>,
    /// Tells when it takes more; `None` where it cannot be polled.
    output: Option<AsyncFd<OwnedFd>>,
}

impl Terminal {
    /// On this one, in an event loop.
    pub(super) fn new(lease: Arc<Lease>) -> io::Result<Self> {
        let frame = Bytes::default();
        let memory = Memory { inner: CrosstermBackend::new(frame.clone()), lease: Arc::clone(&lease) };
        let output = lease.as_fd().try_clone_to_owned()?;
        Ok(Self {
            inner: ratatui::Terminal::new(memory)?,
            frame,
            unsent: Vec::new(),
            output: poll::register(output, Interest::WRITABLE).ok(),
            lease,
        })
    }

    /// Draws, if the terminal is taken and has taken all of the last frame.
    pub(super) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if !self.is_ready() {
            return Ok(());
        }
        self.frame.0.borrow_mut().extend_from_slice(BEGIN);
        self.inner.draw(render)?;
        self.frame.0.borrow_mut().extend_from_slice(END);
        mem::swap(&mut self.unsent, &mut *self.frame.0.borrow_mut());
        self.send()
    }

    /// Whether [`Self::draw`] would draw.
    pub(super) fn is_ready(&self) -> bool {
        self.unsent.is_empty() && self.lease.is_taken()
    }

    /// The next frame is drawn on an empty screen.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        self.unsent.clear();
        self.frame.0.borrow_mut().clear();
        let Size { width, height } = self.inner.size()?;
        self.inner.resize(Rect { x: 0, y: 0, width, height })
    }

    /// Waits until the terminal takes more of what it has not taken yet; for ever when there is nothing.
    pub(super) async fn writable(&self) {
        match &self.output {
            Some(output) if !self.unsent.is_empty() => {
                if let Ok(mut ready) = output.writable().await {
                    ready.clear_ready();
                }
            }
            _ => std::future::pending().await,
        }
    }

    /// Sends what is left, as far as the terminal takes it.
    pub(super) fn send(&mut self) -> io::Result<()> {
        let sent = self.lease.write(&self.unsent)?;
        self.unsent.drain(..sent);
        Ok(())
    }
}

/// What is drawn, until it is sent.
#[derive(Clone, Default)]
struct Bytes(Rc<RefCell<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Crossterm's way of writing, with what it would ask the terminal or other programs for.
struct Memory {
    inner: CrosstermBackend<Bytes>,
    lease: Arc<Lease>,
}

impl Backend for Memory {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        self.inner.draw(content)
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.inner.hide_cursor()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.inner.show_cursor()
    }

    /// Nobody needs to know: we always say where it is to be.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.inner.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.inner.clear()
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.inner.clear_region(region)
    }

    fn size(&self) -> io::Result<Size> {
        let (width, height) = self.lease.size().unwrap_or(SIZE);
        Ok(Size { width: width.min(LARGEST), height: height.min(LARGEST) })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::default() })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
