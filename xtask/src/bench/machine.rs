//! The machine that was measured on.

use std::{fs, process::Command, thread::available_parallelism};

use super::peers::{self, Peer};
use crate::workspace::output;

/// What matters for the numbers, a line each.
pub(crate) fn describe() -> Vec<(&'static str, String)> {
    let unknown = || "unknown".to_owned();
    let read = |file: &str| fs::read_to_string(file).map(|text| text.trim().to_owned()).ok();
    let cpu = read("/proc/cpuinfo").and_then(|text| field(&text, "model name"));
    let memory = read("/proc/meminfo").and_then(|text| field(&text, "MemTotal"));
    let mut lines = vec![
        ("cpu", cpu.unwrap_or_else(unknown)),
        ("cores", available_parallelism().map_or_else(|_| unknown(), |cores| cores.to_string())),
        ("memory", memory.unwrap_or_else(unknown)),
        ("kernel", read("/proc/sys/kernel/osrelease").unwrap_or_else(unknown)),
        ("rustc", output(Command::new("rustc").arg("--version")).unwrap_or_else(|_| unknown())),
        ("load average before", read("/proc/loadavg").unwrap_or_else(unknown)),
    ];
    for peer in Peer::ALL {
        let version = peer.missing().or_else(|| peers::version(peer));
        lines.push((peer.name(), version.unwrap_or_else(unknown)));
    }
    lines
}

/// `NAME : VALUE` of a file in /proc.
fn field(text: &str, name: &str) -> Option<String> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.trim_start().strip_prefix(':')?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_files() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC\nMemTotal:       24647624 kB\n";
        assert_eq!(field(text, "model name").as_deref(), Some("AMD EPYC"));
        assert_eq!(field(text, "MemTotal").as_deref(), Some("24647624 kB"));
        assert_eq!(field(text, "flags"), None);
    }
}
