//! Diagnostics: to standard error, or, while something else has the terminal, kept until it has not.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that are kept; of more, the first and the last ones.
const MOST: usize = 200;

/// How long standard error may take nothing.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// What is kept, if it is.
static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

#[derive(Debug, Default)]
struct Kept {
    first: Vec<String>,
    last: VecDeque<String>,
    left_out: usize,
    /// The last of those that nobody was told of yet, and how many others there are.
    news: Option<(String, usize)>,
}

impl Kept {
    fn keep(&mut self, line: String) {
        let others = self.news.take().map_or(0, |(_, others)| others + 1);
        self.news = Some((line.clone(), others));
        if self.first.len() < MOST / 2 {
            self.first.push(line);
            return;
        }
        self.last.push_back(line);
        if self.last.len() > MOST / 2 {
            self.last.pop_front();
            self.left_out += 1;
        }
    }
}

fn kept() -> MutexGuard<'static, Option<Kept>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines are kept as long as it is there. Then they go to standard error.
pub(super) struct Diverted(());

impl Diverted {
    /// From now on.
    pub(super) fn begin() -> Self {
        *kept() = Some(Kept::default());
        Self(())
    }

    /// What has come since the last call, in one line and without colours.
    #[expect(clippy::unused_self, reason = "there is something to tell only while it is there")]
    pub(super) fn news(&self) -> Option<String> {
        let (line, others) = kept().as_mut()?.news.take()?;
        let line = plain(&line);
        Some(match others {
            0 => line,
            others => format!("{line} (and {others} more, which are told at the end)"),
        })
    }
}

impl Drop for Diverted {
    fn drop(&mut self) {
        let Some(Kept { first, last, left_out, .. }) = mem::take(&mut *kept()) else { return };
        for line in &first {
            tell(line);
        }
        if left_out > 0 {
            tell(&format!("({left_out} lines are left out)\n"));
        }
        for line in &last {
            tell(line);
        }
    }
}

/// Says it on standard error, unless there is nobody to tell, or a terminal that takes nothing: nobody is to wait for that.
pub(super) fn tell(line: &str) {
    let stderr = io::stderr();
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    let is_ready = poll(&mut polled, Some(&PATIENCE)).is_ok_and(|ready| ready > 0);
    if is_ready {
        let _ = stderr.lock().write_all(line.as_bytes());
    }
}

/// Without the sequences that select colours, and in one line.
fn plain(line: &str) -> String {
    let mut parts = line.trim_end().split('\u{1b}');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.strip_prefix('[').and_then(|part| part.split_once('m'));
        text.push_str(rest.map_or(part, |(_, rest)| rest));
    }
    crate::output::escape::text(text.trim()).into_owned()
}

/// Where lines go.
pub(super) struct ToLog;

impl<'a> MakeWriter<'a> for ToLog {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line
    }
}

/// One of them; it comes in one piece.
pub(super) struct Line;

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = kept();
        if let Some(kept) = &mut *kept {
            kept.keep(String::from_utf8_lossy(bytes).into_owned());
            return Ok(bytes.len());
        }
        drop(kept);
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_are_kept_and_the_rest_is_counted() {
        let mut kept = Kept::default();
        for number in 0..1_000 {
            kept.keep(format!("line {number}\n"));
        }
        assert_eq!(kept.first.len() + kept.last.len(), MOST);
        assert_eq!(kept.left_out, 1_000 - MOST);
        assert_eq!((&*kept.first[0], &*kept.last[MOST / 2 - 1]), ("line 0\n", "line 999\n"));
        assert_eq!(kept.news, Some(("line 999\n".to_owned(), 999)));
    }

    #[test]
    fn what_is_told_has_no_colours_and_does_nothing_to_a_screen() {
        assert_eq!(plain("\u{1b}[33m WARN\u{1b}[0m it is late\n"), "WARN it is late");
        let hostile = plain("WARN \u{1b}]0;x\u{7}\u{1b}[2J\r\u{202e}");
        assert!(!hostile.contains(|c: char| c.is_control() || c == '\u{202e}'), "{hostile:?}");
    }
}
