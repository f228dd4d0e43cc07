//! For people: a table.

use std::io::{self, Write};

use super::{Group, SnapshotReport};
use crate::{
    model::TcpState,
    output::{escape, hist::units::time},
};

/// Columns of states; CLOSE has none, as nothing is known of it.
const STATES: [(TcpState, &str); 10] = [
    (TcpState::Listen, "LISTEN"),
    (TcpState::SynSent, "SYN_SENT"),
    (TcpState::SynRecv, "SYN_RECV"),
    (TcpState::Established, "ESTAB"),
    (TcpState::FinWait1, "FIN_W1"),
    (TcpState::FinWait2, "FIN_W2"),
    (TcpState::Closing, "CLOSING"),
    (TcpState::TimeWait, "TIME_W"),
    (TcpState::CloseWait, "CLOSE_W"),
    (TcpState::LastAck, "LAST_ACK"),
];

/// Writes it.
///
/// # Errors
///
/// The output cannot be written.
pub fn write_text(out: &mut impl Write, report: &SnapshotReport) -> io::Result<()> {
    writeln!(
        out,
        "{} sockets in {} network namespaces, seen in {:.0} ms",
        report.all.total,
        report.namespaces,
        report.took_s * 1e3
    )?;
    for missing in &report.missing {
        writeln!(out, "not seen: {}", escape::text(missing))?;
    }
    writeln!(out)?;
    if report.by == "state" {
        by_state(out, report)?;
    } else {
        by_key(out, report)?;
    }
    if report.other_keys > 0 {
        writeln!(out, "and {} more, see --max-entries", report.other_keys)?;
    }
    Ok(())
}

fn by_state(out: &mut impl Write, report: &SnapshotReport) -> io::Result<()> {
    writeln!(out, "{:<12} {:>8} {}", "STATE", "COUNT", heading())?;
    for group in &report.groups {
        let state = group.key.as_deref().unwrap_or("-");
        // The kernel has no table of closed sockets.
        let count = if state == TcpState::Close.name() { "-".to_owned() } else { group.total.to_string() };
        writeln!(out, "{state:<12} {count:>8} {}", columns(group))?;
    }
    Ok(())
}

fn by_key(out: &mut impl Write, report: &SnapshotReport) -> io::Result<()> {
    let names: Vec<String> = report
        .groups
        .iter()
        .map(|group| {
            group.key.as_deref().map_or_else(|| "-".to_owned(), |key| escape::text(key).into_owned())
        })
        .collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).clamp(8, 60);
    // States that nothing is in would only make the table wide.
    let is_there = |state| report.groups.iter().any(|group| group.count(state).unwrap_or(0) > 0);
    let states: Vec<_> = STATES.into_iter().filter(|(state, _)| is_there(*state)).collect();
    write!(out, "{:<width$} {:>7}", report.by.to_uppercase(), "TOTAL")?;
    for (_, name) in &states {
        write!(out, " {name:>8}")?;
    }
    writeln!(out, " {}", heading())?;
    for (name, group) in names.iter().zip(&report.groups) {
        write!(out, "{name:<width$} {:>7}", group.total)?;
        for (state, _) in &states {
            write!(out, " {:>8}", group.count(*state).unwrap_or(0))?;
        }
        writeln!(out, " {}", columns(group))?;
    }
    Ok(())
}

/// The columns that every table has, at its right.
fn heading() -> String {
    row(["OLDEST", "IDLE", "UNREAD", "UNSENT", "ACCEPT QUEUE", "PROCESSES"])
}

fn columns(group: &Group) -> String {
    let Group { unread_bytes, unsent_bytes, .. } = group;
    row([
        &known(group.oldest_time_wait_ns),
        &known(group.longest_idle_ns),
        &unread_bytes.to_string(),
        &unsent_bytes.to_string(),
        &accept_queue(group),
        &processes(group),
    ])
}

fn row([oldest, idle, unread, unsent, accept_queue, processes]: [&str; 6]) -> String {
    format!("{oldest:>9} {idle:>9} {unread:>10} {unsent:>10}  {accept_queue:<13} {processes}")
}

fn known(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), time)
}

fn accept_queue(group: &Group) -> String {
    let queue = group.accept_queue.zip(group.accept_queue_limit);
    queue.map_or_else(|| "-".to_owned(), |(length, limit)| format!("{length}/{limit}"))
}

fn processes(group: &Group) -> String {
    let mut names: Vec<String> = vec![];
    if !group.processes.is_empty() {
        let of_group: Vec<_> = group.processes.iter().map(|name| escape::text(name)).collect();
        names.push(of_group.join(", "));
    }
    for (count, what) in [(group.unheld, "none"), (group.holder_unknown, "unknown")] {
        if count > 0 {
            names.push(format!("({what}: {count})"));
        }
    }
    if names.is_empty() { "-".to_owned() } else { names.join(" ") }
}
