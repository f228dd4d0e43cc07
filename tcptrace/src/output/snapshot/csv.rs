//! Comma-separated values: a row a key.

use std::io::{self, Write};

use csv::WriterBuilder;

use super::SnapshotReport;
use crate::{model::TcpState, output::escape};

/// Writes it; the names of the columns come first if `header` is set.
///
/// # Errors
///
/// The output cannot be written.
pub fn write_csv(out: impl Write, report: &SnapshotReport, header: bool) -> io::Result<()> {
    let mut out = WriterBuilder::new().from_writer(out);
    let states = TcpState::IN_LIFE;
    if header {
        let before = ["by", "key", "total"].map(str::to_owned).into_iter();
        let counts = states.map(|state| state.name().to_lowercase());
        let after = [
            "oldest_time_wait_ns",
            "longest_idle_ns",
            "unread_bytes",
            "unsent_bytes",
            "accept_queue",
            "accept_queue_limit",
            "unheld",
            "holder_unknown",
            "processes",
        ];
        out.write_record(before.chain(counts).chain(after.map(str::to_owned)))?;
    }
    let cell = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
    for group in &report.groups {
        let key = group.key.as_deref().map(escape::text).unwrap_or_default().into_owned();
        let before = [report.by.clone(), key, group.total.to_string()].into_iter();
        let counts = states.map(|state| cell(group.count(state)));
        let processes: Vec<_> = group.processes.iter().map(|name| escape::text(name)).collect();
        let after = [
            cell(group.oldest_time_wait_ns),
            cell(group.longest_idle_ns),
            group.unread_bytes.to_string(),
            group.unsent_bytes.to_string(),
            cell(group.accept_queue.map(u64::from)),
            cell(group.accept_queue_limit.map(u64::from)),
            group.unheld.to_string(),
            group.holder_unknown.to_string(),
            processes.join(";"),
        ];
        out.write_record(before.chain(counts).chain(after))?;
    }
    out.flush()
}
