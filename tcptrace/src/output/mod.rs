//! Where results go: a format a file.

mod csv;
pub mod escape;
mod json;
mod names;
mod notice;
mod summary;
mod text;

use std::io;

pub use self::{
    csv::Csv,
    json::Json,
    names::{Nameless, Names, Naming},
    notice::{Audit, Notice, SynCookies},
    summary::Summary,
    text::{Text, TextOptions},
};
use crate::model::{KtimeNs, Observation};

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

/// A format that writes a line for each thing that happens.
pub trait LineFormat {
    /// What comes first, once.
    fn begin(&mut self) -> io::Result<()>;
    /// A connection changed its state.
    fn transition(&mut self, at: Moment, observed: &Observation, names: &Names) -> io::Result<()>;
    /// Whether names are of interest.
    fn wants_names(&self) -> bool {
        true
    }
    /// Anything else.
    fn notice(&mut self, at: Moment, notice: &Notice<'_>) -> io::Result<()>;
    /// The end. Formats for people leave the summary to standard error and write nothing.
    fn end(&mut self, at: Moment, summary: &Summary) -> io::Result<()>;
    /// Passes on what was written.
    fn flush(&mut self) -> io::Result<()>;
}

/// RFC 3339 in UTC with nanoseconds.
fn rfc3339(unix_ns: i128) -> String {
    jiff::Timestamp::from_nanosecond(unix_ns).map_or_else(|_| String::new(), |moment| format!("{moment:.9}"))
}
