//! A number beside what it was at another time.

use serde::Serialize;
use thiserror::Error;

use super::escape;

/// Keys that are taken in of a file, at most.
pub(super) const MOST_KEYS: usize = 100_000;

/// The file is none of ours.
#[derive(Debug, Error)]
pub enum CompareError {
    /// Something is not JSON, or lacks a field.
    #[error("line {line}: {problem}; a file is wanted that `tcptrace {command} -o json` has written")]
    Line {
        /// What writes such files.
        command: &'static str,
        /// From 1.
        line: usize,
        /// What serde says.
        problem: String,
    },
    /// Nothing to compare with.
    #[error(
        "there is nothing to compare with in it; a file is wanted that `tcptrace {command} -o json` has written"
    )]
    Nothing {
        /// What writes such files.
        command: &'static str,
    },
    /// Other keys.
    #[error("it was counted by {found}; say --by {found}, too")]
    By {
        /// The key of the file.
        found: String,
    },
    /// Hostile, or not worth a look.
    #[error("it has more than {MOST_KEYS} keys")]
    TooMany,
}

impl CompareError {
    pub(super) fn line(command: &'static str, line: usize, error: &serde_json::Error) -> Self {
        Self::Line { command, line, problem: error.to_string() }
    }

    pub(super) fn by(found: &str) -> Self {
        Self::By { found: escape::text(found).into_owned() }
    }
}

/// Now, then, and how many times as much it is. `None` is what is not known.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Compared {
    pub(super) now: Option<u64>,
    pub(super) before: Option<u64>,
    ratio: Option<f64>,
}

impl Compared {
    /// `scale` makes the ratio one of rates: the time then by the time now.
    #[expect(clippy::cast_precision_loss, reason = "a ratio of two digits after the point")]
    pub(super) fn new(now: Option<u64>, before: Option<u64>, scale: f64) -> Self {
        let both = now.zip(before).filter(|(_, before)| *before > 0);
        let ratio = both.map(|(now, before)| now as f64 / before as f64 * scale);
        Self { now, before, ratio: ratio.filter(|ratio| ratio.is_finite()) }
    }

    /// Times as much, or what cannot be said.
    pub(super) fn times(&self) -> String {
        self.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2} x"))
    }

    /// Whether there was nothing and is nothing.
    pub(super) fn is_nothing(&self) -> bool {
        self.now.unwrap_or(0) == 0 && self.before.unwrap_or(0) == 0
    }

    /// Now and then, for people.
    pub(super) fn plain(&self) -> (String, String) {
        let plain = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        (plain(self.now), plain(self.before))
    }
}
