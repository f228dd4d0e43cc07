//! Where results go: a format a file.

mod compared;
mod csv;
pub mod diagram;
pub mod doctor;
pub mod escape;
pub mod explain;
pub mod findings;
pub mod hist;
mod json;
mod names;
mod notice;
mod only_summary;
pub mod snapshot;
mod summary;
mod text;
pub mod tui;

use std::{cell::Cell, io, sync::Arc};

use serde::{Serialize, Serializer};

pub use self::{
    compared::CompareError,
    csv::Csv,
    json::Json,
    names::{Beside, Nameless, Names, Naming, Symbolise},
    notice::{Audit, Notice, SynCookies},
    only_summary::OnlySummary,
    summary::Summary,
    text::{Text, TextOptions},
};
use crate::model::{Connection, Frame, Held, KtimeNs, Observation, Owner, SocketKey, findings::Host};

/// Version of the objects and columns that programs read; raised when a field changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// When something happened, for people and for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// `CLOCK_MONOTONIC`.
    pub ktime: KtimeNs,
    /// Nanoseconds since 1970.
    pub unix_ns: i128,
    /// Nanoseconds since tracing began; 0 for what came before.
    pub elapsed_ns: u64,
}

/// What takes in all that happens: a format that writes a line for each thing, or something that adds them up.
pub trait Sink {
    /// What comes first, once.
    fn begin(&mut self) -> io::Result<()>;
    /// A connection changed its state.
    fn transition(&mut self, at: Moment, observed: &Observation, beside: Beside<'_>) -> io::Result<()>;
    /// A connection was accepted, by a call of this stack; told where stacks are asked for.
    fn accepted(&mut self, _key: SocketKey, _stack: &Arc<[Frame]>) {}
    /// Whether names are of interest.
    fn wants_names(&self) -> bool {
        true
    }
    /// Whether it wants to be told which connections are open, before each [`Self::interval`] and the end.
    fn wants_open(&self) -> bool {
        false
    }
    /// A connection is open.
    fn open(
        &mut self,
        _at: Moment,
        _key: SocketKey,
        _connection: &Connection,
        _owner: Option<&Owner>,
        _names: &Names,
    ) {
    }
    /// A socket is closed while a descriptor holds it; told with those that are open.
    fn held(&mut self, _at: Moment, _key: SocketKey, _held: &Held, _owner: Option<&Owner>, _names: &Names) {}
    /// Whether it wants to know, again and again, what findings are made of; a look at that is followed by a pause of at least so
    /// many times its own length.
    fn wants_facts(&self) -> Option<u64> {
        None
    }
    /// What the host says besides.
    fn facts(&mut self, _host: Host) {}
    /// An interval is over.
    fn interval(&mut self, _at: Moment) -> io::Result<()> {
        Ok(())
    }
    /// Anything else.
    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()>;
    /// The end. Formats for people leave the summary to standard error and write nothing.
    fn end(&mut self, at: Moment, summary: &Summary) -> io::Result<()>;
    /// Passes on what was written.
    fn flush(&mut self) -> io::Result<()>;
}

/// RFC 3339 in UTC with nanoseconds: `2026-01-31T12:34:56.123456789Z`. Events come in bursts: all but the fraction is the one
/// of the last time, most often.
#[derive(Clone, Copy, Debug)]
struct Rfc3339([u8; 30]);

thread_local! {
    /// The last second, and how it is written up to its fraction.
    static LAST_SECOND: Cell<(i128, [u8; 19])> = const { Cell::new((i128::MIN, [b'-'; 19])) };
}

impl Rfc3339 {
    fn new(unix_ns: i128) -> Self {
        let (second, mut nanos) = (unix_ns.div_euclid(1_000_000_000), unix_ns.rem_euclid(1_000_000_000));
        let (mut before, mut date) = LAST_SECOND.get();
        if before != second {
            let text = jiff::Timestamp::from_nanosecond(second * 1_000_000_000).map(|at| format!("{at:.0}"));
            let written = text.unwrap_or_default();
            if let Some(text) = written.as_bytes().first_chunk() {
                (before, date) = (second, *text);
                LAST_SECOND.set((before, date));
            }
        }
        let mut text = [b'Z'; 30];
        text[..19].copy_from_slice(&date);
        text[19] = b'.';
        for digit in text[20..29].iter_mut().rev() {
            *digit = b'0' + u8::try_from(nanos % 10).unwrap_or(0);
            nanos /= 10;
        }
        Self(text)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_jiff_writes_it() {
        for unix_ns in [
            0,
            1,
            999_999_999,
            1_795_219_200_123_456_789,
            1_795_219_200_000_000_001,
            -1,
            4_102_444_800_000_000_000,
        ] {
            let expected = jiff::Timestamp::from_nanosecond(unix_ns).map(|at| format!("{at:.9}"));
            assert_eq!(
                Ok(Rfc3339::new(unix_ns).as_str().to_owned()),
                expected.map_err(|error| error.to_string())
            );
        }
    }
}
